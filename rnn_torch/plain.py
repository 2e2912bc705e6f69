"""A module with the weights that it computes with, as plain parameters.

    copy, omitted = plain(model)

Weight norm, spectral norm, pruning and their like compute a weight anew before each forward pass;
what the module holds under its name may be old. Here each is computed as the next forward pass in
evaluation mode will, or refused by name. The module itself stays as it is in everything: mode,
buffers, hooks, random numbers.
"""

import copy
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter
from torch.nn.utils import parametrize

from rnn_torch.described import described
from rnn_torch.ties import check_memory
from rnn_torch.wrappers import (
    HOOKS,
    Computed,
    by_hooks,
    by_parametrizations,
    by_wrapper,
    put_in_place,
)
from shared.errors import InvalidInput
from shared.protocol.checks import named
from shared.protocol.exchange import Omission

_ASSIGNED = ("weight", "bias", "in_proj_weight", "in_proj_bias")
"""Names of weights in the modules of torch.nn that are no recurrent layers."""


class Plain(NamedTuple):
    """What `plain` returns."""

    module: nn.Module
    omitted: list[Omission]
    """What the copy does not have of the original, by the names of the original."""


def plain(module: nn.Module) -> Plain:
    """Makes a copy of a module, and of all within, in evaluation mode, in which every weight is a
    plain parameter with the values that the next forward pass in evaluation mode computes with. A
    parameter that has several names has them in the copy too.

    In the copy, a wrapper that only drops connections of a recurrent layer calls that layer. Other
    hooks than torch's stay as they are.

    Raises:
        InvalidInput: named with the reason: a weight that is assigned as a plain tensor, or that
            has random values in evaluation mode; two that are computed from one parameter; two
            parameters in the same memory; a recurrent layer with a forward of its own; a module
            that cannot be copied.
    """
    for path, part in module.named_modules():
        if described(part) and "forward" in vars(part):
            raise InvalidInput(
                f"{path or named(part)}: expected the forward of its class, got one that was "
                "assigned, of which it is not known what it computes; load its weights into a new "
                "layer"
            )
        _check_held(path, part)
    with _random_numbers_kept():
        twin = copied(module).eval()
        found = _computed(twin)
        wrappers = _wrappers(twin, found)
        samples = [_sample(path, wrapper) for path, wrapper in wrappers]
        for one in found:
            put_in_place(one)
        for part in twin.modules():
            _put_in_order(part, [one.name for one in found if one.module is part])
        for (path, part), sample in zip(wrappers, samples, strict=True):
            _check_wrapper(path, part, *sample)
    _check_sources(twin, found)
    check_memory(module, {one.path + one.name for one in found if one.drops})
    for path, part in twin.named_modules():
        _check_weights(path, part)
    return Plain(twin, _omitted(module, twin, found))


def check_hooks(module: nn.Module) -> None:
    """Raises InvalidInput if hooks that are not torch's own may change what a layer computes."""
    for hook in [*module._forward_pre_hooks.values(), *module._forward_hooks.values()]:
        if not isinstance(hook, HOOKS):
            name = getattr(hook, "__qualname__", named(hook))
            raise InvalidInput(
                f"{named(module)}: expected no forward hooks, got {name}, of which it is not known "
                "what it changes; remove it, or load the weights into a new layer"
            )


@contextmanager
def _random_numbers_kept() -> Iterator[None]:
    """Puts all generators back to where they were: who parametrizes may draw."""
    python, numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=list(range(torch.cuda.device_count()))):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


def copied(module: nn.Module) -> nn.Module:
    """Returns a deep copy. Tensors that autograd computed, which torch does not copy, are detached
    in it."""
    memo: dict[int, Any] = {}
    seen: set[int] = set()
    found: list[Any] = [module]
    while found:
        value = found.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, Tensor):
            if not value.is_leaf:
                memo[id(value)] = value.detach().clone()
        elif isinstance(value, nn.Module):
            found += vars(value).values()
        elif isinstance(value, Mapping):
            found += value.values()
        elif isinstance(value, (list, tuple, set)):
            found += value
    try:
        return copy.deepcopy(module, memo)
    except Exception as error:
        raise InvalidInput(
            f"{named(module)}: expected a module that copy.deepcopy copies: {error}"
        ) from error


def _computed(twin: nn.Module) -> list[Computed]:
    """Returns all tensors that something computes anew in each forward pass."""
    found: list[Computed] = []
    for path, part in twin.named_modules():
        place = f"{path}." if path else ""
        found += by_hooks(place, part) + by_parametrizations(place, part) + by_wrapper(place, part)
    return found


def _wrappers(twin: nn.Module, found: list[Computed]) -> list[tuple[str, nn.Module]]:
    """Returns modules around a single recurrent layer that drop some of it."""
    dropped = {id(one.module) for one in found if one.drops and described(one.module)}
    wrappers = []
    for path, part in twin.named_modules():
        children = list(part.children())
        if len(children) == 1 and id(children[0]) in dropped:
            wrappers.append((path, part))
    return wrappers


