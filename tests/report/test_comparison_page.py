"""Comparisons from start to end: processes, run folders, page, Markdown and pictures."""

import re
import shutil
from dataclasses import replace
from pathlib import Path

from shared.config.data import TextData
from shared.config.settings import NetworkConfig
from shared.report import write_report
from shared.report.groups import grouped
from shared.runs import read_run
from shared.tasks import TASKS
from shared.training import train
from tests.support import checksummed
from tests.support.changed_run import changed_run
from tests.support.command_line import script


def test_the_report_is_self_contained(compared: Path) -> None:
    page = (compared / "report.html").read_text()
    own = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    assert not re.search(r'(src|href)="(?!data:)', own)
    assert page.count("plotly.js v") == 1
    assert own.count("data:image/png;base64,") == 3
    for name in ("report.md", "curves.png", "deviations.png", "predictions.png"):
        assert (compared / name).stat().st_size > 500, name
    assert "`--betas 0.9 0.999`" in (compared / "report.md").read_text()


def test_existing_folders_compare_without_training(compared: Path, tmp_path: Path) -> None:
    runs = [str(compared / "runs" / name) for name in ("jax-handcrafted", "torch-native")]
    ran = script("compare.py", *runs, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert (tmp_path / "reports" / "comparison-1" / "report.html").exists()


def test_strings_from_runs_are_escaped(compared: Path, tmp_path: Path) -> None:
    shutil.copytree(compared / "runs" / "jax-handcrafted", tmp_path / "changed")
    file = tmp_path / "changed" / "summary.json"
    checksummed.write(file, checksummed.read(file) | {"notes": ["<script>alert(1)</script>"]})
    runs = [read_run(tmp_path / "changed"), read_run(compared / "runs" / "torch-handcrafted")]
    write_report(runs, tmp_path / "report")
    page = (tmp_path / "report" / "report.html").read_text()
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page


def test_texts_are_compared_by_what_they_write(tmp_path: Path) -> None:
    """They have no predictions to draw; and what they write shows as text, whatever it is."""
    (tmp_path / "text.txt").write_text("<b>to be | or not</b>\n" * 60)
    config = replace(
        TASKS["text"].defaults, data=TextData(str(tmp_path / "text.txt"), (0.8, 0.1, 0.1)),
        network=NetworkConfig("gru", hidden_size=8), backend="torch", batch_size=4, bptt=16,
    )  # fmt: skip
    folders = tmp_path / "one", tmp_path / "two"
    for folder, implementation in zip(folders, ("handcrafted", "native"), strict=True):
        train(replace(config, epochs=2, implementation=implementation), folder, quiet=True)
    write_report([read_run(folder) for folder in folders], tmp_path / "report")
    names = {file.name for file in (tmp_path / "report").iterdir()}
    assert names == {"report.html", "report.md", "curves.png", "deviations.png"}
    page = (tmp_path / "report" / "report.html").read_text()
    assert "&lt;b&gt;to be | or not" in page
    assert "<b>to be" not in page
    lines = (tmp_path / "report" / "report.md").read_text().splitlines()
    assert "    <b>to be | or not</b>" in lines


def test_labels_tell_runs_apart(compared: Path, tmp_path: Path) -> None:
    names = ("a/1/run", "a/2/run", "b/other")
    runs = [changed_run(compared, tmp_path / name) for name in names]
    runs.append(read_run(compared / "runs" / "torch-native"))
    found = [side.name for side in grouped(runs)]
    assert len(set(found)) == 4
    assert found[2:] == ["jax handcrafted (other)", "torch native"]
    assert "a/1/run" in found[0]


def test_folder_names_are_no_formulas(compared: Path, tmp_path: Path) -> None:
    runs = [changed_run(compared, tmp_path / name) for name in (r"$\\x$", r"$a_{$")]
    write_report(runs, tmp_path / "report")
    assert (tmp_path / "report" / "curves.png").exists()


def test_a_failed_comparison_makes_room_for_the_next(tmp_path: Path) -> None:
    """The contender's own line is the only one on stderr, and --overwrite may use the folder."""
    short = ["--epochs", "3", "--contenders", "torch/handcrafted", "torch/native", "--out", "out"]
    finished = script(
        "compare.py", *short, "--optimizer", "sgd", "--learning-rate", "1e29",
        "--weight-decay", "1e29", cwd=tmp_path,
    )  # fmt: skip
    assert finished.returncode == 1
    (line,) = finished.stderr.splitlines()
    assert "weights/rnn.weight_ih_l0 is no longer finite at step" in line or "loss is" in line
    assert script("compare.py", *short, cwd=tmp_path).returncode == 2
    finished = script("compare.py", *short, "--overwrite", cwd=tmp_path)
    assert finished.returncode == 0, finished.stderr
    before = {file: file.read_bytes() for file in (tmp_path / "out").rglob("*") if file.is_file()}
    refused = script("compare.py", *short, "--overwrite", "--device", "tpu", cwd=tmp_path)
    assert refused.returncode == 2
    assert len(refused.stderr.splitlines()) == 1
    for file, content in before.items():
        assert file.read_bytes() == content, file
