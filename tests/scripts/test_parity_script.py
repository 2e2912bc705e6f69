"""scripts/parity.py from start to end: exit codes, what it prints, and the report it leaves."""

import html
import itertools
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
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
from shared.parity.trace_files import read_trace, write_trace
from shared.protocol.trace import PHASES
from shared.report import write_parity_report
from shared.report.parity_plots import phases, save_envelope, save_losses, save_phase, tensors
from shared.system import process
from tests.scripts.test_imports import BLOCKER, python
from tests.support.command_line import SCRIPTS, script
from tests.support.pairwise import slow_but

Call = Callable[..., subprocess.CompletedProcess]
BY_TENSOR = [f"tensors-{phase}.png" for phase in PHASES]
REPORT = {"parity.html", "parity.md", "deviations.png", "losses.png", *BY_TENSOR}
SHORT = ["--task", "hello", "--steps", "5", "--runs", "0"]
SIDES = "jax-handcrafted", "torch-handcrafted"


@pytest.fixture(scope="module")
def proof(tmp_path_factory: pytest.TempPathFactory) -> subprocess.CompletedProcess:
    """A process of its own; its folder, `.args[-1]`, holds report and traces."""
    folder = tmp_path_factory.mktemp("proof")
    finished = script(
        "parity.py", "--task", "hello", "--steps", "20", "--runs", "1", "--out", "X",
        "--traces", "T", cwd=folder,
    )  # fmt: skip
    finished.args = folder
    return finished


def test_a_proof_exits_with_0_and_says_so(proof: subprocess.CompletedProcess) -> None:
    assert proof.returncode == 0, proof.stderr
    assert proof.stderr == ""
    title, verdict, single, wrote = proof.stdout.splitlines()
    assert title == (
        "hello: rnn (tanh): jax/handcrafted against torch/handcrafted, 20 steps in float64"
    )
    assert verdict.startswith("proved in float64: equal within 1e-09: 20 steps, 48 tensors each (")
    assert single.startswith("float32: inside the envelope of 2 runs a side at ")
    assert wrote == "wrote X/parity.html, X/parity.md and the pictures beside them"
    assert {file.name for file in (proof.args / "X").iterdir()} == {*REPORT, "envelope.png"}
    for file in (proof.args / "X").iterdir():
        assert file.stat().st_size > 1000, file


def test_the_page_is_self_contained_and_has_the_verdict(proof: subprocess.CompletedProcess) -> None:
    page = html.unescape((proof.args / "X" / "parity.html").read_text())
    assert not re.search(r'(src|href)="(?!data:)', page)
    assert "http" not in re.sub(r"base64,[A-Za-z0-9+/=]+", "", page)
    assert "url(" not in page
    assert page.count("data:image/png;base64,") == 3 + len(PHASES)
    markdown = (proof.args / "X" / "parity.md").read_text()
    assert re.findall(r"\(([\w-]+\.png)\)", markdown) == [
        "losses.png", "deviations.png", *BY_TENSOR, "envelope.png",
    ]  # fmt: skip
    for line in proof.stdout.splitlines()[1:3]:
        assert line in markdown
        assert line in page
    for text in (page, markdown):
        assert (
            "python scripts/parity.py --task hello --steps 20 --runs 1 --out X --traces T" in text
        )
        assert "--betas 0.9 0.999" in text
        assert "jax/handcrafted" in text
        words = " ".join(text.split())
        assert "The envelope is what rounding alone does" in words
        assert "A step passes through its phases in the order of the legend" in words


def test_traces_of_a_proof_are_equal(proof, tmp_path: Path, call: Call) -> None:
    folders = [proof.args / "T" / side for side in SIDES]
    for folder in folders:
        names = sorted(file.name for file in folder.iterdir())
        assert names == [f"step-{i:06}.safetensors" for i in range(1, 21)]
    finished = call("parity.py", *map(str, folders))
    assert finished.returncode == 0
    verdict, wrote = finished.stdout.splitlines()
    assert verdict == proof.stdout.splitlines()[1]
    assert wrote.startswith("wrote reports/parity-traces-1/parity.html, ")
    files = {file.name for file in (tmp_path / "reports" / "parity-traces-1").iterdir()}
    assert files == REPORT - {"losses.png"}
    assert call("parity.py", *map(str, folders)).stdout.splitlines()[1].startswith(
        "wrote reports/parity-traces-2/"
    )  # fmt: skip


