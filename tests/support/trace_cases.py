"""Networks whose traces the tests compare: every cell, in one and in two layers and directions."""

import itertools

from shared.config import Config
from shared.config.settings import Cell, NetworkConfig, Nonlinearity
from tests.support.traces import OPTIMIZATIONS, last_value, text, words

STEP = 1e-10
HIDDEN = 3
BACKENDS = ("jax", "torch")


def network(
    cell: Cell, nonlinearity: Nonlinearity, layers: int = 1, bidirectional: bool = False, **options
) -> NetworkConfig:
    dropout = 0.3 if layers > 1 else 0.0
    defaults = {"hidden_size": HIDDEN, "num_layers": layers, "dropout": dropout}
    return NetworkConfig(cell, nonlinearity, bidirectional=bidirectional, **(defaults | options))


def every_case() -> dict[str, Config]:
    """Each cell in one and two layers, in one and in both directions. Lengths in the words and last
    values, masks between two layers, carried state in the text; the optimizers take turns."""
    turns = itertools.cycle(OPTIMIZATIONS)
    cases = {}
    stacked: list[tuple[Cell, Nonlinearity, list[tuple[int, bool]]]] = [
        ("rnn", "tanh", [(1, False)]),
        ("rnn", "relu", [(1, True), (2, True)]),
        ("lstm", "tanh", [(1, True), (2, True)]),
        ("gru", "tanh", [(1, True), (2, True)]),
    ]
    for cell, nonlinearity, stacks in stacked:
        for stack in stacks:
            name = f"words {cell if cell != 'rnn' else nonlinearity} {stack[0]}x{1 + stack[1]}"
            cases[name] = words(network(cell, nonlinearity, *stack), next(turns))
    for cell in ("rnn", "lstm", "gru"):
        carried = network(cell, "tanh", 2, embedding_size=2)
        cases[f"text {cell} 2x1"] = text(carried, next(turns))
    cases["last-value lstm 1x1"] = last_value(network("lstm", "tanh"))
    cases["last-value gru 1x1"] = last_value(network("gru", "tanh"), "momentum")
    return cases


CASES = every_case()
FEW = ("words lstm 2x2", "text gru 2x1")


USUAL = ("words tanh 1x1", "words relu 2x2", "words lstm 2x2", "words gru 1x2", "text gru 2x1",
         "text lstm 2x1", "last-value lstm 1x1", "last-value gru 1x1")  # fmt: skip


def layers_of(config: Config) -> tuple[int, int]:
    """L and D."""
    return config.network.num_layers, 2 if config.network.bidirectional else 1
