"""The computation of a network that has learned to spell "hello" while it reads the word.

reading = read(train_hello("jax"))
"""

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, NamedTuple

import numpy as np

from shared.inference import load_trained
from shared.inference.trained import Trained
from shared.protocol.weights import network_shapes, state_shapes
from shared.tasks import TASKS, load_task
from shared.training import train


class Reading(NamedTuple):
    """T steps, H units, V tokens.

    word:          (T,) what is read.
    targets:       (T,) what should follow each.
    vocabulary:    (V,) in the order of the probabilities.
    states:        (T + 1, H): h before the first step, then after each.
    probabilities: (T, V) of what follows: the softmax of the outputs.
    steps:         optimizer steps that the network has been trained for.
    """

    word: tuple[str, ...]
    targets: tuple[str, ...]
    vocabulary: tuple[str, ...]
    states: np.ndarray
    probabilities: np.ndarray
    steps: int

    @property
    def predicted(self) -> tuple[str, ...]:
        """The most probable at each step."""
        return tuple(self.vocabulary[i] for i in self.probabilities.argmax(axis=1))


def hello_shapes() -> dict[str, tuple[int, ...]]:
    """Returns name → shape of every tensor of the task's default network."""
    config = TASKS["hello"].defaults
    signature = load_task(config).signature
    return network_shapes(config.network, signature.input_size, signature.output_size)


def train_hello(backend: Literal["jax", "torch"], hidden_size: int | None = None) -> Trained:
    """Returns a network of the task `hello`, trained with its defaults, but in float64, in which
    both backends agree within 1e-9.

    Args:
        hidden_size: a hidden size other than the default.
    """
    config = TASKS["hello"].defaults
    network = replace(config.network, hidden_size=hidden_size or config.network.hidden_size)
    config = replace(config, backend=backend, precision="float64", network=network)
    with TemporaryDirectory() as parent:
        folder = Path(parent, "hello")
        train(config, folder, quiet=True)
        return load_trained(folder)


def read(trained: Trained) -> Reading:
    """Lets the Elman network of a run of `hello` read its first word, a character a call."""
    task = load_task(trained.config)
    tokens, targets = task.train.inputs[:1], task.train.targets[0]
    shapes = state_shapes(trained.config.network, 1)
    carry = tuple(np.zeros(shape, trained.config.precision) for shape in shapes)
    states, logits = [carry[0][-1, 0]], []
    for t in range(tokens.shape[1]):
        outputs, carry = trained.backend.predict(trained.state, tokens[:, t : t + 1], None, carry)
        logits.append(outputs[0, 0])
        states.append(carry[0][-1, 0])
    exponentials = np.exp(logits - np.max(logits, axis=1, keepdims=True))
    return Reading(
        tuple(task.vocabulary[i] for i in tokens[0]),
        tuple(task.vocabulary[i] for i in targets),
        task.vocabulary,
        np.stack(states),
        exponentials / exponentials.sum(axis=1, keepdims=True),
        trained.step,
    )
