"""Parameters that have several names: they are trained as one."""

import itertools
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from shared.errors import InvalidInput
from shared.protocol.exchange import earlier_names


def tied(module: nn.Module) -> dict[str, str]:
    """Returns name → the earlier name of the same parameter."""
    return earlier_names(dict(module.named_parameters(remove_duplicate=False)))


def tie(module: nn.Module, names: Mapping[str, str]) -> None:
    """Makes one parameter of two, for each name → earlier name."""
    for name, earlier in names.items():
        module.register_parameter(name, getattr(module, earlier))


def check_memory(module: nn.Module, stale: set[str]) -> None:
    """Raises if two parameters have numbers in the same memory: they are trained as one.

    Args:
        stale: names of parameters that are not looked at.
    """
    held: dict[int, list[tuple[str, nn.Parameter]]] = {}
    for name, parameter in module.named_parameters():
        if name not in stale and not parameter.is_meta and parameter.numel():
            storage = parameter.untyped_storage().data_ptr()
            held.setdefault(storage, []).append((name, parameter))
    for several in held.values():
        for (name, one), (other, another) in itertools.combinations(several, 2):
            if _overlap(one, another):
                raise InvalidInput(
                    f"{name}, {other}: expected memory of its own for each parameter, got two in "
                    "one; assign one parameter to both names"
                )


def _overlap(one: Tensor, other: Tensor) -> bool:
    """Tells whether two tensors in one storage have numbers in the same places."""
    spans, places = [], []
    for tensor in (one, other):
        first = tensor.storage_offset()
        reach = sum((n - 1) * s for n, s in zip(tensor.shape, tensor.stride(), strict=True))
        spans.append((first, first + reach))
    if spans[0][1] < spans[1][0] or spans[1][1] < spans[0][0]:
        return False
    # Within each other, as two blocks of columns are, they may still have nothing in common.
    every = torch.arange(max(last for _, last in spans) + 1)
    for tensor in (one, other):
        places.append(every.as_strided(tensor.shape, tensor.stride(), tensor.storage_offset()))
    return bool(torch.isin(*places).any())
