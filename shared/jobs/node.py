"""The training of one job on a node of a cluster: what runs there.

The driver (cluster.py) makes a `Trainer` an actor of Ray's, gives it an order, and asks it for
reports until the run has ended.
"""

import importlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from shared.config import Config
from shared.errors import InvalidInput
from shared.jobs.command import run_command, run_options
from shared.jobs.job import State
from shared.jobs.local import last_line
from shared.jobs.travel import Data, as_the_users, at, placed, write_data
from shared.runs.history import METRICS
from shared.runs.run_folder import CONFIG, read_config, save_config
from shared.system import environment, lock
from shared.system.files import TEMPORARY

LISTINGS = 5
"""Tries to read a folder whose files change meanwhile."""


class Order(NamedTuple):
    """What a node is to train."""

    config: Config
    state: State
    folder: str
    """Run folder, and `directory` the working directory, as the user has them."""
    directory: str
    kept: dict[str, bytes]
    """Files of a run that goes on."""
    tune_allocator: bool
    versions: dict[str, str]
    """Versions that the node must have."""


class Report(NamedTuple):
    """What there is of a run."""

    files: dict[str, bytes]
    """New files, and those that have changed since the last report."""
    names: set[str]
    """All files of the run."""
    code: int | None
    """Exit code; None while it runs."""
    errors: str
    """Last line of stderr, once it has ended."""


class Trainer:
    """Training of one run in a scratch folder, in a process of its own."""

    def __init__(self) -> None:
        self._sent: dict[str, tuple[int, int, int]] = {}

    def start(self, order: Order, data: Data) -> str:
        """Starts the run and returns the node's identifier in the cluster.

        Raises:
            InvalidInput: this node has other versions.
            OSError: the files cannot be written.
        """
        check_versions(order.versions, environment.versions(order.config.backend))
        self._scratch = os.path.realpath(tempfile.mkdtemp(prefix="rnn-parity-"))
        self._root = f"{self._scratch}/root"
        self._errors = open(f"{self._scratch}/errors", "w+b")  # noqa: SIM115
        self._process = subprocess.Popen(  # first, as it removes what is written from here on
            [sys.executable, "-P", "-m", "shared.jobs.tied", self._scratch],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            process_group=0,
        )
        directory = self._root + order.directory
        os.makedirs(directory)
        write_data(data, self._root)
        folder = at(order.folder, self._root)
        self._folder = Path(directory, folder)
        if order.kept:
            self._folder.mkdir(parents=True)
            for name, content in order.kept.items():
                (self._folder / name).write_bytes(content)
            before = read_config(self._folder / CONFIG)
            save_config(self._folder, placed(before, self._root))
        config = placed(order.config, self._root)
        save_config(Path(self._scratch), config)
        options = run_options(config, order.state, folder, Path(self._scratch, CONFIG))
        command = run_command(options, order.tune_allocator)
        assert self._process.stdin is not None
        self._process.stdin.write(
            json.dumps({"command": command, "directory": directory}).encode() + b"\n"
        )
        self._process.stdin.flush()
        return importlib.import_module("ray").get_runtime_context().get_node_id()

    def stop(self) -> None:
        """Has the run write a checkpoint and end."""
        self._process.terminate()

    def report(self, wait_s: float) -> Report:
        """Waits so long, or until the run ends, and returns what has changed since the last
        report; after the last one, the scratch folder is gone."""
        code = self._code(wait_s)
        files, names = self._changes(code is not None)
        errors = ""
        if code is not None:
            self._errors.seek(0)
            errors = last_line(self._errors.read()).replace(self._root, "")
            assert self._process.stdin is not None
            self._process.stdin.close()
            self._process.wait()
            shutil.rmtree(self._scratch, ignore_errors=True)  # if that one was killed
        return Report(files, names, code, errors)

    def _code(self, wait_s: float) -> int | None:
        """Waits so long for the run's exit code; None if it still runs then."""
        stream = self._process.stdout
        assert stream is not None
        if not select.select([stream], [], [], wait_s)[0]:
            return None
        line = stream.readline()
        return int(line) if line else 128 + signal.SIGKILL  # somebody killed the process itself

    def _changes(self, ended: bool) -> tuple[dict[str, bytes], set[str]]:
        """Returns the files that have changed, and the names of all.

        None of them was removed meanwhile: a checkpoint may need another one. The history is read
        after those that name its checksum, and sent only with others.
        """
        for _ in range(LISTINGS):
            found: dict[str, bytes] = {}
            seen = self._listed()
            new = [name for name, mark in seen.items() if self._sent.get(name) != mark]
            if not ended and {*new} <= {METRICS} and seen.keys() == self._sent.keys():
                break
            try:
                for name in sorted(new, key=lambda name: name == METRICS):
                    content = (self._folder / name).read_bytes()
                    if name == METRICS and not ended:
                        content = content[: content.rfind(b"\n") + 1]
                    found[name] = as_the_users(name, content, self._root)
            except FileNotFoundError:
                continue
            if self._listed().keys() >= seen.keys():
                self._sent = seen
                return found, {*seen}
        return {}, {*self._sent}

    def _listed(self) -> dict[str, tuple[int, int, int]]:
        """Returns the run's files with what changes when they do."""
        if not self._folder.is_dir():
            return {}
        found: dict[str, tuple[int, int, int]] = {}
        with os.scandir(self._folder) as entries:
            for entry in entries:
                own = entry.name == lock.FILE or TEMPORARY.fullmatch(entry.name) is not None
                if own or not entry.is_file(follow_symlinks=False):
                    continue
                try:
                    stat = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                found[entry.name] = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
        return found


def check_versions(expected: dict[str, str], got: dict[str, str], node: str = "") -> None:
    """Refuses a node with other versions than the machine that gives the order.

    Raises:
        InvalidInput: the message names what differs.
    """
    other = [
        f"{name} {version} instead of {expected[name]}"
        for name, version in got.items()
        if version != expected.get(name)
    ]
    if other:
        what = f"node {node}" if node else "a node that has joined"
        raise InvalidInput(
            f"--cluster: expected the versions of this machine on each node, got on {what}: "
            f"{', '.join(other)}; install the same there"
        )
