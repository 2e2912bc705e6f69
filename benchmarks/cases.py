"""What the benchmark measures: contenders and cases, with their weights and data.

A contender is one way to train the specification's classifier: features → recurrent layers → last
step → linear → cross-entropy → Adam. All begin with the same weights and see the same batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from shared.config import Config, resolve
from shared.config.data import GeneratedData
from shared.config.settings import Cell, NetworkConfig
from shared.protocol import Batch
from shared.protocol.dataset import Signature
from shared.protocol.layer import GATES
from shared.protocol.weights import Weights, initialize
from shared.tasks import load_task
from shared.tasks.batches import training_batches
from shared.tasks.registry import row

INPUT_SIZE = 10
CLASSES = 2
SIGNATURE = Signature(INPUT_SIZE, CLASSES, tokens=False, per_step=False, loss="cross_entropy")

OURS = ("rnn_jax", "rnn_jax-layer", "rnn_torch", "rnn_torch-layer")
PEERS = ("flax.nnx", "keras", "torch.nn")
CONTENDERS: dict[str, str] = {
    "rnn_jax": "jax",
    "rnn_jax-layer": "jax",
    "flax.nnx": "jax",
    "keras": "jax",
    "rnn_torch": "torch",
    "rnn_torch-layer": "torch",
    "torch.nn": "torch",
}
"""Contender → the framework whose `rnn_<framework>/bench.py` has it."""

CELLS: tuple[Cell, ...] = ("rnn", "lstm", "gru")
HIDDEN = (8, 64, 128, 256, 512)
PRODUCT = 2048
HELLO_STEPS = 1000
SEEDS = 5

Kind = Literal["train", "forward", "product", "hello", "seeds"]


@dataclass(frozen=True)
class Case:
    """The case that is measured: a training step, a forward pass, a matrix product, 1000 steps of
    hello, or a training step of one of several networks that are trained at once.

    The product is of two matrices hidden_size × hidden_size and has none of the other sizes; hello
    has sizes of its own.
    """

    kind: Kind = "train"
    cell: Cell = "rnn"
    hidden_size: int = 64
    batch_size: int = 64
    length: int = 100
    num_layers: int = 1
    bidirectional: bool = False
    seeds: int = 1
    """Networks that are trained at once, for the kind seeds."""

    @property
    def network(self) -> NetworkConfig:
        return NetworkConfig(
            self.cell,
            hidden_size=self.hidden_size,
            num_layers=self.num_layers,
            bidirectional=self.bidirectional,
        )

    @property
    def flops(self) -> int:
        """Floating-point operations of the products in one step. Forward there are 2 for each
        weight, time step and example. Training has as many for the weight's gradient, and as many
        for the gradient of what it multiplies. The input of the first layer needs no gradient."""
        directions, width, total = 1 + self.bidirectional, INPUT_SIZE, 0
        for layer in range(self.num_layers):
            of_input, of_state = (2 + (layer > 0), 3) if self.kind in ("train", "seeds") else (1, 1)
            products = of_input * width + of_state * self.hidden_size
            total += directions * GATES[self.cell] * self.hidden_size * products
            width = directions * self.hidden_size
        return 2 * self.batch_size * self.length * total

    @property
    def steps_per_call(self) -> int:
        """Number of steps that a backend takes in a call: what it does in about 0.1 s, but at least
        4, as training takes up to 128 (`shared/protocol/batching.py`). It is guessed from the work,
        hence the same on every machine."""
        walk = self.length * self.num_layers * (1 + self.bidirectional) * 1e-5
        return int(min(128, max(4, 0.1 // (walk + self.flops / 2e11))))

    def __str__(self) -> str:
        if self.kind == "product":
            return f"product {self.hidden_size}³"
        if self.kind == "hello":
            return "hello"
        usual, parts = Case(), [self.kind, self.cell, f"H={self.hidden_size}"]
        for short, name in (("B", "batch_size"), ("T", "length"), ("L", "num_layers")):
            if getattr(self, name) != getattr(usual, name):
                parts.append(f"{short}={getattr(self, name)}")
        parts += ["bidirectional"] * self.bidirectional
        return " ".join(parts + [f"N={self.seeds}"] * (self.kind == "seeds"))


HELLO = Case("hello")


def config(case: Case, backend: Literal["jax", "torch"], device: str) -> Config:
    """Returns the configuration of a backend that trains a case."""
    where: Any = device
    return resolve(
        Config(
            backend,
            task="random-labels",
            data=GeneratedData(),
            network=case.network,
            batch_size=case.batch_size,
            device=where,
        )
    )


def weights(case: Case) -> Weights:
    """Returns initial weights in the canonical layout, float32, for every contender.

    The second bias of each pair is zero. So they are also weights of Flax's and Keras' layers,
    which have a single one.
    """
    drawn = initialize(case.network, INPUT_SIZE, CLASSES, 0, "float32")
    return {name: array * (".bias_hh" not in name) for name, array in drawn.items()}


def examples(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """Returns inputs (B, T, I) float32, standard normal, and classes (B,) int32: every step's
    batch."""
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((case.batch_size, case.length, INPUT_SIZE), np.float32)
    return inputs, rng.integers(0, CLASSES, case.batch_size, np.int32)


def stacked(case: Case) -> tuple[Batch[np.ndarray], np.ndarray]:
    """Returns the batch as a backend takes it, as often as a call takes steps, and their learning
    rates."""
    inputs, targets = examples(case)
    steps = case.steps_per_call
    batch = Batch(
        np.repeat(inputs[None], steps, 0),
        np.repeat(targets[None], steps, 0),
        np.ones((steps, case.batch_size), np.float32),
        np.ones(steps, bool),
        None,
    )
    return batch, np.full(steps, 1e-3)


def hello(backend: Literal["jax", "torch"], device: str):
    """Returns HELLO_STEPS steps of the task hello: configuration, signature, initial weights, and
    for each call of the backend its batches and rates, cut as training cuts them."""
    where: Any = device
    config = replace(row("hello").defaults, backend=backend, device=where)
    config = resolve(replace(config, epochs=HELLO_STEPS))
    task = load_task(config)
    batches = training_batches(config, task)
    signature = task.signature
    weights = initialize(
        config.network, signature.input_size, signature.output_size, 0, config.precision
    )
    count = min(batches.chunk, HELLO_STEPS)
    calls = [
        (batches.take(start, taken), np.full(taken, config.optimization.learning_rate))
        for start in range(0, HELLO_STEPS, count)
        for taken in (min(count, HELLO_STEPS - start),)
    ]
    return config, signature, weights, calls


def table(cells: Sequence[Cell], hidden: Sequence[int], kind: Kind = "train") -> list[Case]:
    """Returns the cases of the main table."""
    return [Case(kind, cell, size) for cell in cells for size in hidden]


def seeds(cells: Sequence[Cell]) -> list[Case]:
    """Returns steps of a few thousand to a hundred million operations, of one network and of
    SEEDS."""
    sizes = ((1, 5), (8, 10), (16, 25), (32, 50), (64, 100))
    return [
        Case("seeds", cell, hidden, rows, length, seeds=together)
        for cell in cells
        for hidden in (8, 32, 64)
        for rows, length in sizes
        for together in (1, SEEDS)
    ]


def scaling(cells: Sequence[Cell]) -> dict[str, list[Case]]:
    """Varies one size at a time around the centre; returns the cases by the name of the size."""
    axes: dict[str, Sequence[Any]] = {
        "length": (25, 50, 100, 200, 400),
        "batch_size": (1, 16, 64, 256),
        "num_layers": (1, 2, 3, 4),
        "bidirectional": (False, True),
    }
    return {
        axis: [replace(Case(cell=cell), **{axis: value}) for cell in cells for value in values]
        for axis, values in axes.items()
    }
