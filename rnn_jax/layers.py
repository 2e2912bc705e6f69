"""RNN, LSTM and GRU: cells over time, stacked in layers and directions, as Flax nnx modules.

    layer = LSTM(10, 64, num_layers=2, bidirectional=True, batch_first=True, rngs=nnx.Rngs(0))
    output, (h, c) = layer(x)

Parameters have the names, shapes and gate order of torch.nn.LSTM (`shared/weights.py`), and the
call returns what it returns.
"""

import math

import jax
import jax.numpy as jnp
from flax import nnx

from rnn_jax.cells import CELLS, State
from rnn_jax.recurrence import recur
from shared.weights import STATES, recurrent_shapes, suffixes


class Recurrent(nnx.Module):
    """What the three layers have in common."""

    def __init__(
        self,
        kind: str,
        cell: str,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        bidirectional: bool = False,
        batch_first: bool = False,
        param_dtype: jax.typing.DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ):
        self.kind = kind
        self.cell = cell
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bidirectional = bidirectional
        self.batch_first = batch_first
        shapes = recurrent_shapes(kind, input_size, hidden_size, num_layers, bidirectional)
        bound = 1 / math.sqrt(hidden_size)
        for name, shape in shapes.items():
            values = jax.random.uniform(rngs.params(), shape, param_dtype, -bound, bound)
            setattr(self, name, nnx.Param(values))

    def __call__(
        self, x: jax.Array, state: State | None = None, *, masks: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        """Runs all layers over a batch of sequences.

        Args:
            x: (T, B, I) inputs; (B, T, I) with batch_first.
            state: (h,) or (h, c) before the first step, each (L·D, B, H); None for zeros.
            masks: (L-1, B, T, D·H) factors for the outputs between layers: dropout as data, so that
                two frameworks can drop the same units. None keeps everything.

        Returns:
            Outputs of the last layer (T, B, D·H), or (B, T, D·H) with batch_first, and the final
            state in the form of `state`.
        """
        if self.batch_first:
            x = jnp.swapaxes(x, 0, 1)
        if state is None:
            shape = (
                self.num_layers * (2 if self.bidirectional else 1),
                x.shape[1],
                self.hidden_size,
            )
            state = (jnp.zeros(shape, x.dtype),) * len(STATES[self.kind])
        finals = []
        for layer, endings in enumerate(suffixes(self.num_layers, self.bidirectional)):
            if layer > 0 and masks is not None:
                x = x * jnp.swapaxes(masks[layer - 1], 0, 1)
            directions = []
            for ending in endings:
                before = tuple(part[len(finals)] for part in state)
                outputs, final = self._direction(x, before, ending)
                directions.append(outputs)
                finals.append(final)
            x = jnp.concatenate(directions, axis=-1)
        state = tuple(jnp.stack(parts) for parts in zip(*finals, strict=True))
        return (jnp.swapaxes(x, 0, 1) if self.batch_first else x), state

    def _direction(self, x: jax.Array, state: State, ending: str) -> tuple[jax.Array, State]:
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        weights = (getattr(self, name + ending)[...] for name in names)
        return recur(CELLS[self.cell], x, state, *weights, reverse=ending.endswith("_reverse"))


class RNN(Recurrent):
    """Elman network, h' = f(x W_ihᵀ + b_ih + h W_hhᵀ + b_hh), f = tanh or relu; see torch.nn.RNN"""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        **options,
    ):
        super().__init__(
            "rnn", f"rnn_{nonlinearity}", input_size, hidden_size, num_layers, **options
        )


class LSTM(Recurrent):
    """Long short-term memory; state (h, c); see `rnn_jax.cells.lstm` and torch.nn.LSTM."""

    def __init__(self, input_size: int, hidden_size: int, num_layers: int = 1, **options):
        super().__init__("lstm", "lstm", input_size, hidden_size, num_layers, **options)


class GRU(Recurrent):
    """Gated recurrent unit; see `rnn_jax.cells.gru` and torch.nn.GRU."""

    def __init__(self, input_size: int, hidden_size: int, num_layers: int = 1, **options):
        super().__init__("gru", "gru", input_size, hidden_size, num_layers, **options)
