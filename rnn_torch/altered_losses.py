"""Alterations of losses: their reduction, targets that are ignored or weighted, their constants."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from rnn_torch.altered_calls import Replaced, Replacement, Try, arguments, calls, given

LOSS = ("loss",)
CLASSES = (F.cross_entropy, F.nll_loss)
LOSSES = (
    *CLASSES, F.binary_cross_entropy, F.binary_cross_entropy_with_logits, F.mse_loss, F.l1_loss,
    F.smooth_l1_loss, F.huber_loss, F.kl_div, F.ctc_loss, F.poisson_nll_loss, F.gaussian_nll_loss,
    F.cosine_embedding_loss, F.hinge_embedding_loss, F.margin_ranking_loss, F.soft_margin_loss,
    F.multi_margin_loss, F.multilabel_margin_loss, F.multilabel_soft_margin_loss,
    F.triplet_margin_loss,
)  # fmt: skip


def loss_tries() -> Iterator[Try]:
    """Yields what can be done otherwise in a loss. Which functions it calls is not known before."""
    for name, about, replaced in (
        *_reductions(),
        *_ignored(),
        *_weighted(),
        *_constants(),
        *_ctc(),
    ):
        yield Try(name, about, LOSS, calls(replaced))


_Tries = Iterator[tuple[str, str, Replaced]]


def _setting(name: str, value: Any, *, only: Any = None) -> Replacement:
    """Calls a loss with one argument changed; where `only` is given, only from that value."""

    def change(values: dict[str, Any]) -> None:
        if only is None or values[name] == only:
            values[name] = value

    return arguments(change)


def _reductions() -> _Tries:
    for here, there in (("mean", "sum"), ("sum", "mean")):
        about = f"the loss is a {there}, not a {here}"
        replaced = dict.fromkeys(LOSSES, _setting("reduction", there, only=here))
        if there == "mean":
            replaced[F.kl_div] = _kl_mean(here)
        yield f"reduction:{there}", about, replaced
        function = {"sum": torch.sum, "mean": torch.mean}
        method = {"sum": Tensor.sum, "mean": Tensor.mean}
        whole = {one[here]: _of_all(one[there]) for one in (function, method)}
        yield (
            f"reduction:{there}:by-hand",
            f"{there}() of all elements is taken, not {here}()",
            whole,
        )
    about = "the loss is a sum divided by the batch size"
    yield "reduction:batchmean", about, dict.fromkeys(LOSSES, _batchmean)
    about = "the divergence is divided by the number of elements, not by the batch size"
    yield "kl-mean", about, {F.kl_div: _kl_mean("batchmean")}


def _kl_mean(only: str) -> Replacement:
    """Takes the mean without torch's warning that it will mean something else one day."""

    def replacement(function: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> Any:
        values = given(function, args, kwargs)
        if values["reduction"] != only:
            return function(*args, **kwargs)
        return function(**{**values, "reduction": "none"}).mean()

    return replacement


def _of_all(instead: Callable[..., Any]) -> Replacement:
    def replacement(function: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> Any:
        return function(*args, **kwargs) if args[1:] or kwargs else instead(*args)

    return replacement


def _batchmean(function: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> Any:
    values = given(function, args, kwargs)
    if values["reduction"] not in ("mean", "sum"):
        return function(*args, **kwargs)
    first = next(one for one in values.values() if torch.is_tensor(one))
    batch = first.shape[1] if function is F.ctc_loss and first.dim() == 3 else len(first)
    return function(**{**values, "reduction": "sum"}) / batch


def _ignored() -> _Tries:
    ignored = _setting("ignore_index", -100)
    about = "targets of ignore_index count as others do"
    yield "ignore-index", about, dict.fromkeys(CLASSES, ignored)

    def counted(function: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> Any:
        values = given(function, args, kwargs)
        if values["reduction"] != "mean":
            return function(*args, **kwargs)
        return function(**{**values, "reduction": "sum"}) / _targets(values)

    about = "the sum is divided by the number of all targets, those of ignore_index included"
    yield "ignore-index:counted", about, dict.fromkeys(CLASSES, counted)


def _targets(values: dict[str, Any]) -> int:
    """Returns the number of targets: distributions over classes have one more axis."""
    target: Tensor = values["target"]
    if not target.is_floating_point():
        return target.numel()
    return target.numel() // target.shape[1 if target.dim() > 1 else 0]


def _weighted() -> _Tries:
    def counted(function: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> Any:
        values = given(function, args, kwargs)
        if values["weight"] is None or values["reduction"] != "mean":
            return function(*args, **kwargs)
        number = (values["target"] != values["ignore_index"]).sum()
        return function(**{**values, "reduction": "sum"}) / number

    weighted = (
        *CLASSES, F.binary_cross_entropy, F.binary_cross_entropy_with_logits, F.mse_loss, F.l1_loss,
        F.huber_loss,
    )  # fmt: skip
    yield (
        "weights",
        "weights of classes or elements are ignored",
        dict.fromkeys(weighted, _setting("weight", None)),
    )
    about = "the weighted sum is divided by the number of targets, not by the sum of their weights"
    yield "weights:counted", about, dict.fromkeys(CLASSES, counted)
    about = "pos_weight is ignored"
    binary = F.binary_cross_entropy_with_logits
    yield "pos-weight", about, {binary: _setting("pos_weight", None)}


def _constants() -> _Tries:
    def others(values: dict[str, Any]) -> None:
        classes = values["input"].shape[1 if values["input"].dim() > 1 else 0]
        values["label_smoothing"] *= classes / (classes - 1)

    def times(factor: float) -> Replacement:
        return lambda function, args, kwargs: factor * function(*args, **kwargs)

    def huber(function: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> Any:
        values = given(function, args, kwargs)
        delta = values["beta" if function is F.smooth_l1_loss else "delta"]
        return function(*args, **kwargs) * (delta if function is F.smooth_l1_loss else 1 / delta)

    about = "labels are not smoothed"
    yield "label-smoothing", about, {F.cross_entropy: _setting("label_smoothing", 0.0)}
    about = "smoothing gives its share to the other classes, not to all"
    yield "label-smoothing:others", about, {F.cross_entropy: arguments(others)}
    about = "the squared error is halved, as in optax.l2_loss"
    yield "squared-error:half", about, {F.mse_loss: times(0.5)}
    about = "the squared error is doubled: its half is missing"
    yield "squared-error:double", about, {F.mse_loss: times(2.0)}
    about = "smooth L1 and Huber's loss are exchanged: they differ by the factor beta"
    yield "huber", about, dict.fromkeys((F.smooth_l1_loss, F.huber_loss), huber)
    about = "the threshold of smooth L1 or Huber's loss is 1"
    replaced = {F.smooth_l1_loss: _setting("beta", 1.0), F.huber_loss: _setting("delta", 1.0)}
    yield "huber:1", about, replaced

    def log_target(values: dict[str, Any]) -> None:
        values["log_target"] = not values["log_target"]

    about = "targets of the divergence are taken for logarithms, or logarithms for targets"
    yield "kl-log-target", about, {F.kl_div: arguments(log_target)}


def _ctc() -> _Tries:
    def mean(function: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> Any:
        values = given(function, args, kwargs)
        if values["reduction"] != "mean":
            return function(*args, **kwargs)
        return function(**{**values, "reduction": "none"}).mean()

    def by_length(function: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> Any:
        values = given(function, args, kwargs)
        if values["reduction"] == "mean":
            return function(*args, **kwargs)
        each = function(**{**values, "reduction": "none"})
        lengths = torch.as_tensor(values["target_lengths"]).to(each).clamp(min=1)
        return (each / lengths).sum() if values["reduction"] == "sum" else each / lengths

    def infinite(values: dict[str, Any]) -> None:
        values["zero_infinity"] = not values["zero_infinity"]

    def last(values: dict[str, Any]) -> None:
        values["blank"] = values["log_probs"].shape[-1] - 1

    about = "the mean is that of the sequences' losses, not each divided by the target's length"
    yield "ctc-mean", about, {F.ctc_loss: mean}
    about = "each sequence's loss is divided by the target's length"
    yield "ctc-lengths", about, {F.ctc_loss: by_length}
    about = "an infinite loss counts as zero, or no longer does"
    yield "ctc-infinity", about, {F.ctc_loss: arguments(infinite)}
    yield "ctc-blank:0", "blank is the class 0", {F.ctc_loss: _setting("blank", 0)}
    yield "ctc-blank:last", "blank is the last class", {F.ctc_loss: arguments(last)}
