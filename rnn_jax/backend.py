"""The training protocol in JAX: many optimizer steps in one compiled scan.

See `shared/backend.py` for the contract. A state is a tuple of arrays; every function here is pure.
"""

import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from rnn_jax import cells, losses, native, optimizers
from rnn_jax.network import Network
from shared.backend import Evaluation, Metrics, Snapshot
from shared.batching import Batch
from shared.config import Config
from shared.errors import InvalidInput
from shared.tasks.task import Signature
from shared.weights import Weights


class State(NamedTuple):
    params: dict[str, jax.Array]
    moments: Any
    carry: cells.State
    step: jax.Array


class Backend:
    """Trains a network in JAX.

    float64 switches jax_enable_x64 on for the whole process; arrays of float32 runs stay float32.
    Products are computed in full precision on every device (no TF32).

    Raises:
        InvalidInput: JAX has no such device.
    """

    def __init__(self, config: Config, signature: Signature):
        if config.precision == "float64":
            jax.config.update("jax_enable_x64", True)
        self._device = _find_device(config.device)
        self.device = f"{self._device.platform}:{self._device.id} ({self._device.device_kind})"
        self.config = config
        self.signature = signature
        self.compile_s = 0.0
        self.notes: list[str] = []
        self.path = "jax.lax.scan over the handcrafted cell, gradients by autodiff"
        if config.implementation == "native":
            self.path = "flax.nnx.RNN over flax.nnx cells"
            self.notes = native.gaps(config.network)
        self._dtype = jnp.dtype(config.precision)
        self._optimizer = optimizers.make(config.optimization)
        # The handcrafted layers hold the canonical tensors as they are.
        same = native.Layout(dict, dict, dict, dict)
        self._layout = (
            same if config.implementation == "handcrafted" else native.layout(config.network)
        )
        self._compiled: dict[Any, Callable] = {}
        # Shapes alone: the real weights come from `shared`, so nothing is drawn here.
        network = nnx.eval_shape(
            lambda: Network(
                config.network,
                signature,
                config.implementation,
                param_dtype=self._dtype,
                rngs=nnx.Rngs(0),
            )
        )
        self._graph, state = nnx.split(network, nnx.Param)
        self._paths = [path for path, _ in nnx.to_flat_state(state)]

    def init(self, snapshot: Snapshot) -> State:
        place = partial(jax.device_put, device=self._device)
        params = place(self._layout.from_weights(snapshot.weights))
        moments = self._optimizer.init(params)
        tensors = {
            kind: self._layout.from_moments(_below(kind, snapshot.moments))
            for kind in {name.split(".")[0] for name in snapshot.moments}
        }
        if snapshot.step:
            moments = optimizers.with_moments(
                self.config.optimization, moments, tensors, snapshot.step
            )
        step = jnp.asarray(snapshot.step, jnp.int32)
        return State(params, place(moments), place(snapshot.carry), place(step))

    def advance(
        self, state: State, batch: Batch[np.ndarray], rates: np.ndarray
    ) -> tuple[State, Metrics]:
        if not state.carry:
            zeros = self._merge(state.params).zero_state(batch.inputs.shape[1])
            state = state._replace(carry=jax.device_put(zeros, self._device))
        return self._run(self._advance, state, batch, rates.astype(self._dtype))

    def evaluate(self, state: State, batches: Iterable[Batch[np.ndarray]]) -> Evaluation:
        totals, carry = np.zeros(3), None
        for batch in batches:
            if carry is None:
                carry = self._merge(state.params).zero_state(batch.inputs.shape[1])
            carry, sums = self._run(self._evaluate, state.params, carry, batch)
            totals += np.sum(np.asarray(sums, np.float64), axis=1)
        loss, metric, weight = totals
        return Evaluation(float(loss / weight), float(metric / weight))

    def predict(self, state: State, inputs: np.ndarray) -> np.ndarray:
        return np.asarray(self._run(self._predict, state.params, inputs))

    def export(self, state: State) -> Snapshot:
        to_numpy = partial(jax.tree.map, np.asarray)
        moments = {
            f"{kind}.{name}": array
            for kind, tensors in optimizers.moments(self.config.optimization, state.moments).items()
            for name, array in self._layout.to_moments(to_numpy(tensors)).items()
        }
        return Snapshot(
            self._layout.to_weights(to_numpy(state.params)),
            moments,
            to_numpy(state.carry),
            int(state.step),
        )

    # What is compiled -------------------------------------------------------------------------

    def _advance(
        self, state: State, batch: Batch[jax.Array], rates: jax.Array
    ) -> tuple[State, Metrics]:
        return jax.lax.scan(self._step, state, (batch, rates))

    def _step(self, state: State, now: tuple[Batch[jax.Array], jax.Array]) -> tuple[State, Metrics]:
        """One optimizer step: loss, gradients, clipping, moments, weights."""
        batch, rate = now
        before = jax.tree.map(lambda part: jnp.where(batch.reset, 0, part), state.carry)

        def mean_loss(params: dict[str, jax.Array]) -> tuple[jax.Array, Any]:
            outputs, carry = self._merge(params)(batch.inputs, before, batch.masks)
            loss, metric, weight = losses.sums(
                self.signature.loss, outputs, batch.targets, batch.weights
            )
            return loss / weight, (metric / weight, carry)

        gradient = jax.value_and_grad(mean_loss, has_aux=True)
        (loss, (metric, carry)), gradients = gradient(state.params)
        if self.config.optimization.clip_norm is not None:
            gradients = optimizers.clip(gradients, self.config.optimization.clip_norm)
        direction, moments = self._optimizer.update(gradients, state.moments, state.params)
        params = jax.tree.map(lambda param, d: param - rate * d, state.params, direction)
        return State(params, moments, carry, state.step + 1), Metrics(loss, metric)

    def _evaluate(self, params: dict[str, jax.Array], carry: cells.State, batch: Batch[jax.Array]):
        def step(carry: cells.State, batch: Batch[jax.Array]):
            carry = jax.tree.map(lambda part: jnp.where(batch.reset, 0, part), carry)
            outputs, carry = self._merge(params)(batch.inputs, carry)
            sums = losses.sums(self.signature.loss, outputs, batch.targets, batch.weights)
            return carry, sums

        return jax.lax.scan(step, carry, batch)

    def _predict(self, params: dict[str, jax.Array], inputs: jax.Array) -> jax.Array:
        network = self._merge(params)
        return network(inputs, network.zero_state(len(inputs)))[0]

    def _merge(self, params: dict[str, jax.Array]) -> Network:
        flat = [(path, nnx.Param(params[_dotted(path)])) for path in self._paths]
        return nnx.merge(self._graph, nnx.from_flat_state(flat))

    def _run(self, function: Callable, *arguments: Any) -> Any:
        """Calls a compiled function; compiles it first, on a clock, when the shapes are new."""
        arguments = jax.device_put(arguments, self._device)
        shapes = jax.tree.map(lambda array: (array.shape, array.dtype), arguments)
        key = (function.__name__, str(shapes))
        if key not in self._compiled:
            start = time.perf_counter()
            with jax.default_matmul_precision("highest"):
                self._compiled[key] = jax.jit(function).lower(*arguments).compile()
            self.compile_s += time.perf_counter() - start
        return self._compiled[key](*arguments)


def _below(prefix: str, tensors: Weights) -> Weights:
    return {
        name.removeprefix(f"{prefix}."): array
        for name, array in tensors.items()
        if name.startswith(f"{prefix}.")
    }


def _dotted(path: tuple) -> str:
    return ".".join(map(str, path))


def _find_device(name: str) -> Any:
    try:
        return jax.devices(None if name == "auto" else name)[0]
    except RuntimeError as error:
        present = ", ".join(sorted({device.platform for device in jax.devices()}))
        raise InvalidInput(f"--device {name}: JAX sees no such device, only: {present}") from error
