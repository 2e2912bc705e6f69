"""The common part of RNN, LSTM and GRU: layers and directions around one recurrence.

A call checks its input and brings it into one form: time first, batched, in one dtype, with the
state as a tuple. It walks through the layers, and gives the result back in the form of the input.
"""

import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from flax import nnx
from flax.nnx.nn.dtypes import canonicalize_dtype
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Float, Integer

from rnn_jax import bptt, recurrence
from rnn_jax.cells import CELLS, State, Weights
from rnn_jax.loading import load, read
from shared.protocol import LayerConfig
from shared.protocol.checks import (
    check_input,
    check_kind,
    check_lengths,
    check_masks,
    check_state,
    warn_of_idle_dropout,
)

Inputs = Float[Array | np.ndarray, "*TB I"]
Outputs = Float[Array, "*TB DP"]
Hidden = Float[Array | np.ndarray, "LD *B P"]
Memory = Float[Array | np.ndarray, "LD *B H"]
Stacked = tuple[Float[Array, "LD *B _"], ...]
Lengths = Integer[Array | np.ndarray, "*B"]
Masks = Float[Array | np.ndarray, "L1 *TB DP"]
Device = Any  # jax.Device or jax.sharding.Sharding, of which checkers know no type
Keys = nnx.Rngs | nnx.RngStream | Array


class Recurrent(nnx.Module):
    """The common part of the three layers."""

    def __init__(
        self,
        config: LayerConfig,
        device: Device,
        dtype: DTypeLike | None,
        param_dtype: DTypeLike,
        autodiff: bool,
        rngs: nnx.Rngs,
    ):
        check_flax_arguments(config, dtype, param_dtype, rngs)
        warn_of_idle_dropout(config, stacklevel=6)  # three frames are Flax's
        self.mode = config.mode
        self._cell = CELLS[config.mode]  # rnn_jax/traps.py puts another in its place
        self.input_size = config.input_size
        self.hidden_size = config.hidden_size
        self.num_layers = config.num_layers
        self.bias = config.bias
        self.batch_first = config.batch_first
        self.bidirectional = config.bidirectional
        self.proj_size = config.proj_size
        self.dtype = dtype
        self.param_dtype = param_dtype
        self.autodiff = autodiff
        bound = 1 / math.sqrt(config.hidden_size)
        for name, shape in config.shapes().items():
            values = jax.random.uniform(rngs.params(), shape, param_dtype, -bound, bound)
            setattr(
                self, name, nnx.Param(values if device is None else jax.device_put(values, device))
            )
        if config.dropout > 0:
            self.drop = nnx.Dropout(float(config.dropout), rngs=rngs)

    @property
    def dropout(self) -> float:
        """Probability of dropping an output between two layers; `layer.drop.rate` changes it."""
        return self.drop.rate if hasattr(self, "drop") else 0.0

    @property
    def layer_config(self) -> LayerConfig:
        """The layer's arguments."""
        cell, _, nonlinearity = self.mode.lower().partition("_")
        return LayerConfig(
            cell,  # pyright: ignore[reportArgumentType]
            self.input_size,
            self.hidden_size,
            self.num_layers,
            nonlinearity or "tanh",  # pyright: ignore[reportArgumentType]
            self.bias,
            self.batch_first,
            self.dropout,
            self.bidirectional,
            self.proj_size,
        )

    def by_hand(self, dtype: Any) -> bool:
        """Tells whether a call with numbers of this dtype has the backward pass of
        `rnn_jax.bptt`."""
        return not self.autodiff and not self.proj_size and bptt.supports(self._cell, dtype)

    def path(self, dtype: Any) -> str:
        """Tells how a call with numbers of this dtype is computed, as a run records it."""
        backward = "by hand (rnn_jax/bptt.py)" if self.by_hand(dtype) else "by autodiff"
        return f"jax.lax.scan over the handcrafted cell, gradients {backward}"

    def state_dict(self) -> dict[str, np.ndarray]:
        """Returns all parameters by name, with the names and shapes of torch.nn's layer."""
        return read(self, self.layer_config.shapes())

    def load_state_dict(self, tensors: Mapping[str, Any]) -> None:
        """Takes over all parameters: of `state_dict`, of a torch layer's, of a safetensors file.

        Values are cast to the dtype that the parameters have.

        Args:
            tensors: name → array of any framework.

        Raises:
            InvalidInput: a tensor is missing, unexpected, of another shape or not of real numbers,
                or two differ that are one parameter here; the layer then stays as it was.
        """
        load(self, self.layer_config.shapes(), tensors)

    def run(
        self,
        x: Inputs,
        state: Any,
        lengths: Lengths | None = None,
        masks: Masks | None = None,
        deterministic: bool | None = None,
        rngs: Keys | None = None,
        layers: list[Array] | None = None,
    ) -> tuple[Outputs, Stacked]:
        """Makes a call; the state is a tuple as in `cells.py`, and `layers` gets each layer's
        outputs."""
        config = self.layer_config
        x = _real(config, "input", x)
        check_input(config, x.shape)
        batched = x.ndim == 3
        swapped = batched and config.batch_first
        steps, batch = (x.shape[1], x.shape[0]) if swapped else x.shape[:2]
        initial: tuple[Any, ...] = ()
        if state is not None:
            initial = check_state(config, state, batch if batched else None, is_array)
            initial = tuple(_real(config, "an initial state", part) for part in initial)
        if masks is not None:
            masks = _real(config, "masks", masks)
            check_masks(config, masks.shape, (*x.shape[:-1], self._width))
        if lengths is not None:
            lengths = _lengths(config, lengths, (batch,) if batched else (), steps)

        params = {name: getattr(self, name)[...] for name in config.shapes()}
        dtype = canonicalize_dtype(x, *initial, *params.values(), dtype=self.dtype)
        params = {name: param.astype(dtype) for name, param in params.items()}
        x = jnp.asarray(x, dtype)
        initial = tuple(jnp.asarray(part, dtype) for part in initial)
        masks = None if masks is None else jnp.asarray(masks, dtype)

        if not batched:
            x, initial = x[:, None], tuple(part[:, None] for part in initial)
            masks = None if masks is None else masks[:, :, None]
        elif swapped:
            x = jnp.swapaxes(x, 0, 1)
            masks = None if masks is None else jnp.swapaxes(masks, 1, 2)
        if lengths is not None:
            x, masks = _without_padding(x, masks, lengths)
        initial = initial or _zero_state(config, x)
        x, final = self._stack(
            config, params, x, lengths, initial, masks, deterministic, rngs, layers
        )

        def formed(x: Array) -> Array:
            return x[:, 0] if not batched else jnp.swapaxes(x, 0, 1) if swapped else x

        if layers is not None:
            layers[:] = [formed(x) for x in layers]
        if not batched:
            final = tuple(part[:, 0] for part in final)
        return formed(x), final

    def _stack(
        self,
        config: LayerConfig,
        params: dict[str, Array],
        x: Array,
        lengths: Array | None,
        state: Stacked,
        masks: Array | None,
        deterministic: bool | None,
        rngs: Keys | None,
        layers: list[Array] | None,
    ) -> tuple[Array, Stacked]:
        """Runs all layers and directions over (T, B, I), with the state (L·D, B, …)."""
        finals: list[State] = []
        for layer, endings in enumerate(config.suffixes()):
            if layer > 0 and masks is not None:
                x = x * masks[layer - 1]
            elif layer > 0 and self.dropout > 0:
                # A bare key would give every layer the same units to drop.
                key = jax.random.fold_in(rngs, layer) if isinstance(rngs, Array) else rngs
                x = self.drop(x, deterministic=deterministic, rngs=key)
            directions = []
            for ending in endings:
                before = tuple(part[len(finals)] for part in state)
                found: list[Any] = [params.get(name + ending) for name in Weights._fields]
                weights = Weights(*found)
                reverse = ending.endswith("_reverse")
                recur = bptt.recur if self.by_hand(x.dtype) else recurrence.recur
                output, final = recur(self._cell, x, lengths, before, weights, reverse)
                directions.append(output)
                finals.append(final)
            x = jnp.concatenate(directions, axis=-1)
            if layers is not None:
                layers.append(x)
        return x, tuple(jnp.stack(parts) for parts in zip(*finals, strict=True))

    @property
    def _width(self) -> int:
        """Features of the output."""
        return self.layer_config.directions * self.layer_config.output_size


