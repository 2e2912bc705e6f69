"""Tensors that wrappers of torch keep in parts → the tensor that the next forward pass would use.

    tensors, folds = fold(state_dict)    # name → array
    tensors["lstm.weight_hh_l0"]         # of weight_hh_l0_g and weight_hh_l0_v
    folds                                # what was computed, and of which parts
    not_folded(tensors)                  # what could not be, with the way out

What is computed is what evaluation would use: spectral norm takes no further step of its power
iteration, and DropConnect drops nothing. A copy that a wrapper left from its last forward pass is
replaced. All else stays as it is.

    weight norm      X_g, X_v                      g · v / ‖v‖
                     parametrizations.X.original0, .original1
    spectral norm    X_orig, X_u, X_v              W / (uᵀ W v)
                     parametrizations.X.original, .0._u, .0._v
    pruning          X_orig, X_mask                W · mask
    DropConnect      X_raw, here or around X's module; X may be a stale copy
    (https://docs.pytorch.org/docs/stable/nn.html#utilities)
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from shared.protocol.tensors import to_array
from shared.protocol.weights import Weights

_PARAMETRIZED = re.compile(
    r"(?P<owner>(?:.*\.)?)parametrizations\.(?P<name>[^.]+)\.(?P<part>.+)", re.S
)
_RECURRENT = re.compile(r"(.*[._])?weight_(ih|hh|hr)(_l\d+(_reverse)?)?", re.S)
"""Matrices that DropConnect wraps, by name. For others, `_raw` may stand for anything."""
_NEAR = 0.1
"""1 - cos(u, W v) up to which they are taken for vectors of one power iteration. It is 0 at the
forward pass that made them, and little after the optimizer's step."""


class Fold(NamedTuple):
    """A tensor that was computed."""

    name: str
    wrapper: str
    """What had the parts: "weight norm", "spectral norm", "pruning" or "DropConnect"."""
    parts: tuple[str, ...]
    """Names of the tensors that it was computed of or that it replaces."""


class Folded(NamedTuple):
    tensors: Weights
    """Name → array, a computed tensor in the place of its first part."""
    folds: tuple[Fold, ...]


class _Step(NamedTuple):
    fold: Fold
    array: np.ndarray


def fold(tensors: Mapping[str, Any]) -> Folded:
    """Computes every tensor of which a wrapper keeps the parts, in float64, rounded once.

    Parts are recognised only together and if their shapes fit: a parameter that is merely called
    weight_g stays. Wrappers around wrappers are computed from the inside.

    Args:
        tensors: a state dict, of any model; it is not changed.

    Raises:
        InvalidInput: something else than tensors or arrays.
    """
    found = {name: to_array(name, tensor) for name, tensor in tensors.items()}
    folds: list[Fold] = []
    while steps := _steps(found):
        places = {part: step for step in steps for part in step.fold.parts}
        after: Weights = {}
        for name, array in found.items():
            step = places.get(name)
            if step is None:
                after[name] = array
            elif step.fold.name in found and step.fold.name != name:
                continue  # the stale copy shows the place
            else:
                after.setdefault(step.fold.name, step.array)
        found = after
        folds += [step.fold for step in steps]
    return Folded(found, tuple(folds))


def not_folded(tensors: Mapping[str, np.ndarray]) -> dict[str, str]:
    """Returns what a wrapper keeps in parts of which it cannot be computed, such as orthogonal
    parametrizations: name → the reason with the way out.

    Args:
        tensors: what `fold` returned, where the parts are still.
    """
    refused: dict[str, str] = {}
    for name in tensors:
        if match := _PARAMETRIZED.fullmatch(name):
            refused[_plain(match)] = (
                f"expected plain values, got a parametrization ({name}) that cannot be computed "
                "from its tensors; torch.nn.utils.parametrize.remove_parametrizations(module, "
                f"'{match['name']}') before state_dict() leaves the values"
            )
            continue
        plain, _, end = name.rpartition("_")
        if end == "orig" and (f"{plain}_u" in tensors or _RECURRENT.fullmatch(plain)):
            refused[plain] = (
                f"expected {plain}_u and {plain}_v of spectral norm, or {plain}_mask of pruning, "
                f"that fit {name}, got others; torch.nn.utils.remove_spectral_norm(module) or "
                "torch.nn.utils.prune.remove(module, name) before state_dict() leaves the values"
            )
        elif end == "raw" and _RECURRENT.fullmatch(plain):
            refused[plain] = f"expected {name} in the shape of the matrix that it replaces"
        elif end in ("g", "v") and _RECURRENT.fullmatch(plain) and plain not in tensors:
            refused.setdefault(
                plain,
                f"expected {plain}_g and {plain}_v of weight norm that fit each other; "
                "torch.nn.utils.remove_weight_norm(module, name) before state_dict() leaves the "
                "values",
            )
    return refused


