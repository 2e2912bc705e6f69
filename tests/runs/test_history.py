"""metrics.jsonl holds each step once, also after a resumed run."""

import json
from pathlib import Path

import pytest

from shared.errors import InvalidInput
from shared.runs.history import METRICS, History, lines_up_to
from shared.runs.run_folder import check_free, created, read_config, save_config
from shared.system.folders import free_folder
from shared.system.json_files import CHECKSUM
from shared.tasks import TASKS


def steps(folder: Path) -> list[tuple[int, str]]:
    lines = (folder / METRICS).read_text().splitlines()
    return [(line["step"], line["split"]) for line in map(json.loads, lines)]


def test_a_resumed_run_keeps_the_lines_up_to_its_checkpoint(tmp_path: Path) -> None:
    with History(tmp_path, "accuracy", log_every=1) as history:
        for step in range(1, 6):
            history.train(step, 1, 0.5, 0.9)
            if step == 3:
                history.add(3, 1, "valid", 0.4, 0.9)
        history.add(3, 1, "test", 0.4, 0.9)
    with History(tmp_path, "accuracy", log_every=1, keep=3) as history:
        history.train(4, 2, 0.3, 0.9)
    assert steps(tmp_path) == [(1, "train"), (2, "train"), (3, "train"), (3, "valid"), (4, "train")]


def test_a_line_that_was_cut_off_is_written_again(tmp_path: Path) -> None:
    with History(tmp_path, "accuracy", log_every=1) as history:
        for step in (1, 2, 3):
            history.train(step, 1, 0.5, 0.9)
    whole = (tmp_path / METRICS).read_text()
    (tmp_path / METRICS).write_text(whole[:-20])
    with History(tmp_path, "accuracy", log_every=1, keep=2) as history:
        history.train(3, 1, 0.5, 0.9)
    assert (tmp_path / METRICS).read_text() == whole


def test_a_new_run_begins_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / METRICS).write_text('{"step": 9, "split": "train"}\n')
    with History(tmp_path, "mae", log_every=2) as history:
        for step in range(1, 6):
            history.train(step, 1, 0.5, 0.1)
    assert steps(tmp_path) == [(2, "train"), (4, "train")]
    assert json.loads((tmp_path / METRICS).read_text().splitlines()[0]) == {
        "step": 2, "epoch": 1, "split": "train", "loss": 0.5, "mae": 0.1,
    }  # fmt: skip


def test_numbers_survive_as_they_are(tmp_path: Path) -> None:
    loss = 0.1 + 0.2
    with History(tmp_path, "mae", log_every=1) as history:
        history.train(1, 1, loss, 1e-300)
    line = json.loads((tmp_path / METRICS).read_text())
    assert (line["loss"], line["mae"]) == (loss, 1e-300)


def test_create_removes_what_an_overwritten_run_left(tmp_path: Path) -> None:
    for name in ("config.json", "metrics.jsonl", "checkpoint-30.safetensors", "curves.png"):
        (tmp_path / name).write_text("old")
    with created(tmp_path, TASKS["hello"].defaults, overwrite=True):
        assert {file.name for file in tmp_path.iterdir()} == {"config.json", "run.lock"}
    assert [file.name for file in tmp_path.iterdir()] == ["config.json"]
    assert read_config(tmp_path / "config.json") == TASKS["hello"].defaults


def test_free_folder_counts_up(tmp_path: Path) -> None:
    assert free_folder(tmp_path, "run").name == "run-1"
    (tmp_path / "run-1").mkdir()
    assert free_folder(tmp_path, "run").name == "run-2"


def test_check_free_refuses_what_holds_anything(tmp_path: Path) -> None:
    check_free(tmp_path, overwrite=False)
    (tmp_path / "thesis.tex").write_text("precious")
    for overwrite in (False, True):
        with pytest.raises(InvalidInput, match="other files"):
            check_free(tmp_path, overwrite=overwrite)


GOOD = '{"step": 1, "epoch": 1, "split": "train", "loss": 0.5, "mae": 0.1}'
DAMAGED = {
    "no JSON": b"hello",
    "null": b"null",
    "a number": b"5",
    "a list": b"[1]",
    "nothing in it": b"{}",
    "another metric": GOOD.replace("mae", "accuracy").encode(),
    "another split": GOOD.replace("train", "holdout").encode(),
    "text for a step": GOOD.replace("1,", '"1",', 1).encode(),
    "true for a step": GOOD.replace("1,", "true,", 1).encode(),
    "no number": GOOD.replace("0.5", "NaN").encode(),
    "no UTF-8": b"\xff",
    "deep": b"[" * 100_000,
}


@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_line_is_named(case: str, tmp_path: Path) -> None:
    path = tmp_path / METRICS
    path.write_bytes(b"\n".join([GOOD.encode(), DAMAGED[case], GOOD.encode(), b""]))
    with pytest.raises(InvalidInput, match=r"metrics\.jsonl: expected .*loss, mae in line 2, got"):
        lines_up_to(9, path, "mae")


def test_a_folder_with_the_config_of_another_program_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    (tmp_path / "model.safetensors").write_text("precious")
    for overwrite in (False, True):
        with pytest.raises(InvalidInput, match="other files"):
            check_free(tmp_path, overwrite=overwrite)


@pytest.mark.parametrize("left", [["run.lock"], [f".{'0a' * 8}.tmp"]])
def test_what_a_killed_process_had_begun_is_no_run(left: list[str], tmp_path: Path) -> None:
    for name in left:
        (tmp_path / name).touch()
    check_free(tmp_path, overwrite=False)


def test_a_configuration_without_its_checksum_is_refused(tmp_path: Path) -> None:
    """As one is that was changed: who removes the one could have changed the other."""
    save_config(tmp_path, TASKS["hello"].defaults)
    file = tmp_path / "config.json"
    values = json.loads(file.read_text())
    file.write_text(json.dumps(values | {CHECKSUM: "0" * 64}))
    with pytest.raises(InvalidInput, match="expected contents that match its sha256"):
        read_config(file)
    del values[CHECKSUM]
    file.write_text(json.dumps(values))
    with pytest.raises(InvalidInput, match="expected contents that match its sha256"):
        read_config(file)
    assert read_config(file, edited=True) == TASKS["hello"].defaults
