"""A PyTorch module as one program of a pair (see `shared/parity/pair.py`)."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from rnn_torch import draws as random_draws
from rnn_torch.alterations import alterations, altered
from rnn_torch.captures import captured, kinds
from rnn_torch.devices import threads, threads_for_work
from rnn_torch.functional import real
from rnn_torch.held import Held, in_precision
from rnn_torch.nests import copies, to_array, to_tensors
from rnn_torch.observation import Observation, gaps, observed
from rnn_torch.originals import buffers, check_without_dropout, source
from rnn_torch.plain import copied
from rnn_torch.precision import narrowings, subnormals_flushed
from rnn_torch.ties import tied
from rnn_torch.update_rules import update_rules
from rnn_torch.updates import Recipe, Updates
from shared.errors import InvalidInput
from shared.protocol.gaps import Gap, Rows
from shared.protocol.nests import arguments, has_packed, leaves
from shared.protocol.program import Alteration, Call, Draws, Example, Start, Update, calling
from shared.protocol.trace import Trace, below, ordered, phase_of

PRECISIONS = (torch.float64, torch.float32)


class TorchProgram:
    """A module with its loss and optimizer. The module itself stays as it is: a copy is trained, on
    the module's device.

    Inside of a step the default dtype is that of the program, tensors that the module or the loss
    hold count in it, and subnormal numbers count as zero, as in JAX on CPUs.

    Args:
        module: called with the inputs; or a function without arguments that makes it, where it
            cannot be copied.
        loss: (outputs, targets) → scalar.
        optimizer: parameters → optimizer; or (parameters, module) → optimizer, where groups are
            told by name. None compares up to the gradients.
        scheduler: optimizer → one of torch.optim.lr_scheduler, which steps after the optimizer.
            `ReduceLROnPlateau` is given the mean loss since its last step.
        every: optimizer steps from one step of the scheduler to the next, such as those of an
            epoch.
        accumulate: batches whose mean gradient makes a step, as `optax.MultiSteps` has it.
        prepare: called with the parameters before each optimizer step, for clipping.
        before: called with the module and the number of the step, from 1, before each batch, such
            as to unfreeze parameters.
        call: (module, *inputs) → outputs, where calling the module with the inputs is not enough.
        watch: names of submodules whose outputs are compared, too; the outputs of a second call in
            a step are called name#2, and so on.
        name: its name in the report.
        dtype: of parameters, buffers and real inputs: float64 or float32.

    Raises:
        InvalidInput: a module that has complex parameters or parameters without values, or cannot
            be copied; a name that is no submodule; an optimizer of other parameters or one that
            takes its steps by itself; another dtype.
    """

    def __init__(
        self,
        module: nn.Module | Callable[[], nn.Module],
        loss: Callable[[Any, Any], Tensor],
        optimizer: Callable[..., torch.optim.Optimizer] | None = None,
        *,
        scheduler: Callable[[torch.optim.Optimizer], Any] | None = None,
        every: int = 1,
        accumulate: int = 1,
        prepare: Callable[[list[nn.Parameter]], Any] | None = None,
        before: Callable[[nn.Module, int], Any] | None = None,
        call: Callable[..., Any] | None = None,
        watch: Sequence[str] = (),
        name: str = "torch",
        dtype: torch.dtype = torch.float64,
    ):
        if dtype not in PRECISIONS:
            raise InvalidInput(f"dtype: expected torch.float64 or torch.float32, got {dtype}")
        self.name = name
        self._loss, self._original_loss, self._dtype, self._before = loss, loss, dtype, before
        self._call = call or (lambda module, *given, **named: module(*given, **named))
        self._recipe = Recipe(optimizer, scheduler, every, accumulate, prepare)
        self._recipe.check()
        self._fresh = source(module, dtype)
        self._watch = tuple(watch)
        self._watched: dict[str, Tensor] = {}
        self._calls: Counter[str] = Counter()
        self._renew()
        for watched in watch:
            if watched not in dict(self._module.named_modules()):
                raise InvalidInput(f"watch: expected names of submodules, got {watched}")
        self._begun_with = self.now()

    def begin(self, start: Start) -> None:
        self._renew()
        self.load(start)
        self._begun_with = self.now()

    def load(self, start: Start) -> None:
        held = dict(self._module.named_buffers())
        with torch.no_grad():
            for name, param in self._params.items():
                param.copy_(torch.tensor(start.weights[name]))
            for name, values in start.buffers.items():
                if name in held:  # a buffer may be made by a later step
                    held[name].copy_(torch.tensor(values))

    def now(self) -> Start:
        weights = {name: to_array(param) for name, param in self._params.items()}
        weights |= {name: weights[first] for name, first in self._tied.items()}
        return Start(weights, buffers(self._module), self._tied)

    def step(self, example: Example, draws: Draws = None, altered: str = "") -> Trace:
        self._steps += 1
        self._noted = draws is not None
        if draws is None:
            check_without_dropout(self._module)
        with self._inside(draws, example.inputs), torch.enable_grad():
            return self._step(example, draws, altered)

    def evaluate(
        self, inputs: Any, buffers: Any = None, draws: Draws = None, altered: str = ""
    ) -> Trace:
        training = {part: part.training for part in self._module.modules()}
        self._module.eval()
        watching = nullcontext() if altered else self._seen.lines.watched()
        try:
            inside, drawing = self._inside(draws, inputs), self._drawing(draws)
            with inside, torch.no_grad(), self._altered(altered), watching, drawing:
                outputs = self._outputs(self._tensors(inputs))
        finally:
            for part, mode in training.items():
                part.training = mode
        return {n: to_array(t) for n, t in below("evaluation", copies("outputs", outputs)).items()}

    def calls(self, example: Example, draws: Draws = None) -> list[Call]:
        # With gradients: without, some layers compute in another way.
        inside = self._inside(draws, example.inputs)
        with inside, torch.enable_grad(), self._drawing(draws), captured(self._module) as found:
            self._outputs(self._tensors(example.inputs))
        return [
            call._replace(
                inputs={n: to_array(t) for n, t in call.inputs.items()},
                outputs={n: to_array(t) for n, t in call.outputs.items()},
            )
            for call in found
        ]

    def kinds(self) -> Mapping[str, str]:
        return kinds(self._module)

    def places(self) -> Mapping[str, Sequence[str]]:
        return {name: [name] for name in self._params}

    def alterations(self) -> Sequence[Alteration]:
        return alterations(self._module, packed=self._packed)

    def update(self) -> Update:
        optimizer = self._updates.optimizer
        rules = () if optimizer is None else update_rules(optimizer, self._params)
        return Update(rules, self._updates.rates, self._recipe.accumulate)

    def gaps(self) -> list[Gap]:
        return [*gaps(self._seen), *self._updates.gaps()]

    def rows(self) -> Mapping[str, Rows]:
        return self._seen.embeddings

    def hints(self, example: Example) -> list[str]:
        """Tells of random numbers, and where float64 becomes less."""
        seeded, inside = random_draws.seeded(self._steps), self._inside(None, example.inputs)
        with seeded, narrowings() as places, inside, torch.enable_grad():
            random = torch.get_rng_state()
            outputs = self._outputs(self._tensors(example.inputs))
            loss = self._loss_of(outputs, self._tensors(example.targets))
            drew = not torch.equal(random, torch.get_rng_state())
            if self._updates.optimizer is not None:
                self._gradients(loss)
                self._updates.take(loss)
        drew &= not self._noted
        found = [f"{self.name}: the model draws random numbers"] if drew else []
        return found + (list(dict.fromkeys(places)) if self._dtype == torch.float64 else [])

    # A step ---------------------------------------------------------------------------------------

    def _step(self, example: Example, draws: Draws, altered: str) -> Trace:
        if self._before is not None:
            with calling(f"{self.name}: before"):
                self._before(self._module, self._steps)
        inputs, targets = self._tensors(example.inputs), self._tensors(example.targets)
        self._packed = has_packed(example.inputs)
        # Copies: the module, the loss or a layer after a watched one may change what it gets.
        seen: dict[str, Tensor] = below("inputs", copies("", inputs) | copies("targets", targets))
        seen |= below("before", {name: p.clone() for name, p in self._params.items()})
        self._watched.clear()
        self._calls.clear()
        self._module.zero_grad()
        watching = observed(self._module, [self._loss], into=self._seen)
        with self._altered(altered), self._drawing(draws):  # checkpoints run in the backward pass
            with nullcontext() if altered else watching:
                outputs = self._outputs(inputs)
                seen |= below("logits", copies("outputs", outputs))
                loss = self._loss_of(outputs, targets)
            gradients = self._gradients(loss)
        for watched in self._watch:
            if not self._calls[watched]:
                raise InvalidInput(f"watch: expected {watched} to be called in a step, it was not")
        seen |= below("layers", self._watched) | below("gradients", gradients)
        seen |= {"loss/loss": loss, "norm/norm": nn.utils.get_total_norm(gradients.values())}
        if self._updates.optimizer is not None:
            clipped = self._updates.take(loss)
            seen |= below("clipped", clipped)
            seen |= below("moments", self._updates.moments())
            seen |= below("weights", self._params)
        return self._trace(seen)

    def _gradients(self, loss: Tensor) -> dict[str, Tensor]:
        """Returns the gradients of all parameters that are not frozen."""
        if loss.requires_grad:  # else no parameter plays a part in it
            with calling(f"{self.name}: loss", "one with gradients"):
                loss.backward()
        return {
            name: torch.zeros_like(p) if p.grad is None else p.grad.to_dense().clone()
            for name, p in self._params.items()
            if p.requires_grad
        }

    def _trace(self, seen: dict[str, Tensor]) -> Trace:
        for name, first in self._tied.items():
            for phase in ("before", "gradients", "clipped", "weights"):
                if f"{phase}/{first}" in seen:
                    seen[f"{phase}/{name}"] = seen[f"{phase}/{first}"]
        layers = iter(below("layers", self._watched))  # in the order in which they ran
        names = [next(layers) if phase_of(n) == "layers" else n for n in ordered(seen)]
        found = {name: to_array(seen[name]) for name in names}
        return found | below("buffers", buffers(self._module))

    @contextmanager
    def _inside(self, draws: Draws, inputs: Any) -> Iterator[None]:
        """Sets what holds during a step, and puts it back afterwards."""
        rows = [len(leaf) for leaf in leaves(inputs) if leaf.ndim]
        largest = max((param.numel() for param in self._params.values()), default=0)
        with ExitStack() as stack:
            stack.enter_context(torch.inference_mode(False))
            stack.enter_context(subnormals_flushed())
            stack.enter_context(threads(threads_for_work(max(rows, default=1) * largest)))
            if draws is not None:
                stack.enter_context(random_draws.seeded(self._steps))
            stack.enter_context(in_precision(self._held))
            yield

    def _drawing(self, draws: Draws) -> AbstractContextManager[Any]:
        return nullcontext() if draws is None else random_draws.noted(self._module, draws)

    def _altered(self, name: str) -> Any:
        return altered(self._module, name) if name else nullcontext()

    def _renew(self) -> None:
        """Takes a fresh copy, for buffers and whatever else a module may keep of its steps."""
        with torch.inference_mode(False):
            self._module = self._fresh()
        if isinstance(self._original_loss, nn.Module):
            self._loss = copied(self._original_loss)
        self._held = Held(self._dtype)
        self._seen = Observation()
        self._steps, self._packed, self._noted = 0, False, False
        submodules = dict(self._module.named_modules())
        for watched in self._watch:
            if watched in submodules:
                submodules[watched].register_forward_hook(self._hook(watched))
        self._params = dict(self._module.named_parameters())
        self._tied = tied(self._module)
        with in_precision(self._held), torch.inference_mode(False):
            self._updates = Updates(self.name, self._recipe, self._params, self._module)

    # The user's own code ------------------------------------------------------------------------

    def _outputs(self, inputs: Any) -> Any:
        given, named = arguments(inputs)
        with calling(f"{self.name}: model"):
            return self._call(self._module, *given, **named)

    def _loss_of(self, outputs: Any, targets: Any) -> Tensor:
        with calling(f"{self.name}: loss"):
            loss = self._loss(outputs, targets)
        return real(self.name, loss)

    def _hook(self, name: str) -> Callable[..., None]:
        def keep(_: nn.Module, __: Any, output: Any) -> None:
            self._calls[name] += 1
            again = f"#{self._calls[name]}" if self._calls[name] > 1 else ""
            tensors = copies(name + again, output)
            if not tensors:
                raise InvalidInput(f"watch: expected tensors of {name or 'the module'}, got none")
            self._watched |= tensors

        return keep

    def _tensors(self, nest: Any) -> Any:
        device = next((param.device for param in self._params.values()), None)
        return to_tensors(nest, self._dtype, device)
