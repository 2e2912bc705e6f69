"""Pairwise testing: of all combinations of choices a few in which any two choices meet."""

import itertools
from collections.abc import Sequence
from typing import TypeVar

Case = TypeVar("Case", bound=tuple)


def covering(cases: Sequence[Case]) -> list[Case]:
    """Some of the cases, in which any two choices meet that meet in any: always the one that adds
    most to those before. Choices are told apart by their places."""

    def pairs(case: Case) -> set[tuple]:
        return set(itertools.combinations(enumerate(case), 2))

    missing, chosen = set().union(*map(pairs, cases)), []
    while missing:
        chosen.append(max(cases, key=lambda case: len(pairs(case) & missing)))
        missing -= pairs(chosen[-1])
    return chosen
