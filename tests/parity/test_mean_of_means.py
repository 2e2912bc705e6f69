"""The trap `mean-of-means`: what it computes, where it shows, and that it is told from others."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import rnn_torch.losses
from rnn_jax import traps
from shared.config import Config
from shared.errors import InvalidInput
from shared.parity.lockstep import rates
from shared.parity.traps import PROCESSES, uneven
from shared.protocol.batching import Batches
from shared.protocol.dataset import Split
from tests.support.pairwise import slow_but
from tests.support.trap_cases import diagnosed, sides
from tests.support.uneven_cases import CASES, WORDS, hello, last_value, part_rows


def step_of(side: Any, config: Config, at: int, weights: np.ndarray | None = None) -> Any:
    """The trace of one step from the start, with other weights of its targets if any are given."""
    batch = side.batches.take(at, 1)
    if weights is not None:
        batch = batch._replace(weights=weights)
    return side.backend.trace(side.backend.init(side.start), batch, rates(config, side, at, 1))[1]


@pytest.mark.parametrize(
    ("case", "processes"),
    slow_but(
        [
            ("six words", 4),
            ("a batch of 5 of 8", 2),
            ("a batch of 5 of 8", 8),
            ("parts of 2, 2, 1 and no rows", 4),
            ("weighted classes", 2),
            ("a target at every step", 4),
        ],
        [("six words", 4), ("parts of 2, 2, 1 and no rows", 4), ("weighted classes", 2)],
    ),
)
def test_loss_metric_and_gradients_are_means_of_what_each_process_computes(
    case: str, processes: int, tmp_path: Path
) -> None:
    """Each process's step is taken without the trap, with the weights of others set to 0."""
    config = CASES[case](tmp_path)
    task, first, _ = sides(config)
    switch = traps.find_switch(f"mean-of-means:{processes}", config, first.batches)
    plain, planted = (
        traps.switched(first, config, task.signature, active, compiled=False)
        for active in ([], [switch])
    )
    last = first.batches.per_epoch - 1
    weights = first.batches.take(last, 1).weights
    expected: dict[str, Any] = {}
    for rows in part_rows(weights.shape[1], processes):
        own = np.zeros_like(weights)
        own[:, rows] = weights[:, rows]
        if own.any():
            for name, array in step_of(plain, config, last, own).items():
                expected[name] = expected.get(name, 0) + array / processes
    found, reference = step_of(planted, config, last), step_of(plain, config, last)
    names = [name for name in found if name.startswith(("loss/", "gradients/"))]
    assert len(names) > 4
    for name in names:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-12, atol=1e-14)
    assert abs(found["loss/loss"] - reference["loss/loss"]) > 1e-6
    for name in (name for name in found if name.startswith(("inputs/", "layers/", "logits/"))):
        np.testing.assert_array_equal(found[name], reference[name])


def test_equal_counts_make_no_difference() -> None:
    config = last_value(13, 8)
    task, first, _ = sides(config)
    switch = traps.find_switch("mean-of-means:4", config, first.batches)
    planted = traps.switched(first, config, task.signature, [switch], compiled=False)
    plain = traps.switched(first, config, task.signature, [], compiled=False)
    one, other = step_of(planted, config, 0), step_of(plain, config, 0)
    for name, array in one.items():
        np.testing.assert_array_equal(array, other[name])


# A port with the mistake, told nothing of the switches in JAX ------------------------------------


def plant(monkeypatch: pytest.MonkeyPatch, processes: int) -> None:
    """Makes PyTorch's steps those of processes that average their gradients. The step divides by
    the count of all targets: the mean is multiplied by it before."""
    old = rnn_torch.losses.sums

    def sums(loss: Any, outputs: Any, targets: Any, weights: Any) -> Any:
        shares, everything = [], weights.sum()
        for rows in part_rows(len(weights), processes):
            total, metric, count = old(loss, outputs[rows], targets[rows], weights[rows])
            if count > 0:
                shares.append(torch.stack([total / count, metric / count]))
        return *(torch.stack(shares).sum(0) / processes * everything), everything

    monkeypatch.setattr(rnn_torch.losses, "sums", sums)


TOLD_APART = [
    ("three words", 2),
    ("six words", 2),
    ("six words", 4),
    ("a batch of 5 of 8", 2),
    ("a batch of 5 of 8", 4),
    ("parts of 2, 2, 1 and no rows", 2),
    ("parts of 2, 2, 1 and no rows", 4),
    ("weighted classes", 2),
    ("weighted classes", 4),
    ("weighted classes", 8),
    ("a target at every step", 2),
    ("a target at every step", 8),
]


USUAL = [("three words", 2), ("a batch of 5 of 8", 4), ("weighted classes", 8)]


