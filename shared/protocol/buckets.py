"""Sequences of similar lengths in one batch, so that little of it is padding.

    buckets = bucketed(lengths, batch_size=32, run=4, most=5)
    buckets.steps[0]            # time steps of the first batch, of the longest sequences
    buckets.order(epoch=0)      # in which order an epoch takes the batches

The sequences, ordered by their lengths, are cut in a few buckets. All batches of a bucket have the
same number of time steps T, that of its longest sequence: JAX compiles a program for each T. An
epoch takes the batches in runs of one T, as one call of a backend takes steps of one shape.
"""

import functools
from dataclasses import dataclass

import numpy as np

from shared.system.randomness import generator

TRAINING_BUCKETS, EVALUATION_BUCKETS = 5, 3
"""Largest numbers of buckets. JAX compiles a program for each, which takes about a second.
Evaluation computes less than training and has less to save."""
LEAST_GAIN = 0.05
"""Share of the time steps that further buckets must save."""
CUTS = 64
"""Number of places at which a bucket may end; more would save little."""


@dataclass(frozen=True)
class Buckets:
    rows: np.ndarray
    """(N,) rows of the data, from the longest sequence to the shortest."""
    sizes: tuple[int, ...]
    """Number of sequences of each bucket. All but the last one are full runs of full batches, so
    that only one batch of an epoch is ragged, one of short sequences."""
    steps: np.ndarray
    """(M,) time steps T of each batch."""
    run: int
    """Number of batches of a run; the last one may have fewer. A single bucket is one run."""

    def left(self, batch: int) -> int:
        """Returns how many batches a run has from this one on."""
        return min(self.run - batch % self.run, len(self.steps) - batch)

    def order(self, epoch: int) -> np.ndarray:
        """Returns the batches (M,) in the order in which an epoch takes them, run by run.

        It does not depend on the seed: several seeds that are trained in one program have batches
        of one shape.
        """
        return _order(epoch, len(self.steps), self.run)


def bucketed(lengths: np.ndarray, batch_size: int, run: int, most: int) -> Buckets:
    """Cuts sequences in buckets such that the batches of an epoch have few time steps in all.

    Args:
        lengths: (N,) time steps of each sequence.
        batch_size: sequences of a batch.
        run: batches of a run.
        most: largest number of buckets.
    """
    rows = np.argsort(-lengths.astype(np.int64), kind="stable")
    batches = -(-len(rows) // batch_size)
    runs = -(-batches // run)
    places = np.unique(np.linspace(0, runs, min(runs, CUTS) + 1).astype(np.int64)) * run
    places[-1] = batches
    longest = lengths[rows[places[:-1] * batch_size]].astype(np.int64)
    cuts = places[_cuts(places, longest, most)]
    steps = np.repeat(lengths[rows[cuts[:-1] * batch_size]].astype(np.int64), np.diff(cuts))
    ends = np.minimum(cuts * batch_size, len(rows))
    single = len(cuts) == 2
    return Buckets(rows, tuple(np.diff(ends).tolist()), steps, batches if single else run)


def _cuts(places: np.ndarray, longest: np.ndarray, most: int) -> np.ndarray:
    """Finds the buckets with the fewest time steps, by dynamic programming.

    Args:
        places: (C + 1,) batches before which a bucket may begin or end, the first and the last one
            included.
        longest: (C,) time steps of a bucket that begins at a place.
        most: largest number of buckets.

    Returns:
        Indices of the places at which the buckets begin and end.
    """
    count = len(places)
    costs = (longest[:, None] * (places - places[:-1, None])).astype(np.float64)
    costs[np.arange(count - 1)[:, None] >= np.arange(count)] = np.inf
    least = np.full(count, np.inf)
    least[0] = 0
    totals: list[float] = []
    begins: list[np.ndarray] = []
    for _ in range(most):
        sums = least[:-1, None] + costs  # (begin of the last bucket, its end)
        begins.append(sums.argmin(0))
        least = sums.min(0)
        totals.append(float(least[-1]))
    enough = min(totals) * (1 + LEAST_GAIN)
    buckets = next(i for i, total in enumerate(totals) if total <= enough)
    cuts = [count - 1]
    for begin in begins[buckets::-1]:
        cuts.append(int(begin[cuts[-1]]))
    return np.array(cuts[::-1])


@functools.lru_cache(maxsize=2)
def _order(epoch: int, batches: int, run: int) -> np.ndarray:
    runs = generator(0, "runs", epoch).permutation(-(-batches // run))
    found = (runs[:, None] * run + np.arange(run)).ravel()
    return found[found < batches]
