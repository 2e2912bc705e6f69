"""Steps that several processes take together are those of one process, phase by phase; and bugs of
programs that do so are found where they begin."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from shared.config import Config, resolve
from shared.config.data import HelloData
from shared.config.settings import NetworkConfig
from shared.parity import crew, lockstep
from shared.parity.comparison import PROVED, Comparison
from shared.parity.crew import Crew
from shared.parity.in_processes import InProcesses
from shared.parity.planting import run_planted
from shared.protocol.trace import PHASES_OF_A_RUN, phase_of
from shared.tasks import TASKS, load_task
from shared.tasks.registry import WITH_DATA
from tests.parity.test_lockstep_of_tasks import of_task
from tests.parity.test_processes_faults import with_change
from tests.support.take_steps import OPTIMIZERS

JAX, TORCH = CONTENDERS = ("jax/handcrafted", "torch/handcrafted")
WORDS = HelloData(("hello", "yellow", "help", "hell", "low"))
DROPOUT = NetworkConfig("gru", hidden_size=5, num_layers=2, dropout=0.3)


def words(batch_size: int = 3, network: NetworkConfig = DROPOUT) -> Config:
    """Five words of several lengths: the last batch is ragged, and two processes have unequal
    counts of targets."""
    base = replace(TASKS["hello"].defaults, data=WORDS, batch_size=batch_size, network=network)
    return resolve(replace(base, precision="float64", epochs=20))


@pytest.fixture(autouse=True)
def several_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """A state goes from one call to the next, as it does where traces are large."""
    monkeypatch.setattr(lockstep, "CALL_STEPS", 4)


@contextmanager
def processes(count: int = 2, devices: int = 1, change: str = "") -> Iterator[Crew]:
    with crew.started(count, devices, with_change(change)) as found:
        yield found


@pytest.fixture(scope="module")
def two_of_torch() -> Iterator[Crew]:
    with processes() as found:
        yield found


@pytest.fixture(scope="module")
def two_of_jax() -> Iterator[Crew]:
    with processes() as found:
        yield found


def compared(config: Config, second: str, crew: Crew, steps: int, first: str = JAX) -> Comparison:
    task = load_task(config)
    comparison = lockstep.run(
        config, *lockstep.sides(config, task, (first, second), crew), steps
    ).comparison
    phases = {phase_of(name) for name in comparison.deviations}
    assert phases | {"moments"} == set(PHASES_OF_A_RUN)
    assert comparison.second == f"{second} {crew.described}"
    assert len(comparison.steps) == steps
    return comparison


def test_two_processes_of_torch_take_the_steps_of_one_of_jax(two_of_torch: Crew) -> None:
    compared(words(), TORCH, two_of_torch, 6).check()


def test_two_processes_of_jax_take_the_steps_of_one(two_of_jax: Crew) -> None:
    compared(words(), JAX, two_of_jax, 6).check()


@pytest.mark.slow
@pytest.mark.parametrize("name", WITH_DATA)
def test_every_task_is_the_same_in_two_processes_of_torch(
    name: str, tmp_path: Path, two_of_torch: Crew
) -> None:
    compared(of_task(name, tmp_path), TORCH, two_of_torch, 20).check()


@pytest.mark.slow
@pytest.mark.parametrize("name", WITH_DATA)
def test_every_task_is_the_same_in_two_processes_of_jax(
    name: str, tmp_path: Path, two_of_jax: Crew
) -> None:
    compared(of_task(name, tmp_path), JAX, two_of_jax, 20, TORCH).check()


@pytest.mark.slow
def test_a_text_whose_state_is_carried_is_the_same(
    tmp_path: Path, two_of_torch: Crew, two_of_jax: Crew
) -> None:
    config = of_task("text", tmp_path)
    compared(config, TORCH, two_of_torch, 20).check()
    compared(config, JAX, two_of_jax, 20).check()


@pytest.mark.slow
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_is_the_same(name: str, two_of_torch: Crew, two_of_jax: Crew) -> None:
    config = resolve(replace(words(), optimization=replace(OPTIMIZERS[name], clip_norm=0.1)))
    compared(config, TORCH, two_of_torch, 20).check()
    compared(config, JAX, two_of_jax, 20).check()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("second", "count", "devices"),
    [(TORCH, 4, 1), (JAX, 4, 1), (JAX, 1, 2), (JAX, 1, 8), (JAX, 2, 2), (JAX, 4, 2)],
)
def test_more_processes_and_devices_are_the_same(second: str, count: int, devices: int) -> None:
    """A batch is shared among all devices, and the last one is ragged. Of a batch of three rows,
    some processes have none."""
    many = HelloData(tuple("hello"[:i] + "yellow"[i:] for i in range(1, 6)) * 2 + ("help",))
    config = replace(words(8), data=many)
    with processes(count, devices) as found:
        task = load_task(config)
        sides = lockstep.sides(config, task, (JAX, second), found)
        lockstep.run(config, *sides, 10).comparison.check()
        backend = sides[1].backend
        assert isinstance(backend, InProcesses)
        assert backend.extent.startswith(
            f"{count} process{'es' * (count > 1)} of this machine, {count * devices} devices in all"
        )
        compared(words(3), second, found, 10).check()


@pytest.mark.slow
@pytest.mark.parametrize("second", ["torch/native", "torch/handcrafted"])
def test_layers_of_the_framework_are_the_same(second: str, two_of_torch: Crew) -> None:
    config = words(network=NetworkConfig("lstm", hidden_size=5, bidirectional=True))
    compared(config, second, two_of_torch, 10, "torch/native").check()


# Bugs of such programs --------------------------------------------------------------------------

OWN_MASKS = """
from dataclasses import replace
from shared.protocol.batching import Batches
masks = Batches._masks
def drawn(batches, *given):
    return masks(replace(batches, seed=batches.seed + rank), *given)
