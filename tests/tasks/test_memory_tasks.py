"""Adding, copy and parity: what is asked of memory, that no two sequences are alike, and what a
predictor without memory reaches."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from shared.config import Config
from shared.config.data import AddingData, CopyData, Data, ParityData
from shared.errors import InvalidInput
from shared.runs.scores import shown
from shared.tasks import TASKS, load_task
from shared.tasks.task import Task
from shared.training import train
from tests.support.arrays import Arrays, arrays

ADDING = AddingData(300, 20, 4000, sequence_length=9)
COPY = CopyData(300, 20, 60, blank_length=7)
PARITY = ParityData(300, 20, 60, min_length=10, max_length=14, longer_length=25)
SMALL: dict[str, Data] = {"adding": ADDING, "copy": COPY, "parity": PARITY}


def config(data: Data, seed: int = 0) -> Config:
    (name,) = (name for name, row in TASKS.items() if type(row.defaults.data) is type(data))
    return replace(TASKS[name].defaults, data=data, seed=seed)


def parts(task: Task) -> list[Arrays]:
    assert task.valid is not None
    return [arrays(task.train), arrays(task.valid), arrays(task.test)]


@pytest.mark.parametrize("steps", [2, 3, 9])
def test_the_target_is_the_sum_of_the_two_marked_numbers_one_in_each_half(steps: int) -> None:
    task = load_task(config(replace(ADDING, sequence_length=steps)))
    marked = [set[int](), set[int]()]
    for part, size in zip(parts(task), (300, 20, 4000), strict=True):
        assert part.inputs.shape == (size, steps, 2)
        assert part.targets.shape == (size, 1)
        assert part.inputs.dtype == part.targets.dtype == np.float32
        for row, target in zip(part.inputs, part.targets, strict=True):
            first, second = np.flatnonzero(row[:, 1])
            assert first < steps // 2 <= second
            assert set(row[:, 1]) <= {0.0, 1.0}
            assert target[0] == row[first, 0] + row[second, 0]
            marked[0].add(int(first))
            marked[1].add(int(second))
        assert 0 <= part.inputs[..., 0].min() < part.inputs[..., 0].max() < 1
    assert marked == [set(range(steps // 2)), set(range(steps // 2, steps))]


def test_whoever_always_says_1_is_off_by_a_sixth_squared() -> None:
    """The variance of the sum of two uniform numbers."""
    task = load_task(config(ADDING))
    (baseline,) = task.baselines()
    off = arrays(task.test).targets.astype(np.float64) - 1
    assert baseline.name == "always 1"
    assert baseline.scores["loss"] == pytest.approx(np.square(off).mean(), rel=1e-12)
    assert baseline.scores["mae"] == pytest.approx(np.abs(off).mean(), rel=1e-12)
    deviation = math.sqrt(7 / 180 / 4000)  # of a mean of 4000 squares
    assert abs(baseline.scores["loss"] - 1 / 6) < 4 * deviation


def test_the_distance_is_that_of_the_first_mark_from_the_end() -> None:
    task = load_task(config(ADDING))
    first = [np.flatnonzero(row[:, 1])[0] for row in arrays(task.test).inputs]
    assert task.distance is not None
    np.testing.assert_array_equal(task.distance, 9 - np.array(first))


def test_no_two_sequences_to_add_are_alike() -> None:
    everything = np.concatenate([part.inputs[..., 0] for part in parts(load_task(config(ADDING)))])
    assert len(np.unique(everything, axis=0)) == len(everything)


def test_ten_symbols_are_repeated_after_the_blanks_and_the_signal() -> None:
    task = load_task(config(COPY))
    assert task.vocabulary == (".", *"abcdefgh", "!")
    assert (task.signature.input_size, task.signature.output_size) == (10, 9)
    for part, size in zip(parts(task), (300, 20, 60), strict=True):
        assert part.inputs.shape == part.targets.shape == (size, 27)
        assert part.inputs.dtype == part.targets.dtype == np.int32
        assert part.lengths is None
        assert part.weights is None
        for read, wanted in zip(part.inputs, part.targets, strict=True):
            spelled = "".join(task.vocabulary[token] for token in read)
            answer = "".join(task.vocabulary[token] for token in wanted)
            symbols = spelled[:10]
            assert set(symbols) <= set("abcdefgh")
            assert spelled == symbols + "." * 6 + "!" + "." * 10
            assert answer == "." * 17 + symbols
    assert set(task.train.inputs[:, :10].ravel()) == set(range(1, 9))


def test_no_two_sequences_to_copy_are_alike() -> None:
    everything = np.concatenate([part.inputs for part in parts(load_task(config(COPY)))])
    assert len(np.unique(everything, axis=0)) == 380


@pytest.mark.parametrize("blanks", [1, 7, 50])
def test_without_memory_copying_costs_ten_guesses(blanks: int) -> None:
    task = load_task(config(replace(COPY, blank_length=blanks)))
    (baseline,) = task.baselines()
    expected = 10 * math.log(8) / (blanks + 20)
    assert baseline.scores["loss"] == pytest.approx(expected, rel=1e-12)
    expected = (blanks + 10 + 10 / 8) / (blanks + 20)
    assert baseline.scores["accuracy"] == pytest.approx(expected, rel=1e-12)


def odd(bits: np.ndarray) -> list[int]:
    """Whether the ones so far are odd in number, after each bit."""
    found, is_odd = [], False
    for bit in bits:
        if bit:
            is_odd = not is_odd
        found.append(int(is_odd))
    return found


def test_parity_is_that_of_the_bits_so_far_and_the_padding_is_zero() -> None:
    task = load_task(config(PARITY))
    assert task.longer is not None
    sizes = ((300, 14), (20, 14), (60, 14), (60, 25))
    for part, size in zip([*parts(task), arrays(task.longer)], sizes, strict=True):
        assert part.inputs.shape == part.targets.shape == size
        assert part.inputs.dtype == part.targets.dtype == np.int32
        assert part.lengths is not None
        assert (part.lengths.shape, part.lengths.dtype) == (size[:1], np.int32)
        for bits, targets, length in zip(part.inputs, part.targets, part.lengths, strict=True):
            assert list(targets[:length]) == odd(bits[:length])
            assert set(bits[:length]) <= {0, 1}
            assert not bits[length:].any()
    assert task.train.lengths is not None
    assert task.longer.lengths is not None
    assert set(task.train.lengths) == {10, 11, 12, 13, 14}
    assert set(task.longer.lengths) == set(range(15, 26))


def test_no_two_sequences_of_bits_are_alike() -> None:
    """Few are possible here: 2 + 4 + 8 + 16, of which 28 are asked for."""
    data = ParityData(20, 3, 5, min_length=1, max_length=4, longer_length=8)
    found = parts(load_task(config(data)))
    spelled = []
    for part in found:
        assert part.lengths is not None
        rows = zip(part.inputs, part.lengths, strict=True)
        spelled += ["".join(map(str, bits[:length])) for bits, length in rows]
    assert len(spelled) == len(set(spelled)) == 28


def test_the_baseline_of_parity_leaves_the_padding_out() -> None:
    task = load_task(config(PARITY))
    train, test = (
        np.concatenate([row[:n] for row, n in zip(part.targets, part.lengths, strict=True)])
        for part in (arrays(task.train), arrays(task.test))
        if part.lengths is not None
    )
    ones = (train.sum() + 1) / (len(train) + 2)
    loss = -np.mean(np.where(test == 1, np.log(ones), np.log(1 - ones)))
    (baseline,) = task.baselines()
    assert baseline.scores["loss"] == pytest.approx(loss, rel=1e-12)
    assert baseline.scores["accuracy"] == np.mean(test == (ones > 0.5))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            ParityData(3000, 20, 60, min_length=3, max_length=5, longer_length=7),
            r"expected 3080 different sequences of 3 to 5 bits \(--data.min-length, "
            r"--data.max-length\), got 56 that differ",
        ),
        (
            replace(PARITY, min_length=15),
            "--data.min-length, --data.max-length, --data.longer-length: expected growing "
            "lengths, got 15, 14, 25",
        ),
        (replace(PARITY, longer_length=14), ".*: expected growing lengths, got 10, 14, 14"),
        (
            replace(ADDING, sequence_length=1),
            "--data.sequence-length: expected at least 2, got 1",
        ),
        (replace(ADDING, train_examples=10**12), ".*--data.train-examples.*"),
        (replace(COPY, train_examples=10**12), ".*--data.train-examples.*"),
        (replace(PARITY, train_examples=10**12), ".*--data.train-examples.*"),
    ],
    ids=["too few sequences", "the shortest is longer", "nothing longer", "one number",
         "much to add", "much to copy", "many bits"],
)  # fmt: skip
def test_impossible_data_are_refused(data: Data, message: str) -> None:
    with pytest.raises(InvalidInput, match=f"^{message}$"):
        load_task(config(data))


def test_eight_to_the_ten_sequences_are_all_that_can_be_copied(monkeypatch) -> None:
    monkeypatch.setattr("shared.tasks.memory.COPIED", 2)
    with pytest.raises(InvalidInput, match=r"^expected 65 different sequences of 2 symbols, got 6"):
        load_task(config(CopyData(50, 5, 10, blank_length=1)))
    task = load_task(config(CopyData(30, 5, 10, blank_length=1)))
    everything = np.concatenate([part.inputs[:, :2] for part in parts(task)])
    assert len(np.unique(everything, axis=0)) == 45


@pytest.mark.parametrize("name", SMALL)
def test_the_seed_decides_the_sequences(name: str) -> None:
    first, again, other = (load_task(config(SMALL[name], seed)) for seed in (1, 1, 2))
    assert first.fingerprint == again.fingerprint
    for one, two in zip(parts(first), parts(other), strict=True):
        assert one.inputs.shape == two.inputs.shape
        assert (one.inputs != two.inputs).any()


@pytest.mark.parametrize("name", SMALL)
def test_the_validation_is_printed_as_it_was_scored(name: str, tmp_path: Path, capsys) -> None:
    """Also where the score is the loss: the number after "accuracy" is an accuracy."""
    small = replace(config(SMALL[name]), backend="torch", epochs=1)
    train(replace(small, network=replace(small.network, hidden_size=4)), tmp_path / "run")
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    (valid,) = (line for line in map(json.loads, lines) if line["split"] == "valid")
    metric = load_task(small).metric
    printed = f"valid loss {valid['loss']:.4f}  {shown(metric, valid[metric])}  "
    assert printed in capsys.readouterr().out
