"""Small runs of every kind, for processes that take their steps together."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from hypothesis import strategies as st

from shared.config import Config, resolve
from shared.config.settings import Cell, Nonlinearity
from shared.runs.checkpoint import flatten
from shared.runs.run_folder import SUMMARY
from shared.tasks.registry import WITH_DATA
from shared.training import train
from tests.parity.test_lockstep_of_tasks import of_task
from tests.support.cross_resume_cases import check_same_run, last
from tests.support.take_steps import CELLS, OPTIMIZERS

BACKENDS = ("jax", "torch")
RAGGED = (
    *("--task", "last-value", "--data.train-examples", "29", "--data.valid-examples", "8"),
    *("--data.test-examples", "9", "--data.sequence-length", "5", "--data.input-size", "3"),
    *("--cell", "lstm", "--num-layers", "2", "--dropout", "0.3", "--clip-norm", "0.1"),
    *("--hidden-size", "4", "--batch-size", "8", "--epochs", "3", "--precision", "float64"),
)
"""The last batch of an epoch has five rows: four in the first process and one in the second."""
SIZES = (1, 2, 3, 5, 8)
WINDOWS = {"text": (2, 4), "copy": (None, 7)}
"""Tasks that can be read in windows, with the steps of one."""


class Case(NamedTuple):
    task: str
    cell: tuple[Cell, Nonlinearity] = ("lstm", "tanh")
    layers: int = 1
    bidirectional: bool = False
    dropout: float = 0.0
    optimizer: str = "adam"
    clip_norm: float | None = None
    batch_size: int = 8
    bptt: int | None = None

    def config(self, backend: str, folder: Path) -> Config:
        """Returns the case as a configuration; its files are written to the folder."""
        small = of_task(self.task, folder)
        cell, nonlinearity = self.cell
        network = replace(
            small.network,
            cell=cell,
            nonlinearity=nonlinearity,
            num_layers=self.layers,
            bidirectional=self.bidirectional,
            dropout=self.dropout,
            forget_bias=small.network.forget_bias if cell != "rnn" else 0.0,
        )
        changed = replace(
            small,
            backend=backend,
            network=network,
            optimization=replace(OPTIMIZERS[self.optimizer], clip_norm=self.clip_norm),
            batch_size=self.batch_size,
            bptt=self.bptt,
            epochs=2,
        )
        return resolve(changed)


USUAL = {
    "ragged, two layers, dropout, clipped": Case(
        "last-value", layers=2, dropout=0.3, clip_norm=0.1
    ),
    "a text in streams": Case("text", layers=2, dropout=0.3, batch_size=3, bptt=4),
    "lengths, both directions, a row": Case(
        "vowels", ("gru", "tanh"), bidirectional=True, optimizer="rmsprop", batch_size=1
    ),
}


@st.composite
def cases(draw: st.DrawFn) -> Case:
    task = draw(st.sampled_from(WITH_DATA))
    layers = draw(st.integers(1, 3))
    bptt = draw(st.sampled_from(WINDOWS.get(task, (None,))))
    return Case(
        task,
        draw(st.sampled_from(CELLS)),
        layers,
        bptt is None and draw(st.booleans()),
        draw(st.sampled_from((0.0, 0.3, 0.6))) if layers > 1 else 0.0,
        draw(st.sampled_from([*OPTIMIZERS])),
        draw(st.sampled_from((None, 0.1, 10.0))),
        draw(st.sampled_from(SIZES)),
        bptt,
    )


def check_trained(actual: Path, expected: Path, taken_by: tuple[int, int]) -> dict[str, Any]:
    """Raises unless two folders hold the same run, and the first one says how many processes and
    devices it had; returns its summary."""
    check_same_run(actual, expected, len(flatten(last(expected).snapshot)))
    found = json.loads((actual / SUMMARY).read_text())
    assert (found["processes"], found["devices"]) == taken_by
    assert (found["segments"][-1]["processes"], found["segments"][-1]["devices"]) == taken_by
    before = json.loads((expected / SUMMARY).read_text())
    assert (before["processes"], before["devices"]) == (1, 1)
    return found


def alone(config: Config, folder: Path) -> Path:
    train(config, folder, quiet=True)
    return folder
