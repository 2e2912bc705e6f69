"""SIGINT and SIGTERM let the steps at hand finish; nothing is lost."""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from shared.runs import checkpoint
from shared.system.children import Children
from shared.system.signals import Interrupted, Interruption
from shared.training.train import NOTICE
from tests.support.command_line import SCRIPTS, script

SIGNALS = [(signal.SIGINT, 130), (signal.SIGTERM, 143)]
RUN = ["--backend", "torch", "--task", "last-value", "--data.train-examples", "640",
       "--data.valid-examples", "8", "--data.test-examples", "9", "--data.sequence-length", "6",
       "--data.input-size", "3", "--hidden-size", "5", "--batch-size", "16",
       "--out", "run"]  # fmt: skip


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline, "it does not come"
        time.sleep(0.01)


def lines(file: Path) -> int:
    return file.read_bytes().count(b"\n") if file.exists() else 0


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The history of a whole run."""
    folder = tmp_path_factory.mktemp("whole")
    whole = script("run.py", *RUN, "--epochs", "25", cwd=folder)
    assert whole.returncode == 0, whole.stderr
    return (folder / "run" / "metrics.jsonl").read_bytes()


@pytest.mark.parametrize(("number", "code"), SIGNALS)
def test_a_signal_ends_a_run_with_a_checkpoint(
    number: int, code: int, uninterrupted: bytes, tmp_path: Path
) -> None:
    """It goes on bit for bit as if nothing had happened."""
    command = [sys.executable, str(SCRIPTS / "run.py"), *RUN, "--epochs", "25"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        wait_for(lambda: lines(tmp_path / "run" / "metrics.jsonl") > 0)
        process.send_signal(number)
        said = process.communicate(timeout=120)[1]
        assert process.returncode == code, said
    step = checkpoint.steps(tmp_path / "run")[-1]
    advice = f"run.py: interrupted; --resume run goes on after step {step}"
    assert said.splitlines() == [NOTICE, advice]
    assert 0 < step < 1000
    resumed = script("run.py", "--resume", "run", cwd=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    assert f"resuming run after step {step} of 1000" in resumed.stdout
    assert (tmp_path / "run" / "metrics.jsonl").read_bytes() == uninterrupted


def test_the_first_signal_is_noted_and_the_second_stops(capfd) -> None:
    before = [signal.getsignal(number) for number, _ in SIGNALS]
    with Interruption("wait") as interruption:
        assert interruption.received is None
        signal.raise_signal(signal.SIGTERM)
        assert interruption.received == signal.SIGTERM
        with pytest.raises(Interrupted) as stop:
            signal.raise_signal(signal.SIGINT)
        assert stop.value.number == signal.SIGINT
    assert [signal.getsignal(number) for number, _ in SIGNALS] == before
    assert capfd.readouterr().err == "wait\n"


def test_a_signal_that_is_ignored_or_handled_stays_so() -> None:
    before = [signal.getsignal(number) for number, _ in SIGNALS]
    handled = []
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: handled.append("by the program"))
    try:
        with Interruption() as interruption:
            for number, _ in SIGNALS:
                signal.raise_signal(number)
        assert interruption.received is None
        assert handled == ["by the program"]
    finally:
        for (number, _), handler in zip(SIGNALS, before, strict=True):
            signal.signal(number, handler)


def test_training_in_another_thread_leaves_signals_alone() -> None:
    failed = []

    def enter() -> None:
        try:
            with Interruption():
                pass
        except Exception as error:
            failed.append(error)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert not failed


@pytest.mark.parametrize(("number", "code"), SIGNALS)
def test_programs_that_run_get_a_signal_once(number: int, code: int, tmp_path: Path) -> None:
    """Both end as they see fit, and no other is started."""
    said = "import pathlib, signal, sys, time; n = sys.argv[1]\n"
    said += "def end(number, _): pathlib.Path(n + '-got').write_text(f'{number}'); sys.exit(7)\n"
    said += "for s in (signal.SIGINT, signal.SIGTERM): signal.signal(s, end)\n"
    said += "pathlib.Path(n).touch(); time.sleep(60)\n"
    (tmp_path / "child.py").write_text(said)
    (tmp_path / "parent.py").write_text(f"""
import sys
from concurrent.futures import ThreadPoolExecutor
from shared.system import process
from shared.system.children import Children

def main(argv):
    command = [sys.executable, {str(tmp_path / "child.py")!r}]
    with Children() as children, ThreadPoolExecutor(2) as pool:
        codes = [*pool.map(lambda name: children.run([*command, name]), ["a", "b"])]
        print(codes, flush=True)
        children.run([*command, "c"])

process.run(main)
""")
    with subprocess.Popen(
        [sys.executable, "parent.py"], cwd=tmp_path, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
        env={"PYTHONPATH": str(SCRIPTS.parent), "PATH": "/usr/bin:/bin"},
    ) as process:  # fmt: skip
        wait_for(lambda: all((tmp_path / name).exists() for name in "ab"))
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
        assert (process.returncode, out, err) == (code, "[7, 7]\n", "parent.py: interrupted\n")
    assert [(tmp_path / f"{name}-got").read_text() for name in "ab"] == [f"{int(number)}"] * 2
    assert not (tmp_path / "c").exists()


def test_a_signal_without_a_program_interrupts() -> None:
    with Children(), pytest.raises(Interrupted) as stop:
        signal.raise_signal(signal.SIGTERM)
    assert stop.value.number == signal.SIGTERM


def test_a_comparison_that_is_terminated_leaves_runs_to_resume(tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPTS / "compare.py"), *RUN[2:-2], "--epochs", "2000"]
    command += ["--contenders", "torch/handcrafted", "torch/native", "--out", "report"]
    run = tmp_path / "report" / "runs" / "torch-handcrafted"
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        wait_for(lambda: lines(run / "metrics.jsonl") > 0)
        process.send_signal(signal.SIGTERM)
        said = process.communicate(timeout=120)[1]
        assert process.returncode == 143, said
    assert [folder.name for folder in run.parent.iterdir()] == ["torch-handcrafted"]
    step = checkpoint.steps(run)[-1]
    where = run.relative_to(tmp_path)
    advice = f"rnn-parity run: interrupted; --resume {where} goes on after step {step}"
    assert said.splitlines() == [NOTICE, advice]
