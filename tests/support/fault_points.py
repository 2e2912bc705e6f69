"""Kills a run at each point at which it changes its folder, or fills its disk there; resumes it,
and compares it with the uninterrupted run.

    python -m tests.support.fault_points {kill,full} FOLDER [EVERY]

A point is a file that is opened to be written, renamed or removed, one that is brought to the disk,
a folder that is made, or lines of the history of which half have been written. Each run is a child
that kills itself there with SIGKILL, or that can write nothing from there on; its processes share
one import of PyTorch. With EVERY, only each so-many-th point.
"""

import errno
import gc
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

import rnn_torch.backend  # noqa: F401  (so that no child has to)
from shared.config import Config
from shared.config.data import GeneratedData
from shared.config.settings import NetworkConfig
from shared.errors import InvalidInput
from shared.runs import checkpoint, history, read_run, run_folder
from shared.system import lock
from shared.tasks import TASKS
from shared.training import train

CONFIG = replace(
    TASKS["last-value"].defaults,
    backend="torch",
    network=NetworkConfig(hidden_size=5, num_layers=2, dropout=0.2),
    data=GeneratedData(40, 8, 9, sequence_length=6, input_size=3),
    epochs=4,
    batch_size=8,
    checkpoint_every="3",
)
"""5 steps an epoch, checkpoints after 3 and 5 of them."""
EVENTS = {"open", "os.rename", "os.remove", "os.mkdir", "os.truncate"}
WRITING = os.O_WRONLY | os.O_RDWR


class Points:
    """Counts the points, and has one of them fail.

    Args:
        last: the number of that point; 0 is none.
        fault: "kill" ends this process there, "full" refuses what needs space from there on.
    """

    def __init__(self, folder: Path, last: int = 0, fault: str = "kill"):
        self.folder, self.last, self.fault, self.count = str(folder), last, fault, 0
        sys.addaudithook(self._event)
        fsync, flush = os.fsync, history.History.flush

        def counted_fsync(handle: int) -> None:
            self._point(needs_space=True)
            fsync(handle)

        def half_flush(writer: Any) -> None:
            if writer._added:
                content = b"".join(writer._added)
                half = content[: len(content) // 2]
                self._point(True, lambda: writer._file.write(half), str(writer._path))
            flush(writer)

        os.fsync = counted_fsync
        history.History.flush = half_flush  # pyright: ignore[reportAttributeAccessIssue]

    def _event(self, name: str, values: tuple) -> None:
        if name not in EVENTS or (name == "open" and not (values[2] or 0) & WRITING):
            return
        if str(values[0]).startswith(self.folder):
            self._point(name in ("open", "os.mkdir"), path=str(values[0]))

    def _point(
        self, needs_space: bool, half: Callable[[], object] = lambda: None, path: str | None = None
    ) -> None:
        self.count += 1
        if self.last == self.count:
            half()
        if self.fault == "kill" and self.last == self.count:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.fault == "full" and 0 < self.last <= self.count and needs_space:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), *([path] if path else []))


def in_child(body: Callable[[], object]) -> int:
    """Runs a function in a process of its own; returns its wait status."""
    child = os.fork()
    if child == 0:
        try:
            body()
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1]


def begin_or_resume(config: Config, folder: Path) -> None:
    """As a user goes on with a run, whatever was left of it."""
    begun = (folder / run_folder.CONFIG).exists()
    if not (begun and (folder / run_folder.SUMMARY).exists()):
        train(config, folder, resume=begun, quiet=True)


def check_same(folder: Path, whole: Path) -> None:
    """Raises unless the files are the same but for times; none is left of what was begun, unless it
    is a lock that nobody holds."""
    names = [{file.name for file in one.iterdir()} - {lock.FILE} for one in (folder, whole)]
    assert names[0] == names[1], names
    with lock.held(folder, "--out"):
        pass
    one, other = ((part / history.METRICS).read_bytes() for part in (folder, whole))
    assert one == other, "metrics.jsonl"
    check_same_checkpoints(folder, whole)
    summaries = [read_run(part).summary for part in (folder, whole)]
    for part in ("train", "valid", "test", "steps", "data", "history"):
        assert getattr(summaries[0], part) == getattr(summaries[1], part), part


def check_same_checkpoints(folder: Path, whole: Path) -> None:
    """Raises unless those of `whole` are there, too, the same bytes but for times."""
    assert checkpoint.steps(whole), "none to compare"
    for step in checkpoint.steps(whole):
        mine, theirs = (checkpoint.read(checkpoint.path(part, step)) for part in (folder, whole))
        tensors, expected = checkpoint.flatten(mine.snapshot), checkpoint.flatten(theirs.snapshot)
        assert tensors.keys() == expected.keys()
        for name, array in expected.items():
            assert tensors[name].tobytes() == array.tobytes(), f"{name} at step {step}"
        for part in ("train", "best", "running", "history"):
            assert getattr(mine, part) == getattr(theirs, part), f"{part} at step {step}"


def survived(fault: str, folder: Path, every: int) -> int:
    """Runs this module in a process of its own; returns how many faults were survived."""
    ran = subprocess.run(
        [sys.executable, "-m", "tests.support.fault_points", fault, str(folder), str(every)],
        cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr[-3000:]
    print(ran.stdout)
    return int(ran.stdout.split()[0])


REFUSED = 3


def fail(folder: Path, last: int, fault: str) -> None:
    """Trains with a fault; exits with REFUSED where it is told in a line."""
    Points(folder, last, fault)
    try:
        train(CONFIG, folder, quiet=True)
    except (OSError, InvalidInput) as error:
        said = str(error)
    else:
        return
    assert os.strerror(errno.ENOSPC) in said, said
    assert str(folder) in said, said
    os._exit(REFUSED)


def main(fault: str, folder: Path, every: int) -> None:
    torch.set_num_threads(1)
    # Imported where the first optimizer is made, which would be in each child.
    torch.optim.SGD([torch.zeros(1)], lr=0.1)
    gc.freeze()  # the collector would touch, and so copy, all of it in each child
    whole = folder / "whole"
    counted = folder / "points"

    def count() -> None:
        points = Points(whole)
        train(CONFIG, whole, quiet=True)
        counted.write_text(str(points.count))

    assert in_child(count) == 0
    total = int(counted.read_text())
    failed = 0
    for last in range(1, total + 1, every):
        run = folder / f"run-{last}"
        status = in_child(lambda: fail(run, last, fault))  # noqa: B023
        what = f"{fault} at point {last} of {total}"
        if fault == "kill":
            assert os.WIFSIGNALED(status), f"{what} was not reached: {status}"
            assert os.WTERMSIG(status) == signal.SIGKILL, f"{what}: {status}"
        else:  # the last points only remove files
            assert os.WEXITSTATUS(status) in (0, REFUSED), f"{what}: {status}"
        failed += status != 0
        status = in_child(lambda: begin_or_resume(CONFIG, run))  # noqa: B023
        assert status == 0, f"after {what} it does not go on"
        check_same(run, whole)
    print(f"{failed} faults survived")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 1)
