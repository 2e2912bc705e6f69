"""Trains one configuration in several backends and reports them side by side.

For example:
    rnn-parity compare
    rnn-parity compare --task last-value --cell lstm --precision float64
    rnn-parity compare --task text --contenders jax/handcrafted torch/native
    rnn-parity compare --task volume --seeds 0..4
    rnn-parity compare runs/a runs/b
    rnn-parity compare --suite results --out docs --overwrite
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Literal

import tyro

from shared.commands import cli, program
from shared.config import Config, resolve
from shared.errors import InvalidInput
from shared.system import process
from shared.system.children import Children
from shared.system.folders import occupants, report_folder
from shared.tasks.registry import WITH_DATA

if TYPE_CHECKING:
    from shared.runs.jobs import Job

RUNS = "runs"
SUITE_SEEDS = [0, 1, 2]
CONTENDERS = ("jax/handcrafted", "jax/native", "torch/handcrafted", "torch/native")


@dataclass(frozen=True)
class Arguments:
    settings: cli.Settings
    folders: tyro.conf.Positional[tuple[str, ...]] = ()
    """Run folders to compare as they are, instead of training; or folders of several seeds."""
    contenders: tuple[str, ...] = ("jax/handcrafted", "torch/handcrafted", "torch/native")
    """Which backend/implementation pairs to train, each in a process of its own."""
    out: str | None = None
    """Folder for the report and the runs; by default the next free one in reports/."""
    overwrite: bool = False
    """Replace the report in --out."""
    config: str | None = None
    """A config.json whose settings are the defaults."""
    suite: Literal["results"] | None = None
    """results: train every task with its defaults, in JAX and PyTorch, from several seeds, and
    write a page of their scores. Runs that are finished are not trained again."""
    tasks: tuple[str, ...] = WITH_DATA
    """Of a suite: which tasks."""
    seeds: tuple[str, ...] = ()
    """Seeds to train from, such as 0 1 2 or 0..4; by default the --seed of the settings, of a suite
    0..2."""
    runs: str = "runs/results"
    """Of a suite: folder of the runs."""
    jobs: int = 1
    """Of a suite: runs to train at once, each on its share of the cores."""
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
    # A task or a file of settings is the base, to which they are equal.
    own = settings != base or any(cli.option(argv, name) for name in ("--task", "--config"))
    if arguments.suite is not None:
        _suite(arguments, argv, own)
        return
    for name in ("--tasks", "--runs", "--jobs"):
        if cli.option(argv, name) is not None:
            raise InvalidInput(f"{name}: expected --suite results beside it")
    if arguments.folders and own:
        raise InvalidInput("run folders are compared as they are: expected no settings beside them")

    from shared.report import comparison_page

    name = "comparison" if arguments.folders else settings.task
    files = {*comparison_page.FILES, RUNS}
    # Of a comparison that was stopped, what is done stays.
    begun = arguments.out is not None and occupants(Path(arguments.out)) == {RUNS}
    unfinished = begun and not arguments.folders
    folder = report_folder(arguments.out, name, files, arguments.overwrite or unfinished)
    if arguments.folders:
        runs = [Path(name) for name in arguments.folders]
    else:
        runs = _train(resolve(settings), cli.seeds(argv, arguments.seeds), arguments, folder)

    from shared.report import write_report
    from shared.report.comparison_page import HTML, MARKDOWN
    from shared.report.verdict import pairs
    from shared.runs import read_run
    from shared.runs.seeds import run_folders

    read = [read_run(run) for run in run_folders(runs)]
    write_report(read, folder, cli.reproduction("compare", argv))
    for pair in pairs(read):
        print(pair.sentence)
    print(f"wrote {folder / HTML}, {folder / MARKDOWN} and the pictures beside them")


def _suite(arguments: Arguments, argv: Sequence[str], with_settings: bool) -> None:
    """Trains the runs that are not done and writes the page."""
    if with_settings or arguments.folders or cli.option(argv, "--contenders") is not None:
        raise InvalidInput(
            "--suite trains tasks with their defaults: expected no settings beside it"
        )
    from shared.report import results_page
    from shared.runs.jobs import jobs as planned
    from shared.system import environment
    from shared.system.folders import free_folder, occupants, reserved

    if not 1 <= arguments.jobs <= environment.cores():
        raise InvalidInput(
            f"--jobs: expected 1 to {environment.cores()}, the cores of this machine, "
            f"got {arguments.jobs}"
        )
    from shared.protocol.backend import check_installed

    check_installed(("jax", "torch"))
    seeds = cli.seeds(argv, arguments.seeds) or SUITE_SEEDS
    plan = planned(arguments.tasks, seeds, Path(arguments.runs))
    folder = free_folder(Path("reports"), "results")
    if arguments.out is not None:
        folder = Path(arguments.out)
        if occupants(folder) & results_page.files() and not arguments.overwrite:
            raise InvalidInput(f"--out {folder}: holds other results; --overwrite replaces them")
    with reserved(Path(arguments.runs), "--runs"), reserved(folder, "--out"):
        with Children() as children:
            _train_jobs(plan, arguments, children)
        results_page.write_results(plan, folder, cli.reproduction("compare", argv))
    print(f"wrote {folder / results_page.PAGE}")


def _train_jobs(plan: Sequence["Job"], arguments: Arguments, children: Children) -> None:
    """Trains the runs that are not done; after a failure or a signal, it starts no other run."""
    states = [job.state for job in plan]
    shares = list(range(arguments.jobs))
    stop = Event()

    def bind() -> None:
        """Limits this thread, and so the processes that it starts, to its share of the cores."""
        share = shares.pop()
        if arguments.jobs > 1 and hasattr(os, "sched_setaffinity"):
            cores = sorted(os.sched_getaffinity(0))
            os.sched_setaffinity(0, cores[share :: arguments.jobs])

    def train(number: int, job: "Job", state: str) -> None:
        if stop.is_set():
            return
        done = state == "done"
        line = f"{number} of {len(plan)}: {job.folder}" + " (done)" * done
        sys.stdout.write(f"{line}\n")  # at once: print would let another thread between
        sys.stdout.flush()
        try:
            if not done:
                _train_job(job, state, arguments, children)
        except BaseException:  # also SystemExit, if run.py failed
            stop.set()
            raise

    with ThreadPoolExecutor(arguments.jobs, initializer=bind) as pool:
        try:
            list(pool.map(train, range(1, len(plan) + 1), plan, states))
        except BaseException:  # also KeyboardInterrupt
            stop.set()
            raise


def _train_job(job: "Job", state: str, arguments: Arguments, children: Children) -> None:
    from shared.runs.run_folder import save_config

    with tempfile.TemporaryDirectory() as scratch:
        save_config(Path(scratch), job.config)
        where = ["--config", str(Path(scratch, "config.json")), "--out", str(job.folder)]
        if state == "stopped":
            where = ["--resume", str(job.folder)]
        options = [*where, "--backend", job.config.backend]
        _run_script(options, arguments, str(job.folder), children)


def _run_script(
    options: Sequence[str], arguments: Arguments, name: str, children: Children
) -> None:
    """Has the command `run` train, in a process of its own; ends this one if it fails."""
    command = [*program.CHILD, "run", *options]
    command += [] if arguments.tune_allocator else ["--no-tune-allocator"]
    quiet = subprocess.DEVNULL if arguments.jobs > 1 else None
    code = children.run(command, stdout=quiet)
    if code < 0:
        process.say(f"{name} was killed by signal {-code}")
    if code:  # it has said why
        sys.exit(code if code > 0 else 1)


def _clear(folder: Path, kept: Sequence[Path]) -> None:
    """Removes the report that a new one replaces, and the runs of other contenders."""
    from shared.report import comparison_page
    from shared.system import folders
    from shared.training.seeds import remove_runs

    folders.remove(folder, comparison_page.FILES)
    for name in CONTENDERS:
        for several in (False, True):
            run = _run_folder(folder, name, several)
            if run not in kept:
                remove_runs(run)


def _run_folder(folder: Path, contender: str, several: bool) -> Path:
    """Returns the folder of a contender's run, or of its runs from several seeds."""
    return folder / RUNS / f"{contender.replace('/', '-')}{'-seeds' * several}"


