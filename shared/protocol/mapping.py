"""Which tensor of a model in torch is where in its port: loads a state dict, and writes one back.

    names = WeightMap({"head.weight": "head.kernel.T", "head.bias": "head.bias"})
    names.load(ours, theirs.state_dict())
    theirs.load_state_dict(names.state_dict(ours))

The port is a Flax module or a pytree. `JaxProgram(names=…)` takes the same mapping, and
`shared.parity.propose` finds one. `shared/protocol/places.py` says how a place is written.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from shared.errors import InvalidInput
from shared.protocol.backend import part_of
from shared.protocol.bound_mapping import NEEDS_LIKE, BoundMap
from shared.protocol.folding import fold, not_folded
from shared.protocol.layer import Shape
from shared.protocol.places import Place
from shared.protocol.tensors import to_array


@dataclass(frozen=True)
class WeightMap:
    """A mapping of torch's names to places in a port.

    Two names with the same place are one tensor in torch, such as an embedding and a tied head.
    """

    places: Mapping[str, Place]
    constants: Mapping[str, str] = field(default_factory=dict)
    """Buffers of torch that have no place, since the port knows their values by itself → their
    `digest`; of a counter, which does not matter, it is empty."""
    prefix: str = ""
    """What stands before every name in the state dict: "module." of DataParallel."""
    reasons: Mapping[str, str] = field(default_factory=dict)
    """Name → why it is there, for the table."""
    deviation: float | None = None
    """Largest relative deviation of the outputs when `propose` checked the mapping
    (`shared.parity.settle.deviation`). None if it was not checked."""
    caution: str = ""
    """Why the outputs may deviate by more than rounding in float64, if they do."""
    buffers: frozenset[str] = frozenset()
    """Names in `places` that are buffers in torch, which no optimizer moves."""

    def load(self, ours: Any, tensors: Mapping[str, Any], *, one_bias: bool = False) -> Any:
        """Loads a state dict into the port.

        Args:
            ours: a `flax.nnx.Module`, which is changed, or a pytree, which is not.
            tensors: a state dict of torch, or name → array. Weight norm and its like are computed
                into the matrix (`shared/protocol/folding.py`). Values are cast to the dtype of
                their place.
            one_bias: where the port has one bias and torch two, take their sum. The port computes
                the same and trains differently: two biases move twice as far.

        Returns:
            The module, or a new pytree.

        Raises:
            InvalidInput: a tensor that is missing, unexpected, of another shape, or not zero
                although it has no twin; an array that gets no value. The port then stays as it was.
        """
        if not isinstance(tensors, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidInput(f"expected a state dict, got {type(tensors).__name__}")
        tree = part_of("jax", "arrays")
        arrays = tree.arrays(ours)
        weights = self.without_prefix({name: to_array(name, t) for name, t in tensors.items()})
        folded = fold(weights).tensors
        if self.places.keys() <= folded.keys() or not self.places.keys() <= weights.keys():
            weights = folded
            for name, reason in not_folded(weights).items():
                raise InvalidInput(f"{name}: {reason}")
        bound = self.bind(
            {path: array.shape for path, array in arrays.items()},
            optional=[path for path in tree.optional(ours) if hasattr(arrays[path], "__array__")],
            aliases=tree.aliases(ours),
        )
        if one_bias:
            weights = bound.with_one_bias(weights)
        bound.check_tensors(weights)
        bound.check_tied(self.without_prefix(tensors))
        found = bound.to_port(weights)
        for path, array in found.items():
            found[path] = _cast(path, array, arrays[path].dtype)
        return tree.with_arrays(ours, found)

    def state_dict(self, ours: Any, like: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Writes the port's values as a state dict of torch.

        Args:
            ours: a `flax.nnx.Module` or a pytree.
            like: a state dict of the module, for what has no place in the port: the shape of a
                tensor without a twin, the values of `constants`.

        Returns:
            Name → tensor, which the module's `load_state_dict` takes.

        Raises:
            InvalidInput: `like` is needed and missing.
        """
        tree = part_of("jax", "arrays")
        arrays = tree.arrays(ours)
        for path, array in arrays.items():
            if not hasattr(array, "__array__"):
                raise InvalidInput(f"{path}: expected values, got a shape alone")
        arrays = {path: np.asarray(array) for path, array in arrays.items()}
        given = self.without_prefix(like or {})
        bound = self.bind(
            {path: array.shape for path, array in arrays.items()},
            optional=tree.optional(ours),
            aliases=tree.aliases(ours),
        )
        weights = bound.to_torch(arrays, {name: tuple(t.shape) for name, t in given.items()})
        to_tensor = part_of("torch", "exchange").to_tensor
        found = {name: to_tensor(array) for name, array in weights.items()}
        for name in self.constants:
            if name not in given:
                raise InvalidInput(f"{name} has no place in the port: {NEEDS_LIKE}")
            found[name] = given[name]
        for name in found:
            if like is not None and name not in given:
                raise InvalidInput(
                    f"{name}: expected it in the module's state dict, got none: a wrapper such as "
                    "weight norm keeps it in parts, which the matrix does not tell; remove that "
                    "first, with torch.nn.utils.parametrize.remove_parametrizations or its like"
                )
        return {self.prefix + name: tensor for name, tensor in found.items()}

    def bind(
        self,
        shapes: Mapping[str, Shape],
        *,
        optional: Sequence[str] = (),
        aliases: Mapping[str, str] | None = None,
    ) -> BoundMap:
        """Reads all places for a port with these arrays.

        Args:
            shapes: of the arrays, by path.
            optional: paths of state that may keep what the port has.
            aliases: other paths of arrays that the port has in several places.

        Raises:
            InvalidInput: a place that is not there, is taken twice, or is not written as a place;
                a parameter without a twin.
        """
        return BoundMap(self.places, self.constants, shapes, optional, aliases or {})

    def without_prefix(self, tensors: Mapping[str, Any]) -> dict[str, Any]:
        """Returns a state dict with the names that this mapping has.

        Raises:
            InvalidInput: a name without the prefix.
        """
        for name in tensors:
            if not str(name).startswith(self.prefix) or not isinstance(name, str):
                raise InvalidInput(f"{name}: expected a name that begins with {self.prefix}")
        return {name.removeprefix(self.prefix): tensor for name, tensor in tensors.items()}

    def __str__(self) -> str:
        """Returns a table: torch's name, its place, the reason; then how near the outputs were."""
        rows = [
            (name, _written(place), self.reasons.get(name, ""))
            for name, place in self.places.items()
        ]
        rows += [(name, "–", self.reasons.get(name, "")) for name in self.constants]
        widths = [max((len(row[column]) for row in rows), default=0) for column in (0, 1)]
        lines = (f"{a:<{widths[0]}}  {b:<{widths[1]}}  {why}".rstrip() for a, b, why in rows)
        return "\n".join([*lines, *self._checked()])

    def _checked(self) -> list[str]:
        if self.deviation is None:
            return []
        said = f"with random weights the outputs agree within a relative {self.deviation:.1e}"
        return [said + (f": {self.caution}" if self.caution else "")]


def _cast(path: str, array: np.ndarray, dtype: Any) -> np.ndarray:
    with np.errstate(over="ignore"):
        cast = array.astype(dtype)
    if np.isfinite(cast).sum() < np.isfinite(array).sum():
        largest = np.abs(array[np.isfinite(array)]).max()
        raise InvalidInput(
            f"{path}: expected values within the range of {cast.dtype}, got {largest:.3g}"
        )
    return cast


def _written(place: Place) -> str:
    if isinstance(place, str):
        return place
    if place is None:
        return "None"
    return f"[{', '.join('None' if one is None else one for one in place)}]"