def test_a_changed_number_in_a_file_is_found(proof, tmp_path: Path, call: Call) -> None:
    shutil.copytree(proof.args / "T", tmp_path / "T")
    file = tmp_path / "T" / SIDES[1] / "step-000007.safetensors"
    trace = read_trace(file)
    trace["gradients/head.bias"][2] *= 1 + 1e-6
    write_trace(file.parent, 7, trace)
    finished = call("parity.py", *(f"T/{side}" for side in SIDES), "--out", "report")
    assert finished.returncode == 1
    assert finished.stderr == ""
    verdict, grew, *steps, last, wrote = finished.stdout.splitlines()
    assert verdict.startswith(
        "NOT equal: first difference at step 7: gradients/head.bias[2]: T/jax-handcrafted "
    )
    assert verdict.endswith("; 1 of 4 elements differ")
    assert grew == "how it grew:"
    assert [line.split(":")[0] for line in steps] == [f"  step {i}" for i in (1, 4, 6)]
    assert re.fullmatch(r"  step 7: \d\.\d\de-0[67] at most, in gradients/head\.bias", last)
    assert wrote.startswith("wrote report/")
    markdown = (tmp_path / "report" / "parity.md").read_text()
    assert "| step | 7 |" in markdown
    assert "| element | [2] |" in markdown
    assert verdict in markdown
    loose = call("parity.py", *(f"T/{s}" for s in SIDES), "--tolerance", "1e-5", "--out", "loose")
    assert loose.returncode == 0


def test_a_planted_trap_exits_with_1_and_is_named(tmp_path: Path, call: Call) -> None:
    finished = call("parity.py", "--inject", "adam", "--steps", "5", "--out", "X")
    assert finished.returncode == 1
    assert finished.stderr == ""
    _, planted, verdict, cause, _ = finished.stdout.splitlines()
    assert planted.startswith("planted in jax/handcrafted: adam:epsilon-hat: ")
    assert verdict.startswith("NOT equal: first difference at step 1: weights/head.bias[0]: ")
    assert cause.startswith("cause: adam:epsilon-hat: ")
    assert {file.name for file in (tmp_path / "X").iterdir()} == REPORT
    page = (tmp_path / "X" / "parity.html").read_text()
    assert "the cause: the difference vanishes" in page
    assert page.count("the cause: the difference vanishes") == 1
    assert "Step 1 was taken again, once for each trap with that one thing switched in " in page


def test_the_traps_are_listed_by_name_without_a_framework() -> None:
    code = BLOCKER.format(forbidden={"jax", "flax", "optax", "torch", "rnn_jax", "rnn_torch"}) + (
        "import runpy\n"
        "sys.argv = ['parity.py', '--list-traps']\n"
        "runpy.run_path('scripts/parity.py', run_name='__main__')\n"
    )
    finished = python(code)
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.splitlines() == [
        "single-bias", "clip-epsilon", "reset-gate", "adam", "rmsprop-epsilon", "ragged-mean",
        "padding", "float32", "gates", "initial-values", "batch-order",
    ]  # fmt: skip


def test_layers_of_the_frameworks_as_contenders(call: Call) -> None:
    finished = call("parity.py", *SHORT, "--cell", "lstm", "--contenders",
                    "torch/native", "torch/handcrafted")  # fmt: skip
    assert finished.returncode == 0, finished.stderr
    assert "torch/native against torch/handcrafted, 5 steps" in finished.stdout
    assert "proved in float64" in finished.stdout
    finished = call("parity.py", *SHORT, "--contenders", "jax/native", "torch/handcrafted",
                    "--out", "X")  # fmt: skip
    assert finished.returncode == 1
    assert "NOT equal: first difference at step 1: " in finished.stdout
    assert "cause" not in finished.stdout
    assert "one bias" in Path("X/parity.md").read_text()


def test_a_report_is_replaced_as_a_whole(proof, tmp_path: Path, call: Call) -> None:
    """The old one had a picture of float32, which the new one lacks."""
    shutil.copytree(proof.args / "X", tmp_path / "X")
    (tmp_path / "X" / "traps.md").write_text("an older gallery")
    finished = call("parity.py", *SHORT, "--out", "X", "--overwrite")
    assert finished.returncode == 0
    assert {file.name for file in (tmp_path / "X").iterdir()} == REPORT
    markdown = (tmp_path / "X" / "parity.md").read_text()
    assert "5 steps" in markdown
    assert "envelope" not in markdown


def test_a_tolerance_of_zero_is_met_by_identical_traces(tmp_path: Path, call: Call) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        write_trace(tmp_path / folder, 1, {"weights/w": np.array([1.0, 2.0])})
    finished = call("parity.py", "a", "b", "--tolerance", "0")
    assert (finished.returncode, finished.stderr) == (0, "")
    assert "equal within 0: 1 step, 1 tensor each" in finished.stdout


def test_traces_in_float32_are_not_called_a_proof_in_float64(tmp_path: Path, call: Call) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        write_trace(tmp_path / folder, 1, {"weights/w": np.array([1.0, 2.0], np.float32)})
    assert call("parity.py", "a", "b").stdout.startswith("in float32: equal within 1e-09: ")


