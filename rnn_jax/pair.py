"""A JAX function or a Flax module as one program of a pair (see `shared/parity/pair.py`)."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from rnn_jax.arrays import aliases, everything
from rnn_jax.compiled_draws import Compiled, drawing
from rnn_jax.functional import as_function, check_without_dropout, in_evaluation, real
from rnn_jax.nests import Nest, cast
from rnn_jax.precision import less_than_float64
from rnn_jax.updates import moments, transformation
from shared.errors import InvalidInput
from shared.protocol.gaps import Gap, Rows
from shared.protocol.mapping import WeightMap
from shared.protocol.nests import parts
from shared.protocol.places import Place
from shared.protocol.program import Alteration, Call, Draws, Example, Start, Update, calling
from shared.protocol.trace import Trace, below, ordered
from shared.protocol.twins import Twins, strayed
from shared.protocol.weights import Weights

PRECISIONS = (np.dtype(np.float64), np.dtype(np.float32))
ARRAYS = (jax.Array, np.ndarray)


class JaxProgram:
    """A function with its parameters, loss and optimizer.

    Switches jax_enable_x64 on, for the whole process, if dtype is float64.

    Args:
        model: `model(params, *inputs)` → outputs, or a `flax.nnx.Module` called with the inputs.
            With `watch`, a function may return (outputs, dict of arrays); these arrays are
            compared, too.
        params: pytree of the function's parameters, for its shapes; None with a module.
        loss: (outputs, targets) → scalar.
        optimizer: gets the parameters as {place: array}, and the loss as `value=`. None compares up
            to the gradients.
        names: PyTorch's name of each parameter → the place of its twin, as
            `shared/protocol/places.py` writes it; a list of places if its rows are cut into blocks,
            such as one for each gate; None if there is no twin, whose value is then zero and stays
            zero. Buffers are named in the same way; running statistics are found beside the weight
            of their normalisation. A `WeightMap` as `propose` finds it does as well.
        call: (module, *inputs) → outputs, where calling the module with the inputs is not enough.
        evaluation: of a function, the same in evaluation mode, if that is another one.
        watch: the function returns intermediate results as well, by the names that TorchProgram has
            for them.
        name: its name in the report.
        dtype: of parameters, real inputs and real state: float64 or float32.

    Raises:
        InvalidInput: a place that does not exist, is named twice, or is not named at all; another
            dtype.
    """

    def __init__(
        self,
        model: Callable[..., Any] | nnx.Module,
        params: Any,
        loss: Callable[[Any, Any], jax.Array],
        optimizer: optax.GradientTransformation | optax.MultiSteps | None = None,
        *,
        names: Mapping[str, Place] | WeightMap,
        call: Callable[..., Any] | None = None,
        evaluation: Callable[..., Any] | None = None,
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
        self.name = name
        self._loss, self._watch, self._dtype = loss, watch, dtype
        self._optimizer = transformation(optimizer, dtype)
        self._model = model
        self._function = as_function(model, params, dtype, call)
        self._evaluation = in_evaluation(model, params, dtype, call, evaluation)
        shapes, rest = self._function.shapes, self._function.rest
        self.twins = Twins(names, shapes, {p: np.shape(a) for p, a in rest.items()}, aliases(model))
        tree = model if isinstance(model, nnx.Module) else params
        self._own = {path: np.asarray(a) for path, a in everything(tree) if path in shapes}
        self._params: dict[str, jax.Array] = {}
        self._fixed: dict[str, jax.Array] = {}
        self._rest: dict[str, jax.Array] = {}
        self._their_shapes: dict[str, tuple[int, ...]] = {}
        self._state: Any = None
        self._strayed: list[str] | None = None
        self._steps = 0
        self._watching: list[Call] | None = None
        """Calls of submodules, where draws are told by the module that draws."""
        self.drawing = Compiled(self._step)
        """Its steps that draw: `path` tells how the last one was taken, `reason` why so."""
        self._compiled = jax.jit(self._step)
        self._compiled_evaluation = jax.jit(self._evaluated)

    def begin(self, start: Start) -> None:
        self._rest, self._steps = self._function.rest, 0
        self.load(start)
        if self._strayed is None:
            given = {place: np.asarray(array) for place, array in self._params.items()}
            self._strayed = strayed(self._own, given)
        if self._optimizer is not None:
            with calling(f"{self.name}: optimizer"):
                self._state = self._optimizer.init(self._params)

    def load(self, start: Start) -> None:
        """Loads values as `Program.load`.

        Raises:
            InvalidInput: weights without a place, or of another shape than there.
        """
        found, rest = self.twins.start(start)
        self._their_shapes = {name: array.shape for name, array in start.weights.items()}
        self._params = {p: jnp.array(found[p], self._dtype) for p in self.twins.shapes}
        held = {p: rest.get(p, self._own[p]) for p in self.twins.fixed}
        self._fixed = {p: jnp.array(array, self._dtype) for p, array in held.items()}
        changed = {p: array for p, array in rest.items() if p in self._rest}
        self._rest = self._rest | {
            p: jnp.array(a, self._dtype if a.dtype.kind == "f" else None)
            for p, a in changed.items()
        }

    def now(self) -> Start:
        if not self._params:
            raise InvalidInput(
                f"{self.name} begins with the weights of the other program: expected JAX first, "
                "compare_programs(jax, torch, …)"
            )
        return Start(self._torchs(self._params), self.twins.torchs_buffers(self._arrays_of_rest()))

    def step(self, example: Example, draws: Draws = None, altered: str = "") -> Trace:
        if draws is None:
            check_without_dropout(self._model)
        inputs, targets = self._nests(example)
        before = self._params
        step = self._compiled if draws is None else self.drawing
        self._steps += 1
        self._watching = None if draws is None else []
        with jax.default_matmul_precision("highest"), drawing(draws, self._steps):
            found = step(before, self._state, self._rest, self._fixed, Nest(inputs), Nest(targets))
        self._params, self._state, self._rest, seen, gradients, kinds = found
        trace = {name: np.asarray(array) for name, array in seen.items()}
        given = parts("", inputs, ARRAYS) | parts("targets", targets, ARRAYS)
        trace |= below("inputs", {name: np.asarray(array) for name, array in given.items()})
        trace |= below("before", self._torchs(before)) | below("gradients", self._torchs(gradients))
        if self._optimizer is not None:
            for kind, tensors in kinds.items():
                named = {f"{kind}.{name}": array for name, array in self._torchs(tensors).items()}
                trace |= below("moments", named)
            trace |= below("weights", self._torchs(self._params))
        trace = {name: trace[name] for name in ordered(trace)}
        return trace | below("buffers", self.twins.torchs_buffers(self._arrays_of_rest()))

    def evaluate(
        self,
        inputs: Any,
        buffers: Weights | None = None,
        draws: Draws = None,
        altered: str = "",
    ) -> Trace:
        if self._evaluation is None:
            return {}
        given, _ = self._nests(Example(inputs, None))
        fixed = dict(self._fixed)
        for name, place in self.twins.buffers.items():
            if place in fixed and buffers and name in buffers:
                fixed[place] = jnp.array(buffers[name], self._dtype)
        run = self._compiled_evaluation if draws is None else Compiled(self._evaluated)
        self._watching = None if draws is None else []
        with jax.default_matmul_precision("highest"), drawing(draws, self._steps):
            found = run(self._params, self._rest, fixed, Nest(given))
        return {name: np.asarray(array) for name, array in found.items()}

    def calls(self, example: Example, draws: Draws = None) -> list[Call]:
        inputs, _ = self._nests(example)
        seen: list[Call] = []

        def forward(params: dict, rest: dict, fixed: dict, inputs: Nest) -> Any:
            seen.clear()
            self._outputs(params, rest, fixed, inputs, seen)
            return [(dict(call.inputs), dict(call.outputs)) for call in seen]

        run = jax.jit(forward) if draws is None else Compiled(forward, self.drawing.reason)
        with jax.default_matmul_precision("highest"), drawing(draws, self._steps):
            found = run(self._params, self._rest, self._fixed, Nest(inputs))
        return [
            call._replace(
                inputs={name: np.asarray(a) for name, a in given.items()},
                outputs={name: np.asarray(a) for name, a in returned.items()},
            )
            for call, (given, returned) in zip(seen, found, strict=True)
        ]

    def kinds(self) -> Mapping[str, str]:
        return {}

    def places(self) -> Mapping[str, Sequence[str]]:
        found = self.twins.params.parts.items()
        return {name: [part.path for part in places if part] for name, places in found}

    def alterations(self) -> Sequence[Alteration]:
        return ()

    def update(self) -> Update:
        return Update()

    def gaps(self) -> list[Gap]:
        return []

    def rows(self) -> Mapping[str, Rows]:
        return {}

    def hints(self, example: Example) -> list[str]:
        """Tells of parameters without a twin, and where float64 becomes less."""
        missing = [name for name, found in self.twins.params.parts.items() if None in found]
        found = [f"{self.name} has no {name}: it counts as zero there" for name in missing]
        found += [f"{self.name}: {told}" for told in self._strayed or ()]
        if self._function.strays:
            found.append(
                f"{self.name}: a call changes what is no nnx.Variable: it begins anew at the next"
            )
        others = self._rest.keys() - set(self.twins.buffers.values()) - self._function.keys
        if others := [place for place in self._rest if place in others]:
            found.append(f"{self.name}: state is not compared: {', '.join(others)}")
        if self._dtype == np.float64:
            inputs, targets = map(Nest, self._nests(example))
            held = self._params, self._rest, self._fixed
            jaxpr = jax.make_jaxpr(self._forward)(*held, inputs, targets)
            places = less_than_float64(jaxpr)
            if self._optimizer is not None:
                loss = jnp.zeros((), self._dtype)
                update = jax.make_jaxpr(self._updates)(held[0], self._state, held[0], loss)
                places += less_than_float64(update)
            found += dict.fromkeys(places)
        return found

    # What is compiled ---------------------------------------------------------------------------

    def _outputs(
        self, params: dict, rest: dict, fixed: dict, inputs: Nest, calls: list[Call] | None = None
    ) -> Any:
        with calling(f"{self.name}: model"):
            return self._function.call(params | fixed, rest, inputs.value, calls)

    def _forward(self, params: dict, rest: dict, fixed: dict, inputs: Nest, targets: Nest) -> Any:
        outputs, rest = self._outputs(params, rest, fixed, inputs, self._watching)
        watched: Any = {}
        if self._watch:
            pair = isinstance(outputs, tuple) and len(outputs) == 2
            if not pair or not isinstance(outputs[1], dict):
                raise InvalidInput("watch: expected a function that returns (outputs, dict)")
            outputs, watched = outputs
        seen = below("layers", parts("", watched, ARRAYS))
        seen |= below("logits", parts("outputs", outputs, ARRAYS))
        with calling(f"{self.name}: loss"):
            loss = self._loss(outputs, targets.value)
        return real(self.name, loss), (seen, rest)

    def _evaluated(self, params: dict, rest: dict, fixed: dict, inputs: Nest) -> Any:
        assert self._evaluation is not None
        with calling(f"{self.name}: model"):
            outputs, _ = self._evaluation.call(params | fixed, rest, inputs.value, self._watching)
        if self._watch:
            outputs, _ = outputs
        return below("evaluation", parts("outputs", outputs, ARRAYS))

    def _step(
        self, params: dict, state: Any, rest: dict, fixed: dict, inputs: Nest, targets: Nest
    ) -> Any:
        both = jax.value_and_grad(self._forward, has_aux=True)
        (value, (seen, rest)), gradients = both(params, rest, fixed, inputs, targets)
        seen |= {"loss/loss": value, "norm/norm": optax.tree.norm(gradients)}
        kinds: dict[str, Any] = {}
        if self._optimizer is not None:
            updates, state = self._updates(gradients, state, params, value)
            params = optax.apply_updates(params, updates)  # pyright: ignore[reportAssignmentType]
            kinds = moments(state)
        return params, state, rest, seen, gradients, kinds

    def _updates(self, gradients: dict, state: Any, params: dict, loss: Any) -> Any:
        assert self._optimizer is not None
        optimizer = optax.with_extra_args_support(self._optimizer)
        with calling(f"{self.name}: optimizer", "one that needs the gradients alone"):
            return optimizer.update(gradients, state, params, value=loss)

    # Between the two frameworks -----------------------------------------------------------------

    def _torchs(self, params: Mapping[str, Any]) -> Weights:
        """Returns tensors by PyTorch's names, in its layout. Moments of parameters that an
        optimizer leaves alone are left out."""
        arrays = {place: np.asarray(array) for place, array in params.items()}
        return self.twins.torchs(arrays, self._their_shapes)

    def _arrays_of_rest(self) -> Weights:
        named = set(self.twins.buffers.values())
        return {place: np.asarray(a) for place, a in self._rest.items() if place in named}

    def _nests(self, example: Example) -> tuple[Any, Any]:
        return cast(example.inputs, self._dtype), cast(example.targets, self._dtype)
