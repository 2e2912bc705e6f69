"""Runs backends from the same weights over the same batches, without the training loop; and the
cells and optimizers that such tests go through."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from shared.config import Config, resolve
from shared.config.settings import Cell, Nonlinearity, OptimizationConfig
from shared.protocol import Snapshot, load_backend
from shared.protocol.schedule import learning_rates
from shared.protocol.weights import initialize
from shared.tasks import load_task
from shared.tasks.batches import training_batches

CELLS: list[tuple[Cell, Nonlinearity]] = [
    ("rnn", "tanh"),
    ("rnn", "relu"),
    ("lstm", "tanh"),
    ("gru", "tanh"),
]
OPTIMIZERS = {
    "adam": OptimizationConfig(optimizer="adam", learning_rate=0.01, weight_decay=0.01),
    "adamw": OptimizationConfig(optimizer="adamw", learning_rate=0.01, clip_norm=0.5),
    "sgd": OptimizationConfig(optimizer="sgd", learning_rate=0.1),
    "momentum": OptimizationConfig(
        optimizer="sgd", learning_rate=0.05, momentum=0.9, nesterov=True, weight_decay=1e-3
    ),
    "rmsprop": OptimizationConfig(
        optimizer="rmsprop", learning_rate=0.003, momentum=0.5, clip_norm=1.0
    ),
}
RUN = 1e-9


class Taken(NamedTuple):
    losses: np.ndarray
    metrics: np.ndarray
    snapshot: Snapshot


def take_steps(
    config: Config,
    steps: int,
    *,
    calls: int = 1,
    start: Snapshot | None = None,
) -> Taken:
    """Takes optimizer steps in the configured backend, in so many calls of equal size."""
    config = resolve(config)
    task = load_task(config)
    backend = load_backend(config, task.signature)
    signature = task.signature
    if start is None:
        weights = initialize(
            config.network,
            signature.input_size,
            signature.output_size,
            config.seed,
            config.precision,
        )
        start = Snapshot.of(weights)
    state = backend.init(start)
    batches = training_batches(config, task)
    losses, metrics = [], []
    size = steps // calls
    for first in range(start.step, start.step + steps, size):
        rates = learning_rates(config.optimization, first, size, batches.per_epoch, 1000)
        (state,), (taken,) = backend.advance([state], [batches.take(first, size)], rates)
        losses.append(np.asarray(taken.loss))
        metrics.append(np.asarray(taken.metric))
    return Taken(np.concatenate(losses), np.concatenate(metrics), backend.export(state))


def in_backend(config: Config, backend: str, implementation: str = "handcrafted") -> Config:
    return replace(config, backend=backend, implementation=implementation)
