"""Options to vary are read as `run` would read them, and drawn combinations depend on no count."""

import itertools
import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest

from shared.config import Config, resolve
from shared.config.options import settings
from shared.errors import InvalidInput
from shared.jobs.search_space import (
    Range,
    Value,
    configured,
    described,
    drawn,
    grid,
    read_space,
    size,
    word,
)
from shared.tasks import TASKS

BASE = TASKS["volume"].defaults


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("hidden-size", "16", "32"), (16, 32)),
        (("learning-rate", "1e-3", "3e-3"), (1e-3, 3e-3)),
        (("betas", "0.9,0.999", "0.8,0.99"), ((0.9, 0.999), (0.8, 0.99))),
        (("bidirectional", "true", "False"), (True, False)),
        (("clip-norm", "none", "1"), (None, 1.0)),
        (("cell", "gru", "lstm"), ("gru", "lstm")),
        (("--epochs", "3"), (3,)),
    ],
)
def test_values_have_the_type_of_their_option(
    words: Sequence[str], expected: tuple[Value, ...]
) -> None:
    (option,) = read_space([words], BASE)
    assert option.values == expected
    assert [type(value) for value in option.values] == [type(value) for value in expected]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("dropout", "0..0.5"), Range(0.0, 0.5, False, False)),
        (("learning-rate", "log:1e-4..1e-1"), Range(1e-4, 1e-1, True, False)),
        (("hidden-size", "16..64"), Range(16, 64, False, True)),
        (("hidden-size", "log:8..512"), Range(8, 512, True, True)),
        (("forget-bias", "-1...5"), Range(-1.0, 0.5, False, False)),
    ],
)
def test_a_range_is_of_integers_where_its_option_is(words: Sequence[str], expected: Range) -> None:
    (option,) = read_space([words], BASE)
    assert option.range == expected
    assert option.values == ()


