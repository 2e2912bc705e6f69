"""A layer as the arrays of another library's model: linen's tree, Keras's places in a file."""

import re
from dataclasses import replace

from shared.errors import InvalidInput
from shared.protocol.flax_cells import linen_cell
from shared.protocol.keras_cells import PLACES, keras_cell
from shared.protocol.state_dict import FoundLayer
from shared.protocol.weights import Weights


def one_of_stack(layer: FoundLayer, number: int) -> FoundLayer:
    """Returns a single layer of a stack, as a layer of its own.

    Args:
        number: 0 for the first.

    Raises:
        InvalidInput: there is no such layer.
    """
    config = layer.config
    if not 0 <= number < config.num_layers:
        raise InvalidInput(f"layer (--layer): expected 0 to {config.num_layers - 1}, got {number}")
    if config.num_layers == 1:
        return layer
    tensors = {
        name.removesuffix(ending) + new: array
        for ending, new in zip(config.suffixes()[number], ("_l0", "_l0_reverse"), strict=False)
        for name, array in layer.tensors.items()
        if name.endswith(ending)
    }
    config = replace(config, num_layers=1, input_size=tensors["weight_ih_l0"].shape[1])
    own = re.compile(rf"_l{number}(?!\d)")
    sources = [name for name in layer.sources if own.search(name.removeprefix(layer.prefix))]
    return layer._replace(
        config=config,
        tensors={name: tensors[name] for name in config.shapes()},
        folds=tuple(one for one in layer.folds if own.search(one.name.removeprefix(layer.prefix))),
        sources=tuple(sources),
    )


def as_linen(layer: FoundLayer, prefix: str, one_bias: bool) -> Weights:
    """Returns the tree of a linen cell, or of Bidirectional around two `RNN`: "ii.kernel", …

    Raises:
        InvalidInput: a stack, a projection, or two biases without `one_bias`.
    """
    tensors: Weights = {}
    for ending, half in _halves(layer).items():
        place = prefix
        if layer.config.bidirectional:
            place += "backward_rnn.cell." if ending.endswith("_reverse") else "forward_rnn.cell."
        parts = linen_cell(layer.config, half, ending, one_bias)
        tensors |= {place + name: array for name, array in parts.items()}
    return tensors


def as_keras(layer: FoundLayer, prefix: str, one_bias: bool) -> Weights:
    """Returns the arrays of a model of one layer, "layers/lstm/cell/vars/0", or of the layer at
    another place.

    Raises:
        InvalidInput: a stack, a projection, or two biases without `one_bias`.
    """
    both = layer.config.bidirectional
    place = prefix.replace(".", "/").rstrip("/")
    place = place or f"layers/{'bidirectional' if both else PLACES[layer.config.cell]}"
    tensors: Weights = {}
    for ending, half in _halves(layer).items():
        where = place
        if both:
            where += "/backward_layer" if ending.endswith("_reverse") else "/forward_layer"
        parts = keras_cell(layer.config, half, ending, one_bias)
        tensors |= {f"{where}/cell/vars/{number}": array for number, array in parts.items()}
    return tensors


def _halves(layer: FoundLayer) -> dict[str, Weights]:
    """Returns each direction's tensors without their ending: "_l0" → weight_ih, …"""
    if layer.config.num_layers > 1:
        raise InvalidInput(
            "weight_ih_l1: expected a single layer, for this format has no stack of them, got "
            f"{layer.config.num_layers}; layer=0 (--layer 0) takes the first"
        )
    if layer.cell:
        return {"": layer.tensors}
    return {
        ending: {
            name.removesuffix(ending): array
            for name, array in layer.tensors.items()
            if name.endswith(ending)
        }
        for ending in layer.config.suffixes()[0]
    }
