"""The training protocol in JAX: many optimizer steps in one compiled scan.

See `shared/protocol/backend.py` for the contract. A state is a tuple of arrays; every function here
is pure.
"""

import os
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh

from rnn_jax import compilation, devices, native, optimizers, scans, sharding, tracing
from rnn_jax.network import without_numbers
from rnn_jax.sharding import BATCHES, CARRY, WHOLE
from rnn_jax.step import REFERENCE, Algebra, State, Step
from shared.config import Config
from shared.config.choices import moment_names
from shared.protocol import Batch, Snapshot
from shared.protocol.backend import Evaluation, Metrics
from shared.protocol.dataset import Signature
from shared.protocol.row_parts import own_rows
from shared.protocol.sampling import Sampling
from shared.protocol.trace import Trace, ordered
from shared.system.team import ALONE, Team

MOST_TOGETHER = 1e7
"""Largest number of operations of a step with which several seeds are trained in one program on a
CPU. Measured on two cores (`docs/speed.md`)."""
DEVICE_SETTINGS = ("JAX_NUM_CPU_DEVICES", "JAX_PLATFORMS", "XLA_FLAGS")
"""Variables that decide which devices JAX sees."""


PLACES = State(WHOLE, WHOLE, CARRY, WHOLE)  # pyright: ignore[reportArgumentType]
"""Places of a state's parts, as in `rnn_jax/sharding.py`."""


