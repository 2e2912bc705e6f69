"""Ways to misread the weights of a model, such as gates in another order or layers swapped."""

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from shared.parity.weight_changes import Change, each, exchanged, leaf, parent, reordered, rows
from shared.protocol.weights import Weights

GROUPS = 16
"""Most sets of recurrent layers in which every order of gates is tried: all of them, then each
module, each layer, each direction of a layer."""
PAIRS = 60
"""Most pairs of modules or layers that are tried swapped, siblings and neighbours first."""
_RECURRENT = re.compile(
    r"(?P<cell>(?:.*\.)?)(?:weight|bias)_(?:ih|hh)(?P<layer>(?:_l\d+(?:_reverse)?)?)"
)
"""Names of tensors in torch's recurrent layers and cells."""
_LAYER = re.compile(r"(?P<cell>(?:.*\.)?)(?P<kind>(?:weight|bias)_..)_l(?P<layer>\d+)(?P<end>.*)")
"""Names of tensors in torch's recurrent layers, with the number of the layer."""

RAW = "_raw"
"""Ending of a weight's name below a wrapper that drops some of it (DropConnect)."""


class Misreading(NamedTuple):
    """One way to misread weights."""

    name: str
    about: str
    change: Change


class _Way(NamedTuple):
    name: str
    about: str
    read: Change
    """Weights → those that a program sees which misreads them."""
    undone: Change | None
    """Weights → those with which such a program is right; None where there are none."""


def misreadings(weights: Weights, *, original: bool = False) -> Iterator[Misreading]:
    """Yields each misreading, the likely ones first.

    Args:
        weights: by torch's names.
        original: what `change` returns. False: the weights with which a port that misreads them is
            right. True: the weights with which the original computes what such a port does; this
            has a few more, since no weights replace a bias that is not added.
    """
    plain = {name.removesuffix(RAW): name for name in weights}
    if len(plain) < len(weights):  # both are there
        plain = {name: name for name in weights}
    known = {name: weights[held] for name, held in plain.items()}
    for way in itertools.chain(_gates(known), _biases(known), _parts(known)):
        change = way.read if original else way.undone
        if change is not None:
            yield Misreading(way.name, way.about, partial(_renamed, change, plain))


def _renamed(change: Change, plain: Mapping[str, str], weights: Weights) -> Weights:
    """Changes weights that have other names in the model."""
    changed = change({name: weights[held] for name, held in plain.items()})
    return {plain[name]: array for name, array in changed.items()}


# Gates and biases of recurrent layers ---------------------------------------------------------


def _gates(weights: Weights) -> Iterator[_Way]:
    counts = {name: _blocks(weights, name) for name in weights}
    yield from _transpositions(weights, counts)
    for count, letters in ((4, "ifgo"), (3, "rzn")):
        for label, names in _groups([n for n in weights if counts[n] == count]).items():
            end, where = (f":{label}", f", in {label} alone") if label else ("", "")
            for read in map("".join, itertools.permutations(letters)):
                if read != letters:
                    about = f"gates are read in the order {' '.join(read)}, not {' '.join(letters)}"
                    order = [letters.index(gate) for gate in read]
                    yield _Way(f"gates:{read}{end}", about + where, *reordered(names, order))
            if count == 4:
                biases = [n for n in names if leaf(n).startswith("bias_ih")]
                about = "1 is added to the forget gate's bias, as in TensorFlow 1, Haiku and Keras"
                if biases:
                    shifts = [rows(biases, 4, 1, lambda rows, by=by: rows + by) for by in (1, -1)]
                    yield _Way(f"forget-bias{end}", about + where, *shifts)
            else:
                negated = rows(names, 3, 1, np.negative)
                about = "the update gate z and 1 - z are exchanged"
                yield _Way(f"update-gate{end}", about + where, negated, negated)
                biases = [n for n in names if leaf(n).startswith("bias_hh")]
                if any(np.split(weights[n], 3)[2].any() for n in biases):
                    about = "b_hn, the recurrent bias of the new gate, is not added, as in Flax"
                    zeroed = rows(biases, 3, 2, np.zeros_like)
                    yield _Way(f"bias:b_hn{end}", about + where, zeroed, None)


