"""Layers of other libraries → layers of this one, and back to Flax's own: value for value.

    layer = from_torch(torch.nn.LSTM(10, 64, num_layers=2))
    layer = from_flax(nnx.RNN(rnn_jax.GRUCell(10, 64, rngs=nnx.Rngs(0))))
    first, second = to_flax(layer)

Flax's cells have a single bias where torch has two. What they cannot hold is refused. With
`one_bias` the caller accepts a layer that computes the same and trains differently.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, get_args

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from rnn_jax.layers import Layer, make
from rnn_jax.native import bias_name, cell_params, cell_tensors, make_cell
from rnn_jax.nnx_cells import Recurrence
from rnn_jax.stack import Recurrent
from shared.config.settings import Cell, Nonlinearity
from shared.errors import InvalidInput
from shared.protocol import LayerConfig
from shared.protocol.checks import check_inherited, check_one_dtype, check_tensors, named
from shared.protocol.exchange import CanonicalLayer, canonical_layer
from shared.protocol.weights import Weights

FlaxLayer = nnx.RNN | nnx.Bidirectional
_CELLS: dict[type, Cell] = {
    nnx.SimpleCell: "rnn",
    nnx.LSTMCell: "lstm",
    nnx.OptimizedLSTMCell: "lstm",
    nnx.GRUCell: "gru",
}
_ACTIVATIONS: dict[Any, Nonlinearity] = {nnx.tanh: "tanh", nnx.relu: "relu"}


def from_torch(module: Any, *, rngs: nnx.Rngs | None = None) -> Layer:
    """Makes the twin of a torch layer: the same arguments, dtype and values, in training or
    evaluation.

    Args:
        module: a torch.nn.RNN, LSTM or GRU, or one of `rnn_torch`.
        rngs: keys for the layer's dropout; without them, a call that drops needs `rngs`.

    Raises:
        TypeError: another module.
        InvalidInput: parameters of float64 while JAX has none (jax_enable_x64), or of two dtypes.
    """
    return _build(canonical_layer("torch", module), rngs)


def from_flax(
    module: Recurrent | FlaxLayer | Sequence[FlaxLayer], *, one_bias: bool = False
) -> Layer:
    """Makes the layer that computes the same as Flax's own layers.

    Args:
        module: `flax.nnx.RNN` or `Bidirectional` over Flax's cells or those of `rnn_jax`, or a
            layer of `rnn_jax`, which is copied. Several, each of which reads the outputs of the one
            before, become one layer with num_layers.
        one_bias: take the single bias of Flax's cells as bias_ih beside a bias_hh of zero. The
            result computes the same, but trains differently: two biases move twice as far.

    Raises:
        TypeError: another module.
        InvalidInput: what has no counterpart, named with the reason: a single bias that is not
            zero, without `one_bias`; other activations; layers that do not fit together.
    """
    return _build(canonical(module, one_bias=one_bias), None)


def to_flax(layer: Recurrent, *, one_bias: bool = False) -> list[FlaxLayer]:
    """Makes Flax's own layers that compute the same as a layer: one `flax.nnx.RNN` for each of its
    num_layers, or `Bidirectional`. Dropout between them is not part of them.

    Args:
        one_bias: give Flax's cells bias_ih + bias_hh. The result computes the same, but trains
            differently, and there is no way back to the two.

    Raises:
        InvalidInput: what Flax cannot hold, named with the reason: two biases, without `one_bias`;
            a GRU's b_hn that is not zero; a projection.
    """
    config, weights = layer.layer_config, layer.state_dict()
    if config.proj_size:
        raise InvalidInput("weight_hr_l0: Flax's cells have no projection, expected proj_size 0")
    features, major = config.input_size, not config.batch_first
    layers = []
    for endings in config.suffixes():
        rnns = []
        for ending in endings:
            cell = make_cell(config, features, layer.param_dtype, nnx.Rngs(0), layer.dtype)
            names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            no_bias = np.zeros(len(weights[f"weight_ih{ending}"]), layer.param_dtype)
            tensors = {name: weights.get(f"{name}{ending}", no_bias) for name in names}
            _check_bias(config, tensors["bias_hh"], ending, one_bias)
            for name, array in cell_params(config.cell, tensors).items():
                owner, _, leaf = name.partition(".")
                getattr(getattr(cell, owner), leaf)[...] = jnp.asarray(array)
            rnns.append(nnx.RNN(cell, time_major=major))
        layers.append(rnns[0] if len(rnns) == 1 else nnx.Bidirectional(*rnns, time_major=major))
        features = config.directions * config.hidden_size
    return layers


def canonical(module: Any, *, one_bias: bool = False) -> CanonicalLayer:
    """Returns a layer of this package or of Flax in the canonical layout; `one_bias` as in
    `from_flax`."""
    check_inherited(module, get_args(Layer), "__call__")
    if isinstance(module, Recurrent):
        training = not (module.dropout and module.drop.deterministic)
        dtype = None if module.dtype is None else jnp.dtype(module.dtype)
        return CanonicalLayer(module.layer_config, module.state_dict(), training, dtype)
    modules = _several(module)
    layers = [_directions(layer) for layer in modules]
    config, _ = _read_cell(layers[0][0].cell, "_l0", one_bias)
    major = modules[0].time_major  # Bidirectional's own, which its two RNNs follow
    config = replace(
        config,
        num_layers=len(layers),
        bidirectional=len(layers[0]) == 2,
        batch_first=not major,
    )
    weights: Weights = {}
    for number, (layer, rnns) in enumerate(zip(modules, layers, strict=True)):
        for rnn, end in zip(rnns, ("", "_reverse"), strict=False):
            ending = f"_l{number}{end}"
            other, tensors = _read_cell(rnn.cell, ending, one_bias)
            if (other.mode, layer.time_major) != (config.mode, major):
                raise InvalidInput(
                    f"weight_ih{ending}: expected {config.mode} and time_major={major} "
                    f"as in the first layer, got {other.mode} and time_major={layer.time_major}"
                )
            weights |= {f"{name}{ending}": array for name, array in tensors.items()}
    check_tensors(config.shapes(), weights)
    return CanonicalLayer(config, weights, True, _computed_in(layers))


def _computed_in(layers: Sequence[Sequence[nnx.RNN]]) -> np.dtype | None:
    """Returns the dtype in which Flax's cells compute; None if they promote."""
    cells: list[Any] = [rnn.cell for rnns in layers for rnn in rnns]
    dtypes = {None if cell.dtype is None else jnp.dtype(cell.dtype) for cell in cells}
    if len(dtypes) > 1:
        raise InvalidInput(f"dtype: expected the same in all cells, got {dtypes}")
    return dtypes.pop()


