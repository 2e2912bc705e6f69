"""How much a recurrent layer's last state still depends on each input it has read."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Float

from rnn_jax import layers
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
    with jax.enable_x64(True):
        layer = layers.make(config, param_dtype=jnp.float64, rngs=nnx.Rngs(0))
        layer.load_state_dict(weights)
        # A copy of the sequence for each unit of h: one backward pass brings all rows of the
        # Jacobian.
        batch = 0 if config.batch_first else 1
        copies = np.repeat(np.expand_dims(inputs, batch), config.output_size, axis=batch)

        def last(x: jax.Array) -> jax.Array:
            _, (h, *_) = layer.run(x, None)
            return jnp.trace(h[-1])

        jacobian = jax.grad(last)(jnp.asarray(copies, jnp.float64))
        return np.asarray(jnp.sqrt(jnp.square(jacobian).sum(axis=(batch, 2))))
