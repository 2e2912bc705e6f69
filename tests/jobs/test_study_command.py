"""A real study: trained, ranked, scored once, taken up again, stopped and gone on with."""

import csv
import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from shared.commands.study import main
from shared.errors import InvalidInput
from shared.jobs.command import CHILD
from shared.runs import read_run, run_folder
from shared.runs.study import FILE, PAGE, TABLE, read_study
from shared.system.json_files import CHECKSUM, digest
from tests.support.command_line import SMALL, WIDTH

ROOT = Path(__file__).parents[2]
TINY = ["--task", "last-value", "--seed", "3", *SMALL]

DIVERGING = [*TINY, "--optimizer", "sgd", "--nonlinearity", "relu"]
"""A network that diverges at a learning rate of 1e29."""


def without(option: str) -> list[str]:
    """The options of the tiny task but one, which is varied."""
    at = TINY.index(option)
    return [*TINY[:at], *TINY[at + 2 :]]


def changed_test_score(folder: Path, value: float) -> None:
    """Gives a finished run another test score, with a checksum that fits."""
    file = folder / run_folder.SUMMARY
    values = json.loads(file.read_text())
    values["test"]["accuracy"] = value
    values.pop(CHECKSUM)
    file.write_text(json.dumps(values | {CHECKSUM: digest(values)}))


def test_a_study_is_made_and_looks_at_the_test_of_the_best_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    line = [*DIVERGING, "--backend", "torch", "--out", "s"]
    line += ["--vary", "learning-rate", "0.1", "1e29", "--vary", "num-layers", "1"]
    main(line)
    said = capfd.readouterr().out.splitlines()
    study = read_study(Path("s"))
    states = [trial.state for one in study.combinations for trial in one.trials]
    assert states == ["done", "failed"]
    run = read_run(Path("s/trials/001-3"))
    assert run.summary.valid is not None
    valid = study.combinations[0].trials[0].valid
    assert valid == {name: run.summary.valid[name] for name in ("loss", "accuracy")}
    (look,) = study.looks
    assert (look.combination, look.of) == (1, 1)
    assert look.scores["accuracy"] == [run.summary.test["accuracy"]]
    assert any(one.startswith("best of 1: learning-rate 0.1, num-layers 1: ") for one in said)
    assert any(one.startswith("failed: 1 of 2 combinations") for one in said)
    with open("s/results.csv", newline="") as file:
        rows = [*csv.DictReader(file)]
    assert [row["rank"] for row in rows] == ["1", ""]
    assert float(rows[0]["validation_loss"]) == pytest.approx(run.summary.valid["loss"])
    assert rows[1]["failure"].startswith("the training loss is nan")


@pytest.mark.slow
def test_the_same_study_goes_on_without_another_look_at_the_test(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    line = [*DIVERGING, "--backend", "torch", "--out", "s"]
    line += ["--vary", "learning-rate", "0.1", "1e29"]
    main(line)
    (look,) = read_study(Path("s")).looks
    capfd.readouterr()
    changed_test_score(Path("s/trials/001-3"), 0.123456)
    main(line)
    assert "1 of 2: s/trials/001-3 (done)" in capfd.readouterr().out
    assert read_study(Path("s")).looks == [look]
    assert read_study(Path("s")).combinations[1].failure
    with pytest.raises(InvalidInput, match=r"^--out s: .*got another: --epochs; name another"):
        main([*line, "--epochs", "4"])


@pytest.mark.slow
def test_test_scores_of_other_combinations_change_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    line = [*without("--hidden-size"), "--backend", "torch", "--out", "s"]
    line += ["--vary", "hidden-size", "2", "5"]
    main(line)
    study = read_study(Path("s"))
    before = {name: Path("s", name).read_text() for name in (FILE, PAGE, TABLE)}
    others = [one for one in study.combinations if one.number != study.looks[0].combination]
    for one in others:
        for score in (0.0, 1.0):
            changed_test_score(Path("s", one.trials[0].folder), score)
            main(line)
            assert {name: Path("s", name).read_text() for name in before} == before


@pytest.mark.slow
def test_all_runs_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    line = [*DIVERGING, "--backend", "torch", "--vary", "learning-rate", "1e29"]
    with pytest.raises(InvalidInput, match=r"studies/last-value-1: .*got none; the first failed"):
        main(line)
    study = read_study(Path("studies/last-value-1"))
    assert study.combinations[0].failure
    assert study.looks == []
    assert not Path("studies/last-value-1", PAGE).exists()


@pytest.mark.slow
def test_ctrl_c_leaves_a_study_that_goes_on(tmp_path: Path) -> None:
    line = [*without("--batch-size"), "--backend", "torch", "--epochs", "600"]
    line += ["--vary", "batch-size", "8", "16"]
    command = [*CHILD, "study", *line, "--out", "s"]
    environment = os.environ | WIDTH | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, process_group=0,
    ) as study:  # fmt: skip
        deadline = time.monotonic() + 60
        while not list((tmp_path / "s").glob("trials/001-3/checkpoint-*")):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        study.send_signal(signal.SIGINT)
        _, errors = study.communicate(timeout=60)
    assert study.returncode == 128 + signal.SIGINT
    said = errors.splitlines()[-1]
    assert said == "rnn-parity study: interrupted; the same command with --out s goes on"
    assert not (tmp_path / "s" / "run.lock").exists()
    states = [one.trials[0].state for one in read_study(tmp_path / "s").combinations]
    assert states == ["waiting", "waiting"]
    step = run_folder.status(tmp_path / "s/trials/001-3").step
    assert step is not None
    assert 0 < step < 5 * 600
    gone_on = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert gone_on.returncode == 0, gone_on.stderr
    study_made = read_study(tmp_path / "s")
    assert [one.trials[0].state for one in study_made.combinations] == ["done", "done"]
    segments = read_run(tmp_path / "s/trials/001-3").summary.segments
    assert [(part.start, part.end) for part in segments] == [(0, step), (step, 5 * 600)]


@pytest.mark.slow
def test_a_study_in_jax_over_seeds(tmp_path: Path) -> None:
    (tmp_path / "search.toml").write_text(
        'random = 2\nseeds = "0..1"\nby = "accuracy"\n[run]\nbackend = "jax"\ntask = "last-value"\n'
        '[vary]\nlearning-rate = "log:1e-3..1e-1"\ncell = ["rnn", "gru"]\n'
    )
    command = [*CHILD, "study", "--file", "search.toml", *SMALL, "--out", "s"]
    environment = os.environ | WIDTH | {"PYTHONPATH": str(ROOT)}
    made = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, made.stderr
    study = read_study(tmp_path / "s")
    assert len(study.combinations) == 2
    assert all(trial.state == "done" for one in study.combinations for trial in one.trials)
    assert "(mean ± standard error of 2 seeds)" in made.stdout
    again = next(one for one in made.stdout.splitlines() if one.startswith("again: "))
    words = again.removeprefix("again: rnn-parity ").split()
    assert words[-3:] == ["--seeds", "0", "1"]
    # Several seeds in one program of JAX are rounded otherwise, so one is trained alone.
    best = study.combinations[study.looks[-1].combination - 1].trials[1]
    subprocess.run(
        [*CHILD, *words[:-3], "--seed", "1", "--out", "r"], cwd=tmp_path, env=environment,
        stdout=subprocess.DEVNULL, check=True,
    )  # fmt: skip
    ours = (tmp_path / "s" / best.folder / "metrics.jsonl").read_bytes()
    assert (tmp_path / "r" / "metrics.jsonl").read_bytes() == ours