def _several(module: Any) -> list[Any]:
    """Returns the layers in a list, or the one layer as a list."""
    modules = list(module) if isinstance(module, (list, tuple, nnx.List)) else [module]
    if not modules:
        raise InvalidInput("expected at least one layer, got none")
    return modules


def _build(found: CanonicalLayer, rngs: nnx.Rngs | None) -> Layer:
    config, weights, training, computed_in = found
    check_one_dtype(weights)
    dtype = weights["weight_ih_l0"].dtype
    if jax.dtypes.canonicalize_dtype(dtype) != dtype:
        raise InvalidInput(
            f"weight_ih_l0: expected {jax.dtypes.canonicalize_dtype(dtype)}, got {dtype}, which "
            'JAX holds after jax.config.update("jax_enable_x64", True)'
        )
    layer = make(replace(config, dropout=0.0), param_dtype=dtype, rngs=nnx.Rngs(0))
    layer.load_state_dict(weights)
    layer.dtype = computed_in
    if config.dropout:
        layer.drop = nnx.Dropout(config.dropout, deterministic=not training, rngs=rngs)
    return layer


def _directions(layer: Any) -> list[nnx.RNN]:
    """Returns the one or two `flax.nnx.RNN` of a layer, forward first."""
    if isinstance(layer, nnx.Bidirectional):
        if layer.merge_fn is not nnx.Bidirectional.merge_fn:
            raise InvalidInput("merge_fn: expected Flax's own, which concatenates, got another")
        rnns: list[Any] = [layer.forward_rnn, layer.backward_rnn]
    else:
        rnns = [layer]
    for rnn in [layer, *rnns]:
        check_inherited(rnn, (nnx.RNN, nnx.Bidirectional), "__call__")
    for rnn in rnns:
        if not isinstance(rnn, nnx.RNN):
            expected = "flax.nnx.RNN or Bidirectional or a layer of rnn_jax"
            raise TypeError(f"expected {expected}, got {named(rnn)}")
        if rnn.reverse and len(rnns) == 1:  # Bidirectional decides itself
            raise InvalidInput("reverse: expected False, only Bidirectional walks backwards")
    return rnns


