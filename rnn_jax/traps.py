"""The traps of `shared/parity/traps.py` in code: each does one thing in another way than PyTorch.

A parity run switches them in its JAX side, to plant one or to find out which one explains a
difference. Nothing else uses them.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from rnn_jax import cells, optimizers
from rnn_jax.backend import Backend
from rnn_jax.network import Network
from rnn_jax.step import REFERENCE, Algebra, Params
from shared.config import Config
from shared.errors import InvalidInput
from shared.parity.diagnosis import Suspect
from shared.parity.lockstep import Side
from shared.parity.traps import NEEDS, PROCESSES, TRAPS, about, check_shown, find, uneven
from shared.protocol import Batch
from shared.protocol.batching import Batches
from shared.protocol.dataset import Signature
from shared.protocol.weights import Weights

Forward = Callable[..., tuple[jax.Array, cells.State]]


class Switch(NamedTuple):
    """One trap in one variant, and its change."""

    trap: str
    variant: str
    algebra: Callable[[Algebra], Algebra] | None = None
    start: Callable[[Weights], Weights] | None = None
    batches: Callable[[Batches], Batches] | None = None

    @property
    def name(self) -> str:
        return f"{self.trap}:{self.variant}" if self.variant else self.trap


def switches(config: Config, batches: Batches) -> list[Switch]:
    """Returns every trap that can change a run of this configuration, in all its variants."""
    found = [
        Switch("single-bias", "", _weights(_single_bias)),
        Switch("clip-epsilon", "", _part(clip=_clip)),
        Switch("reset-gate", "", _forward(_reset_before)),
        *(
            Switch("adam", variant, _optimizer(adam_direction=direction))
            for variant, direction in ADAMS.items()
        ),
        Switch("rmsprop-epsilon", "", _optimizer(scale_by_rms=_rms)),
        Switch("ragged-mean", "", _part(divisor=lambda weights: jnp.asarray(weights.size))),
        *(
            Switch("mean-of-means", str(count), partial(_mean_of_means, count))
            for count in PROCESSES
            if uneven(batches, count)
        ),
        Switch("padding", "", _forward(_into_the_padding)),
        Switch("float32", "", _forward(_in_float32)),
        *(
            Switch("gates", order, _weights(_in_order(order)))
            for order in ORDERS.get(config.network.cell, ())
        ),
        Switch("gates", "transposed", _weights(_transposed)),
        Switch("initial-values", "", start=lambda weights: flax_values(weights, config.seed)),
        Switch("batch-order", "", batches=lambda b: replace(b, shuffle=not b.shuffle)),
    ]
    return [switch for switch in found if TRAPS[switch.trap].shown_by(config, batches)]


# How to change one part of a step ---------------------------------------------------------------


def _part(**parts: Any) -> Callable[[Algebra], Algebra]:
    return lambda algebra: algebra._replace(**parts)


def _weights(change: Callable[[Params], Params]) -> Callable[[Algebra], Algebra]:
    """Adds a change of the weights as the network reads them, after the changes that are there
    already."""
    return lambda algebra: algebra._replace(weights=lambda w: change(algebra.weights(w)))


def _forward(change: Callable[..., Any]) -> Callable[[Algebra], Algebra]:
    """Wraps a change around the forward pass that is there already."""
    return lambda algebra: algebra._replace(forward=partial(change, algebra.forward))


def _optimizer(**parts: Any) -> Callable[[Algebra], Algebra]:
    return _part(optimizer=lambda optimization: optimizers.make(optimization, **parts))


# Weights ----------------------------------------------------------------------------------------

ORDERS = {"lstm": ("igfo", "ifog", "iofg"), "gru": ("zrn",)}
"""Other orders of the gates than PyTorch's ifgo and rzn."""


def _single_bias(params: Params) -> Params:
    return {
        name: jax.lax.stop_gradient(param) if ".bias_hh" in name else param
        for name, param in params.items()
    }