@pytest.mark.parametrize(("case", "processes"), slow_but(TOLD_APART, USUAL))
def test_a_port_that_averages_means_is_named_with_its_number_of_processes(
    case: str, processes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = CASES[case](tmp_path)
    plant(monkeypatch, processes)
    ran, diagnosis = diagnosed(config)
    assert ran.comparison.difference is not None
    assert ran.comparison.difference.phase == "loss"
    assert diagnosis.causes == [f"mean-of-means:{processes}"]


@pytest.mark.parametrize(
    "case", slow_but([*CASES], ["six words", "a batch of 5 of 8", "a batch of 4 of 8"])
)
def test_a_port_with_a_ragged_mean_is_not_taken_for_a_mean_of_means(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = CASES[case](tmp_path)
    old = rnn_torch.losses.sums

    def sums(loss: Any, outputs: Any, targets: Any, weights: Any) -> Any:
        total, metric, count = old(loss, outputs, targets, weights)
        share = count / weights.numel()  # the step divides by the count
        return total * share, metric * share, count

    monkeypatch.setattr(rnn_torch.losses, "sums", sums)
    _, diagnosis = diagnosed(config)
    assert diagnosis.causes[0] == "ragged-mean"
    assert diagnosis.causes[1:] == [f"mean-of-means:{count}" for count in EQUAL.get(case, ())]


EQUAL = {"a batch of 4 of 8": (2, 4, 8), "a batch of 5 of 8": (8,)}
"""Numbers of processes with which a mean of means is the ragged mean: every process has a full part
or none, and each row one target."""


@pytest.mark.parametrize(
    ("case", "processes"), [("a batch of 5 of 8", 8), ("a batch of 4 of 8", 2)]
)
def test_what_is_equal_is_not_told_apart(
    case: str, processes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = CASES[case](tmp_path)
    plant(monkeypatch, processes)
    equal = ["ragged-mean", *(f"mean-of-means:{count}" for count in EQUAL[case])]
    assert diagnosed(config)[1].causes == equal


PLANTED = [(case, f"mean-of-means:{processes}") for case, processes in TOLD_APART]
PLANTED += [(case, "ragged-mean") for case in CASES]


@pytest.mark.parametrize(
    ("case", "name"),
    slow_but(PLANTED, [("six words", "mean-of-means:2"), ("a batch of 4 of 8", "ragged-mean")]),
)
def test_planted_in_jax_it_alone_is_named(case: str, name: str, tmp_path: Path) -> None:
    ran, diagnosis = diagnosed(CASES[case](tmp_path), name)
    assert not ran.comparison.equal
    assert diagnosis.causes == [name]


def test_four_processes_are_named_where_two_would_have_equal_counts() -> None:
    """Rows of 3, 4, 4 and 3 targets: both halves have 7."""
    words = ("blue", "red", "pink", "tan")  # in the order in which the first batch has them
    config = hello(words, 4)
    batches = sides(config)[1].batches
    (weights,) = batches.take(0, 1).weights
    assert weights.sum(1).tolist() == [3, 4, 4, 3]
    ran, diagnosis = diagnosed(config, "mean-of-means:4")
    assert ran.comparison.difference is not None
    assert ran.comparison.difference.step == 1
    assert diagnosis.causes == ["mean-of-means:4"]


# Where it shows ----------------------------------------------------------------------------------


def counts_differ(batches: Batches, processes: int) -> bool:
    for number in range(batches.per_epoch):
        (batch,) = batches.take(number, 1).weights
        counts = [batch[rows].sum() for rows in part_rows(len(batch), processes)]
        if max(counts) > min(counts) + 1e-9:
            return True
    return False


@pytest.mark.parametrize("processes", PROCESSES)
@pytest.mark.parametrize("batch_size", range(1, 13))
def test_it_shows_where_counts_of_rows_differ_in_some_batch(
    batch_size: int, processes: int
) -> None:
    for rows in range(batch_size, 3 * batch_size + 1):
        split = Split(np.zeros((rows, 2, 1)), np.zeros(rows, int))
        batches = Batches(split, batch_size, None, True, 0, "float64", per_step=False)
        expected = batch_size >= processes and counts_differ(batches, processes)
        assert uneven(batches, processes) == expected, rows


@pytest.mark.parametrize("per_step", [False, True])
def test_lengths_show_it_only_with_a_target_at_every_step(per_step: bool) -> None:
    for last in (3, 4):
        lengths = np.array([3, 3, 3, last], np.int32)
        targets = np.zeros((4, 4) if per_step else 4, int)
        split = Split(np.zeros((4, 4, 1)), targets, lengths)
        batches = Batches(split, 2, None, True, 0, "float64", per_step)
        assert uneven(batches, 2) == (per_step and last == 4) == counts_differ(batches, 2)


@pytest.mark.parametrize("case", CASES)
def test_the_step_of_a_listed_number_of_processes_changes(case: str, tmp_path: Path) -> None:
    config = CASES[case](tmp_path)
    batches = sides(config)[1].batches
    listed = [s.variant for s in traps.switches(config, batches) if s.trap == "mean-of-means"]
    assert listed
    for variant in listed:
        assert counts_differ(batches, int(variant))


REFUSED = {
    "one row": (
        lambda: hello(("hello",), 1), "mean-of-means",
        r"--inject mean-of-means changes nothing here: expected --batch-size of 2 or more, and "
        r"parts of a batch with unequal counts .*, got full batches of one length, --batch-size 1$",
    ),
    "more processes than rows": (
        lambda: hello(WORDS[:3], 2), "mean-of-means:4",
        r"expected mean-of-means or one of mean-of-means:2, got mean-of-means:4, which needs a "
        r"batch of 4 or more rows, and unequal counts of targets in the parts of 4 processes$",
    ),
    "equal parts": (
        lambda: last_value(24, 12), "mean-of-means:4",
        r"expected mean-of-means or one of mean-of-means:8, got mean-of-means:4, which needs",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_where_it_would_change_nothing_it_is_refused(case: str) -> None:
    make, name, message = REFUSED[case]
    config = make()
    with pytest.raises(InvalidInput, match=message):
        traps.find_switch(name, config, sides(config)[1].batches)