class Backend:
    """Trains a network in JAX.

    float64 switches jax_enable_x64 on for the whole process; arrays of float32 runs stay float32.
    Products are computed in full precision on every device (no TF32).

    Args:
        team, rows: as in `load_backend`.
        algebra: what a step computes; for `rnn_jax/traps.py`.
        compiled: False makes `trace` run a step operation by operation. For a single step, that
            takes a tenth of the time of compiling it.

    Raises:
        InvalidInput: JAX has no such device.
    """

    def __init__(
        self,
        config: Config,
        signature: Signature,
        team: Team = ALONE,
        rows: int = 0,
        algebra: Algebra = REFERENCE,
        compiled: bool = True,
    ):
        if config.precision == "float64":
            jax.config.update("jax_enable_x64", True)
        devices.use_all_cores()
        self.team = team
        self.devices = team.count
        self._rows = rows
        self._device = devices.find(config.device)
        self.device = devices.named(self._device)
        self.config = config
        self.signature = signature
        self.compile_s = 0.0
        self.own_masks = False
        self._seeds = 1
        self._programs = compilation.Programs()
        self.notes: list[str] = []
        if config.implementation == "native":
            self.path = "flax.nnx.RNN over flax.nnx cells"
            self.notes = native.gaps(config.network)
        self._dtype = jnp.dtype(config.precision)
        self._whole = compiled
        # The handcrafted layers hold the canonical tensors as they are.
        same = native.Layout(dict, dict, dict, dict)
        self._layout = (
            same if config.implementation == "handcrafted" else native.layout(config.network)
        )
        self._compiled: dict[Any, Callable] = {}
        network = without_numbers(config.network, signature, config.implementation, self._dtype)
        graph, state = nnx.split(network, nnx.Param)
        paths = [path for path, _ in nnx.to_flat_state(state)]
        optimizer = algebra.optimizer(config.optimization)
        self._step = Step(config, signature, graph, paths, optimizer, algebra)
        self._no_moments = jax.jit(optimizer.init)
        self.parameters = self._step.parameters
        if not isinstance(network.rnn, native.Native):
            self.path = network.rnn.path(self._dtype)
        shapes = [value.shape for path, value in nnx.to_flat_state(state) if path[0] == "rnn"]
        self._matrix_elements = sum(shape[0] * shape[1] for shape in shapes if len(shape) == 2)

    @property
    def compilation(self) -> str:
        return str(self._programs)

    def init(self, snapshot: Snapshot) -> State:
        place = partial(jax.device_put, device=self._device)
        params = place(self._layout.from_weights(snapshot.weights))
        moments = self._no_moments(params)
        tensors = {
            kind: self._layout.from_moments(optimizers.of_kind(kind, snapshot.moments))
            for kind in {name.split(".")[0] for name in snapshot.moments}
        }
        if snapshot.step:
            moments = optimizers.with_moments(
                self.config.optimization, moments, tensors, snapshot.step
            )
        step = jnp.asarray(snapshot.step, jnp.int32)
        carry = snapshot.carry
        if self.team.several:
            carry = tuple(part[:, own_rows(part.shape[1], self.team)] for part in carry)
        return State(params, place(moments), place(carry), place(step))

    def advance(
        self, states: Sequence[State], batches: Sequence[Batch[np.ndarray]], rates: np.ndarray
    ) -> tuple[list[State], list[Metrics]]:
        pairs = zip(states, batches, strict=True)
        states = [self._with_carry(state, batch) for state, batch in pairs]
        rates = rates.astype(self._dtype)
        if len(states) > 1:
            self.device = devices.named(self._device)
            if self._seeds == 1:
                self._seeds = len(states)
                self.path += f", {len(states)} seeds in one program (jax.vmap)"
            return self._run(scans.advance_seeds, (states, [*batches], rates), donate=(0,))
        (state,), (batch,) = states, batches
        mesh = self._shared(batch)
        places = (PLACES, BATCHES, WHOLE)
        outputs = (PLACES, Metrics(WHOLE, WHOLE, WHOLE))
        arguments = state, batch, rates
        state, metrics = self._run(scans.advance, arguments, mesh, places, outputs, donate=(0,))
        return [state], [metrics]

    def together(self, operations: float) -> bool:
        if self.team.several:
            return False
        # Steps of few operations are mostly the cost of starting each, which vmap pays once for all
        # seeds. Larger ones are faster alone: shared among the cores, their products not batched.
        return self._device.platform != "cpu" or operations <= MOST_TOGETHER

    def trace(
        self, state: State, batch: Batch[np.ndarray], rates: np.ndarray
    ) -> tuple[State, Trace]:
        state = self._with_carry(state, batch)
        arguments = state, batch, rates.astype(self._dtype)
        if self.team.several or sharding.ALWAYS in os.environ:
            state, traced = self._on_all_devices(*arguments)
        elif self._whole:
            state, traced = self._run(scans.trace, arguments)
        else:
            state, traced = tracing.by_operation(self._step, self._device, *arguments)
        seen = {name: np.asarray(traced[name]) for name in ordered(traced)}
        if self.config.implementation == "native":
            seen = native.canonical(self._layout, seen, moment_names(self.config.optimization))
        return state, seen

    def _on_all_devices(
        self, state: State, batch: Batch[np.ndarray], rates: np.ndarray
    ) -> tuple[State, dict[str, Any]]:
        """Takes the steps on all devices, and returns what each computed as that of one."""
        mesh, arguments = self._shared(batch), (state, batch, rates)
        if mesh is None:
            return self._run(scans.trace, arguments)
        axes = tracing.axes(self._step, *arguments)
        outputs = PLACES, tracing.places(axes)
        places = (PLACES, BATCHES, WHOLE)
        state, traced = self._run(scans.trace, arguments, mesh, places, outputs)
        return state, tracing.whole(traced, axes, self._rows) if self.team.several else traced

    def evaluate(self, state: State, batches: Iterable[Batch[np.ndarray]]) -> Evaluation:
        found, carry = [], None
        for batch in batches:
            if carry is None:
                carry = self._step.merge(state.params).zero_state(batch.inputs.shape[1])
            places, outputs = (WHOLE, CARRY, BATCHES), (CARRY, WHOLE)
            arguments, mesh = (state.params, carry, batch), self._mesh(batch.inputs.shape[1:3], 2)
            carry, sums = self._run(scans.evaluate, arguments, mesh, places, outputs)
            jax.block_until_ready(found[-1:])  # the next batch is read while one is computed
            found.append(sums)
        loss, metric, weight = np.concatenate(found, axis=1, dtype=np.float64).sum(axis=1)
        return Evaluation(float(loss / weight), float(metric / weight))

    def predict(
        self,
        state: State,
        inputs: np.ndarray,
        lengths: np.ndarray | None = None,
        carry: tuple[np.ndarray, ...] | None = None,
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
        # On one device: what a few sequences take is less than to bring the weights to the others.
        if self.signature.tokens:
            inputs = inputs.astype(np.int32, copy=False)
        else:
            inputs = inputs.astype(self._dtype, copy=False)
        before = carry or self._step.merge(state.params).zero_state(len(inputs))
        outputs = self._run(scans.predict, (state.params, inputs, lengths, before))
        return jax.tree.map(np.asarray, outputs)

    def generate(
        self,
        state: State,
        logits: np.ndarray,
        carry: tuple[np.ndarray, ...],
        noise: np.ndarray,
        how: Sampling,
    ) -> tuple[np.ndarray, np.ndarray, tuple[np.ndarray, ...]]:
        real = self._dtype.type
        choice = (
            real(how.temperature or 1),
            np.int32(how.top_k or len(logits)),
            real(how.top_p),
        )
        arguments = state.params, logits, carry, noise.astype(self._dtype), choice
        return jax.tree.map(np.asarray, self._run(scans.generate, arguments))

    def export(self, state: State) -> Snapshot:
        to_numpy = partial(jax.tree.map, np.asarray)
        moments = {
            f"{kind}.{name}": array
            for kind, tensors in optimizers.moments(self.config.optimization, state.moments).items()
            for name, array in self._layout.to_moments(to_numpy(tensors)).items()
        }
        carry = state.carry
        if self.team.several:
            carry = sharding.rows(carry, 1, self._rows)
        return Snapshot(
            self._layout.to_weights(to_numpy(state.params)),
            moments,
            to_numpy(carry),
            int(state.step),
        )

    def _with_carry(self, state: State, batch: Batch[np.ndarray]) -> State:
        """Returns the state, with a carry of zeros where it has none yet."""
        if state.carry:
            return state
        zeros = self._step.merge(state.params).zero_state(batch.inputs.shape[1])
        return state._replace(carry=jax.device_put(zeros, self._device))

    def _shared(self, batch: Batch[np.ndarray]) -> Mesh | None:
        """Returns the devices among which a batch is trained on, and notes them."""
        mesh = self._mesh(batch.inputs.shape[1:3], 6)
        self.devices = 1 if mesh is None else mesh.size
        self.device = devices.named(self._device, mesh)
        return mesh

    def _mesh(self, shape: tuple[int, ...], operations: int) -> Mesh | None:
        """Returns the devices among which to share B sequences of T steps; None for one device.
        `operations` are those with each element of a recurrent layer's matrices for a row and a
        time step: 2 forth and 4 back."""
        if self.config.implementation == "native" and not self.team.several:
            return None
        rows, steps = shape
        work = operations * self._matrix_elements * rows * steps
        return sharding.mesh_for(self._device, rows, self.config.network.hidden_size, work)

    def _run(
        self,
        function: Callable,
        arguments: tuple[Any, ...],
        mesh: Mesh | None = None,
        places: tuple[Any, ...] = (),
        outputs: Any = None,
        donate: tuple[int, ...] = (),
    ) -> Any:
        """Calls a compiled function; compiles it first, on a clock, when the shapes are new.

        Args:
            function: one of `scans.py`.
            places, outputs: where arguments and results are on a mesh.
            donate: arguments whose memory the results may take.
        """
        arguments = sharding.place(mesh, self._device, arguments, places)
        leaves, structure = jax.tree.flatten(arguments)
        shapes = tuple((leaf.shape, leaf.dtype) for leaf in leaves)
        key = (function.__name__, structure, shapes, mesh)
        if key not in self._compiled:
            start = time.perf_counter()
            call = sharding.shared_among(mesh, partial(function, self._step, mesh), places, outputs)
            with jax.default_matmul_precision("highest"):
                lowered = jax.jit(call, donate_argnums=donate).lower(*arguments)
                self._compiled[key] = lowered.compile()
            self.compile_s += time.perf_counter() - start
        return self._compiled[key](*arguments)
