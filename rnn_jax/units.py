"""The modules of a model that have parameters (`shared/protocol/units.py`)."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from flax import nnx

from rnn_jax.arrays import aliases, arrays, dotted, walk
from shared.protocol.places import Place
from shared.protocol.units import ATTENTION, NORM, OTHER, Unit

CONVOLUTIONS = {1: "OIL->LIO", 2: "OIHW->HWIO", 3: "OIDHW->DHWIO"}
"""Number of axes that are convolved → torch's axes of the kernel, then Flax's."""
_NORMS = {
    nnx.LayerNorm: "LayerNorm",
    nnx.RMSNorm: "RMSNorm",
    nnx.GroupNorm: "GroupNorm",
    nnx.InstanceNorm: NORM,
    nnx.BatchNorm: "BatchNorm",
}
_GATES = {"LSTM": ("i", "f", "g", "o"), "GRU": ("r", "z", "n")}


def units(model: Any) -> list[Unit]:
    """Returns the modules with parameters or other real arrays, in the order in which they were
    defined.

    Args:
        model: a `flax.nnx.Module`, or the pytree of a function's parameters: of `flax.linen`, of
            Haiku, or any other.
    """
    found = list(_of_module(model) if isinstance(model, nnx.Module) else _of_tree(arrays(model)))
    left, doubled = dict.fromkeys(arrays(model)), aliases(model)
    kept = []
    for unit in found:
        tensors = {
            role: place for role, place in unit.tensors.items() if not _is_in(place, doubled)
        }
        if any(place is not None for place in tensors.values()):
            kept.append(unit._replace(tensors=tensors))
        for path in [path for path in left if any(_is_in(p, [path]) for p in tensors.values())]:
            del left[path]
    return kept + [Unit(path, OTHER, {"value": path}) for path in left]


def _is_in(place: Place, paths: Any) -> bool:
    """Tells whether a place, or a part of it, is in one of these arrays."""
    several = [place] if isinstance(place, str) else place or []
    return any(
        one is not None and (one == path or one.startswith((f"{path}.T", f"{path}[", f"{path} ")))
        for one in several
        for path in paths
    )


# Modules of nnx --------------------------------------------------------------------------------


def _of_module(model: nnx.Module) -> Iterator[Unit]:
    done: list[tuple] = []
    for path, node in walk(model):
        if isinstance(node, nnx.Variable) or any(path[: len(above)] == above for above in done):
            continue
        own = list(_of_node(dotted(path), node))
        if own:
            done.append(path)
            yield from own


def _of_node(path: str, node: Any) -> Iterator[Unit]:
    """Yields the unit that a module of a known kind is."""
    at = f"{path}." if path else ""

    def there(**places: str) -> dict[str, Place]:
        """Returns the places of variables, which begin with their names, that the module has."""
        names = {role: re.split(r"\W", place, maxsplit=1)[0] for role, place in places.items()}
        return {r: at + p for r, p in places.items() if getattr(node, names[r], None) is not None}

    if hasattr(node, "layer_config"):  # of this package; a cell's names have no ending
        config = node.layer_config
        single = not hasattr(node, "num_layers")
        for ending in (ending for layer in config.suffixes() for ending in layer):
            names = [name for name in config.shapes() if name.endswith(ending)]
            own = {name.removesuffix(ending): name for name in names}
            yield Unit(
                path,
                config.name,
                {role: at + (role if single else name) for role, name in own.items()},
            )
    elif isinstance(node, (nnx.LSTMCell, nnx.OptimizedLSTMCell, nnx.GRUCell, nnx.SimpleCell)):
        yield _flax_cell(path, node)
    elif isinstance(node, nnx.Linear) or (
        isinstance(node, nnx.LinearGeneral) and node.kernel.ndim == 2
    ):
        yield Unit(path, "Linear", there(weight="kernel.T", bias="bias"))
    elif isinstance(node, nnx.Embed):
        yield Unit(path, "Embedding", {"weight": f"{at}embedding"})
    elif isinstance(node, nnx.Conv):
        size = len(node.kernel_size)
        if size in CONVOLUTIONS:
            kernel = f"kernel {CONVOLUTIONS[size]}"
            yield Unit(path, f"Conv{size}d", there(weight=kernel, bias="bias"))
    elif isinstance(node, nnx.ConvTranspose):
        size = len(node.kernel_size)
        axes = "DHW"[-size:] if size > 1 else "L"
        flipped = "" if node.transpose_kernel else f"[{', '.join(['::-1'] * size)}]"
        ours = f"{axes}OI" if node.transpose_kernel else f"{axes}IO"
        kernel = f"kernel{flipped} IO{axes}->{ours}"
        yield Unit(path, f"ConvTranspose{size}d", there(weight=kernel, bias="bias"))
    elif isinstance(node, tuple(_NORMS)):
        kind = next(kind for of, kind in _NORMS.items() if isinstance(node, of))
        places = {"weight": "scale", "bias": "bias"}
        if kind == "BatchNorm":
            places |= {"running_mean": "mean", "running_var": "var"}
        yield Unit(path, kind, there(**places))
    elif isinstance(node, nnx.PReLU):
        yield Unit(path, "PReLU", {"weight": f"{at}negative_slope 1->"})
    elif isinstance(node, nnx.MultiHeadAttention):
        several = {
            "in_proj_weight": [f"{at}{part}.kernel (h d) i->i h d" for part in _QKV],
            "in_proj_bias": [f"{at}{part}.bias (h d)->h d" for part in _QKV],
            "out_proj.weight": f"{at}out.kernel o (h d)->h d o",
            "out_proj.bias": f"{at}out.bias",
        }
        yield Unit(
            path, ATTENTION, {r: p for r, p in several.items() if node.use_bias or "weight" in r}
        )


_QKV = ("query", "key", "value")


def _flax_cell(path: str, cell: Any) -> Unit:
    """Returns Flax's cell, which has one bias."""
    at = f"{path}." if path else ""
    if isinstance(cell, nnx.LSTMCell):
        inputs, hidden = ("ii", "if_", "ig", "io"), ("hi", "hf", "hg", "ho")
        return Unit(
            path,
            "LSTM",
            {
                "weight_ih": [f"{at}{gate}.kernel.T" for gate in inputs],
                "weight_hh": [f"{at}{gate}.kernel.T" for gate in hidden],
                "bias_ih": None,
                "bias_hh": [f"{at}{gate}.bias" for gate in hidden],
            },
        )
    kinds = {nnx.OptimizedLSTMCell: "LSTM", nnx.GRUCell: "GRU", nnx.SimpleCell: "RNN"}
    kind = next(kind for of, kind in kinds.items() if isinstance(cell, of))
    biases = {"bias_ih": f"{at}dense_i.bias", "bias_hh": None}
    if kind == "LSTM":
        biases = {"bias_ih": None, "bias_hh": f"{at}dense_h.bias"}
    kernels = {f"weight_{x}h": f"{at}dense_{x}.kernel.T" for x in "ih"}
    return Unit(path, kind, kernels | biases)


