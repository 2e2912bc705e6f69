"""A run that several processes train together is that of one, in float64: everything that a step
computes, scores, the curve, and the last checkpoint."""

import itertools
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given

from shared.config import Config
from tests.support.compare_arrays import check_all_close
from tests.support.fuzz import fuzz
from tests.support.launched import Launched, observe, processes, torchrun, two_when_needed
from tests.support.pairwise import slow_but
from tests.support.process_cases import BACKENDS, RAGGED, SIZES, USUAL, Case, cases, check_trained
from tests.support.take_steps import RUN


@pytest.fixture(scope="module")
def two_in(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Launched]]:
    with two_when_needed(tmp_path_factory) as found:
        yield found


def check_equal(launched: Launched, config: Config) -> None:
    """Raises unless each process computes what one alone does, and all the same bits."""
    expected = observe(config)
    first, *others = launched.observed(config)
    check_all_close(first, expected, relative=RUN, allow_zero=True)
    for found in others:
        assert found.keys() == first.keys()
        for name, array in found.items():
            np.testing.assert_array_equal(array, first[name], name)


# The command ------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
def test_torchrun_of_the_command_leaves_the_run_of_one_process(
    backend: str, call: Callable[..., Any], tmp_path: Path
) -> None:
    arguments = ("--backend", backend, *RAGGED)
    one = call("run.py", *arguments, "--out", "one")
    two = torchrun(2, *arguments, "--out", "two", cwd=tmp_path)
    assert (two.returncode, one.returncode) == (0, 0), two.stderr
    check_trained(tmp_path / "two", tmp_path / "one", (2, 2))
    names = [{file.name for file in (tmp_path / run).iterdir()} for run in ("one", "two")]
    assert names[0] == names[1]
    assert {file.name for file in tmp_path.iterdir()} == {"one", "two"}
    printed = [line.split()[:2] for line in one.stdout.replace("one", "two").splitlines()]
    assert [line.split()[:2] for line in two.stdout.splitlines()] == printed
    assert two.stderr == ""


# All that is computed ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("backend", "case"),
    slow_but(
        itertools.product(BACKENDS, USUAL),
        [("jax", next(iter(USUAL))), *(("torch", case) for case in USUAL)],
    ),
)
def test_two_processes_compute_what_one_does(
    backend: str, case: str, two_in: Callable[[str], Launched], tmp_path: Path
) -> None:
    check_equal(two_in(backend), USUAL[case].config(backend, tmp_path))


@fuzz(5)
@given(case=cases())
def test_two_processes_of_torch_compute_what_one_does_for_any_run(
    case: Case, two_in: Callable[[str], Launched], tmp_path: Path
) -> None:
    check_equal(two_in("torch"), case.config("torch", tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
@fuzz(50)
@given(case=cases())
def test_two_processes_compute_what_one_does_for_many_runs(
    case: Case, backend: str, two_in: Callable[[str], Launched], tmp_path: Path
) -> None:
    check_equal(two_in(backend), case.config(backend, tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("backend", "count", "devices"),
    [("torch", 4, 1), ("jax", 4, 1), ("jax", 2, 2), ("jax", 1, 8), ("jax", 4, 2)],
)
def test_more_processes_and_devices_compute_what_one_does(
    backend: str, count: int, devices: int, tmp_path: Path
) -> None:
    """Of a batch of one or three rows, some processes have only rows that repeat the last one."""
    with processes(count, tmp_path, devices) as launched:
        for case in USUAL.values():
            check_equal(launched, case.config(backend, tmp_path))
        for size in (*SIZES, 16):
            case = USUAL["ragged, two layers, dropout, clipped"]._replace(batch_size=size)
            check_equal(launched, case.config(backend, tmp_path))


@pytest.mark.parametrize("backend", slow_but(BACKENDS, ["torch"]))
def test_layers_of_the_framework_compute_what_they_do_in_one_process(
    backend: str, two_in: Callable[[str], Launched], tmp_path: Path
) -> None:
    case = Case("vowels", ("gru", "tanh"), layers=2, batch_size=5)
    for changed in (case, Case("last-value", bidirectional=True), Case("text", bptt=4)):
        config = replace(changed.config(backend, tmp_path), implementation="native")
        check_equal(two_in(backend), config)


# Refused, and bugs that are found ---------------------------------------------------------------


@pytest.mark.parametrize("backend", slow_but(BACKENDS, ["torch"]))
def test_masks_that_a_framework_draws_by_itself_are_refused(backend: str, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    native = ("--backend", backend, "--implementation", "native", *RAGGED, "--out", str(folder))
    finished = torchrun(2, *native, cwd=tmp_path)
    assert finished.returncode != 0
    refusals = [line for line in finished.stderr.splitlines() if "native" in line]
    assert len(refusals) == 1
    assert re.search(
        r"--implementation native --dropout 0\.3: expected no dropout in 2 processes, or "
        r"--implementation handcrafted", refusals[0],
    )  # fmt: skip
    assert not folder.exists()


# Each process weighs its targets so that its own mean counts as much as that of any other.
MEAN_OF_MEANS = """
import numpy as np
from tests.support import launched
batches_of = launched.training_batches
def read(config, task, team):
    return Averaged(batches_of(config, task, team), team)
class Averaged:
    def __init__(self, batches, team):
        self.batches, self.team = batches, team
    def __getattr__(self, name):
        return getattr(self.batches, name)
    def take(self, start, count):
        batch = self.batches.take(start, count)
        own = batch.weights.reshape(count, -1).sum(1)
        share = sum(self.team.gather(own)) / np.maximum(own, 1) / self.team.count
        return batch._replace(weights=(batch.weights.T * share).T)
launched.training_batches = read
"""
OWN_MASKS = """
from dataclasses import replace
from shared.protocol.batching import Batches
masks = Batches._masks
def drawn(batches, *given):
    return masks(replace(batches, seed=batches.seed + batches.part), *given)
Batches._masks = drawn
"""
OTHER_ROWS = """
from dataclasses import replace
from tests.support import launched
batches_of = launched.training_batches
def read(config, task, team):
    return replace(batches_of(config, task, team), part=0)
launched.training_batches = read
"""


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("change", "name"),
    [
        (MEAN_OF_MEANS, "inputs/weights"),
        (OWN_MASKS, "inputs/masks"),
        (OTHER_ROWS, "inputs/inputs"),
    ],
    ids=["means of means", "masks drawn by rank", "rows of another rank"],
)
def test_bugs_of_many_processes_do_not_pass(
    change: str, name: str, backend: str, tmp_path: Path
) -> None:
    """In batches of five rows, of which one process has three and the other two."""
    case = USUAL["ragged, two layers, dropout, clipped"]._replace(batch_size=5)
    config = case.config(backend, tmp_path)
    expected = observe(config)
    with processes(2, tmp_path, change=change) as launched:
        found = launched.observed(config)[0]
    assert found.keys() == expected.keys()
    assert not np.array_equal(found[f"trace from 0: {name}"], expected[f"trace from 0: {name}"])
    for array in ("loss", "norms", "at the end: weights/rnn.weight_hh_l0"):
        with pytest.raises(AssertionError, match="allowed 1e-09"):
            check_all_close({array: found[array]}, {array: expected[array]}, relative=RUN)
