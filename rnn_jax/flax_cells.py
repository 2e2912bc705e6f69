"""Flax's own cells → canonical tensors, and back.

Flax's cells have a single bias where torch has two, and the GRU none beside W_hn (`native.py`).
What they cannot hold is refused, and what is not known to compute W x + b is not read.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from flax.nnx.nn import dtypes
from jax.typing import DTypeLike

from rnn_jax.cell_modules import Recurrence
from rnn_jax.native import bias_name, cell_params, make_cell
from shared.config.settings import Cell, Nonlinearity
from shared.errors import InvalidInput
from shared.protocol import LayerConfig
from shared.protocol.checks import check_inherited, named
from shared.protocol.weights import Weights

KINDS: dict[type, Cell] = {
    nnx.SimpleCell: "rnn",
    nnx.LSTMCell: "lstm",
    nnx.OptimizedLSTMCell: "lstm",
    nnx.GRUCell: "gru",
}
_ACTIVATIONS: dict[Any, Nonlinearity] = {nnx.tanh: "tanh", nnx.relu: "relu"}


class CellTensors(NamedTuple):
    """What a cell holds, names without ending: weight_ih."""

    config: LayerConfig
    weights: Weights
    owners: dict[str, Sequence[nnx.Variable]]
    """Name → the parameters that a tensor is made of; none for a bias of zeros that Flax lacks."""


def read_cell(cell: Any, ending: str, one_bias: bool) -> CellTensors:
    """Returns arguments, canonical tensors and parameters of a cell of Flax or of this package.

    Args:
        ending: of the names in messages.
        one_bias: as in `rnn_jax.from_flax`.

    Raises:
        TypeError, InvalidInput: as `rnn_jax.from_flax`.
    """
    check_inherited(cell, (Recurrence,), "__call__")
    if isinstance(cell, Recurrence):
        owners: dict[str, Sequence[nnx.Variable]] = {
            name: [getattr(cell, name)] for name in cell.layer_config.cell_shapes()
        }
        return CellTensors(cell.layer_config, cell.state_dict(), owners)
    if type(cell) not in KINDS:
        expected = "SimpleCell, LSTMCell, OptimizedLSTMCell or GRUCell of flax.nnx, or of rnn_jax"
        raise TypeError(f"expected {expected}, got {named(cell)}")
    kind, nonlinearity = KINDS[type(cell)], _nonlinearity(cell, ending)
    sides = {side: _linears(cell, side, ending) for side in ("ih", "hh")}
    owners = {
        f"weight_{side}": [linear.kernel for linear in linears] for side, linears in sides.items()
    }
    for side, linears in sides.items():
        biases = [linear.bias for linear in linears if linear.bias is not None]
        if len(biases) not in (0, len(linears)):
            raise InvalidInput(f"bias_{side}{ending}: expected a bias for every gate or for none")
        owners[f"bias_{side}"] = biases
    bias = bool(owners["bias_ih"] or owners["bias_hh"])
    weights = {
        name: np.concatenate([np.asarray(part[...]) for part in parts], axis=-1).T
        for name, parts in owners.items()
        if parts
    }
    if bias and not (owners["bias_ih"] and owners["bias_hh"]):
        _divide(cell, kind, ending, weights, owners, one_bias)
    order = ["weight_ih", "weight_hh", *(["bias_ih", "bias_hh"] if bias else [])]
    config = LayerConfig(
        kind, cell.in_features, cell.hidden_features, nonlinearity=nonlinearity, bias=bias
    )
    return CellTensors(
        config, {n: weights[n] for n in order}, {n: owners.get(n, []) for n in order}
    )


def write_cell(
    config: LayerConfig,
    input_size: int,
    weights: Weights,
    ending: str,
    *,
    one_bias: bool,
    dtype: DTypeLike | None,
    param_dtype: DTypeLike,
) -> Any:
    """Makes Flax's cell for the tensors of one layer and direction.

    Args:
        weights: names without ending; those of biases may be missing.
        ending: of the names in messages.

    Raises:
        InvalidInput: what Flax cannot hold, as `rnn_jax.to_flax`.
    """
    if config.proj_size:
        raise InvalidInput(
            f"weight_hr{ending}: Flax's cells have no projection, expected proj_size 0"
        )
    cell: Any = make_cell(config, input_size, param_dtype, nnx.Rngs(0), dtype)
    no_bias = np.zeros(len(weights["weight_ih"]), param_dtype)
    tensors = {"bias_ih": no_bias, "bias_hh": no_bias} | weights
    _check_bias(config, tensors["bias_hh"], ending, one_bias)
    for name, array in cell_params(config.cell, tensors).items():
        _param(cell, name)[...] = jnp.asarray(array)
    return cell


def tie_cells(cells: Mapping[str, Any], shared: Mapping[str, str]) -> None:
    """Makes one parameter of two in Flax's cells, where they are one in the canonical tensors.

    Args:
        cells: name ending → cell.
        shared: canonical name → the earlier name of the same parameter.

    Raises:
        InvalidInput: biases of which Flax's single one can be shared only in part.
    """
    for name, earlier in shared.items():
        kind, ending = _split(name)
        first, source = _split(earlier)
        if kind.startswith("bias"):
            both = {f"bias_{side}{ending}": f"bias_{side}{source}" for side in ("ih", "hh")}
            if not both.items() <= shared.items():
                raise InvalidInput(
                    f"{earlier}, {name}: Flax's cells have a single bias for two, expected both of "
                    "a cell to be one parameter with both of another, got a part"
                )
        place, old = _place(cells[ending], kind), _place(cells[source], first)
        owner, _, leaf = place.partition(".")
        setattr(getattr(cells[ending], owner), leaf, _param(cells[source], old))


def ties(owners: Mapping[str, Sequence[nnx.Variable]]) -> dict[str, str]:
    """Returns canonical name → the earlier name of the same parameters.

    Args:
        owners: canonical name → the parameters that it is made of.

    Raises:
        InvalidInput: two tensors have some of their parameters in common, and not all.
    """
    shared: dict[str, str] = {}
    users: dict[int, str] = {}
    for name, parts in owners.items():
        if len({id(part) for part in parts}) < len(parts):
            raise InvalidInput(
                f"{name}: expected parameters of its own for each gate, got one for two"
            )
        first = {users.setdefault(id(part), name) for part in parts} - {name}
        if not first:
            continue
        earlier = min(first, key=list(owners).index)
        if [id(part) for part in parts] != [id(part) for part in owners[earlier]]:
            raise InvalidInput(
                f"{earlier}, {name}: expected all of their gates or none to be the same "
                "parameters, got some"
            )
        shared[name] = earlier
    for name, parts in owners.items():
        # A bias of zeros that Flax lacks goes with the one beside it.
        kind, ending = _split(name)
        beside = {"bias_hh": "bias_ih", "bias_ih": "bias_hh"}.get(kind, "") + ending
        if not parts and beside in shared:
            source = kind + _split(shared[beside])[1]
            if not owners[source]:
                shared[name] = source
    return shared


def _nonlinearity(cell: Any, ending: str) -> Nonlinearity:
    """Returns that of a cell of Flax, if all else is as in torch."""
    kind = KINDS[type(cell)]
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
    return activation


def _linears(cell: Any, side: str, ending: str) -> list[nnx.Linear]:
    """Returns the layers that make the share of the gates of the input ("ih") or the state ("hh"),
    in torch's order of gates, if each computes W x + b and nothing else."""
    names = ["dense_i" if side == "ih" else "dense_h"]
    if isinstance(cell, nnx.LSTMCell):  # it has one for each gate
        names = ["ii", "if_", "ig", "io"] if side == "ih" else ["hi", "hf", "hg", "ho"]
    for name in names:
        linear = getattr(cell, name)
        found = f"weight_{side}{ending}: {type(cell).__name__}.{name}"
        if type(linear) is not nnx.Linear:
            raise InvalidInput(
                f"{found}: expected an nnx.Linear, got {named(linear)}, of which it is not known "
                "what it computes; put an nnx.Linear with the kernel that it computes in its place"
            )
        expected = {
            "dot_general": jax.lax.dot_general,
            "promote_dtype": dtypes.promote_dtype,
            "preferred_element_type": None,
            "dtype": cell.dtype,
        }
        for option, value in expected.items():
            if getattr(linear, option) != value:
                raise InvalidInput(
                    f"{found}: expected {option} {value}, got {getattr(linear, option)}"
                )
    return [getattr(cell, name) for name in names]


