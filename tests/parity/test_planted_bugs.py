"""Mistakes of porters, planted in six models of real shape, are located and called by their names.

What is planted, and what it should be called: tests/support/real_models/planted.py.
"""

import pytest

from tests.support.real_models.planted import BUGS, PHASES

QUICK = (
    "layers in another order",
    "another learning rate",
    "each tensor clipped",
    "no bias correction",
)
"""Those of the policy, which compiles in the least time."""
NAMES = [pytest.param(name, marks=[] if name in QUICK else [pytest.mark.slow]) for name in BUGS]


@pytest.mark.parametrize("name", NAMES)
def test_a_mistake_is_located_and_named(name: str) -> None:
    bug = BUGS[name]
    pair = bug.pair()
    assert pair.comparison.difference is not None
    assert pair.comparison.difference.phase in PHASES[bug.where]
    assert pair.diagnosis is not None
    causes = pair.diagnosis.causes
    if bug.unnamed:  # else the table is out of date
        assert not [cause for cause in causes if cause.startswith(bug.cause)]
    else:
        assert causes
        assert [cause for cause in causes if not cause.startswith(bug.cause)] == []


def test_of_thirty_mistakes_at_least_27_are_named() -> None:
    named = [name for name, bug in BUGS.items() if not bug.unnamed]
    assert len(BUGS) >= 30
    assert len(named) >= 0.9 * len(BUGS)
    assert len({bug.compare for bug in BUGS.values()}) == 6
