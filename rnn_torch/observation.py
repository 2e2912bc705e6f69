"""Observes a module while it trains: which sequences, rows, modes and lines of it came up.

    seen = Observation()
    for batch in batches:
        with observed(module, [loss], into=seen):       # one step
            loss(module(x), y)
    gaps(seen)                                          # what did not come up

Hooks look at what the modules get and return, and draw and change nothing, so that all numbers stay
as they are bit for bit. How lines are watched is in `lines.py`.

Not looked at: calls inside of torch's own modules of several parts in evaluation mode, such as
`torch.nn.TransformerEncoderLayer`, which compute in another way where there are hooks; dropout by
`torch.nn.functional.dropout`; rows that are read by `torch.nn.functional.embedding`.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.utils import parametrize
from torch.nn.utils.rnn import PackedSequence

from rnn_torch.cell_modules import Recurrence
from rnn_torch.lines import Lines
from rnn_torch.stack import Recurrent
from shared.protocol.gaps import Gap, Rows, of_rows

LAYERS = (nn.RNNBase, Recurrent)
CELLS = (nn.RNNCellBase, Recurrence)
EMBEDDINGS = (nn.Embedding, nn.EmbeddingBag)
CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
ALPHA = (nn.AlphaDropout, nn.FeatureAlphaDropout)
"""What these drop does not become zero. They count as dropping where they are on."""
DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, *ALPHA)


@dataclass
class Sequences:
    """What a recurrent layer or cell got."""

    cell: bool
    calls: set[int] = field(default_factory=set)
    """How often it was called in a step."""
    steps: set[int] = field(default_factory=set)
    """T of each call of a layer."""
    batch_sizes: set[int] = field(default_factory=set)
    packed: bool = False
    """Whether a batch was packed."""
    lengths: set[int] = field(default_factory=set)
    """Numbers of steps that single sequences had; those of an array have all T."""
    shorter: bool = False
    """Whether a sequence was shorter than the longest of its batch."""
    state_given: bool = False
    state_nonzero: bool = False
    """Whether a state that was given was not zero everywhere."""


@dataclass
class Dropout:
    """What a module with dropout did."""

    rate: float
    on: bool = False
    """Whether it was in training mode."""
    dropped: bool = False
    """Whether it ever dropped something; inside a recurrent layer, whether it was on."""


@dataclass
class Observation:
    """What came up in all steps so far, by the modules' paths in the whole."""

    steps: int = 0
    sequences: dict[str, Sequences] = field(default_factory=dict)
    embeddings: dict[str, Rows] = field(default_factory=dict)
    """By the name of the weight in `named_parameters`."""
    dropouts: dict[str, Dropout] = field(default_factory=dict)
    norms: dict[str, set[bool]] = field(default_factory=dict)
    """Norms with running statistics → whether they were in training mode, each that came up."""
    modules: dict[str, int] = field(default_factory=dict)
    """Modules that could be called → how many parameters they have that are trained."""
    called: set[str] = field(default_factory=set)
    """Those of them that were called, and those of which a part was."""
    lines: Lines = field(default_factory=lambda: Lines(()))

    def never_called(self) -> list[str]:
        """Returns the modules that were never called; of these the outermost."""
        lost = [path for path in self.modules if path not in self.called]
        return [path for path in lost if not any(path.startswith(f"{one}.") for one in lost)]


