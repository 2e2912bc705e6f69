"""Results of the benchmark come back from their file, and the page is made from it alone."""

from pathlib import Path

import pytest

from benchmarks import programs, report, results
from benchmarks.cases import Case, scaling, table
from benchmarks.programs import Program
from benchmarks.results import Preparation, Round
from shared.errors import InvalidInput
from tests.support.made_up_results import FAST, made_up, sample


def test_results_come_back_as_they_were_written(tmp_path: Path) -> None:
    found = made_up(FAST, rounds=1)
    found.preparations.append(Preparation("keras", "default", Case(), 0.5, 1.5, 400.0))
    found.programs.append(Program(programs.HELP, 1, 0.2, 0.2, 80.0))
    found.left_out["keras"] = "keras is not installed"
    file = tmp_path / "results.json"
    results.write(file, found)
    assert results.read(file) == found
    assert len(file.read_text().splitlines()) < 25 + len(found.samples)


def test_a_page_is_rendered_from_the_file_alone(tmp_path: Path, call) -> None:
    found = made_up(FAST, cells=("lstm",), hidden=(8, 64))
    found.samples += [
        sample(name, case, 1, 3.0)
        for name in FAST
        for cases in scaling(("lstm",)).values()
        for case in cases
        if case != Case(cell="lstm")
    ]
    found.samples += [
        sample(name, case, 1, 1.5, allocator="tuned")
        for name in FAST
        for case in table(("lstm",), (8, 64))
    ]
    found.left_out["flax.nnx"] = "flax is not installed"
    results.write(tmp_path / "results.json", found)
    finished = call("bench.py", "--render", "results.json")
    assert finished.returncode == 0, finished.stderr
    page = (tmp_path / report.MARKDOWN).read_text()
    assert "| 400 | 3 | 3 | 3 |" in page
    assert "| 8 | 2 (2–4) | 2.1 (2.1–4.2) | 4 (4–8) |" in page
    assert "**2.00** (flax.nnx) | 3.00 | 1.00 |" in page
    assert "`flax.nnx` was left out: flax is not installed." in page
    assert "LSTM over T, steps of a sequence, ms:" in page
    assert "| LSTM 8 | 2 → 2 |" in page
    for file in report.FILES:
        assert (tmp_path / file).exists(), file
    again = call("bench.py", f"--render={tmp_path / 'results.json'}")
    assert again.returncode == 0, again.stderr
    assert (tmp_path / report.MARKDOWN).read_text() == page


@pytest.mark.parametrize(
    ("others", "says"),
    [([0.01, 0.05], "kept 0.03 cores busy on average, 0.05 at most."), ([0.0, 0.4], "not idle")],
)
def test_a_page_says_what_others_did_meanwhile(others: list[float], says: str) -> None:
    found = made_up(FAST, cells=("gru",), hidden=(8,))
    found.rounds = [Round("default", i, 60.0, cores) for i, cores in enumerate(others, start=1)]
    assert says in report.markdown(found)
    busy = max(others) > 0.1
    assert (report.NOT_IDLE in report.markdown(found)) == busy
    assert (report.NOT_IDLE in report.summary(found)) == busy
    found.rounds = [Round("default", 1, 60.0, None)]
    assert "cores busy" not in report.markdown(found)


def test_only_targets_that_were_measured_are_listed() -> None:
    page = report.markdown(made_up(FAST, cells=("gru",), hidden=(8,)))
    assert "`rnn_torch` at least as fast as `nn.RNN` and `nn.GRU` everywhere" in page
    assert "`nn.LSTM` everywhere" not in page
    assert "hello" not in page.partition("## A training step")[0].partition("## Targets")[2]


def test_results_of_another_kind_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(InvalidInput, match=r"x\.json: no results of this version"):
        results.read(tmp_path / "x.json")
