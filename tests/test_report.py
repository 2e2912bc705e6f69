"""A comparison from start to end: processes, run folders, page, Markdown and pictures."""

import json
import re
import shutil
from pathlib import Path

import pytest

from shared.errors import InvalidInput
from shared.history import read_run
from shared.report import pairs, write_report
from tests.test_command_line import script


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compared")
    ran = script(
        "compare.py", "--task", "hello", "--epochs", "40", "--eval-every", "20", "--cell", "gru",
        "--precision", "float64", "--out", "report", "--contenders",
        "jax/handcrafted", "jax/native", "torch/handcrafted", "torch/native", cwd=folder,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    return folder / "report"


def test_the_report_is_self_contained(compared: Path) -> None:
    page = (compared / "report.html").read_text()
    assert not re.search(r'(src|href)="(?!data:)', page)
    assert page.count("data:image/png;base64,") == 2
    for name in ("report.md", "curves.png", "deviations.png"):
        assert (compared / name).stat().st_size > 500, name


def test_verdicts_separate_proof_from_what_cannot_be_compared(compared: Path) -> None:
    runs = [read_run(folder) for folder in sorted((compared / "runs").iterdir())]
    verdicts = {frozenset((pair.first, pair.second)): pair for pair in pairs(runs)}
    proved = verdicts[frozenset(("jax handcrafted", "torch handcrafted"))]
    assert proved.largest <= 1e-9
    assert proved.verdict.startswith("equal in float64")
    native = verdicts[frozenset(("jax native", "torch native"))]
    assert native.largest > 1e-4
    assert "not comparable" in native.verdict
    assert "b_hn" in (compared / "report.md").read_text()


def test_a_difference_in_float64_is_called_a_defect(compared: Path, tmp_path: Path) -> None:
    shutil.copytree(compared / "runs" / "jax-handcrafted", tmp_path / "changed")
    file = tmp_path / "changed" / "metrics.jsonl"
    lines = file.read_text().splitlines()
    third = json.loads(lines[2])
    third["loss"] *= 1 + 1e-8
    lines[2] = json.dumps(third)
    file.write_text("\n".join(lines))
    runs = [read_run(tmp_path / "changed"), read_run(compared / "runs" / "torch-handcrafted")]
    (pair,) = pairs(runs)
    assert pair.at == 3
    assert pair.verdict.startswith("DIFFERENT")


def test_existing_folders_compare_without_training(compared: Path, tmp_path: Path) -> None:
    runs = [str(compared / "runs" / name) for name in ("jax-handcrafted", "torch-native")]
    ran = script("compare.py", *runs, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert (tmp_path / "reports" / "comparison-1" / "report.html").exists()


def test_strings_from_runs_are_escaped(compared: Path, tmp_path: Path) -> None:
    shutil.copytree(compared / "runs" / "jax-handcrafted", tmp_path / "changed")
    file = tmp_path / "changed" / "summary.json"
    summary = json.loads(file.read_text())
    summary["notes"] = ["<script>alert(1)</script>"]
    file.write_text(json.dumps(summary))
    runs = [read_run(tmp_path / "changed"), read_run(compared / "runs" / "torch-handcrafted")]
    write_report(runs, tmp_path / "report")
    page = (tmp_path / "report" / "report.html").read_text()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


def test_one_run_is_no_comparison(compared: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="at least two runs"):
        write_report([read_run(compared / "runs" / "jax-native")], tmp_path / "report")
    assert not (tmp_path / "report").exists()


def test_an_unfinished_run_is_refused_by_name(compared: Path, tmp_path: Path) -> None:
    shutil.copytree(compared / "runs" / "jax-handcrafted", tmp_path / "cut")
    (tmp_path / "cut" / "summary.json").unlink()
    with pytest.raises(InvalidInput, match=r"finished run, got one without summary\.json"):
        read_run(tmp_path / "cut")