Batches._masks = drawn
"""
OTHER_ROWS = """
from dataclasses import replace
batches = worker.training_batches
def read(config, task, team):
    found = batches(config, task, team)
    return replace(found, part=0)
worker.training_batches = read
"""


@pytest.mark.slow
@pytest.mark.parametrize("second", CONTENDERS)
@pytest.mark.parametrize(
    ("change", "place"),
    [(OWN_MASKS, "inputs/masks"), (OTHER_ROWS, "inputs/inputs")],
    ids=["masks drawn by rank", "rows of another rank"],
)
def test_what_a_process_reads_otherwise_is_found(change: str, place: str, second: str) -> None:
    with processes(change=change) as found:
        comparison = compared(words(), second, found, 3)
    assert comparison.difference is not None
    assert (comparison.difference.step, comparison.difference.name) == (1, place)


# Each process weighs its targets so that its own mean counts as much as any other's, and shows the
# weights as they were.
MEAN_OF_MEANS = """
import numpy as np
load, teams = worker._load, []
def known(config, team):
    teams.append(team)
    return load(config, team)
def averaged(program, state, start, rates):
    batch, team = program.batches.take(start, len(rates)), teams[-1]
    own = batch.weights.reshape(len(rates), -1).sum(1)
    share = sum(team.gather(own)) / np.maximum(own, 1) / team.count
    weights = (batch.weights.T * share).T
    state, trace = program.backend.trace(state, batch._replace(weights=weights), rates)
    whole = np.concatenate(team.gather(batch.weights), 1)
    trace["inputs/weights"] = whole[:, :trace["inputs/weights"].shape[1]]
    return state, trace, worker.checksums(trace)
worker._load, worker._trace = known, averaged
"""


@pytest.mark.slow
@pytest.mark.parametrize("second", CONTENDERS)
def test_means_of_means_are_found_at_the_loss_and_named(second: str) -> None:
    config = words()
    task = load_task(config)
    with processes(change=MEAN_OF_MEANS) as found:
        sides = lockstep.sides(config, task, (JAX, second), found)
        ran, diagnosis = run_planted(config, task.signature, sides, (), 4, PROVED)
    assert ran.comparison.difference is not None
    assert (ran.comparison.difference.step, ran.comparison.difference.name) == (1, "loss/loss")
    assert diagnosis is not None
    assert [name.partition(":")[0] for name in diagnosis.causes] == ["mean-of-means"]
