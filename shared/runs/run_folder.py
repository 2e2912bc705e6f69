"""The folder that a run leaves: its configuration, one JSON line a step, and a summary.

    config.json                    the resolved configuration
    metrics.jsonl                  {"step", "epoch", "split", "loss", "accuracy" or "mae"} a line
    checkpoint-<step>.safetensors  the last ones and the best: checkpoint.py
    schema.json                    what the network's inputs and outputs mean: schema.py
    predictions.npz                what it predicts for the test part: predictions.py
    events.out.tfevents.…          the history for TensorBoard, if wanted: tensorboard.py
    curves.png, predictions.png    loss over the steps; what is predicted, as the task needs
    card.md                        the model card: data, scores, limits, how to use the network
    summary.json                   written last: a folder without it holds an unfinished run
    run.lock                       while a process writes: shared/system/lock.py

Each file is either complete or absent, except for the last line of metrics.jsonl. JSON files and
checkpoints hold their own checksums. The checksum of metrics.jsonl stands in each checkpoint and
in summary.json.

Everything that compares or reports reads these folders, and nothing else.
"""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

from shared.config import Config
from shared.config.options import from_json
from shared.errors import InvalidInput
from shared.runs import checkpoint, predictions, schema, tensorboard
from shared.runs.history import METRICS
from shared.runs.summary import Summary
from shared.system import lock
from shared.system.files import TEMPORARY, remove_temporary
from shared.system.folders import occupants, remove, reserved
from shared.system.json_files import parse, read_signed, write_signed

CONFIG, CURVES, SUMMARY = "config.json", "curves.png", "summary.json"
PICTURE, CARD = "predictions.png", "card.md"
SEEDS = "seeds.json"
"""File that makes a folder one of several seeds (seeds.py)."""
RESULTS = (SUMMARY, CURVES, PICTURE, CARD, predictions.FILE)


class Status(NamedTuple):
    """Progress of the run in a folder."""

    begun: bool
    """True if there is a configuration."""
    step: int | None
    """Step of the last checkpoint; None if there is none."""
    finished: bool
    """True if the run is scored: there is a summary."""
    drawn: bool
    """True if its curves are drawn; they come last."""


def status(folder: Path) -> Status:
    """Returns the progress of a run; a folder that does not exist counts as not begun.

    Raises:
        InvalidInput: it is no folder, or cannot be read.
    """
    names, steps = occupants(folder), checkpoint.steps(folder)
    last = steps[-1] if steps else None
    return Status(CONFIG in names, last, SUMMARY in names, CURVES in names)


def check_run(folder: Path, option: str = "") -> None:
    """Refuses what is no run folder.

    Args:
        option: the option that names it, such as "--resume", for the message.

    Raises:
        InvalidInput: it is missing, no folder, one of several seeds, or without a configuration.
    """
    if (folder / CONFIG).is_file():
        return
    name = f"{option} {folder}".strip()
    got = "one without it" if folder.is_dir() else "a file" if folder.exists() else "nothing there"
    if (folder / SEEDS).is_file():
        got = f"that of several seeds, whose runs are {folder}/seed-…"
    raise InvalidInput(f"{name}: expected a run folder, with a {CONFIG}, got {got}")


def check_free(folder: Path, overwrite: bool) -> None:
    """Refuses a folder that a new run must not write to.

    Raises:
        InvalidInput: it holds another run and overwrite is False, or anything that is no run.
    """
    names = {name for name in occupants(folder) if not TEMPORARY.fullmatch(name)} - {lock.FILE}
    if names and not _is_run(folder, names):
        raise InvalidInput(
            f"--out {folder}: expected a new or empty folder, got one with other files"
        )
    if names and not overwrite:
        raise InvalidInput(
            f"--out {folder}: holds another run; continue it with --resume {folder}, "
            "replace it with --overwrite, or name another folder"
        )


def _is_run(folder: Path, names: Collection[str]) -> bool:
    """Tells whether a folder with these files is a run's; other folders may have a config.json,
    too."""
    if CONFIG not in names or METRICS in names:
        return CONFIG in names
    try:
        read_config(folder / CONFIG, edited=True)
    except InvalidInput:
        return False
    return True


@contextmanager
def created(folder: Path, config: Config, overwrite: bool) -> Iterator[lock.Lock]:
    """Makes a run folder that holds only the configuration, and locks it.

    Raises:
        InvalidInput: it cannot be made or written to, or another process writes it or has just
            finished a run there.
    """
    with reserved(folder, "--out"), lock.held(folder, "--out") as own:
        check_free(folder, overwrite)
        # The old configuration goes last: until then the folder is known to be a run's.
        clear(folder, but=(CONFIG,))
        save_config(folder, config)
        yield own


def clear(folder: Path, but: Collection[str] = ()) -> None:
    """Removes all files of a run."""
    own = {CONFIG, METRICS, schema.FILE, *RESULTS}
    own |= {checkpoint.path(folder, step).name for step in checkpoint.steps(folder)}
    remove(folder, own - {*but})
    tensorboard.clear(folder)
    remove_temporary(folder)


def reopen(folder: Path, config: Config) -> None:
    """Makes a run unfinished again: the files of its end would not fit the steps to come."""
    remove(folder, RESULTS)
    remove_temporary(folder)
    save_config(folder, config)


def save_config(folder: Path, config: Config) -> None:
    write_signed(folder / CONFIG, config)


def save_summary(folder: Path, summary: Summary) -> None:
    write_signed(folder / SUMMARY, summary)


def read_summary(folder: Path) -> Summary:
    """Reads the summary of a finished run.

    Raises:
        InvalidInput: it is missing, damaged, or not of this version.
    """
    return read_signed(folder / SUMMARY, partial(parse, Summary))


def read_config(file: Path, *, edited: bool = False) -> Config:
    """Reads the configuration in a JSON file.

    Args:
        edited: it may have been changed by hand since a run wrote it.

    Raises:
        InvalidInput: the file is missing, damaged, or is not a configuration of this version.
    """
    advice = f"; --config {file} trains a new run with it as it is"
    return read_signed(file, from_json, edited=edited, advice=advice)
