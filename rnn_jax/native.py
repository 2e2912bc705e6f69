"""Flax's own layers behind the call of `rnn_jax.layers`: flax.nnx.RNN over Flax's cells.

They cannot hold the canonical weights: every cell has one bias where PyTorch has two, and the GRU
none beside W_hn. A run with them starts from the same function where the cells can hold it,
and trains differently: two biases move twice as fast as one. `gaps` says so; every run records it.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array
from jaxtyping import Float, Integer

from rnn_jax.stack import Stacked
from shared.config.settings import Cell, NetworkConfig
from shared.protocol import LayerConfig
from shared.protocol.trace import Trace, ordered, split_steps
from shared.protocol.weights import Weights, layer_config


class Layout(NamedTuple):
    """The way canonical tensors become those of a network, and back; all by name."""

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
    """Stacked `flax.nnx.RNN`, one for each layer and direction, batch first."""

    def __init__(self, config: LayerConfig, *, param_dtype: jax.typing.DTypeLike, rngs: nnx.Rngs):
        self.lstm = config.cell == "lstm"
        features = config.input_size
        layers = []
        for endings in config.suffixes():
            cells = [make_cell(config, features, param_dtype, rngs) for _ in endings]
            layers.append(
                nnx.List(
                    nnx.RNN(cell, return_carry=True, reverse=i == 1, keep_order=True, rngs=False)
                    for i, cell in enumerate(cells)
                )
            )
            features = config.directions * config.hidden_size
        self.layers = nnx.List(layers)

    def run(
        self,
        x: Float[Array, "B T I"],
        state: Any,
        lengths: Integer[Array, " B"] | None = None,
        masks: Float[Array, "L1 B T DH"] | None = None,
        layers: list[Array] | None = None,
    ) -> tuple[Float[Array, "B T DH"], Stacked]:
        """Runs as `Recurrent.run` with batch_first, but the outputs go on in the padding."""
        state = state if self.lstm else (state,)
        finals = []
        for number, layer in enumerate(self.layers):
            if number > 0 and masks is not None:
                x = x * masks[number - 1]
            directions = []
            for direction in layer:
                before = tuple(part[len(finals)] for part in state)
                # Flax carries (c, h), torch (h, c).
                carry, output = direction(
                    x,
                    initial_carry=before[::-1] if self.lstm else before[0],
                    seq_lengths=lengths,
                )
                directions.append(output)
                finals.append(carry[::-1] if self.lstm else (carry,))
            x = jnp.concatenate(directions, axis=-1)
            if layers is not None:
                layers.append(x)
        return x, tuple(jnp.stack(parts) for parts in zip(*finals, strict=True))


def make_cell(
    config: LayerConfig,
    input_size: int,
    param_dtype: jax.typing.DTypeLike,
    rngs: nnx.Rngs,
    dtype: jax.typing.DTypeLike | None = None,
) -> nnx.RNNCellBase:
    """Makes Flax's cell for one layer and direction; `dtype` is that of the computation."""
    # Values are assigned later; Flax's orthogonal ones do not exist in half precision on a CPU.
    zeros = nnx.initializers.zeros_init()
    options: dict[str, Any] = {"param_dtype": param_dtype, "rngs": rngs}
    options |= {"dtype": dtype, "recurrent_kernel_init": zeros}
    if config.cell == "lstm":
        return nnx.OptimizedLSTMCell(input_size, config.hidden_size, **options)
    if config.cell == "gru":
        return nnx.GRUCell(input_size, config.hidden_size, **options)
    # SimpleCell computes in float32 by default, whatever its parameters are.
    activation = {"tanh": nnx.tanh, "relu": nnx.relu}[config.nonlinearity]
    options |= {"dtype": dtype or param_dtype, "activation_fn": activation}
    return nnx.SimpleCell(input_size, config.hidden_size, **options)


