"""Checkpoints come back as they were, and a file that is none is refused by name."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from shared.backend import Snapshot
from shared.checkpoint import Checkpoint, read, write
from shared.errors import InvalidInput
from shared.files import write_atomically
from shared.segments import Segment

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
FULL = Checkpoint(Snapshot(WEIGHTS, MOMENTS, CARRY, 12), "0123abcd", TRAIN, BEST, SEGMENTS)


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
    "format": "rnn-parity checkpoint 1", "step": "12", "data": "0123abcd", "train": "null",
    "best": "null", "segments": "[]",
}  # fmt: skip


def _tensors(path: Path, name: str = "weights/w", **metadata: str | None) -> None:
    merged = {key: value for key, value in (METADATA | metadata).items() if value is not None}
    save_file({name: np.ones(3)}, path, merged)


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
    "with a nameless tensor": lambda path: _tensors(path, name="w"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_a_file_that_is_no_checkpoint_is_refused(case: str, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint-last.safetensors"
    write(path, FULL)
    DAMAGE[case](path)
    with pytest.raises(InvalidInput, match=r"checkpoint-last\.safetensors: expected"):
        read(path)


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "summary.json"
    write_atomically(path, b"old")

    def no_space(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shared.files.os.fsync", no_space)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, json.dumps("new").encode())
    assert path.read_bytes() == b"old"
