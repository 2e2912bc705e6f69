"""Flax's own layers behind the call of `rnn_jax.layers`: flax.nnx.RNN over Flax's cells.

They cannot hold the canonical weights: every cell has one bias where PyTorch has two, and the GRU
none beside W_hn. A run with them starts from the same function where that is representable, and
trains differently: two biases move twice as fast as one. `gaps` says so, and every run records it.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from rnn_jax.cells import State
from shared.config import NetworkConfig
from shared.weights import GATES, Weights, suffixes


class Layout(NamedTuple):
    """How canonical tensors become those of a network, and back; all by name."""

    from_weights: Callable[[Weights], Weights]
    to_weights: Callable[[Weights], Weights]
    from_moments: Callable[[Weights], Weights]
    to_moments: Callable[[Weights], Weights]


def layout(network: NetworkConfig) -> Layout:
    return Layout(
        *(
            partial(convert, network)
            for convert in (from_weights, to_weights, from_moments, to_moments)
        )
    )


class Native(nnx.Module):
    """Stacked `flax.nnx.RNN`, one for each layer and direction."""

    def __init__(
        self,
        network: NetworkConfig,
        input_size: int,
        *,
        param_dtype: jax.typing.DTypeLike,
        rngs: nnx.Rngs,
    ):
        self.lstm = network.cell == "lstm"
        self.hidden_size = network.hidden_size
        activation = {"tanh": nnx.tanh, "relu": nnx.relu}[network.nonlinearity]
        kind = {
            "rnn": partial(nnx.SimpleCell, activation_fn=activation),
            "lstm": nnx.OptimizedLSTMCell,
            "gru": nnx.GRUCell,
        }[network.cell]
        layers = []
        for endings in suffixes(network.num_layers, network.bidirectional):
            # SimpleCell computes in float32 by default, whatever its parameters are.
            cells = [
                kind(
                    input_size,
                    network.hidden_size,
                    dtype=param_dtype,
                    param_dtype=param_dtype,
                    rngs=rngs,
                )
                for _ in endings
            ]
            layers.append(
                nnx.List(
                    nnx.RNN(cell, return_carry=True, reverse=i == 1, keep_order=True, rngs=False)
                    for i, cell in enumerate(cells)
                )
            )
            input_size = len(endings) * network.hidden_size
        self.layers = nnx.List(layers)

    def __call__(
        self, x: jax.Array, state: State, *, masks: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        """As `rnn_jax.layers.Recurrent.__call__` with batch_first."""
        finals = []
        for number, layer in enumerate(self.layers):
            if number > 0 and masks is not None:
                x = x * masks[number - 1]
            directions = []
            for direction in layer:
                before = tuple(part[len(finals)] for part in state)
                # Flax carries (c, h), torch (h, c).
                carry, outputs = direction(
                    x, initial_carry=before[::-1] if self.lstm else before[0]
                )
                directions.append(outputs)
                finals.append(carry[::-1] if self.lstm else (carry,))
            x = jnp.concatenate(directions, axis=-1)
        return x, tuple(jnp.stack(parts) for parts in zip(*finals, strict=True))


def gaps(network: NetworkConfig) -> list[str]:
    """What keeps a run with Flax's cells from being comparable step by step."""
    notes = ["flax cells have one bias: it starts as bias_ih + bias_hh and trains as one parameter"]
    if network.cell == "gru":
        notes.append("flax.nnx.GRUCell has no b_hn: that part of bias_hh is dropped at the start")
    return notes


def from_weights(network: NetworkConfig, weights: Weights) -> Weights:
    """Canonical tensors under the names of Flax's layers, as far as they are representable."""
    params = {name: array for name, array in weights.items() if not name.startswith("rnn.")}
    for layer, direction, ending in _places(network):
        bias_hh = weights[f"rnn.bias_hh{ending}"].copy()
        if network.cell == "gru":
            bias_hh[2 * network.hidden_size :] = 0
        cell = f"rnn.layers.{layer}.{direction}.cell"
        params[f"{cell}.dense_i.kernel"] = weights[f"rnn.weight_ih{ending}"].T
        params[f"{cell}.dense_h.kernel"] = weights[f"rnn.weight_hh{ending}"].T
        params[f"{cell}.{_bias(network)}.bias"] = weights[f"rnn.bias_ih{ending}"] + bias_hh
    return params


def to_weights(network: NetworkConfig, params: Weights) -> Weights:
    """The canonical tensors that compute the same function: the single bias is bias_ih."""
    weights: Weights = {}
    for layer, direction, ending in _places(network):
        cell = f"rnn.layers.{layer}.{direction}.cell"
        weights[f"rnn.weight_ih{ending}"] = params[f"{cell}.dense_i.kernel"].T
        weights[f"rnn.weight_hh{ending}"] = params[f"{cell}.dense_h.kernel"].T
        bias = params[f"{cell}.{_bias(network)}.bias"]
        assert len(bias) == GATES[network.cell] * network.hidden_size
        weights[f"rnn.bias_ih{ending}"] = bias
        weights[f"rnn.bias_hh{ending}"] = np.zeros_like(bias)
    others = {name: array for name, array in params.items() if not name.startswith("rnn.")}
    return weights | others


def from_moments(network: NetworkConfig, moments: Weights) -> Weights:
    """Moments of the parameters above. The gradient of the single bias is that of bias_ih, so its
    moments are too; those of bias_hh, which for other cells than the GRU are the same, are lost."""
    return from_weights(
        network, {name: array * (".bias_hh" not in name) for name, array in moments.items()}
    )


def to_moments(network: NetworkConfig, moments: Weights) -> Weights:
    """Both biases get the moments of the single one; the GRU's b_hn, which has no twin, zeros."""
    found = to_weights(network, moments)
    for _, _, ending in _places(network):
        found[f"rnn.bias_hh{ending}"] = found[f"rnn.bias_ih{ending}"].copy()
        if network.cell == "gru":
            found[f"rnn.bias_hh{ending}"][2 * network.hidden_size :] = 0
    return found


def _bias(network: NetworkConfig) -> str:
    return "dense_h" if network.cell == "lstm" else "dense_i"


def _places(network: NetworkConfig) -> list[tuple[int, int, str]]:
    return [
        (layer, direction, ending)
        for layer, endings in enumerate(suffixes(network.num_layers, network.bidirectional))
        for direction, ending in enumerate(endings)
    ]
