"""Of all combinations of choices a few, in which any two choices meet, or any three."""

import itertools
from collections.abc import Container, Iterable, Sequence
from typing import Any, TypeVar

import pytest

Case = TypeVar("Case", bound=tuple)


def covering(cases: Sequence[Case], strength: int = 2) -> list[Case]:
    """Some of the cases, in which any two choices meet that meet in any, or as many as `strength`
    says: always the one that adds most to those before. Choices are told apart by their places."""

    def meetings(case: Case) -> set[tuple]:
        return set(itertools.combinations(enumerate(case), strength))

    missing, chosen = set().union(*map(meetings, cases)), []
    while missing:
        chosen.append(max(cases, key=lambda case: len(meetings(case) & missing)))
        missing -= meetings(chosen[-1])
    return chosen


def few_by_default(cases: Sequence[Case]) -> list[Any]:
    """All cases for pytest, those that `covering` leaves out marked slow."""
    return slow_but(cases, covering(cases))


def each_by_default(*choices: Iterable[Any]) -> list[Any]:
    """All combinations for pytest, but for a few with each choice marked slow."""
    cases = list(itertools.product(*choices))
    return slow_but(cases, covering(cases, strength=1))


def slow_but(cases: Iterable[Any], usual: Container[Any]) -> list[Any]:
    """All cases for pytest, those that are not among the usual ones marked slow."""
    return [
        pytest.param(
            *(case if isinstance(case, tuple) else (case,)),
            marks=() if case in usual else pytest.mark.slow,
        )
        for case in cases
    ]
