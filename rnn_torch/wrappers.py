"""What makes a weight anew before each forward pass: weight norm, spectral norm and pruning by
hooks, every registered parametrization, and wrappers that drop connections.

    found = by_hooks(path, module) + by_parametrizations(path, module)
    for one in found:
        put_in_place(one)           # from now on module.weight_hh_l0 is a plain parameter

They are given modules of a copy in evaluation mode, and change nothing but that copy.

A wrapper that drops connections (DropConnect; Merity et al. 2018) keeps the trained matrix as
`weight_hh_l0_raw`, in itself or in the layer within, and gives that layer a `weight_hh_l0` in each
forward pass: in evaluation mode the matrix itself.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import (
    SpectralNorm,
    SpectralNormLoadStateDictPreHook,
    SpectralNormStateDictHook,
)
from torch.nn.utils.weight_norm import WeightNorm

from rnn_torch.described import described
from shared.errors import InvalidInput

HOOKS = (WeightNorm, SpectralNorm, BasePruningMethod)
_SPECTRAL = (SpectralNormStateDictHook, SpectralNormLoadStateDictPreHook)
_RATES = ("dropout", "weight_p", "weight_dropout", "dropout_p", "p")


class Computed(NamedTuple):
    """A tensor that something makes anew before each forward pass."""

    path: str
    """Of its module in the whole, with a dot at its end; empty for the whole itself."""
    module: nn.Module
    name: str
    by: str
    """Class of what makes it; for a wrapper that drops, with its rate."""
    value: Tensor
    """That of the next forward pass in evaluation mode."""
    sources: Sequence[Tensor]
    """Parameters and buffers that it is made of."""
    owners: Sequence[tuple[nn.Module, str]]
    """Where the sources are, if they are the module's own or a wrapper's."""
    drops: bool = False
    """True if evaluation takes the only source itself, which training drops in part."""


def by_hooks(path: str, module: nn.Module) -> list[Computed]:
    """Returns what the hooks of torch.nn.utils compute, in the order of the hooks.

    Raises:
        InvalidInput: a tensor that cannot be computed, or not twice with the same result.
    """
    hooks = [hook for hook in module._forward_pre_hooks.values() if isinstance(hook, HOOKS)]
    made = {_target(hook): hook for hook in hooks}

    def run() -> list[Tensor]:
        for hook in hooks:
            hook(module, ())
        return [getattr(module, name).detach().clone() for name in made]

    def sources(name: str) -> list[str]:
        found = []
        for ending in ("_orig", "_mask", "_u", "_v", "_g"):
            source = name + ending
            if source in made:  # computed itself
                found += [source, *sources(source)]
            elif source in module._parameters or source in module._buffers:
                found.append(source)
        return found

    values = _twice(f"{path}{', '.join(made)}", run) if made else []
    inner = {source for name in made for source in sources(name)}
    return [
        Computed(
            path,
            module,
            name,
            type(hook).__name__,
            value,
            [getattr(module, source) for source in sources(name) if source not in made],
            [(module, source) for source in sources(name)],
        )
        for (name, hook), value in zip(made.items(), values, strict=True)
        if name not in inner
    ]


def by_parametrizations(path: str, module: nn.Module) -> list[Computed]:
    """Returns what is computed by torch.nn.utils.parametrize.

    Raises:
        InvalidInput: a tensor that cannot be computed, or not twice with the same result.
    """
    if not parametrize.is_parametrized(module):
        return []
    found = []
    chains: Any = module.parametrizations
    for name, chain in chains.items():
        (value,) = _twice(f"{path}{name}", lambda chain=chain: [chain().detach().clone()])
        by = " and ".join(type(step).__name__.lstrip("_") for step in chain)
        sources = [*chain.parameters(), *chain.buffers()]
        found.append(Computed(path, module, name, by, value, sources, []))
    return found


def by_wrapper(path: str, wrapper: nn.Module) -> list[Computed]:
    """Returns the tensors of the modules within that a wrapper drops in part while it trains."""
    found = []
    for child, module in wrapper.named_children():
        recurrent = described(module)
        names = recurrent.shapes() if recurrent else {}
        for owner in (wrapper, module):
            for raw, source in owner._parameters.items():
                name = raw.removesuffix("_raw")
                if source is None or name == raw:
                    continue
                held = vars(module).get(name, module._parameters.get(name))
                # A parameter of that name is one that the wrapper puts there, if it is surely this
                # one's.
                alone = owner is module or len(list(wrapper.children())) == 1
                stale = name in names and (not isinstance(held, nn.Parameter) or alone)
                if stale or (torch.is_tensor(held) and not isinstance(held, nn.Parameter)):
                    by, place = type(wrapper).__name__ + _rate(wrapper), f"{path}{child}."
                    found.append(
                        Computed(place, module, name, by, source, [source], [(owner, raw)], True)
                    )
    return found


def put_in_place(computed: Computed) -> None:
    """Makes a plain parameter of a tensor that is computed, or a buffer of one that was made of
    buffers alone, and removes what computed it."""
    module, name = computed.module, computed.name
    if parametrize.is_parametrized(module):
        # The class with the properties is also that of the original.
        module.__class__ = parametrize.type_before_parametrizations(module)
        del module._modules["parametrizations"]
    for owner, source in computed.owners:
        for store in (owner._parameters, owner._buffers, vars(owner)):
            store.pop(source, None)
    for store in (module._parameters, vars(module)):
        store.pop(name, None)
    for hooks, kinds in (
        (module._forward_pre_hooks, HOOKS),
        (module._state_dict_hooks, _SPECTRAL),
        (module._load_state_dict_pre_hooks, _SPECTRAL),
    ):
        for key in [key for key, hook in hooks.items() if isinstance(hook, kinds)]:
            del hooks[key]
    parameters = [one for one in computed.sources if isinstance(one, nn.Parameter)]
    if computed.drops:
        module.register_parameter(name, parameters[0])
    elif parameters or described(module):
        trained = any(parameter.requires_grad for parameter in parameters)
        module.register_parameter(name, nn.Parameter(computed.value, trained))
    else:
        module.register_buffer(name, computed.value)


def _twice(names: str, run: Callable[[], list[Tensor]]) -> list[Tensor]:
    """Returns what a function computes, if it is the same a second time."""
    try:
        with torch.no_grad():
            first, second = run(), run()
    except Exception as error:
        raise InvalidInput(f"{names}: cannot be computed: {error}") from error
    for one, other in zip(first, second, strict=True):
        if not torch.allclose(one, other, rtol=0, atol=0, equal_nan=True):
            raise InvalidInput(
                f"{names}: expected the same values whenever it is computed in evaluation mode, "
                "got others the second time"
            )
    return second


def _target(hook: Any) -> str:
    return hook._tensor_name if isinstance(hook, BasePruningMethod) else hook.name


def _rate(wrapper: nn.Module) -> str:
    """Returns " (dropout=0.5)", if the wrapper has such a number."""
    for name in _RATES:
        rate = getattr(wrapper, name, None)
        if isinstance(rate, float):
            return f" ({name}={rate})"
    return ""
