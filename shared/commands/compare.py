"""Trains one configuration in several backends and reports them side by side.

For example:
    rnn-parity compare
    rnn-parity compare --task last-value --cell lstm --precision float64
    rnn-parity compare --task text --contenders jax/handcrafted torch/native
    rnn-parity compare --task volume --seeds 0..4
    rnn-parity compare runs/a runs/b
    rnn-parity compare --suite results --out docs --overwrite
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import tyro

from shared.commands import cli
from shared.config import Config, resolve
from shared.errors import InvalidInput
from shared.system.children import Children
from shared.system.folders import occupants, report_folder
from shared.tasks.registry import WITH_DATA

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
    cluster: str | None = None
    """Train over a cluster of Ray's, each run on a core and, where there are some, a GPU of its
    own: ray for the one that this machine belongs to, or ray://HOST:PORT of its head."""
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
    if arguments.folders and (own or arguments.cluster is not None):
        given = "settings" if own else "--cluster"
        raise InvalidInput(f"run folders are compared as they are: expected no {given} beside them")

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
    from shared.jobs import run_jobs
    from shared.jobs.suite import jobs as planned
    from shared.report import results_page
    from shared.system import environment
    from shared.system.folders import free_folder, occupants, reserved

    if arguments.cluster is not None and cli.option(argv, "--jobs") is not None:
        raise InvalidInput("--jobs is of this machine and --cluster of others: expected one")
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
        run_jobs(
            plan,
            at_once=arguments.jobs,
            cluster=arguments.cluster,
            tune_allocator=arguments.tune_allocator,
        )
        results_page.write_results(
            [job.folder for job in plan], folder, cli.reproduction("compare", argv)
        )
    print(f"wrote {folder / results_page.PAGE}")


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
    from shared.jobs import Job
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
    from shared.jobs.command import run_command
    from shared.jobs.local import run_or_exit
    from shared.protocol.backend import check_installed
    from shared.runs.run_folder import save_config

    check_installed(name.split("/")[0] for name in contenders)
    runs = [_run_folder(folder, name, bool(seeds)) for name in contenders]
    if arguments.cluster is not None:
        later = f"the same command with --out {folder} goes on"
        named = dict(zip(contenders, runs, strict=True))
        _train_over_cluster(config, seeds, arguments, named, later)
        if arguments.overwrite:
            _clear(folder, runs)
        return runs
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
                command = run_command(options, arguments.tune_allocator)
                run_or_exit(command, name, children, quiet=False)
            if run is runs[0] and arguments.overwrite:  # the settings are usable: what was can go
                _clear(folder, runs)
    return runs


def _train_over_cluster(
    config: Config, seeds: Sequence[int], arguments: Arguments, runs: dict[str, Path], later: str
) -> None:
    """Trains contenders, each seed a job, over a cluster: all that are not done yet."""
    from shared.commands.seed_jobs import Seeds, train_over_cluster

    assert arguments.cluster is not None
    several: list[Seeds] = []
    for name, run in runs.items():
        backend, implementation = name.split("/")
        own = replace(config, backend=backend, implementation=implementation)
        state = "new" if arguments.overwrite else _state(own, seeds, run)
        several.append(Seeds(own, seeds, run, arguments.overwrite, state != "new"))
    train_over_cluster(several, arguments.cluster, arguments.tune_allocator, later)