def _in_order(order: str) -> Callable[[Params], Params]:
    """Reads the row blocks of every recurrent tensor as if they stood in this order."""
    torchs = {4: "ifgo", 3: "rzn"}[len(order)]

    def read(params: Params) -> Params:
        changed = dict(params)
        for name, param in params.items():
            if name.startswith("rnn."):
                blocks = dict(zip(order, jnp.split(param, len(order)), strict=True))
                changed[name] = jnp.concatenate([blocks[gate] for gate in torchs])
        return changed

    return read


def _transposed(params: Params) -> Params:
    """Transposes W_hh of every gate; it is square, so it fits."""
    changed = dict(params)
    for name, param in params.items():
        if ".weight_hh" in name:
            gates = param.reshape(-1, param.shape[1], param.shape[1])
            changed[name] = jnp.swapaxes(gates, 1, 2).reshape(param.shape)
    return changed


def flax_values(weights: Weights, seed: int) -> Weights:
    """Returns the initial values of Flax's cells and nnx.Linear: LeCun normal, orthogonal, zero
    biases."""
    lecun, orthogonal = nnx.initializers.lecun_normal(), nnx.initializers.orthogonal()
    drawn: Weights = {}
    for i, (name, array) in enumerate(weights.items()):
        key = jax.random.fold_in(jax.random.key(seed), i)
        if ".bias" in name:
            values: Any = np.zeros_like(array)
        elif ".weight_hh" in name:
            gates = array.shape[0] // array.shape[1]
            blocks = [
                orthogonal(k, (array.shape[1],) * 2, array.dtype)
                for k in jax.random.split(key, gates)
            ]
            values = np.concatenate(blocks)
        else:
            values = lecun(key, array.shape[::-1], array.dtype).T
        drawn[name] = np.array(values, array.dtype)
    return drawn


# Forward ----------------------------------------------------------------------------------------


def _reset_before(forward: Forward, network: Network, batch: Batch, carry: Any, seen: dict) -> Any:
    network.rnn._cell = gru_reset_before  # pyright: ignore[reportAttributeAccessIssue]
    return forward(network, batch, carry, seen)


def gru_reset_before(
    projected: jax.Array, state: cells.State, weights: cells.Weights
) -> cells.State:
    """Computes the GRU of Cho et al. (2014), as in the paper: n = tanh(x_n + W_hn (r ⊙ h) +
    b_hn)."""
    (h,) = state
    x_r, x_z, x_n = jnp.split(projected, 3, axis=-1)
    h_r, h_z, _ = jnp.split(cells.linear(h, weights.weight_hh, weights.bias_hh), 3, axis=-1)
    r, z = jax.nn.sigmoid(x_r + h_r), jax.nn.sigmoid(x_z + h_z)
    rows = 2 * h.shape[-1]
    bias = None if weights.bias_hh is None else weights.bias_hh[rows:]
    n = jnp.tanh(x_n + cells.linear(r * h, weights.weight_hh[rows:], bias))
    return ((1 - z) * n + z * h,)


def _into_the_padding(
    forward: Forward, network: Network, batch: Batch, carry: Any, seen: dict
) -> Any:
    return forward(network, batch._replace(lengths=None), carry, seen)


def _in_float32(forward: Forward, network: Network, batch: Batch, carry: Any, seen: dict) -> Any:
    dtype = network.param_dtype
    network.rnn.dtype = jnp.float32  # pyright: ignore[reportAttributeAccessIssue]
    logits, carry = forward(network, batch, carry, seen)
    seen |= {name: tensor.astype(dtype) for name, tensor in seen.items()}
    return logits.astype(dtype), tuple(part.astype(dtype) for part in carry)


# Loss and update --------------------------------------------------------------------------------


