"""Trains one network in one framework.

For example:
    python scripts/run.py --backend jax
    python scripts/run.py --backend torch --implementation native --task last-value --cell lstm
    python scripts/run.py --backend jax --task text --data.path book.txt --out runs/book
    python scripts/run.py --config runs/book/config.json --seed 1
    python scripts/run.py --resume runs/book --epochs 10
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from shared import cli
from shared.config import Config, Unprefixed
from shared.errors import InvalidInput
from shared.interruption import Interrupted, number_of
from shared.validation import resolve

if TYPE_CHECKING:
    from shared.summary import Summary


SHOWN = 3
"""Sequences that are spelled out."""


@dataclass(frozen=True)
class Arguments:
    settings: Unprefixed[Config]
    out: str | None = None
    """Folder for the run; by default the next free one in runs/."""
    overwrite: bool = False
    """Replace the run in --out."""
    resume: str | None = None
    """Run folder to continue from its last checkpoint; only --epochs, --backend, --implementation,
    --device, --log-every, --checkpoint-every, --keep-checkpoints and --detect-anomaly may differ
    from what it was started with."""
    config: str | None = None
    """A config.json whose settings are the defaults."""
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
        if not Path(resumed, "config.json").is_file():
            raise InvalidInput(f"--resume {resumed}: expected a run folder, with a config.json")
        argv = [f"--config={Path(resumed, 'config.json')}", *argv]
    base = cli.base_config(argv)
    named = cli.option(argv, "--config") is not None
    default = Arguments(base if named else cli.require_backend(base))
    assert __doc__ is not None
    arguments = cli.parse(Arguments, argv, default, cli.with_tasks(__doc__))
    config = resolve(arguments.settings)
    folder = _folder(arguments, config)

    if arguments.tune_allocator:  # before a framework is imported and starts threads
        from shared.allocator import keep_pages

        keep_pages()

    from shared.history import read_run
    from shared.training import train

    print(f"{_title(config)} → {folder}", flush=True)
    resume = arguments.resume is not None
    try:
        if resume and _lacks_only_pictures(folder, config):
            summary = read_run(folder).summary
        else:
            summary = train(config, folder, overwrite=arguments.overwrite, resume=resume)
        _draw(folder)
    except KeyboardInterrupt as stop:
        raise Interrupted(number_of(stop), _interrupted(folder, config)) from stop
    except OSError as error:
        if error.errno is None:  # no failure of the machine's
            raise
        raise OSError(error.errno, _unwritten(error, folder), error.filename) from error
    _print_summary(summary, folder, resume)


def _lacks_only_pictures(folder: Path, config: Config) -> bool:
    """Whether a run was stopped between its summary and its curves, which are drawn last."""
    from shared.history import CONFIG, CURVES, SUMMARY, read_config

    finished = (folder / SUMMARY).exists() and not (folder / CURVES).exists()
    return finished and read_config(folder / CONFIG).epochs == config.epochs


def _draw(folder: Path) -> None:
    from shared.history import CURVES, PICTURE, read_run
    from shared.pictures import save_predictions
    from shared.plotting import save_curves

    run = read_run(folder)
    save_predictions([run], folder / PICTURE)
    save_curves([run], folder / CURVES)


def _resume_in_out(argv: Sequence[str]) -> list[str]:
    """`--out DIR --resume` means `--resume DIR`."""
    argv = list(argv)
    folder = cli.option(argv, "--out")
    for i, word in enumerate(argv):
        if word == "--resume" and (i + 1 == len(argv) or argv[i + 1].startswith("--")) and folder:
            argv[i] = f"--resume={folder}"
    return argv


def _folder(arguments: Arguments, config: Config) -> Path:
    if arguments.resume is not None:
        if arguments.out is not None and Path(arguments.out) != Path(arguments.resume):
            raise InvalidInput(f"--out {arguments.out}: a resumed run stays in {arguments.resume}")
        if arguments.overwrite:
            raise InvalidInput("--overwrite replaces a run and --resume continues it: expected one")
        return Path(arguments.resume)
    if arguments.out is not None:
        return Path(arguments.out)
    from shared.files import free_folder

    name = f"{config.task}-{config.backend}-{config.implementation}-{config.network.cell}"
    return free_folder(Path("runs"), name)


def _interrupted(folder: Path, config: Config) -> str:
    from shared.history import CONFIG, SUMMARY, read_config

    if not (folder / CONFIG).exists():
        return "interrupted before anything was written"
    try:
        written = read_config(folder / CONFIG) == config
    except InvalidInput:  # what was to be replaced
        written = False
    if not written:
        return f"interrupted before anything was written; the run in {folder} is as it was"
    if (folder / SUMMARY).exists():
        return f"interrupted; the run is finished, and --resume {folder} draws its pictures"
    return f"interrupted; {_advice(folder)}"


def _unwritten(error: OSError, folder: Path) -> str:
    """What is said of a file that cannot be written."""
    from shared.history import CONFIG

    reason = error.strerror or str(error)
    return f"{reason}; when it can be, {_advice(folder)}" if (folder / CONFIG).exists() else reason


def _advice(folder: Path) -> str:
    from shared.checkpoint import steps

    reached = steps(folder)
    where = f"goes on after step {reached[-1]}" if reached else "begins anew: no checkpoint was due"
    return f"--resume {folder} {where}"


def _title(config: Config) -> str:
    network = config.network
    cell = f"rnn ({network.nonlinearity})" if network.cell == "rnn" else network.cell
    where = f"{config.backend} {config.implementation}"
    return f"{config.task}: {cell}, {where}, {config.precision}"


def _print_summary(summary: "Summary", folder: Path, resumed: bool) -> None:
    from shared.scores import shown, to_show
    from shared.summary import located_notes

    test = summary.test
    for where, note in located_notes(summary):
        print(f"note{where and f' on {where}'}: {note}")
    for sample in summary.samples[:SHOWN]:
        print("{input} → {predicted}  (target {target})".format(**sample))
    if summary.generated:
        print("{prompt}▶{continuation}".format(**summary.generated))
    kind = "test" if summary.held_out else "final, on the training sequence itself:"
    print(kind, "  ".join(shown(name, test[name], summary.unit) for name in to_show(test)))
    for baseline in summary.baselines:
        known = baseline.scores
        found = [shown(name, known[name], summary.unit) for name in to_show(known)]
        print(f"baseline {baseline.name}: {'  '.join(found)}")
    print(_times(summary, resumed))
    print(f"wrote {folder}")


def _times(summary: "Summary", resumed: bool) -> str:
    """What the run cost. Each segment has its own step; the rest is of this process alone."""
    process = (
        f"compiled in {summary.compile_s:.1f} s, {summary.total_s:.1f} s in all, "
        f"{summary.peak_memory_mb:.0f} MB at most, on {summary.device}"
    )
    if not resumed:
        tokens = summary.tokens_per_s
        speed = f" ({tokens:,.0f} tokens a second)" if tokens else ""
        return f"{summary.steps} steps, {summary.step_ms:.3f} ms each{speed}, {process}"
    parts = (
        f"{part.span} in {part.label}, {part.step_ms:.3f} ms each" for part in summary.segments
    )
    return f"{'; '.join(parts)}\nsince resuming: {process}"


if __name__ == "__main__":
    cli.run(main)