def _biases(weights: Weights) -> Iterator[_Way]:
    """Leaves out biases: those of one kind in all recurrent layers, and each alone."""
    names = [n for n in weights if "bias" in leaf(n) and weights[n].any()]
    for kind in ("bias_ih", "bias_hh"):
        several = [n for n in names if _RECURRENT.fullmatch(n) and leaf(n).startswith(kind)]
        if len(several) > 1:
            yield _Way(f"bias:{kind}", f"no {kind} is added", each(several, np.zeros_like), None)
    for name in names:
        yield _Way(f"bias:{name}", f"{name} is not added", each([name], np.zeros_like), None)


def _transpositions(weights: Weights, counts: Mapping[str, int]) -> Iterator[_Way]:
    def turned(names: Iterable[str]) -> Change:
        def change(weights: Weights) -> Weights:
            parts = {name: np.split(weights[name], counts[name]) for name in names}
            turned = {name: np.concatenate([p.T for p in parts[name]]) for name in parts}
            return {**weights, **turned}

        return change

    square = [
        name
        for name, array in weights.items()
        if array.ndim == 2 and array.shape[0] == counts[name] * array.shape[1] > counts[name]
    ]
    recurrent = [n for n in square if leaf(n).startswith("weight_hh") and _RECURRENT.fullmatch(n)]
    together = {"weight_hh": recurrent} if len(recurrent) > 1 else {}
    if len(square) > max(1, len(recurrent)):
        together["all"] = square
    for kind, names in together.items():
        about = "every square matrix" if kind == "all" else "every weight_hh"
        change = turned(names)
        yield _Way(f"transposed:{kind}", f"{about} is read transposed", change, change)
    for name in square:
        yield _Way(f"transposed:{name}", f"{name} is read transposed", *[turned([name])] * 2)


def _groups(names: Sequence[str]) -> dict[str, list[str]]:
    """Returns sets of recurrent layers by a label, each set once: all of them (its label is
    empty), those of each module, each layer, each direction of a layer."""
    found: dict[str, list[str]] = {}
    finer: list[dict[str, list[str]]] = [{}, {}, {}]
    for name in names:
        match = _RECURRENT.fullmatch(name)
        assert match is not None
        cell, layer = match["cell"].removesuffix("."), match["layer"].removeprefix("_")
        number = layer.removesuffix("_reverse")
        both = bool(number) and f"{name.removesuffix('_reverse')}_reverse" in names
        single = layer + "_forward" if both and layer == number else layer
        for level, last in enumerate(("", number, single)):
            label = ".".join(filter(None, (cell, last))) or "layer"
            finer[level].setdefault(label, []).append(name)
    for label, group in [("", list(names)), *itertools.chain(*(f.items() for f in finer))]:
        if group and group not in found.values() and len(found) < GROUPS:
            found[label] = group
    return found


