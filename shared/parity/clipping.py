"""Ways to limit gradients, or updates."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np


@dataclass(frozen=True)
class Clipping:
    """How gradients are limited.

    norm: all are scaled by limit / (norm of all + epsilon), at most 1
    largest: as norm, with the largest magnitude for the norm
    tensor: each tensor by its own norm
    value: each element to [-limit, limit]
    """

    kind: Literal["none", "norm", "largest", "tensor", "value"] = "none"
    limit: float = 0.0
    epsilon: float = 0.0
    place: Literal["gradient", "batch", "decayed", "direction", "update"] = "gradient"
    """What is limited: the (mean) gradient; each batch's gradient before the mean is taken; the
    gradient with its coupled decay; the update without, or with, its learning rate."""

    def norm(self, name: str, norms: Mapping[str, "Norms"]) -> float:
        """Returns the norm by which a tensor is scaled."""
        if self.kind == "tensor":
            return float(np.sqrt(norms[name].squares))
        if self.kind == "largest":
            return max(norm.largest for norm in norms.values())
        return float(np.sqrt(sum(norm.squares for norm in norms.values())))

    def factors(self, norms: Mapping[str, "Norms"]) -> dict[str, float]:
        """Returns by what each tensor is scaled."""
        if self.kind in ("none", "value"):
            return dict.fromkeys(norms, 1.0)
        if self.kind != "tensor":
            return dict.fromkeys(norms, self._factor(self.norm(next(iter(norms)), norms)))
        return {name: self._factor(self.norm(name, norms)) for name in norms}

    def _factor(self, norm: float) -> float:
        whole = norm + self.epsilon
        return min(1.0, self.limit / whole) if whole > 0 else 1.0


class Norms(NamedTuple):
    """Of one gradient."""

    squares: float
    """Sum of its squares."""
    largest: float
    """Its largest magnitude."""


UNCLIPPED = Clipping()


def clip(clipping: Clipping, array: np.ndarray, factor: np.ndarray | float) -> np.ndarray:
    """Clips a gradient or an update, of which the clipping has given the factor."""
    if clipping.kind == "value":
        return np.clip(array, -clipping.limit, clipping.limit)
    return array if clipping.kind == "none" else array * factor
