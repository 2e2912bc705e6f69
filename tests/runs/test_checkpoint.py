"""Checkpoints come back as they were, and a file that is none is refused by name."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from shared.errors import InvalidInput
from shared.protocol import Snapshot
from shared.runs.checkpoint import Checkpoint, Retention, Running, read, steps, write
from shared.runs.segments import Segment
from shared.system.files import write_atomically
from shared.system.tensor_files import digest

RNG = np.random.default_rng(0)
WEIGHTS = {"rnn.weight_ih_l0": RNG.standard_normal((4, 3)), "head.bias": RNG.standard_normal(2)}
MOMENTS = {f"exp_avg.{name}": array.astype(np.float32) for name, array in WEIGHTS.items()}
CARRY = (RNG.standard_normal((1, 2, 4)), RNG.standard_normal((1, 2, 4)))
BEST = {"loss": 0.1 + 0.2, "accuracy": 1.0, "step": 7}
TRAIN = {"loss": 0.3, "accuracy": 0.9}
SEGMENTS = [
    Segment("jax", "handcrafted", 0, 3, 0.1, []),
    Segment("torch", "native", 3, 12, 2.5, ["torch draws its own masks"]),
]
FULL = Checkpoint(
    Snapshot(WEIGHTS, MOMENTS, CARRY, 12), "0123abcd", TRAIN, BEST, SEGMENTS,
    Running(3, 0.7, 2.5), "ab" * 32,
)  # fmt: skip


def test_everything_comes_back(tmp_path: Path) -> None:
    write(tmp_path / "c.safetensors", FULL)
    back = read(tmp_path / "c.safetensors")
    assert back._replace(snapshot=FULL.snapshot) == FULL
    assert back.snapshot.step == 12
    for mine, theirs in ((back.snapshot.weights, WEIGHTS), (back.snapshot.moments, MOMENTS)):
        assert set(mine) == set(theirs)
        for name, array in theirs.items():
            np.testing.assert_array_equal(mine[name], array)
            assert mine[name].dtype == array.dtype
    assert len(back.snapshot.carry) == 2
    for mine, theirs in zip(back.snapshot.carry, CARRY, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert [file.name for file in tmp_path.iterdir()] == ["c.safetensors"]


def test_a_transposed_view_is_written_as_it_reads(tmp_path: Path) -> None:
    view = WEIGHTS["rnn.weight_ih_l0"].T
    write(tmp_path / "c", Checkpoint(Snapshot.of({"w": view}), "0123abcd"))
    back = read(tmp_path / "c")
    np.testing.assert_array_equal(back.snapshot.weights["w"], view)
    assert (back.train, back.best, back.segments) == (None, None, [])


def test_other_programs_read_the_tensors(tmp_path: Path) -> None:
    write(tmp_path / "c", FULL)
    assert set(load_file(tmp_path / "c")) == {
        "weights/rnn.weight_ih_l0", "weights/head.bias",
        "moments/exp_avg.rnn.weight_ih_l0", "moments/exp_avg.head.bias",
        "carry/0", "carry/1",
    }  # fmt: skip


METADATA = {
    "format": "rnn-parity checkpoint 2", "step": "12", "data": "0123abcd", "train": "null",
    "best": "null", "segments": "[]", "running": '{"steps": 0, "loss": 0, "metric": 0}',
    "history": "ab",
}  # fmt: skip


def _tensors(path: Path, name: str = "weights/w", **metadata: str | None) -> None:
    merged = {key: value for key, value in (METADATA | metadata).items() if value is not None}
    tensors = {name: np.ones(3)}
    save_file(tensors, path, {"sha256": digest(tensors, merged)} | merged)


def test_what_the_cases_below_change_is_a_checkpoint(tmp_path: Path) -> None:
    _tensors(tmp_path / "c")
    assert read(tmp_path / "c").snapshot.step == 12


DAMAGE = {
    "missing": lambda path: path.unlink(),
    "empty": lambda path: path.write_bytes(b""),
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-8]),
    "no safetensors": lambda path: path.write_text("hello"),
    "without metadata": lambda path: save_file({"weights/w": np.ones(3)}, path),
    "of another format": lambda path: _tensors(path, format="rnn-parity checkpoint 99"),
    "without a step": lambda path: _tensors(path, step=None),
    "with a step that is none": lambda path: _tensors(path, step="many"),
    "with broken JSON": lambda path: _tensors(path, segments="[["),
    "with other segments": lambda path: _tensors(path, segments="[1]"),
    "with another tensor": lambda path: _tensors(path, name="gradients/w"),
    "without what it sums up": lambda path: _tensors(path, running=None),
    "that sums up more steps than it has": lambda path: _tensors(
        path, running='{"steps": 13, "loss": 0, "metric": 0}'
    ),
    "with another checksum": lambda path: _tensors(path, sha256="00" * 32),
    "with a nameless tensor": lambda path: _tensors(path, name="w"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_a_file_that_is_no_checkpoint_is_refused(case: str, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint-12.safetensors"
    write(path, FULL)
    DAMAGE[case](path)
    with pytest.raises(InvalidInput, match=r"checkpoint-12\.safetensors: .*expected"):
        read(path)


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "summary.json"
    write_atomically(path, b"old")

    def no_space(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shared.system.files.os.fsync", no_space)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, json.dumps("new").encode())
    assert path.read_bytes() == b"old"


def test_a_flipped_bit_is_noticed_wherever_it_is(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint-12.safetensors"
    write(path, FULL)
    whole = path.read_bytes()
    for at in range(0, len(whole), 7):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(InvalidInput, match=r"checkpoint-12\.safetensors: .*expected"):
            read(path)


def at_step(step: int, best: int | None) -> Checkpoint:
    scores = None if best is None else {"loss": 1.0, "accuracy": 0.5, "step": best}
    return Checkpoint(Snapshot({"w": np.ones(3)}, {}, (), step), "0123", TRAIN, scores)


@pytest.mark.parametrize(
    ("keep", "left"), [(1, [20, 50]), (2, [20, 40, 50]), (9, [5, 10, 20, 30, 40, 50])]
)
def test_the_last_and_the_best_stay(keep: int, left: list[int], tmp_path: Path) -> None:
    retention = Retention(tmp_path, keep)
    for step, best in ((5, None), (10, 10), (20, 20), (30, 20), (40, 20), (50, 20)):
        retention.write(at_step(step, best))
    assert steps(tmp_path) == left


def test_the_best_of_a_checkpoint_that_stays_does_too(tmp_path: Path) -> None:
    """Should the last be damaged, the one before is gone on from, and has its own best."""
    retention = Retention(tmp_path, 2)
    for step, best in ((10, 10), (20, 10), (30, 10), (40, 40)):
        retention.write(at_step(step, best))
    assert steps(tmp_path) == [10, 30, 40]
    retention.write(at_step(50, 40))
    assert steps(tmp_path) == [40, 50]


def test_another_process_cleans_up_what_was_left(tmp_path: Path) -> None:
    for step in (10, 20, 30):
        write(tmp_path / f"checkpoint-{step}.safetensors", at_step(step, 10))
    (tmp_path / "checkpoint-x.safetensors").touch()
    (tmp_path / "checkpoint-010.safetensors").touch()
    Retention(tmp_path, 1).clean()
    assert steps(tmp_path) == [10, 30]
    assert len(list(tmp_path.iterdir())) == 4, "files of other names stay"


def test_nothing_is_removed_where_it_cannot_be_told(tmp_path: Path) -> None:
    for step in (10, 20, 30):
        write(tmp_path / f"checkpoint-{step}.safetensors", at_step(step, 10))
    (tmp_path / "checkpoint-30.safetensors").write_bytes(b"damaged")
    Retention(tmp_path, 1).clean()
    assert steps(tmp_path) == [10, 20, 30]
