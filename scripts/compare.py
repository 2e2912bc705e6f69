"""Trains one configuration in several backends and reports them side by side.

For example:
    python scripts/compare.py
    python scripts/compare.py --task last-value --cell lstm --precision float64
    python scripts/compare.py --task text --contenders jax/handcrafted torch/native
    python scripts/compare.py runs/a runs/b
"""

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from shared import cli
from shared.config import Config, Unprefixed
from shared.errors import InvalidInput
from shared.files import report_folder
from shared.validation import resolve

RUNS = "runs"
CONTENDERS = ("jax/handcrafted", "jax/native", "torch/handcrafted", "torch/native")


@dataclass(frozen=True)
class Arguments:
    settings: Unprefixed[Config]
    folders: tyro.conf.Positional[tuple[str, ...]] = ()
    """Run folders to compare as they are, instead of training."""
    contenders: tuple[str, ...] = ("jax/handcrafted", "torch/handcrafted", "torch/native")
    """Which backend/implementation pairs to train, each in a process of its own."""
    out: str | None = None
    """Folder for the report and the runs; by default the next free one in reports/."""
    overwrite: bool = False
    """Replace the report in --out."""
    config: str | None = None
    """A config.json whose settings are the defaults."""
    tune_allocator: bool = True
    """Have glibc keep the memory that a step gives back for the next one."""


def main(argv: Sequence[str]) -> None:
    base = cli.base_config(argv)
    assert __doc__ is not None
    arguments = cli.parse(Arguments, argv, Arguments(base), cli.with_tasks(__doc__))
    settings = arguments.settings
    if cli.option(argv, "--backend") or cli.option(argv, "--implementation"):
        raise InvalidInput(
            "--backend, --implementation: expected --contenders BACKEND/IMPLEMENTATION …"
        )
    if arguments.folders and settings != base:
        raise InvalidInput("run folders are compared as they are: expected no settings beside them")

    from shared import report

    name = "comparison" if arguments.folders else settings.task
    own = {*report.FILES, RUNS}
    folder = report_folder(arguments.out, name, own, arguments.overwrite)
    if arguments.folders:
        runs = [Path(name) for name in arguments.folders]
    else:
        runs = _train(resolve(settings), arguments, folder)

    from shared.history import read_run
    from shared.report import HTML, MARKDOWN, pairs, reproduction, write_report

    read = [read_run(run) for run in runs]
    write_report(read, folder, reproduction(["scripts/compare.py", *argv]))
    for pair in pairs(read):
        print(pair.sentence)
    print(f"wrote {folder / HTML}, {folder / MARKDOWN} and the pictures beside them")


def _clear(folder: Path, contenders: Sequence[str]) -> None:
    """Removes the report that a new one replaces, and the runs of other contenders."""
    from shared import files, history, report

    files.remove(folder, report.FILES)
    for run in (_run_folder(folder, name) for name in CONTENDERS if name not in contenders):
        if run.is_dir():
            files.remove(run, history.FILES)
            if not files.occupants(run):
                run.rmdir()


def _run_folder(folder: Path, contender: str) -> Path:
    return folder / RUNS / contender.replace("/", "-")


def _train(config: Config, arguments: Arguments, folder: Path) -> list[Path]:
    """Runs scripts/run.py for one contender after the other; returns their run folders."""
    contenders = arguments.contenders
    unknown = [name for name in contenders if name not in CONTENDERS]
    if unknown or len(set(contenders)) < max(2, len(contenders)):
        got = " ".join(contenders)
        raise InvalidInput(
            f"--contenders: expected two or more of {', '.join(CONTENDERS)}, got {got}"
        )
    from shared.history import save_config

    script = Path(__file__).with_name("run.py")
    runs = []
    with tempfile.TemporaryDirectory() as scratch:
        save_config(Path(scratch), config)
        for name in contenders:
            backend, implementation = name.split("/")
            run = _run_folder(folder, name)
            command = [sys.executable, str(script), "--config", str(Path(scratch, "config.json"))]
            command += ["--backend", backend, "--implementation", implementation, "--out", str(run)]
            command += ["--overwrite"] if arguments.overwrite else []
            command += [] if arguments.tune_allocator else ["--no-tune-allocator"]
            code = subprocess.run(command, check=False).returncode
            if code < 0:
                print(f"compare.py: {name} was killed by signal {-code}", file=sys.stderr)
            if code:  # the contender has said why
                sys.exit(code if code > 0 else 1)
            if not runs:  # the configuration is usable: what it replaces can go
                _clear(folder, contenders)
            runs.append(run)
    return runs


if __name__ == "__main__":
    cli.run(main)
