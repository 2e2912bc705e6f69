"""A resumed run goes on where it stopped, or says in one line why it cannot."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from rnn_torch.backend import Backend
from shared.config import Config
from shared.config.data import GeneratedData, TextData
from shared.config.settings import NetworkConfig, OptimizationConfig
from shared.errors import InvalidInput
from shared.runs import checkpoint
from shared.runs.run_folder import read_config
from shared.system.tensor_files import digest
from shared.tasks import TASKS
from shared.training import train
from tests.support import checksummed

BEST_FILE, LAST_FILE = "checkpoint-3.safetensors", "checkpoint-6.safetensors"

TEXT = "a text that someone goes on editing while a run on it is interrupted; " * 30


def last_value(**changes) -> Config:
    return replace(
        TASKS["last-value"].defaults,
        backend="torch",
        network=NetworkConfig(hidden_size=5),
        data=GeneratedData(40, 8, 9, sequence_length=6, input_size=3),
        epochs=2,
        batch_size=16,
        precision="float64",
        **changes,
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """At this learning rate the first of its two checkpoints is the best."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    config = last_value(optimization=OptimizationConfig(learning_rate=0.1))
    assert train(config, folder, quiet=True).test["step"] == 3
    return folder


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A finished run that a test may damage."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


def resume(folder: Path, **changes):
    config = replace(read_config(folder / "config.json"), **changes)
    return train(config, folder, resume=True, quiet=True)


def check_refused(folder: Path, message: str, **changes) -> None:
    """Raises unless it is refused with the message, and no byte in the folder has changed."""
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    with pytest.raises(InvalidInput, match=message):
        resume(folder, **changes)
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before


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
    check_refused(tmp_path / "run", "cosine schedule .* laid out for 2 epochs, got 3", epochs=3)


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
