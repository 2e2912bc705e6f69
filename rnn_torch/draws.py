"""Records what a module of torch draws at random, and hands it other numbers in place of its own
(see `shared/protocol/draws.py`).

Both happen below autograd, where every operation of torch passes, so that gradients are those of
the numbers that were handed out. A draw is a function of the generator's state: what is drawn from
the same state again, as in the second forward pass of `torch.utils.checkpoint`, is the same draw.
"""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import jaxtyping
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from rnn_torch import private
from rnn_torch.draw_kinds import base_name, drawn_tensor, to_values, told
from shared.errors import InvalidInput
from shared.protocol import draws as protocol
from shared.protocol.draws import Draw, Replay, user_line

LIBRARIES = tuple(str(Path(file).parent) for file in (torch.__file__, jaxtyping.__file__, __file__))
"""Places of code that is not the user's."""
UNSEEN = "draws that torch does not show"
"""The kind of a draw by something that is no operation of torch, such as a kernel of one's own."""


class _Running(NamedTuple):
    """A submodule that is running."""

    path: str
    packed: nn.utils.rnn.PackedSequence | None
    """The input of a recurrent layer, if that is packed."""


@contextmanager
def recorded(module: nn.Module) -> Iterator[list[Draw]]:
    """Notes every draw inside, in order. A draw of a kind that is not handed over has torch's name
    of the operation as its kind.

    Dropout inside of a recurrent layer is noted as (T, B, D·H), also if the layer's input is a
    PackedSequence; the padding is then 0. cuDNN and fused attention, which hide their draws, are
    off inside, and so are compiled functions.

    Args:
        module: whose submodules draws are named after. It gets hooks, for the time of the context.

    Raises:
        InvalidInput: this release of torch does not show its operations.
    """
    found: list[Draw] = []
    with _watched(module, found, None) as mode:
        yield found
        mode.check_unseen()


@contextmanager
def replayed(module: nn.Module, replay: Replay) -> Iterator[None]:
    """Puts the draws of a replay in place of torch's own inside, whose generators go on as ever.
    At the end all must have been handed out.

    Args:
        module: as for `recorded`.

    Raises:
        InvalidInput: a draw that `Replay.take` refuses, or draws left over.
    """
    with _watched(module, [], replay) as mode:
        yield
        mode.check_unseen()
    replay.finish()


@contextmanager
def noted(module: nn.Module, draws: list[Draw] | Replay) -> Iterator[None]:
    """Adds what is drawn inside to a list, or puts the draws of a replay in its place."""
    if isinstance(draws, Replay):
        with replayed(module, draws):
            yield
        return
    with recorded(module) as found:
        yield
    draws += found


@contextmanager
def seeded(step: int) -> Iterator[None]:
    """Seeds the generators of torch, NumPy and Python inside, and puts them back afterwards."""
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    with protocol.seeded(step), torch.random.fork_rng(list(devices)):
        torch.default_generator.manual_seed(step)
        if devices:
            torch.cuda.manual_seed_all(step)
        yield


@contextmanager
def _watched(
    module: nn.Module, found: list[Draw], replay: Replay | None
) -> Iterator["_RandomOperations"]:
    if private.DispatchMode is None:
        raise InvalidInput(
            "dropout: expected a release of torch that shows its operations, got one that lacks "
            f"{', '.join(private.MISSING)}: switch dropout off"
        )
    running: list[_Running] = []
    with ExitStack() as stack:
        for path, part in module.named_modules():
            if not isinstance(part, torch.jit.ScriptModule):  # which takes no hooks
                stack.callback(part.register_forward_pre_hook(_entering(path, running)).remove)
                leave = part.register_forward_hook(_leaving(running), always_call=True)
                stack.callback(leave.remove)
        stack.callback(setattr, torch.backends.cudnn, "enabled", torch.backends.cudnn.enabled)
        torch.backends.cudnn.enabled = False
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        if "torch._dynamo" in sys.modules:  # else nothing is compiled, and this would load it
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        yield stack.enter_context(_RandomOperations(running, found, replay))


def _entering(path: str, running: list[_Running]) -> Any:
    def enter(module: nn.Module, inputs: tuple) -> None:
        recurrent = isinstance(module, nn.RNNBase)
        packed = [x for x in inputs[:1] if isinstance(x, nn.utils.rnn.PackedSequence)]
        running.append(_Running(path, packed[0] if recurrent and packed else None))

    return enter


def _leaving(running: list[_Running]) -> Any:
    def leave(*_: Any) -> None:
        running.pop()

    return leave


