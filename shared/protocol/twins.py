"""The twins of torch's tensors in a program of a pair: parameters, and buffers such as the running
mean of a normalisation."""

from collections.abc import Collection, Mapping
from dataclasses import replace

import numpy as np

from shared.errors import InvalidInput
from shared.protocol.bound_mapping import BoundMap
from shared.protocol.layer import Shape
from shared.protocol.mapping import WeightMap
from shared.protocol.places import Place
from shared.protocol.program import Start
from shared.protocol.weights import Weights

RUNNING = {"running_mean": "mean", "running_var": "var"}
"""torch's name of a running statistic → Flax's."""

CARRIED = 1e-6
"""Largest relative difference of values that were carried over, perhaps in float32."""


class Twins:
    """A mapping for a program whose arrays are known.

    Args:
        names: as for `JaxProgram`.
        params: shapes of the program's parameters.
        rest: shapes of its other arrays.
        aliases: other places of arrays → the place that they are listed under.
    """

    def __init__(
        self,
        names: Mapping[str, Place] | WeightMap,
        params: Mapping[str, Shape],
        rest: Mapping[str, Shape],
        aliases: Mapping[str, str],
    ) -> None:
        if not isinstance(names, WeightMap):
            names = WeightMap(dict(names))
        self._given = names, params, rest, aliases
        places: dict[str, Place] = {}
        self.buffers: dict[str, str] = {}
        """torch's name of a buffer → its place."""
        for name, place in names.places.items():
            if isinstance(place, str) and self._is_buffer(names, name, place, params, rest):
                self.buffers[names.prefix + name] = place
            else:
                places[names.prefix + name] = place
        self.fixed = {place for place in self.buffers.values() if place in params}
        """Places among the parameters of a function that have buffers: nothing trains them."""
        self.shapes = {p: shape for p, shape in params.items() if p not in self.fixed}
        self._rest = dict(rest) | {p: params[p] for p in self.fixed}
        self.params: BoundMap = replace(names, places=places, prefix="").bind(
            self.shapes, aliases=aliases
        )

    def start(self, start: Start) -> tuple[Weights, Weights]:
        """Returns the values of parameters and of other arrays, by place.

        Raises:
            InvalidInput: tensors without a place, or of another shape than there.
        """
        late = {name for name in self.params.parts if name in start.buffers}
        if late - start.weights.keys():  # of a function: only torch knows that these are buffers
            names, params, rest, aliases = self._given
            bare = {name.removeprefix(names.prefix) for name in late}
            changed = replace(names, buffers=names.buffers | bare)
            Twins.__init__(self, changed, params, rest, aliases)
        self._pair_statistics(start.buffers)
        # A tensor that has two names in torch may have one place here, or two.
        weights = {
            name: array
            for name, array in start.weights.items()
            if name not in start.tied or name in self.params.parts
        }
        self.params.check_names({n: a for n, a in weights.items() if n not in self.buffers})
        for name, other in self.params.tied.items():
            if name in weights and other in weights and start.tied.get(name) != other:
                raise InvalidInput(f"names: {name}: {self.params.places[name]} has a twin already")
        rest = {}
        for name, place in self.buffers.items():
            values = start.buffers.get(name)
            if values is None:
                continue
            if values.shape != self._rest[place]:
                raise InvalidInput(
                    f"names: {name}: expected the shape of {place}, {self._rest[place]}, got "
                    f"{values.shape}"
                )
            rest[place] = values
        return self.params.to_port(weights), rest

    def torchs(self, arrays: Mapping[str, np.ndarray], shapes: Mapping[str, Shape]) -> Weights:
        """Returns parameters, or what belongs to them, by torch's names and in its layout. What is
        not there is left out."""
        found = self.params.to_torch(arrays, shapes)
        return {name: found[name] for name in shapes if name in found}

    def torchs_buffers(self, rest: Mapping[str, np.ndarray]) -> Weights:
        return {name: rest[place] for name, place in self.buffers.items() if place in rest}

    @staticmethod
    def _is_buffer(
        names: WeightMap, name: str, place: str, params: Collection[str], rest: Collection[str]
    ) -> bool:
        return (name in names.buffers and place in params) or (
            place not in params and place in rest
        )

    def _pair_statistics(self, buffers: Collection[str]) -> None:
        """Finds the running statistics of a normalisation beside its weight, where the mapping does
        not name them."""
        for name in buffers:
            module, _, kind = name.rpartition(".")
            weight = self.params.places.get(f"{module}.weight" if module else "weight")
            if name in self.buffers or kind not in RUNNING or not isinstance(weight, str):
                continue
            beside, _, _ = weight.rpartition(".")
            place = f"{beside}.{RUNNING[kind]}" if beside else RUNNING[kind]
            if place in self._rest:
                self.buffers[name] = place


def strayed(own: Mapping[str, np.ndarray], given: Mapping[str, np.ndarray]) -> list[str]:
    """Tells of parameters that a port had with other values than the mapping gives them, though
    others had the same: somebody had carried them over, in another way.

    Args:
        own: the port's parameters before, by place.
        given: those that the mapping gives.
    """
    other, same = [], False
    for place, array in own.items():
        new = np.asarray(given[place]) if place in given else array
        if np.allclose(array, new, rtol=CARRIED, atol=0):
            # Zeros or ones may have been there by themselves.
            same |= bool(array.size > 1 and np.ptp(array))
        else:
            turned = array.ndim > 1 and array.shape == new.T.shape
            turned = turned and np.allclose(array, new.T, rtol=CARRIED, atol=0)
            other.append(f"{place}, which had the transpose" if turned else place)
    if not same:
        return []
    return [
        f"its own {place} was not what the mapping gives it, though others were; both programs "
        "began with the mapping's"
        for place in other
    ]
