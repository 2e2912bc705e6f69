"""The single bias of Flax's and Keras's cells ↔ torch's two, bias_ih and bias_hh.

A single bias does not say how the two divide it, and two do not fit into one. Both are refused
unless the caller accepts (`one_bias`) a layer that computes the same and trains differently: two
biases move twice as far as one.
"""

import numpy as np

from shared.errors import InvalidInput


def check_single(name: str, bias: np.ndarray, one_bias: bool) -> None:
    """Raises InvalidInput for a single bias that is not zero, unless `one_bias`.

    Args:
        name: of the bias in its file.
        bias: the values, or those of the gates that have a single one.
    """
    if bias.astype(np.float64).any() and not one_bias:
        raise InvalidInput(
            f"{name}: a single bias, which does not say how torch's two divide it; with "
            "one_bias=True (--one-bias) it becomes bias_ih, beside a bias_hh of zeros, which "
            "trains differently"
        )


def joined(name: str, bias_ih: np.ndarray, bias_hh: np.ndarray, one_bias: bool) -> np.ndarray:
    """Returns the single bias that computes the same as two.

    Args:
        name: of bias_hh in the refusal.

    Raises:
        InvalidInput: bias_hh has values other than zero, and not `one_bias`.
    """
    if not bias_hh.astype(np.float64).any():
        return bias_ih  # not the sum, which turns -0 into 0
    if not one_bias:
        raise InvalidInput(
            f"{name}: the format has a single bias, expected zeros, got other values; with "
            "one_bias=True (--one-bias) the two are added, which cannot be undone"
        )
    total = bias_ih.astype(np.float64) + bias_hh.astype(np.float64)
    return total.astype(bias_ih.dtype)
