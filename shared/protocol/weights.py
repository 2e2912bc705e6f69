"""The canonical layout of a network's weights: PyTorch's names, shapes and gate order.

    embedding.weight                  (V, E)          only with --embedding-size
    rnn.weight_ih_l0, …               as in `shared/protocol/layer.py`
    head.weight, head.bias            (O, D·H), (O,); a tied head has only a bias
    highway.weight                    (O, N·I), of the last N steps, the oldest first; only with
                                      --highway N

V vocabulary, E embedding size, D directions, H hidden size, O outputs, I features of a step.
"""

import math

import numpy as np

from shared.config.settings import NetworkConfig
from shared.protocol.layer import LayerConfig
from shared.system.randomness import generator

Weights = dict[str, np.ndarray]


def layer_config(network: NetworkConfig, input_size: int) -> LayerConfig:
    """Returns the recurrent layers of a network, for its features: embedded, one-hot or
    unchanged."""
    return LayerConfig(
        network.cell,
        network.embedding_size or input_size,
        network.hidden_size,
        network.num_layers,
        network.nonlinearity,
        batch_first=True,
        dropout=network.dropout,
        bidirectional=network.bidirectional,
    )


def state_shapes(network: NetworkConfig, batch_size: int) -> tuple[tuple[int, ...], ...]:
    """Returns the shapes of a batch's recurrent state: h, and for an LSTM c, each (L·D, B, H)."""
    return layer_config(network, 1).state_shapes(batch_size)


def network_shapes(
    network: NetworkConfig, input_size: int, output_size: int
) -> dict[str, tuple[int, ...]]:
    """Returns name → shape of every tensor of a network, in the order of its layers."""
    shapes: dict[str, tuple[int, ...]] = {}
    if network.embedding_size is not None:
        shapes["embedding.weight"] = (input_size, network.embedding_size)
    layer = layer_config(network, input_size)
    shapes |= {f"rnn.{name}": shape for name, shape in layer.shapes().items()}
    width = layer.directions * layer.hidden_size
    if not network.tied:
        shapes["head.weight"] = (output_size, width)
    shapes["head.bias"] = (output_size,)
    if network.highway:
        shapes["highway.weight"] = (output_size, network.highway * input_size)
    return shapes


def initialize(
    network: NetworkConfig, input_size: int, output_size: int, seed: int, dtype: str
) -> Weights:
    """Draws initial weights with the distributions of torch.nn, in NumPy for both frameworks.

    Recurrent tensors are uniform on ±1/√H, the head and the highway on ±1/√fan-in (of the head,
    D·H). The embedding is standard normal; if it is tied to the head, it is drawn like the head.
    With `init_range` all are uniform on that range. `forget_bias` is added. Values are drawn in
    float64 and then rounded, so that a float32 run starts from the rounded weights of the float64
    run.
    """
    rng = generator(seed, "weights")
    weights: Weights = {}
    for name, shape in network_shapes(network, input_size, output_size).items():
        if name == "embedding.weight" and not network.tied and network.init_range is None:
            values = rng.standard_normal(shape)
        else:
            width = network.hidden_size
            if name.startswith("highway."):
                width = shape[1]
            elif not name.startswith("rnn.") and network.bidirectional:
                width *= 2
            bound = network.init_range or 1 / math.sqrt(width)
            values = rng.uniform(-bound, bound, shape)
        if name.startswith("rnn.bias_ih"):  # forget gate and update gate are the second block
            values[network.hidden_size : 2 * network.hidden_size] += network.forget_bias
        weights[name] = values.astype(dtype)
    return weights
