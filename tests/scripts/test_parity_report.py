"""Pages and pictures of a comparison's report, of any numbers and names."""

import itertools
import re
import warnings
from pathlib import Path

import numpy as np
import pytest
from matplotlib import image
from matplotlib.axes import Axes

from shared.parity import Findings
from shared.parity.comparison import compare
from shared.parity.diagnosis import Diagnosis, Finding
from shared.parity.envelope import Envelope
from shared.parity.findings import growth
from shared.report import write_parity_report
from shared.report.parity_plots import phases, save_envelope, save_losses, save_phase, tensors
from tests.support.pairwise import slow_but


@pytest.mark.draws
@pytest.mark.parametrize(
    ("tolerance", "differ"),
    slow_but(itertools.product([0.0, 1e-9], [False, True]), [(0.0, False), (1e-9, True)]),
)
def test_plots_of_many_tensors_and_of_numbers_that_are_not_finite(
    tolerance: float, differ: bool, tmp_path: Path
) -> None:
    many = {f"weights/w{i}": np.array([1.0, 2.0]) for i in range(100)}
    huge = {"weights/huge": np.array([1e308, -1e308]), "weights/nan": np.array(np.nan)}
    tiny = {"weights/tiny": np.array(5e-324), "weights/empty": np.zeros(0)}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for tensors in (many, huge, tiny, {"weights/zero": np.zeros(2)}):
            other = {name: -array for name, array in tensors.items()}
            theirs = other if differ else tensors
            found = compare([tensors] * 2, [theirs] * 2, tolerance=tolerance)
            write_parity_report(Findings(found), tmp_path, title="t", command="c")


def steps_of(values: list[float]) -> list[dict[str, np.ndarray]]:
    return [{"loss/loss": np.array(v), "weights/w": np.array([1.0, v])} for v in values]


def test_growth_is_shown_where_something_grew(tmp_path: Path, capsys) -> None:
    at_once = compare(steps_of([1.0, 1.0]), steps_of([2.0, 2.0]))
    assert growth(at_once) == []
    assert growth(compare(steps_of([1.0]), steps_of([1.0]))) == []
    grown = compare(steps_of([1.0, 1.0, 1.0]), steps_of([1.0, 1 + 1e-12, np.nan]))
    assert growth(grown) == [
        (1, "0", ""), (2, "1.00e-12", "loss/loss"), (3, "not finite", "loss/loss"),
    ]  # fmt: skip
    for found in (at_once, grown):
        write_parity_report(Findings(found), tmp_path, title="t", command="c")
        for file in ("parity.md", "parity.html"):
            assert ("How it grew" in (tmp_path / file).read_text()) == (found is grown)


def test_hundreds_of_names_without_a_phase_are_drawn_in_one_picture(tmp_path: Path) -> None:
    names = {f"tensor {i}": np.array([1.0, i]) for i in range(400)}
    found = compare([names] * 3, [names] * 3)
    assert phases(found) == ["other"]
    assert len(tensors(found, "other")) == 400
    write_parity_report(Findings(found), tmp_path, title="t", command="c")
    assert {file.name for file in tmp_path.glob("tensors*")} == {"tensors-other.png"}


@pytest.mark.draws
def test_a_picture_by_tensor_is_as_wide_as_a_phone_whatever_its_names(tmp_path: Path) -> None:
    """Its letters would be too small to read if it were wider."""
    for length in (3, 28, 200):
        names = {f"weights/{i}".ljust(length, "w"): np.array([1.0, i]) for i in range(20)}
        save_phase(compare([names] * 3, [names] * 3), "weights", tmp_path / "picture.png")
        height, width, _ = image.imread(tmp_path / "picture.png").shape
        assert (width, 400 < height < 800) == (660, True)


