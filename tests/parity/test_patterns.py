"""The pattern of a difference: where it is, and what the values of one side are of the other's."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from shared.parity.patterns import Facts, Pattern, growth_pattern, patterns

H, I, B, T, O = 3, 2, 5, 7, 4
LENGTHS = (7, 4, 6, 7, 2)
FACTS = Facts(
    blocks={"rnn.weight_ih_l0": 4, "rnn.bias_ih_l0": 4, "gru.weight_hh_l0": 3},
    hidden=H, batch=B, steps=T, lengths=LENGTHS, layers=11, classes=O, features=13,
    rates=(0.1, 0.01), dropout=(0.3,), accumulate=6,
)  # fmt: skip


def values(*shape: int, seed: int = 0) -> np.ndarray:
    """Numbers of both signs, none of them near zero."""
    rng = np.random.default_rng(seed)
    return rng.uniform(0.3, 2.0, shape) * rng.choice([-1, 1], shape)


def found(name: str, a: Any, b: Any, facts: Facts = FACTS, tolerance: float = 1e-9) -> list:
    """With an innocent difference of 1e-13 in all elements."""
    a, b = np.asarray(a, float), np.asarray(b, float)
    noise = 1e-13 * np.random.default_rng(9).standard_normal(a.shape)
    with np.errstate(invalid="ignore"):
        differs = ~(np.abs(a - b) <= tolerance * np.nanmax(np.abs(b)))
    return patterns(name, a + noise, b, differs, facts)


def only(name: str, a: Any, b: Any, facts: Facts = FACTS) -> Pattern:
    (pattern,) = found(name, a, b, facts)
    return pattern


def changed(shape: tuple[int, ...], where: Any, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Values of two sides that differ without any relation, there only."""
    b = values(*shape, seed=seed)
    a = b.copy()
    a[where] = values(*shape, seed=seed + 100)[where]
    return a, b


