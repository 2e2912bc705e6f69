"""A resumed run goes on where it stopped, or says in one line why it cannot."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from rnn_torch.backend import Backend
from shared.config.data import TextData
from shared.config.settings import OptimizationConfig
from shared.runs import checkpoint
from shared.tasks import TASKS
from shared.training import train
from tests.support import checksummed
from tests.support.resume_cases import BEST_FILE, LAST_FILE, check_refused, last_value, resume

TEXT = "a text that someone goes on editing while a run on it is interrupted; " * 30


def edit_config(folder: Path, part: str | None = None, **changes) -> None:
    values = checksummed.read(folder / "config.json")
    (values[part] if part else values).update(changes)
    checksummed.write(folder / "config.json", values)


def test_a_run_stopped_after_its_last_step_is_scored(run: Path, finished: Path) -> None:
    lines = (run / "metrics.jsonl").read_text().splitlines(keepends=True)
    (run / "metrics.jsonl").write_text("".join(lines[:-1]))
    (run / "summary.json").unlink()
    (run / "curves.png").unlink(missing_ok=True)
    resume(run)
    assert (run / "metrics.jsonl").read_text() == "".join(lines)
    again, before = (
        json.loads((folder / "summary.json").read_text()) for folder in (run, finished)
    )
    for name in ("train", "valid", "test", "segments", "step_ms", "data", "notes"):
        assert again[name] == before[name], name


def test_a_run_with_nothing_left_to_do_is_refused(run: Path) -> None:
    check_refused(run, "already trained for 2 epochs")


def test_an_interrupted_run_does_not_go_back(run: Path) -> None:
    """Fewer epochs than its checkpoint has: to score it under another number would be wrong."""
    (run / "summary.json").unlink()
    check_refused(run, "already trained for 2 epochs; expected --epochs above, got 1", epochs=1)


def test_what_the_end_of_a_run_left_goes_before_new_steps(run: Path, monkeypatch) -> None:
    (run / "curves.png").write_bytes(b"of two epochs")

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Backend, "advance", stop)
    with pytest.raises(KeyboardInterrupt):
        resume(run, epochs=3)
    assert not (run / "summary.json").exists()
    assert not (run / "curves.png").exists()


def test_the_test_line_names_the_epoch_of_the_step_that_was_tested(finished: Path) -> None:
    lines = [json.loads(line) for line in (finished / "metrics.jsonl").read_text().splitlines()]
    best = json.loads((finished / "summary.json").read_text())["valid"]["step"]
    (tested,) = (line for line in lines if line["split"] == "test")
    (scored,) = (line for line in lines if line["split"] == "valid" and line["step"] == best)
    assert (tested["step"], tested["epoch"]) == (scored["step"], scored["epoch"])


def test_other_settings_are_named(run: Path) -> None:
    check_refused(run, r"got another --learning-rate, --seed$", epochs=3, seed=7,
            optimization=OptimizationConfig(learning_rate=0.5))  # fmt: skip


def test_a_cosine_schedule_keeps_its_length(tmp_path: Path) -> None:
    config = last_value(optimization=OptimizationConfig(schedule="cosine"))
    train(config, tmp_path / "run", quiet=True)
    said = (
        "cosine schedule .* laid out for 2 epochs, got 3; train anew with --epochs 3 into another "
        "--out, or with --schedule constant, whose runs can be prolonged$"
    )
    check_refused(tmp_path / "run", said, epochs=3)


def test_another_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "book.txt").write_text(TEXT)
    config = replace(
        TASKS["text"].defaults, backend="torch", epochs=1, bptt=10, batch_size=4,
        data=TextData(path=str(tmp_path / "book.txt"), split=(0.8, 0.1, 0.1)),
    )  # fmt: skip
    train(config, tmp_path / "run", quiet=True)
    (tmp_path / "book.txt").write_text(TEXT.replace("goes", "seog"))
    check_refused(tmp_path / "run", "the data that the run began with", epochs=2)
    (tmp_path / "book.txt").write_text(TEXT)
    resume(tmp_path / "run", epochs=2)


CHANGED = {
    "another optimizer": (
        {
            "part": "optimization",
            "optimizer": "sgd",
            "betas": None,
            "eps": None,
            "momentum": 0.0,
            "nesterov": False,
        },
        "expects no such tensor as moments/exp_avg",
    ),
    "another batch size": ({"batch_size": 7}, r"expects float64 \(1, 7, \d\) as carry/0"),
    "another precision": ({"precision": "float32"}, "expects float32 .* got float64"),
    "another width": (
        {"part": "network", "hidden_size": 6},
        r"checkpoint-6.* float64 \(6, 3\) as weights/rnn.weight_ih_l0, got float64 \(5, 3\)",
    ),
    "another cell": ({"part": "network", "cell": "gru"}, "weights/rnn.weight_ih_l0"),
}


@pytest.mark.parametrize("case", CHANGED)
def test_a_checkpoint_of_other_settings_is_refused(case: str, run: Path) -> None:
    changes, message = CHANGED[case]
    edit_config(run, **changes)
    check_refused(run, message, epochs=3)


def test_notes_of_earlier_segments_stay(tmp_path: Path) -> None:
    native = replace(last_value(), backend="jax", implementation="native")
    first = train(native, tmp_path / "run", quiet=True)
    assert any("one bias" in note for note in first.notes)
    second = resume(tmp_path / "run", epochs=3, backend="torch", implementation="handcrafted")
    assert second.notes == first.notes
    assert [segment.backend for segment in second.segments] == ["jax", "torch"]


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_moments_pass_through_the_single_bias_of_flax(cell: str, tmp_path: Path) -> None:
    """Both biases have the same gradient, so nothing is lost but the GRU's b_hn."""
    config = last_value()
    config = replace(config, network=replace(config.network, cell=cell), backend="jax")
    train(config, tmp_path / "run", quiet=True)
    before = load_file(tmp_path / "run" / LAST_FILE)
    from rnn_jax import native

    layout = native.layout(config.network)
    for kind in ("exp_avg", "exp_avg_sq"):
        prefix = f"moments/{kind}."
        moments = {
            name.removeprefix(prefix): array
            for name, array in before.items()
            if name.startswith(prefix)
        }
        assert np.abs(moments["rnn.bias_hh_l0"]).min() > 0
        expected = dict(moments)
        if cell == "gru":
            expected["rnn.bias_hh_l0"] = moments["rnn.bias_hh_l0"].copy()
            expected["rnn.bias_hh_l0"][2 * config.network.hidden_size :] = 0
        back = layout.to_moments(layout.from_moments(moments))
        assert back.keys() == expected.keys()
        for name, array in expected.items():
            np.testing.assert_allclose(back[name], array, rtol=1e-12, atol=0, err_msg=name)


def test_a_run_without_a_checkpoint_begins_anew(run: Path, finished: Path) -> None:
    """It was killed before one was due."""
    for name in (LAST_FILE, BEST_FILE, "summary.json"):
        (run / name).unlink()
    (run / "metrics.jsonl").write_text('{"step": 1, "epo')
    resume(run)
    assert (run / "metrics.jsonl").read_bytes() == (finished / "metrics.jsonl").read_bytes()


def test_a_finished_run_without_a_checkpoint_is_not_begun_anew(run: Path) -> None:
    for name in (LAST_FILE, BEST_FILE):
        (run / name).unlink()
    check_refused(
        run, "expected the checkpoints of a finished run, got none; --config .* --out", epochs=3
    )


def test_more_checkpoints_may_be_kept_and_written_than_before(run: Path) -> None:
    resume(run, epochs=4, keep_checkpoints=5, checkpoint_every="2")
    assert checkpoint.steps(run) == [3, 6, 8, 9, 11, 12]