def _state(config: Config, seeds: Sequence[int], folder: Path) -> Literal["new", "stopped", "done"]:
    """Tells whether a contender is to be trained yet.

    Raises:
        InvalidInput: its folder holds runs from other seeds or with other settings.
    """
    from shared.runs.jobs import Job
    from shared.runs.seeds import are_in, read_seeds, seed_folder

    if not seeds:
        return Job(config, folder).state
    if not are_in(folder):
        return "new"
    if read_seeds(folder) != seeds:
        expected, got = (" ".join(map(str, some)) for some in (seeds, read_seeds(folder)))
        raise InvalidInput(
            f"{folder}: expected runs from the seeds {expected}, got {got}; move it away"
        )
    jobs = (Job(replace(config, seed=seed), seed_folder(folder, seed)) for seed in seeds)
    return "done" if {job.state for job in jobs} == {"done"} else "stopped"


def _train(config: Config, seeds: Sequence[int], arguments: Arguments, folder: Path) -> list[Path]:
    """Runs the command `run` for one contender after the other, for all that is not done yet.

    Returns:
        The contenders' run folders, or the folders of their seeds.
    """
    contenders = arguments.contenders
    unknown = [name for name in contenders if name not in CONTENDERS]
    if unknown or len(set(contenders)) < max(2, len(contenders)):
        got = " ".join(contenders)
        raise InvalidInput(
            f"--contenders: expected two or more of {', '.join(CONTENDERS)}, got {got}"
        )
    from shared.protocol.backend import check_installed
    from shared.runs.run_folder import save_config

    check_installed(name.split("/")[0] for name in contenders)
    runs = [_run_folder(folder, name, bool(seeds)) for name in contenders]
    with tempfile.TemporaryDirectory() as scratch, Children() as children:
        save_config(Path(scratch), config)
        for name, run in zip(contenders, runs, strict=True):
            backend, implementation = name.split("/")
            own = replace(config, backend=backend, implementation=implementation)
            state = "new" if arguments.overwrite else _state(own, seeds, run)
            options = ["--config", str(Path(scratch, "config.json")), "--out", str(run)]
            options += ["--seeds", *map(str, seeds)] if seeds else []
            if state == "stopped":
                options = ["--resume", str(run)]
            options += ["--backend", backend, "--implementation", implementation]
            options += ["--overwrite"] if arguments.overwrite else []
            data_folder = getattr(config.data, "folder", None)
            options += [] if data_folder is None else ["--data.folder", data_folder]
            if state == "done":
                print(f"{run} (done)", flush=True)  # before what others print
            else:
                _run_script(options, arguments, name, children)
            if run is runs[0] and arguments.overwrite:  # the settings are usable: what was can go
                _clear(folder, runs)
    return runs
