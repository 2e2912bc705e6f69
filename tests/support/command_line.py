"""The scripts as a user calls them, and what a refusal must look like."""

import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn, Self

from shared.jobs.command import CHILD
from shared.system import children

SCRIPTS = Path(__file__).parents[2] / "scripts"
SMALL = [
    "--data.train-examples", "40", "--data.valid-examples", "8", "--data.test-examples", "9",
    "--data.sequence-length", "5", "--data.input-size", "3", "--hidden-size", "4",
    "--batch-size", "16", "--epochs", "3",
]  # fmt: skip
WIDTH = {"COLUMNS": "60"}

_forking = multiprocessing.get_context("forkserver")
_forking.set_forkserver_preload(["tests.support.preloaded"])


def script(
    name: str, *arguments: str, cwd: Path, **environment: str
) -> subprocess.CompletedProcess:
    """Runs a script in a process of its own, in which both frameworks are imported already.

    Importing them takes seconds. What depends on their import (an environment for it, its order,
    its time) is shown by tests of `started`.
    """
    if environment:
        return started(name, *arguments, cwd=cwd, **environment)
    with tempfile.TemporaryDirectory() as folder:
        streams = [str(Path(folder, stream)) for stream in ("out", "err")]
        process = _forking.Process(target=_run, args=(name, arguments, str(cwd), *streams))
        process.start()
        process.join()
        out, err = (Path(stream).read_text() for stream in streams)
    assert process.exitcode is not None
    return subprocess.CompletedProcess([name, *arguments], process.exitcode, out, err)


def started(
    name: str, *arguments: str, cwd: Path, **environment: str
) -> subprocess.CompletedProcess:
    """Runs a script as a shell does."""
    return subprocess.run(
        [sys.executable, str(SCRIPTS / name), *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | WIDTH | environment,
    )


def _run(name: str, arguments: tuple[str, ...], folder: str, out: str, err: str) -> NoReturn:
    """Is the script, in a process that was forked for it; so are the programs that it starts."""
    for number, file in ((1, out), (2, err)):
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(handle, number)
        os.close(handle)
    os.chdir(folder)
    os.environ.update(WIDTH)
    programs = SimpleNamespace(Popen=_Forked, DEVNULL=subprocess.DEVNULL)
    children.subprocess = programs  # pyright: ignore[reportAttributeAccessIssue]
    _become([str(SCRIPTS / name), *arguments])


def _become(argv: Sequence[str]) -> NoReturn:
    """Runs a script, or the program as `compare` starts it, to its end and that of this process."""
    module = [*argv[:3]] == [*CHILD[1:]]
    sys.argv = ["__main__.py", *argv[3:]] if module else [*argv]
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", closefd=False, buffering=1)  # noqa: SIM115
    code: Any = 0
    try:
        if module:
            runpy.run_module("shared.commands", run_name="__main__")
        else:
            runpy.run_path(argv[0], run_name="__main__")
    except SystemExit as stop:
        code = stop.code or 0
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    os._exit(code)


class _Forked:
    """As much of `subprocess.Popen` as `shared.system.children` uses, of a script."""

    def __init__(
        self, command: Sequence[str], process_group: int, stdout: int | None, stderr: Any = None
    ):
        self.pid = os.fork()
        if self.pid == 0:
            os.setpgid(0, process_group)
            for number in (signal.SIGINT, signal.SIGTERM):  # as a new program has them
                signal.signal(number, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            if stdout == subprocess.DEVNULL:
                os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            if stderr is not None:
                os.dup2(stderr.fileno(), 2)
            _become(command[1:])

    def wait(self) -> int:
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...


def check_refused(finished: subprocess.CompletedProcess, *expected: str) -> None:
    """Exit code 2, and exactly one line on stderr, with every expected part in it."""
    assert finished.returncode == 2, (finished.returncode, finished.stderr)
    lines = finished.stderr.splitlines()
    assert len(lines) == 1, finished.stderr
    for part in expected:
        assert part in lines[0], (part, lines[0])
