"""RNNCell, LSTMCell and GRUCell: a single step as a Flax module.

    rnn = nnx.RNN(LSTMCell(10, 64, rngs=nnx.Rngs(0)), return_carry=True)
    (h, c), outputs = rnn(x)

They are for Flax's own machinery: flax.nnx.RNN, flax.nnx.Bidirectional, or a loop.

The carry is h, or (h, c) in PyTorch's order; Flax only passes it on. Parameters have the names and
shapes of torch.nn.RNNCell, LSTMCell and GRUCell, and both biases.
"""

import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from flax.nnx.nn.dtypes import canonicalize_dtype
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Float

from rnn_jax.cells import CELLS, Weights, linear
from rnn_jax.loading import load, read
from rnn_jax.stack import check_flax_arguments, is_array
from shared.config.settings import Nonlinearity
from shared.protocol import LayerConfig

Inputs = Float[Array | np.ndarray, "*B I"]
Hidden = Float[Array, "*B P"]
Memory = Float[Array, "*B H"]


class Recurrence(nnx.RNNCellBase):
    """The common part of the three cells."""

    def __init__(
        self,
        config: LayerConfig,
        dtype: DTypeLike | None,
        param_dtype: DTypeLike,
        rngs: nnx.Rngs,
    ):
        check_flax_arguments(config, dtype, param_dtype, rngs)
        self.layer_config = config
        self.dtype = dtype
        self.param_dtype = param_dtype
        bound = 1 / math.sqrt(config.hidden_size)
        for name, shape in config.cell_shapes().items():
            values = jax.random.uniform(rngs.params(), shape, param_dtype, -bound, bound)
            setattr(self, name, nnx.Param(values))

    def __call__(self, carry: Any, inputs: Inputs) -> tuple[Any, Hidden]:
        """Takes one step.

        Args:
            carry: h (…, H); for `LSTMCell` (h, c), h with P features.
            inputs: (…, I).

        Returns:
            The carry after the step, and its h.

        Raises:
            TypeError: a carry that is not a single array, or for `LSTMCell` not a pair; inputs or
                a carry of anything but real numbers.
            RuntimeError: inputs or a carry of another shape.
        """
        state = self._checked(carry, inputs)
        params: list[Any] = [getattr(self, name, None) for name in Weights._fields]
        arrays = [None if param is None else param[...] for param in params]
        dtype = canonicalize_dtype(inputs, *state, *arrays, dtype=self.dtype)
        cast: list[Any] = [None if array is None else array.astype(dtype) for array in arrays]
        weights = Weights(*cast)
        projected = linear(jnp.asarray(inputs[...], dtype), weights.weight_ih, weights.bias_ih)
        before = tuple(jnp.asarray(part[...], dtype) for part in state)
        state = CELLS[self.layer_config.mode](projected, before, weights)
        return (state if isinstance(carry, tuple) else state[0]), state[0]

    def state_dict(self) -> dict[str, np.ndarray]:
        """Returns all parameters by name, with the names and shapes of torch.nn's cell."""
        return read(self, self.layer_config.cell_shapes())

    def load_state_dict(self, tensors: Mapping[str, Any]) -> None:
        """Takes over all parameters: of `state_dict`, of a torch cell's, of a safetensors file.

        Values are cast to the dtype that the parameters have.

        Args:
            tensors: name → array of any framework.

        Raises:
            InvalidInput: a tensor is missing, unexpected, of another shape or not of real numbers,
                or two differ that are one parameter here; the cell then stays as it was.
        """
        load(self, self.layer_config.cell_shapes(), tensors)

    def _checked(self, carry: Any, inputs: Inputs) -> tuple[Any, ...]:
        """Returns the carry as a tuple, after checks."""
        config = self.layer_config
        name, sizes = f"{config.name}Cell", [size for _, size in config.state_shapes(None)]
        state = carry if isinstance(carry, tuple) else (carry,)
        if isinstance(carry, tuple) != (len(sizes) > 1) or len(state) != len(sizes):
            wanted = "a pair (h, c)" if len(sizes) > 1 else "one array h"
            got = "one array" if is_array(carry) else type(carry).__name__
            got = f"{len(state)} in a tuple" if isinstance(carry, tuple) else got
            raise TypeError(f"{name}: expected {wanted} as carry, got {got}")
        carries = zip(("a carry h", "a carry c"), state, sizes, strict=False)
        found: list[Any] = [("inputs", inputs, config.input_size), *carries]
        for what, array, size in found:
            if not is_array(array) or not jnp.issubdtype(array.dtype, jnp.floating):
                got = array.dtype if is_array(array) else type(array).__name__
                raise TypeError(
                    f"{name}: expected {what} to be an array of real numbers, got {got}"
                )
            if array.shape[-1:] != (size,) or array.shape[:-1] != inputs.shape[:-1]:
                batch = "…" if what == "inputs" else ", ".join(map(str, inputs.shape[:-1])) or "…"
                raise RuntimeError(
                    f"{name}: expected {what} of shape ({batch}, {size}), got {array.shape}"
                )
        return state

    def initialize_carry(
        self,
        input_shape: tuple[int, ...],
        rngs: nnx.Rngs | nnx.RngStream | None = None,
        carry_init: nnx.Initializer | None = None,
    ) -> Any:
        """Returns the carry before the first step, for inputs of shape (…, I). It has zeros, or the
        values of `carry_init(key, shape, dtype)` with keys from `rngs`."""
        dtype = self.dtype or self.param_dtype
        stream = rngs.carry if isinstance(rngs, nnx.Rngs) else rngs
        parts = []
        for _, features in self.layer_config.state_shapes(None):
            shape = (*input_shape[:-1], features)
            if carry_init is None:
                parts.append(jnp.zeros(shape, dtype))
            elif stream is None:
                raise ValueError("carry_init: expected rngs beside it, got None")
            else:
                parts.append(carry_init(stream(), shape, dtype))
        return tuple(parts) if len(parts) > 1 else parts[0]

    @property
    def num_feature_axes(self) -> int:
        return 1


