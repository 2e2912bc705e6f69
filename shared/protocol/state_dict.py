"""A recurrent layer or cell in a state dict: found under any prefix, recognised by its shapes.

    found = find_layer(tensors)          # "encoder.lstm.weight_ih_l0" and its like
    found.config                         # LayerConfig(cell="lstm", input_size=10, …)
    found.tensors                        # canonical: "weight_ih_l0", …

A state dict is name → array: of torch.nn or of a whole model around it, also with matrices in parts
(`shared/protocol/folding.py`), or a tree of Flax or Keras with its branches in the names. It does
not show settings that have no tensor: nonlinearity, dropout and batch_first keep their defaults.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from shared.errors import InvalidInput
from shared.protocol import flax_cells, keras_cells, torch_layers
from shared.protocol.checks import check_one_dtype
from shared.protocol.folding import Fold, fold, not_folded
from shared.protocol.layer import LayerConfig
from shared.protocol.weights import Weights
from shared.system.tensor_files import read_tensors

_WRAPPED = re.compile(
    r"(?P<name>.*?)(?:_g|_v|_u|_orig|_mask|_raw)"
    r"|(?P<owner>(?:.*\.)?)parametrizations\.(?P<tensor>[^.]+)\..+",
    re.S,
)
_WRAPPERS = 4
"""Wrappers around each other in a name, such as weight_hh_l0_raw_v_orig."""
_OPTIMIZER = re.compile(
    r"(.*[./])?((fsdp_)?optim(izers?)?(_\w+)?|opts?(_?states?)?|moments?|momentum(_buffer)?"
    r"|velocity|square_avg|avg_sq|(max_)?exp_avg(_sq(_row|_col)?)?|grads?|gradients|updates"
    r"|\d+[./](trace|mu|nu))[./].*",
    re.S,
)
"""Prefixes under which an optimizer keeps what has the weights' names and shapes."""
_FORWARD = re.compile(r"(?P<outer>(?:.*[./])?)forward_(?P<inner>(?:rnn|layer)[./].*)", re.S)
_FLOATS = ("float16", "bfloat16", "float32", "float64")


class FoundLayer(NamedTuple):
    config: LayerConfig
    prefix: str
    tensors: Weights
    """Canonical name → array; of a cell without `_l0`."""
    cell: bool = False
    """True for a cell of torch's names, a single step. One of Flax or Keras is a layer."""
    folds: tuple[Fold, ...] = ()
    """Tensors that were computed of the parts that a wrapper keeps."""
    sources: tuple[str, ...] = ()
    """Names in the state dict that the layer was made of."""
    assumed: tuple[str, ...] = ()
    """Settings that the layer has if it is to compute the same, and that no tensor shows."""
    told: tuple[str, ...] = ()
    """Settings in `config` that no tensor shows, but the file."""
    not_carried_over: tuple[str, ...] = ()
    """Settings of the layer in its file that `config` has no place for: "dropout=0.1"."""


_Notation = Literal["layer", "cell", "flax", "keras", "bidirectional"]


class _State(NamedTuple):
    """A state dict, with what was computed in it and what could not be."""

    tensors: Weights
    computed: dict[str, Fold]
    refused: dict[str, str]
    places: dict[str, "_Place"]


class _Place(NamedTuple):
    """A layer or a cell of a state dict, not yet read."""

    notation: _Notation
    parts: dict[str, str]
    """Its part → the name in the state dict; of "bidirectional", forward and backward → prefix."""


def is_recurrent(name: str) -> bool:
    """Tells by its name whether a tensor belongs, or may belong, to a recurrent layer or cell."""
    for _ in range(_WRAPPERS):
        if any(kind.is_part(name) for kind in (torch_layers, flax_cells, keras_cells)):
            return True
        if (match := _WRAPPED.fullmatch(name)) is None:
            return False
        name = match["name"] or f"{match['owner']}{match['tensor']}"
    return False


