"""RNN, LSTM and GRU: cells over time, stacked in layers and directions, as Flax nnx modules.

    layer = LSTM(10, 64, num_layers=2, bidirectional=True, batch_first=True, rngs=nnx.Rngs(0))
    output, (h, c) = layer(x, lengths=lengths)

They are the twins of torch.nn.RNN, LSTM and GRU: the same arguments, results and numbers, the same
parameters under the same names. In place of a packed sequence they take lengths. What a layer
computes is in `cells.py`, `recurrence.py` and `stack.py`; `bptt.py` computes the same in less time.
"""

import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from rnn_jax.stack import Device, Hidden, Inputs, Keys, Lengths, Masks, Memory, Outputs, Recurrent
from shared.config.settings import Nonlinearity
from shared.protocol import LayerConfig
from shared.protocol.checks import check_no_projection


class RNN(Recurrent):
    """Elman network h' = f(x W_ihᵀ + b_ih + h W_hhᵀ + b_hh), the twin of torch.nn.RNN.

    https://docs.pytorch.org/docs/stable/generated/torch.nn.RNN.html

    Args:
        input_size: I, features of a step's input.
        hidden_size: H, features of the state.
        num_layers: L, layers, each reading the outputs of the one below.
        nonlinearity: f, "tanh" or "relu".
        bias: whether there are b_ih and b_hh.
        batch_first: input and output are (B, T, …) instead of (T, B, …); never the state.
        dropout: probability of dropping an output between two layers, if not deterministic.
        bidirectional: D is 2: each layer also walks from the last step to the first.
        device: jax.Device or Sharding of the parameters; None leaves it to JAX.
        dtype: of the computation; by default that to which input, state and weights promote.
        param_dtype: of the parameters.
        autodiff: True leaves gradients to JAX, which takes longer but knows forward mode (jvp,
            jacfwd); False leaves them to `rnn_jax.bptt` where that has a backward pass.
        rngs: keys "params" for the initial values, uniform on ±1/√H, and "dropout" for dropout.

    Raises:
        TypeError, ValueError: an argument that torch.nn.RNN refuses.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: Nonlinearity = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        device: Device = None,
        dtype: DTypeLike | None = None,
        param_dtype: DTypeLike = jnp.float32,
        autodiff: bool = False,
        rngs: nnx.Rngs,
        proj_size: None = None,
    ):
        check_no_projection("RNN", proj_size)
        config = LayerConfig(
            "rnn",
            input_size,
            hidden_size,
            num_layers,
            nonlinearity,
            bias,
            batch_first,
            dropout,
            bidirectional,
        )
        super().__init__(config, device, dtype, param_dtype, autodiff, rngs)
        self.nonlinearity = nonlinearity

    def __call__(
        self,
        x: Inputs,
        state: Hidden | None = None,
        *,
        lengths: Lengths | None = None,
        masks: Masks | None = None,
        deterministic: bool | None = None,
        rngs: Keys | None = None,
    ) -> tuple[Outputs, Hidden]:
        """Runs all layers over a batch of sequences, or over one.

        Args:
            x: (T, B, I); (B, T, I) with batch_first; (T, I) for one sequence without a batch.
            state: h before the first step, (L·D, B, H), or (L·D, H) for one sequence; zeros if
                None.
            lengths: (B,) integers in [1, T], or () for one sequence: the steps of each sequence,
                the rest being padding. None: all have T.
            masks: (L-1, *output) factors for the outputs between layers, in place of the layer's
                own dropout: dropout as data, so that two frameworks can drop the same units.
            deterministic: True switches the layer's dropout off, False on; None leaves it to
                `layer.eval()` and `layer.train()`. Default on, as in flax.nnx.Dropout.
            rngs: keys for dropout, instead of those that the layer was made with.

        Returns:
            The last layer's outputs in the layout of the input, with D·H features, the forward
            direction's before the reverse one's, and zeros beyond a sequence's length; and h after
            each sequence's last step, in the form of `state`.

        Raises:
            ValueError: an input of neither 2 nor 3 axes or not of real numbers, lengths outside
                [1, T] (which are not seen where jit or vmap trace them) or of another shape, or
                masks of another shape.
            RuntimeError: any other wrong shape.
            TypeError: an input that is no array, lengths that are not integers, or a state that is
                not a single array.
        """
        output, (h,) = self.run(x, state, lengths, masks, deterministic, rngs)
        return output, h


class LSTM(Recurrent):
    """Long short-term memory (`rnn_jax.cells.lstm`), the twin of torch.nn.LSTM.

    https://docs.pytorch.org/docs/stable/generated/torch.nn.LSTM.html

    The arguments are those of `RNN` without `nonlinearity`, and

    Args:
        proj_size: P, features to which h is projected (Sak et al. 2014); 0 for no projection.

    Raises:
        TypeError, ValueError: an argument that torch.nn.LSTM refuses.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        *,
        device: Device = None,
        dtype: DTypeLike | None = None,
        param_dtype: DTypeLike = jnp.float32,
        autodiff: bool = False,
        rngs: nnx.Rngs,
    ):
        config = LayerConfig(
            "lstm",
            input_size,
            hidden_size,
            num_layers,
            bias=bias,
            batch_first=batch_first,
            dropout=dropout,
            bidirectional=bidirectional,
            proj_size=proj_size,
        )
        super().__init__(config, device, dtype, param_dtype, autodiff, rngs)

    def __call__(
        self,
        x: Inputs,
        state: tuple[Hidden, Memory] | None = None,
        *,
        lengths: Lengths | None = None,
        masks: Masks | None = None,
        deterministic: bool | None = None,
        rngs: Keys | None = None,
    ) -> tuple[Outputs, tuple[Hidden, Memory]]:
        """Runs as `RNN.__call__`, with the state (h, c): h of P features, c of H."""
        output, (h, c) = self.run(x, state, lengths, masks, deterministic, rngs)
        return output, (h, c)