class RNNCell(Recurrence):
    """Elman cell (`rnn_jax.cells.rnn_tanh`), the arguments being those of `rnn_jax.RNN`."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: Nonlinearity = "tanh",
        *,
        dtype: DTypeLike | None = None,
        param_dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ):
        config = LayerConfig("rnn", input_size, hidden_size, nonlinearity=nonlinearity, bias=bias)
        super().__init__(config, dtype, param_dtype, rngs)


class LSTMCell(Recurrence):
    """LSTM cell (`rnn_jax.cells.lstm`), the arguments being those of `rnn_jax.LSTM`."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        proj_size: int = 0,
        *,
        dtype: DTypeLike | None = None,
        param_dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ):
        config = LayerConfig("lstm", input_size, hidden_size, bias=bias, proj_size=proj_size)
        super().__init__(config, dtype, param_dtype, rngs)


class GRUCell(Recurrence):
    """GRU cell (`rnn_jax.cells.gru`), the arguments being those of `rnn_jax.GRU`."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        *,
        dtype: DTypeLike | None = None,
        param_dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ):
        config = LayerConfig("gru", input_size, hidden_size, bias=bias)
        super().__init__(config, dtype, param_dtype, rngs)


Cell = RNNCell | LSTMCell | GRUCell


def make_cell(
    config: LayerConfig,
    *,
    dtype: DTypeLike | None = None,
    param_dtype: DTypeLike = jnp.float32,
    rngs: nnx.Rngs,
) -> Cell:
    """Makes the cell with these arguments."""
    kind = {"rnn": RNNCell, "lstm": LSTMCell, "gru": GRUCell}[config.cell]
    options = {"dtype": dtype, "param_dtype": param_dtype, "rngs": rngs}
    return kind(**config.cell_arguments(), **options)