def _mean_of_means(processes: int, algebra: Algebra) -> Algebra:
    """Multiplies the weights of process p of P, whose sum is c_p, by C / (P c_p), where C is the
    sum of all. Divided by C, the summed loss is (1/P) Σ_p (Σ losses of p / c_p), as it is where
    DistributedDataParallel averages gradients. A process without targets adds 0 (in PyTorch, NaN).

    The weights, (B,) or (B, T), must be those of all rows of a batch.
    """

    def summed(weights: jax.Array) -> jax.Array:
        weights = algebra.summed(weights)
        rows = -(-len(weights) // processes)
        parts = [weights[start : start + rows] for start in range(0, len(weights), rows)]
        counts = [processes * jnp.where(part.any(), part.sum(), 1) for part in parts]
        scaled = [part * weights.sum() / c for part, c in zip(parts, counts, strict=True)]
        return jnp.concatenate(scaled)

    return algebra._replace(summed=summed)


def _clip(gradients: Params, max_norm: float) -> Params:
    norm = optax.tree.norm(gradients)
    return jax.tree.map(lambda g: g * jnp.minimum(max_norm / norm, 1.0), gradients)


ADAMS: dict[str, optimizers.Direction] = {
    "epsilon-hat": lambda m, v, c1, c2, eps: jnp.sqrt(c2) / c1 * m / (jnp.sqrt(v) + eps),
    "epsilon-in-root": lambda m, v, c1, c2, eps: m / c1 / jnp.sqrt(v / c2 + eps),
    "no-correction": lambda m, v, c1, c2, eps: m / (jnp.sqrt(v) + eps),
}


def _rms(
    decay: float, eps: float, initial_scale: float, eps_in_sqrt: bool
) -> optax.GradientTransformation:
    return optax.scale_by_rms(decay, eps, initial_scale, eps_in_sqrt=True)


# Sides of a lockstep run ------------------------------------------------------------------------


def switched(
    side: Side,
    config: Config,
    signature: Signature,
    active: Sequence[Switch],
    compiled: bool = True,
) -> Side:
    """Makes a jax/handcrafted side that does these things in another way; `compiled` as for
    `Backend`."""
    algebra, start, batches = REFERENCE, side.start, side.batches
    for switch in active:
        algebra = switch.algebra(algebra) if switch.algebra else algebra
        batches = switch.batches(batches) if switch.batches else batches
        if switch.start:
            start = start._replace(weights=switch.start(start.weights))
    backend = Backend(replace(config, backend="jax"), signature, algebra=algebra, compiled=compiled)
    return Side(side.name, backend, batches, start)


def suspects(
    side: Side, config: Config, signature: Signature, planted: Sequence[Switch] = ()
) -> list[Suspect]:
    """Makes each trap a suspect: a side in which that one is switched, off if it was planted.

    Args:
        side: jax/handcrafted as it is without any trap.
        planted: switches that are on in the side that is under suspicion.
    """

    def other(switch: Switch) -> list[Switch]:
        kept = [active for active in planted if active.name != switch.name]
        return kept if len(kept) < len(planted) else [*planted, switch]

    return [
        Suspect(
            switch.name,
            about(switch.name),
            partial(switched, side, config, signature, other(switch), compiled=False),
        )
        for switch in switches(config, side.batches)
    ]


def find_switch(name: str, config: Config, batches: Batches) -> Switch:
    """Finds a trap: "gates" in its first variant, or the variant "gates:transposed".

    Raises:
        InvalidInput: there is no such trap or variant, or it changes nothing in such a run.
    """
    trap, variant = find(name)
    check_shown(trap, config, batches)
    found = [switch for switch in switches(config, batches) if switch.trap == trap]
    for switch in found:
        if variant in (None, switch.variant):
            return switch
    known = ", ".join(switch.name for switch in found)
    needs = f", which needs {NEEDS[name]}" if name in NEEDS else ""
    raise InvalidInput(f"--inject: expected {trap} or one of {known}, got {name}{needs}")
