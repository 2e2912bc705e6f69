"""Scores of a state on one part of a task's data, and a network's continuation of a text."""

from collections.abc import Iterator

import numpy as np

from shared.config import Config
from shared.inference.generate import stream
from shared.protocol import Backend, Batch
from shared.protocol.backend import Evaluation, State
from shared.protocol.batching import EVALUATION_ROWS
from shared.protocol.dataset import Split
from shared.protocol.sampling import Sampling
from shared.runs.predictions import Predictions
from shared.tasks.batches import evaluation_batches
from shared.tasks.task import Task
from shared.tasks.text import joined

PROMPT, LENGTH = 64, 512
"""Numbers of tokens: of the text that the network continues, and of its continuation."""
GENERATED = Sampling(temperature=0.8)


def evaluate(
    config: Config, task: Task, backend: Backend, state: State, split: Split
) -> Evaluation:
    """Computes loss and metric of a state on one part of a task's data."""
    batches = evaluation_batches(config, task, split)
    total, size = batches.per_epoch, batches.evaluation_chunk

    def stacked() -> Iterator[Batch[np.ndarray]]:
        for start in range(0, total, size):
            batch = batches.take(start, size)
            # What fills the last call up begins the part anew, and does not count.
            batch.weights[total - start :] = 0
            yield batch

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
    if task.series is not None and task.times is not None:
        found |= {"times": task.times, "last": np.array(task.test.inputs[:, -1, :1])}
    if task.distance is not None:
        found["distance"] = task.distance
    if task.longer is not None:
        found |= _of_split("longer_", task, backend, state, task.longer)
    return found


def _of_split(
    prefix: str, task: Task, backend: Backend, state: State, split: Split
) -> dict[str, np.ndarray]:
    found = {"predicted": outputs(task, backend, state, split.inputs, split.lengths)}
    found |= {"targets": np.asarray(split.targets)}
    for name in ("lengths", "weights"):
        if getattr(split, name) is not None:
            found[name] = np.asarray(getattr(split, name))
    return {prefix + name: array for name, array in found.items()}


def outputs(
    task: Task, backend: Backend, state: State, inputs: np.ndarray, lengths: np.ndarray | None
) -> np.ndarray:
    """Returns the most probable classes, or the values, that a network predicts; (N, …) as the
    targets."""
    classes = task.signature.loss == "cross_entropy"
    count = len(inputs)
    size = min(count, EVALUATION_ROWS)
    parts: list[np.ndarray] = []
    for start in range(0, count, size):
        # All calls of one shape; what fills the last one up is left out again.
        rows = np.minimum(np.arange(start, start + size), count - 1)
        own = None if lengths is None else lengths[rows]
        found, _ = backend.predict(state, np.asarray(inputs[rows]), own)
        parts.append(found.argmax(-1).astype(np.int32) if classes else found)
    return np.concatenate(parts)[:count]
