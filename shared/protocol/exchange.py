"""A recurrent layer of any framework in the canonical layout, and a way to ask a framework for it.

    found = canonical_layer("torch", torch.nn.LSTM(10, 64))
    found.config, found.weights                         # LayerConfig, name → array

Each backend's `exchange.py` knows the layers of its own framework and has a function `canonical`.
It is found by name, so that neither backend imports the other.
"""

from typing import Any, Literal, NamedTuple

import numpy as np

from shared.protocol.backend import part_of
from shared.protocol.layer import LayerConfig
from shared.protocol.weights import Weights


class CanonicalLayer(NamedTuple):
    """Everything that a layer holds, independent of any framework."""

    config: LayerConfig
    weights: Weights
    """Name → array, in the order of `LayerConfig.shapes`."""
    training: bool
    """True if it applies dropout, as in training; False if it computes as in evaluation."""
    computed_in: np.dtype | None = None
    """Dtype that it computes in; None if that follows from parameters and inputs."""


def canonical_layer(
    framework: Literal["jax", "torch"], module: Any, **arguments: Any
) -> CanonicalLayer:
    """Returns a layer as the backend of its framework reads it.

    Args:
        framework: to which the layer belongs.
        arguments: further arguments of that backend's `canonical`, such as one_bias.

    Raises:
        ModuleNotFoundError: the framework is not installed.
        TypeError, InvalidInput: as that backend's `canonical`.
    """
    return part_of(framework, "exchange").canonical(module, **arguments)
