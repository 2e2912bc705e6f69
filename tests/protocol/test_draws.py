"""Recorded draws, handed out: what fits, and what is refused by name."""

import random
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from shared.errors import InvalidInput
from shared.protocol.draws import Draw, Replay, scalar, seeded, user_line

MASK = np.array([[True, False, True], [False, True, True]])


def draw(kind: str = "bernoulli", values: Any = MASK, module: str = "", **settings: Any) -> Draw:
    values = np.asarray(values)
    if kind == "bernoulli":
        settings = {"p": 0.5} | settings
    return Draw(kind, values.shape, settings, values, module)


def refused(action: Callable[[], Any]) -> str:
    with pytest.raises(InvalidInput) as error:
        action()
    return str(error.value)


def test_draws_are_handed_out_once_and_in_order() -> None:
    replay = Replay([draw(), draw(values=~MASK)])
    assert np.array_equal(replay.take("bernoulli", (2, 3), {"p": 0.5}), MASK)
    assert np.array_equal(replay.take("bernoulli", (2, 3), {"p": 0.5}), ~MASK)
    replay.finish()
    assert replay.replayed == 2


def test_one_draw_too_many_is_named() -> None:
    replay = Replay([draw()])
    replay.take("bernoulli", (2, 3), {"p": 0.5})
    told = refused(lambda: replay.take("bernoulli", (3, 4), {"p": 0.5}, "enc.drop", "port.py:3"))
    assert told == (
        "jax draws bernoulli(0.5) of (3, 4) in enc.drop (port.py:3), torch drew nothing more "
        "(draws of Python's random and of NumPy are not counted, which are seeded alike on both "
        "sides; only those of the framework are): 1 draw replayed"
    )


def test_draws_left_over_are_named() -> None:
    replay = Replay([draw(module="enc")] * 4, drew="theirs", asks="ours")
    one = "bernoulli(0.5) of (2, 3) in enc"
    assert refused(replay.finish) == (
        f"theirs drew 4 more than ours: {one}; {one}; {one}; …: 0 draws replayed"
    )


