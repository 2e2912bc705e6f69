"""Share of a gradient that is left over a distance in time, for networks with initial weights.

shares = over_distance(gradient_norms)      # {"Elman, tanh": (S, D), …}
"""

from collections.abc import Callable, Sequence

import numpy as np

from shared.config.settings import NetworkConfig
from shared.protocol import LayerConfig
from shared.protocol.weights import Weights, initialize, layer_config
from shared.system.randomness import generator

NETWORKS = {
    "LSTM, forget bias 3": NetworkConfig(cell="lstm", forget_bias=3.0),
    "LSTM, forget bias 1": NetworkConfig(cell="lstm", forget_bias=1.0),
    "LSTM": NetworkConfig(cell="lstm"),
    "GRU": NetworkConfig(cell="gru"),
    "Elman, tanh": NetworkConfig(),
    "Elman, ReLU": NetworkConfig(nonlinearity="relu"),
}
FEATURES = 10
FARTHEST = 200
"""Largest number of steps back."""
START = 50
"""Number of first steps of a sequence that are left out: there the state still grows from zero, and
an LSTM's gradient with it."""
SEEDS = range(10)

Norms = Callable[[LayerConfig, Weights, np.ndarray], np.ndarray]
"""`gradient_norms` of a backend: gradients.py in its folder."""


def over_distance(
    norms: Norms, farthest: int = FARTHEST, seeds: Sequence[int] = SEEDS
) -> dict[str, np.ndarray]:
    """Returns the norm of the gradient of the last state by the input d steps before, as a share of
    that by the last input. By network, it is (S, D) for S seeds and d = 0 … farthest.

    A seed draws the weights as torch.nn does, and standard normal inputs, for all networks the
    same.
    """
    shares = {}
    for name, network in NETWORKS.items():
        config = layer_config(network, FEATURES)
        drawn = ((_weights(network, s), _inputs(s, START + farthest + 1)) for s in seeds)
        backwards = np.stack([norms(config, *one)[: -farthest - 2 : -1] for one in drawn])
        shares[name] = backwards / backwards[:, :1]
    return shares


def _weights(network: NetworkConfig, seed: int) -> Weights:
    """Returns the weights of the recurrent layer, by torch's names."""
    weights = initialize(network, FEATURES, 1, seed, "float64")
    return {
        name.removeprefix("rnn."): array
        for name, array in weights.items()
        if name.startswith("rnn.")
    }


def _inputs(seed: int, steps: int) -> np.ndarray:
    return generator(seed, "inputs").standard_normal((steps, FEATURES))