def _divide(
    cell: Any,
    kind: Cell,
    ending: str,
    weights: Weights,
    owners: dict[str, Sequence[nnx.Variable]],
    one_bias: bool,
) -> None:
    """Gives a cell with a single bias the other one, of zeros. The single one is bias_ih, but for a
    GRU's that is within the reset gate's reach."""
    side = "hh" if owners["bias_hh"] else "ih"
    place = f"dense_{'h' if side == 'hh' else 'i'}.bias"
    if kind != "gru" and side == "hh":
        weights["bias_ih"], owners["bias_ih"] = weights.pop("bias_hh"), owners["bias_hh"]
        side = "ih"
    single, other = f"bias_{side}", f"bias_{'ih' if side == 'hh' else 'hh'}"
    weights[other] = np.zeros_like(weights[single])
    owners[other] = []
    if weights[single].any() and not one_bias:
        raise InvalidInput(
            f"bias_ih{ending}, bias_hh{ending}: Flax's {type(cell).__name__} has a single bias "
            f"({place}), which does not say how the two divide it; with one_bias=True it "
            f"becomes {single}"
        )


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


def _split(name: str) -> tuple[str, str]:
    """Returns the kind and the ending of a canonical name: weight_ih, _l0_reverse."""
    kind, mark, ending = name.partition("_l")
    return kind, mark + ending


def _place(cell: Any, kind: str) -> str:
    """Returns where one of Flax's cells, as `native.make_cell` makes them, has a tensor."""
    places = {"weight_ih": "dense_i.kernel", "weight_hh": "dense_h.kernel"}
    return places.get(kind) or bias_name(KINDS[type(cell)])


def _param(cell: Any, place: str) -> nnx.Variable:
    owner, _, leaf = place.partition(".")
    return getattr(getattr(cell, owner), leaf)
