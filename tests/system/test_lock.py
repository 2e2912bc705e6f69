"""Two processes do not write one run folder."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from shared.errors import InvalidInput
from shared.system import lock
from tests.support.command_line import SCRIPTS, SMALL, check_refused, script

HOLDER = """
import sys, time
from pathlib import Path
from shared.system import lock
with lock.held(Path(sys.argv[1]), "--out") as lock:
    print(lock.stale, flush=True)
    sys.stdin.read()
"""


def holder(folder: Path) -> subprocess.Popen:
    """A process that holds the lock until its standard input ends, or it is killed."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)], cwd=SCRIPTS.parent,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    process.said = process.stdout.readline().strip()  # pyright: ignore
    return process


def test_the_holder_is_named_and_the_file_goes_with_it(tmp_path: Path) -> None:
    with lock.held(tmp_path, "--out") as own:
        assert own.stale is None
        said = json.loads((tmp_path / lock.FILE).read_text())
        assert said["process"] == os.getpid()
        assert set(said) == {"process", "host", "since"}
    assert not list(tmp_path.iterdir())


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        message = f"--resume .*: another process writes this run: process {process.pid} on .* since"
        with pytest.raises(InvalidInput, match=message), lock.held(tmp_path, "--resume"):
            pass
        process.communicate("")
    with lock.held(tmp_path, "--resume") as own:
        assert own.stale is None


def test_the_same_process_is_refused_too(tmp_path: Path) -> None:
    """Two threads."""
    with lock.held(tmp_path, "--out"):
        with pytest.raises(InvalidInput, match=f"process {os.getpid()}"), lock.held(tmp_path, "a"):
            pass
        assert (tmp_path / lock.FILE).exists()


def test_a_stale_lock_is_taken_over(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        process.kill()
        process.wait()
    assert (tmp_path / lock.FILE).exists()
    with lock.held(tmp_path, "--out") as own:
        assert own.stale is not None
        assert own.stale.startswith(f"process {process.pid} on ")
        assert json.loads((tmp_path / lock.FILE).read_text())["process"] == os.getpid()


@pytest.mark.parametrize(
    "content",
    [
        b"x",
        b"{}",
        b"[" * 10_000,
        b"\xff",
        b'{"process": "x"}',
        b'{"process": 1e999, "host": "x", "since": "y"}',
    ],
)
def test_a_lock_that_says_nothing_is_stale_too(content: bytes, tmp_path: Path) -> None:
    (tmp_path / lock.FILE).write_bytes(content)
    with lock.held(tmp_path, "--out") as own:
        assert own.stale == "a process that has not said its name"


def test_a_file_that_its_holder_removes_is_not_held_twice(tmp_path: Path, monkeypatch) -> None:
    """Between opening and locking it, the holder may end and another process begin."""
    path, flock = tmp_path / lock.FILE, lock.fcntl.flock
    calls = []

    def late(handle: int, operation: int) -> None:
        if not calls:
            path.unlink()
        calls.append(handle)
        flock(handle, operation)

    monkeypatch.setattr(lock.fcntl, "flock", late)
    with lock.held(tmp_path, "--out"):
        assert len(calls) == 2
        assert path.exists()
        with pytest.raises(InvalidInput), lock.held(tmp_path, "--out"):
            pass


def test_a_run_that_is_being_written_is_refused_whatever_is_asked(tmp_path: Path) -> None:
    command = ["run.py", "--backend", "torch", "--task", "last-value", *SMALL]
    first = script(*command, "--out", "run", cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    before = {file.name: file.read_bytes() for file in (tmp_path / "run").iterdir()}
    with holder(tmp_path / "run") as process:
        named = f"another process writes this run: process {process.pid} on "
        again = script(*command, "--out", "run", "--overwrite", cwd=tmp_path)
        check_refused(again, f"run.py: --out run: {named}")
        resumed = script("run.py", "--resume", "run", "--epochs", "9", cwd=tmp_path)
        check_refused(resumed, f"run.py: --resume run: {named}")
        (tmp_path / "run" / lock.FILE).rename(tmp_path / "lock")  # so that it cannot remove it
        process.communicate("")
    assert {file.name: file.read_bytes() for file in (tmp_path / "run").iterdir()} == before


def test_a_run_that_was_killed_names_the_lock_that_it_left(tmp_path: Path) -> None:
    command = ["run.py", "--backend", "torch", "--task", "last-value", *SMALL]
    first = script(*command, "--out", "run", cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    with holder(tmp_path / "run") as process:
        process.kill()
    resumed = script("run.py", "--resume", "run", "--epochs", "9", cwd=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    assert f"taking over run.lock of process {process.pid} on" in resumed.stdout
    assert not (tmp_path / "run" / lock.FILE).exists()


def test_what_a_lock_says_is_shown_in_one_line(tmp_path: Path) -> None:
    name = {"process": 7, "host": "\u001b[31mred\nrun.py: all is well", "since": "now"}
    (tmp_path / lock.FILE).write_text(json.dumps(name))
    with lock.held(tmp_path, "--out") as own:
        assert own.stale == "process 7 on \\x1b[31mred\\nrun.py: all is well since now"


def test_a_lock_that_is_a_link_or_a_folder_is_refused(tmp_path: Path) -> None:
    """What it points to stays as it is."""
    (tmp_path / "precious").write_text("mine")
    for name in ("link", "folder"):
        (tmp_path / name).mkdir()
    (tmp_path / "link" / lock.FILE).symlink_to(tmp_path / "precious")
    (tmp_path / "folder" / lock.FILE).mkdir()
    for name in ("link", "folder"):
        message = r"got of its run\.lock: "
        with pytest.raises(InvalidInput, match=message), lock.held(tmp_path / name, "--resume"):
            pass
    assert (tmp_path / "precious").read_text() == "mine"


def test_a_process_whose_lock_was_removed_writes_nothing_more(tmp_path: Path) -> None:
    """Nor does it remove that of the process that came after it."""
    with lock.held(tmp_path, "--out") as first:
        first.check()
        (tmp_path / lock.FILE).unlink()
        with lock.held(tmp_path, "--resume") as second:
            with pytest.raises(OSError, match="it was removed, and another process may write"):
                first.check()
            second.check()
            os.close(os.open(tmp_path / lock.FILE, os.O_RDONLY))
    with lock.held(tmp_path, "--out") as first:
        (tmp_path / lock.FILE).unlink()
        second = tmp_path / lock.FILE
        second.write_text("of another one")
    assert second.read_text() == "of another one"


def test_a_lock_that_cannot_be_written_is_not_held(tmp_path: Path, monkeypatch) -> None:
    """Such as on a full disk."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(lock.os, "pwrite", full)
        with pytest.raises(InvalidInput, match="No space left"), lock.held(tmp_path, "--resume"):
            pass
    with lock.held(tmp_path, "--resume"):
        pass
