"""Runs that are too few, damaged or unfinished are refused by name."""

import json
import shutil
from pathlib import Path

import pytest

from shared.errors import InvalidInput
from shared.report import write_report
from shared.report.comparison_page import check_comparable
from shared.runs import read_run
from tests.support.changed_run import changed_run


def test_one_run_is_no_comparison(compared: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="at least two runs"):
        write_report([read_run(compared / "runs" / "jax-native")], tmp_path / "report")
    assert not (tmp_path / "report").exists()


def test_one_run_twice_is_no_comparison(compared: Path) -> None:
    folder = compared / "runs" / "jax-native"
    runs = [read_run(folder), read_run(folder / ".." / "jax-native")]
    with pytest.raises(InvalidInput, match=r"different runs, got .* twice"):
        check_comparable(runs)


def test_a_summary_whose_segments_leave_a_gap_is_refused(compared: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"summary\.json: .* cover its 40 steps, got none"):
        changed_run(compared, tmp_path / "none", segments=[])
    with pytest.raises(InvalidInput, match="cover its 41 steps, got steps 1–40 in jax handcrafted"):
        changed_run(compared, tmp_path / "more", steps=41)


DAMAGED = {
    "a list": lambda values: [],
    "nothing": lambda values: {},
    "without a test": lambda values: {k: v for k, v in values.items() if k != "test"},
    "time in words": lambda values: values | {"step_ms": "quick"},
    "null": lambda values: None,
}


@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_summary_is_refused_by_name(case: str, compared: Path, tmp_path: Path) -> None:
    shutil.copytree(compared / "runs" / "jax-handcrafted", tmp_path / "run")
    file = tmp_path / "run" / "summary.json"
    file.write_text(json.dumps(DAMAGED[case](json.loads(file.read_text()))))
    with pytest.raises(InvalidInput, match=r"summary\.json: no summary of this version"):
        read_run(tmp_path / "run")


def test_an_unfinished_run_is_refused_by_name(compared: Path, tmp_path: Path) -> None:
    shutil.copytree(compared / "runs" / "jax-handcrafted", tmp_path / "cut")
    (tmp_path / "cut" / "summary.json").unlink()
    with pytest.raises(InvalidInput, match=r"finished run, got one without summary\.json"):
        read_run(tmp_path / "cut")
