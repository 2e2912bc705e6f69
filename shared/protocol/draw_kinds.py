"""Kinds of random draws, and what the numbers of one program of a pair are to the other."""

from collections.abc import Callable, Mapping
from string import ascii_letters
from typing import Any

import numpy as np

SETTINGS: dict[str, tuple[str, ...]] = {
    "bernoulli": ("p",),
    "uniform": ("low", "high"),
    "normal": ("mean", "std"),
    "integers": ("low", "high"),
    "permutation": (),
    "categorical": ("probabilities",),
    "exponential": ("rate",),
    "gumbel": (),
}
"""Kinds of draws that are handed over, and the settings of each. `p` is the probability of a 1,
`high` is excluded, `probabilities` (…, K) are of the K categories."""

Settings = Mapping[str, float | np.ndarray]
Shape = tuple[int, ...]
_LETTERS = {2: "BF", 3: "BCL", 4: "BCHW", 5: "BCDHW"}
"""Names of axes by how many there are, as torch orders them."""
_TIME_FIRST: dict[tuple[int, ...], str] = {(1, 0, 2): "TBF"}
NEAR = 1e-6
"""Probabilities as near as this count as equal: one may have been rounded to float32."""
Change = Callable[[np.ndarray, Settings, Settings], np.ndarray | str]
"""(values, settings of the side that drew, settings of the side that asks) → values as that side
would have drawn them, or why there are none."""


def change_of(drawn: str, asked: str) -> Change | str:
    """Returns what brings the numbers of one kind into those of another, or why nothing does."""
    for kind in (drawn, asked):
        if kind not in SETTINGS:
            return f"{kind} is not replayed (what is: {', '.join(SETTINGS)})"
    return _CHANGES.get((drawn, asked), "another kind")


def long_axes(shape: Shape) -> list[int]:
    """Returns a shape without axes of length 1."""
    return [size for size in shape if size != 1]


def axes_by_letter(drawn: Shape, asked: Shape) -> str:
    """Returns the first order of axes that makes the one shape the other, as in "BCL->BLC"; "" if
    none does."""
    if sorted(drawn) != sorted(asked):
        return ""
    order: list[int] = []
    for size in asked:
        order.append(next(i for i, n in enumerate(drawn) if n == size and i not in order))
    letters = _TIME_FIRST.get(tuple(order)) or _LETTERS.get(len(drawn), ascii_letters)
    return f"{letters[: len(drawn)]}->{''.join(letters[i] for i in order)}"


def _as_bernoulli(values: np.ndarray, mine: Settings, theirs: Settings) -> np.ndarray | str:
    if _near(mine["p"], theirs["p"]):
        return values
    if _near(1 - np.asarray(mine["p"]), theirs["p"]):
        return "another probability (is a 1 what is kept, or what is dropped?)"
    return "another probability"


def _as_uniform(values: np.ndarray, mine: Settings, theirs: Settings) -> np.ndarray | str:
    if _equal(mine, theirs):
        return values
    unit = (values - mine["low"]) / (np.asarray(mine["high"]) - mine["low"])
    return theirs["low"] + unit * (np.asarray(theirs["high"]) - theirs["low"])


def _as_normal(values: np.ndarray, mine: Settings, theirs: Settings) -> np.ndarray | str:
    if _equal(mine, theirs):
        return values
    if not np.all(mine["std"]):
        return "another mean or std, and a std of 0 says nothing of what was drawn"
    return theirs["mean"] + (values - mine["mean"]) / mine["std"] * theirs["std"]


def _as_integers(values: np.ndarray, mine: Settings, theirs: Settings) -> np.ndarray | str:
    return values if _equal(mine, theirs) else "another range"


def _as_categorical(values: np.ndarray, mine: Settings, theirs: Settings) -> np.ndarray | str:
    ours, others = np.asarray(mine["probabilities"]), np.asarray(theirs["probabilities"])
    if ours.shape[-1:] != others.shape[-1:]:
        return "another number of categories"
    same = long_axes(ours.shape) == long_axes(others.shape) and _near(ours.ravel(), others.ravel())
    return values if same else "other probabilities"


def _as_exponential(values: np.ndarray, mine: Settings, theirs: Settings) -> np.ndarray:
    same = _equal(mine, theirs)
    return values if same else values * mine["rate"] / np.asarray(theirs["rate"])


_CHANGES: dict[tuple[str, str], Change] = {
    ("bernoulli", "bernoulli"): _as_bernoulli,
    ("uniform", "uniform"): _as_uniform,
    ("normal", "normal"): _as_normal,
    ("integers", "integers"): _as_integers,
    ("permutation", "permutation"): lambda values, *_: values,
    ("categorical", "categorical"): _as_categorical,
    ("exponential", "exponential"): _as_exponential,
    ("gumbel", "gumbel"): lambda values, *_: values,
    # -log of an exponential is a Gumbel (Gumbel 1954); torch's gumbel_softmax draws it so.
    ("exponential", "gumbel"): lambda values, mine, _: -np.log(values * mine["rate"]),
    ("gumbel", "exponential"): lambda values, _, theirs: np.exp(-values) / theirs["rate"],
}
"""(kind drawn, kind asked for) → the change."""


def _near(one: Any, other: Any) -> bool:
    try:
        return np.allclose(one, other, rtol=0, atol=NEAR)
    except ValueError:  # shapes that do not go together
        return False


def _equal(mine: Settings, theirs: Settings) -> bool:
    return all(np.array_equal(mine[name], theirs[name]) for name in mine)
