"""Changes of weights, of which misreadings are made."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from shared.protocol.weights import Weights

Change = Callable[[Weights], Weights]


def each(names: Sequence[str], change: Callable[[np.ndarray], np.ndarray]) -> Change:
    return lambda weights: {**weights, **{name: change(weights[name]) for name in names}}


def rows(
    names: Sequence[str], count: int, block: int, change: Callable[[np.ndarray], np.ndarray]
) -> Change:
    """Changes one of `count` blocks of rows."""

    def changed(array: np.ndarray) -> np.ndarray:
        parts = np.split(array, count)
        return np.concatenate([change(p) if i == block else p for i, p in enumerate(parts)])

    return each(names, changed)


def reordered(names: Sequence[str], order: Sequence[int]) -> tuple[Change, Change]:
    """Returns what a program sees that takes the k-th block of rows for the one that is `order[k]`
    by right, and what it would need."""

    def arranged(order: Sequence[int]) -> Change:
        return each(
            names, lambda array: np.concatenate([np.split(array, len(order))[k] for k in order])
        )

    return arranged([int(k) for k in np.argsort(order)]), arranged(order)


def exchanged(moved: Mapping[str, str]) -> tuple[Change, Change]:
    back = {there: here for here, there in moved.items()}

    def put(places: Mapping[str, str]) -> Change:
        return lambda weights: {**weights, **{a: weights[b] for a, b in places.items()}}

    return put(moved), put(back)


def leaf(name: str) -> str:
    return name.rpartition(".")[2]


def parent(name: str) -> str:
    return name.rpartition(".")[0]
