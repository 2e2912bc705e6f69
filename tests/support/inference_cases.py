"""Runs with random weights that predict as trained ones do, and tables of the published series."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from shared.config import resolve
from shared.config.data import Data, SunspotsData, VolumeData, WeatherData
from shared.config.settings import NetworkConfig
from shared.protocol import Snapshot
from shared.protocol.weights import network_shapes
from shared.runs import checkpoint
from shared.runs.checkpoint import Checkpoint
from shared.runs.run_folder import save_config
from shared.runs.schema import save_schema, schema_of
from shared.system.randomness import generator
from shared.tasks import TASKS, load_task, published
from shared.tasks.task import Task

TEXT = "the cat sat on the mat\n\nthe dog sat on a log, and on the cat\n"

FIRST = "checkpoint-0.safetensors"


def made(folder: Path, data: Data, **options: Any) -> tuple[Path, Task]:
    """A run folder with random weights: as good as trained ones here, and there in no time."""
    (name,) = (name for name, row in TASKS.items() if type(row.defaults.data) is type(data))
    defaults = replace(TASKS[name].defaults, backend="torch", data=data, precision="float64")
    network = NetworkConfig(cell="gru", hidden_size=4, bidirectional=name == "vowels")
    config = resolve(replace(defaults, network=network, **options))
    task = load_task(config)
    folder.mkdir()
    save_config(folder, config)
    save_schema(folder, schema_of(config, task))
    signature = task.signature
    shapes = network_shapes(config.network, signature.input_size, signature.output_size)
    draw = generator(3, "weights of a test")
    weights = {key: draw.normal(0, 0.7, shape) for key, shape in shapes.items()}
    checkpoint.write(folder / FIRST, Checkpoint(Snapshot.of(weights), task.fingerprint))
    return folder, task


SERIES: dict[str, Data] = {
    "volume": VolumeData(),
    "volume of changes": VolumeData(difference=True, weekday=False),
    "weather": WeatherData(),
    "weather of changes": WeatherData(difference=True),
    "sunspots": SunspotsData(),
}


def table(task: Task, rows: slice) -> dict[str, np.ndarray]:
    """The published columns of a series, dated where it has dates."""
    assert task.series is not None
    found = published.load(task.name)
    columns = {c.name: found[c.name][rows] for c in task.series.columns if c.kind == "number"}
    if "date" not in found:
        return columns
    return {"date": found["date"][rows].astype("datetime64[D]").astype(str)} | columns


def write_csv(file: Path, columns: dict[str, np.ndarray]) -> Path:
    lines = [",".join(columns), *(",".join(map(str, row)) for row in zip(*columns.values()))]  # noqa: B905
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file
