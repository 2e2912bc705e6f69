"""A comparison from start to end: processes, run folders, page, Markdown and pictures."""

import hashlib
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from shared.config.choices import with_choice
from shared.config.data import TextData
from shared.config.settings import NetworkConfig
from shared.errors import InvalidInput
from shared.report import write_report
from shared.report.comparison_page import check_comparable
from shared.report.contenders import contenders
from shared.report.verdict import pairs, statements
from shared.runs import read_run
from shared.runs.run import Curve, Run
from shared.runs.run_folder import read_config
from shared.tasks import TASKS
from shared.training import train
from tests.scripts.test_command_line import script
from tests.support import checksummed


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
    own = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    assert not re.search(r'(src|href)="(?!data:)', own)
    assert page.count("plotly.js v") == 1
    assert own.count("data:image/png;base64,") == 3
    for name in ("report.md", "curves.png", "deviations.png", "predictions.png"):
        assert (compared / name).stat().st_size > 500, name
    assert "`--betas 0.9 0.999`" in (compared / "report.md").read_text()


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


def test_layers_directions_dropout_and_embedding_of_the_command_line_agree(tmp_path: Path) -> None:
    ran = script(
        "compare.py", "--task", "hello", "--epochs", "30", "--cell", "lstm", "--num-layers", "2",
        "--bidirectional", "--dropout", "0.3", "--embedding-size", "4", "--precision", "float64",
        "--contenders", "jax/handcrafted", "torch/handcrafted", "--out", "report", cwd=tmp_path,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    runs = [read_run(folder) for folder in (tmp_path / "report" / "runs").iterdir()]
    (pair,) = pairs(runs)
    assert pair.verdict.startswith("equal in float64")
    assert pair.largest <= 1e-9
    assert all(run.config.network.dropout == 0.3 for run in runs)


def test_a_difference_in_float64_is_called_a_defect(compared: Path, tmp_path: Path) -> None:
    shutil.copytree(compared / "runs" / "jax-handcrafted", tmp_path / "changed")
    file = tmp_path / "changed" / "metrics.jsonl"
    lines = file.read_text().splitlines()
    third = json.loads(lines[2])
    third["loss"] *= 1 + 1e-8
    lines[2] = json.dumps(third)
    file.write_text("\n".join([*lines, ""]))
    summary = file.with_name("summary.json")
    found = hashlib.sha256(file.read_bytes()).hexdigest()
    checksummed.write(summary, checksummed.read(summary) | {"history": found})
    runs = [read_run(tmp_path / "changed"), read_run(compared / "runs" / "torch-handcrafted")]
    (pair,) = pairs(runs)
    assert pair.at == 3
    assert pair.verdict.startswith("DIFFERENT")


def test_equal_losses_of_other_settings_prove_nothing(compared: Path, tmp_path: Path) -> None:
    """Before the first update every optimizer has the same loss."""
    base = read_config(compared / "runs" / "torch-handcrafted" / "config.json")
    runs = []
    for name, optimizer in (("one", "adam"), ("other", "sgd")):
        chosen = with_choice(base.optimization, "optimizer", optimizer)
        config = replace(base, epochs=1, eval_every=1, optimization=chosen)
        train(config, tmp_path / name, quiet=True)
        runs.append(read_run(tmp_path / name))
    (pair,) = pairs(runs)
    assert (pair.largest, pair.kind) == (0, "open")
    assert pair.verdict.startswith("other settings")


def test_steps_that_were_not_recorded_are_not_called_equal(compared: Path, tmp_path: Path) -> None:
    base = read_config(compared / "runs" / "torch-handcrafted" / "config.json")
    runs = []
    for implementation in ("handcrafted", "native"):
        config = replace(base, implementation=implementation, log_every=7)
        train(config, tmp_path / implementation, quiet=True)
        runs.append(read_run(tmp_path / implementation))
    (pair,) = pairs(runs)
    assert (pair.steps, pair.of, pair.kind) == (5, 40, "proved")
    assert pair.verdict == "equal in float64: every common step within 1e-09"
    assert "5 of 40 steps compared" in pair.sentence
    agreement = statements(runs, [pair])[0]
    assert "agree at the 5 steps, of 40, that both of each pair recorded." in agreement.text


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


def test_one_run_is_no_comparison(compared: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="at least two runs"):
        write_report([read_run(compared / "runs" / "jax-native")], tmp_path / "report")
    assert not (tmp_path / "report").exists()


def test_one_run_twice_is_no_comparison(compared: Path) -> None:
    folder = compared / "runs" / "jax-native"
    runs = [read_run(folder), read_run(folder / ".." / "jax-native")]
    with pytest.raises(InvalidInput, match=r"different runs, got .* twice"):
        check_comparable(runs)


def changed_run(compared: Path, folder: Path, **summary) -> Run:
    """A copy of the run in JAX with another summary."""
    shutil.copytree(compared / "runs" / "jax-handcrafted", folder)
    file = folder / "summary.json"
    checksummed.write(file, checksummed.read(file) | summary)
    return read_run(folder)


def test_other_data_is_not_compared_step_by_step(compared: Path, tmp_path: Path) -> None:
    other = changed_run(compared, tmp_path / "run", data="0123456789abcdef")
    first = read_run(compared / "runs" / "torch-handcrafted")
    (pair,) = pairs([first, other])
    assert "not comparable" in pair.verdict


def test_a_run_that_was_native_once_is_not_compared(compared: Path, tmp_path: Path) -> None:
    other = changed_run(compared, tmp_path / "run", notes=["one bias for two"])
    (pair,) = pairs([read_run(compared / "runs" / "torch-handcrafted"), other])
    assert "see the note on jax handcrafted" in pair.verdict


def test_labels_tell_runs_apart(compared: Path, tmp_path: Path) -> None:
    names = ("a/1/run", "a/2/run", "b/other")
    runs = [changed_run(compared, tmp_path / name) for name in names]
    runs.append(read_run(compared / "runs" / "torch-native"))
    found = [side.name for side in contenders(runs)]
    assert len(set(found)) == 4
    assert found[2:] == ["jax handcrafted (other)", "torch native"]
    assert "a/1/run" in found[0]


def test_folder_names_are_no_formulas(compared: Path, tmp_path: Path) -> None:
    runs = [changed_run(compared, tmp_path / name) for name in (r"$\\x$", r"$a_{$")]
    write_report(runs, tmp_path / "report")
    assert (tmp_path / "report" / "curves.png").exists()


def test_losses_near_zero_are_compared_absolutely(compared: Path) -> None:
    """A small cross-entropy is log(1 + s), and 1 + s is rounded to 1e-16 whatever s is."""
    runs = [read_run(compared / "runs" / name) for name in ("jax-handcrafted", "torch-handcrafted")]
    steps = np.arange(1, 3)
    for run, losses in zip(runs, ([1e-7, 0.5], [1e-7 + 5e-16, 0.5]), strict=True):
        run.curves["train"] = Curve(steps, steps, np.array(losses), np.ones(2))
    (pair,) = pairs(runs)
    assert pair.verdict.startswith("equal in float64")
    runs[1].curves["train"].loss[0] = 1e-7 + 5e-15
    (pair,) = pairs(runs)
    assert pair.verdict.startswith("DIFFERENT")


@pytest.fixture(scope="module")
def resumed(compared: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The run in JAX, 40 steps, gone on with in PyTorch to 60."""
    folder = tmp_path_factory.mktemp("resumed") / "run"
    shutil.copytree(compared / "runs" / "jax-handcrafted", folder)
    config = replace(read_config(folder / "config.json"), backend="torch", epochs=60)
    train(config, folder, resume=True, quiet=True)
    return read_run(folder)


def test_a_resumed_run_is_named_by_both_frameworks(
    compared: Path, resumed: Run, tmp_path: Path
) -> None:
    other = read_run(compared / "runs" / "torch-handcrafted")
    assert [side.name for side in contenders([resumed, other])] == [
        "jax → torch handcrafted",
        "torch handcrafted",
    ]
    write_report([resumed, other], tmp_path / "report")
    page, markdown = (
        (tmp_path / "report" / f"report.{kind}").read_text() for kind in ("html", "md")
    )
    for text in (page, markdown):
        assert "steps 1–40 in jax handcrafted, steps 41–60 in torch handcrafted" in text
        assert "A run that was resumed had several" in text
    assert "trained 2 times" in page
    first, second = resumed.summary.segments
    name = "jax → torch handcrafted"
    assert (
        f"| {name}: steps 1–40 in jax handcrafted | {first.step_ms:.3f} | – | – | – |" in markdown
    )
    assert f"| {name}: steps 41–60 in torch handcrafted | {second.step_ms:.3f} | 0.00 |" in markdown
    (fastest,) = (line for line in markdown.splitlines() if " ms a step; " in line)
    assert fastest.count(f"{name}: steps ") == 2


def test_a_run_that_was_not_resumed_has_no_word_of_it(compared: Path) -> None:
    for kind in ("html", "md"):
        assert "resumed" not in (compared / f"report.{kind}").read_text()


def test_notes_of_a_resumed_run_say_of_which_steps_they_are(compared: Path, tmp_path: Path) -> None:
    shutil.copytree(compared / "runs" / "jax-native", tmp_path / "run")
    config = replace(
        read_config(tmp_path / "run" / "config.json"),
        backend="torch", implementation="handcrafted", epochs=41,
    )  # fmt: skip
    train(config, tmp_path / "run", resume=True, quiet=True)
    runs = [read_run(tmp_path / "run"), read_run(compared / "runs" / "jax-native")]
    write_report(runs, tmp_path / "report")
    markdown = (tmp_path / "report" / "report.md").read_text()
    assert "- jax native → torch handcrafted, steps 1–40: flax cells have one bias" in markdown
    assert "- jax native: flax cells have one bias" in markdown


def with_epochs(run: Run, epochs: int, **changes) -> Run:
    """A run as if it had been trained with other settings."""
    optimization = replace(run.config.optimization, **changes)
    return replace(run, config=replace(run.config, epochs=epochs, optimization=optimization))


def test_runs_of_other_lengths_are_compared_over_their_common_steps(
    compared: Path, resumed: Run
) -> None:
    """The number of epochs does not change a step, except with the cosine schedule."""
    torch, jax = (
        read_run(compared / "runs" / name) for name in ("torch-handcrafted", "jax-handcrafted")
    )
    assert (len(resumed.curves["train"].step), len(torch.curves["train"].step)) == (60, 40)
    (pair,) = pairs([resumed, torch])
    assert pair.verdict == "equal in float64: every common step within 1e-09"
    assert pair.steps == 40
    (pair,) = pairs([resumed, jax])
    assert pair.verdict == "identical, the same loss at every common step"
    cosine = [
        with_epochs(run, epochs, schedule="cosine") for run, epochs in ((resumed, 60), (torch, 40))
    ]
    (pair,) = pairs(cosine)
    assert pair.verdict.startswith("other settings")
    (pair,) = pairs([with_epochs(resumed, 60, learning_rate=0.5), torch])
    assert pair.verdict.startswith("other settings")


def test_epochs_are_listed_among_what_differs(compared: Path, resumed: Run, tmp_path: Path) -> None:
    write_report([resumed, read_run(compared / "runs" / "jax-handcrafted")], tmp_path / "report")
    assert "- `--epochs`: 60, 40" in (tmp_path / "report" / "report.md").read_text()


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


def test_an_unfinished_run_is_refused_by_name(compared: Path, tmp_path: Path) -> None:
    shutil.copytree(compared / "runs" / "jax-handcrafted", tmp_path / "cut")
    (tmp_path / "cut" / "summary.json").unlink()
    with pytest.raises(InvalidInput, match=r"finished run, got one without summary\.json"):
        read_run(tmp_path / "cut")
