"""Alterations of where gradients flow: outputs and inputs without gradient, tied weights untied."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rnn_torch.altered_calls import Replaced, Start, Try, mapped, paths_of

GRADIENTS = ("gradients",)


def gradient_tries(module: nn.Module, names: set[str]) -> Iterator[Try]:
    yield from _untied(module, names)
    hidden = {  # attention takes its weights and never calls it
        f"{path}.out_proj" for path in paths_of(module, nn.MultiheadAttention)
    }
    inside = [path for path, _ in module.named_modules() if path and path not in hidden]
    for path in inside:
        about = f"no gradient flows through the outputs of {path}"
        yield Try(f"stop-gradient:{path}", about, GRADIENTS, _stopped(path, outputs=True))
    for path in inside:
        about = f"no gradient flows through the inputs of {path}"
        yield Try(f"stop-gradient-input:{path}", about, GRADIENTS, _stopped(path, outputs=False))


def _stopped(path: str, *, outputs: bool) -> Start:
    def after(_: nn.Module, __: Any, result: Any) -> Any:
        return mapped(result, Tensor.detach)

    def before(_: nn.Module, args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
        return mapped(args, Tensor.detach), mapped(kwargs, Tensor.detach)

    def start(module: nn.Module, stack: ExitStack) -> Replaced:
        part = module.get_submodule(path)
        if outputs:
            stack.callback(part.register_forward_hook(after).remove)
        else:
            stack.callback(part.register_forward_pre_hook(before, with_kwargs=True).remove)
        return {}

    return start


def _untied(module: nn.Module, names: set[str]) -> Iterator[Try]:
    """Yields for each name of a parameter that has several: its gradient there is dropped. An
    embedding whose weight the module's code uses, too, has one name for two uses."""
    shared: dict[int, list[str]] = {}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        shared.setdefault(id(parameter), []).append(name)
    for several in shared.values():
        for name in several if len(several) > 1 else ():
            others = " and ".join(other for other in several if other != name)
            about = f"{name} is a parameter of its own, not {others}"
            yield Try(f"untied:{name}", about, GRADIENTS, _detached(name, looked_up=False))
    for path, part in module.named_modules():
        if isinstance(part, nn.Embedding) and path and {"weight", path.split(".")[-1]} <= names:
            name = f"{path}.weight"
            if len(shared[id(part.weight)]) == 1:
                about = f"{name} is trained where it is looked up, not where it is a matrix"
                yield Try(f"untied:{name}", about, GRADIENTS, _detached(name, looked_up=True))


def _detached(name: str, *, looked_up: bool) -> Start:
    """Puts a tensor without gradient, in the same memory, into the place of a parameter.

    Args:
        looked_up: rows that F.embedding looks up have a gradient all the same.
    """

    def start(module: nn.Module, stack: ExitStack) -> Replaced:
        path, _, leaf = name.rpartition(".")
        owner = module.get_submodule(path)
        parameter = owner._parameters[leaf]
        assert parameter is not None
        detached = parameter.detach()
        places: dict[str, Any] = owner._parameters
        places[leaf] = detached
        stack.callback(places.__setitem__, leaf, parameter)

        def embedding(function: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> Any:
            with_gradient = [parameter if one is detached else one for one in args]
            kwargs = {k: parameter if one is detached else one for k, one in kwargs.items()}
            return function(*with_gradient, **kwargs)

        return {F.embedding: embedding, torch.embedding: embedding} if looked_up else {}

    return start