STRANGE = [
    "<script>alert(1)</script>/<b>", "layers/$x$", "layers/$a_{$", "layers/_x", "/", "plain",
    "layers/a|b", "层/隐藏", "layers/a\nb", "layers/" + "a.very.long.name." * 9,
]  # fmt: skip


@pytest.mark.draws
def test_names_are_escaped_drawn_and_printed_in_one_line(tmp_path: Path, call: Call) -> None:
    """A tensor's name is anything that a file can hold; a folder's nearly so."""
    first, second = "<script>alert(2)<", "$x$|_"
    for folder, value in ((first, 1.0), (second, 2.0)):
        (tmp_path / folder).mkdir()
        for step in (1, 2):
            write_trace(tmp_path / folder, step, dict.fromkeys(STRANGE, np.array([3.0, value])))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        finished = call("parity.py", first, second, "--out", "X")
    assert (finished.returncode, finished.stderr) == (1, "")
    assert "first difference at step 1: <script>alert(1)</script>/<b>[1]: " in finished.stdout
    assert all(line.isprintable() for line in finished.stdout.splitlines())
    page = (tmp_path / "X" / "parity.html").read_text()
    assert "<script" not in page
    assert "<b>" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "&lt;script&gt;alert(2)&lt;" in page
    markdown = (tmp_path / "X" / "parity.md").read_text()
    rows = [line for line in markdown.splitlines() if line.startswith("| layers | ")]
    assert r"| layers | a\|b | 3.33e-01 | 1 | 3.33e-01 |" in rows
    assert "| layers | a b | 3.33e-01 | 1 | 3.33e-01 |" in rows


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


def test_an_interruption_speaks_of_resuming_only_where_there_is_something_to_resume(
    monkeypatch, capsys
) -> None:
    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sys, "argv", ["parity.py"])
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    monkeypatch.setattr(process, "_leave", sys.exit)
    with pytest.raises(SystemExit) as stop:
        process.run(interrupt)
    assert stop.value.code == 130
    assert capsys.readouterr().err == "parity.py: interrupted\n"


def test_the_help_is_quick_and_shows_every_option_of_its_own() -> None:
    ran = subprocess.run(
        [sys.executable, str(SCRIPTS / "parity.py"), "--help"],
        capture_output=True, text=True, check=True, env=os.environ | {"COLUMNS": "80"},
    )  # fmt: skip
    for option in ("--steps", "--tolerance", "--runs", "--contenders", "--inject", "--list-traps",
                   "--trap-gallery", "--traces", "--out", "--overwrite"):  # fmt: skip
        assert option in ran.stdout, option


PLANTED_IN_VAIN = {
    "clip-epsilon": (["--clip-norm", "1000"], "--clip-norm, below the norm of the gradients"),
    "gates:transposed": (["--hidden-size", "1"], "--hidden-size above 1"),
    "batch-order": (["--data.words", "aa", "aa", "--batch-size", "1"], "not alike"),
    "adam:epsilon-hat": (["--eps", "0"], "--eps and --betas above 0"),
    "rmsprop-epsilon": (["--eps", "0"], "--eps above 0"),
    "padding": (
        ["--task", "last-value", "--data.train-examples", "200", "--data.sequence-length", "3",
         "--data.min-length", "3"],
        "sequences of several lengths",
    ),
}  # fmt: skip


@pytest.mark.parametrize("trap", PLANTED_IN_VAIN)
def test_a_trap_that_changes_nothing_is_no_proof(trap: str, tmp_path: Path, call: Call) -> None:
    settings, needs = PLANTED_IN_VAIN[trap]
    options = ["--steps", "3", "--epochs", "3", "--traces", "new/T", *settings]
    finished = call("parity.py", "--inject", trap, *options)
    assert finished.returncode == 2
    assert "proved" not in finished.stdout
    assert finished.stderr.startswith(f"parity.py: --inject {trap}: expected a run that it changes")
    assert needs in finished.stderr
    assert ", got one equal within 1e-09: 3 steps, " in finished.stderr
    assert finished.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_traces_that_were_there_are_not_lost_to_a_run_that_is_refused(
    proof, tmp_path: Path, call: Call
) -> None:
    shutil.copytree(proof.args / "T", tmp_path / "T")
    options = ["--inject", "clip-epsilon", "--clip-norm", "1000", "--steps", "3", "--epochs", "3"]
    finished = call("parity.py", *options, "--traces", "T", "--overwrite")
    assert finished.returncode == 2
    assert len(list((tmp_path / "T" / SIDES[0]).iterdir())) == 20


