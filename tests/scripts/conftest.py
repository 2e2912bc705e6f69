"""Fixtures that several tests of scripts share: a proof made once, and scripts/convert.py."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from shared.system import process
from tests.support.command_line import script
from tests.support.convert_cases import Convert


@pytest.fixture(scope="session")
def proof(tmp_path_factory: pytest.TempPathFactory) -> subprocess.CompletedProcess:
    """A process of its own; its folder, `.args[-1]`, holds report and traces."""
    folder = tmp_path_factory.mktemp("proof")
    finished = script(
        "parity.py", "--task", "hello", "--steps", "20", "--runs", "1", "--out", "X",
        "--traces", "T", cwd=folder,
    )  # fmt: skip
    finished.args = folder
    return finished


@pytest.fixture
def convert(tmp_path: Path, monkeypatch, capfd) -> Convert:
    """The script in tmp_path, without a process of its own."""

    def called(*arguments: str) -> subprocess.CompletedProcess:
        module = importlib.import_module("scripts.convert")
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("COLUMNS", "60")
        monkeypatch.setattr(sys, "argv", ["convert.py", *arguments])
        capfd.readouterr()
        code = 0
        try:
            process.run(module.main)
        except SystemExit as stop:
            code = int(stop.code or 0)
        out, err = capfd.readouterr()
        return subprocess.CompletedProcess(arguments, code, out, err)

    return called