# Pytrees ---------------------------------------------------------------------------------------


def _of_tree(leaves: Mapping[str, Any]) -> Iterator[Unit]:
    """Yields what the names of arrays tell: those of `flax.linen` and of Haiku."""
    owners: dict[str, dict[str, Any]] = {}
    for path, array in leaves.items():
        owner, _, name = path.rpartition(".")
        owners.setdefault(owner, {})[name] = array
    cells = dict(_linen_cells(owners))
    yield from cells.values()
    inside = {
        f"{path}.{gate}" if path else gate for path in cells for gate in _linen_gates(owners, path)
    }
    for owner, own in owners.items():
        if owner in inside:
            continue
        at = f"{owner}." if owner else ""
        for kernel in ("kernel", "w"):
            axes = len(own[kernel].shape) - 2 if kernel in own else -1
            places = {"weight": f"{at}{kernel}"}
            bias = "bias" if kernel == "kernel" else "b"
            places |= {"bias": f"{at}{bias}"} if bias in own else {}
            if set(own) <= {kernel, bias} and axes == 0:
                yield Unit(owner, "Linear", places | {"weight": f"{at}{kernel}.T"})
            elif set(own) <= {kernel, bias} and axes in CONVOLUTIONS:
                turned = f"{at}{kernel} {CONVOLUTIONS[axes]}"
                yield Unit(owner, f"Conv{axes}d", places | {"weight": turned})
        if set(own) <= {"scale", "bias", "offset"} and "scale" in own:
            bias = next((name for name in ("bias", "offset") if name in own), None)
            places = {"weight": f"{at}scale"} | ({"bias": at + bias} if bias else {})
            # Of linen's batch norm the statistics are in another tree.
            other = re.sub(r"^params\.", "batch_stats.", owner)
            if other != owner and set(owners.get(other, {})) == {"mean", "var"}:
                places |= {"running_mean": f"{other}.mean", "running_var": f"{other}.var"}
            yield Unit(owner, "BatchNorm" if "running_var" in places else NORM, places)
        for name in ("embedding", "embeddings"):
            if list(own) == [name]:
                yield Unit(owner, "Embedding", {"weight": at + name})


def _linen_gates(owners: Mapping[str, Any], path: str) -> list[str]:
    at = f"{path}." if path else ""
    inner = {owner.removeprefix(at) for owner in owners if owner.startswith(at)}
    for gates in _GATES.values():
        names = [source + gate for source in "ih" for gate in gates]
        if set(names) <= inner:
            return names
    return []


def _linen_cells(owners: Mapping[str, Any]) -> Iterator[tuple[str, Unit]]:
    """Yields the cells of `flax.linen`, which have a module for each gate."""
    for path in dict.fromkeys(owner.rpartition(".")[0] for owner in owners):
        names = _linen_gates(owners, path)
        if not names:
            continue
        at = f"{path}." if path else ""
        kind = "LSTM" if len(names) == 8 else "GRU"
        gates = len(names) // 2
        tensors: dict[str, Place] = {}
        for role, own in (("ih", names[:gates]), ("hh", names[gates:])):
            tensors[f"weight_{role}"] = [f"{at}{gate}.kernel.T" for gate in own]
            biases = [f"{at}{g}.bias" if "bias" in owners[at + g] else None for g in own]
            tensors[f"bias_{role}"] = biases if any(biases) else None
        yield path, Unit(path, kind, tensors)
