"""One training step in JAX: loss, gradients, clipping, moments, weights. Every function is pure."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax.sharding import Mesh

from rnn_jax import cells, losses, optimizers, sharding
from rnn_jax.network import Network
from shared.config import Config
from shared.config.settings import OptimizationConfig
from shared.protocol import Batch
from shared.protocol.dataset import Signature
from shared.protocol.trace import below, given

Params = dict[str, jax.Array]


class State(NamedTuple):
    """State of a training: parameters, the optimizer's moments, the recurrent state after the last
    batch, (L·D, B, H) each, and the number of steps taken."""

    params: Params
    moments: Any
    carry: cells.State
    step: jax.Array


def forward(
    network: Network, batch: Batch[jax.Array], carry: cells.State, seen: dict[str, jax.Array]
) -> tuple[jax.Array, cells.State]:
    """Returns logits and the carry after a batch."""
    return network(batch.inputs, carry, batch.lengths, batch.masks, seen)


class Algebra(NamedTuple):
    """The parts of a training step's computation. `rnn_jax/traps.py` exchanges one at a time."""

    weights: Callable[[Params], Params] = lambda params: params
    """Function: parameters → those with which the network computes."""
    forward: Callable[..., tuple[jax.Array, cells.State]] = forward
    divisor: Callable[[jax.Array], jax.Array] = jnp.sum
    """Function: weights of the targets → the number by which their summed loss is divided."""
    summed: Callable[[jax.Array], jax.Array] = lambda weights: weights
    """Function: weights of the targets → those with which their losses are summed."""
    clip: Callable[[Params, float], Params] = optimizers.clip
    optimizer: Callable[[OptimizationConfig], optax.GradientTransformation] = optimizers.make


REFERENCE = Algebra()
"""Algebra of PyTorch."""


@dataclass(frozen=True)
class Step:
    """All of a step that is no array.

    Args:
        graph: structure of the network, from `nnx.split`.
        paths: where its parameters are.
        optimizer: the one that `algebra` makes of the configuration.
        algebra: how the parts of a step are computed.
    """

    config: Config
    signature: Signature
    graph: Any
    paths: list[Any]
    optimizer: optax.GradientTransformation
    algebra: Algebra

    @property
    def parameters(self) -> list[str]:
        """Names of the parameters."""
        return [_dotted(path) for path in self.paths]

    def merge(self, params: Params) -> Network:
        """Returns the network with these parameters."""
        flat = [(path, nnx.Param(params[_dotted(path)])) for path in self.paths]
        return nnx.merge(self.graph, nnx.from_flat_state(flat))

    def take(
        self,
        state: State,
        batch: Batch[jax.Array],
        rate: jax.Array,
        count: jax.Array,
        mesh: Mesh | None = None,
    ) -> tuple[State, dict[str, jax.Array]]:
        """Takes one optimizer step: loss, gradients, clipping, moments, weights. It also returns
        all that was seen on the way; the compiler drops what is not used.

        The summed loss is divided by the count of targets. With a mesh, this is the part of one
        device: gradients are summed over all devices, loss and metric are not yet.
        """
        params, optimization = state.params, self.config.optimization
        before = jax.tree.map(lambda part: jnp.where(batch.reset, 0, part), state.carry)
        seen = given(batch, rate, params, before)

        def mean_loss(params: Params) -> tuple[jax.Array, Any]:
            network, on_the_way = self.merge(self.algebra.weights(params)), {}
            outputs, carry = self.algebra.forward(network, batch, before, on_the_way)
            weights = self.algebra.summed(batch.weights)
            loss, metric, _ = losses.sums(self.signature.loss, outputs, batch.targets, weights)
            return loss / count, (metric / count, carry, on_the_way)

        gradient = jax.value_and_grad(mean_loss, has_aux=True)
        own = sharding.own(mesh, params)
        (loss, (metric, carry, on_the_way)), gradients = gradient(own)
        gradients = sharding.total(mesh, gradients)
        seen |= on_the_way | {"loss/loss": loss, "loss/metric": metric}
        seen |= below("gradients", gradients) | {"norm/norm": optax.tree.norm(gradients)}
        if optimization.clip_norm is not None:
            gradients = self.algebra.clip(gradients, optimization.clip_norm)
        seen |= below("clipped", gradients)
        direction, moments = self.optimizer.update(gradients, state.moments, params)
        for kind, tensors in optimizers.moments(optimization, moments).items():
            seen |= {f"moments/{kind}.{name}": tensor for name, tensor in tensors.items()}
        params = jax.tree.map(lambda param, d: param - rate * d, params, direction)
        return State(params, moments, carry, state.step + 1), seen | below("weights", params)


def _dotted(path: tuple[Any, ...]) -> str:
    return ".".join(map(str, path))
