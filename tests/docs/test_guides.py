"""The guides of docs/how-to/ whose change lies beside them as a .diff: following them works."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GUIDES = {"add-a-cell": "mgu", "add-a-task": "first_value"}
"""And a word in the names of the tests that their change adds."""


def added(guide: str) -> str:
    """The lines that a guide's change adds."""
    lines = (ROOT / "docs" / "how-to" / f"{guide}.diff").read_text().splitlines()
    return "\n".join(line[1:] for line in lines if line.startswith("+"))


@pytest.mark.skipif(shutil.which("git") is None, reason="git applies the change")
@pytest.mark.parametrize("guide", GUIDES)
def test_the_change_of_a_guide_fits_the_sources(guide: str) -> None:
    diff = ROOT / "docs" / "how-to" / f"{guide}.diff"
    done = subprocess.run(
        ["git", "apply", "--check", str(diff)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("guide", GUIDES)
def test_a_guide_shows_what_its_change_adds(guide: str) -> None:
    page = (ROOT / "docs" / "how-to" / f"{guide}.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    shown = [block for block in blocks if not block.startswith(">>>")]
    assert len(shown) >= 3
    for line in "".join(shown).splitlines():
        assert line in added(guide).splitlines(), line


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("git") is None, reason="git applies the change")
@pytest.mark.parametrize("guide", GUIDES)
def test_who_follows_a_guide_arrives(guide: str, tmp_path: Path) -> None:
    """In a copy of the project: the change, its tests, and the commands that the guide shows."""
    copy = tmp_path / "project"
    left_out = shutil.ignore_patterns(".*", "__pycache__", "site", "runs", "reports", "build")
    shutil.copytree(ROOT, copy, ignore=left_out)
    environment = os.environ | {"PYTHONPATH": str(copy)}

    def call(*words: str) -> str:
        done = subprocess.run(
            words, cwd=copy, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    call("git", "apply", f"docs/how-to/{guide}.diff")
    files = ("tests/layers/test_cells.py", "tests/tasks/test_tasks.py")
    assert "passed" in call(sys.executable, "-m", "pytest", "-q", "-k", GUIDES[guide], *files)
    page = (copy / "docs" / "how-to" / f"{guide}.md").read_text()
    blocks = re.findall(r"<!-- with the diff applied -->\n```console\n(.*?)^```", page, re.M | re.S)
    commands = [line[2:] for block in blocks for line in block.splitlines() if line[:2] == "$ "]
    assert commands
    for command in commands:
        said = call(sys.executable, *shlex.split(command)[1:])
        assert "proved in float64" in said or "test loss" in said, command
