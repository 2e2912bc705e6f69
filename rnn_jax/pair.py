"""A JAX function or a Flax module as one program of a pair (see `shared/parity/pair.py`)."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from rnn_jax.arrays import aliases, arrays
from rnn_jax.functional import as_function
from rnn_jax.precision import narrowings
from shared.errors import InvalidInput
from shared.protocol.mapping import WeightMap
from shared.protocol.places import Place
from shared.protocol.program import Example, calling, parts
from shared.protocol.trace import Trace, below, ordered
from shared.protocol.weights import Weights

MOMENTS = {"mu": "exp_avg", "nu": "exp_avg_sq", "trace": "momentum_buffer"}
"""optax's name of a moment → torch's."""
PRECISIONS = (np.dtype(np.float64), np.dtype(np.float32))


class JaxProgram:
    """A function with its parameters, loss and optimizer.

    Switches jax_enable_x64 on, for the whole process, if dtype is float64.

    Args:
        model: `model(params, *inputs)` → outputs, or a `flax.nnx.Module` called with the inputs,
            whose dropout must be off. With `watch`, a function may return (outputs, dict of
            arrays); these arrays are compared, too.
        params: pytree of the function's parameters, for its shapes; None with a module.
        loss: (outputs, targets) → scalar.
        optimizer: gets the parameters as {place: array}. None compares up to the gradients.
        names: PyTorch's name of each parameter → the place of its twin, as
            `shared/protocol/places.py` writes it; a list of places if its rows are cut into blocks,
            such as one for each gate; None if there is no twin, whose value is then zero and stays
            zero. A `WeightMap` as `propose` finds it does as well; what it says of buffers is left
            out here.
        watch: the function returns intermediate results as well, by the names that TorchProgram has
            for them.
        name: its name in the report.
        dtype: of parameters, real inputs and real state: float64 or float32.

    Raises:
        InvalidInput: a place that does not exist, is named twice, or is not named at all; a module
            that draws dropout masks; another dtype.
    """

    def __init__(
        self,
        model: Callable[..., Any] | nnx.Module,
        params: Any,
        loss: Callable[[Any, jax.Array], jax.Array],
        optimizer: optax.GradientTransformation | None = None,
        *,
        names: Mapping[str, Place] | WeightMap,
        watch: bool = False,
        name: str = "jax",
        dtype: jax.typing.DTypeLike = np.float64,
    ):
        with calling("dtype", "float64 or float32"):
            dtype = np.dtype(dtype)
        if dtype not in PRECISIONS:
            raise InvalidInput(f"dtype: expected float64 or float32, got {dtype}")
        if dtype == np.float64:
            jax.config.update("jax_enable_x64", True)
        if optimizer is not None and not isinstance(optimizer, optax.GradientTransformation):
            raise InvalidInput(f"optimizer: expected one of optax, got {type(optimizer).__name__}")
        self.name = name
        self._loss, self._optimizer, self._watch, self._dtype = loss, optimizer, watch, dtype
        call, shapes, self._rest = as_function(model, params, dtype)
        self._at_start = self._rest
        others = aliases(model)
        mapping, held = _of_parameters(names, {*shapes, *others}, set(self._rest))
        # What is no parameter in torch stays as it is, also where it is a leaf of the pytree.
        fixed = {p: jnp.asarray(a, dtype) for p, a in arrays(params).items() if p in held}
        self._call = lambda values, rest, *inputs: call(values | fixed, rest, *inputs)
        self._shapes = {path: shape for path, shape in shapes.items() if path not in fixed}
        self._names = mapping.bind(self._shapes, aliases=others)
        self._params: dict[str, jax.Array] = {}
        self._their_shapes: dict[str, tuple[int, ...]] = {}
        self._state: Any = None
        self._compiled = jax.jit(self._step)

    def begin(self, weights: Weights) -> None:
        self.load(weights)
        self._rest = self._at_start
        if self._optimizer is not None:
            with calling(f"{self.name}: optimizer"):
                self._state = self._optimizer.init(self._params)

    def load(self, weights: Weights) -> None:
        """Loads weights as `Program.load`.

        Raises:
            InvalidInput: weights without a place, or of another shape than there.
        """
        self._names.check_names(weights)
        for name, other in self._names.tied.items():
            if name in weights and other in weights:
                raise InvalidInput(f"names: {name}: {self._names.places[name]} has a twin already")
        found = self._names.to_port(weights)
        self._their_shapes = {name: array.shape for name, array in weights.items()}
        self._params = {place: jnp.array(found[place], self._dtype) for place in self._shapes}

    def weights(self) -> Weights:
        if not self._params:
            raise InvalidInput(
                f"{self.name} begins with the weights of the other program: expected JAX first, "
                "compare_programs(jax, torch, …)"
            )
        return self._torchs(self._params)

    def step(self, example: Example) -> Trace:
        inputs, targets = self._arrays(example)
        before = self._params
        with jax.default_matmul_precision("highest"):
            self._params, self._state, self._rest, seen, gradients, moments = self._compiled(
                before, self._state, self._rest, inputs, targets
            )
        trace = {name: np.asarray(array) for name, array in seen.items()}
        trace |= below("inputs", {str(i): x for i, x in enumerate(inputs)})
        trace["inputs/targets"] = targets
        trace |= below("before", self._torchs(before)) | below("gradients", self._torchs(gradients))
        if self._optimizer is not None:
            for kind, tensors in moments.items():
                named = {f"{kind}.{name}": array for name, array in self._torchs(tensors).items()}
                trace |= below("moments", named)
            trace |= below("weights", self._torchs(self._params))
        return {name: trace[name] for name in ordered(trace)}

    def hints(self, example: Example) -> list[str]:
        """Tells of parameters without a twin, of state that is not compared, and where float64
        becomes less."""
        missing = [name for name, parts in self._names.parts.items() if None in parts]
        found = [f"{self.name} has no {name}: it counts as zero there" for name in missing]
        if self._rest:
            found.append(f"{self.name}: state is not compared: {', '.join(self._rest)}")
        if self._dtype == np.float64:
            inputs, targets = self._arrays(example)
            jaxpr = jax.make_jaxpr(self._forward)(self._params, self._rest, inputs, targets)
            found += dict.fromkeys(narrowings(jaxpr.jaxpr))
        return found

    # What is compiled ---------------------------------------------------------------------------

    def _forward(self, params: dict, rest: dict, inputs: list, targets: Any) -> Any:
        with calling(f"{self.name}: model"):
            (outputs, rest), watched = self._call(params, rest, *inputs), {}
        if self._watch:
            pair = isinstance(outputs, tuple) and len(outputs) == 2
            if not pair or not isinstance(outputs[1], dict):
                raise InvalidInput("watch: expected a function that returns (outputs, dict)")
            outputs, watched = outputs
        arrays = (jax.Array, np.ndarray)
        seen = below("layers", parts("", watched, arrays))
        seen |= below("logits", parts("outputs", outputs, arrays))
        with calling(f"{self.name}: loss"):
            loss = self._loss(outputs, targets)
        return self._real(loss), (seen, rest)

    def _real(self, loss: Any) -> jax.Array:
        """Returns the loss, which must be one real number."""
        got = type(loss).__name__
        if isinstance(loss, (jax.Array, np.ndarray, float)):
            array = jnp.asarray(loss)
            if not array.ndim and jnp.issubdtype(array.dtype, jnp.floating):
                return array
            got = f"{array.dtype} of shape {array.shape}"
        raise InvalidInput(f"{self.name}: loss: expected one real number, got {got}")

    def _step(self, params: dict, state: Any, rest: dict, inputs: list, targets: Any) -> Any:
        both = jax.value_and_grad(self._forward, has_aux=True)
        (value, (seen, rest)), gradients = both(params, rest, inputs, targets)
        seen |= {"loss/loss": value, "norm/norm": optax.tree.norm(gradients)}
        moments: dict[str, Any] = {}
        if self._optimizer is not None:
            updates, state = self._updates(gradients, state, params)
            params = optax.apply_updates(params, updates)  # pyright: ignore[reportAssignmentType]
            moments = _moments(state)
        return params, state, rest, seen, gradients, moments

    def _updates(self, gradients: dict, state: Any, params: dict) -> Any:
        assert self._optimizer is not None
        with calling(f"{self.name}: optimizer", "one that needs the gradients alone"):
            return self._optimizer.update(gradients, state, params)

    def _torchs(self, params: Mapping[str, Any]) -> Weights:
        """Returns tensors by PyTorch's names, in its layout. Moments of parameters that an
        optimizer leaves alone are left out."""
        found = self._names.to_torch(params, self._their_shapes)
        return {name: found[name] for name in self._their_shapes if name in found}

    def _arrays(self, example: Example) -> tuple[list[np.ndarray], np.ndarray]:
        """Returns inputs and targets; integers keep their dtype, whatever JAX makes of them."""
        arrays = (*example.inputs, example.targets)
        floats = (jnp.issubdtype(array.dtype, jnp.floating) for array in arrays)
        cast = [a.astype(self._dtype) if f else a for a, f in zip(arrays, floats, strict=True)]
        return cast[:-1], cast[-1]


def _moments(state: Any) -> dict[str, dict[str, jax.Array]]:
    """Returns the optimizer's state by torch's names, without what has another scale there."""
    found = {name: optax.tree.get_all_with_path(state, name) for name in MOMENTS}
    moments = {}
    for name, values in found.items():
        torchs = MOMENTS[name]
        if name == "nu" and not found["mu"]:
            torchs = "square_avg"
        if name == "trace" and found["nu"]:
            continue  # the momentum of optax.rmsprop has the learning rate in it
        if len(values) == 1 and isinstance(values[0][1], dict):
            tensors = values[0][1].items()
            moments[torchs] = {p: m for p, m in tensors if not isinstance(m, optax.MaskedNode)}
    return moments


def _of_parameters(
    names: Mapping[str, Place] | WeightMap, params: set[str], rest: set[str]
) -> tuple[WeightMap, set[str]]:
    """Returns what a mapping says of parameters, and the paths where it has buffers of torch, which
    are not handed over here."""
    if not isinstance(names, WeightMap):
        names = WeightMap(dict(names))
    places: dict[str, Place] = {}
    held: set[str] = set()
    for name, place in names.places.items():
        if name in names.buffers and isinstance(place, str) and place in params:
            held.add(place)
        elif not (isinstance(place, str) and place not in params and place in rest):
            places[names.prefix + name] = place
    return replace(names, places=places, prefix=""), held