@contextmanager
def observed(
    module: nn.Module, functions: Iterable[Any] = (), *, into: Observation | None = None
) -> Iterator[Observation]:
    """Observes one step: what is called in its context. The hooks are removed at its end.

    Args:
        module: the one that is called, or modules of which are.
        functions: the user's functions of which lines are watched as well, such as the loss.
        into: where it is added to; by default a new observation.
    """
    seen = Observation() if into is None else into
    functions = list(functions)
    parts = [*module.modules(), *(one for one in functions if isinstance(one, nn.Module))]
    seen.lines.follow(type(part).forward for part in parts)
    seen.lines.follow(one for one in functions if not isinstance(one, nn.Module))
    seen.lines.skipped |= any(map(_compiled, parts))
    counts: dict[str, int] = {}
    handles = []
    names = {id(param): name for name, param in module.named_parameters()}
    trained = {name for name, param in module.named_parameters() if param.requires_grad}
    try:
        for path, part, outer in _visible(module):
            if outer and path and type(part).forward is not nn.Module.forward:
                below = sum(name.startswith(f"{path}.") for name in trained)
                seen.modules[path] = max(below, seen.modules.get(path, 0))
            name = path
            if isinstance(part, EMBEDDINGS):
                # Not by its attribute: to compute a weight can change what it is made of.
                weight = id(part._parameters.get("weight"))
                name = names.get(weight, f"{path}.weight" if path else "weight")
            hook = _hook(seen, path, name, part, counts)
            handles.append(part.register_forward_hook(hook, with_kwargs=True))
        _look_inside(seen, module)
        with seen.lines.watched():
            yield seen
    finally:
        for handle in handles:
            handle.remove()
        seen.steps += 1
        for path, count in counts.items():
            if path in seen.sequences:
                seen.sequences[path].calls.add(count)


def gaps(seen: Observation) -> list[Gap]:
    """Returns what did not come up; empty if everything did, or if no step was observed."""
    found = [Gap("never-called", path, seen.modules[path]) for path in seen.never_called()]
    for path, one in seen.sequences.items():
        found += _of_sequences(path, one)
    for name, rows in seen.embeddings.items():
        found += of_rows(name, rows)
    for path, one in seen.dropouts.items():
        if not one.dropped:
            found.append(Gap("dropped-nothing" if one.on else "dropout-off", path))
    found += [Gap("norm-in-evaluation", p) for p, modes in seen.norms.items() if True not in modes]
    for one in seen.lines.never_run():
        place = f"{one.first}" if one.first == one.last else f"{one.first}-{one.last}"
        found.append(Gap("line-not-run", f"{one.file}:{place}", one.count, one.of, one.text))
    return found


def _of_sequences(path: str, one: Sequences) -> list[Gap]:
    found = []
    if one.cell or one.steps == {1}:
        if not one.state_nonzero:
            found.append(Gap("one-step", path, 1, 1, "cell" if one.cell else ""))
    else:
        if len(one.lengths) == 1:
            found.append(Gap("one-length", path, min(one.lengths)))
        if one.packed and not one.shorter:
            found.append(Gap("no-padding", path))
        if one.state_given and not one.state_nonzero:
            found.append(Gap("zero-state", path))
    return [*found, Gap("one-sequence", path, 1)] if one.batch_sizes == {1} else found


def _visible(
    module: nn.Module, path: str = "", outer: bool = True, known: set[int] | None = None
) -> Iterator[tuple[str, nn.Module, bool]]:
    """Yields the modules that may have hooks, each once, with their paths, and whether they are
    outside of torch's own modules of several parts. Those call their parts as they like."""
    known = set() if known is None else known
    if id(module) in known:
        return
    known.add(id(module))
    composite = (
        parametrize.type_before_parametrizations(module).__module__.startswith("torch.")
        and not isinstance(module, CONTAINERS)
        and any(True for _ in module.children())
    )
    if (composite and not module.training) or _compiled(module):
        return
    yield path, module, outer
    for name, child in module.named_children():
        inner = f"{path}.{name}" if path else name
        yield from _visible(child, inner, outer and not composite, known)


def _look_inside(seen: Observation, module: nn.Module) -> None:
    """Notes whether dropout is on in what has no hooks: attention, and the inside of torch's own
    modules in evaluation mode."""
    visible = {id(part) for _, part, _ in _visible(module)}
    for path, part in module.named_modules():
        rate = 0.0
        if isinstance(part, nn.MultiheadAttention):
            rate = part.dropout
        elif isinstance(part, DROPOUTS) and id(part) not in visible:
            rate = part.p
        if rate:
            one = seen.dropouts.setdefault(path, Dropout(rate))
            one.on |= part.training
            one.dropped |= part.training


