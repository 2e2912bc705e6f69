"""The modules of a model that have parameters (`shared/protocol/units.py`)."""

from collections.abc import Iterator, Mapping

from torch import Tensor, nn

from shared.protocol.exchange import earlier_names
from shared.protocol.units import ATTENTION, BUFFER, NORM, OTHER, RECURRENT, Unit

_KINDS: Mapping[str, tuple[type[nn.Module], ...]] = {
    "Linear": (nn.Linear,),
    "Embedding": (nn.Embedding, nn.EmbeddingBag),
    "Conv1d": (nn.Conv1d,),
    "Conv2d": (nn.Conv2d,),
    "Conv3d": (nn.Conv3d,),
    "ConvTranspose1d": (nn.ConvTranspose1d,),
    "ConvTranspose2d": (nn.ConvTranspose2d,),
    "ConvTranspose3d": (nn.ConvTranspose3d,),
    "BatchNorm": (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm),
    "LayerNorm": (nn.LayerNorm,),
    "GroupNorm": (nn.GroupNorm,),
    "RMSNorm": (nn.RMSNorm,),
    NORM: (nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d),
    "PReLU": (nn.PReLU,),
    ATTENTION: (nn.MultiheadAttention,),
}


def units(module: nn.Module) -> list[Unit]:
    """Returns the modules with parameters or buffers, in the order in which they were made. A
    tensor that has two names is there once, under its first."""
    found: list[Unit] = []
    seen: set[int] = set()
    own = dict(module.named_modules())
    attention = [path for path, part in own.items() if isinstance(part, nn.MultiheadAttention)]
    for path, part in own.items():
        if any(path.startswith(f"{above}.") for above in attention):
            continue  # its projection of the outputs is part of it
        # Its own tensors alone, unless it is of a kind that has others within.
        tensors = {
            name: tensor
            for name, tensor in _tensors(part, recurse=isinstance(part, nn.MultiheadAttention))
            if id(tensor) not in seen and not seen.add(id(tensor))
        }
        names = {name: f"{path}.{name}" if path else name for name in tensors}
        found += _of(path, part, names)
    return found


def tied(module: nn.Module) -> dict[str, str]:
    """Returns every further name of a parameter or buffer → its first name."""
    parameters = dict(module.named_parameters(remove_duplicate=False))
    return earlier_names(parameters | dict(module.named_buffers(remove_duplicate=False)))


def _of(path: str, part: nn.Module, names: Mapping[str, str]) -> Iterator[Unit]:
    # Layers and cells of torch.nn and of this package.
    if isinstance(part, (nn.RNNBase, nn.RNNCellBase)) or hasattr(part, "layer_config"):
        said = str(getattr(part, "mode", type(part).__name__))
        kind = next((kind for kind in RECURRENT if kind in said), OTHER)
        endings = dict.fromkeys(_ending(name) for name in names)
        for ending in endings:
            own = {
                n.removesuffix(ending): full for n, full in names.items() if _ending(n) == ending
            }
            yield Unit(path, kind, own)
        return
    kinds = [kind for kind, classes in _KINDS.items() if isinstance(part, classes)]
    if kinds and names:
        yield Unit(path, kinds[0], names)
    else:
        params = dict(part.named_parameters(recurse=False))
        for name, full in names.items():
            kind = OTHER if name in params else BUFFER
            yield Unit(full, kind, {"value" if name in params else "buffer": full})


def _ending(name: str) -> str:
    """Returns "_l0_reverse" of weight_ih_l0_reverse, "" of a cell's weight_ih."""
    return name[name.index("_l") :] if "_l" in name else ""


def _tensors(part: nn.Module, recurse: bool) -> Iterator[tuple[str, Tensor]]:
    """Yields parameters and the buffers that a state dict has, but for the counter of steps."""
    yield from part.named_parameters(recurse=recurse)
    kept = part.state_dict(keep_vars=True)
    for name, buffer in part.named_buffers(recurse=recurse):
        if name in kept and buffer.is_floating_point():
            yield name, buffer
