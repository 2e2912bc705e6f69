"""The options that a study varies, and the combinations of their values: all of them, or drawn.

    space = read_space([("learning-rate", "log:1e-4..1e-1"), ("hidden-size", "16", "32")], config)
    for values in drawn(space, seed=0): …    # {"learning-rate": 0.003472, "hidden-size": 16}
    config = configured(config, values)

A grid has values only, and a random search may have ranges, too.
"""

import csv
import difflib
import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import NoneType, UnionType
from typing import Any, NamedTuple, Union, get_args, get_origin, get_type_hints

from shared.config import Config
from shared.config.options import settings
from shared.errors import InvalidInput
from shared.system.randomness import generator

Value = bool | int | float | str | tuple[int | float | str, ...] | None
Values = dict[str, Value]
"""Option, without "--" → its value in one combination."""

NUMBER = r"[-+]?(?:\d+(?:\.\d+)?|\.\d+)(?:[eE][-+]?\d+)?"
RANGE = re.compile(rf"(log:)?({NUMBER})\.\.({NUMBER})")
DIGITS = 4
"""Significant digits of a number that is drawn from a range, so that it can be typed again."""
REPEATED = 10_000
"""Draws in a row that bring no new combination, after which no more are expected."""


class Range(NamedTuple):
    """Numbers to draw from, the ends among them."""

    low: float
    high: float
    log: bool
    """True if the logarithms of the numbers are drawn evenly."""
    whole: bool
    """True if the numbers are integers."""


@dataclass(frozen=True)
class Varied:
    """An option that a study varies."""

    name: str
    """Name on the command line, without "--"."""
    words: tuple[str, ...]
    """Its values as they were given."""
    values: tuple[Value, ...] = ()
    """Values to choose from; none if they are drawn from a range."""
    range: Range | None = None


def read_space(given: Sequence[Sequence[str]], config: Config) -> list[Varied]:
    """Reads the options to vary, each a name with its values or with a range.

    Args:
        given: such as [("hidden-size", "16", "32"), ("learning-rate", "log:1e-4..1e-1")].
        config: a configuration of the task, which says what options there are.

    Raises:
        InvalidInput: no option, an unknown one, one named twice, or values that are none of it.
    """
    if not given:
        raise InvalidInput("a study varies options: expected --vary NAME VALUE VALUE …, or --file")
    kinds = _kinds(config)
    space: list[Varied] = []
    for name, *words in ((words[0].removeprefix("--"), *words[1:]) for words in given if words):
        _check_name(name, kinds, space)
        space.append(_varied(name, words, kinds[name]))
    return space


def grid(space: Sequence[Varied]) -> Iterator[Values]:
    """Yields all combinations; the last option changes fastest.

    Raises:
        InvalidInput: an option has a range.
    """
    for option in space:
        if option.range is not None:
            raise InvalidInput(
                f"--vary {option.name}: expected values for a grid, got the range "
                f"{option.words[0]}; --random 20 draws 20 combinations"
            )
    names = [option.name for option in space]
    for values in itertools.product(*(option.values for option in space)):
        yield dict(zip(names, values, strict=True))


def drawn(space: Sequence[Varied], seed: int) -> Iterator[Values]:
    """Yields different combinations at random: always the same ones, in the same order.

    A draw of one option depends on the seed, the option's name and the number of the draw alone,
    and not on how many combinations are wanted. It ends where no new combination is found.
    """
    seen: set[tuple[Value, ...]] = set()
    since = 0
    for number in itertools.count():
        values = {option.name: _draw(option, seed, number) for option in space}
        key = (*values.values(),)
        since += 1
        if key not in seen:
            seen.add(key)
            since = 0
            yield values
        elif since == REPEATED or len(seen) == size(space):
            return


def size(space: Sequence[Varied]) -> float:
    """Returns how many combinations there are; infinity where numbers are drawn."""
    counts = (
        len(option.values)
        if option.range is None
        else option.range.high - option.range.low + 1 if option.range.whole else math.inf
        for option in space
    )  # fmt: skip
    return math.prod(counts)


def configured(config: Config, values: Mapping[str, Value]) -> Config:
    """Returns a configuration with other values of some options; it is not checked."""
    parts: dict[str, dict[str, Value]] = {"": {}, "network": {}, "optimization": {}, "data": {}}
    for name, value in values.items():
        where, field = _place(name, config)
        parts[where][field] = value
    own = {part: replace(getattr(config, part), **parts[part]) for part in parts if part}
    return replace(config, **parts[""], **own)


def word(value: Value) -> str:
    """Returns a value as `--vary` takes it."""
    if isinstance(value, tuple):
        return ",".join(f'"{one}"' if "," in str(one) else str(one) for one in value)
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)