def _compiled(module: nn.Module) -> bool:
    """Tells whether a module is run by something else than Python, which hooks would disturb."""
    return (
        isinstance(module, torch.jit.ScriptModule)
        or type(module).__module__.startswith("torch._dynamo.")
        or getattr(module, "_compiled_call_impl", None) is not None
    )


def _hook(
    seen: Observation, path: str, name: str, module: Any, counts: dict[str, int]
) -> Callable[..., None]:
    """Returns a hook that looks at one call of a module.

    Args:
        name: of an embedding the name of its weight, of others the path.
        counts: takes the number of calls of recurrent layers and cells.
    """
    pieces = path.split(".")
    above = [".".join(pieces[:i]) for i in range(1, len(pieces) + 1)]

    def hook(_: nn.Module, args: tuple, kwargs: dict[str, Any], output: Any) -> None:
        seen.called.update(above)
        inputs = args[0] if args else kwargs.get("input")
        with torch.no_grad():
            if isinstance(module, (*LAYERS, *CELLS)):
                counts[path] = counts.get(path, 0) + 1
                state = args[1] if len(args) > 1 else kwargs.get("hx")
                _look_at_sequences(seen, path, module, inputs, state)
            if isinstance(module, EMBEDDINGS) and torch.is_tensor(inputs):
                unread = Rows(module.padding_idx, np.zeros(module.num_embeddings, bool))
                read = seen.embeddings.setdefault(name, unread).read
                assert read is not None  # made above
                read[inputs.detach().cpu().numpy().reshape(-1)] = True
            if isinstance(module, DROPOUTS) and module.p:
                _look_at_dropout(seen, path, module, inputs, output)
            if module._buffers.get("running_mean") is not None:
                seen.norms.setdefault(path, set()).add(module.training)

    return hook


def _look_at_sequences(seen: Observation, path: str, module: Any, inputs: Any, state: Any) -> None:
    cell = isinstance(module, CELLS)
    one = seen.sequences.setdefault(path, Sequences(cell))
    if isinstance(inputs, PackedSequence):
        sizes = inputs.batch_sizes.tolist()
        ends = [t for t, (a, b) in enumerate(zip(sizes, [*sizes[1:], 0], strict=True), 1) if a > b]
        one.packed = True
        one.steps.add(len(sizes))
        one.batch_sizes.add(sizes[0])
        one.lengths.update(ends)
        one.shorter |= len(ends) > 1
    elif torch.is_tensor(inputs) and cell:
        one.batch_sizes.add(len(inputs) if inputs.dim() > 1 else 1)
    elif torch.is_tensor(inputs):
        batched = inputs.dim() > 2
        steps = inputs.shape[1 if batched and module.batch_first else 0]
        one.steps.add(steps)
        one.lengths.add(steps)
        one.batch_sizes.add(inputs.shape[0 if module.batch_first else 1] if batched else 1)
    states = [part for part in _several(state) if torch.is_tensor(part)]
    one.state_given |= bool(states)
    one.state_nonzero = one.state_nonzero or any(bool(part.any()) for part in states)
    if not cell and module.dropout and module.num_layers > 1:
        inner = seen.dropouts.setdefault(path, Dropout(module.dropout))
        inner.on |= module.training
        inner.dropped |= module.training


def _several(value: Any) -> Sequence[Any]:
    return value if isinstance(value, (tuple, list)) else [value]


def _look_at_dropout(seen: Observation, path: str, module: Any, inputs: Any, output: Any) -> None:
    one = seen.dropouts.setdefault(path, Dropout(module.p))
    one.on |= module.training
    if not module.training or one.dropped:
        return
    if isinstance(module, ALPHA):
        one.dropped = True
    elif torch.is_tensor(inputs) and torch.is_tensor(output):
        zero = output == 0
        one.dropped = bool((zero if module.inplace else zero & (inputs != 0)).any())