def _steps(found: Weights) -> list[_Step]:
    """Returns what can be computed now, each part in one step only."""
    steps: list[_Step] = []
    taken: set[str] = set()
    for name in found:
        for way in (_weight_norm, _spectral_norm, _pruning, _drop_connect):
            step = way(name, found)
            if step is not None and not taken & {step.fold.name, *step.fold.parts}:
                steps.append(step)
                taken |= {step.fold.name, *step.fold.parts}
                break
    return steps


def _weight_norm(name: str, found: Weights) -> _Step | None:
    """Returns g · v / ‖v‖ for the part g; the norm is over all axes but that of g."""
    match = _PARAMETRIZED.fullmatch(name)
    if match and match["part"] == "original0":
        plain, other = _plain(match), name.removesuffix("0") + "1"
        if plain in found or _parts_of(match, found) != {"original0", "original1"}:
            return None
    elif name.endswith("_g"):
        plain = name.removesuffix("_g")
        other = f"{plain}_v"
        if plain in found or f"{plain}_orig" in found:
            return None
    else:
        return None
    g, v = found[name], found.get(other)
    if v is None or not _alike(g, v) or (axes := _norm_axes(g.shape, v.shape)) is None:
        return None
    if v.ndim < 2 and match is None:  # two vectors that happen to have such names
        return None
    direction = v.astype(np.float64)
    norm = np.sqrt(np.square(direction).sum(axis=axes, keepdims=g.ndim > 0))
    with np.errstate(divide="ignore", invalid="ignore"):  # of zeros it is NaN, in torch as well
        weight = direction * (g.astype(np.float64) / norm)
    return _Step(Fold(plain, "weight norm", (name, other)), weight.astype(v.dtype))


def _norm_axes(g: tuple[int, ...], v: tuple[int, ...]) -> tuple[int, ...] | None:
    """Returns the axes of v over which the norm goes, if g can hold the norms of v."""
    axes = tuple(range(len(v)))
    if not v:
        return None
    if not g:
        return axes
    kept = [axis for axis, size in enumerate(g) if size != 1]
    if len(g) != len(v) or len(kept) > 1 or any(g[axis] != v[axis] for axis in kept):
        return None
    return tuple(axis for axis in axes if axis not in kept)


def _spectral_norm(name: str, found: Weights) -> _Step | None:
    """Returns W / (uᵀ W v) for the part W; both vectors are those of the last forward pass."""
    if (names := _spectral_names(name, found)) is None:
        return None
    plain, *vectors = names
    weight, u, v = found[name], *(found[vector] for vector in vectors)
    if (axis := _spectral_axis(weight, u, v)) is None:
        return None
    matrix = _matrix(weight, axis)
    sigma = u.astype(np.float64) @ matrix @ v.astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        array = (weight.astype(np.float64) / sigma).astype(weight.dtype)
    return _Step(Fold(plain, "spectral norm", (name, *vectors)), array)


