"""Sequences that occur several times: a network that was trained on one knows the others."""

import hashlib

import numpy as np

from shared.errors import InvalidInput
from shared.tasks.parts import IN_TRAINING, PARTS, Parts, split_parts
from shared.tasks.sequence_steps import Steps

BLOCK = 1 << 18
"""Numbers of which a copy is made at once."""


def same(steps: Steps) -> np.ndarray:
    """Numbers the sequences so that two with equal features at all steps have the same number.

    Returns:
        (N,) numbers from 0, in the order in which they first occur.
    """
    known: dict[bytes, int] = {}
    found = np.empty(len(steps.lengths), np.int64)
    ends = np.cumsum(steps.lengths)
    most = max(1, BLOCK // len(steps.features))
    first = 0
    while first < len(ends):
        begin = int(steps.starts[first])
        last = max(first + 1, int(np.searchsorted(ends, begin + most, "right")))
        rows = _rows(steps, slice(begin, int(ends[last - 1])))
        for i in range(first, last):
            own = rows[int(steps.starts[i]) - begin : int(ends[i]) - begin]
            digest = hashlib.blake2b(own.data, digest_size=16).digest()
            found[i] = known.setdefault(digest, len(known))
        first = last
    return found


def _rows(steps: Steps, chosen: slice) -> np.ndarray:
    """Returns the features of some steps, (n, F) float64, of which equal ones have equal bytes."""
    rows = np.stack([feature.values[chosen] for feature in steps.features], axis=1)
    rows = rows.astype(np.float64) + 0.0  # which makes 0 of -0
    rows[np.isnan(rows)] = np.nan
    return rows


def draw(
    shares: tuple[float, float, float], same: np.ndarray, classes: np.ndarray | None, called: str
) -> Parts:
    """Draws the parts of sequences, those that are the same into one part.

    Args:
        same: (N,) as `same` numbers them.
        classes: (N,) by which the parts are stratified: the class of the first one of those that
            are the same counts.
        called: the data, for messages.

    Raises:
        InvalidInput: there are fewer different sequences than parts.
    """
    _, first = np.unique(same, return_index=True)
    if len(first) < len(PARTS) <= len(same):
        raise InvalidInput(
            f"{called}: expected {len(PARTS)} or more sequences that differ, as equal ones are "
            f"drawn together, got {len(first)} among {len(same)}; a column of parts (--data.part) "
            "shares them out otherwise"
        )
    drawn = split_parts(
        len(first), shares, "sequences", None if classes is None else classes[first]
    )
    train, valid, test = (np.flatnonzero(np.isin(same, part)) for part in drawn)
    return train, valid, test


def facts(same: np.ndarray, parts: Parts) -> dict[str, str]:
    """Tells how many sequences occur again, and how many of the test part stand in training."""
    leaked = int(np.isin(same[parts[2]], same[parts[0]]).sum())
    found = {
        "sequences that occur again": len(same) - len(np.unique(same)),
        IN_TRAINING: leaked,
    }
    return {name: str(count) for name, count in found.items() if count}
