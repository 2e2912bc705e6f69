"""Alterations of activations, softmax, attention, dropout, embeddings and convolutions."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rnn_torch.altered_calls import (
    Replaced,
    Replacement,
    Try,
    arguments,
    calls,
    given,
    in_modules,
    paths_of,
)

FORWARD = ("forward",)
ACTIVATIONS: dict[str, tuple[type[nn.Module], tuple[Callable[..., Any], ...]]] = {
    "relu": (nn.ReLU, (F.relu, torch.relu, Tensor.relu)),
    "silu": (nn.SiLU, (F.silu,)),
    "gelu": (nn.GELU, (F.gelu,)),
    "elu": (nn.ELU, (F.elu,)),
    "leaky_relu": (nn.LeakyReLU, (F.leaky_relu,)),
}
SOFTMAX = (F.softmax, torch.softmax, Tensor.softmax)
LOG_SOFTMAX = (F.log_softmax, torch.log_softmax, Tensor.log_softmax)
DROPOUT = (F.dropout, F.dropout1d, F.dropout2d, F.dropout3d)
CONVOLUTIONS = (torch.conv1d, torch.conv2d, torch.conv3d)
TRANSPOSED = (torch.conv_transpose1d, torch.conv_transpose2d, torch.conv_transpose3d)


def function_tries(module: nn.Module, names: set[str]) -> Iterator[Try]:
    """Yields what can be done otherwise in the functions that a module calls."""
    for tries in (_activations, _softmax, _attention, _dropout, _embedding, _convolutions):
        yield from tries(module, names)


def _everywhere(functions: tuple[Callable[..., Any], ...], instead: Replacement) -> Replaced:
    return dict.fromkeys(functions, instead)


# Activations ----------------------------------------------------------------------------------


def _activations(module: nn.Module, names: set[str]) -> Iterator[Try]:
    held = {
        name: [part for part in module.modules() if isinstance(part, kind)]
        for name, (kind, _) in ACTIVATIONS.items()
    }
    used = [name for name, parts in held.items() if parts or name in names]
    if "gelu" in used:

        def other(function: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> Any:
            form = "tanh" if kwargs.get("approximate", "none") == "none" else "none"
            return function(*args, **{**kwargs, "approximate": form})

        about = "GELU is computed in its other form: by tanh where torch uses erf, or by erf"
        yield Try("gelu", about, FORWARD, calls({F.gelu: other}))
    for name, setting, values in (
        ("leaky_relu", "negative_slope", (0.01, 0.1, 0.2, 0.3)),
        ("elu", "alpha", (1.0, 1.6732632423543772)),
    ):
        for value in values if name in used else ():
            if {getattr(part, setting) for part in held[name]} != {value}:
                change = arguments(lambda a, s=setting, v=value: a.update({s: v}))
                about = f"{setting} of {name} is {value:g}"
                one = f"{name.replace('_', '-')}-{setting.replace('_', '-')}:{value:g}"
                yield Try(one, about, FORWARD, calls(_everywhere(ACTIVATIONS[name][1], change)))
    instead = {"relu": torch.relu, "silu": F.silu, "gelu": F.gelu, "tanh": torch.tanh}
    for name in used:
        for other_name, function in instead.items():
            if other_name != name:
                replaced = _everywhere(ACTIVATIONS[name][1], _only_first(function))
                about = f"{other_name} is computed in place of {name}"
                yield Try(f"activation:{name}:{other_name}", about, FORWARD, calls(replaced))


def _only_first(instead: Callable[[Tensor], Tensor]) -> Replacement:
    return lambda _, args, kwargs: instead(args[0] if args else kwargs["input"])


def _softmax(module: nn.Module, names: set[str]) -> Iterator[Try]:
    for name, title, functions, kinds in (
        ("softmax-axis", "softmax", SOFTMAX, (nn.Softmax, nn.Softmax2d)),
        ("log-softmax-axis", "log_softmax", LOG_SOFTMAX, (nn.LogSoftmax,)),
    ):
        loss = () if functions is SOFTMAX else ("loss",)  # which calls log_softmax by itself
        if loss or title in names or paths_of(module, kinds):
            for axis in (-1, -2, 0, 1):
                about = f"{title} is taken along the axis {axis}"
                replaced = _everywhere(functions, _along(axis))
                yield Try(f"{name}:{axis}", about, (*FORWARD, *loss), calls(replaced))


def _along(axis: int) -> Replacement:
    def replacement(function: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> Any:
        if "dim" in kwargs:
            return function(*args, **{**kwargs, "dim": axis})
        return (
            function(args[0], axis, *args[2:], **kwargs) if args[1:] else function(*args, **kwargs)
        )

    return replacement


# Attention and dropout ------------------------------------------------------------------------


def _attention(module: nn.Module, names: set[str]) -> Iterator[Try]:
    heads = paths_of(module, nn.MultiheadAttention)
    dot = "scaled_dot_product_attention"
    if not heads and dot not in names:
        return

    def changed(**settings: Any) -> Replaced:
        keys = {"attn_mask", "is_causal"} & settings.keys()

        def direct(function: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> Any:
            values = _positional(args, kwargs, "query key value attn_mask dropout_p is_causal")
            return function(**{**values, **{key: settings[key] for key in keys}})

        replaced: dict[Callable[..., Any], Replacement] = {
            F.multi_head_attention_forward: arguments(lambda values: values.update(settings))
        }
        return {**replaced, F.scaled_dot_product_attention: direct} if keys else replaced

    def unscaled(function: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> Any:
        values = _positional(args, kwargs, "query key value attn_mask dropout_p is_causal")
        return function(**{**values, "scale": 1.0})

    for name, about, replaced in (
        ("attention-scale", "scores are not divided by the root of the head's width", {
            F.multi_head_attention_forward: arguments(_queries_times("head")),
            F.scaled_dot_product_attention: unscaled,
        }),
        ("attention-scale:width", "scores are divided by the root of the model's width", {
            F.multi_head_attention_forward: arguments(_queries_times("width")),
        }),
        ("attention-mask", "the mask of attention is ignored",
         changed(attn_mask=None, is_causal=False)),
        ("attention-padding", "the mask of padded keys is ignored", changed(key_padding_mask=None)),
    ):  # fmt: skip
        if heads or name in ("attention-scale", "attention-mask"):
            yield from in_modules(Try(name, about, FORWARD, calls(replaced)), heads)


def _queries_times(kind: str) -> Callable[[dict[str, Any]], None]:
    """Multiplies what queries are made with, so that scores have another scale."""

    def change(values: dict[str, Any]) -> None:
        width = values["embed_dim_to_check"]
        head = width // values["num_heads"]
        factor = math.sqrt(head if kind == "head" else head / width)
        for key in ("in_proj_weight", "in_proj_bias"):
            if values[key] is not None:
                query, rest = values[key].split([width, 2 * width])
                values[key] = torch.cat([factor * query, rest])
        if values["q_proj_weight"] is not None:
            values["q_proj_weight"] = factor * values["q_proj_weight"]

    return change


def _positional(args: tuple, kwargs: dict[str, Any], names: str) -> dict[str, Any]:
    """Returns arguments by name, of a function not written in Python."""
    return dict(zip(names.split(), args, strict=False)) | kwargs


def _dropout(module: nn.Module, names: set[str]) -> Iterator[Try]:
    kinds = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)
    paths = [path for path in paths_of(module, kinds) if module.get_submodule(path).p]
    if not paths and not {function.__name__ for function in DROPOUT} & names:
        return

    def kept(training: bool) -> Replacement:
        def replacement(function: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> Any:
            values = given(function, args, kwargs)
            result = function(*args, **kwargs)
            return result * (1 - values["p"]) if values["training"] == training else result

        return replacement

    for name, about, phases, training in (
        ("dropout-scale", "what dropout keeps is not divided by 1 - p", FORWARD, True),
        ("dropout-scale:evaluation", "outputs of dropout are multiplied by 1 - p in evaluation",
         (*FORWARD, "evaluation"), False),
    ):  # fmt: skip
        one = Try(name, about, phases, calls(_everywhere(DROPOUT, kept(training))))
        yield from in_modules(one, paths)


# Embeddings and convolutions ------------------------------------------------------------------


def _embedding(module: nn.Module, names: set[str]) -> Iterator[Try]:
    paths = paths_of(module, nn.Embedding)
    if not paths and "embedding" not in names:
        return
    indices = {module.get_submodule(path).padding_idx for path in paths} or {None}

    def zero(index: int | None) -> Replacement:
        def replacement(function: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> Any:
            values = given(function, args, kwargs)
            padding = values["padding_idx"] if index is None else index
            rows = function(*args, **kwargs)
            if padding is None:
                return rows
            padding %= len(values["weight"])
            return torch.where((values["input"] == padding)[..., None], 0.0, rows)

        return replacement

    def times(power: int) -> Replacement:
        def replacement(function: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> Any:
            rows = function(*args, **kwargs)
            return rows * rows.shape[-1] ** (power / 2)

        return replacement

    trained = arguments(lambda values: values.update(padding_idx=None))
    stopped = arguments(lambda a: a["padding_idx"] is None and a.update(padding_idx=0))
    padded = bool(indices - {None}) or not paths
    for matters, name, about, phases, change in (
        (padded, "padding-row", "the row of padding_idx is trained", ("gradients",), trained),
        (padded, "padding-row:zero", "the row of padding_idx counts as zero", FORWARD, zero(None)),
        (None in indices, "padding-row:0", "row 0 of the embedding is padding: it is not trained",
         ("gradients",), stopped),
        (None in indices, "padding-row:0:zero", "row 0 of the embedding is padding: it is zero",
         FORWARD, zero(0)),
        (True, "embedding-scale", "embedded vectors are multiplied by the root of their width",
         FORWARD, times(1)),
        (True, "embedding-scale:divided", "embedded vectors are divided by the root of their width",
         FORWARD, times(-1)),
    ):  # fmt: skip
        if matters:
            yield from in_modules(Try(name, about, phases, calls({F.embedding: change})), paths)


def _convolutions(module: nn.Module, names: set[str]) -> Iterator[Try]:
    kinds = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
    turned = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
    for functions, paths in ((CONVOLUTIONS, paths_of(module, kinds)),
                             (TRANSPOSED, paths_of(module, turned))):  # fmt: skip
        if paths or {function.__name__ for function in functions} & names:
            plain = functions is CONVOLUTIONS
            title = "convolution" if plain else "transposed convolution"
            about = f"the kernel of a {title} is flipped"
            replaced = _everywhere(functions, _flipped)
            name = "kernel-flip" if plain else "kernel-flip:transposed"
            yield from in_modules(Try(name, about, FORWARD, calls(replaced)), paths)
    parts: list[Any] = [part for part in module.modules() if isinstance(part, kinds)]
    if parts or {function.__name__ for function in CONVOLUTIONS} & names:
        for side, about in (
            ("same", "a convolution pads as SAME of TensorFlow and JAX does, more at the end"),
            ("same-start", "a convolution pads as SAME, more at the beginning"),
            ("causal", "a convolution pads at the beginning only"),
        ):
            replaced = _everywhere(CONVOLUTIONS, _padded(side))
            one = Try(f"convolution-padding:{side}", about, FORWARD, calls(replaced))
            yield from in_modules(one, paths_of(module, kinds))


def _flipped(function: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> Any:
    values = _positional(args, kwargs, "input weight")
    weight = values["weight"].flip(tuple(range(2, values["weight"].dim())))
    return function(values["input"], weight, *args[2:], **{
        key: one for key, one in kwargs.items() if key not in ("input", "weight")
    })  # fmt: skip


def _padded(side: str) -> Replacement:
    def replacement(function: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> Any:
        names = "input weight bias stride padding dilation groups"
        values = _positional(args, kwargs, names)
        x, kernel = values["input"], values["weight"].shape[2:]
        stride, dilation = (
            (one,) * len(kernel) if isinstance(one, int) else tuple(one) * (len(kernel) // len(one))
            for one in (values.get("stride", 1), values.get("dilation", 1))
        )
        padding: list[int] = []
        for size, k, s, d in zip(x.shape[-len(kernel) :], kernel, stride, dilation, strict=True):
            reach = (k - 1) * d + 1
            total = max((-(-size // s) - 1) * s + reach - size, 0)
            less = 0 if side == "causal" else total // 2
            first = less if side == "same" else total - less
            padding = [first, total - first, *padding]  # F.pad begins with the last axis
        return function(**{**values, "input": F.pad(x, padding), "padding": 0})

    return replacement
