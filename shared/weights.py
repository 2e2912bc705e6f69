"""The canonical layout of a network's weights: PyTorch's names, shapes and gate order.

    embedding.weight                  (V, E)          only with --embedding-size
    rnn.weight_ih_l{k}{_reverse}      (G·H, I_k)      I_0 = I or E, later D·H
    rnn.weight_hh_l{k}{_reverse}      (G·H, H)
    rnn.bias_ih_l{k}{_reverse}        (G·H,)
    rnn.bias_hh_l{k}{_reverse}        (G·H,)
    head.weight, head.bias            (O, D·H), (O,)

H hidden size, D directions, V vocabulary, O outputs. The G gates of a row block stand in torch's
order: LSTM i, f, g, o; GRU r, z, n. A state dict of `torch.nn.LSTM` is canonical as it is
(https://docs.pytorch.org/docs/stable/generated/torch.nn.LSTM.html).
"""

import math

import numpy as np

from shared.config import NetworkConfig
from shared.randomness import generator

GATES = {"rnn": 1, "lstm": 4, "gru": 3}
STATES = {"rnn": ("h",), "lstm": ("h", "c"), "gru": ("h",)}

Weights = dict[str, np.ndarray]


def suffixes(num_layers: int, bidirectional: bool) -> list[list[str]]:
    """The name endings of each layer's directions: [["_l0", "_l0_reverse"], …]."""
    directions = ("", "_reverse") if bidirectional else ("",)
    return [[f"_l{layer}{direction}" for direction in directions] for layer in range(num_layers)]


def recurrent_shapes(
    cell: str, input_size: int, hidden_size: int, num_layers: int = 1, bidirectional: bool = False
) -> dict[str, tuple[int, ...]]:
    """Name → shape of every tensor of a recurrent layer, in torch's order."""
    rows = GATES[cell] * hidden_size
    shapes: dict[str, tuple[int, ...]] = {}
    for layer, endings in enumerate(suffixes(num_layers, bidirectional)):
        columns = input_size if layer == 0 else len(endings) * hidden_size
        for ending in endings:
            shapes[f"weight_ih{ending}"] = (rows, columns)
            shapes[f"weight_hh{ending}"] = (rows, hidden_size)
            shapes[f"bias_ih{ending}"] = (rows,)
            shapes[f"bias_hh{ending}"] = (rows,)
    return shapes


def state_shapes(network: NetworkConfig, batch_size: int) -> tuple[tuple[int, int, int], ...]:
    """Shapes of a batch's recurrent state: h, and for an LSTM c, each (L·D, B, H)."""
    rows = network.num_layers * (2 if network.bidirectional else 1)
    return tuple((rows, batch_size, network.hidden_size) for _ in STATES[network.cell])


def network_shapes(
    network: NetworkConfig, input_size: int, output_size: int
) -> dict[str, tuple[int, ...]]:
    """Name → shape of every tensor of a network, in the order of its layers."""
    shapes: dict[str, tuple[int, ...]] = {}
    features = input_size
    if network.embedding_size is not None:
        features = network.embedding_size
        shapes["embedding.weight"] = (input_size, features)
    recurrent = recurrent_shapes(
        network.cell, features, network.hidden_size, network.num_layers, network.bidirectional
    )
    shapes |= {f"rnn.{name}": shape for name, shape in recurrent.items()}
    width = network.hidden_size * (2 if network.bidirectional else 1)
    return shapes | {"head.weight": (output_size, width), "head.bias": (output_size,)}


def initialize(
    network: NetworkConfig, input_size: int, output_size: int, seed: int, dtype: str
) -> Weights:
    """Initial weights with the distributions of torch.nn, drawn in NumPy for both frameworks.

    Recurrent tensors are uniform on ±1/√H, the head on ±1/√(D·H) (its fan-in), the embedding is
    standard normal. Values are drawn in float64 and then rounded, so that a float32 run starts from
    the rounded weights of the float64 run.
    """
    rng = generator(seed, "weights")
    weights: Weights = {}
    for name, shape in network_shapes(network, input_size, output_size).items():
        if name == "embedding.weight":
            values = rng.standard_normal(shape)
        else:
            width = network.hidden_size
            if name.startswith("head.") and network.bidirectional:
                width *= 2
            values = rng.uniform(-1 / math.sqrt(width), 1 / math.sqrt(width), shape)
        weights[name] = values.astype(dtype)
    return weights
