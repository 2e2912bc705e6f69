"""Optimizers of optax in a program of a pair, and what they remember by torch's names."""

import copy
from typing import Any

import jax
import numpy as np
import optax

from rnn_jax.optimizer_states import MOMENT_NAMES
from shared.errors import InvalidInput

NAMES = {
    "mu": "exp_avg",
    "nu": "exp_avg_sq",
    "nu_max": "max_exp_avg_sq",
    "trace": "momentum_buffer",
    "sum_of_squares": "sum",
}
"""optax's name of a moment → torch's."""


def moments(state: Any) -> dict[str, dict[str, jax.Array]]:
    """Returns torch's name of each moment → its tensors by place, without what has another scale in
    torch."""
    found: list[tuple[str, Any]] = []

    def look(part: Any) -> bool:
        fields = MOMENT_NAMES.get(type(part), {})
        found.extend((torchs, getattr(part, field)) for field, torchs in fields.items())
        return bool(fields)

    leaves = jax.tree.leaves(state, is_leaf=look)
    others = [leaf for leaf in leaves if type(leaf) not in MOMENT_NAMES]
    if len(others) == len(leaves):  # none of rnn_jax.optim
        found = _of_optax(state)
    kinds: dict[str, dict[str, jax.Array]] = {}
    for torchs, tensors in found:
        if isinstance(tensors, dict):  # one for each parameter
            kept = {p: m for p, m in tensors.items() if not isinstance(m, optax.MaskedNode)}
            kinds[torchs] = kinds.get(torchs, {}) | kept
    return kinds


def _of_optax(state: Any) -> list[tuple[str, Any]]:
    held = {name: optax.tree.get_all_with_path(state, name) for name in NAMES}
    found = []
    for name, values in held.items():
        if name == "trace" and held["nu"]:
            continue  # the momentum of optax.rmsprop has the learning rate in it
        torchs = "square_avg" if name == "nu" and not held["mu"] else NAMES[name]
        found += [(torchs, value) for _, value in values]
    return found


def transformation(optimizer: Any, dtype: np.dtype) -> optax.GradientTransformation | None:
    """Returns an optimizer that adds up in this dtype: left alone, `optax.MultiSteps` does so in
    float32.

    Raises:
        InvalidInput: it is none of optax.
    """
    if isinstance(optimizer, optax.MultiSteps):
        optimizer = copy.copy(optimizer)
        if hasattr(optimizer, "_accumulator_dtype"):
            optimizer._accumulator_dtype = dtype
        return optimizer.gradient_transformation()
    if optimizer is not None and not isinstance(optimizer, optax.GradientTransformation):
        raise InvalidInput(f"optimizer: expected one of optax, got {type(optimizer).__name__}")
    return optimizer