def _read_cell(cell: Any, ending: str, one_bias: bool) -> tuple[LayerConfig, Weights]:
    """Returns arguments and canonical tensors of a cell, the names without ending."""
    check_inherited(cell, (Recurrence,), "__call__")
    if isinstance(cell, Recurrence):
        names = [name.removesuffix("_l0") for name in cell.layer_config.shapes()]
        return cell.layer_config, {name: np.asarray(getattr(cell, name)[...]) for name in names}
    if type(cell) not in _CELLS:
        expected = "SimpleCell, LSTMCell, OptimizedLSTMCell or GRUCell of flax.nnx, or of rnn_jax"
        raise TypeError(f"expected {expected}, got {named(cell)}")
    kind = _CELLS[type(cell)]
    if cell.carry_init not in (None, nnx.initializers.zeros, nnx.initializers.zeros_init()):
        raise InvalidInput(
            f"weight_hh{ending}: expected a cell whose state starts at zero, got one with "
            "carry_init"
        )
    activation = _ACTIVATIONS.get(cell.activation_fn)
    if activation is None or (kind != "rnn" and activation != "tanh"):
        raise InvalidInput(
            f"weight_ih{ending}: expected activation_fn tanh, got {cell.activation_fn}"
        )
    if kind == "rnn" and cell.residual:
        raise InvalidInput(f"weight_hh{ending}: expected a cell without residual, got one with")
    if kind != "rnn" and cell.gate_fn is not nnx.sigmoid:
        raise InvalidInput(f"weight_ih{ending}: expected gate_fn sigmoid, got {cell.gate_fn}")
    tensors = cell_tensors(kind, _flax_params(cell))
    if tensors["bias_ih"].any() and not one_bias:
        raise InvalidInput(
            f"bias_ih{ending}, bias_hh{ending}: Flax's {type(cell).__name__} has a single bias "
            f"({bias_name(kind)}), which does not say how the two divide it; with one_bias=True it "
            "becomes bias_ih"
        )
    config = LayerConfig(kind, cell.in_features, cell.hidden_features, nonlinearity=activation)
    return config, tensors


def _flax_params(cell: Any) -> Weights:
    """Returns a Flax cell's parameters under the names of `native.cell_params`."""
    if not isinstance(cell, nnx.LSTMCell):
        params = {
            f"{owner}.{leaf}": getattr(getattr(cell, owner), leaf)
            for owner in ("dense_i", "dense_h")
            for leaf in ("kernel", "bias")
        }
        return {name: np.asarray(p[...]) for name, p in params.items() if p is not None}
    # LSTMCell has one Linear for each gate.
    inputs: list[Any] = [cell.ii, cell.if_, cell.ig, cell.io]
    hidden: list[Any] = [cell.hi, cell.hf, cell.hg, cell.ho]
    return {
        "dense_i.kernel": np.concatenate([gate.kernel[...] for gate in inputs], axis=1),
        "dense_h.kernel": np.concatenate([gate.kernel[...] for gate in hidden], axis=1),
        "dense_h.bias": np.concatenate([gate.bias[...] for gate in hidden]),
    }


def _check_bias(config: LayerConfig, bias_hh: np.ndarray, ending: str, one_bias: bool) -> None:
    if config.cell == "gru" and bias_hh[2 * config.hidden_size :].any():
        raise InvalidInput(
            f"bias_hh{ending}: flax.nnx.GRUCell has no b_hn, the last third of bias_hh; expected "
            "zeros there, got other values"
        )
    if bias_hh.any() and not one_bias:
        raise InvalidInput(
            f"bias_hh{ending}: Flax's cells have a single bias, expected a bias_hh of zeros, got "
            "other values; with one_bias=True the two are added, which cannot be undone"
        )
