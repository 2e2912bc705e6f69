"""Predictions of a trained network for the test part: predictions.npz in a run folder.

    predicted    (N,) or (N, T) classes, or (N, O) or (N, T, O) values in the network's scale
    targets      like predicted
    probability  (N,) or (N, T) of class 1, where there are two
    lengths      (N,), where sequences have several
    weights      (N, T), where not every step counts
    inputs       those of the first sequences
    times        (N,) datetime64 or numbers, of a series that has them: of the first value predicted
    last         (N, O) the value of each target of a series before the first one predicted
    group        (N,) number of the series among `Series.scales`
    distance     (N,) steps for which something had to be remembered
    sources, answers, references    (M,) texts: what a network was given, what it wrote, and what
                 it should have written
    longer_predicted, longer_targets, longer_lengths    where a task has longer sequences

Pictures are made from it, and scores that do not follow from a mean loss.
"""

import hashlib
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from shared.errors import InvalidInput
from shared.runs.scores import Scores
from shared.system.files import DAMAGED, brief, write_atomically
from shared.tasks import forecast_scores, text_scores
from shared.tasks.class_scores import class_scores, value_scores
from shared.tasks.task import Measured, Task
from shared.tasks.text import UNKNOWN_WORD

FILE = "predictions.npz"

Predictions = Mapping[str, np.ndarray]


def scores(task: Task, found: Predictions) -> Scores:
    """Computes the scores that do not follow from a mean loss."""
    if not found:
        return {}
    if task.signature.loss == "mse":
        return _of_values(task, found)
    scored: Scores = {}
    if task.measured is not None or (task.classes and task.vocabulary):
        scored |= _of_classes(task, found)  # other tasks have balanced classes
    if task.signature.per_step:
        right = found["predicted"] == found["targets"]
        scored["exact"] = float((right | ~counted(found)).all(axis=1).mean())
    beyond = longer(found)
    if beyond:
        right = beyond["predicted"] == beyond["targets"]
        scored["accuracy_longer"] = float(right[counted(beyond)].mean())
    return scored | _of_answers(task, found)


def _of_values(task: Task, found: Predictions) -> Scores:
    """Scores numbers in the data's units."""
    if task.series is not None:
        names = ("predicted", "targets", "last", "group")
        return forecast_scores.score(task.series, *(found[name] for name in names))
    if task.measured is None:
        return {}
    predicted, targets = (in_units(task.measured, found, name) for name in ("predicted", "targets"))
    return value_scores(predicted, targets, [column.name for column in task.measured.targets])


def in_units(measured: Measured, found: Predictions, name: str) -> np.ndarray:
    """Returns values that count, (M, O), in the data's units.

    Args:
        name: "predicted" or "targets".
    """
    values = found[name].astype(np.float64)
    values = values[counted(found)] if values.ndim == 3 else values
    for i, (column, scale) in enumerate(zip(measured.targets, measured.target_scales, strict=True)):
        own = values[:, i] * scale.std + scale.mean
        values[:, i] = np.expm1(own) if column.log else own
    return values


def _of_classes(task: Task, found: Predictions) -> Scores:
    which = counted(found) if found["targets"].ndim == 2 else ...
    return class_scores(
        found["predicted"][which],
        found["targets"][which],
        classes=task.signature.output_size,
        probability=found["probability"][which] if "probability" in found else None,
    )


def _of_answers(task: Task, found: Predictions) -> Scores:
    """Scores the texts that a network wrote by itself."""
    if not len(found.get("answers", ())):
        return {}
    answers, references = found["answers"].tolist(), found["references"].tolist()
    scored = text_scores.text_scores(answers, references)
    names = of_answers(task.vocabulary)
    return {name: score for name, score in scored.items() if name in names}


def of_answers(vocabulary: Sequence[str]) -> set[str]:
    """Returns the names of the scores of texts that a network wrote; others are of the whole part.

    Where each token is known, and each source has one target, a network that reads its own answers
    makes its first mistake where one that reads the targets does. So what is exactly right is known
    without answers.
    """
    every = {"exact", "edit_rate", "bleu"}
    return every if UNKNOWN_WORD in vocabulary else every - {"exact"}


def longer(found: Predictions) -> Predictions:
    """Returns the predictions for sequences longer than those of training, by the usual names."""
    prefix = "longer_"
    return {key.removeprefix(prefix): found[key] for key in found if key.startswith(prefix)}


def counted(found: Predictions) -> np.ndarray:
    """Returns (N, T) True where an output at a step counts."""
    rows, steps = found["predicted"].shape[:2]
    counts = np.ones((rows, steps), bool)
    if "lengths" in found:
        counts &= np.arange(steps) < found["lengths"][:, None]
    return counts & (found["weights"] > 0) if "weights" in found else counts


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
