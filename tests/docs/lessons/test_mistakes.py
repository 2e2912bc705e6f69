"""The tutorial's mistakes: each ends where theory says, and what is right goes below."""

import math
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from docs.lessons import mistakes
from docs.lessons.catalog import MISTAKES, Measured, conditional_entropy
from docs.lessons.crashes import CRASHES, facts, message
from docs.lessons.mistakes import MEASURE
from docs.lessons.page import FILES, PAGE, PICTURES, write_mistakes
from docs.lessons.trials import (
    Job,
    Size,
    first_value,
    listed_letters,
    losses_of,
    network_of,
    right,
    spelling,
)
from rnn_torch.backend import Backend
from shared.protocol import Snapshot
from shared.protocol.weights import initialize
from shared.tasks.batches import training_batches
from tests.support.arrays import arrays
from tests.support.command_line import check_refused

Call = Callable[..., subprocess.CompletedProcess]
COMMITTED = Path(__file__).parents[3] / "docs" / "mistakes"
TINY = Size(steps=10, examples=64, memorised=64, epochs=1)
LETTER = 2 / 5 * math.log(2)


pytestmark = pytest.mark.usefixtures("unchecked")  # a thousand steps, each the same call


def short(name: str, seed: int = 0) -> Measured:
    return MEASURE[name](Size(seed, steps=300, examples=12_800, memorised=200, epochs=150))


def number(measured: Measured, name: str) -> float:
    value = measured.numbers[name]
    assert isinstance(value, (int, float))
    return value


def test_every_mistake_is_measured_in_the_order_of_the_page() -> None:
    assert [*MEASURE] == [*MISTAKES]


@pytest.mark.parametrize(
    ("job", "steps"), [(spelling(Size()), 30), (first_value(Size(examples=640)), 10)]
)
def test_the_right_training_is_that_of_the_backend(job: Job, steps: int) -> None:
    config, signature = job.config, job.task.signature
    backend = Backend(config, signature)
    weights = initialize(
        config.network, signature.input_size, signature.output_size, config.seed, config.precision
    )
    batches, rates = training_batches(*job), np.full(steps, config.optimization.learning_rate)
    state = backend.init(Snapshot.of(weights))
    _, (metrics,) = backend.advance([state], [batches.take(0, steps)], rates)
    np.testing.assert_array_equal(losses_of(job, right, steps), metrics.loss.tolist())


def test_the_entropy_that_one_letter_leaves() -> None:
    inputs, targets = arrays(spelling(Size()).task.train)[:2]
    assert conditional_entropy(inputs, targets) == pytest.approx(LETTER)
    nothing = np.zeros_like(targets)
    entropy = -(2 / 5 * math.log(2 / 5) + 3 / 5 * math.log(1 / 5))
    assert conditional_entropy(nothing, targets) == pytest.approx(entropy)
    assert conditional_entropy(targets, targets) == 0


def test_detaching_keeps_the_outputs_and_loses_the_gradients() -> None:
    job = spelling(Size())
    network, inputs = network_of(job), torch.from_numpy(job.task.train.inputs).long()
    found = {}
    for forward in (right, mistakes.detached):
        network.zero_grad()
        logits = forward(network, inputs)
        logits[0, -1].square().sum().backward()
        gradient = dict(network.rnn.named_parameters())["weight_ih_l0"].grad
        assert gradient is not None
        found[forward] = logits, gradient.clone()
    torch.testing.assert_close(*(logits for logits, _ in found.values()))
    whole, cut = (gradient.abs().sum(0) for _, gradient in found.values())
    assert (whole > 0).all()
    assert [int(i) for i in cut.nonzero()] == [int(inputs[0, -1])]  # the last letter's column alone


def test_other_ways_to_call_the_network() -> None:
    job = spelling(Size())
    network, inputs = network_of(job), torch.from_numpy(job.task.train.inputs).long()
    with torch.no_grad():
        whole, alone = right(network, inputs), mistakes.forgetful(network, inputs)
        torch.testing.assert_close(alone[:, 0], whole[:, 0])
        torch.testing.assert_close(alone[:, 2], alone[:, 3])  # both l
        assert not torch.allclose(whole[:, 2], whole[:, 3])
        torch.testing.assert_close(mistakes.last_for_all(network, inputs)[:, 0], whole[:, -1])
        carried = mistakes.carrying()
        torch.testing.assert_close(carried(network, inputs), whole)
        twice = right(network, torch.cat([inputs, inputs], dim=1))
        torch.testing.assert_close(carried(network, inputs), twice[:, 5:])


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_mistakes_that_rest_at_an_entropy(seed: int) -> None:
    for name, bound in (("no-recurrence", LETTER), ("last-step", 1.3322)):
        measured = short(name, seed)
        wrong, correct = measured.ends
        assert measured.bound == pytest.approx(bound, abs=1e-4)
        assert bound - 1e-4 < wrong < bound + 0.01, name
        assert correct < 0.01 < bound


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", ["random-labels", "detached-state", "positive-weights"])
def test_mistakes_that_rest_at_guessing(name: str, seed: int) -> None:
    measured = short(name, seed)
    wrong, correct = measured.ends
    assert measured.bound == math.log(2)
    assert wrong == pytest.approx(math.log(2), abs=0.02)
    assert correct < 0.4


def test_what_is_learned_by_heart_is_no_knowledge() -> None:
    measured = short("training-score")
    wrong, correct = measured.ends
    assert wrong < 0.05
    assert correct > 2 * math.log(2)
    assert measured.numbers["wrong_accuracy"] == "100.0 %"
    rates = measured.panels[1].curves[1].values
    assert 45 < rates.min() < rates.max() < 55


