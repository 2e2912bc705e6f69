"""The network of every task: embedding or one-hot → recurrent layers → linear head; beside them a
linear highway, where one is wanted."""

import math
from dataclasses import replace
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jaxtyping import Float, Integer

from rnn_jax import layers
from rnn_jax.native import Native
from rnn_jax.stack import Stacked
from shared.config.settings import NetworkConfig
from shared.protocol import trace
from shared.protocol.dataset import Signature
from shared.protocol.weights import layer_config, state_shapes


class Network(nnx.Module):
    """y = V h + b_y over the recurrent layers' outputs h at every step, or over the states in which
    each direction of the last layer ends."""

    def __init__(
        self,
        network: NetworkConfig,
        signature: Signature,
        implementation: str,
        *,
        param_dtype: jax.typing.DTypeLike,
        rngs: nnx.Rngs,
    ):
        self.network = network
        self.signature = signature
        self.param_dtype = param_dtype
        layer = layer_config(network, signature.input_size)
        if network.embedding_size is not None:
            shape = (signature.input_size, network.embedding_size)
            self.embedding = Table(shape, param_dtype, rngs)
        if implementation == "native":
            self.rnn = Native(layer, param_dtype=param_dtype, rngs=rngs)
        else:  # dropout comes with each call, as masks
            self.rnn = layers.make(replace(layer, dropout=0.0), param_dtype=param_dtype, rngs=rngs)
        width = network.hidden_size * (2 if network.bidirectional else 1)
        self.head = Linear(width, signature.output_size, param_dtype, rngs, bare=network.tied)
        if network.highway:
            size = network.highway * signature.input_size
            self.highway = Highway(size, signature.output_size, param_dtype, rngs)

    def zero_state(self, batch_size: int) -> Stacked:
        """Returns (h,) or (h, c), each (L·D, B, H)."""
        shapes = state_shapes(self.network, batch_size)
        return tuple(jnp.zeros(shape, self.param_dtype) for shape in shapes)

    def __call__(
        self,
        inputs: Float[Array, "B T I"] | Integer[Array, "B T"],
        state: Stacked,
        lengths: Integer[Array, " B"] | None = None,
        masks: Float[Array, "L1 B T DH"] | None = None,
        seen: dict[str, Array] | None = None,
    ) -> tuple[Float[Array, "B *T O"], Stacked]:
        """Returns outputs (B, T, O), or (B, O) of each whole sequence, and the final state.

        Args:
            inputs: (B, T, I) features or (B, T) token numbers.
            state: as `zero_state` gives.
            lengths: (B,) steps of each sequence, or None if all have T.
            masks: (L-1, B, T, D·H) dropout between layers, or None.
            seen: gets the tensors computed on the way, by the names of `shared/protocol/trace.py`.
        """
        if self.network.embedding_size is not None:
            x = self.embedding.weight[...][inputs]
        elif self.signature.tokens:
            x = jax.nn.one_hot(inputs, self.signature.input_size, dtype=self.param_dtype)
        else:
            x = inputs
        layers: list[Array] | None = None if seen is None else []
        hx = state if self.network.cell == "lstm" else state[0]
        outputs, final = self.rnn.run(x, hx, lengths, masks, layers=layers)
        if not self.signature.per_step:  # of each direction that of its last step
            directions = 2 if self.network.bidirectional else 1
            outputs = jnp.concatenate([*final[0][-directions:]], axis=-1)
        logits = self.head(outputs, self.embedding.weight[...] if self.network.tied else None)
        if self.network.highway:
            logits = logits + self.highway(inputs[:, -self.network.highway :])
        if seen is not None:
            seen |= trace.forward(x, layers or [outputs], final, logits)
        return logits, final


@lru_cache(maxsize=8)
def without_numbers(
    network: NetworkConfig, signature: Signature, implementation: str, dtype: Any
) -> Network:
    """Returns a network without numbers, only with its shapes: its weights come from `shared`, so
    nothing is drawn here. It is made once, since a diagnosis has a backend for each of its
    suspects."""
    return nnx.eval_shape(
        lambda: Network(network, signature, implementation, param_dtype=dtype, rngs=nnx.Rngs(0))
    )


class Linear(nnx.Module):
    """x Wᵀ + b with torch.nn.Linear's names, shapes and initial values.

    Args:
        bare: W comes with each call.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        param_dtype: jax.typing.DTypeLike,
        rngs: nnx.Rngs,
        *,
        bare: bool = False,
    ):
        bound = 1 / math.sqrt(inputs)
        draw = jax.nn.initializers.uniform(2 * bound)
        if not bare:
            self.weight = nnx.Param(draw(rngs.params(), (outputs, inputs), param_dtype) - bound)
        self.bias = nnx.Param(draw(rngs.params(), (outputs,), param_dtype) - bound)

    def __call__(
        self, x: Float[Array, "*B I"], weight: Float[Array, "O I"] | None = None
    ) -> Float[Array, "*B O"]:
        weight = self.weight[...] if weight is None else weight
        # The bias as the weight of an input that is always 1: so its gradient is a product, as
        # `sharding.total` wants it.
        return x @ weight.T + jnp.ones_like(x[..., :1]) @ self.bias[None]


class Highway(nnx.Module):
    """W x over the features of a sequence's last steps, an autoregression (Lai et al. 2018)."""

    def __init__(
        self, inputs: int, outputs: int, param_dtype: jax.typing.DTypeLike, rngs: nnx.Rngs
    ):
        bound = 1 / math.sqrt(inputs)
        draw = jax.nn.initializers.uniform(2 * bound)
        self.weight = nnx.Param(draw(rngs.params(), (outputs, inputs), param_dtype) - bound)

    def __call__(self, x: Float[Array, "B N I"]) -> Float[Array, "B O"]:
        return x.reshape(len(x), -1) @ self.weight[...].T


class Table(nnx.Module):
    """An embedding's rows, standard normal at first as in torch.nn.Embedding."""

    def __init__(self, shape: tuple[int, int], param_dtype: jax.typing.DTypeLike, rngs: nnx.Rngs):
        self.weight = nnx.Param(jax.random.normal(rngs.params(), shape, param_dtype))
