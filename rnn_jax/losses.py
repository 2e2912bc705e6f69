"""Loss and metric of a batch, as sums over its targets, so that any batches add up to a mean."""

from typing import Literal

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Integer


def sums(
    loss: Literal["cross_entropy", "mse"],
    outputs: Float[Array, "*N O"],
    targets: Integer[Array, "*N"] | Float[Array, "*N O"],
    weights: Float[Array, "*N"],
) -> tuple[Float[Array, ""], Float[Array, ""], Float[Array, ""]]:
    """Weighted sums of loss and metric, and the sum of the weights.

    Args:
        loss: "cross_entropy" (nats; the metric is accuracy) or "mse" (mean over the values of a
            target; the metric is the absolute error).
        outputs: (…, O) logits or predicted values.
        targets: (…) classes or (…, O) values.
        weights: (…) 1 for a real target, 0 for padding.
    """
    if loss == "cross_entropy":
        # Not optax's, which subtracts the label's logit from log Σ exp: two large numbers whose
        # difference, a small loss, keeps few digits. PyTorch's starts from the largest logit, too.
        logs = jax.nn.log_softmax(outputs)
        losses = -jnp.take_along_axis(logs, targets[..., None], axis=-1)[..., 0]
        metric = (outputs.argmax(-1) == targets).astype(outputs.dtype)
    else:
        losses = jnp.square(outputs - targets).mean(-1)
        metric = jnp.abs(outputs - targets).mean(-1)
    return (weights * losses).sum(), (weights * metric).sum(), weights.sum()
