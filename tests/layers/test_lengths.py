"""Sequences of several lengths in a batch: each is computed and scored as if it were alone."""

import functools
from dataclasses import replace
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx

from rnn_jax.network import Network as JaxNetwork
from rnn_torch.network import Network as TorchNetwork
from shared.config import Config, resolve
from shared.config.data import GeneratedData, HelloData
from shared.config.settings import Cell, NetworkConfig
from shared.protocol import Backend, Snapshot, load_backend
from shared.protocol.dataset import Signature
from shared.protocol.weights import initialize, state_shapes
from shared.tasks import TASKS, load_task
from shared.tasks.batches import evaluation_batches
from shared.tasks.task import Task
from tests.support import reference
from tests.support.compare_arrays import check_close

STEP = 1e-10
LENGTHS = np.array([3, 5, 1], np.int32)
TIME, INPUTS, OUTPUTS, HIDDEN = 6, 2, 3, 4  # no sequence reaches the end of the padding


def network(cell: Cell, layers: int, bidirectional: bool) -> NetworkConfig:
    return NetworkConfig(cell, hidden_size=HIDDEN, num_layers=layers, bidirectional=bidirectional)


class Called:
    """A network of either framework with the same weights; arrays in, arrays out."""

    def __init__(self, config: NetworkConfig, per_step: bool, contender: str):
        framework, _, implementation = contender.partition("/")
        signature = Signature(INPUTS, OUTPUTS, tokens=False, per_step=per_step, loss="mse")
        weights = initialize(config, INPUTS, OUTPUTS, 3, "float64")
        self.call: Any
        if framework == "torch":
            place, dtype = torch.device("cpu"), torch.float64
            module = TorchNetwork(config, signature, implementation, device=place, dtype=dtype)
            module.load_state_dict({n: torch.from_numpy(a) for n, a in weights.items()})
            self.to: Any = torch.from_numpy
            self.call = module
        else:
            rngs = nnx.Rngs(0)
            module = JaxNetwork(
                config, signature, implementation, param_dtype=jnp.float64, rngs=rngs
            )
            if implementation == "native":
                from rnn_jax.native import from_weights

                weights = from_weights(config, weights)
            state = nnx.state(module, nnx.Param)
            flat = [
                (path, nnx.Param(jnp.asarray(weights[".".join(map(str, path))])))
                for path, _ in nnx.to_flat_state(state)
            ]
            nnx.update(module, nnx.from_flat_state(flat))
            self.to = jnp.asarray
            self.call = module

    def __call__(
        self, x: np.ndarray, state: tuple[np.ndarray, ...], lengths: np.ndarray | None = None
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
        if lengths is not None and isinstance(self.call, torch.nn.Module):
            lengths = lengths.astype(np.int64)
        of = None if lengths is None else self.to(lengths)
        outputs, final = self.call(self.to(x), tuple(map(self.to, state)), of)
        return _array(outputs), tuple(map(_array, final))


def _array(tensor: Any) -> np.ndarray:
    return tensor.detach().numpy() if torch.is_tensor(tensor) else np.asarray(tensor)


STACKS: list[tuple[Cell, int, bool]] = [("lstm", 2, True), ("gru", 2, False), ("rnn", 1, True)]


@pytest.mark.parametrize("per_step", [True, False], ids=["per step", "last"])
@pytest.mark.parametrize(
    ("contender", "cell", "layers", "bidirectional"),
    [(f"{name}/handcrafted", *stack) for name in ("jax", "torch") for stack in STACKS]
    + [(f"{name}/native", *STACKS[2]) for name in ("jax", "torch")],
)
def test_a_padded_sequence_is_what_it_is_alone(
    contender: str, cell: Cell, layers: int, bidirectional: bool, per_step: bool
) -> None:
    """From an initial state that is not zero, with numbers in the padding that would be seen."""
    config = network(cell, layers, bidirectional)
    called = Called(config, per_step, contender)
    rng = np.random.default_rng(1)
    x = rng.standard_normal((len(LENGTHS), TIME, INPUTS))
    state = tuple(rng.uniform(-0.9, 0.9, s) for s in state_shapes(config, len(LENGTHS)))
    outputs, final = called(x, state, LENGTHS)
    assert outputs.shape == (len(LENGTHS), *((TIME,) if per_step else ()), OUTPUTS)
    for row, length in enumerate(LENGTHS):
        mine = tuple(part[:, row : row + 1] for part in state)
        alone, ended = called(x[row : row + 1, :length], mine)
        found = outputs[row, :length] if per_step else outputs[row]
        check_close(found, alone[0], relative=STEP, what=f"outputs of {row}")
        for name, part, expected in zip("hc", final, ended, strict=False):
            check_close(part[:, row], expected[:, 0], relative=STEP, what=f"{name} of {row}")


# Scores -------------------------------------------------------------------------------------------


def spelled(layers: int, bidirectional: bool) -> Config:
    return replace(
        TASKS["hello"].defaults,
        network=network("lstm", layers, bidirectional),
        data=HelloData(("hello", "oleole", "a", "yellow", "hole")),
        batch_size=2,
    )


def classified(layers: int, bidirectional: bool) -> Config:
    data = GeneratedData(5, 5, 300, sequence_length=6, input_size=2, min_length=2)
    base = TASKS["last-value"].defaults
    return replace(base, network=network("gru", layers, bidirectional), data=data, batch_size=4)


@functools.cache
def loaded(config: Config) -> tuple[Task, Snapshot]:
    task = load_task(config)
    sizes = task.signature.input_size, task.signature.output_size
    return task, Snapshot.of(initialize(config.network, *sizes, 1, "float64"))


@pytest.mark.parametrize("kind", [spelled, classified], ids=["words", "last values"])
@pytest.mark.parametrize("contender", ["jax/handcrafted", "torch/handcrafted", "torch/native"])
def test_scores_are_means_over_real_targets_alone(contender: str, kind: Any) -> None:
    """In one batch of 5 words, and in a full and a ragged one of 300 sequences."""
    backend_name, _, implementation = contender.partition("/")
    config = resolve(replace(kind(2, True), precision="float64"))
    task, start = loaded(config)
    chosen: Any = {"backend": backend_name, "implementation": implementation}
    backend: Backend = load_backend(replace(config, **chosen), task.signature)
    batches = evaluation_batches(config, task, task.test)
    parts = [batches.take(i, 1) for i in range(batches.per_epoch)]
    scores = backend.evaluate(backend.init(start), parts)
    loss, accuracy = scored(config)
    check_close(np.array(scores.loss), np.array(loss), relative=STEP, what="loss")
    check_close(np.array(scores.metric), np.array(accuracy), relative=STEP, what="accuracy")


@functools.cache
def scored(config: Config) -> tuple[float, float]:
    """Each sequence alone in NumPy, then one mean over all their targets."""
    task, start = loaded(config)
    inputs, targets, lengths, _ = task.test
    assert lengths is not None
    losses, hits = [], []
    for row, length in enumerate(lengths):
        x = inputs[row, :length]
        x = np.eye(task.signature.input_size)[x] if task.signature.tokens else x.astype(float)
        zeros = tuple(np.zeros(shape) for shape in state_shapes(config.network, 1))
        logits = reference.network(
            config.network.cell, start.weights, x[None], zeros,
            per_step=task.signature.per_step, num_layers=config.network.num_layers,
            bidirectional=config.network.bidirectional,
        )  # fmt: skip
        if task.signature.per_step:
            logits, wanted = logits[0], targets[row, :length]
        else:
            wanted = targets[row : row + 1]
        for output, target in zip(logits, wanted, strict=True):
            losses.append(reference.cross_entropy(output[None], np.array([target])))
            hits.append(output.argmax() == target)
    return float(np.mean(losses)), float(np.mean(hits))
