"""Alterations of losses compute what a port does whose loss is written so."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rnn_torch.alterations import alterations, altered
from tests.support.altered_models import close, float64

__all__ = ["float64"]
pytestmark = pytest.mark.usefixtures("float64")
N, C, T = 4, 5, 3
WEIGHT = torch.tensor([0.5, 2.0, 1.5, 0.25, 3.0], dtype=torch.float64)
TARGETS = torch.tensor([[1, 2, 0], [4, 0, 0], [3, 3, 1], [0, 2, 4]])


def loss(name: str, function: Callable[..., Any], *args: Any, **settings: Any) -> Tensor:
    """The module plays no part in it."""
    with altered(nn.Linear(1, 1), name):
        return function(*args, **settings)


def picked(logits: Tensor, targets: Tensor = TARGETS) -> Tensor:
    """-log p of each target, (N, T)."""
    shifted = logits - logits.logsumexp(1, keepdim=True)
    return torch.stack([-shifted[n, targets[n], range(T)] for n in range(N)])


def logits() -> Tensor:
    return torch.randn(N, C, T)


def test_reductions_of_losses() -> None:
    z, p, q = logits(), torch.rand(N, C), torch.rand(N, C)
    each = picked(z)
    close(loss("reduction:sum", F.cross_entropy, z, TARGETS), each.sum())
    close(loss("reduction:sum", nn.CrossEntropyLoss(), z, TARGETS), each.sum())
    close(loss("reduction:mean", F.cross_entropy, z, TARGETS, reduction="sum"), each.mean())
    for reduction in ("sum", "mean"):
        module = nn.CrossEntropyLoss(reduction=reduction)
        close(loss("reduction:batchmean", module, z, TARGETS), each.sum() / N)
    close(loss("reduction:sum", F.mse_loss, p, q), ((p - q) ** 2).sum())
    close(loss("reduction:batchmean", nn.L1Loss(), p, q), (p - q).abs().sum() / N)
    entropy = -(q * p.log() + (1 - q) * (1 - p).log())
    close(loss("reduction:sum", F.binary_cross_entropy, p, q), entropy.sum())
    divergence = q * (q.log() - p)
    found = loss("kl-mean", F.kl_div, p, q, reduction="batchmean")
    close(found, divergence.mean())
    close(loss("reduction:mean", F.kl_div, p, q, reduction="sum"), divergence.mean())
    close(loss("reduction:mean:by-hand", lambda: (p * q).sum()), (p * q).mean())
    close(loss("reduction:sum:by-hand", lambda: torch.mean(p * q)), (p * q).sum())
    unchanged = loss("reduction:sum:by-hand", lambda: (p * q).mean(0))
    close(unchanged, (p * q).mean(0))  # a mean along an axis is none of a loss


@pytest.mark.parametrize("kind", ["cross_entropy", "nll_loss"])
def test_targets_that_are_ignored_or_weighted(kind: str) -> None:
    z = logits()
    function = getattr(F, kind)
    given = z if kind == "cross_entropy" else z.log_softmax(1)
    each, kept = picked(z), TARGETS != 0
    close(loss("ignore-index", function, given, TARGETS, ignore_index=0), each.mean())
    counted = (each * kept).sum() / (N * T)
    close(loss("ignore-index:counted", function, given, TARGETS, ignore_index=0), counted)
    weighted = (each * WEIGHT[TARGETS] * kept).sum()
    settings = {"weight": WEIGHT, "ignore_index": 0}
    close(loss("weights:counted", function, given, TARGETS, **settings), weighted / kept.sum())
    close(loss("weights", function, given, TARGETS, WEIGHT), each.mean())


def test_weights_of_binary_losses() -> None:
    z, y, w = torch.randn(N, C), torch.rand(N, C), torch.rand(N, C)
    log, other = F.logsigmoid(z), F.logsigmoid(-z)
    function = F.binary_cross_entropy_with_logits
    settings = {"weight": w, "pos_weight": WEIGHT}
    expected = -(WEIGHT * y * log + (1 - y) * other).mean()
    close(loss("weights", function, z, y, **settings), expected)
    expected = -(w * (y * log + (1 - y) * other)).mean()
    close(loss("pos-weight", function, z, y, **settings), expected)
    close(loss("pos-weight", nn.BCEWithLogitsLoss(w, pos_weight=WEIGHT), z, y), expected)


def test_smoothed_labels() -> None:
    z = logits()
    shifted = z.log_softmax(1)
    one = F.one_hot(TARGETS, C).movedim(2, 1)
    close(
        loss("label-smoothing", F.cross_entropy, z, TARGETS, label_smoothing=0.2), picked(z).mean()
    )
    shares = 0.8 * one + 0.05 * (1 - one)  # 0.2 for the four others
    expected = -(shares * shifted).sum(1).mean()
    smooth = nn.CrossEntropyLoss(label_smoothing=0.2)
    close(loss("label-smoothing:others", smooth, z, TARGETS), expected)


def test_constants_of_losses() -> None:
    a, b = torch.randn(2, N, C)
    square, apart = (a - b) ** 2, (a - b).abs()
    close(loss("squared-error:half", nn.MSELoss(), a, b), square.mean() / 2)
    close(loss("squared-error:double", F.mse_loss, a, b), square.mean() * 2)
    huber = torch.where(apart < 0.5, square / 2, 0.5 * (apart - 0.25)).mean()
    one = torch.where(apart < 1, square / 2, apart - 0.5).mean()
    close(loss("huber", F.smooth_l1_loss, a, b, beta=0.5), huber)
    close(loss("huber", F.huber_loss, a, b, delta=0.5), huber / 0.5)
    close(loss("huber:1", nn.SmoothL1Loss(beta=0.5), a, b), one)
    close(loss("huber:1", nn.HuberLoss(delta=0.5), a, b), one)
    p = b.softmax(1)
    settings: dict[str, Any] = {"reduction": "sum"}
    close(loss("kl-log-target", F.kl_div, a, p, **settings), (p.exp() * (p - a)).sum())
    settings["log_target"] = True
    close(loss("kl-log-target", F.kl_div, a, p, **settings), (p * (p.log() - a)).sum())


LABELS, SIZES = torch.tensor([[1, 2], [2, 2], [3, 0], [3, 1]]), torch.tensor([2, 2, 1, 2])


def ctc(log: Tensor, blank: int = 0) -> Tensor:
    """Each sequence's loss: all paths that, without repeats and blanks, read as its labels."""
    found = []
    for n, size in enumerate(SIZES.tolist()):
        paths = []
        for path in itertools.product(range(log.shape[-1]), repeat=len(log)):
            read = [label for label, _ in itertools.groupby(path) if label != blank]
            if read == LABELS[n, :size].tolist():
                paths.append(log[range(len(log)), n, path].sum())
        found.append(-torch.stack(paths).logsumexp(0))
    return torch.stack(found)


