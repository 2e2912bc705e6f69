"""The tutorial's mistakes that show in a loss curve, and what is measured of each.

`docs/lessons/mistakes.py` trains with each, `page.py` draws the result. What each mistake is and
why it has its effect stands in `templates/mistakes.md.j2`.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np


class Mistake(NamedTuple):
    title: str
    effect: str
    """Effect on the curve."""
    command: str = ""
    """Command that shows it in this project."""


MISTAKES: dict[str, Mistake] = {
    "training-score": Mistake(
        "Accuracy on the training data is called test accuracy",
        "falls to nothing, though nothing can be known",
        "python scripts/run.py --backend torch --task random-labels "
        "--data.train-examples 500 --data.sequence-length 20 --epochs 100",
    ),
    "random-labels": Mistake(
        "The labels have nothing to do with the sequences",
        "stays at ln 2",
        "python scripts/run.py --backend torch --task random-labels --epochs 1",
    ),
    "no-recurrence": Mistake("The layer never walks over time", "stops at 2/5 ln 2"),
    "misplaced-weight": Mistake(
        "The input weights are added where a bias is meant",
        "looks right, though the layer has no memory",
    ),
    "last-step": Mistake(
        "One output answers for every step", "stops at the entropy of the letters"
    ),
    "forgotten-state": Mistake(
        "The prediction forgets the state at every letter",
        "is right in training, wrong in use",
    ),
    "detached-state": Mistake(
        "The state is detached at every step",
        "stays near ln 2 where the past decides; hello hides it",
        "python scripts/run.py --backend torch --bptt 1",
    ),
    "detached-remedy": Mistake(
        "Detaching is called a remedy for exploding gradients",
        "is calm, for nothing is learned",
    ),
    "positive-weights": Mistake(
        "All initial weights are positive",
        "stays at ln 2 with 64 units, is late with 8",
    ),
    "carried-state": Mistake(
        "The state is carried from one pass over the word to the next",
        "is right in training, wrong from the first letter on",
    ),
    "double-letter": Mistake(
        "The vocabulary holds a letter twice",
        "begins at ln 5 instead of ln 4",
    ),
}
"""Mistakes by name, the most misleading first."""


class Curve(NamedTuple):
    label: str
    steps: np.ndarray
    """(S,) optimizer steps."""
    values: np.ndarray
    """(S,)"""


class Panel(NamedTuple):
    """A pair of axes."""

    title: str
    curves: Sequence[Curve]
    """Curves with the mistake, without it, and others."""
    bounds: Mapping[str, float] = {}
    """Dotted lines: what each says → its height."""
    ylabel: str = "loss (nats)"
    log: bool = False
    until: int | None = None
    """Last step drawn, if not all are."""


class Measured(NamedTuple):
    panels: Sequence[Panel]
    """Panels; the losses of the first one count."""
    numbers: Mapping[str, int | float | str] = {}
    """Other values that the page states; losses are floats."""

    @property
    def ends(self) -> tuple[float, float]:
        """The last loss with the mistake, and without it."""
        wrong, right, *_ = (float(curve.values[-1]) for curve in self.panels[0].curves)
        return wrong, right

    @property
    def bound(self) -> float | None:
        """The loss that theory gives."""
        return next(iter(self.panels[0].bounds.values()), None)


def conditional_entropy(given: np.ndarray, targets: np.ndarray) -> float:
    """Returns the nats of the targets, whole numbers of any shape, that the given numbers leave
    unknown on average. No prediction of the targets from these numbers alone has a smaller mean
    loss."""
    pairs = np.stack([given.ravel(), targets.ravel()])
    (known, _), counts = np.unique(pairs, axis=1, return_counts=True)
    return float(-(counts * np.log(counts / np.bincount(given.ravel())[known])).sum() / given.size)
