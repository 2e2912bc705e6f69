"""Loss and metric of a batch, as sums over its targets, so that any batches add up to a mean."""

import torch
from torch.nn import functional as F


def sums(
    loss: str, outputs: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Weighted sums of loss and metric, and the sum of the weights.

    Args:
        loss: "cross_entropy" (nats; the metric is accuracy) or "mse" (mean over the values of a
            target; the metric is the absolute error).
        outputs: (…, O) logits or predicted values.
        targets: (…) classes or (…, O) values.
        weights: (…) 1 for a real target, 0 for padding.
    """
    if loss == "cross_entropy":
        losses = F.cross_entropy(outputs.flatten(0, -2), targets.flatten(), reduction="none")
        losses = losses.view(targets.shape)
        metric = (outputs.argmax(-1) == targets).to(outputs.dtype)
    else:
        losses = (outputs - targets).square().mean(-1)
        metric = (outputs - targets).abs().mean(-1)
    return (weights * losses).sum(), (weights * metric).sum(), weights.sum()
