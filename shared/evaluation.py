"""Scores of a state on one part of a task's data, and what a network writes on from a text."""

from collections.abc import Iterator

import numpy as np

from shared.backend import Backend, Evaluation, State
from shared.batching import Batch, evaluation_batches
from shared.config import Config
from shared.sampling import Sampling, stream
from shared.schema import joined
from shared.tasks.task import Split, Task

PROMPT, LENGTH = 64, 512
"""Tokens of a text that the network goes on from, and that it generates."""
GENERATED = Sampling(temperature=0.8)


def evaluate(
    config: Config, task: Task, backend: Backend, state: State, split: Split
) -> Evaluation:
    """Loss and metric of a state on one part of a task's data."""
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
    """A prompt from the beginning of a text's test part, and how the network goes on."""
    if not task.streams:
        return None
    prompt = task.test.inputs[0, :PROMPT]
    size = task.signature.output_size
    drawn = np.concatenate([*stream(backend, state, prompt, size, GENERATED, LENGTH)])
    text = {"prompt": prompt, "continuation": drawn}
    return {
        name: joined([task.vocabulary[token] for token in tokens], task.unit)
        for name, tokens in text.items()
    }
