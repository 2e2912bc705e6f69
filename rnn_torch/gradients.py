"""How much a recurrent layer's last state still depends on each input it has read."""

import numpy as np
import torch
from jaxtyping import Float

from rnn_torch import layers
from shared.protocol import LayerConfig
from shared.protocol.weights import Weights


def gradient_norms(
    config: LayerConfig, weights: Weights, inputs: Float[np.ndarray, "T I"]
) -> Float[np.ndarray, " T"]:
    """Returns the Frobenius norm of ∂h_T/∂x_t for each step t of a sequence, in float64.

    Only the last state is differentiated, so that t alone says over how many steps a gradient
    passes: a loss at every step would add short distances to long ones. The derivative is by
    the input, not by an earlier h: an LSTM also passes on c, and an input reaches both.

    Args:
        config: layers of one direction, without dropout.
        weights: as in `shared/protocol/layer.py`, without a prefix.
    """
    layer = layers.make(config, dtype=torch.float64)
    layer.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()})
    # A copy of the sequence for each unit of h: one backward pass brings all rows of the Jacobian.
    batch = 0 if config.batch_first else 1
    copies = np.repeat(np.expand_dims(inputs, batch), config.output_size, axis=batch)
    x = torch.from_numpy(copies).double().requires_grad_()
    _, (h, *_) = layer.run(x, None)
    (jacobian,) = torch.autograd.grad(h[-1].trace(), x)
    return jacobian.square().sum(dim=(batch, 2)).sqrt().numpy()
