"""Runs with a trap planted in them, for tests of what is found there."""

from dataclasses import replace

from rnn_jax import traps
from shared.config import Config, resolve
from shared.config.data import HelloData
from shared.config.settings import NetworkConfig, OptimizationConfig
from shared.parity import lockstep
from shared.parity.diagnosis import Diagnosis, diagnose
from shared.parity.lockstep import Lockstep, Side
from shared.parity.traps import TRAPS
from shared.tasks import TASKS, load_task
from shared.tasks.task import Task

# A configuration in which every trap but those of one cell or optimizer changes something.
BASE = replace(
    TRAPS["padding"].show(TASKS["hello"].defaults),
    network=NetworkConfig(hidden_size=4),
    optimization=OptimizationConfig(learning_rate=0.01, clip_norm=0.1),
    precision="float64",
    epochs=10,
)
STEPS = 3


def shown(name: str) -> Config:
    """The configuration for a trap or a variant."""
    trap, _, variant = name.partition(":")
    config = TRAPS[trap].show(BASE)
    if trap == "mean-of-means" and variant:
        words = ("hello", "orange", "pink", "lilac", "red", "turquoise", "blue", "ultramarine")
        config = replace(config, data=HelloData(words), batch_size=int(variant))
    cell = {"igfo": "lstm", "ifog": "lstm", "iofg": "lstm", "zrn": "gru"}.get(variant)
    if cell is not None:
        config = replace(config, network=replace(config.network, cell=cell))
    return resolve(config)


def sides(config: Config) -> tuple[Task, Side, Side]:
    task = load_task(config)
    first, second = (
        lockstep.side(config, task, name) for name in ("jax/handcrafted", "torch/handcrafted")
    )
    return task, first, second


COMPILED = ("adam:epsilon-hat", "gates:transposed")
"""Planted in a compiled run, as a user's is; the others go by operation, quicker for few steps."""


def diagnosed(config: Config, planted: str | None = None) -> tuple[Lockstep, Diagnosis]:
    """A run with a trap in its JAX side, or with whatever a test has planted in PyTorch."""
    task, first, second = sides(config)
    active = [traps.find_switch(planted, config, first.batches)] if planted else []
    observed = traps.switched(first, config, task.signature, active, compiled=planted in COMPILED)
    ran = lockstep.run(config, observed, second, STEPS)
    suspects = traps.suspects(first, config, task.signature, active)
    return ran, diagnose(config, ran, observed, second, suspects)