def described(values: Mapping[str, Value]) -> str:
    """Names a combination: "learning-rate 0.003, hidden-size 64"."""
    return ", ".join(f"{name} {word(value)}" for name, value in values.items())


def _place(name: str, config: Config) -> tuple[str, str]:
    """Returns the part of a configuration with an option ("" for itself), and its field there."""
    field = name.removeprefix("data.").replace("-", "_")
    if name.startswith("data."):
        return "data", field
    for part in ("network", "optimization"):
        if field in vars(getattr(config, part)):
            return part, field
    return "", field


def _kinds(config: Config) -> dict[str, Any]:
    """Returns the type of each option, by its name."""
    found: dict[str, Any] = {}
    for name in settings(config):
        part, field = _place(name, config)
        owner: object = getattr(config, part) if part else config
        found[name] = get_type_hints(type(owner))[field]
    return found


def _check_name(name: str, kinds: Mapping[str, Any], space: Sequence[Varied]) -> None:
    if name == "task":
        raise InvalidInput(
            "--vary task: expected an option of one task, whose losses can be compared; "
            "make a study of each task"
        )
    if name == "seed":
        raise InvalidInput(
            "--vary seed: a seed is not chosen; --seeds 0..2 trains each combination from three"
        )
    if name not in kinds:
        near = difflib.get_close_matches(name, kinds, n=1)
        hint = f"such as {near[0]}" if near else f"any of {', '.join(kinds)}"
        raise InvalidInput(f"--vary {name}: expected an option of run with this task, {hint}")
    if name in [option.name for option in space]:
        raise InvalidInput(f"--vary {name}: expected each option once, got it twice")


def _varied(name: str, words: Sequence[str], kind: Any) -> Varied:
    """Reads the values of an option, or its range."""
    if not words:
        raise InvalidInput(f"--vary {name}: expected values, or a range such as 0..0.5, got none")
    numeric = {int, float} & {kind, *get_args(kind)}
    ranges = [word for word in words if numeric and RANGE.fullmatch(word)]
    if ranges and len(words) > 1:
        raise InvalidInput(f"--vary {name}: expected a range alone, got {' '.join(words)}")
    if ranges:
        return Varied(name, (*words,), range=_range(name, words[0], whole=float not in numeric))
    values = tuple(_read(name, one, kind) for one in words)
    twice = next((one for one in values if values.count(one) > 1), ...)
    if twice is not ...:
        raise InvalidInput(f"--vary {name}: expected each value once, got {word(twice)} twice")
    return Varied(name, (*words,), values)


def _range(name: str, text: str, whole: bool) -> Range:
    match = RANGE.fullmatch(text)
    assert match is not None
    try:
        low, high = (int(end) if whole else float(end) for end in match.groups()[1:])
    except ValueError:
        raise InvalidInput(f"--vary {name}: expected a range of integers, got {text}") from None
    log = match[1] is not None
    if not low < high < math.inf:
        raise InvalidInput(f"--vary {name}: expected the smaller number first, got {text}")
    if log and low <= 0:
        raise InvalidInput(f"--vary {name}: expected numbers above 0 for log:, got {text}")
    return Range(low, high, log, whole)


def _read(name: str, text: str, kind: Any) -> Value:
    """Reads one value of an option; `resolve` checks what it may be."""
    kinds = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    if NoneType in kinds and text.lower() == "none":
        return None
    (one,) = (kind for kind in kinds if kind is not NoneType)
    if get_origin(one) is not tuple:
        return _scalar(name, text, one)
    parts: list[str] = next(csv.reader([text]), list[str]())
    return tuple(_scalar(name, part, get_args(one)[0]) for part in parts)


def _scalar(name: str, text: str, kind: Any) -> bool | int | float | str:
    expected = {bool: "true or false", int: "an integer", float: "a number"}
    try:
        if kind is bool:
            return {"true": True, "false": False}[text.lower()]
        return kind(text) if kind in (int, float) else text
    except (KeyError, ValueError):
        raise InvalidInput(f"--vary {name}: expected {expected[kind]}, got {text}") from None


def _draw(option: Varied, seed: int, number: int) -> Value:
    u = float(generator(seed, f"study {option.name}", number).random())
    if option.range is None:
        return option.values[int(u * len(option.values))]
    low, high, log, whole = option.range
    top = high + 1 if whole else high
    found = low * (top / low) ** u if log else low + u * (top - low)
    found = math.floor(found) if whole else float(f"{found:.{DIGITS}g}")
    return min(max(found, type(found)(low)), type(found)(high))
