"""Predictions of a trained network for the test part: predictions.npz in a run folder.

    predicted   (N,) or (N, T) classes, or (N, O) values in the network's scale
    targets     like predicted
    lengths     (N,), where sequences have several
    weights     (N, T), where not every step counts
    inputs      those of the first sequences
    times       (N,) datetime64, of a series; last: (N, 1) the value before each target
    distance    (N,) steps for which something had to be remembered
    longer_predicted, longer_targets, longer_lengths    where a task has longer sequences

Pictures are made from it, and scores that do not follow from a mean loss.
"""

import hashlib
import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from shared.errors import InvalidInput
from shared.runs.scores import Scores
from shared.system.files import DAMAGED, brief, write_atomically
from shared.tasks.task import Task

FILE = "predictions.npz"

Predictions = Mapping[str, np.ndarray]


def scores(task: Task, found: Predictions) -> Scores:
    """Computes the scores that do not follow from a mean loss."""
    if not found or not task.signature.per_step or task.signature.loss != "cross_entropy":
        return {}
    right = found["predicted"] == found["targets"]
    scored = {"exact": float((right | ~counted(found)).all(axis=1).mean())}
    beyond = longer(found)
    if beyond:
        right = beyond["predicted"] == beyond["targets"]
        scored["accuracy_longer"] = float(right[counted(beyond)].mean())
    return scored


def longer(found: Predictions) -> Predictions:
    """Returns the predictions for sequences longer than those of training, by the usual names."""
    prefix = "longer_"
    return {key.removeprefix(prefix): found[key] for key in found if key.startswith(prefix)}


def counted(found: Predictions) -> np.ndarray:
    """Returns (N, T) True where an output at a step counts."""
    rows, steps = found["predicted"].shape
    counts = np.ones((rows, steps), bool)
    if "lengths" in found:
        counts &= np.arange(steps) < found["lengths"][:, None]
    return counts & found["weights"] if "weights" in found else counts


def save(folder: Path, found: Predictions) -> str:
    """Writes predictions and returns the file's SHA-256."""
    content = io.BytesIO()
    np.savez_compressed(content, **found)  # pyright: ignore[reportArgumentType]
    write_atomically(folder / FILE, content.getvalue())
    return hashlib.sha256(content.getvalue()).hexdigest()


def read(folder: Path, digest: str | None) -> Predictions:
    """Reads predictions that `save` wrote.

    Args:
        digest: the file's SHA-256; None if the task has no predictions.

    Raises:
        InvalidInput: the file is missing or damaged.
    """
    file = folder / FILE
    if digest is None:
        return {}
    try:
        found = hashlib.sha256(file.read_bytes()).hexdigest()
        if found != digest:
            raise InvalidInput(
                f"{file}: expected predictions with the SHA-256 that the summary has, got others: "
                "it is damaged"
            )
        with np.load(file, allow_pickle=False) as arrays:
            return dict(arrays)
    except InvalidInput:
        raise
    except DAMAGED as error:
        raise InvalidInput(f"{file}: expected predictions, got: {brief(error)}") from error