def _blocks(weights: Weights, name: str) -> int:
    """Returns how many row blocks a tensor has. A recurrent tensor has one for each gate: its rows
    divided by the hidden size, which is the columns of W_hh, or of the projection W_hr."""
    match = _RECURRENT.fullmatch(name)
    if match is None:
        return 1
    columns = weights.get(f"{match['cell']}weight_hh{match['layer']}")
    columns = weights.get(f"{match['cell']}weight_hr{match['layer']}", columns)
    return 1 if columns is None else max(1, len(weights[name]) // columns.shape[1])


# Modules and layers ---------------------------------------------------------------------------


def _parts(weights: Weights) -> Iterator[_Way]:
    yield from _directions(weights)
    units, changes = _units(weights), set()
    pairs = itertools.combinations(enumerate(units), 2)
    near = sorted(pairs, key=lambda p: (parent(p[0][1]) != parent(p[1][1]), p[1][0] - p[0][0]))
    for (_, one), (_, other) in near:
        moved = _moved(weights, units, (one, other), (other, one))
        if moved and frozenset(moved.items()) not in changes and len(changes) < PAIRS:
            changes.add(frozenset(moved.items()))
            alike = re.sub(r"\d+", "#", one) == re.sub(r"\d+", "#", other)
            name = f"{'layers' if alike else 'branches'}:{one}:{other}"
            yield _Way(name, f"{one} and {other} are swapped", *exchanged(moved))
    families: dict[str, list[str]] = {}
    for label in units:
        for digits in re.finditer(r"\d+", label):
            family = f"{label[: digits.start()]}#{label[digits.end() :]}"
            families.setdefault(family, []).append(label)
    for family, members in families.items():
        members.sort(key=lambda label: [int(d) for d in re.findall(r"\d+", label)])
        moved = _moved(weights, units, members, members[::-1])
        if len(members) > 2 and moved and frozenset(moved.items()) not in changes:
            changes.add(frozenset(moved.items()))
            about = f"{members[0]} to {members[-1]} are in reverse order"
            yield _Way(f"layers:reversed:{family}", about, *exchanged(moved))
    yield from _projections(weights)


def _directions(weights: Weights) -> Iterator[_Way]:
    names = [n for n in weights if n.endswith("_reverse") and n.removesuffix("_reverse") in weights]
    layers: dict[str, list[str]] = {"": names}
    for name in names:
        if match := _LAYER.fullmatch(name):
            module = match["cell"].removesuffix(".")
            layers.setdefault(module or "layer", []).append(name)
            layers.setdefault(f"{match['cell']}l{match['layer']}", []).append(name)
    done: list[list[str]] = []
    for label, group in layers.items():
        if group and group not in done:
            done.append(group)
            pairs = [(n, n.removesuffix("_reverse")) for n in group]
            moved = dict(pairs) | {there: here for here, there in pairs}
            about = "the weights of the forward and the reverse direction are swapped"
            end, where = (f":{label}", f", in {label} alone") if label else ("", "")
            yield _Way(f"directions{end}", about + where, *exchanged(moved))


def _projections(weights: Weights) -> Iterator[_Way]:
    """Yields orders of query, key and value in the projections of torch's MultiheadAttention."""
    names = [n for n in weights if leaf(n) in ("in_proj_weight", "in_proj_bias")]
    modules = list(dict.fromkeys(parent(n) for n in names))
    for module in ["", *(modules if len(modules) > 1 else ())]:
        group = [n for n in names if not module or parent(n) == module]
        for read in map("".join, itertools.permutations("qkv") if group else ()):
            if read != "qkv":
                about = f"query, key and value are read in the order {' '.join(read)}, not q k v"
                end, where = (f":{module}", f", in {module} alone") if module else ("", "")
                order = ["qkv".index(part) for part in read]
                yield _Way(f"projections:{read}{end}", about + where, *reordered(group, order))


def _units(weights: Weights) -> dict[str, dict[str, str]]:
    """Returns modules, and layers of recurrent modules, by label → {relative name: name}."""
    found: dict[str, dict[str, str]] = {}
    for name in weights:
        for at in (match.start() for match in re.finditer(r"\.", name)):
            found.setdefault(name[:at], {})[name[at:]] = name
        if match := _LAYER.fullmatch(name):
            label = f"{match['cell']}l{match['layer']}"
            found.setdefault(label, {})[match["kind"] + match["end"]] = name
    return found


def _moved(
    weights: Weights,
    units: Mapping[str, Mapping[str, str]],
    here: Sequence[str],
    there: Sequence[str],
) -> dict[str, str]:
    """Returns name → the name whose tensor takes its place, if units are put into the places of
    others. Nothing where shapes do not fit, one is part of the other, or all values are the
    same."""
    moved: dict[str, str] = {}
    for one, other in zip(here, there, strict=True):
        if units[one].keys() != units[other].keys():
            return {}
        moved |= {name: units[other][relative] for relative, name in units[one].items()}
    fits = all(weights[a].shape == weights[b].shape for a, b in moved.items())
    apart = len(moved) == sum(len(units[one]) for one in here)
    differ = fits and not all(np.array_equal(weights[a], weights[b]) for a, b in moved.items())
    return moved if apart and differ else {}
