"""Training in Python: a problem and the options of the command line → what was trained."""

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, cast, overload

from shared.config import Config
from shared.config.settings import Precision
from shared.errors import InvalidInput, TrainingDiverged
from shared.inference import load_trained
from shared.notebook.fitted import Fit
from shared.notebook.options import with_options
from shared.notebook.tasks import Problem, check_problem
from shared.protocol.backend import import_backend
from shared.runs import predictions, read_run, run_folder
from shared.runs.seeds import are_in, read_seeds, seed_folder
from shared.system.signals import Interrupted
from shared.training import train, train_seeds

Backend = Literal["jax", "torch"]
BACKENDS: tuple[Backend, ...] = ("jax", "torch")
Place = Path | str | None


@overload
def fit(
    task: Problem,
    backend: Backend | None = None,
    *,
    folder: Place = None,
    overwrite: bool = False,
    resume: bool = False,
    quiet: bool = False,
    **options: Any,
) -> Fit: ...
@overload
def fit(
    task: Problem,
    backend: Literal["both"] | Sequence[Backend],
    *,
    folder: Place = None,
    overwrite: bool = False,
    resume: bool = False,
    quiet: bool = False,
    **options: Any,
) -> dict[str, Fit]: ...
def fit(
    task: Problem,
    backend: str | Sequence[str] | None = None,
    *,
    folder: Place = None,
    overwrite: bool = False,
    resume: bool = False,
    quiet: bool = False,
    **options: Any,
) -> Fit | dict[str, Fit]:
    """Trains a network on a task.

    Without a folder, nothing stays on the disk: checkpoints go to a temporary folder meanwhile.

    Args:
        task: made by `forecast`, `sequences`, `labels`, `pairs` or `task`.
        backend: "jax", "torch", or "both" for one after the other; None is "jax", or with `resume`
            that of the run.
        folder: where the run is kept, a folder as the command line makes it. With both backends,
            it gets a folder for each, named after it.
        overwrite: replace the run in the folder.
        resume: go on with the run in the folder, up to `epochs`. Its own settings count where no
            option names another one.
        quiet: show no progress.
        options: those of the command line, with _ for -: `cell="gru"`, `hidden_size=32`,
            `epochs=20`, `seed=1`. `NetworkConfig`, `OptimizationConfig` and `Config` have them all.

    Returns:
        What was trained; with both backends a dict of it, by backend.

    Raises:
        InvalidInput: an option or the folder cannot be used; nothing was written.
        TrainingDiverged: a loss or a gradient is not finite.
    """
    check_problem(task, "fit")
    place = None if folder is None else Path(folder)
    if backend is None or backend in BACKENDS:
        config = _configured(task, cast(Backend | None, backend), place, resume, options)
        return _fit(task, config, place, overwrite, resume, quiet)
    wanted = BACKENDS if backend == "both" else backend
    if isinstance(wanted, str) or not wanted or not {*wanted} <= {*BACKENDS}:
        raise InvalidInput(f"backend: expected jax, torch or both, got {backend!r}")
    places = {name: None if place is None else place / name for name in wanted}
    configs = {
        name: _configured(task, cast(Backend, name), own, resume, options)
        for name, own in places.items()
    }
    if len(places) > 1 and "jax" not in sys.modules:
        import_backend("torch")  # importing it after JAX has crashed
    return {
        name: _fit(task, config, places[name], overwrite, resume, quiet)
        for name, config in configs.items()
    }


def fit_seeds(
    task: Problem,
    seeds: Iterable[int],
    backend: Backend | None = None,
    *,
    folder: Place = None,
    overwrite: bool = False,
    resume: bool = False,
    quiet: bool = False,
    **options: Any,
) -> list[Fit]:
    """Trains from several seeds; in JAX in one program where that is faster.

    What is not described here is as in `fit`.

    Args:
        seeds: one or more, each once: `range(3)`.
        folder: it gets a run for each seed.

    Returns:
        What was trained, for each seed.

    Raises:
        InvalidInput: as `fit`.
        TrainingDiverged: as `fit`.
    """
    check_problem(task, "fit_seeds")
    if "seed" in options:
        raise InvalidInput("fit_seeds: expected seeds, got the option seed, too")
    numbers = [*seeds]
    place = None if folder is None else Path(folder)
    config = _configured(task, backend, place, resume, options)
    task.check_unchanged()
    # Data that is drawn from the seed is drawn for each.
    data = task.data if task.is_own else None
    with _kept(place) as own:
        train_seeds(
            config, numbers, own, overwrite=overwrite, resume=resume, quiet=quiet, task=data
        )
        found = [_read(seed_folder(own, seed), place is not None) for seed in numbers]
    if place is not None:
        _write_files(place)
    return found