def find_layer(
    tensors: Mapping[str, np.ndarray], prefix: str | None = None, *, one_bias: bool = False
) -> FoundLayer:
    """Finds the recurrent layer or cell in a state dict.

    What an optimizer keeps under the weights' names is found only if its whole prefix is given.

    Args:
        prefix: the text before its canonical names, or the end of that text after a dot; its last
            dot may be left out. None if there is only one layer in the state dict.
        one_bias: take a single bias of Flax or Keras that is not zero as bias_ih.

    Raises:
        InvalidInput: no layer, several, or one with tensors missing, unexpected, of other shapes,
            of several dtypes or not of real numbers, or that cannot be computed from their parts;
            the message names them.
    """
    if not isinstance(tensors, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidInput(f"expected arrays by name, got {type(tensors).__name__}")
    for name, array in tensors.items():
        if not isinstance(name, str) or not hasattr(array, "dtype"):  # pyright: ignore
            raise InvalidInput(f"expected arrays by name, got {array!r} as {name!r}")
    found, folds = fold(tensors)
    refused = not_folded(found)
    places = _places(found, refused)
    joined = _bidirectional(places)
    halves = {half for place in joined.values() for half in place.parts.values()}
    shown = {where: place for where, place in places.items() if where not in halves} | joined
    prefix = _chosen(shown, prefix, halves)
    state = _State(found, {one.name: one for one in folds}, refused, places)
    return _read((shown | places)[prefix], prefix, state, one_bias)


def read_safetensors(path: Path | str) -> tuple[Weights, list[str]]:
    """Reads the recurrent tensors in a file, and the names of the others.

    Raises:
        InvalidInput: it is missing or no safetensors file, or a checkpoint that is damaged.
    """
    path = Path(path)
    tensors, _, others = read_tensors(path, "a safetensors file", wanted=is_recurrent)
    return tensors, others


def _places(tensors: Weights, refused: Mapping[str, str]) -> dict[str, _Place]:
    """Returns all layers and cells by their prefixes, those that cannot be read among them."""
    names = [*tensors, *refused]
    places: dict[str, _Place] = {}
    found: dict[_Notation, dict[str, dict[str, str]]] = {
        "layer": torch_layers.torch_layers(names),
        "cell": torch_layers.torch_cells(names),
        "flax": flax_cells.flax_cells(tensors),
        "keras": keras_cells.keras_cells(tensors),
    }
    for notation, layers in found.items():
        for where, parts in layers.items():
            places.setdefault(where, _Place(notation, parts))
    return places


def _bidirectional(places: Mapping[str, _Place]) -> dict[str, _Place]:
    """Returns the pairs that Bidirectional of Flax or Keras names, by the prefix of both."""
    joined: dict[str, _Place] = {}
    for where, place in places.items():
        match = _FORWARD.fullmatch(where)
        other = f"{match['outer']}backward_{match['inner']}" if match else ""
        if match and other in places and "layer" != place.notation == places[other].notation:
            joined[match["outer"]] = _Place("bidirectional", {"": where, "_reverse": other})
    return joined


def _chosen(shown: Mapping[str, _Place], prefix: str | None, halves: set[str]) -> str:
    """Returns the prefix of the layer that is meant."""
    layers = [where for where in shown if _OPTIMIZER.fullmatch(where) is None]
    if prefix is None:
        if len(layers) > 1:
            raise InvalidInput(
                f"expected a prefix (--source-prefix), one of {_quoted(layers)}: there are several"
            )
        if shown and not layers:
            raise InvalidInput(
                f"expected a recurrent layer, found only what an optimizer keeps: {_quoted(shown)}"
            )
        if layers:
            return layers[0]
        raise InvalidInput("expected a recurrent layer, 'weight_ih_l0' …; found none")
    wanted = [prefix, f"{prefix}.", f"{prefix}/"]
    for where in wanted:
        if where in shown or where in halves:
            return where
    ends = tuple(f"{before}{end}" for end in wanted if end for before in "./" if prefix)
    tails = [where for where in layers if where.endswith(ends)]
    tails = tails or [where for where in sorted(halves) if where.endswith(ends)]
    if len(tails) == 1:
        return tails[0]
    others = f"only {_quoted(tails or layers or shown)}" if shown else "none"
    prefix += "." if prefix and not prefix.endswith((".", "/")) else ""
    raise InvalidInput(f"expected a recurrent layer, '{prefix}weight_ih_l0' …; found {others}")


def _read(place: _Place, prefix: str, state: _State, one_bias: bool) -> FoundLayer:
    if place.notation == "bidirectional":
        return _read_both(place, prefix, state, one_bias)
    for name in place.parts.values():
        if name in state.refused:
            raise InvalidInput(f"{name}: {state.refused[name]}")
    parts = {part: state.tensors[name] for part, name in place.parts.items()}
    assumed: tuple[str, ...] = ()
    if place.notation in ("layer", "cell"):
        config = torch_layers.recognise(parts, prefix, "_l0" if place.notation == "layer" else "")
        tensors = parts
    else:
        kind = flax_cells if place.notation == "flax" else keras_cells
        config, tensors = kind.canonical_cell(parts, prefix, one_bias)
        tensors = {f"{name}_l0": array for name, array in tensors.items()}
        assumed = kind.ASSUMED
    shapes = config.cell_shapes() if place.notation == "cell" else config.shapes()
    first = next(iter(shapes))
    if (dtype := tensors[first].dtype.name) not in _FLOATS:
        name = place.parts.get(first, next(iter(place.parts.values())))
        raise InvalidInput(f"{name}: expected one of {', '.join(_FLOATS)}, got {dtype}")
    folds = [one for name in place.parts.values() for one in _made_of(name, state.computed)]
    sources = dict.fromkeys([*place.parts.values(), *(part for one in folds for part in one.parts)])
    return FoundLayer(
        config,
        prefix,
        {name: tensors[name] for name in shapes},
        place.notation == "cell",
        tuple(folds),
        tuple(sources),
        assumed,
    )


def _made_of(name: str, computed: Mapping[str, Fold]) -> list[Fold]:
    """Returns the folds that led to a tensor, the first one last."""
    if name not in computed:
        return []
    fold = computed[name]
    before = [one for part in fold.parts if part != name for one in _made_of(part, computed)]
    return [fold, *before]


def _read_both(place: _Place, prefix: str, state: _State, one_bias: bool) -> FoundLayer:
    """Returns one layer in both directions of two that each have one."""
    halves = [_read(state.places[w], w, state, one_bias) for w in place.parts.values()]
    forward, backward = halves
    if forward.config != backward.config:
        raise InvalidInput(
            f"{backward.prefix}: expected a layer as in {forward.prefix}, {forward.config}, got "
            f"{backward.config}"
        )
    tensors = {
        f"{name.removesuffix('_l0')}_l0{end}": half.tensors[name]
        for end, half in zip(place.parts, halves, strict=True)
        for name in half.tensors
    }
    check_one_dtype(tensors)
    config = replace(forward.config, bidirectional=True)
    return forward._replace(
        config=config,
        prefix=prefix,
        tensors={name: tensors[name] for name in config.shapes()},
        cell=False,
        folds=forward.folds + backward.folds,
        sources=forward.sources + backward.sources,
        assumed=(*forward.assumed, "merge by concatenation"),
    )


def _quoted(prefixes: Iterable[str]) -> str:
    return listed([f"'{prefix}'" for prefix in prefixes], most=10)


def listed(names: Sequence[str], most: int = 3) -> str:
    """Lists the first few names, and says how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
