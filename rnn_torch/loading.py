"""The tensors of a module by name: loaded all or nothing."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from rnn_torch.ties import tied
from shared.errors import InvalidInput


def load(module: nn.Module, tensors: Mapping[str, Any], loads: Callable[[], Any]) -> Any:
    """Loads as `loads` does, torch's `load_state_dict`, but all or nothing: torch loads what fits
    before it raises.

    Raises:
        InvalidInput: two of the tensors differ that are one parameter; of such torch keeps the
            last.
        Exception: what torch raises. The module then stays as it was.
    """
    # Of parametrizations and subclasses too. With `assign`, torch puts other tensors in place.
    stores: list[dict[str, Any]] = [
        store for part in module.modules() for store in (part._parameters, part._buffers)
    ]
    held = [dict(store) for store in stores]
    values = [tensor.detach().clone() for tensor in _tensors(module)]
    try:
        result = loads()
        _check_tied(module, tensors)
        return result
    except Exception:
        for store, before in zip(stores, held, strict=True):
            store.update(before)
        for tensor, before in zip(_tensors(module), values, strict=True):
            tensor.data.copy_(before)
        raise


def _check_tied(module: nn.Module, tensors: Mapping[str, Any]) -> None:
    """Raises unless a parameter that has several names has loaded the values of all of them."""
    for later, earlier in tied(module).items():
        for name in (earlier, later):
            value = module.get_parameter(name).detach()
            if name in tensors and not value.is_meta:
                given = tensors[name].detach().to(value.device, value.dtype)
                if not torch.allclose(given, value, rtol=0, atol=0, equal_nan=True):
                    raise InvalidInput(
                        f"{earlier}, {later}: expected equal values, for they are one parameter, "
                        "got two"
                    )


def _tensors(module: nn.Module) -> list[Tensor]:
    """Returns parameters and buffers, of modules within this one too."""
    return [*module.parameters(), *module.buffers()]
