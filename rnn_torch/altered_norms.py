"""Alterations of norms: epsilon, variance, running statistics."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rnn_torch.altered_calls import Replacement, Try, arguments, calls, given, in_modules, paths_of

BATCH = nn.modules.batchnorm._BatchNorm
NORMS = (
    ("layer-norm", "LayerNorm", F.layer_norm, nn.LayerNorm),
    ("batch-norm", "BatchNorm", F.batch_norm, BATCH),
    ("group-norm", "GroupNorm", F.group_norm, nn.GroupNorm),
    ("instance-norm", "InstanceNorm", F.instance_norm, nn.modules.instancenorm._InstanceNorm),
    ("rms-norm", "RMSNorm", F.rms_norm, nn.RMSNorm),
)
EPSILONS = (1e-3, 1e-5, 1e-6, 1e-8, 1e-12)
MOMENTA = (0.1, 0.01, 0.001, 0.9, 0.99)


def norm_tries(module: nn.Module, names: set[str]) -> Iterator[Try]:
    """Yields what can be done otherwise in the norms of a module."""
    for kind, title, function, of in NORMS:
        paths = paths_of(module, of)
        held: list[Any] = [module.get_submodule(path).eps for path in paths]
        if not paths and function.__name__ not in names:
            continue
        values = (*EPSILONS, torch.finfo(torch.float32).eps) if of is nn.RMSNorm else EPSILONS
        own = " and ".join(f"{eps:g}" if eps is not None else "torch's" for eps in {*held})
        for value in values:
            if set(held) != {value}:
                about = f"epsilon of {title} is {value:g}" + (f", not {own}" if own else "")
                replaced = {function: arguments(lambda a, value=value: a.update(eps=value))}
                one = Try(f"{kind}-epsilon:{value:g}", about, ("forward",), calls(replaced))
                yield from in_modules(one, paths)
        about = f"epsilon of {title} is added to the root, not below it"
        start = calls({function: _by_hand(root=True)})
        yield from in_modules(Try(f"{kind}-epsilon:outside", about, ("forward",), start), paths)
        if function is F.layer_norm:
            about = "LayerNorm divides by the unbiased standard deviation"
            start = calls({function: _by_hand(unbiased=True)})
            yield from in_modules(Try(f"{kind}-variance", about, ("forward",), start), paths)
            start = calls({function: _by_hand(unbiased=True, root=True)})
            about += ", to which epsilon is added"
            yield from in_modules(
                Try(f"{kind}-variance:outside", about, ("forward",), start), paths
            )
        elif function is F.batch_norm:
            for one in _batch_norm(module, paths):
                yield from in_modules(one, paths)


# Formulas by hand -----------------------------------------------------------------------------


def _by_hand(*, root: bool = False, unbiased: bool = False) -> Replacement:
    """Normalises with epsilon outside of the root, or by the unbiased variance."""

    def replacement(function: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> Any:
        values = given(function, args, kwargs)
        x, eps, weight, bias = (values.get(n) for n in ("input", "eps", "weight", "bias"))
        assert torch.is_tensor(x)
        eps = torch.finfo(x.dtype).eps if eps is None else eps
        centred, variance = _moments(function, values, x, int(unbiased))
        if function is F.batch_norm and values["training"]:
            function(*args, **kwargs)  # which also moves the running statistics
        result = centred / (variance.sqrt() + eps if root else (variance + eps).sqrt())
        result = result.reshape(x.shape)
        if function not in (F.layer_norm, F.rms_norm):
            weight, bias = (
                None if one is None else one.view(-1, *[1] * (x.dim() - 2))
                for one in (weight, bias)
            )
        result = result if weight is None else result * weight
        return result if bias is None else result + bias

    return replacement


def _moments(
    function: Callable[..., Any], values: dict[str, Any], x: Tensor, correction: int
) -> tuple[Tensor, Tensor]:
    """Returns x without its mean, and the variance: what a norm divides one by the other's root."""
    if function in (F.layer_norm, F.rms_norm):
        axes = tuple(range(-len(values["normalized_shape"]), 0))
        if function is F.rms_norm:
            return x, x.square().mean(axes, keepdim=True)
    elif function is F.group_norm:
        x, axes = x.reshape(len(x), values["num_groups"], -1), (-1,)
    elif function is F.batch_norm and not values["training"]:
        shape = (-1, *[1] * (x.dim() - 2))
        return x - values["running_mean"].view(shape), values["running_var"].view(shape)
    else:
        axes = tuple(i for i in range(x.dim()) if i > 1 or (i == 0 and function is F.batch_norm))
    variance = x.var(axes, correction=correction, keepdim=True)
    return x - x.mean(axes, keepdim=True), variance


# Running statistics ---------------------------------------------------------------------------


def _batch_norm(module: nn.Module, paths: list[str]) -> Iterator[Try]:
    parts: list[Any] = [module.get_submodule(path) for path in paths]
    later = ("buffers", "evaluation")
    momenta = {part.momentum for part in parts}
    opposite = tuple(round(1 - m, 12) for m in momenta if m is not None)
    own = " and ".join("none" if m is None else f"{m:g}" for m in momenta)
    for value in dict.fromkeys((*opposite, *MOMENTA)):
        if momenta != {value}:
            about = f"momentum of BatchNorm is {value:g} as torch has it"
            about += f", not {own}" if own else ""
            change = arguments(lambda a, value=value: a["training"] and a.update(momentum=value))
            yield Try(f"batch-norm-momentum:{value:g}", about, later, calls({F.batch_norm: change}))
    about = "the running variance is that of batches, biased, not its unbiased estimate"
    yield Try("batch-norm-variance", about, later, calls({F.batch_norm: _biased}))
    about = "BatchNorm normalises by its running statistics in training, too"
    change = arguments(lambda a: a["running_mean"] is not None and a.update(training=False))
    yield Try("batch-norm-mode:running", about, ("forward",), calls({F.batch_norm: change}))

    def batch(values: dict[str, Any]) -> None:
        if not values["training"]:
            values.update(running_mean=None, running_var=None, training=True)

    still = any(not part.training for part in parts) or not parts
    about = "BatchNorm normalises by the statistics of the batch in evaluation, too"
    phases = ("forward", "evaluation") if still else ("evaluation",)
    yield Try("batch-norm-mode:batch", about, phases, calls({F.batch_norm: arguments(batch)}))


def _biased(function: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> Any:
    values = given(function, args, kwargs)
    mean, variance = values["running_mean"], values["running_var"]
    if not values["training"] or variance is None:
        return function(*args, **kwargs)
    before = variance.clone()
    # Not the buffer itself, which may not change once more before the gradients.
    values.update(running_mean=mean.clone(), running_var=variance.clone())
    result = function(**values)
    x, momentum = values["input"].detach(), values["momentum"]
    biased = x.var([i for i in range(x.dim()) if i != 1], correction=0)
    mean.copy_(values["running_mean"])
    variance.copy_((1 - momentum) * before + momentum * biased)
    return result
