"""Trains combinations of settings and finds the best in validation: a grid or a random search.

For example:
    rnn-parity study --backend torch --task volume --vary learning-rate 1e-3 1e-2
    rnn-parity study --backend jax --task volume --random 20 --vary learning-rate log:1e-4..1e-1
    rnn-parity study --backend torch --task volume --seeds 0..2 --vary hidden-size 16 32 64
    rnn-parity study --file search.toml
    rnn-parity study --file search.toml --out studies/volume-1 --cluster ray
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from shared.commands import cli
from shared.config import Config
from shared.errors import InvalidInput

if TYPE_CHECKING:
    from shared.jobs.search_space import Varied
    from shared.jobs.study import Candidate, Search

STUDIES = "studies"
IN_FILE = ("random", "search-seed", "seeds", "by", "out", "jobs", "cluster")
"""Options of a study that its file may have."""


@dataclass(frozen=True)
class Arguments:
    settings: cli.Settings
    vary: tyro.conf.UseAppendAction[tuple[tuple[str, ...], ...]] = ()
    """An option and its values, such as learning-rate 1e-3 1e-2; of a random search also a range,
    0..0.5 or log:1e-4..1e-1. Once for each option; several values of one are joined: 0.9,0.999."""
    random: int | None = None
    """Draw so many combinations, instead of a grid of all."""
    file: str | None = None
    """A study in a TOML or JSON file: tables run and vary, and the options of the study."""
    skip_refused: bool = False
    """Leave out combinations that make no sense, such as momentum with Adam."""
    search_seed: int = 0
    """Seed of the random search."""
    seeds: tuple[str, ...] = ()
    """Seeds to train each combination from, such as 0 1 2 or 0..4; the mean counts."""
    by: str = "loss"
    """Score at the best validation by which combinations are ranked: loss, accuracy or mae."""
    config: str | None = None
    """A config.json whose settings are the defaults."""
    out: str | None = None
    """Folder of the study; by default the next free one in studies/. The same study goes on."""
    jobs: int = 1
    """Runs to train at once, each on its share of the cores."""
    cluster: str | None = None
    """Train over a cluster of Ray's: ray, or ray://HOST:PORT of its head."""
    tune_allocator: bool = True
    """Have glibc keep the memory that a step gives back for the next one."""


def main(argv: Sequence[str]) -> None:
    argv = _with_file(argv)
    arguments = _parsed(argv)
    search, candidates = _searched(argv, arguments)
    _check_jobs(arguments, argv)

    from shared.jobs.study import run_words
    from shared.jobs.study_training import train_study
    from shared.report.study_page import summary_lines, write_study
    from shared.runs.study import FILE, PAGE, TABLE, TRIALS, ranked
    from shared.system.folders import free_folder

    base = arguments.settings
    folder = Path(arguments.out) if arguments.out else free_folder(Path(STUDIES), base.task)
    study = train_study(
        search,
        base,
        candidates,
        folder,
        at_once=arguments.jobs,
        cluster=arguments.cluster,
        tune_allocator=arguments.tune_allocator,
    )
    best = candidates[ranked(study)[0].combination.number - 1].config
    again = cli.reproduction("run", run_words(study, best))
    named = [] if arguments.out else ["--out", str(folder)]
    write_study(study, folder, cli.reproduction("study", [*argv, *named]), again)
    for line in [*summary_lines(study, folder), f"again: {again}"]:
        print(line)
    print(f"wrote {folder}: {PAGE}, {TABLE}, {FILE} and the runs in {TRIALS}")


def _with_file(argv: Sequence[str]) -> list[str]:
    """Returns the command line with the words of --file before its own, which count more."""
    file = cli.option(argv, "--file")
    if file is None:
        return [*argv]
    from shared.jobs.study_file import words_of

    return [*words_of(Path(file), IN_FILE), *argv]


def _parsed(argv: Sequence[str]) -> Arguments:
    assert __doc__ is not None
    base = cli.base_config(argv)
    varied = [after for word, after in itertools.pairwise(argv) if word == "--vary"]
    if "backend" not in varied and cli.option(argv, "--config") is None:
        base = cli.require_backend(base)
    return cli.parse(Arguments, argv, Arguments(base), cli.with_tasks(__doc__))


def _searched(argv: Sequence[str], arguments: Arguments) -> tuple["Search", list["Candidate"]]:
    """Returns what a command line searches, and the combinations to train.

    Raises:
        InvalidInput: an option is varied and given as well, data are varied without --by, or as
            `choose`.
    """
    from shared.jobs.search_space import read_space
    from shared.jobs.study import Search, choose

    config = arguments.settings
    search = Search(
        space=read_space(arguments.vary, config),
        random=arguments.random,
        seed=arguments.search_seed,
        seeds=cli.seeds(argv, arguments.seeds) or [config.seed],
        by=arguments.by,
        skip_refused=arguments.skip_refused,
    )
    for option in search.space:
        name = option.name
        if any(word.partition("=")[0] in (f"--{name}", f"--no-{name}") for word in argv):
            raise InvalidInput(f"--vary {name}: expected no --{name} beside it")
        if name.startswith("data.") and cli.option(argv, "--by") is None:
            raise InvalidInput(
                f"--vary {name}: losses on other data may not be comparable; if they are, "
                "--by loss says so"
            )
    return search, choose(search, _bases(search.space, argv, arguments))


def _bases(
    space: Sequence["Varied"], argv: Sequence[str], arguments: Arguments
) -> dict[tuple[str | None, ...], Config]:
    """Returns the settings that combinations change, for each optimizer and schedule in the space:
    what the command line means with it."""
    from shared.jobs.study import CHOICES

    varied = {option.name: option.values for option in space if option.name in CHOICES}
    if not varied:
        return {(None,) * len(CHOICES): arguments.settings}
    found: dict[tuple[str | None, ...], Config] = {}
    for chosen in itertools.product(*(varied.get(name, (None,)) for name in CHOICES)):
        names = [None if value is None else str(value) for value in chosen]
        longer = [*argv]
        for option, name in zip(CHOICES, names, strict=True):
            longer += [] if name is None else [f"--{option}", name]
        default = Arguments(cli.base_config(longer))
        found[(*names,)] = cli.parse(Arguments, longer, default, "").settings
    return found


def _check_jobs(arguments: Arguments, argv: Sequence[str]) -> None:
    from shared.system import environment

    if not 1 <= arguments.jobs <= environment.cores():
        raise InvalidInput(
            f"--jobs: expected 1 to {environment.cores()}, the cores of this machine, "
            f"got {arguments.jobs}"
        )
    if arguments.cluster is not None and cli.option(argv, "--jobs") is not None:
        raise InvalidInput("--jobs is of this machine and --cluster of others: expected one")