REFUSED = {
    "no option": ([], r"expected --vary NAME VALUE VALUE …, or --file"),
    "a wrong name": ([("hiden-size", "3")], r"--vary hiden-size: .*such as hidden-size$"),
    "another task's": ([("data.words", "a")], r"--vary data.words: expected an option of run"),
    "an option of the command": ([("out", "a")], r"--vary out: expected an option of run"),
    "tasks": ([("task", "adding", "copy")], r"--vary task: .*a study of each task"),
    "seeds": ([("seed", "1", "2")], r"--vary seed: .*--seeds 0\.\.2"),
    "twice": ([("epochs", "1"), ("epochs", "2")], r"--vary epochs: expected each option once"),
    "no value": ([("epochs",)], r"--vary epochs: expected values.*got none"),
    "a value twice": ([("epochs", "1", "2", "1")], r"--vary epochs: .*value once, got 1 twice"),
    "no integer": ([("epochs", "1.5")], r"--vary epochs: expected an integer, got 1\.5"),
    "no number": ([("dropout", "much")], r"--vary dropout: expected a number, got much"),
    "no truth": ([("tied", "1")], r"--vary tied: expected true or false, got 1"),
    "a broken range": ([("epochs", "1..2.5")], r"--vary epochs: .*of integers, got 1\.\.2\.5"),
    "a range and more": ([("dropout", "0..1", "2")], r"--vary dropout: expected a range alone"),
    "backwards": ([("dropout", "0.5..0.1")], r"--vary dropout: expected the smaller number first"),
    "to infinity": ([("dropout", "0..1e999")], r"--vary dropout: expected the smaller"),
    "log of zero": ([("dropout", "log:0..1")], r"--vary dropout: .*numbers above 0 for log:"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_no_option_can_be_is_refused(name: str) -> None:
    given, message = REFUSED[name]
    with pytest.raises(InvalidInput, match=message):
        read_space(given, BASE)


def test_a_grid_has_every_combination_once_and_the_last_option_changes_fastest() -> None:
    space = read_space([("learning-rate", "1e-3", "1e-2"), ("cell", "rnn", "gru", "lstm")], BASE)
    expected = [*itertools.product((1e-3, 1e-2), ("rnn", "gru", "lstm"))]
    assert [tuple(values.values()) for values in grid(space)] == expected
    assert size(space) == 6


def test_a_grid_of_a_range_is_refused() -> None:
    space = read_space([("epochs", "1", "2"), ("dropout", "0..0.5")], BASE)
    with pytest.raises(InvalidInput, match=r"--vary dropout: .*got the range 0\.\.0\.5; --random"):
        next(grid(space))


SPACE = read_space(
    [("learning-rate", "log:1e-4..1e-1"), ("hidden-size", "log:1..64"), ("batch-size", "3..5"),
     ("cell", "rnn", "gru")], BASE,
)  # fmt: skip


def test_combination_k_does_not_depend_on_how_many_are_drawn() -> None:
    assert [*itertools.islice(drawn(SPACE, 0), 40)][:20] == [*itertools.islice(drawn(SPACE, 0), 20)]
    assert next(drawn(SPACE, 0)) != next(drawn(SPACE, 1))


def test_a_draw_of_one_option_does_not_depend_on_the_others() -> None:
    alone = [one["learning-rate"] for one in itertools.islice(drawn(SPACE[:1], 0), 20)]
    assert [one["learning-rate"] for one in itertools.islice(drawn(SPACE, 0), 20)] == alone
    turned = [one["learning-rate"] for one in itertools.islice(drawn(SPACE[::-1], 0), 20)]
    assert turned == alone


def test_no_combination_is_drawn_twice_and_a_small_space_is_exhausted() -> None:
    small = read_space([("batch-size", "3..5"), ("cell", "rnn", "gru")], BASE)
    found = [tuple(one.values()) for one in drawn(small, 7)]
    assert sorted(found) == sorted(itertools.product((3, 4, 5), ("rnn", "gru")))
    assert size(small) == 6
    assert size(SPACE) == math.inf


def test_draws_follow_their_distribution() -> None:
    many = [*itertools.islice(drawn(SPACE, 3), 2000)]
    rates = np.log10([float(one["learning-rate"]) for one in many])  # pyright: ignore
    assert rates.min() >= -4
    assert rates.max() <= -1
    assert np.histogram(rates, [-4, -3, -2, -1])[0] == pytest.approx([2000 / 3] * 3, rel=0.1)
    sizes = np.array([one["hidden-size"] for one in many])
    assert {*sizes.tolist()} <= {*range(1, 65)}
    # A whole number k stands for the logarithms from log k to log (k + 1).
    expected = 2000 * np.diff(np.log([1, 2, 4, 8, 16, 32, 65])) / np.log(65)
    assert np.histogram(sizes, [1, 2, 4, 8, 16, 32, 65])[0] == pytest.approx(expected, rel=0.15)
    batches = Counter(one["batch-size"] for one in many)
    assert {*batches} == {3, 4, 5}
    assert [*batches.values()] == pytest.approx([2000 / 3] * 3, rel=0.1)


def test_a_drawn_number_can_be_typed_again() -> None:
    for one in itertools.islice(drawn(SPACE, 0), 50):
        for option in SPACE:
            (again,) = read_space([(option.name, word(one[option.name]))], BASE)
            assert again.values == (one[option.name],)


def test_a_tuple_of_texts_with_commas_can_be_typed_again() -> None:
    columns = ("price, €", "open")
    given = [("data.features", word(columns))]
    (again,) = read_space(given, TASKS["forecast"].defaults)
    assert again.values == (columns,)


def test_a_combination_changes_its_options_and_nothing_else() -> None:
    values: dict[str, Value] = {"cell": "lstm", "learning-rate": 0.5, "epochs": 7}
    changed = configured(BASE, values)
    before, after = settings(BASE), settings(changed)
    assert {name for name in after if after[name] != before[name]} == {*values}
    assert {name: after[name] for name in values} == values
    assert isinstance(resolve(changed), Config)


def test_a_combination_is_named_as_it_is_typed() -> None:
    values: dict[str, Value] = {"learning-rate": 1e-5, "tied": True, "clip-norm": None}
    assert described(values) == "learning-rate 1e-05, tied true, clip-norm none"