def cell_params(cell: Cell, tensors: Weights) -> Weights:
    """Returns the tensors of one layer and direction under the names of Flax's cell. The biases
    become their sum, without the GRU's b_hn."""
    bias_hh = tensors["bias_hh"].copy()
    if cell == "gru":
        bias_hh[len(bias_hh) // 3 * 2 :] = 0
    return {
        "dense_i.kernel": tensors["weight_ih"].T,
        "dense_h.kernel": tensors["weight_hh"].T,
        bias_name(cell): tensors["bias_ih"] + bias_hh,
    }


def cell_tensors(cell: Cell, params: Weights) -> Weights:
    """Returns the canonical tensors that compute the same function: the single bias is bias_ih."""
    bias = params[bias_name(cell)]
    return {
        "weight_ih": params["dense_i.kernel"].T,
        "weight_hh": params["dense_h.kernel"].T,
        "bias_ih": bias,
        "bias_hh": np.zeros_like(bias),
    }


def bias_name(cell: Cell) -> str:
    """Returns the place where Flax's cell has its only bias."""
    return "dense_h.bias" if cell == "lstm" else "dense_i.bias"


def gaps(network: NetworkConfig) -> list[str]:
    """Lists why a run with Flax's cells cannot be compared step by step."""
    notes = ["flax cells have one bias: it starts as bias_ih + bias_hh and trains as one parameter"]
    if network.cell == "gru":
        notes.append("flax.nnx.GRUCell has no b_hn: that part of bias_hh is dropped at the start")
    return notes


def from_weights(network: NetworkConfig, weights: Weights) -> Weights:
    """Returns canonical tensors under the names of Flax's layers, as far as those can hold them."""
    params = {name: array for name, array in weights.items() if not name.startswith("rnn.")}
    for place, ending in _places(network):
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        tensors = {name: weights[f"rnn.{name}{ending}"] for name in names}
        found = cell_params(network.cell, tensors)
        params |= {f"{place}.{name}": array for name, array in found.items()}
    return params


def to_weights(network: NetworkConfig, params: Weights) -> Weights:
    """Returns the canonical tensors that compute the same function."""
    weights: Weights = {}
    for place, ending in _places(network):
        cell = {
            name.removeprefix(f"{place}."): array
            for name, array in params.items()
            if name.startswith(f"{place}.")
        }
        found = cell_tensors(network.cell, cell)
        weights |= {f"rnn.{name}{ending}": array for name, array in found.items()}
    others = {name: array for name, array in params.items() if not name.startswith("rnn.")}
    return weights | others


def from_moments(network: NetworkConfig, moments: Weights) -> Weights:
    """Returns moments of the parameters above. The gradient of the single bias is that of bias_ih,
    so it has the moments of bias_ih. Those of bias_hh are lost; they are the same, except in a
    GRU."""
    return from_weights(
        network, {name: array * (".bias_hh" not in name) for name, array in moments.items()}
    )


def to_moments(network: NetworkConfig, moments: Weights) -> Weights:
    """Gives both biases the moments of the single one. The GRU's b_hn has no twin and gets
    zeros."""
    found = to_weights(network, moments)
    for _, ending in _places(network):
        found[f"rnn.bias_hh{ending}"] = found[f"rnn.bias_ih{ending}"].copy()
        if network.cell == "gru":
            found[f"rnn.bias_hh{ending}"][2 * network.hidden_size :] = 0
    return found


def canonical(layout: Layout, seen: Trace, moments: Sequence[str]) -> Trace:
    """Returns a trace of native layers (shared/protocol/trace.py) by canonical names.

    Args:
        moments: names of the optimizer's moments.
    """
    convert = {"before/": layout.to_weights, "weights/": layout.to_weights}
    convert |= {"gradients/": layout.to_moments, "clipped/": layout.to_moments}
    convert |= {f"moments/{kind}.": layout.to_moments for kind in moments}
    steps = []
    for step in split_steps(seen):
        for prefix, change in convert.items():
            names = [n for n in step if n.startswith(prefix) and "/carry." not in n]
            tensors = {name.removeprefix(prefix): step.pop(name) for name in names}
            step |= {prefix + name: array for name, array in change(tensors).items()}
        steps.append(step)
    return {name: np.stack([step[name] for step in steps]) for name in ordered(steps[0])}


def _places(network: NetworkConfig) -> list[tuple[str, str]]:
    """Returns the place of each layer's and direction's cell, and the ending of its canonical
    names."""
    return [
        (f"rnn.layers.{layer}.{direction}.cell", ending)
        for layer, endings in enumerate(layer_config(network, 1).suffixes())
        for direction, ending in enumerate(endings)
    ]