def _sample(path: str, wrapper: nn.Module) -> tuple[Tensor, Any]:
    """Returns random inputs, and what a wrapper makes of them."""
    (inner,) = wrapper.children()
    recurrent = described(inner)
    assert recurrent is not None
    some = next(iter(inner.parameters()))
    shape = (3, 2) if not recurrent.cell else (2,)
    x = torch.randn(*shape, recurrent.config.input_size).to(some)
    try:
        with torch.no_grad():
            return x, wrapper(x)
    except Exception as error:
        raise InvalidInput(
            f"{path or named(wrapper)}: expected a wrapper that is called as the layer within, "
            f"got: {error}"
        ) from error


def _check_wrapper(path: str, wrapper: nn.Module, x: Tensor, expected: Any) -> None:
    """Raises unless the layer within computes what its wrapper does. From now on it is called."""
    (inner,) = wrapper.children()
    with torch.no_grad():
        found = inner(x)
    try:
        torch.testing.assert_close(found, expected)
    except (AssertionError, TypeError):
        raise InvalidInput(
            f"{path or named(wrapper)}: expected a wrapper that computes in evaluation mode what "
            f"the {named(inner)} within computes with its _raw weights, got another result"
        ) from None
    wrapper.forward = inner.__call__


def _put_in_order(module: nn.Module, made: list[str]) -> None:
    """Puts parameters in the order in which a module without wrappers has them. Of a recurrent
    layer's weights that are buffers it makes parameters."""
    recurrent = described(module)
    if not recurrent and not made:
        return
    first = list(recurrent.shapes()) if recurrent else made
    parameters, buffers = module._parameters, module._buffers
    for name in first:
        if recurrent and isinstance(buffer := buffers.get(name), Tensor):
            del buffers[name]
            module.register_parameter(name, nn.Parameter(buffer, requires_grad=False))
    order = [name for name in first if name in parameters]
    for name in [*order, *(name for name in list(parameters) if name not in order)]:
        parameters[name] = parameters.pop(name)
    if isinstance(module, nn.RNNBase):
        module._init_flat_weights()


def _check_held(path: str, module: nn.Module) -> None:
    """Raises if a module has no shapes yet, or computes with other tensors than it shows."""
    for name, parameter in module.named_parameters(path, recurse=False):
        if isinstance(parameter, UninitializedParameter):
            raise InvalidInput(f"{name}: expected a shape, got none yet; call the module once")
    refreshed = parametrize.is_parametrized(module) or module._forward_pre_hooks
    if isinstance(module, nn.RNNBase) and not refreshed and not module._weights_have_changed():
        # torch refuses `layer.weight_hh_l0 = tensor`, and computes with that tensor all the same.
        for name, held in zip(module._flat_weights_names, module._flat_weights, strict=True):
            shown = getattr(module, name, None)
            if isinstance(shown, nn.Parameter) and held is not shown:
                raise InvalidInput(
                    f"{path + '.' if path else ''}{name}: expected a layer that computes with its "
                    "parameter, got one with a tensor that was assigned; assign the parameter: "
                    f"layer.{name} = layer.{name}"
                )


def _check_sources(twin: nn.Module, found: list[Computed]) -> None:
    """Raises if two weights are made of one parameter: as two parameters they would part."""
    users: dict[int, str] = {id(p): name for name, p in twin.named_parameters()}
    for one in found:
        for source in {id(source): source for source in one.sources}.values():
            if one.drops or not isinstance(source, nn.Parameter):
                continue
            name, other = one.path + one.name, users.setdefault(id(source), one.path + one.name)
            if other != name:
                raise InvalidInput(
                    f"{other}, {name}: expected each to have its own parameters, got one that "
                    f"both are made of ({one.by}); remove what computes them first"
                )


def _check_weights(path: str, module: nn.Module) -> None:
    """Raises unless a module of torch.nn or a recurrent one computes with plain parameters."""
    recurrent = described(module)
    for name in recurrent.shapes() if recurrent else _ASSIGNED:
        held = getattr(module, name, None)
        right = isinstance(held, nn.Parameter) and held is module._parameters.get(name)
        if not right and (recurrent or (name in vars(module) and torch.is_tensor(held))):
            got = "none" if held is None else "a tensor that was assigned"
            raise InvalidInput(
                f"{path + '.' if path else ''}{name}: expected a parameter, got {got}, of which it "
                "is not known what the next forward pass makes of it; convert the module that "
                "assigns it, or make a torch.nn.Parameter of it"
            )


def _omitted(module: nn.Module, twin: nn.Module, found: list[Computed]) -> list[Omission]:
    """Returns what the copy does not have of the original."""
    kinds = ("computed", "drops")
    omitted = [Omission(one.path + one.name, kinds[one.drops], one.by) for one in found]
    omitted += [
        Omission(name, "frozen") for name, p in twin.named_parameters() if not p.requires_grad
    ]
    omitted += [
        Omission(name, "hook")
        for name, p in module.named_parameters()
        if getattr(p, "_backward_hooks", None)
    ]
    omitted += [
        Omission(path or named(part), "hook")
        for path, part in module.named_modules()
        if part._backward_hooks or part._backward_pre_hooks
    ]
    return omitted