def load(
    folder: Path | str,
    backend: Backend | None = None,
    device: Any = None,
    precision: Precision | None = None,
) -> Fit:
    """Loads what was trained from the folder of a finished run.

    Args:
        backend: framework to compute in, if not that of the run.
        device: where to compute, if not where the run was told to.
        precision: floating-point type, if not that of the run.

    Raises:
        InvalidInput: the folder holds no finished run, or a file of it is damaged.
    """
    folder = Path(folder)
    if are_in(folder):
        names = ", ".join(str(seed_folder(folder, seed)) for seed in read_seeds(folder))
        raise InvalidInput(f"{folder}: expected a single run, got those of several seeds: {names}")
    return _read(folder, True, backend, device, precision)


def _configured(
    task: Problem,
    backend: Backend | None,
    folder: Path | None,
    resume: bool,
    options: Mapping[str, Any],
) -> Config:
    """Returns the configuration of a run; of one to resume, its own with the options changed."""
    config = task.config
    if resume:
        if folder is None:
            raise InvalidInput("resume: expected the folder of a run, got none")
        seeds = folder / run_folder.SEEDS
        file = seeds if seeds.is_file() else folder / run_folder.CONFIG
        if file is not seeds:
            run_folder.check_run(folder, "--resume")
            config = run_folder.read_config(file)
        if (config.task, type(config.data)) != (task.config.task, type(task.config.data)):
            raise InvalidInput(
                f"--resume {folder}: expected a run of task {task.config.task}, got {config.task}"
            )
        config = replace(config, data=task.config.data)
    return with_options(config, {**options} | ({} if backend is None else {"backend": backend}))


def _fit(
    task: Problem, config: Config, folder: Path | None, overwrite: bool, resume: bool, quiet: bool
) -> Fit:
    data = task.data_for(config)
    with _kept(folder) as own:
        train(config, own, overwrite=overwrite, resume=resume, quiet=quiet, task=data)
        found = _read(own, folder is not None)
    if folder is not None:
        _write_files(folder)
    return found


def _write_files(folder: Path) -> None:
    """Draws the pictures and writes the cards of what was trained there, as the command line
    does."""
    from shared.report.run_files import write_run_files
    from shared.runs.seeds import read_runs

    write_run_files(read_runs(folder), folder)


@contextmanager
def _kept(folder: Path | None) -> Iterator[Path]:
    """Gives its body a folder for a run: that one, or a temporary one.

    What the body raises about a temporary folder advises nobody to go on from there.
    """
    if folder is not None:
        yield folder
        return
    with TemporaryDirectory(prefix="rnn-parity-") as place:
        try:
            yield Path(place) / "run"
        except TrainingDiverged as error:
            raise TrainingDiverged(str(error).partition("; ")[0]) from error
        except Interrupted as stop:
            message = "interrupted; nothing is kept, as no folder was named"
            raise Interrupted(stop.number, message) from None


def _read(
    folder: Path,
    keep: bool,
    backend: Backend | None = None,
    device: Any = None,
    precision: Precision | None = None,
) -> Fit:
    """Reads all of a finished run.

    Args:
        keep: True if the folder stays; else its files are read into memory.
    """
    run = read_run(folder)
    return Fit(
        config=run.config,
        summary=run.summary,
        curves=run.curves,
        predictions=dict(predictions.read(folder, run.summary.predictions)),
        trained=load_trained(folder, backend, device, precision),
        folder=folder if keep else None,
        files={} if keep else {file.name: file.read_bytes() for file in folder.iterdir()},
    )
