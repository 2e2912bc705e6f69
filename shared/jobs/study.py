"""The plan of a study: which combinations it trains, and whether a folder holds the same study.

    candidates = choose(search, bases)
    study = begun(search, base, candidates, folder)      # that of the folder, if one lies there
    outcomes = run_jobs(jobs(candidates, search.seeds, folder), keep_going=True)
    study = with_results(study, outcomes, folder)

`study_training.py` takes these steps.
"""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import NamedTuple

from shared.config import Config, resolve
from shared.config.options import differing, from_json, options, settings
from shared.errors import InvalidInput
from shared.jobs.job import Job, Outcome
from shared.jobs.search_space import Values, Varied, configured, described, drawn, grid, size, word
from shared.protocol.backend import check_installed
from shared.runs.study import FILE, TRIALS, Combination, Study, Trial, finished, read_study
from shared.tasks import load_task
from shared.tasks.registry import row

MOST = 10_000
"""Most runs of a study: more are a typing mistake."""
CHOICES = ("optimizer", "schedule")
"""Options on whose values the defaults of other options depend."""


@dataclass(frozen=True)
class Search:
    """What a study searches, and how."""

    space: list[Varied]
    random: int | None
    """Combinations to draw; None for a grid."""
    seed: int
    """Seed of what is drawn."""
    seeds: list[int]
    """Seeds that each combination is trained from."""
    by: str
    """Score in validation by which combinations are ranked."""
    skip_refused: bool
    """Leave out combinations that make no sense, instead of refusing the study."""


class Candidate(NamedTuple):
    """A combination to train."""

    values: Values
    config: Config
    """Settings before `resolve`: what the command `run` makes of the same options."""


def choices_in(values: Values) -> tuple[str | None, ...]:
    """Returns the combination's optimizer and schedule, None for one that is not varied."""
    found = (values.get(name) for name in CHOICES)
    return tuple(None if value is None else str(value) for value in found)


def choose(search: Search, bases: Mapping[tuple[str | None, ...], Config]) -> list[Candidate]:
    """Returns the combinations of a study, all of which can be trained as far as settings tell.

    Args:
        bases: `choices_in` of a combination → the settings that it changes.

    Raises:
        InvalidInput: a combination makes no sense, or there are too many, too few or none.
    """
    space, random = search.space, search.random
    _check_size(search)
    found: list[Candidate] = []
    refusal = ""
    for values in grid(space) if random is None else drawn(space, search.seed):
        config = configured(bases[choices_in(values)], values)
        try:
            resolve(config)
        except InvalidInput as error:
            refusal = f"{described(values)}: {error}"
            if not search.skip_refused:
                raise InvalidInput(
                    f"{refusal}; --skip-refused leaves such combinations out"
                ) from error
            continue
        found.append(Candidate(values, config))
        if len(found) == random:
            break
    if not found:
        raise InvalidInput(f"no combination of the options is possible, such as {refusal}")
    if random is not None and len(found) < random:
        raise InvalidInput(
            f"--random {random}: expected at most {len(found)}, the number of combinations that "
            f"were found, got {random}; without --random, all values of a grid are tried"
        )
    check_installed({candidate.config.backend for candidate in found})
    return found


def _check_size(search: Search) -> None:
    """Refuses more runs than anybody wants."""
    random = search.random
    if random is not None and random < 1:
        raise InvalidInput(f"--random: expected 1 or more combinations, got {random}")
    count = size(search.space) if random is None else random
    if random is not None and count > size(search.space):
        raise InvalidInput(
            f"--random {random}: expected at most {size(search.space):.0f}, the number of "
            "combinations, got more; without --random all are tried"
        )
    runs = count * len(search.seeds)
    ranges = any(option.range is not None for option in search.space)
    if runs > MOST and not (random is None and ranges):  # which is refused by name
        raise InvalidInput(f"expected a study of at most {MOST} runs, got {runs:.0f}")


def check_task(search: Search, config: Config) -> None:
    """Refuses a task without a validation part, and scores that it has not.

    Args:
        config: one of the combinations.

    Raises:
        InvalidInput: as said, or the data cannot be read.
    """
    task = load_task(resolve(config))
    if task.valid is None:
        raise InvalidInput(
            f"--task {config.task}: expected a task with a validation part, by which the best "
            "settings are chosen, got one without"
        )
    if search.by not in ("loss", task.metric):
        raise InvalidInput(f"--by: expected loss or {task.metric}, got {search.by}")


