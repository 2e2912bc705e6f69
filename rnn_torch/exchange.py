"""Layers and cells of Flax → those of this package: value for value.

    layer = from_flax(rnn_jax.LSTM(10, 64, num_layers=2, rngs=nnx.Rngs(0)))

From and to torch.nn nothing needs converting: both have the same state dict.
"""

from dataclasses import replace
from typing import Any, overload

import ml_dtypes
import numpy as np
import torch
from torch import nn

from rnn_torch.cell_modules import Cell, make_cell
from rnn_torch.described import CLASSES, described
from rnn_torch.layers import Layer, make
from rnn_torch.plain import check_hooks, plain
from rnn_torch.stack import Recurrent
from rnn_torch.ties import tie
from shared.errors import InvalidInput
from shared.protocol.checks import check_inherited, check_one_dtype, check_tensors, named
from shared.protocol.exchange import (
    CanonicalLayer,
    Layered,
    Omission,
    canonical_layer,
    earlier_names,
    warn_of_omissions,
)


@overload
def from_flax(module: Layered, *, one_bias: bool = False) -> Layer: ...
@overload
def from_flax(module: Any, *, one_bias: bool = False) -> Any: ...
def from_flax(module: Any, *, one_bias: bool = False) -> Layer | Cell:
    """Makes the twin of a Flax layer or cell: the same arguments, dtype and values, in training or
    evaluation. Parameters that are one there are one here.

    Args:
        module: an RNN, LSTM or GRU of `rnn_jax`, or one of its cells; `flax.nnx.RNN` or
            `Bidirectional` over Flax's cells or those of `rnn_jax`, or a list of them (see
            `rnn_jax.from_flax`); one of Flax's cells.
        one_bias: take the single bias of Flax's cells as bias_ih beside a bias_hh of zero. The
            result computes the same, but trains differently: two biases move twice as far.

    Raises:
        TypeError: another module.
        InvalidInput: what has no counterpart, named with the reason, such as a dtype of the
            computation that is not the parameters', or parameters of two dtypes.
    """
    found = canonical_layer("jax", module, one_bias=one_bias)
    config, weights, computed = found.config, found.weights, found.computed_in
    check_one_dtype(weights)
    held = next(iter(weights.values())).dtype
    if computed is not None and np.dtype(computed) != held:
        raise InvalidInput(
            f"dtype: expected a layer that computes in {held} as its parameters, which torch's do, "
            f"got one that computes in {np.dtype(computed)}; with layer.dtype = None it passes"
        )
    tensors = {name: to_tensor(array) for name, array in weights.items()}
    # On no device, nothing is drawn from torch's generator.
    options: dict[str, Any] = {"device": "meta", "dtype": next(iter(tensors.values())).dtype}
    if found.cell:
        made = make_cell(config, **options)
    else:
        made = make(replace(config, dropout=0.0), **options)
    made.load_state_dict(tensors, assign=True)
    tie(made, found.shared)
    if isinstance(made, Recurrent):
        made.dropout = float(config.dropout)
    warn_of_omissions(found, stacklevel=2)
    return made.train(found.training)


def canonical(module: Any) -> CanonicalLayer:
    """Returns a layer or a cell of this package or of torch.nn in the canonical layout, with the
    values that its next forward pass in evaluation mode computes with.

    Args:
        module: one that may be reparametrized, pruned, or in a wrapper that drops connections.

    Raises:
        TypeError: another module, or one that computes in a method of its own.
        InvalidInput: named with the reason: forward hooks, and what `rnn_torch.plain.plain`
            refuses.
    """
    within = _within(module)
    inner = module.get_submodule(within)
    check_inherited(inner, CLASSES, "forward")
    for part in {id(module): module, id(inner): inner}.values():
        check_hooks(part)
    twin, omitted = plain(module)
    layer = twin.get_submodule(within)
    recurrent = described(layer)
    assert recurrent is not None
    parameters = dict(layer.named_parameters(remove_duplicate=False))
    held = {name: parameters[name] for name in recurrent.shapes()}
    for name, parameter in held.items():
        if parameter.is_meta:
            raise InvalidInput(f"{name}: expected values, got none: it is on the device meta")
    weights = {name: to_numpy(parameter) for name, parameter in held.items()}
    check_tensors(recurrent.shapes(), weights)
    others = [name for name, _ in [*parameters.items(), *layer.named_buffers()] if name not in held]
    start = f"{within}." if within else ""
    omitted = [one._replace(name=one.name.removeprefix(start)) for one in omitted]
    omitted += [Omission(name, "other") for name in others]
    return CanonicalLayer(
        recurrent.config,
        weights,
        inner.training,
        cell=recurrent.cell,
        shared=earlier_names(held),
        omitted=omitted,
    )


def _within(module: Any) -> str:
    """Returns where a layer or cell is in a wrapper that drops some of it; "" if it is the module
    itself."""
    if described(module):
        return ""
    children = list(module.named_children()) if isinstance(module, nn.Module) else []
    if len(children) == 1:
        name, inner = children[0]
        recurrent = described(inner)
        raw = {f"{weight}_raw" for weight in (recurrent.shapes() if recurrent else ())}
        if recurrent and raw & {*module._parameters, *inner._parameters}:
            return name
    expected = "a torch.nn.RNN, LSTM or GRU, a cell of these, or one of rnn_torch"
    raise TypeError(f"expected {expected}, got {named(module)}")


def to_numpy(tensor: torch.Tensor) -> np.ndarray:
    """Returns a copy in NumPy, which knows bfloat16 only through ml_dtypes."""
    tensor = tensor.detach().cpu().resolve_neg()
    if tensor.dtype == torch.bfloat16:
        return tensor.view(torch.int16).numpy().view(ml_dtypes.bfloat16).copy()
    return tensor.numpy().copy()


def to_tensor(array: np.ndarray) -> torch.Tensor:
    array = np.array(array)  # JAX's arrays are read-only
    if array.dtype == ml_dtypes.bfloat16:
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)
