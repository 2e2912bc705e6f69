"""Whole runs that several processes train: every task, optimizer and seed, and runs that another
number of processes resumes, in the other framework too."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from shared.runs.checkpoint import flatten
from shared.runs.history import METRICS
from shared.runs.seeds import seed_folder
from shared.tasks.registry import WITH_DATA
from shared.training import train_seeds
from tests.parity.test_lockstep_of_tasks import of_task
from tests.support.cross_resume_cases import (
    begin,
    check_same_run,
    last,
    last_value,
    resume,
    stopped,
    text,
)
from tests.support.launched import Launched, processes, two_when_needed
from tests.support.lockstep import TEXT
from tests.support.pairwise import slow_but
from tests.support.process_cases import BACKENDS, USUAL, alone, check_trained
from tests.support.take_steps import OPTIMIZERS


@pytest.fixture(scope="module")
def two_in(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Launched]]:
    with two_when_needed(tmp_path_factory) as found:
        yield found


# Whole runs -------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("task", sorted({*WITH_DATA} - {"hello"}))
def test_the_run_of_every_task_is_the_same(
    task: str, backend: str, two_in: Callable[[str], Launched], tmp_path: Path
) -> None:
    """But for hello, which has no validation part; its steps are compared in `cases`."""
    config = replace(of_task(task, tmp_path), backend=backend, epochs=2)
    run = two_in(backend).trained(config, task)
    check_trained(run, alone(config, tmp_path / "one"), (2, 2))


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_run_of_every_optimizer_is_the_same(
    optimizer: str, backend: str, two_in: Callable[[str], Launched], tmp_path: Path
) -> None:
    case = USUAL["ragged, two layers, dropout, clipped"]._replace(optimizer=optimizer)
    config = replace(case.config(backend, tmp_path), epochs=6)
    run = two_in(backend).trained(config, optimizer)
    check_trained(run, alone(config, tmp_path / "one"), (2, 2))


@pytest.mark.parametrize("backend", slow_but(BACKENDS, ["torch"]))
def test_the_runs_of_several_seeds_are_the_same(
    backend: str, two_in: Callable[[str], Launched], tmp_path: Path
) -> None:
    config = USUAL["ragged, two layers, dropout, clipped"].config(backend, tmp_path)
    train_seeds(config, [0, 1], tmp_path / "one", quiet=True)
    two = two_in(backend).trained(config, "seeds", seeds=[0, 1])
    curves = set()
    for seed in (0, 1):
        run = seed_folder(two, seed)
        check_trained(run, seed_folder(tmp_path / "one", seed), (2, 2))
        curves.add((run / METRICS).read_bytes())
    assert len(curves) == 2


@pytest.mark.slow
def test_a_run_of_devices_in_processes_says_how_many_took_part(tmp_path: Path) -> None:
    config = USUAL["ragged, two layers, dropout, clipped"].config("jax", tmp_path)
    with processes(2, tmp_path, devices=2) as launched:
        run = launched.trained(config, "run")
    check_trained(run, alone(config, tmp_path / "one"), (2, 4))


# Resumed by others ------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", slow_but(BACKENDS, ["torch"]))
def test_a_run_of_one_goes_on_in_two_processes_and_ends_in_one(
    backend: str, two_in: Callable[[str], Launched], tmp_path: Path
) -> None:
    config = replace(last_value(), epochs=3, backend=backend)
    whole, parts = alone(config, tmp_path / "whole"), tmp_path / "parts"
    alone(replace(config, epochs=1), parts)
    two_in(backend).trained(replace(config, epochs=2), parts, resume=True)
    resume(parts, backend, epochs=3)
    check_same_run(parts, whole, len(flatten(last(whole).snapshot)))
    assert taken_by(parts) == [(backend, 1, 0, 4), (backend, 2, 4, 8), (backend, 1, 8, 12)]


@pytest.mark.slow
@pytest.mark.parametrize(("one", "other"), [BACKENDS, BACKENDS[::-1]])
def test_a_run_goes_from_one_to_two_to_four_processes_and_back_in_either_framework(
    one: str, other: str, two_in: Callable[[str], Launched], tmp_path: Path
) -> None:
    """From the middle of an epoch on, where the recurrent state of three streams is carried."""
    (tmp_path / "book.txt").write_text(TEXT)
    config = text(tmp_path / "book.txt", epochs=5)
    whole, parts = begin(config, one, tmp_path / "whole"), tmp_path / "parts"
    with stopped(one, 15, parts):
        begin(config, one, parts)
    two_in(other).trained(replace(config, backend=other, epochs=3), parts, resume=True)
    (tmp_path / "four").mkdir()
    with processes(4, tmp_path / "four") as four:
        four.trained(replace(config, backend=one, epochs=4), parts, resume=True)
    resume(parts, other, epochs=5)
    check_same_run(parts, whole, len(flatten(last(whole).snapshot)))
    assert taken_by(parts) == [(one, 1, 0, 15), (other, 2, 15, 30), (one, 4, 30, 40),
                               (other, 1, 40, 50)]  # fmt: skip


def taken_by(folder: Path) -> list[tuple[str, int, int, int]]:
    """Returns the framework of each segment, its processes, and its steps."""
    return [(s.backend, s.processes, s.start, s.end) for s in last(folder).segments]
