"""Scores of a state on one part of a task's data, and a network's continuation of a text."""

from collections.abc import Iterator

import numpy as np

from shared.config import Config
from shared.inference.answers import answered
from shared.inference.generate import stream
from shared.protocol import Backend, Batch
from shared.protocol.backend import Evaluation, State
from shared.protocol.batching import EVALUATION_ROWS, EVALUATION_ROWS_BY_LENGTH
from shared.protocol.buckets import EVALUATION_BUCKETS, bucketed
from shared.protocol.dataset import Split
from shared.protocol.sampling import Sampling
from shared.protocol.windows import Windows
from shared.runs.predictions import Predictions
from shared.tasks.batches import evaluation_batches
from shared.tasks.forecast_scores import last_values
from shared.tasks.task import Task
from shared.tasks.text import joined

PROMPT, LENGTH = 64, 512
"""Numbers of tokens: of the text that the network continues, and of its continuation."""
GENERATED = Sampling(temperature=0.8)


def evaluate(
    config: Config, task: Task, backend: Backend, state: State, split: Split
) -> Evaluation:
    """Computes loss and metric of a state on one part of a task's data."""
    batches = evaluation_batches(config, task, split, backend.team)
    total, size = batches.per_epoch, batches.evaluation_chunk

    def stacked() -> Iterator[Batch[np.ndarray]]:
        start = 0
        while start < total:
            count = batches.alike(start, size)
            batch = batches.take(start, count)
            # What fills the last call up begins the part anew, and does not count.
            batch.weights[total - start :] = 0
            yield batch
            start += count

    return backend.evaluate(state, stacked())


def written_on(task: Task, backend: Backend, state: State) -> dict[str, str] | None:
    """Returns a prompt from the beginning of a text's test part, and the network's continuation."""
    if not task.streams:
        return None
    prompt = task.test.inputs[0, :PROMPT]
    size = task.signature.output_size
    drawn = np.concatenate([*stream(backend, state, prompt, size, GENERATED, LENGTH)])
    text = {"prompt": prompt, "continuation": drawn}
    return {
        name: joined([task.vocabulary[int(token)] for token in tokens], task.unit)
        for name, tokens in text.items()
    }


EXAMPLES = 16
"""Number of sequences whose inputs are kept."""


def predict(task: Task, backend: Backend, state: State) -> Predictions:
    """Predicts the test part and the longer sequences.

    Not for texts, whose test is one long stream.
    """
    if task.streams:
        return {}
    found = _of_split("", task, backend, state, task.test)
    found["inputs"] = np.array(task.test.inputs[:EXAMPLES])
    if task.series is not None:
        found |= _of_series(task)
    if task.between is not None:
        found |= _answers(task, backend, state)
    if task.distance is not None:
        found["distance"] = task.distance
    if task.longer is not None:
        found |= _of_split("longer_", task, backend, state, task.longer)
    return found


def _of_split(
    prefix: str, task: Task, backend: Backend, state: State, split: Split
) -> dict[str, np.ndarray]:
    two = len(task.classes) == 2
    predicted = outputs(task, backend, state, split.inputs, split.lengths, raw=two)
    found = _of_two_classes(predicted) if two else {"predicted": predicted}
    found |= {"targets": np.asarray(split.targets)}
    for name in ("lengths", "weights"):
        if getattr(split, name) is not None:
            found[name] = np.asarray(getattr(split, name))
    return {prefix + name: array for name, array in found.items()}


def _of_two_classes(logits: np.ndarray) -> dict[str, np.ndarray]:
    """Returns the classes, and the probability of class 1.

    Args:
        logits: (N, 2) or (N, T, 2).
    """
    margin = logits[..., 1].astype(np.float64) - logits[..., 0]
    return {
        "predicted": (margin > 0).astype(np.int32),
        "probability": 0.5 + 0.5 * np.tanh(margin / 2),  # the softmax, without an overflow
    }


def _of_series(task: Task) -> dict[str, np.ndarray]:
    """Returns what says where the forecasts of the test part stand."""
    assert task.series is not None
    group = np.zeros(len(task.test.inputs), np.int32) if task.group is None else task.group
    found = {"last": last_values(task.series, task.test.inputs), "group": group}
    return found if task.times is None else found | {"times": task.times}


def _answers(task: Task, backend: Backend, state: State) -> dict[str, np.ndarray]:
    """Returns what the network writes by itself to sources of the test part."""
    names = "sources", "answers", "references"
    texts = answered(task, backend, state)
    return {name: np.array(own, str) for name, own in zip(names, texts, strict=True)}


def outputs(
    task: Task,
    backend: Backend,
    state: State,
    inputs: np.ndarray | Windows,
    lengths: np.ndarray | None,
    raw: bool = False,
) -> np.ndarray:
    """Returns the most probable classes, or the values, that a network predicts; (N, …) as the
    targets. Where batches are made by length, outputs after the end of a sequence may be 0.

    Args:
        raw: return a logit for each class instead of the most probable one.
    """
    classes = task.signature.loss == "cross_entropy" and not raw
    count, longest = len(inputs), inputs.shape[1]
    size, order = min(count, EVALUATION_ROWS), np.arange(count)
    steps = [longest] * -(-count // size)
    if task.by_length and lengths is not None:
        size = min(count, EVALUATION_ROWS_BY_LENGTH)
        buckets = bucketed(lengths, size, run=1, most=EVALUATION_BUCKETS)
        order, steps = buckets.rows, buckets.steps.tolist()
    parts: list[np.ndarray] = []
    for i, length in enumerate(steps):
        # All calls have as many rows; what fills the last one up is left out again.
        rows = order[np.minimum(np.arange(i * size, (i + 1) * size), count - 1)]
        own = None if lengths is None else lengths[rows]
        read = inputs[rows] if length == longest else inputs[rows, :length]
        found, _ = backend.predict(state, np.asarray(read), own)
        found = found.argmax(-1).astype(np.int32) if classes else found
        if task.signature.per_step and length < longest:
            padding = [(0, 0), (0, longest - length), *[(0, 0)] * (found.ndim - 2)]
            found = np.pad(found, padding)
        parts.append(found)
    return np.concatenate(parts)[np.argsort(order)]