def begun(search: Search, base: Config, candidates: Sequence[Candidate], folder: Path) -> Study:
    """Returns the record of a study, with what was looked at if the folder holds the same study.

    Raises:
        InvalidInput: the folder holds another study; the message names what differs.
    """
    new = Study(
        config=asdict(base),
        space={option.name: [*option.words] for option in search.space},
        random=search.random,
        search_seed=search.seed,
        skip_refused=search.skip_refused,
        seeds=search.seeds,
        by=search.by,
        combinations=[
            Combination(
                number,
                {name: word(value) for name, value in candidate.values.items()},
                [Trial(seed, _trial_folder(number, seed)) for seed in search.seeds],
            )
            for number, candidate in enumerate(candidates, start=1)
        ],
        looks=[],
    )
    if not (folder / FILE).exists():
        return new
    old = read_study(folder)
    _check_same(old, new, folder)
    return replace(new, looks=old.looks)


def _check_same(old: Study, new: Study, folder: Path) -> None:
    """Refuses another study; more combinations of the same random search are the same study."""
    apart = differing(from_json(old.config), from_json(new.config))
    names = list(dict.fromkeys([*old.space, *new.space]))
    apart += [f"--vary {name}" for name in names if old.space.get(name) != new.space.get(name)]
    if not apart and [*old.space] != [*new.space]:
        apart = ["the order of --vary"]
    if (old.random is None) != (new.random is None):
        apart.append("--random")
    for name in ("search_seed", "skip_refused", "seeds", "by"):
        if getattr(old, name) != getattr(new, name):
            apart.append(f"--{name.replace('_', '-')}")
    if apart:
        raise InvalidInput(
            f"--out {folder}: expected the study that lies there, got another: "
            f"{', '.join(apart)}; name another folder"
        )
    if len(new.combinations) < len(old.combinations):
        raise InvalidInput(
            f"--out {folder}: expected --random of at least {len(old.combinations)}, as the study "
            f"there has, got {len(new.combinations)}"
        )
    numbered = zip(old.combinations, new.combinations, strict=False)
    if any(one.values != other.values for one, other in numbered):
        raise InvalidInput(
            f"--out {folder}: expected the combinations of this version, got others; "
            "name another folder"
        )


def jobs(candidates: Sequence[Candidate], seeds: Sequence[int], folder: Path) -> list[Job]:
    """Returns the runs of a study: each combination from each seed."""
    return [
        Job(
            resolve(replace(candidate.config, seed=seed)),
            folder / _trial_folder(number, seed),
        )
        for number, candidate in enumerate(candidates, start=1)
        for seed in seeds
    ]


def run_words(study: Study, config: Config) -> list[str]:
    """Returns the options with which the command `run` trains a combination: those that are varied,
    and all that are not the task's defaults.

    Args:
        config: settings of the combination before `resolve`.
    """
    usual = settings(row(config.task).defaults)
    named = {"backend", "task", "seed"}
    values = {
        name: value
        for name, value in settings(config).items()
        if name not in named and (name in study.space or value != usual[name])
    }
    words = ["--backend", config.backend, "--task", config.task]
    words += [word for line in options(values, usual) for word in shlex.split(line)]
    several = len(study.seeds) > 1
    return [*words, "--seeds" if several else "--seed", *map(str, study.seeds)]


def with_results(study: Study, outcomes: Sequence[Outcome], folder: Path) -> Study:
    """Returns a study with what has become of its runs.

    Args:
        outcomes: what is known of them; none of a study that was interrupted.

    Raises:
        InvalidInput: a run folder is damaged.
    """
    failures = {outcome.job.folder: outcome.failure for outcome in outcomes}
    combinations = [
        replace(
            combination,
            trials=[
                finished(trial, folder, failures.get(folder / trial.folder))
                for trial in combination.trials
            ],
        )
        for combination in study.combinations
    ]
    return replace(study, combinations=combinations)


def _trial_folder(number: int, seed: int) -> str:
    return f"{TRIALS}/{number:03d}-{seed}"