def test_an_interrupted_run_ends_in_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    """A process of its own, stopped as Ctrl-C does it while traces are being written."""
    command = [sys.executable, str(SCRIPTS / "parity.py"), "--traces", "T", "--out", "X"]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        deadline = time.monotonic() + 120
        while not list(tmp_path.rglob("step-*")) and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=120)
    assert (process.returncode, errors) == (130, "parity.py: interrupted\n")
    assert not list(tmp_path.iterdir())


def test_traces_are_replaced_if_one_says_so(proof, tmp_path: Path, call: Call) -> None:
    """Such as those that an interrupted run left."""
    shutil.copytree(proof.args / "T", tmp_path / "T")
    finished = call("parity.py", *SHORT, "--traces", "T")
    assert finished.returncode == 2
    assert (
        finished.stderr == "parity.py: --traces T: holds other traces; --overwrite replaces them\n"
    )
    finished = call("parity.py", *SHORT, "--traces", "T", "--overwrite")
    assert finished.returncode == 0
    for side in SIDES:
        assert len(list((tmp_path / "T" / side).iterdir())) == 5
    unfinished = tmp_path / "T" / ".unfinished-traces-of a run that was killed"
    unfinished.mkdir()
    (unfinished / "step-000001.safetensors").write_text("half")
    assert call("parity.py", *SHORT, "--traces", "T").stderr.endswith("replaces them\n")
    finished = call("parity.py", *SHORT, "--traces", "T", "--overwrite")
    assert finished.returncode == 0
    assert {file.name for file in (tmp_path / "T").iterdir()} == set(SIDES)
    (tmp_path / "T" / SIDES[0] / "notes").write_text("mine")
    finished = call("parity.py", *SHORT, "--traces", "T", "--overwrite")
    assert finished.returncode == 2
    assert "expected a new or empty folder, got one with files" in finished.stderr


@pytest.mark.parametrize("option", ["--out", "--traces"])
def test_a_folder_that_cannot_be_made_is_noticed_before_the_first_step(
    option: str, call: Call
) -> None:
    finished = call("parity.py", *SHORT, option, "/proc/none/here")
    assert finished.returncode == 2
    assert finished.stdout == ""
    assert finished.stderr.startswith(
        f"parity.py: {option} /proc/none/here: expected a folder that "
    )


def test_settings_are_shown_as_they_are_typed(proof, call: Call) -> None:
    """What a page says can be pasted."""
    markdown = (proof.args / "X" / "parity.md").read_text()
    options = re.findall(r"`(--[^`]+)`", markdown)
    assert {"--no-bidirectional", "--betas 0.9 0.999", "--data.words hello"} <= set(options)
    words = [word for one in options for word in one.split(" ")]
    again = call("parity.py", *words, "--steps", "2", "--runs", "0")
    assert (again.returncode, again.stderr) == (0, "")


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


def test_what_differs_and_its_cause_stand_out(tmp_path: Path, call: Call) -> None:
    call("parity.py", "--inject", "adam", "--steps", "2", "--epochs", "2", "--out", "X")
    page = (tmp_path / "X" / "parity.html").read_text()
    cause, tensor = re.findall(r'<tr class="culprit"><td>(.*?)</td>', page)
    assert cause == "adam:epsilon-hat"
    assert tensor == "weights"
    for text in (page, (tmp_path / "X" / "parity.md").read_text()):
        assert re.findall(r"([\w.]+) \(differs first\)", text) == ["head.bias"]


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


AGAIN = {
    1: "Step 1 was taken again from the weights of second, once for each program that was given as "
    "a suspect; and for its outputs, once for each way to misread the weights. As it was, the "
    "largest deviation of a step is 5.00e-01, in loss/loss at step 1.",
    3: "All steps up to 3 were taken again, each from the weights of second, once for each program "
    "that was given as a suspect; and step 3 alone, for its outputs, once for each way to misread "
    "the weights. As it was, the largest deviation of a step is 5.00e-01, in loss/loss at step 1.",
}


@pytest.mark.parametrize("step", AGAIN)
def test_what_was_taken_again_for_a_pair_is_said_exactly(step: int, tmp_path: Path) -> None:
    equal = [1.0] * (step - 1)
    found = compare(steps_of([*equal, 1.0]), steps_of([*equal, 2.0]))
    suspect = Finding("eps", "the program given for it", 0.0, True)
    findings = Findings(found, diagnosis=Diagnosis(1, "loss/loss", 0.5, [suspect]))
    write_parity_report(findings, tmp_path, title="t", command="c")
    for page in ("parity.html", "parity.md"):
        assert AGAIN[step] in " ".join((tmp_path / page).read_text().split())


def test_many_names_are_not_listed_in_a_verdict() -> None:
    many = {f"name{i}": np.ones(1) for i in range(400)}
    (note,) = compare([many], [many]).notes
    assert note.endswith(": name0, name1, name2, name3, name4, name5, name6, name7, name8, name9 "
                         "and 390 more")  # fmt: skip
