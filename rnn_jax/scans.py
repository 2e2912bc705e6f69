"""What JAX compiles of a run: many steps as one program, each a scan over those of `step.py`.

S is the number of steps, B that of sequences. With a mesh, a function computes the part of one
device.
"""

from functools import partial
from operator import itemgetter
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int

from rnn_jax import cells, losses, sampling, sharding
from rnn_jax.step import Params, State, Step
from shared.protocol import Batch
from shared.protocol.backend import Metrics


def advance(
    step: Step, mesh: Mesh | None, state: State, batch: Batch[Array], rates: Float[Array, " S"]
) -> tuple[State, Metrics]:
    """Takes S optimizer steps, with S stacked batches."""

    def take(state: State, now: tuple[Batch[Array], Array, Array]) -> tuple[State, Metrics]:
        state, seen = step.take(state, *now, mesh)
        norms = [_norm(seen[f"gradients/{name}"]) for name in step.parameters]
        return state, Metrics(seen["loss/loss"], seen["loss/metric"], jnp.stack(norms))

    counts = sharding.total(mesh, jax.vmap(step.algebra.divisor)(batch.weights))
    state, metrics = jax.lax.scan(take, state, (batch, rates, counts))
    loss, metric = sharding.total(mesh, metrics[:2])  # gradients are summed already
    return state, Metrics(loss, metric, metrics.norms)


def advance_seeds(
    step: Step,
    mesh: None,
    states: list[State],
    batches: list[Batch[Array]],
    rates: Float[Array, " S"],
) -> tuple[list[State], list[Metrics]]:
    """Takes S optimizer steps of several seeds, each with batches of its own."""

    def stacked(trees: list[Any]) -> Any:
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)

    def unstacked(tree: Any) -> list[Any]:
        return [jax.tree.map(itemgetter(i), tree) for i in range(len(states))]

    of_seeds = jax.vmap(partial(advance, step, mesh), in_axes=(0, 0, None))
    new, metrics = of_seeds(stacked(states), stacked(batches), rates)
    return unstacked(new), unstacked(metrics)


def trace(
    step: Step, mesh: Mesh | None, state: State, batch: Batch[Array], rates: Float[Array, " S"]
) -> tuple[State, dict[str, Array]]:
    """Does the same as `advance`, and returns all that was seen in each step."""

    def take(state: State, now: tuple[Batch[Array], Array, Array]) -> tuple[State, Any]:
        state, seen = step.take(state, *now, mesh)
        loss, metric = sharding.total(mesh, (seen["loss/loss"], seen["loss/metric"]))
        return state, seen | {"loss/loss": loss, "loss/metric": metric}

    counts = sharding.total(mesh, jax.vmap(step.algebra.divisor)(batch.weights))
    return jax.lax.scan(take, state, (batch, rates, counts))


def evaluate(
    step: Step, mesh: Mesh | None, params: Params, carry: cells.State, batch: Batch[Array]
) -> tuple[cells.State, Any]:
    """Returns the carry after S stacked batches, and each one's sums of loss, metric and weight."""

    def score(carry: cells.State, batch: Batch[Array]) -> tuple[cells.State, Any]:
        carry = jax.tree.map(lambda part: jnp.where(batch.reset, 0, part), carry)
        outputs, carry = step.merge(params)(batch.inputs, carry, batch.lengths)
        return carry, losses.sums(step.signature.loss, outputs, batch.targets, batch.weights)

    carry, sums = jax.lax.scan(score, carry, batch)
    return carry, sharding.total(mesh, sums)


def predict(
    step: Step,
    mesh: None,
    params: Params,
    inputs: Array,
    lengths: Int[Array, " B"] | None,
    carry: cells.State,
) -> tuple[Array, cells.State]:
    """Returns outputs and the carry after them."""
    return step.merge(params)(inputs, carry, lengths)


def generate(
    step: Step,
    mesh: None,
    params: Params,
    logits: Float[Array, " V"],
    carry: cells.State,
    noise: Float[Array, " S"],
    choice: tuple[Array, Array, Array],
) -> tuple[Int[Array, " S"], Float[Array, " V"], cells.State]:
    """Returns S tokens, each the network's next input, and the logits and the carry after them.

    Args:
        choice: temperature, top-k and top-p, as `sampling.choose` takes them.
    """

    def one(before: Any, noise: Array) -> tuple[Any, Array]:
        logits, carry = before
        token = sampling.choose(logits, noise, *choice)
        # Merged in here: the scan of flax's layers refuses variables from outside of this one.
        outputs, carry = step.merge(params)(token[None, None], carry)
        return (outputs[0, 0], carry), token

    (logits, carry), tokens = jax.lax.scan(one, (logits, carry), noise)
    return tokens, logits, carry


def _norm(gradient: Array) -> Array:
    # Rows first, which XLA adds as vectors on a CPU; a sum of all at once it takes one by one.
    return jnp.sqrt(jnp.square(gradient).sum(axis=0).sum())
