"""`run --seeds` and `compare` over a cluster, and what they refuse."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from shared.runs.seeds import seed_folder
from shared.training import train_seeds
from tests.support.cluster import SHORT, Nodes, check_same, names_in
from tests.support.command_line import check_refused


@pytest.mark.slow
def test_seeds_over_a_cluster_leave_the_folder_that_one_program_leaves(
    nodes: Nodes, tmp_path: Path, call: Any
) -> None:
    words = ["--backend", "torch", "--epochs", "4", "--eval-every", "2", "--seeds", "0", "1"]
    ran = call("run.py", *words, "--out", "away", "--cluster", nodes.address)
    assert ran.returncode == 0, ran.stderr
    assert "1 of 2: away/seed-0 on " in ran.stdout
    train_seeds(SHORT, [0, 1], tmp_path / "here", quiet=True)
    away = tmp_path / "away"
    assert names_in(away) == names_in(tmp_path / "here") | {"curves.png"}
    assert (away / "seeds.json").read_bytes() == (tmp_path / "here" / "seeds.json").read_bytes()
    for seed in (0, 1):
        check_same(seed_folder(away, seed), seed_folder(tmp_path / "here", seed))
    again = call("run.py", "--resume", "away", "--epochs", "6", "--cluster", nodes.address)
    assert again.returncode == 0, again.stderr
    train_seeds(replace(SHORT, epochs=6), [0, 1], tmp_path / "here", quiet=True, resume=True)
    for seed in (0, 1):
        check_same(seed_folder(away, seed), seed_folder(tmp_path / "here", seed))


@pytest.mark.slow
def test_compare_trains_contenders_and_seeds_as_jobs(
    nodes: Nodes, tmp_path: Path, call: Any
) -> None:
    words = ["--task", "hello", "--epochs", "4", "--eval-every", "2", "--out", "page"]
    words += ["--contenders", "torch/handcrafted", "torch/native", "--cluster", nodes.address]
    ran = call("compare.py", *words, "--seeds", "0", "1")
    assert ran.returncode == 0, ran.stderr
    assert "4 of 4: page/runs/torch-native-seeds/seed-1 on " in ran.stdout
    assert (tmp_path / "page" / "report.html").is_file()
    again = call("compare.py", *words, "--seeds", "0", "1", "--overwrite")
    assert again.returncode == 0, again.stderr
    assert "4 of 4: page/runs/torch-native-seeds/seed-1 on " in again.stdout


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--seeds", "0", "1", "--cluster", "slurm"], ["--cluster: expected ray or", "got slurm"]),
        (["--seeds", "0", "1", "--cluster", "ray://localhost:10001"], ["6379", "Ray's client"]),
        (["--seeds", "0", "1", "--cluster", "ray://127.0.0.1:1"], ["the head", "refused"]),
        (["--cluster", "ray"], ["--cluster: expected --seeds beside it"]),
    ],
)
def test_a_cluster_that_is_none_is_refused_in_one_line(
    words: list[str], expected: list[str], tmp_path: Path, call: Any
) -> None:
    check_refused(call("run.py", "--backend", "torch", *words), *expected)
    assert not list(tmp_path.iterdir())


def test_without_ray_the_refusal_names_what_to_install(
    tmp_path: Path, call: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    refused = call("run.py", "--backend", "torch", "--seeds", "0", "1", "--cluster", "ray")
    check_refused(refused, "pip install 'rnn-parity[cluster]'")
    assert not list(tmp_path.iterdir())