def test_the_place_of_a_letter_stands_in_for_memory() -> None:
    measured = short("misplaced-weight")
    wrong, correct = measured.ends
    assert wrong < 0.01 > correct
    assert number(measured, "moved") > 1
    assert number(measured, "plain") == pytest.approx(LETTER, abs=0.01)
    assert number(measured, "plain_moved") == pytest.approx(number(measured, "plain"), abs=1e-6)


def test_without_the_state_elloh_cannot_come_out() -> None:
    measured = short("forgotten-state")
    assert measured.panels[0].curves[0].values.min() > LETTER
    assert number(measured, "wrong_letters") <= 4
    assert number(measured, "right_letters") == 5
    assert measured.ends[1] < 0.01


def test_clipping_is_a_remedy_and_detaching_none() -> None:
    measured = short("detached-remedy")
    detached, clipped = measured.ends
    assert detached == pytest.approx(math.log(2), abs=0.02)
    assert clipped < 0.3
    assert number(measured, "neither") > 1
    assert number(measured, "neither_norm") > 3 * number(measured, "clipped_norm")
    assert number(measured, "detached_norm") < 1


def test_a_carried_state_hides_what_begins_at_zero() -> None:
    measured = short("carried-state")
    wrong, correct = measured.ends
    assert number(measured, "mississippi_seen") < 0.02 > correct
    assert wrong > 1


def test_a_letter_too_many_costs_at_the_beginning() -> None:
    assert arrays(listed_letters(Size()).task.train).inputs.tolist() == [[0, 1, 3, 3, 4]]
    measured = short("double-letter")
    assert number(measured, "wrong_start") == pytest.approx(math.log(5), abs=0.2)
    assert number(measured, "right_start") == pytest.approx(math.log(4), abs=0.2)
    assert max(measured.ends) < 0.01


def test_what_does_not_run_says_why() -> None:
    said = {name: message(call) for name, call in CRASHES.items()}
    assert said["misspelt"].startswith("AttributeError: ")
    assert said["tensor-as-key"] == "KeyError: tensor([1])"
    with pytest.raises(RuntimeError, match="expected an error, got none"):
        message(dict)


def test_every_state_depends_on_the_first_input() -> None:
    found = facts(TINY)
    assert found["states_changed"] == found["states"] == 7
    lowest, highest = found["lowest"], found["highest"]
    assert isinstance(lowest, float)
    assert isinstance(highest, float)
    assert 0 < lowest < highest


def test_the_page_has_every_row(tmp_path: Path) -> None:
    measured = {name: measure(TINY) for name, measure in MEASURE.items()}
    said = {name: f"{name} failed | here" for name in CRASHES}
    write_mistakes(measured, said, facts(TINY), tmp_path, seed=7, command="all of it")
    assert {file.name for file in tmp_path.iterdir()} == {*FILES}
    page = (tmp_path / PAGE).read_text()
    for name, mistake in MISTAKES.items():
        wrong, correct = measured[name].ends
        assert f"| {mistake.effect} | {wrong:.4f} | {correct:.4f} |" in page
        assert f"\n## {mistake.title}\n\n![" in page
        assert f"]({PICTURES[name]})" in page
        assert f"`python scripts/mistakes.py --only {name}`" in page
        assert mistake.command in page
    assert page.count("**Why.**") == page.count("**Here**") == len(MISTAKES)
    for name in CRASHES:
        assert f"| `{name} failed \\| here` |" in page
    assert "(seed 7)" in page
    assert "all of it" in page


def test_a_page_of_one_has_no_other(tmp_path: Path) -> None:
    (tmp_path / PICTURES["double-letter"]).write_bytes(b"older")
    said = dict.fromkeys(CRASHES, "x")
    measured = {"last-step": MEASURE["last-step"](TINY)}
    write_mistakes(measured, said, facts(TINY), tmp_path, seed=0, command="c")
    assert {file.name for file in tmp_path.iterdir()} == {PAGE, PICTURES["last-step"]}
    assert (tmp_path / PAGE).read_text().count("**Why.**") == 1


def test_the_committed_page_is_whole() -> None:
    assert {file.name for file in COMMITTED.iterdir()} == {*FILES}
    assert max(file.stat().st_size for file in COMMITTED.glob("*.png")) < 100_000
    page = (COMMITTED / PAGE).read_text()
    for mistake in MISTAKES.values():
        assert f"\n## {mistake.title}\n" in page
    for call in CRASHES.values():
        assert f"`{message(call)}`" in page


def test_the_command_writes_a_page(call: Call, tmp_path: Path) -> None:
    finished = call("mistakes.py", "--only", "last-step", "--seed", "3", "--out", "X")
    assert (finished.returncode, finished.stderr) == (0, "")
    first, last = finished.stdout.splitlines()
    assert first.startswith("last-step: loss 1.3322, without it 0.000")
    assert last == "wrote X/mistakes.md and the pictures beside it"
    assert (
        "python scripts/mistakes.py --only last-step --seed 3 --out X"
        in (tmp_path / "X" / PAGE).read_text()
    )
    again = call("mistakes.py", "--only", "last-step", "--out", "X")
    check_refused(again, "--out X: holds another report; --overwrite replaces it")


def test_bad_input_is_refused(call: Call, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("")
    check_refused(call("mistakes.py", "--out", "mine"), "--out mine", "got one with other files")
    check_refused(call("mistakes.py", "--only", "last"), "--only: expected some of", "got last")
    check_refused(call("mistakes.py", "--seed", "-1"), "--seed: expected 0 or more, got -1")
    check_refused(call("mistakes.py", "--steps", "3"), "--steps")
    assert {file.name for file in tmp_path.iterdir()} == {"mine"}


def test_the_names_are_listed(call: Call) -> None:
    assert call("mistakes.py", "--list").stdout.split() == [*MISTAKES]
