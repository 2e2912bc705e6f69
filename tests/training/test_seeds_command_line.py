"""Seeds on the command line: `--seeds` trains, continues, replaces and compares several runs."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from shared.commands.cli import parse_seeds
from shared.errors import InvalidInput
from shared.runs.seeds import are_in, read_runs, read_seeds
from shared.training.seeds import remove_runs
from tests.support.command_line import SMALL, check_refused, script


@pytest.mark.parametrize(
    ("words", "expected"),
    [(["0..4"], [0, 1, 2, 3, 4]), (["3", "1"], [3, 1]), (["7..7", "1..2"], [7, 1, 2])],
)
def test_seeds_are_numbers_or_ranges(words: list[str], expected: list[int]) -> None:
    assert parse_seeds(words) == expected


@pytest.mark.parametrize(
    "words", [["0..2", "1"], ["2..0"], ["-1"], ["0.."], ["one"], [""], ["0..99999"], ["1,2"], []]
)
def test_other_seeds_are_refused(words: list[str]) -> None:
    with pytest.raises(InvalidInput, match="--seeds: expected"):
        parse_seeds(words)


@pytest.mark.draws
def test_a_run_of_several_seeds(call: Callable, tmp_path: Path) -> None:
    options = ["--backend", "torch", "--task", "last-value", *SMALL, "--out", "runs"]
    ran = call("run.py", *options, "--seeds", "0..1", "4")
    assert ran.returncode == 0, ran.stderr
    assert read_seeds(tmp_path / "runs") == [0, 1, 4]
    assert (tmp_path / "runs" / "curves.png").stat().st_size > 5000
    assert "mean ± standard deviation of 3 seeds: loss " in ran.stdout
    assert ran.stdout.count("baseline ") == 1
    assert [line[:6] for line in ran.stdout.splitlines() if line.startswith("seed")][-3:] == [
        "seed 0", "seed 1", "seed 4",
    ]  # fmt: skip
    again = call("run.py", *options, "--seeds", "0..1", "4")
    check_refused(again, "run.py: --out runs: holds other runs; continue them with --resume runs")
    longer = call("run.py", "--resume", "runs", "--epochs", "4")
    assert longer.returncode == 0, longer.stderr
    assert {run.config.epochs for run in read_runs(tmp_path / "runs")} == {4}
    fewer = call("run.py", *options, "--seeds", "1", "2", "--overwrite")
    assert fewer.returncode == 0, fewer.stderr
    names = {file.name for file in (tmp_path / "runs").iterdir()}
    assert names == {"seeds.json", "curves.png", "seed-1", "seed-2"}
    remove_runs(tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_what_seeds_do_not_go_with(call: Callable, tmp_path: Path) -> None:
    options = ["--backend", "torch", "--task", "last-value", *SMALL]
    check_refused(
        call("run.py", *options, "--seed", "1", "--seeds", "1"), "expected one of the two"
    )
    check_refused(call("run.py", *options, "--seeds", "a"), "--seeds: expected numbers", "got a")
    check_refused(call("run.py", *options, "--seeds"), "--seeds")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").touch()
    there = call("run.py", *options, "--seeds", "0..1", "--out", "other", "--overwrite")
    check_refused(there, "--out other: expected a new or empty folder")
    bad = call("run.py", *options, "--seeds", "0..1", "--out", "new", "--log-every", "100")
    check_refused(bad, "--log-every: expected at most")
    assert not (tmp_path / "new").exists()
    assert call("run.py", *options, "--seeds", "0..1", "--out", "runs").returncode == 0
    check_refused(call("run.py", "--resume", "runs", "--seeds", "5"), "expected no --seeds")
    single = call("run.py", *options, "--out", "runs", "--overwrite")
    check_refused(single, "--out runs: expected a new or empty folder")
    stored = json.loads((tmp_path / "runs" / "seeds.json").read_text())
    (tmp_path / "runs" / "seeds.json").write_text(json.dumps(stored | {"seeds": [0, 7]}))
    check_refused(call("run.py", "--resume", "runs"), "seeds.json")


def test_a_comparison_of_several_seeds(tmp_path: Path) -> None:
    options = ["--task", "last-value", *SMALL, "--contenders", "torch/handcrafted", "torch/native"]
    ran = script("compare.py", *options, "--seeds", "0..1", "--out", "report", cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    report = (tmp_path / "report" / "report.md").read_text()
    assert "Mean ± standard deviation over the seeds 0, 1." in report
    assert "| torch native | " in report
    assert "±" in next(line for line in report.splitlines() if line.startswith("| torch native"))
    # What is done stays, other seeds are refused, one seed takes the place of several.
    (tmp_path / "report" / "report.html").unlink()
    for name in ("report.md", "curves.png", "deviations.png"):
        (tmp_path / "report" / name).unlink()
    for extra in (tmp_path / "report").glob("*.png"):
        extra.unlink()
    others = script("compare.py", *options, "--seeds", "0..2", "--out", "report", cwd=tmp_path)
    check_refused(others, "expected runs from the seeds 0 1 2, got 0 1; move it away")
    again = script("compare.py", *options, "--seeds", "0..1", "--out", "report", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("(done)") == 2
    folders = [
        str(tmp_path / "report" / "runs" / f"torch-{n}-seeds") for n in ("handcrafted", "native")
    ]
    compared = script("compare.py", *folders, "--out", "again", cwd=tmp_path)
    assert compared.returncode == 0, compared.stderr
    assert "2 seeds each" in (tmp_path / "again" / "report.html").read_text()
    single = script("compare.py", *options, "--out", "report", "--overwrite", cwd=tmp_path)
    assert single.returncode == 0, single.stderr
    names = {file.name for file in (tmp_path / "report" / "runs").iterdir()}
    assert names == {"torch-handcrafted", "torch-native"}
    assert not are_in(tmp_path / "report" / "runs" / "torch-native")
