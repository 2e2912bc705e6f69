"""Has a trained network predict for new data.

For example:
    rnn-parity predict --run runs/weather-jax-handcrafted-gru-1 --input days.csv
    rnn-parity predict --run runs/vowels-1 --input utterances.npz --out speakers.json
    rnn-parity predict --run runs/translate-1 --input numbers.txt --backend torch
    rnn-parity predict --run runs/book --input chapter.txt
    rnn-parity predict --run runs/forecast-1 --input sales.csv --out next-week.parquet
    rnn-parity predict --run runs/labels-1 --input new-reviews.jsonl
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from shared.commands import cli
from shared.errors import InvalidInput


@dataclass(frozen=True)
class Arguments:
    run: str
    """Run folder of the network."""
    input: str
    """What to read: the same kind of file as the network was trained on, without targets. A series:
    a table (CSV, TSV, Parquet, NPZ) with the columns of the task. Sequences: a table with a row for
    each step, a folder of tables, or NPY or NPZ "inputs" (sequences, steps, features). Texts,
    sources: a table with their column, or UTF-8, one a line."""
    out: str | None = None
    """File to write, CSV, JSON or Parquet by its name; by default CSV to the terminal."""
    overwrite: bool = False
    """Replace the file in --out."""
    past: bool = False
    """Of a forecast: predict from its earlier rows, too, with what came beside; networks of tasks
    whose data comes along always do."""
    beams: int = 5
    """Of a translation: answers that are followed at once; 1 is greedy decoding."""
    backend: Literal["jax", "torch"] | None = None
    """Framework to compute in; by default the run's."""
    device: Literal["auto", "cpu", "gpu", "tpu"] = "auto"
    """Where to compute."""


def main(argv: Sequence[str]) -> None:
    assert __doc__ is not None
    default = Arguments(run=tyro.MISSING, input=tyro.MISSING)
    arguments = cli.parse(Arguments, argv, default, __doc__)
    out = None if arguments.out is None else Path(arguments.out)
    if out is not None and out.suffix not in (".csv", ".json", ".parquet"):
        raise InvalidInput(f"--out {out}: expected a name in .csv, .json or .parquet")
    if out is not None and out.is_dir():
        raise InvalidInput(f"--out {out}: expected a file's name, got a folder")
    if out is not None and out.exists() and not arguments.overwrite:
        raise InvalidInput(f"--out {out}: exists; --overwrite replaces it")
    if out is not None and not out.parent.is_dir():
        raise InvalidInput(f"--out {out}: expected a file in a folder that exists")
    if not 1 <= arguments.beams <= 1000:
        raise InvalidInput(f"--beams: expected a number from 1 to 1000, got {arguments.beams}")

    from shared.inference import load_trained
    from shared.inference.predict import predictions
    from shared.system.folders import reserved
    from shared.system.table_records import as_csv, write_records

    if out is not None:
        with reserved(out.parent, "--out"):
            pass  # it can be written to
    trained = load_trained(Path(arguments.run), arguments.backend, arguments.device)
    if trained.schema.between is None and cli.option(argv, "--beams") is not None:
        raise InvalidInput(
            f"--beams is an option of translations, got a network of task {trained.schema.task}"
        )
    if trained.schema.series is None and arguments.past:
        raise InvalidInput(
            f"--past is an option of series, got a network of task {trained.schema.task}"
        )
    found = predictions(trained, Path(arguments.input), arguments.beams, arguments.past or None)
    if out is None:
        sys.stdout.write(as_csv(found))
        return
    write_records(out, found)
    print(f"wrote {out}, {len(found)} predictions")
