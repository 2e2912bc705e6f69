"""Ways to misread the weights of a recurrent layer, and what a program that does so would need."""

import itertools
import re
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from shared.protocol.weights import Weights

Misreading = tuple[str, str, Callable[[Weights], Weights]]
_RECURRENT = re.compile(
    r"(?P<cell>(?:.*\.)?)(?:weight|bias)_(?:ih|hh)(?P<layer>(?:_l\d+(?:_reverse)?)?)"
)
"""Names of tensors in torch's recurrent layers and cells."""


def misreadings(weights: Weights) -> Iterator[Misreading]:
    """Yields each misreading: its name, a description, and the weights with which a program that
    misreads them is right."""
    blocks = {name: _blocks(weights, name) for name in weights}
    for gates, letters in ((4, "ifgo"), (3, "rzn")):
        names = [name for name, count in blocks.items() if count == gates]
        for order in itertools.permutations(letters) if names else ():
            read = "".join(order)
            if read != letters:
                about = f"gates are read in the order {' '.join(read)}, not {' '.join(letters)}"
                yield f"gates:{read}", about, _reordered(names, letters, read)
        if gates == 4 and names:
            about = "1 is added to the forget gate's bias, as in TensorFlow 1, Haiku and Keras"
            yield "forget-bias", about, _shifted(names, letters.index("f"))
    for name, array in weights.items():
        square = array.ndim == 2 and array.shape[0] == blocks[name] * array.shape[1]
        if square and array.shape[1] > 1:
            yield (
                f"transposed:{name}",
                f"{name} is read transposed",
                _transposed(name, blocks[name]),
            )


def _blocks(weights: Weights, name: str) -> int:
    """Returns how many row blocks a tensor has. A recurrent tensor has one for each gate: its rows
    divided by the hidden size, which is the columns of W_hh."""
    match = _RECURRENT.fullmatch(name)
    hidden = weights.get(f"{match['cell']}weight_hh{match['layer']}") if match else None
    return 1 if hidden is None else max(1, len(weights[name]) // hidden.shape[1])


def _reordered(names: Sequence[str], letters: str, read: str) -> Callable[[Weights], Weights]:
    """Lays rows out so that a program which reads them in the order `read` sees `letters`."""

    def change(weights: Weights) -> Weights:
        changed = dict(weights)
        for name in names:
            blocks = dict(zip(letters, np.split(weights[name], len(letters)), strict=True))
            changed[name] = np.concatenate([blocks[gate] for gate in read])
        return changed

    return change


def _shifted(names: Sequence[str], gate: int) -> Callable[[Weights], Weights]:
    """Lowers one of the two biases by 1 in the rows of a gate."""

    def change(weights: Weights) -> Weights:
        changed = dict(weights)
        for name in names:
            if name.rpartition(".")[2].startswith("bias_ih"):
                rows = len(weights[name]) // 4
                changed[name] = weights[name].copy()
                changed[name][gate * rows : (gate + 1) * rows] -= 1
        return changed

    return change


def _transposed(name: str, blocks: int) -> Callable[[Weights], Weights]:
    def change(weights: Weights) -> Weights:
        parts = [part.T for part in np.split(weights[name], blocks)]
        return {**weights, name: np.ascontiguousarray(np.concatenate(parts))}

    return change
