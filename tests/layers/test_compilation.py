"""A second process takes its programs from the cache; without a cache only time is lost."""

import json
import subprocess
import sys
from pathlib import Path

import matplotlib
import pytest

from tests.support import compiling
from tests.support.command_line import SCRIPTS


def trained(folder: Path, out: str, **environment: str) -> dict:
    """The summary of a small run with a cache below this folder."""
    usual = {"JAX_ENABLE_COMPILATION_CACHE": "true", "XDG_CACHE_HOME": str(folder / "cache")}
    usual |= {"MPLCONFIGDIR": matplotlib.get_cachedir()}  # its list of fonts stays where it is
    command = [sys.executable, str(SCRIPTS / "run.py"), "--backend", "jax", "--epochs", "3"]
    finished = subprocess.run(
        [*command, "--out", out], cwd=folder, env=compiling.without_cache() | usual | environment,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert finished.returncode == 0, finished.stderr
    assert finished.stderr == ""
    return json.loads((folder / out / "summary.json").read_text())


def programs(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*-cache"))


def test_a_second_process_takes_every_program_from_the_cache(tmp_path: Path) -> None:
    first = trained(tmp_path, "first")
    kept = programs(tmp_path / "cache" / "rnn-parity" / "jax")
    assert first["compilation"] == f"0 of {len(kept)} programs from the cache"
    assert any("advance" in file.name for file in kept)
    second = trained(tmp_path, "second")
    assert second["compilation"] == f"{len(kept)} of {len(kept)} programs from the cache"
    assert programs(tmp_path / "cache") == kept
    metrics = [(tmp_path / name / "metrics.jsonl").read_bytes() for name in ("first", "second")]
    assert metrics[0] == metrics[1]


@pytest.mark.slow
def test_a_damaged_cache_costs_only_the_time_to_compile(tmp_path: Path) -> None:
    trained(tmp_path, "first")
    kept = programs(tmp_path / "cache")
    for file in kept:
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    damaged = trained(tmp_path, "second")
    assert damaged["compilation"] == f"0 of {len(kept)} programs from the cache"
    replaced = trained(tmp_path, "third")
    assert replaced["compilation"] == f"{len(kept)} of {len(kept)} programs from the cache"


def test_a_folder_that_cannot_be_made_is_no_cache(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    summary = trained(tmp_path, "run", XDG_CACHE_HOME=str(tmp_path / "file"))
    assert summary["compilation"] == "compiled, without a cache"
    assert (tmp_path / "file").read_text() == "no folder"


@pytest.mark.slow
def test_the_cache_can_be_switched_off_and_put_elsewhere(tmp_path: Path) -> None:
    off = trained(tmp_path, "off", JAX_ENABLE_COMPILATION_CACHE="false")
    assert off["compilation"] == "compiled, without a cache"
    assert not (tmp_path / "cache").exists()
    elsewhere = trained(tmp_path, "elsewhere", JAX_COMPILATION_CACHE_DIR=str(tmp_path / "mine"))
    assert elsewhere["compilation"].startswith("0 of ")
    assert not (tmp_path / "cache").exists()