class _RandomOperations(private.DispatchMode or object):  # pyright: ignore[reportGeneralTypeIssues]
    """A mode that sees the operations which torch marks as random."""

    def __init__(self, running: list[_Running], found: list[Draw], replay: Replay | None) -> None:
        super().__init__()
        self._running, self._found, self._replay = running, found, replay
        self._again: dict[tuple, np.ndarray] = {}
        default = torch.default_generator
        self._states, self._seed = {_state(default)}, default.initial_seed()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if torch.Tag.nondeterministic_seeded not in func.tags:
            return func(*args, **kwargs)
        generator = _generator(args, kwargs)
        if generator is torch.default_generator:
            self.check_unseen()
        kind, settings = told(func.name(), args, kwargs)
        before = _state(generator)
        result = func(*args, **kwargs)
        after = _state(generator)
        if generator is torch.default_generator:
            self._states.add(after)
        if before == after is not None:
            return result  # it drew nothing: no elements, a rate of 0, evaluation
        drawn = drawn_tensor(func.name(), args, result)
        if drawn.is_complex():
            kind, settings = f"complex {kind}", {}
        values = self._values(kind, settings, drawn, (func.name(), before))
        if self._replay is not None:
            drawn.copy_(torch.tensor(values))
            if base_name(func.name()) == "native_dropout":
                result[0].copy_(args[0] * drawn / settings["p"] if settings["p"] else 0 * args[0])
        return result

    def check_unseen(self) -> None:
        """Notes draws since the last operation that was seen; refuses them in a replay. To seed the
        generator, or to set it back to where it was, is no draw."""
        generator = torch.default_generator
        state, seed = _state(generator), generator.initial_seed()
        if state not in self._states and seed == self._seed:
            draw = self._draw(UNSEEN, (), {}, np.zeros(()))
            if self._replay is not None:
                self._replay.take(*draw[:3], draw.module, draw.line)
            self._found.append(draw)
        self._states.add(state)
        self._seed = seed

    def _values(self, kind: str, settings: dict, drawn: Tensor, drawn_from: tuple) -> np.ndarray:
        """Returns the values that an operation drew, or those in place of them."""
        again = (*drawn_from, tuple(drawn.shape))
        if None not in again and again in self._again:
            return self._again[again]
        values = to_values(drawn)
        values = values.astype(bool) if kind == "bernoulli" else values
        rows = self._rows(len(values) if values.ndim == 2 else -1)
        if rows is not None:  # (N, H) of a PackedSequence
            values = np.where((rows >= 0)[..., None], values[rows], np.zeros((), values.dtype))
        draw = self._draw(kind, values.shape, settings, values)
        if self._replay is None:
            self._found.append(draw)
        else:
            values = self._replay.take(kind, draw.shape, settings, draw.module, draw.line)
            if rows is not None:
                values = values[rows >= 0][np.argsort(rows[rows >= 0])]
            values = values.reshape(tuple(drawn.shape))
        self._again[again] = values
        return values

    def _draw(self, kind: str, shape: tuple, settings: dict, values: np.ndarray) -> Draw:
        module = self._running[-1].path if self._running else ""
        return Draw(kind, shape, settings, values, module, user_line(LIBRARIES))

    def _rows(self, count: int) -> np.ndarray | None:
        """Returns where in a packed sequence of this many rows the elements (T, B) are, -1 for
        padding; None if the layer that runs has no such input."""
        packed = self._running[-1].packed if self._running else None
        if packed is None or len(packed.data) != count:
            return None
        numbered = nn.utils.rnn.PackedSequence(
            torch.arange(count), packed.batch_sizes, packed.sorted_indices, packed.unsorted_indices
        )
        return nn.utils.rnn.pad_packed_sequence(numbered, padding_value=-1)[0].numpy()


def _generator(args: tuple, kwargs: dict) -> torch.Generator | None:
    """Returns the generator of an operation; None if it cannot be told."""
    for value in (kwargs.get("generator"), *args):
        if isinstance(value, torch.Generator):
            return value
    tensors = [value.device for value in (*args, *kwargs.values()) if torch.is_tensor(value)]
    device = torch.device(kwargs.get("device") or (tensors or [torch.get_default_device()])[0])
    if device.type == "cpu":
        return torch.default_generator
    if device.type == "cuda":
        index = torch.cuda.current_device() if device.index is None else device.index
        return torch.cuda.default_generators[index]
    return None


def _state(generator: torch.Generator | None) -> bytes | None:
    return None if generator is None else generator.get_state().numpy().tobytes()