def check_flax_arguments(
    config: LayerConfig, dtype: DTypeLike | None, param_dtype: DTypeLike, rngs: nnx.Rngs
) -> None:
    """Raises TypeError unless the dtypes are of real numbers and the keys in an `nnx.Rngs`."""
    check_kind(config, "rngs", rngs, isinstance(rngs, nnx.Rngs), "flax.nnx.Rngs")
    for name, kind in (("dtype", dtype), ("param_dtype", param_dtype)):
        if kind is not None and not jnp.issubdtype(kind, jnp.floating):
            raise TypeError(f"{name}: expected one of real numbers, got {kind}")


def is_array(value: Any) -> bool:
    return isinstance(value, Array | np.ndarray | nnx.Variable)


def _real(config: LayerConfig, what: str, value: Any) -> Array | np.ndarray:
    """Returns an array of real numbers, or that of a Variable such as a learned initial state."""
    check_kind(config, what, value, is_array(value), "an array of JAX or NumPy")
    array = value[...] if isinstance(value, nnx.Variable) else value
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise ValueError(f"{config.name}: expected {what} of real numbers, got {array.dtype}")
    return array


def _lengths(config: LayerConfig, lengths: Any, shape: tuple[int, ...], steps: int) -> Array:
    """Returns lengths of `shape`, (B,) or () for one sequence. Each is in [1, T], as far as can be
    seen: lengths that jit or vmap trace have no values yet."""
    traced = isinstance(lengths, jax.core.Tracer)
    lengths = lengths if traced else np.asarray(lengths)
    values = None if traced else lengths.ravel().tolist()
    check_lengths(config, lengths.shape, lengths.dtype.name, values, shape, steps)
    return jnp.asarray(lengths, jnp.int32).reshape(-1)


def _without_padding(
    x: Float[Array, "T B I"], masks: Array | None, lengths: Integer[Array, " B"]
) -> tuple[Array, Array | None]:
    """Returns input and masks with zeros in the padding. Not even a NaN there reaches a weight's
    gradient."""
    steps = jnp.arange(x.shape[0], dtype=lengths.dtype)
    within = (steps[:, None] < lengths[None])[..., None]
    masks = None if masks is None else jnp.where(within[None], masks, 0)
    return jnp.where(within, x, 0), masks


def _zero_state(config: LayerConfig, x: Float[Array, "T B I"]) -> Stacked:
    # Made of the input, zeros are sharded as its batch is: shard_map and explicit meshes want a
    # scan's state to stay as it begins.
    zero = jnp.zeros_like(x[:1, :, :1])
    return tuple(jnp.broadcast_to(zero, shape) for shape in config.state_shapes(x.shape[1]))
