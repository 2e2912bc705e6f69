"""What a study leaves: study.json, the combinations of settings that were tried.

    study.json             the search, each combination with its scores in validation, and the test
                           scores of those that were chosen
    trials/<number>-<seed> the run folders
    results.csv            the combinations, the best first
    study.html             the page

No test score of another combination than the chosen one is in these files, and none is read.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

from shared.errors import InvalidInput
from shared.runs import run_folder
from shared.runs.run import read_run
from shared.runs.scores import lower_is_better
from shared.system.json_files import parse, read_signed, write_signed

FILE, TRIALS, PAGE, TABLE = "study.json", "trials", "study.html", "results.csv"


@dataclass(frozen=True)
class Trial:
    """A run of a combination from one seed."""

    seed: int
    folder: str
    """Run folder, in the folder of the study."""
    state: Literal["waiting", "done", "failed"] = "waiting"
    failure: str = ""
    """Line that says why it failed."""
    valid: dict[str, float] | None = None
    """Scores of its best validation."""


@dataclass(frozen=True)
class Combination:
    number: int
    """Number from 1, in the order of the search."""
    values: dict[str, str]
    """Option → its value, as on a command line."""
    trials: list[Trial]

    @property
    def failure(self) -> str:
        """Line that says why a trial failed; empty if none did."""
        return next((trial.failure for trial in self.trials if trial.state == "failed"), "")


@dataclass(frozen=True)
class Look:
    """A look at the test scores of the best combination."""

    combination: int
    of: int
    """Combinations that were finished then."""
    scores: dict[str, list[float]]
    """Score → its values, one for each seed."""


@dataclass(frozen=True)
class Study:
    config: dict[str, Any]
    """Settings of all runs, as `dataclasses.asdict` takes them apart."""
    space: dict[str, list[str]]
    """Option → its values or its range, as they were given."""
    random: int | None
    """Combinations that were drawn; None for a grid."""
    search_seed: int
    skip_refused: bool
    seeds: list[int]
    by: str
    """Score in validation by which combinations are ranked."""
    combinations: list[Combination]
    looks: list[Look]


class Ranked(NamedTuple):
    """A combination with its score in validation."""

    combination: Combination
    mean: float
    """Mean over the seeds."""
    error: float | None
    """Standard error of the mean; None for a single seed."""


def read_study(folder: Path) -> Study:
    """Reads the record of a study.

    Raises:
        InvalidInput: it is missing, damaged, or not of this version.
    """
    return read_signed(folder / FILE, partial(parse, Study))


def save_study(folder: Path, study: Study) -> None:
    write_signed(folder / FILE, study)


def finished(trial: Trial, folder: Path, failure: str | None) -> Trial:
    """Returns a trial with what has become of it. Of its scores, those of the test are not read.

    Args:
        folder: folder of the study.
        failure: line that says why its run failed; None if it is not known to have failed.

    Raises:
        InvalidInput: its run folder is damaged.
    """
    run = folder / trial.folder
    if failure is None and run_folder.status(run).finished:
        valid = read_run(run).summary.valid
        if valid is None:
            raise InvalidInput(f"{run}: expected a run with a validation part, got one without")
        scores = {name: value for name, value in valid.items() if name != "step"}
        if all(map(math.isfinite, scores.values())):
            return Trial(trial.seed, trial.folder, "done", valid=scores)
        failure = "a score of its validation is not finite"
    if failure is not None:
        return Trial(trial.seed, trial.folder, "failed", failure)
    return Trial(trial.seed, trial.folder)


def ranked(study: Study) -> list[Ranked]:
    """Returns the combinations whose runs are all done, the best in validation first."""
    found: list[Ranked] = []
    for combination in study.combinations:
        if any(trial.state != "done" for trial in combination.trials):
            continue
        scores = [(trial.valid or {})[study.by] for trial in combination.trials]
        several = len(scores) > 1
        error = statistics.stdev(scores) / math.sqrt(len(scores)) if several else None
        found.append(Ranked(combination, statistics.fmean(scores), error))
    sign = 1 if lower_is_better(study.by) else -1
    return sorted(found, key=lambda one: (sign * one.mean, one.combination.number))


def is_close(order: Sequence[Ranked]) -> bool | None:
    """Tells whether the second combination lies within one standard error of the first.

    Returns:
        None if there is no second one, or no standard error.
    """
    if len(order) < 2 or order[0].error is None:
        return None
    return abs(order[1].mean - order[0].mean) <= order[0].error


def read_test_scores(folder: Path, combination: Combination) -> dict[str, list[float]]:
    """Reads the test scores of one combination: score → its values, one for each seed.

    Raises:
        InvalidInput: a run folder is damaged.
    """
    found = [read_run(folder / trial.folder).summary.test for trial in combination.trials]
    return {
        name: [scores[name] for scores in found]
        for name in found[0]
        if name != "step" and all(name in scores for scores in found)
    }