def test_ctc_by_lengths_and_blanks() -> None:
    log = torch.randn(5, N, 5).log_softmax(-1)
    args = (log, LABELS, torch.tensor([5] * N), SIZES)
    each = ctc(log)
    close(loss("ctc-mean", F.ctc_loss, *args), each.mean())
    close(loss("ctc-lengths", nn.CTCLoss(reduction="sum"), *args), (each / SIZES).sum())
    close(loss("ctc-lengths", nn.CTCLoss(reduction="none"), *args), each / SIZES)
    close(loss("reduction:batchmean", F.ctc_loss, *args), each.mean())
    close(loss("ctc-blank:last", F.ctc_loss, *args, reduction="none"), ctc(log, blank=4))
    found = loss("ctc-blank:0", F.ctc_loss, *args, blank=4, reduction="none")
    close(found, each)


def test_ctc_whose_loss_is_infinite() -> None:
    z = torch.randn(2, 1, C).log_softmax(-1)  # three targets in two steps
    args = (z, TARGETS[2:3], torch.tensor([2]), torch.tensor([3]))
    for zero, expected in ((False, 0.0), (True, torch.inf)):
        found = loss("ctc-infinity", F.ctc_loss, *args, zero_infinity=zero)
        assert found.item() == expected


def test_every_loss_alteration_is_offered_to_any_module() -> None:
    found = [
        [one for one in alterations(m) if one.phases == ("loss",)]
        for m in (nn.Tanh(), nn.GRU(2, 3))
    ]
    assert found[0] == found[1]
    assert len(found[0]) > 20
    for one, other in itertools.pairwise(found[0]):
        assert one.name != other.name