class GRU(Recurrent):
    """Gated recurrent unit (`rnn_jax.cells.gru`), the twin of torch.nn.GRU.

    https://docs.pytorch.org/docs/stable/generated/torch.nn.GRU.html

    The arguments are those of `RNN` without `nonlinearity`.

    Raises:
        TypeError, ValueError: an argument that torch.nn.GRU refuses.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        device: Device = None,
        dtype: DTypeLike | None = None,
        param_dtype: DTypeLike = jnp.float32,
        autodiff: bool = False,
        rngs: nnx.Rngs,
        proj_size: None = None,
    ):
        check_no_projection("GRU", proj_size)
        config = LayerConfig(
            "gru",
            input_size,
            hidden_size,
            num_layers,
            bias=bias,
            batch_first=batch_first,
            dropout=dropout,
            bidirectional=bidirectional,
        )
        super().__init__(config, device, dtype, param_dtype, autodiff, rngs)

    def __call__(
        self,
        x: Inputs,
        state: Hidden | None = None,
        *,
        lengths: Lengths | None = None,
        masks: Masks | None = None,
        deterministic: bool | None = None,
        rngs: Keys | None = None,
    ) -> tuple[Outputs, Hidden]:
        """Runs as `RNN.__call__`."""
        output, (h,) = self.run(x, state, lengths, masks, deterministic, rngs)
        return output, h


Layer = RNN | LSTM | GRU


def make(
    config: LayerConfig,
    *,
    device: Device = None,
    dtype: DTypeLike | None = None,
    param_dtype: DTypeLike = jnp.float32,
    autodiff: bool = False,
    rngs: nnx.Rngs,
) -> Layer:
    """Makes the layer with these arguments."""
    kind = {"rnn": RNN, "lstm": LSTM, "gru": GRU}[config.cell]
    options = {"device": device, "dtype": dtype, "param_dtype": param_dtype}
    return kind(**config.arguments(), **options, autodiff=autodiff, rngs=rngs)