def _spectral_names(name: str, found: Weights) -> tuple[str, str, str] | None:
    """Returns the names of the tensor and of its two vectors, if this is W under spectral norm."""
    if (match := _PARAMETRIZED.fullmatch(name)) and match["part"] == "original":
        if _plain(match) in found or _parts_of(match, found) != {"original", "0._u", "0._v"}:
            return None
        base = name.removesuffix("original")
        names = (_plain(match), f"{base}0._u", f"{base}0._v")
    elif name.endswith("_orig"):
        plain = name.removesuffix("_orig")
        names = (plain, f"{plain}_u", f"{plain}_v")
        if plain in found or f"{plain}_mask" in found:
            return None
    else:
        return None
    if any(vector not in found for vector in names[1:]):
        return None
    fits = all(_alike(found[name], found[vector]) for vector in names[1:])
    return names if fits and found[name].ndim > 1 else None


def _spectral_axis(weight: np.ndarray, u: np.ndarray, v: np.ndarray) -> int | None:
    """Returns the axis of W that u belongs to, if that can be told.

    Shapes tell it unless two axes have one size; then the vectors do, for u is near W v. Those that
    have seen no forward pass, or a large step since, tell nothing.
    """
    rows = {axis: size for axis, size in enumerate(weight.shape) if u.shape == (size,)}
    axes = [axis for axis, size in rows.items() if v.shape == (weight.size // max(size, 1),)]
    if len(axes) < 2:
        return axes[0] if axes else None
    sigmas: dict[int, float] = {}
    apart: dict[int, float] = {}
    for axis in axes:
        image = _matrix(weight, axis) @ v.astype(np.float64)
        sigmas[axis] = float(u.astype(np.float64) @ image)
        length = float(np.linalg.norm(image) * np.linalg.norm(u.astype(np.float64)))
        apart[axis] = 1 - sigmas[axis] / length if length else 1.0
    if max(sigmas.values()) - min(sigmas.values()) <= 1e-12 * abs(sigmas[axes[0]]):
        return axes[0]
    first, second = sorted(axes, key=apart.__getitem__)[:2]
    if apart[first] < _NEAR and apart[second] > 10 * apart[first]:
        return first
    return None


def _matrix(weight: np.ndarray, axis: int) -> np.ndarray:
    """Returns W with one axis as rows and all others as columns, in float64."""
    rows = np.moveaxis(weight.astype(np.float64), axis, 0)
    return rows.reshape(rows.shape[0], -1)


def _pruning(name: str, found: Weights) -> _Step | None:
    plain = name.removesuffix("_orig")
    mask = found.get(f"{plain}_mask")
    if plain == name or mask is None or plain in found or f"{plain}_u" in found:
        return None
    weight = found[name]
    if not _is_float(weight) or mask.shape != weight.shape:
        return None
    array = (weight.astype(np.float64) * mask.astype(np.float64)).astype(weight.dtype)
    return _Step(Fold(plain, "pruning", (name, f"{plain}_mask")), array)


def _drop_connect(name: str, found: Weights) -> _Step | None:
    """Returns the trained matrix X_raw under the name of the one that a wrapper sets in forward.

    It stands in the layer itself or in the wrapper around it, whose attribute is `module`.
    """
    plain = name.removesuffix("_raw")
    if plain == name:
        return None
    owner, dot, leaf = plain.rpartition(".")
    inside = f"{owner}{dot}module.{leaf}"
    recurrent = _RECURRENT.fullmatch(leaf) is not None
    if inside in found or (recurrent and any(n.startswith(f"{owner}{dot}module.") for n in found)):
        plain = inside
    elif not recurrent:
        return None
    stale = found.get(plain)
    if not _is_float(found[name]) or (stale is not None and stale.shape != found[name].shape):
        return None
    parts = (name,) if stale is None else (name, plain)
    return _Step(Fold(plain, "DropConnect", parts), found[name])


def _plain(match: re.Match[str]) -> str:
    return match["owner"] + match["name"]


def _parts_of(match: re.Match[str], found: Weights) -> set[str]:
    """Returns the parts that one parametrized tensor has."""
    base = f"{match['owner']}parametrizations.{match['name']}."
    return {name.removeprefix(base) for name in found if name.startswith(base)}


def _alike(one: np.ndarray, other: np.ndarray) -> bool:
    return _is_float(one) and one.dtype == other.dtype


def _is_float(array: np.ndarray) -> bool:
    return array.dtype.name in ("float16", "bfloat16", "float32", "float64")