@pytest.mark.draws
def test_the_step_from_which_nothing_is_drawn_is_marked(tmp_path: Path, monkeypatch) -> None:
    said = []
    monkeypatch.setattr(Axes, "annotate", lambda self, text, *_, **__: said.append(text))
    values = steps_of([1.0, 2.0, np.inf, np.nan])
    losses = np.array([1.0, 2.0, np.inf, np.nan])
    findings = Findings(compare(values, values), (losses, np.array([1.0, 2.0, 1.0, np.nan])))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_parity_report(findings, tmp_path, title="t", command="c")
    assert said[:3] == ["not finite from step 3"] * 3  # by phase, two pictures by tensor
    assert said[3:] == ["first: not finite from step 3", "second: not finite from step 4"]
    for page in ("parity.html", "parity.md"):
        assert "not finite in both" in (tmp_path / page).read_text()


@pytest.mark.draws
def test_losses_that_are_never_finite_are_not_called_equal(tmp_path: Path, monkeypatch) -> None:
    said = []
    monkeypatch.setattr(Axes, "text", lambda self, x, y, text, **_: said.append(text))
    for value in (np.nan, np.inf):
        losses = np.full(3, value)
        save_losses((losses, losses), ("a", "b"), tmp_path / "losses.png")
    assert said == []
    save_losses((np.ones(3), np.ones(3)), ("a", "b"), tmp_path / "losses.png")
    assert said == ["no difference"]


@pytest.mark.draws
def test_an_envelope_that_is_not_finite_is_drawn(tmp_path: Path) -> None:
    cross = np.array([1e-7, np.inf, np.nan])
    envelope = Envelope(cross, {"a": cross, "b": cross}, 2)
    save_envelope(envelope, ("a", "b"), tmp_path / "envelope.png")
    assert (tmp_path / "envelope.png").stat().st_size > 1000


def test_a_suspect_that_leaves_what_is_not_finite_says_so(tmp_path: Path) -> None:
    found = compare(steps_of([1.0]), steps_of([2.0]))
    suspect = Finding("eps", "the program given for it", np.inf, False)
    findings = Findings(found, diagnosis=Diagnosis(1, "loss/loss", np.inf, [suspect]))
    write_parity_report(findings, tmp_path, title="t", command="c")
    for page in ("parity.html", "parity.md"):
        text = re.sub(r"base64,[A-Za-z0-9+/=]+", "", (tmp_path / page).read_text())
        assert not re.search(r"\binf\b", text), page


AGAIN = (
    "Each row is one thing that was done otherwise, on trial, in one of the two programs: in the "
    "step that differed, or, for suspects and optimizers, in all steps up to it. Both began in the "
    "same state. As it was, the largest deviation of a step is"
)


def test_what_was_tried_for_a_pair_is_said_exactly(tmp_path: Path) -> None:
    found = compare(steps_of([1.0, 1.0]), steps_of([1.0, 2.0]))
    suspect = Finding("eps", "the program given for it", 0.0, True)
    findings = Findings(found, diagnosis=Diagnosis(1, "loss/loss", 0.5, [suspect]))
    write_parity_report(findings, tmp_path, title="t", command="c")
    for page in ("parity.html", "parity.md"):
        assert AGAIN in " ".join((tmp_path / page).read_text().split())


def test_of_many_trials_the_page_shows_those_that_leave_least(tmp_path: Path) -> None:
    found = compare(steps_of([1.0]), steps_of([2.0]))
    tried = [Finding(f"trial-{i}", "about", 0.1 + i, False) for i in range(30)]
    tried.append(Finding("the one", "about", 0.05, True))
    findings = Findings(found, diagnosis=Diagnosis(1, "loss/loss", 0.5, tried))
    write_parity_report(findings, tmp_path, title="t", command="c")
    for page in ("parity.html", "parity.md"):
        text = (tmp_path / page).read_text()
        assert text.index("the one") < text.index("trial-0") < text.index("trial-18")
        assert "trial-19" not in text
        assert "11 more were tried, none of which leaves less." in text


def test_many_names_are_not_listed_in_a_verdict() -> None:
    many = {f"name{i}": np.ones(1) for i in range(400)}
    (note,) = compare([many], [many]).notes
    assert note.endswith(": name0, name1, name2, name3, name4, name5, name6, name7, name8, name9 "
                         "and 390 more")  # fmt: skip
