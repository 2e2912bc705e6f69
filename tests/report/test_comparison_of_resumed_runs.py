"""Runs that were resumed are compared, and the page says which steps were whose."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from shared.report import write_report
from shared.report.groups import grouped
from shared.report.verdict import pairs
from shared.runs import read_run
from shared.runs.run import Run
from shared.runs.run_folder import read_config
from shared.training import train


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
    assert [side.name for side in grouped([resumed, other])] == [
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
