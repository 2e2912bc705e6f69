"""Layers and cells of other libraries → those of this one, and back to Flax's own: value for value.

    layer = from_torch(torch.nn.LSTM(10, 64, num_layers=2))
    layer = from_flax(nnx.RNN(rnn_jax.GRUCell(10, 64, rngs=nnx.Rngs(0))))
    first, second = to_flax(layer)

Flax's cells have a single bias where torch has two. What they cannot hold is refused. With
`one_bias` the caller accepts a layer that computes the same and trains differently.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, get_args, overload

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from rnn_jax.cell_modules import Cell, Recurrence, make_cell
from rnn_jax.flax_cells import KINDS, CellTensors, read_cell, tie_cells, ties, write_cell
from rnn_jax.layers import Layer, make
from rnn_jax.stack import Recurrent
from rnn_jax.ties import tie, tied
from shared.errors import InvalidInput
from shared.protocol.checks import check_inherited, check_one_dtype, check_tensors, named
from shared.protocol.exchange import (
    CanonicalLayer,
    Layered,
    Omission,
    canonical_layer,
    warn_of_omissions,
)
from shared.protocol.weights import Weights

FlaxLayer = nnx.RNN | nnx.Bidirectional


@overload
def from_torch(module: Layered, *, rngs: nnx.Rngs | None = None) -> Layer: ...
@overload
def from_torch(module: Any, *, rngs: nnx.Rngs | None = None) -> Any: ...
def from_torch(module: Any, *, rngs: nnx.Rngs | None = None) -> Layer | Cell:
    """Makes the twin of a torch layer or cell: the same arguments, dtype and values, in training or
    evaluation. Parameters that are one there are one `nnx.Param` here.

    The values are those with which its next forward pass in evaluation mode computes, whatever
    makes them: weight norm, spectral norm, pruning, any registered parametrization, or a wrapper
    that drops connections in training. What of this the twin does not have is said in a warning,
    `shared.errors.NotCarriedOver`; also a parameter that is frozen.

    Args:
        module: a torch.nn.RNN, LSTM or GRU, an RNNCell, LSTMCell or GRUCell, or one of `rnn_torch`;
            or a wrapper that drops connections of one of these.
        rngs: keys for the layer's dropout; without them, a call that drops needs `rngs`.

    Raises:
        TypeError: another module.
        InvalidInput: parameters of float64 while JAX has none (jax_enable_x64), or of two dtypes;
            named with the reason, values of which it is not known what the next forward pass makes
            of them, such as those of a layer with forward hooks, and parameters that are one only
            in part (`rnn_torch.plain.plain`).
    """
    found = canonical_layer("torch", module)
    warn_of_omissions(found, stacklevel=2)
    return _build(found, rngs)


@overload
def from_flax(
    module: Recurrent | FlaxLayer | Sequence[FlaxLayer], *, one_bias: bool = False
) -> Layer: ...
@overload
def from_flax(module: nnx.RNNCellBase, *, one_bias: bool = False) -> Cell: ...
def from_flax(
    module: Recurrent | FlaxLayer | Sequence[FlaxLayer] | nnx.RNNCellBase, *, one_bias: bool = False
) -> Layer | Cell:
    """Makes the layer or cell that computes the same as Flax's own. Parameters that are one there
    are one here.

    Args:
        module: `flax.nnx.RNN` or `Bidirectional` over Flax's cells or those of `rnn_jax`, or a
            layer of `rnn_jax`, which is copied. Several, each of which reads the outputs of the one
            before, become one layer with num_layers. A cell of Flax or of `rnn_jax` becomes a cell,
            whose carry is (h, c) where that of Flax's is (c, h).
        one_bias: take the single bias of Flax's cells as bias_ih beside a bias_hh of zero. The
            result computes the same, but trains differently: two biases move twice as far.

    Raises:
        TypeError: another module.
        InvalidInput: what has no counterpart, named with the reason: a single bias that is not
            zero, without `one_bias`; other activations; layers that do not fit together; a cell
            with something else than an `nnx.Linear` within.
    """
    found = canonical(module, one_bias=one_bias)
    warn_of_omissions(found, stacklevel=2)
    return _build(found, None)


@overload
def to_flax(layer: Recurrent, *, one_bias: bool = False) -> list[FlaxLayer]: ...
@overload
def to_flax(layer: Recurrence, *, one_bias: bool = False) -> nnx.RNNCellBase: ...
def to_flax(
    layer: Recurrent | Recurrence, *, one_bias: bool = False
) -> list[FlaxLayer] | nnx.RNNCellBase:
    """Makes Flax's own layers that compute the same as a layer: one `flax.nnx.RNN` for each of its
    num_layers, or `Bidirectional`; of a cell, Flax's cell. Dropout between layers is not part of
    them. Parameters that are one are one there.

    Args:
        one_bias: give Flax's cells bias_ih + bias_hh. The result computes the same, but trains
            differently, and there is no way back to the two.

    Raises:
        InvalidInput: what Flax cannot hold, named with the reason: two biases, without `one_bias`;
            a GRU's b_hn that is not zero; a projection; biases that are one parameter in part.
    """
    config, weights = layer.layer_config, layer.state_dict()
    options: dict[str, Any] = {
        "one_bias": one_bias,
        "dtype": layer.dtype,
        "param_dtype": layer.param_dtype,
    }
    if isinstance(layer, Recurrence):
        cell = write_cell(config, config.input_size, weights, "", **options)
        tie_cells({"": cell}, tied(layer, weights))
        return cell
    features, major = config.input_size, not config.batch_first
    layers, cells = [], {}
    for endings in config.suffixes():
        for ending in endings:
            tensors = _of_cell(weights, ending)
            cells[ending] = write_cell(config, features, tensors, ending, **options)
        rnns = [nnx.RNN(cells[ending], time_major=major) for ending in endings]
        layers.append(rnns[0] if len(rnns) == 1 else nnx.Bidirectional(*rnns, time_major=major))
        features = config.directions * config.hidden_size
    tie_cells(cells, tied(layer, weights))
    return layers


def canonical(module: Any, *, one_bias: bool = False) -> CanonicalLayer:
    """Returns a layer or a cell of this package or of Flax in the canonical layout; `one_bias` as
    in `from_flax`."""
    check_inherited(module, get_args(Layer), "__call__")
    if isinstance(module, Recurrent):
        training = not (module.dropout and module.drop.deterministic)
        weights = module.state_dict()
        return CanonicalLayer(
            module.layer_config,
            weights,
            training,
            _dtype(module),
            shared=tied(module, weights),
            omitted=_computed({name: [getattr(module, name)] for name in weights}),
        )
    if isinstance(module, (Recurrence, *KINDS)):
        config, weights, owners = read_cell(module, "", one_bias)
        check_tensors(config.cell_shapes(), weights)
        return CanonicalLayer(
            config,
            weights,
            True,
            _dtype(module),
            cell=True,
            shared=ties(owners),
            omitted=_computed(owners),
        )
    return _stacked(_several(module), one_bias)


def _stacked(modules: list[Any], one_bias: bool) -> CanonicalLayer:
    """Returns layers of Flax, each of which reads the outputs of the one before, as one."""
    layers = [_directions(layer) for layer in modules]
    config = read_cell(layers[0][0].cell, "_l0", one_bias).config
    major = modules[0].time_major  # Bidirectional's own, which its two RNNs follow
    config = replace(
        config,
        num_layers=len(layers),
        bidirectional=len(layers[0]) == 2,
        batch_first=not major,
    )
    weights: Weights = {}
    owners: dict[str, Sequence[nnx.Variable]] = {}
    for number, (layer, rnns) in enumerate(zip(modules, layers, strict=True)):
        for rnn, end in zip(rnns, ("", "_reverse"), strict=False):
            ending = f"_l{number}{end}"
            found: CellTensors = read_cell(rnn.cell, ending, one_bias)
            if (found.config.mode, layer.time_major) != (config.mode, major):
                raise InvalidInput(
                    f"weight_ih{ending}: expected {config.mode} and time_major={major} as in the "
                    f"first layer, got {found.config.mode} and time_major={layer.time_major}"
                )
            weights |= {f"{name}{ending}": array for name, array in found.weights.items()}
            owners |= {f"{name}{ending}": parts for name, parts in found.owners.items()}
    check_tensors(config.shapes(), weights)
    dtypes = {_dtype(rnn.cell) for rnns in layers for rnn in rnns}
    if len(dtypes) > 1:
        raise InvalidInput(f"dtype: expected the same in all cells, got {dtypes}")
    return CanonicalLayer(
        config, weights, True, dtypes.pop(), shared=ties(owners), omitted=_computed(owners)
    )


def _dtype(module: Any) -> np.dtype | None:
    """Returns the dtype in which a layer or a cell computes; None if it promotes."""
    return None if module.dtype is None else jnp.dtype(module.dtype)


def _computed(owners: Mapping[str, Sequence[nnx.Variable]]) -> list[Omission]:
    """Returns the tensors whose parameters compute what they give."""
    return [
        Omission(name, "computed", "get_value of its parameter")
        for name, parts in owners.items()
        if any(
            type(part).get_value is not nnx.Variable.get_value
            or "on_get_value" in part.get_metadata()
            for part in parts
        )
    ]


def _of_cell(weights: Weights, ending: str) -> Weights:
    """Returns the tensors of one layer and direction, names without ending."""
    kinds = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    return {kind: weights[kind + ending] for kind in kinds if kind + ending in weights}


def _several(module: Any) -> list[Any]:
    """Returns the layers in a list, or the one layer as a list."""
    modules = list(module) if isinstance(module, (list, tuple, nnx.List)) else [module]
    if not modules:
        raise InvalidInput("expected at least one layer, got none")
    return modules


def _build(found: CanonicalLayer, rngs: nnx.Rngs | None) -> Layer | Cell:
    config, weights = found.config, found.weights
    check_one_dtype(weights)
    name, dtype = next((name, array.dtype) for name, array in weights.items())
    if jax.dtypes.canonicalize_dtype(dtype) != dtype:
        raise InvalidInput(
            f"{name}: expected {jax.dtypes.canonicalize_dtype(dtype)}, got {dtype}, which "
            'JAX holds after jax.config.update("jax_enable_x64", True)'
        )
    options: dict[str, Any] = {"param_dtype": dtype, "rngs": nnx.Rngs(0)}
    if found.cell:
        made = make_cell(config, **options)
    else:
        made = make(replace(config, dropout=0.0), **options)
    made.load_state_dict(weights)
    tie(made, found.shared)
    made.dtype = found.computed_in
    if isinstance(made, Recurrent) and config.dropout:
        made.drop = nnx.Dropout(config.dropout, deterministic=not found.training, rngs=rngs)
    return made


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
            expected = "flax.nnx.RNN or Bidirectional, a layer of rnn_jax, or a cell of either"
            raise TypeError(f"expected {expected}, got {named(rnn)}")
        if rnn.reverse and len(rnns) == 1:  # Bidirectional decides itself
            raise InvalidInput("reverse: expected False, only Bidirectional walks backwards")
    return rnns
