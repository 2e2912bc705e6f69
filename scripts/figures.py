"""Draws the pictures that explain a recurrent network, from small runs that it trains itself.

    network              the network of "hello", folded, with the shapes of its weights
    unrolled             the same over five letters, with all numbers of 3 hidden units
    hidden-states        the hidden states of 8 units
    gradient-distance    what is left of a gradient over 200 steps, in six networks

For example:
    python scripts/figures.py
    python scripts/figures.py --backend torch --only unrolled hidden-states --out pictures
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

sys.path.insert(0, str(Path(__file__).parents[1]))  # what a checkout has beside the packages

from shared.commands import cli
from shared.system import process

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Name = Literal["network", "unrolled", "hidden-states", "gradient-distance"]
Framework = Literal["jax", "torch"]
DPI = 100


@dataclass(frozen=True)
class Arguments:
    out: str = "docs/images"
    """Folder to write to; pictures of these names there are replaced."""
    backend: Framework = "jax"
    """Framework to compute in, in float64: either draws the same pictures."""
    only: tuple[Name, ...] = ("network", "unrolled", "hidden-states", "gradient-distance")
    """Pictures to draw."""


def main(argv: Sequence[str]) -> None:
    assert __doc__ is not None
    arguments = cli.parse(Arguments, argv, Arguments(), __doc__)

    from shared.report.style import save_figure
    from shared.system.folders import occupants, reserved

    folder = Path(arguments.out)
    occupants(folder)
    with reserved(folder, "--out"):
        for name in arguments.only:
            file = folder / f"{name}.png"
            save_figure(draw(name, arguments.backend), file, DPI)
            print(f"wrote {file}")


def draw(name: Name, backend: Framework) -> "Figure":
    from importlib import import_module

    from docs.lessons import network_plots, reading, state_plots, vanishing

    if name == "network":
        return network_plots.draw_network(reading.hello_shapes())
    if name == "unrolled":
        return network_plots.draw_unrolled(
            reading.read(reading.train_hello(backend, hidden_size=3))
        )
    if name == "hidden-states":
        return state_plots.draw_states(reading.read(reading.train_hello(backend)))
    gradients = import_module(f"rnn_{backend}.gradients")
    return state_plots.draw_gradients(vanishing.over_distance(gradients.gradient_norms))


if __name__ == "__main__":
    process.run(main)