@pytest.mark.parametrize(
    ("kind", "shape", "settings", "asked", "reason"),
    [
        ("uniform", (2, 3), {"low": 0, "high": 1}, "uniform(0, 1) of (2, 3)", "another kind"),
        ("bernoulli", (3, 4), {"p": 0.3}, "bernoulli(0.3) of (3, 4)", "another shape"),
        ("bernoulli", (2, 3), {"p": 0.4}, "bernoulli(0.4) of (2, 3)", "another probability"),
        (
            "bernoulli", (2, 3), {"p": 0.7}, "bernoulli(0.7) of (2, 3)",
            "another probability (is a 1 what is kept, or what is dropped?)",
        ),
        (
            "poisson", (2, 3), {}, "poisson of (2, 3)",
            "poisson is not replayed (what is: bernoulli, uniform, normal, integers, permutation, "
            "categorical, exponential, gumbel)",
        ),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(kind, shape, settings, asked, reason) -> None:
    replay = Replay([draw(module="enc", p=0.3)])
    assert refused(lambda: replay.take(kind, shape, settings)) == (
        f"jax draws {asked}, torch drew bernoulli(0.3) of (2, 3) in enc: {reason}: 0 draws replayed"
    )


def test_what_was_drawn_of_an_unknown_kind_is_named() -> None:
    replay = Replay([draw("rrelu_with_noise", np.ones(3))])
    told = refused(lambda: replay.take("uniform", (3,), {"low": 0.0, "high": 1.0}))
    assert "torch drew rrelu_with_noise of (3,): rrelu_with_noise is not replayed" in told


@pytest.mark.parametrize(
    ("kind", "mine", "values", "theirs", "expected"),
    [
        ("uniform", {"low": -1.0, "high": 3.0}, [0.0, 2.0], {"low": 0.0, "high": 2.0}, [0.5, 1.5]),
        ("normal", {"mean": 1.0, "std": 2.0}, [2.0, 5.0], {"mean": 3.0, "std": 1.0}, [3.5, 5.0]),
        ("normal", {"mean": np.array([1.0, 4.0]), "std": 2.0}, [2.0, 5.0],
         {"mean": 0.0, "std": 1.0}, [0.5, 0.5]),
        ("exponential", {"rate": 2.0}, [0.5, 1.0], {"rate": 4.0}, [0.25, 0.5]),
    ],
)  # fmt: skip
def test_numbers_are_brought_into_the_range_asked_for(kind, mine, values, theirs, expected) -> None:
    replay = Replay([draw(kind, values, **mine)])
    assert np.allclose(replay.take(kind, (2,), theirs), expected, rtol=0, atol=1e-15)


def test_an_exponential_is_a_gumbel_and_back() -> None:
    gumbel = Replay([draw("exponential", [0.3, 2.0], rate=2.0)]).take("gumbel", (2,), {})
    assert np.allclose(gumbel, -np.log([0.6, 4.0]))
    back = Replay([draw("gumbel", gumbel)]).take("exponential", (2,), {"rate": 2.0})
    assert np.allclose(back, [0.3, 2.0])


def test_a_std_of_zero_says_nothing() -> None:
    replay = Replay([draw("normal", [1.0], mean=1.0, std=0.0)])
    told = refused(lambda: replay.take("normal", (1,), {"mean": 0.0, "std": 1.0}))
    assert "a std of 0 says nothing of what was drawn" in told


def test_integers_of_another_range_are_refused() -> None:
    replay = Replay([draw("integers", [1, 4], low=0.0, high=5.0)])
    assert "another range" in refused(
        lambda: replay.take("integers", (2,), {"low": 1.0, "high": 5.0})
    )


@pytest.mark.parametrize(
    ("probabilities", "reason"),
    [([[0.2, 0.8]], None), ([[0.5, 0.5]], "other probabilities"), ([[0.2, 0.7, 0.1]], "number of")],
)
def test_categories_need_the_same_probabilities(probabilities, reason) -> None:
    drawn = draw("categorical", [[1]], probabilities=np.array([0.2, 0.8]))
    asked = {"probabilities": np.array(probabilities)}
    if reason is None:
        assert Replay([drawn]).take("categorical", (1,), asked).tolist() == [1]
    else:
        assert reason in refused(lambda: Replay([drawn]).take("categorical", (1,), asked))


def test_axes_of_length_one_may_stand_elsewhere() -> None:
    channels = draw(values=np.array([[True, False]]).reshape(1, 2, 1, 1))
    taken = Replay([channels]).take("bernoulli", (1, 1, 1, 2), {"p": 0.5})
    assert taken.tolist() == [[[[True, False]]]]


def test_each_element_may_have_a_probability_of_its_own() -> None:
    p = np.array([0.2, 0.3, 0.4])
    replay = Replay([draw(p=p), draw(p=p)])
    replay.take("bernoulli", (2, 3), {"p": np.array([[0.2, 0.3, 0.4]] * 2)})
    told = refused(lambda: replay.take("bernoulli", (2, 3), {"p": np.array([0.2, 0.3, 0.5])}))
    assert told.startswith("jax draws bernoulli(array of (3,)) of (2, 3), torch drew")


# By name -------------------------------------------------------------------------------------


def test_modules_that_draw_in_another_order_are_handed_over_by_name() -> None:
    draws = [draw(module="a"), draw(values=~MASK, module="b.drop"), draw(values=MASK[:1])]
    replay = Replay(draws, {"a": "one", "b": "two"})
    assert np.array_equal(replay.take("bernoulli", (2, 3), {"p": 0.5}, "two.drop"), ~MASK)
    assert np.array_equal(replay.take("bernoulli", (1, 3), {"p": 0.5}, "other"), MASK[:1])
    assert np.array_equal(replay.take("bernoulli", (2, 3), {"p": 0.5}, "one"), MASK)
    replay.finish()
    told = refused(lambda: replay.take("bernoulli", (2, 3), {"p": 0.5}, "two"))
    assert "torch drew nothing more in b (draws of Python's random and of NumPy are not" in told
    assert told.endswith(": 3 draws replayed")


def test_a_draw_that_fits_later_hints_at_names() -> None:
    replay = Replay([draw(module="a", p=0.3), draw(module="b")])
    told = refused(lambda: replay.take("bernoulli", (2, 3), {"p": 0.5}, "two"))
    assert "(one that fits comes later: name modules, as in dropout={'b': 'two'})" in told


def test_axes_are_ordered_by_name() -> None:
    values = np.arange(6).reshape(1, 2, 3) % 2 == 0
    p = np.array([[0.2], [0.3]])
    drawn = draw(values=values, module="enc.drop", p=p)
    replay = Replay([drawn, drawn], {"enc.drop": "drop BCL->BLC"})
    taken = replay.take("bernoulli", (1, 3, 2), {"p": np.array([0.2, 0.3])}, "drop")
    assert np.array_equal(taken, values.transpose(0, 2, 1))
    told = refused(lambda: replay.take("bernoulli", (1, 2, 3), {"p": 0.5}, "drop"))
    assert "another shape: " in told


@pytest.mark.parametrize(
    ("drawn", "asked", "axes"),
    [
        ((2, 3), (3, 2), "BF->FB"),
        ((2, 3, 4), (2, 4, 3), "BCL->BLC"),
        ((4, 2, 3), (2, 4, 3), "TBF->BTF"),
        ((2, 3, 4), (4, 2, 3), "BCL->LBC"),
        ((2, 2, 3), (3, 2, 2), "BCL->LBC"),  # and LCB
        ((2, 3, 4, 5), (2, 4, 5, 3), "BCHW->BHWC"),
        ((1, 3, 1, 5), (1, 1, 5, 3), "BCHW->BHWC"),
        ((2, 3, 4, 5, 6), (2, 4, 5, 6, 3), "BCDHW->BDHWC"),
        ((2, 3, 4, 5, 6, 7), (7, 2, 3, 4, 5, 6), "abcdef->fabcde"),
    ],
)
def test_another_order_of_axes_is_told_with_names_that_are_taken(drawn, asked, axes) -> None:
    values = np.random.default_rng(0).random(drawn) < 0.5
    given = [draw(values=values, module="tcn.drop")] * 2
    replay = Replay([draw(), *given])
    replay.take("bernoulli", (2, 3), {"p": 0.5})
    told = refused(lambda: replay.take("bernoulli", asked, {"p": 0.5}, "blocks.drop"))
    assert told.endswith(
        ": another shape: 1 draw replayed; if only the order of the axes differs, name the "
        f'modules: dropout={{"tcn.drop": "blocks.drop {axes}"}}'
    )
    [(theirs, ours)] = re.findall(r'dropout={"(.*)": "(.*)"}', told)
    taken = Replay(given, {theirs: ours}).take("bernoulli", asked, {"p": 0.5}, "blocks.drop")
    theirs, ours = axes.split("->")
    assert np.array_equal(taken, values.transpose([theirs.index(axis) for axis in ours]))


def test_axes_outside_of_all_modules_have_no_name() -> None:
    told = refused(lambda: Replay([draw()]).take("bernoulli", (3, 2), {"p": 0.5}))
    assert told.endswith(
        ": 0 draws replayed; if only the order of the axes differs (BF->FB), draw inside of a "
        "submodule, and name it"
    )


def test_other_refusals_tell_nothing_of_axes() -> None:
    for kind, shape in (("bernoulli", (3, 3)), ("bernoulli", (1, 3, 2)), ("normal", (3, 2))):
        settings = {"p": 0.5, "mean": 0.0, "std": 1.0}
        replay = Replay([draw(module="a")])
        told = refused(lambda r=replay, k=kind, s=shape, v=settings: r.take(k, s, v, "b"))
        assert told.endswith(": 0 draws replayed")
    replay = Replay([draw(module="a")], {"a": "b BF->BF"})  # who names axes knows of them
    told = refused(lambda: replay.take("bernoulli", (3, 2), {"p": 0.5}, "b"))
    assert "another shape: " in told
    assert told.endswith(": 0 draws replayed")


# The process ---------------------------------------------------------------------------------


def test_the_process_keeps_its_generators() -> None:
    before, before_numpy = random.getstate(), np.random.get_state()[1].tolist()  # pyright: ignore
    found = []
    for _ in range(2):
        with seeded(7):
            found.append((random.random(), np.random.rand()))
    assert found[0] == found[1]
    assert random.getstate() == before
    assert np.random.get_state()[1].tolist() == before_numpy  # pyright: ignore


def test_the_line_is_that_of_the_user() -> None:
    assert user_line([]).startswith(f"{__file__}:")
    assert __file__ not in user_line([__file__])


def test_a_setting_that_is_the_same_everywhere_is_a_number() -> None:
    assert scalar(np.full((2, 3), 0.5)) == 0.5
    assert scalar(np.array([0.5, 0.6])).tolist() == [0.5, 0.6]  # pyright: ignore