IH = "gradients/rnn.weight_ih_l0"
OUT = "layers/rnn.0"
PLACES: dict[str, tuple] = {
    "one gate": (IH, (12, I), np.s_[6:9], "gates", "only the rows of gate g", {"gates": "g"}),
    "two gates": (
        "moments/exp_avg.rnn.bias_ih_l0", (12,), np.s_[[0, 1, 2, 9, 10, 11]], "gates",
        "only the rows of gates i and o", {"gates": "io", "whole": True},
    ),
    "a part of a gate": (
        "weights/gru.weight_hh_l0", (9, H), np.s_[4:5], "gates", "only some rows of gate z",
        {"whole": False, "rows": [4]},
    ),
    "rows": (
        "gradients/head.weight", (9, 5), np.s_[[1, 4, 5, 6]], "rows", "only rows 1, 4-6 of 9",
        {"rows": [1, 4, 5, 6]},
    ),
    "columns": (
        "gradients/head.weight", (9, 5), np.s_[:, 2], "columns", "only column 2 of 5",
        {"positions": [2]},
    ),
    "reverse columns": (
        "gradients/head.weight", (9, 6), np.s_[:, 3:], "direction",
        "only the columns of the reverse direction", {"reverse": True},
    ),
    "forward features": (
        OUT, (B, T, 2 * H), np.s_[..., :3], "direction",
        "only the features of the forward direction", {"reverse": False},
    ),
    "from a step on": (
        OUT, (B, T, H), np.s_[:, 4:], "steps",
        "only from time step 4 on (of 7, counted from 0)", {"first": 4, "last": 6},
    ),
    "time first": (OUT, (T, B, H), np.s_[6], "steps", "only the last time step", {"first": 6}),
    "first step": (OUT, (B, T, H), np.s_[:, 0], "steps", "only the first time step", {"last": 0}),
    "steps": (
        OUT, (B, T, H), np.s_[:, [1, 2, 5]], "steps", "only time steps 1-2, 5 of 7, counted from 0",
        {"steps": [1, 2, 5]},
    ),
    "shorter": (
        "logits/outputs", (B, O), np.s_[[1, 2, 4]], "lengths",
        "only sequences shorter than 7 steps",
        {"examples": [1, 2, 4], "longest": 7},
    ),
    "longest": (
        "logits/outputs", (B, O), np.s_[[0, 3]], "lengths", "only sequences of 7 steps",
        {"examples": [0, 3]},
    ),
    "examples": (
        "logits/outputs", (B, O), np.s_[[2, 4]], "examples", "only examples 2, 4 of 5",
        {"examples": [2, 4]},
    ),
    "another axis": (
        "gradients/conv.weight", (3, 4, 5), np.s_[:, :, 1:3], "axis", "only at 1-2 of axis 2",
        {"axis": 2},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", PLACES)
def test_where_a_tensor_differs(case: str) -> None:
    name, shape, where, kind, about, fields = PLACES[case]
    pattern = only(name, *changed(shape, where))
    assert (pattern.kind, pattern.about) == (kind, about)
    assert fields.items() <= pattern.fields.items()


def test_padding_and_the_ends_of_sequences() -> None:
    steps, lengths = np.arange(T), np.array(LENGTHS)[:, None]
    padding = only(OUT, *changed((B, T, H), steps >= lengths))
    assert (padding.kind, padding.about) == ("padding", "only positions of padding")
    assert only(OUT, *changed((T, B, H), (steps >= lengths).T)).kind == "padding"
    ends = only(OUT, *changed((B, T, H), steps == lengths - 1))
    assert (ends.kind, ends.about) == ("ends", "only the last step of each sequence")
    assert not found(OUT, *changed((B, T, H), np.s_[:]))
    assert found(OUT, *changed((B, T, H), steps >= lengths - 1)) != [padding]


FACTORS: dict[str, tuple[float, str]] = {
    "valid": (sum(LENGTHS) / B / T, "0.742857 is the share of positions without padding"),
    "batch": (B, "5 is the batch size"),
    "1/batch": (1 / B, "1/5, where 5 is the batch size"),
    "time": (T, "7 is the number of time steps"),
    "all steps": (B * T, "35 is the batch size times the number of time steps"),
    "layers": (11, "11 is the number of layers"),
    "classes": (O, "4 is the number of classes"),
    "outputs": (1 / (B * O), "1/20, where 20 is the batch size times the number of classes"),
    "features": (13, "13 is the number of features"),
    "tokens": (sum(LENGTHS), "26 is the sum of the lengths"),
    "mean length": (sum(LENGTHS) / B, "5.2 is the mean length"),
    "accumulated": (6, "6 is the number of accumulated batches"),
    "root": (3**0.5, "1.73205 is the square root of the hidden size"),
    "an axis": (
        17**-0.5,
        "1/4.12311, where 4.12311 is the square root of 17, the size of an axis",
    ),
    "rates": (10, "10 is the ratio of the learning rates 0.1 and 0.01"),
    "kept": (0.7, "0.7 is 1 - p of a dropout of 0.3"),
}


@pytest.mark.parametrize("case", FACTORS)
def test_a_factor_and_of_what(case: str) -> None:
    factor, of = FACTORS[case]
    b = values(9, 17)
    pattern = only("gradients/head.weight", factor * b, b)
    assert pattern.kind == "factor"
    assert pattern.fields["factor"] == pytest.approx(factor, rel=1e-10)
    assert of in pattern.fields["of"]
    assert pattern.about.startswith(f"jax is {factor:.6g} times torch: ")
    # Of one number, every number is a multiple: only a known factor says something. No reduction
    # brings these about.
    never = case in ("layers", "features", "root", "an axis", "rates", "kept")
    assert [p.fields["of"] for p in found("loss/loss", factor * 1.37, 1.37)] == (
        [] if never else [pattern.fields["of"]]
    )
    assert not found("loss/loss", factor * 1.37, 1.37 * 1.001)


def test_a_factor_of_nothing_known_and_one_of_squares() -> None:
    b = values(6, 8)
    pattern = only("gradients/head.weight", 1.37 * b, b)
    assert pattern.about == "jax is 1.37 times torch"
    assert pattern.fields["of"] == []
    assert not found("gradients/head.weight", (1.37 + 1e-7 * values(6, 8, seed=3)) * b, b)
    facts = Facts(batch=19)
    squared = only("moments/exp_avg_sq.head.weight", 361 * b, b, facts)
    assert squared.fields["of"] == ["361 is the square of the batch size"]
    assert only("gradients/head.weight", 361 * b, b, facts).fields["of"] == []


def test_a_factor_for_each_example_row_or_column() -> None:
    b, lengths = values(B, T, H), np.array(LENGTHS)[:, None, None]
    for factors, of in (
        (lengths, "its length"),
        (1 / lengths, "one over its length"),
        (lengths / T, "its length as a share of the time steps"),
        (T / lengths, "the time steps over its length"),
    ):
        pattern = found(OUT, factors * b, b)[0]
        assert (pattern.kind, pattern.fields["of"]) == ("factors", of)
        assert pattern.about == f"jax is torch times a factor for each example: {of}"
    b, rows = values(9, 5), values(9, 1, seed=4)
    assert only("gradients/head.weight", rows * b, b).about.endswith("a factor for each row")
    columns = only("gradients/head.weight", b * values(5, seed=5), b)
    assert columns.fields["axis"] == 1
    assert columns.fields["factors"] == pytest.approx(values(5, seed=5))


def test_a_sign_an_offset_and_zeros() -> None:
    b = values(12, I)
    assert only(IH, -b, b).about == "jax has the opposite sign"
    offset = only(IH, b - 0.25, b)
    assert (offset.about, offset.fields["offset"]) == ("jax is torch - 0.25", pytest.approx(-0.25))
    assert only(IH, 0 * b, b).about == "jax has zeros, the other has not"
    assert only(IH, b, 0 * b + 1e-13).fields["side"] == "torch"
    assert only("loss/loss", -1.5, 1.5).kind == "sign"


def test_a_relation_of_the_elements_that_differ() -> None:
    b = values(12, I)
    a = b.copy()
    a[3:6] *= -1
    sign, gates = found(IH, a, b)
    assert (sign.about, gates.about) == (
        "jax has the opposite sign where they differ", "only the rows of gate f",
    )  # fmt: skip
    assert not sign.fields["everywhere"]
    a = b.copy()
    a[9:] = 0
    assert [p.kind for p in found(IH, a, b)] == ["zeros", "gates"]
    facts = replace(FACTS, first="port", second="original")
    told = [p.about for p in found(IH, 2 * a, a, facts)]
    assert told[0].startswith("port is 2 times original")
    assert told[1:] == ["only the rows of gates i and f and g"]
    a = b.copy()
    a[9:, 0] = 0
    assert [p.kind for p in found(IH, a, b)] == ["zeros", "gates", "columns"]


def test_values_that_are_not_finite() -> None:
    b = values(3, 4)
    a = b.copy()
    a[1, 2] = np.nan
    first, *where = found("logits/outputs", a, b, Facts())
    assert first.about == "jax has 1 value that is not finite, the first at [1, 2]"
    assert [p.kind for p in where] == ["axis", "axis"]
    assert patterns("x/y", a, b * np.inf, a != b, Facts())[0].fields["side"] == "both"
    infinite = b + np.array([np.inf, 0, 0, 0])
    both = patterns("x/y", b, infinite, b != infinite, Facts())[0]
    assert both.about == "torch has 3 values that are not finite, the first at [0, 0]"


MOVES: dict[str, tuple] = {
    "gates": (
        IH, (12, I), lambda b: b.reshape(4, 3, I)[[0, 1, 3, 2]].reshape(12, I),
        "the gates stand in the order i f o g, not i f g o", {"gates": "ifog"},
    ),
    "directions": (
        OUT, (B, T, 2 * H), lambda b: np.roll(b, H, -1),
        "the halves of the directions are swapped along axis 2", {"directions": True},
    ),
    "time reversed": (
        OUT, (B, T, H), lambda b: b[:, ::-1], "reversed along axis 1, the steps", {"axis": 1},
    ),
    "rolled": (
        OUT, (B, T, H), lambda b: np.roll(b, 1, 1), "rolled by one forward along axis 1, the steps",
        {"rolled": 1},
    ),
    "rolled back": (
        "gradients/e.weight", (9, 4), lambda b: np.roll(b, -1, 0),
        "rolled by one back along axis 0, the rows", {"rolled": -1},
    ),
    "another order": (
        "gradients/e.weight", (5, 4), lambda b: b[[2, 0, 1, 4, 3]],
        "in another order along axis 0, the rows: [2, 0, 1, 4, 3]", {"order": [2, 0, 1, 4, 3]},
    ),
    "transposed": ("weights/q.weight", (6, 6), lambda b: b.T, "transposed", {"reshaped": False}),
    "reshaped": (
        "logits/outputs", (4, 6), lambda b: b.T.reshape(4, 6),
        "transposed, and read in the old shape", {"reshaped": True},
    ),
    "axes": (
        "weights/c.weight", (4, 3, 4), lambda b: b.transpose(2, 1, 0), "axes 0 and 2 are swapped",
        {"axes": [2, 1, 0]},
    ),
    "cycle": (
        "weights/c.weight", (3, 3, 3), lambda b: b.transpose(1, 2, 0),
        "the axes are in the order [1, 2, 0]", {"axes": [1, 2, 0]},
    ),
    "anywhere": (
        "gradients/e.weight", (9, 4), lambda b: np.random.default_rng(5).permutation(b.ravel())
        .reshape(9, 4), "the same values at other places", {},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", MOVES)
def test_the_same_values_at_other_places(case: str) -> None:
    name, shape, move, about, fields = MOVES[case]
    b = values(*shape)
    pattern = found(name, move(b), b)[0]
    assert (pattern.kind, pattern.about) == ("permutation", about)
    assert fields.items() <= pattern.fields.items()


def test_one_step_later() -> None:
    b = values(B, T, H)
    a = np.concatenate([values(B, 1, H, seed=3), b[:, :-1]], 1)
    assert only(OUT, a, b).about == "jax is one time step later than torch"
    assert only(OUT, b, a).fields["by"] == -1


def test_no_pattern_where_there_is_none() -> None:
    assert not found(IH, values(12, I, seed=1), values(12, I))
    assert not found(OUT, values(B, T, H, seed=1), values(B, T, H))
    assert not found("loss/loss", 1.7, 1.3)
    b = values(B, T, H)
    assert not found(OUT, b, b)
    assert not found("logits/outputs", np.full((3, 4), 1.7), np.full((3, 4), 1.3), Facts())


def test_the_rhythm_of_deviations() -> None:
    def rhythm(steps: list[int], n: int = 12, **options: Any) -> str | None:
        series = [0.5 if step in steps else 1e-13 for step in range(1, n + 1)]
        pattern = growth_pattern(series, 1e-9, **options)
        return None if pattern is None else pattern.about

    small = [8, 8, 8, 3] * 3
    last = [4, 8, 12]
    assert rhythm(last, batches=4) == "only at the last batch of each epoch"
    assert rhythm(last, sizes=small) == "only at batches with fewer examples than others"
    assert rhythm(last) == "at every 4th step"
    assert rhythm([2, 4, 6, 8, 10, 12]) == "at every second step"
    assert rhythm([3, 6, 9, 12], batches=4) == "at every third step"
    assert rhythm(list(range(7, 13))) is None
    assert rhythm(list(range(5, 13)), batches=4) == "from step 5 on, the first of epoch 2"
    assert rhythm(list(range(8, 13)), batches=4) == "from step 8 on, the last of epoch 2"
    assert rhythm(list(range(4, 13)), sizes=small) == (
        "from step 4 on, the first batch with fewer examples than others"
    )
    assert rhythm([12]) is None
    assert rhythm([2, 3, 9]) is None
    assert rhythm([]) is None
    assert rhythm(list(range(1, 13))) is None
    assert growth_pattern([1e-13, float("nan")], 1e-9, [8, 3]) is not None
