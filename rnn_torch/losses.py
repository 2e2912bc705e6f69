"""Loss and metric of a batch, as sums over its targets, so that any batches add up to a mean."""

from typing import Literal

from jaxtyping import Float, Integer
from torch import Tensor
from torch.nn import functional as F


def sums(
    loss: Literal["cross_entropy", "mse"],
    outputs: Float[Tensor, "*N O"],
    targets: Integer[Tensor, "*N"] | Float[Tensor, "*N O"],
    weights: Float[Tensor, "*N"],
) -> tuple[Float[Tensor, ""], Float[Tensor, ""], Float[Tensor, ""]]:
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
