"""The training of a study: its folder, its runs, and one look at the test scores of the best."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from shared.config import Config
from shared.errors import InvalidInput
from shared.jobs.run_jobs import run_jobs
from shared.jobs.study import Candidate, Search, begun, check_task, jobs, with_results
from shared.runs.study import FILE, Look, Study, ranked, read_test_scores, save_study
from shared.system import lock
from shared.system.files import TEMPORARY
from shared.system.folders import occupants, reserved
from shared.system.signals import Interrupted, number_of


def train_study(
    search: Search,
    base: Config,
    candidates: Sequence[Candidate],
    folder: Path,
    *,
    at_once: int = 1,
    cluster: str | None = None,
    tune_allocator: bool = True,
) -> Study:
    """Trains the runs of a study that are not done, and reads the test scores of the best.

    Args:
        base: the settings that the combinations change.
        folder: a new folder, or that of the same study.
        at_once: without a cluster: runs to train at once.
        cluster: None for this machine; "ray" or "ray://HOST:PORT" for a cluster of Ray's.
        tune_allocator: have glibc keep the memory that a step gives back for the next one.

    Returns:
        The study as study.json holds it.

    Raises:
        InvalidInput: the folder holds something else, the task has no such validation, or all
            combinations failed.
        Interrupted: a signal came; the message says how to go on.
        OSError: a file cannot be written; the message names it.
    """
    _check_folder(folder)
    study = begun(search, base, candidates, folder)
    if not (folder / FILE).exists():
        check_task(search, candidates[0].config)
    plan = jobs(candidates, search.seeds, folder)
    with reserved(folder, "--out"), lock.held(folder, "--out"):
        save_study(folder, study)
        try:
            outcomes = run_jobs(
                plan,
                at_once=at_once,
                cluster=cluster,
                tune_allocator=tune_allocator,
                keep_going=True,
            )
        except KeyboardInterrupt as stop:
            save_study(folder, with_results(study, [], folder))
            raise Interrupted(
                number_of(stop), f"interrupted; the same command with --out {folder} goes on"
            ) from stop
        study = with_results(study, outcomes, folder)
        save_study(folder, study)
        if not ranked(study):
            raise InvalidInput(
                f"{folder}: expected a combination whose runs are all finished, got none; "
                f"the first failed so: {study.combinations[0].failure}"
            )
        study = _with_look(study, folder)
        save_study(folder, study)
    return study


def _check_folder(folder: Path) -> None:
    """Refuses a folder with other files than those of a study."""
    names = occupants(folder) - {lock.FILE}
    if FILE not in names and any(not TEMPORARY.fullmatch(name) for name in names):
        raise InvalidInput(
            f"--out {folder}: expected a new or empty folder, or that of a study, "
            "got one with other files"
        )


def _with_look(study: Study, folder: Path) -> Study:
    """Reads the test scores of the best combination, unless they were read before."""
    order = ranked(study)
    best = order[0].combination
    if study.looks and study.looks[-1].combination == best.number:
        return study
    look = Look(best.number, len(order), read_test_scores(folder, best))
    return replace(study, looks=[*study.looks, look])
