"""Damaged files of a run: one line names the file, and a whole checkpoint to go on from if one is
left."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from shared.config.settings import OptimizationConfig
from shared.runs import checkpoint
from shared.system.tensor_files import digest
from shared.training import train
from tests.support.resume_cases import BEST_FILE, LAST_FILE, check_refused, last_value, resume


def test_a_checkpoint_whose_segments_leave_a_gap_is_refused(run: Path) -> None:
    last = checkpoint.read(run / LAST_FILE)
    (segment,) = last.segments
    for segments, got in (([], "none"), ([replace(segment, end=5)], "steps 1–5 in torch")):
        checkpoint.write(run / LAST_FILE, last._replace(segments=segments))
        check_refused(run, f"segments that cover its 6 steps, got {got}", epochs=3)


@pytest.mark.parametrize("name", ["checkpoint-3.safetensors", "metrics.jsonl"])
def test_a_missing_file_is_noticed_before_training(name: str, run: Path) -> None:
    (run / name).unlink()
    check_refused(run, name, epochs=3)


def edit_checkpoint(file: Path, **changes) -> None:
    """Changes tensors (`{name: array or None}`) or metadata (`{key: text}`) of a checkpoint."""
    with safe_open(file, framework="numpy") as opened:
        metadata = opened.metadata()
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    tensors |= changes.get("tensors", {})
    kept = {name: array for name, array in tensors.items() if array is not None}
    metadata |= changes.get("metadata", {})
    save_file(kept, file, metadata | {"sha256": digest(kept, metadata)})


HOSTILE = {
    "a best that is a number": (LAST_FILE, {"metadata": {"best": "5"}}, "best: .* got 5"),
    "a best without its step": (
        LAST_FILE, {"metadata": {"best": '{"loss": 0.5, "accuracy": 0.5}'}}, "best: .*step",
    ),
    "a best whose loss is a text": (
        LAST_FILE,
        {"metadata": {"best": '{"loss": "x", "accuracy": 0.5, "step": 3}'}},
        "best: .*loss",
    ),
    "a best without a metric": (
        LAST_FILE, {"metadata": {"best": '{"loss": 0.5, "step": 3}'}}, "best: .*accuracy",
    ),
    "a best of a later step": (
        LAST_FILE,
        {"metadata": {"best": '{"loss": 0.5, "accuracy": 0.5, "step": 99}'}},
        "best: .*step.*99",
    ),
    "a best that is not finite": (
        LAST_FILE,
        {"metadata": {"best": '{"loss": NaN, "accuracy": 0.5, "step": 3}'}},
        "best: .*loss",
    ),
    "a best of a task with validation that is none": (
        LAST_FILE, {"metadata": {"best": "null"}}, "best: .* got none",
    ),
    "scores of training that are a list": (LAST_FILE, {"metadata": {"train": "[1]"}}, "train: "),
    "scores of training that are none": (
        LAST_FILE, {"metadata": {"train": "null"}}, "train: .* got none",
    ),
    "no step": (LAST_FILE, {"metadata": {"step": "-3"}}, "step"),
    "a weight of nan": (
        LAST_FILE,
        {"tensors": {"weights/head.bias": np.full(2, np.nan)}},
        "weights/head.bias: expected finite numbers, got nan",
    ),
    "a moment that is infinite": (
        LAST_FILE,
        {"tensors": {"moments/exp_avg.head.bias": np.array([1.0, -np.inf])}},
        "moments/exp_avg.head.bias: expected finite numbers, got -inf",
    ),
    "a negative second moment": (
        LAST_FILE,
        {"tensors": {"moments/exp_avg_sq.head.bias": np.array([1.0, -1.0])}},
        "moments/exp_avg_sq.head.bias: expected .* got -1",
    ),
    "a best without a weight": (
        BEST_FILE, {"tensors": {"weights/head.bias": None}}, "weights/head.bias, got none",
    ),
    "a best of another shape": (
        BEST_FILE,
        {"tensors": {"weights/head.bias": np.ones(3)}},
        r"expects float64 \(2,\) as weights/head.bias, got float64 \(3,\)",
    ),
    "a best whose weight is nan": (
        BEST_FILE,
        {"tensors": {"weights/head.bias": np.full(2, np.nan)}},
        "weights/head.bias: expected finite numbers, got nan",
    ),
    "a best of other data": (BEST_FILE, {"metadata": {"data": "0123abcd"}}, "0123abcd"),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_checkpoint_is_refused_before_training(case: str, run: Path) -> None:
    name, changes, message = HOSTILE[case]
    edit_checkpoint(run / name, **changes)
    check_refused(run, f"{name}: .*{message}", epochs=3)


def flip(file: Path, at: float = 0.5) -> None:
    """Turns over one bit."""
    content = bytearray(file.read_bytes())
    content[int(at * len(content))] ^= 4
    file.write_bytes(content)


def test_a_damaged_checkpoint_is_refused_and_the_one_before_is_offered(run: Path) -> None:
    flip(run / LAST_FILE, 0.9)
    offer = f"{LAST_FILE}: .* damaged; {BEST_FILE} is whole: remove {LAST_FILE} to go on from it"
    check_refused(run, offer, epochs=3)
    (run / LAST_FILE).unlink()
    (run / "summary.json").unlink()
    summary = resume(run)
    assert (summary.segments[0].end, summary.steps) == (3, 6)


def test_where_no_checkpoint_is_whole_none_is_offered(run: Path) -> None:
    for name in (LAST_FILE, BEST_FILE):
        (run / name).write_bytes((run / name).read_bytes()[:-1])
    message = f"{LAST_FILE}: expected a checkpoint, .*; --config .* --overwrite begins anew"
    check_refused(run, message, epochs=3)


def test_a_checkpoint_of_another_version_is_refused(run: Path) -> None:
    edit_checkpoint(run / LAST_FILE, metadata={"format": "rnn-parity checkpoint 1"})
    check_refused(run, "expected format 'rnn-parity checkpoint 2', got 'rnn-parity checkpoint 1'",
                  epochs=3)  # fmt: skip


def test_a_checkpoint_that_was_renamed_is_refused(run: Path) -> None:
    (run / LAST_FILE).rename(run / "checkpoint-7.safetensors")
    check_refused(run, r"checkpoint-7\.safetensors: expected the step of its name, got 6", epochs=3)


@pytest.mark.parametrize("name", ["config.json", "metrics.jsonl"])
def test_a_flipped_bit_is_noticed_before_training(name: str, run: Path) -> None:
    text = (run / name).read_text()
    changed = {
        "config.json": text.replace('"hidden_size": 5', '"hidden_size": 4'),
        "metrics.jsonl": text.replace('"step": 2', '"step": 3'),
    }[name]
    assert changed != text
    (run / name).write_text(changed)
    check_refused(run, f"{name}: expected .*, got .*: it is damaged, or was edited", epochs=3)


def test_a_history_without_a_line_is_noticed(run: Path) -> None:
    lines = (run / "metrics.jsonl").read_text().splitlines(keepends=True)
    (run / "metrics.jsonl").write_text("".join([lines[0], *lines[2:]]))
    check_refused(
        run, rf"metrics\.jsonl: expected the lines up to step 6 that {LAST_FILE}", epochs=3
    )


def test_what_is_offered_can_be_gone_on_from(tmp_path: Path) -> None:
    """Neither a checkpoint whose best is damaged, nor one with lines that are."""
    config = last_value(optimization=OptimizationConfig(learning_rate=0.1))
    config = replace(config, epochs=4, keep_checkpoints=9)
    run = tmp_path / "run"
    train(config, run, quiet=True)
    assert checkpoint.steps(run) == [3, 6, 9, 12]
    flip(run / "checkpoint-12.safetensors", 0.9)
    lines = (run / "metrics.jsonl").read_text().splitlines(keepends=True)
    (eighth,) = (i for i, line in enumerate(lines) if '"step": 8,' in line)
    (run / "metrics.jsonl").write_text("".join(lines[:eighth] + lines[eighth + 1 :]))
    later = "checkpoint-9.safetensors and checkpoint-12.safetensors"
    check_refused(run, f"checkpoint-6.safetensors is whole: remove {later}", epochs=5)
    best = checkpoint.read(run / LAST_FILE).best_step
    assert best == 3
    flip(run / BEST_FILE, 0.9)
    check_refused(run, "checkpoint-12.* damaged; --config .* begins anew", epochs=5)
