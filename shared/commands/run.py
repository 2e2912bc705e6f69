"""Trains one network in one framework.

For example:
    rnn-parity run --backend jax
    rnn-parity run --backend torch --implementation native --task last-value --cell lstm
    rnn-parity run --backend jax --task text --data.path book.txt --out runs/book
    rnn-parity run --config runs/book/config.json --seed 1
    rnn-parity run --resume runs/book --epochs 10
    rnn-parity run --backend jax --task volume --seeds 0..4
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from shared.commands import cli
from shared.config import Config, resolve
from shared.config.naming import run_name
from shared.errors import InvalidInput
from shared.system.launch import is_first, place
from shared.system.signals import Interrupted, number_of

if TYPE_CHECKING:
    from shared.runs.run import Run


@dataclass(frozen=True)
class Arguments:
    settings: cli.Settings
    out: str | None = None
    """Folder for the run; by default the next free one in runs/."""
    overwrite: bool = False
    """Replace the run in --out."""
    resume: str | None = None
    """Run folder to continue from its last checkpoint; only --epochs, --backend, --implementation,
    --device, --log-every, --checkpoint-every, --keep-checkpoints, --logger and --detect-anomaly may
    differ from what it was started with."""
    config: str | None = None
    """A config.json whose settings are the defaults."""
    seeds: tuple[str, ...] = ()
    """Train from several seeds, such as 0 1 2 or 0..4: in JAX in one program where that is faster,
    else one after the other. The folder then has a run for each."""
    cluster: str | None = None
    """Of several seeds: train each as a job over a cluster of Ray's, on a core and, where there are
    some, a GPU of its own: ray for the one that this machine belongs to, or ray://HOST:PORT of its
    head."""
    tune_allocator: bool = True
    """Have glibc keep the memory that a step gives back for the next one."""


def main(argv: Sequence[str]) -> None:
    argv = _resume_in_out(argv)
    resumed = cli.option(argv, "--resume")
    if resumed is not None and cli.option(argv, "--config") is not None:
        raise InvalidInput(
            "--resume takes its settings from the run: expected no --config beside it"
        )
    if resumed is not None:
        argv = [f"--config={_config_of(Path(resumed))}", *argv]
    base = cli.base_config(argv)
    named = cli.option(argv, "--config") is not None
    default = Arguments(base if named else cli.require_backend(base))
    assert __doc__ is not None
    arguments = cli.parse(Arguments, argv, default, cli.with_tasks(__doc__))
    config, folder = arguments.settings, _folder(arguments)
    seeds = _seeds(arguments, argv)
    if arguments.cluster is not None and not seeds:
        raise InvalidInput("--cluster: expected --seeds beside it; each of them is a job")

    if arguments.tune_allocator:  # before a framework is imported and starts threads
        from shared.system.allocator import keep_pages

        keep_pages()

    from shared.report.console import print_seeds, print_summary
    from shared.training import train, train_seeds

    first = is_first()  # of the processes that a launcher started; the others write nothing
    if first:
        print(f"{run_name(config)} → {folder}", flush=True)
    resume = arguments.resume is not None or _restarted(folder)
    overwrite = arguments.overwrite and not resume
    if seeds and arguments.cluster is not None:
        from shared.commands.seed_jobs import Seeds, train_over_cluster

        wanted = Seeds(resolve(config), seeds, folder, overwrite, resume)
        later = f"--resume {folder} finishes the seeds that are not done"
        train_over_cluster([wanted], arguments.cluster, arguments.tune_allocator, later)
    elif seeds:
        train_seeds(config, seeds, folder, overwrite=overwrite, resume=resume)
    elif not (resume and _lacks_only_pictures(folder, config)):
        train(config, folder, overwrite=overwrite, resume=resume)
    if not first:
        return
    summaries = [run.summary for run in _draw(folder)]
    if seeds:
        print_seeds(summaries, folder)
    else:
        print_summary(summaries[0], folder, resume)


def _restarted(folder: Path) -> bool:
    """Tells whether a launcher has started the processes anew after one of them failed, so that the
    run goes on from its last checkpoint."""
    from shared.runs.run_folder import status
    from shared.runs.seeds import are_in

    found = place()
    return found is not None and found.restarts > 0 and (are_in(folder) or status(folder).begun)


def _config_of(folder: Path) -> Path:
    """Returns the file with the settings of a run, or of several seeds.

    Raises:
        InvalidInput: there is none.
    """
    from shared.runs.seeds import FILE

    for file in (folder / FILE, folder / "config.json"):
        if file.is_file():
            return file
    raise InvalidInput(f"--resume {folder}: expected a run folder, with a config.json")


def _seeds(arguments: Arguments, argv: Sequence[str]) -> list[int]:
    """Returns the seeds to train from, or none where it is a single run."""
    from shared.runs.seeds import are_in, read_seeds

    seeds = cli.seeds(argv, arguments.seeds)
    if arguments.resume is not None:
        if seeds:
            raise InvalidInput("--resume finishes the seeds of the folder: expected no --seeds")
        folder = Path(arguments.resume)
        return read_seeds(folder) if are_in(folder) else []
    return seeds


def _lacks_only_pictures(folder: Path, config: Config) -> bool:
    """Tells whether a run was stopped between its summary and its curves, which are drawn last."""
    from shared.runs.run_folder import CONFIG, read_config, status

    before = status(folder)
    if before.drawn or not before.finished:
        return False
    return read_config(folder / CONFIG).epochs == config.epochs


def _draw(folder: Path) -> list["Run"]:
    """Draws the pictures of a run, or of all seeds, and writes their cards; returns the runs.

    Raises:
        Interrupted, OSError: the message says how to draw them later.
    """
    from shared.report.run_files import write_run_files
    from shared.runs.seeds import read_runs

    later = f"--resume {folder} draws the pictures of what is trained"
    try:
        runs = read_runs(folder)
        write_run_files(runs, folder)
        return runs
    except KeyboardInterrupt as stop:
        raise Interrupted(number_of(stop), f"interrupted; {later}") from stop
    except OSError as error:
        if error.errno is None:  # no failure of the machine's
            raise
        reason = f"{error.strerror}; when it can be, {later}"
        raise OSError(error.errno, reason, error.filename) from error


def _resume_in_out(argv: Sequence[str]) -> list[str]:
    """Replaces `--out DIR --resume` by `--resume DIR`, which it means."""
    argv = list(argv)
    folder = cli.option(argv, "--out")
    for i, word in enumerate(argv):
        if word == "--resume" and (i + 1 == len(argv) or argv[i + 1].startswith("--")) and folder:
            argv[i] = f"--resume={folder}"
    return argv


def _folder(arguments: Arguments) -> Path:
    config = arguments.settings
    if arguments.resume is not None:
        if arguments.out is not None and Path(arguments.out) != Path(arguments.resume):
            raise InvalidInput(f"--out {arguments.out}: a resumed run stays in {arguments.resume}")
        if arguments.overwrite:
            raise InvalidInput("--overwrite replaces a run and --resume continues it: expected one")
        return Path(arguments.resume)
    if arguments.out is not None:
        return Path(arguments.out)
    found = place()
    if found is not None and found.most_restarts:
        raise InvalidInput(
            f"--max-restarts {found.most_restarts}: expected --out FOLDER beside it, from which a "
            "run that is started anew goes on"
        )
    from shared.system.folders import free_folder

    name = f"{config.task}-{config.backend}-{config.implementation}-{config.network.cell}"
    return free_folder(Path("runs"), name)
