"""Several seeds in one go: in one program or one after the other, each run is the one that its seed
alone gives."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rnn_jax import backend as jax_backend
from shared.config import Config
from shared.config.data import GeneratedData, TextData
from shared.config.settings import NetworkConfig
from shared.errors import InvalidInput
from shared.report.comparison_page import check_comparable
from shared.report.groups import grouped
from shared.report.verdict import pairs
from shared.runs import read_run
from shared.runs.seeds import read_runs, read_seeds, run_folders, seed_folder
from shared.tasks import TASKS
from shared.training import seeds, train, train_seeds
from shared.training.train import Ready, prepare
from tests.support.pairwise import slow_but
from tests.support.seed_cases import SMALL_DATA, compare

KINDS = {
    "elman": {"network": NetworkConfig(hidden_size=4)},
    "lstm, layers, directions, dropout": {
        "network": NetworkConfig("lstm", "tanh", 4, 2, True, 0.3)
    },
    "native": {"network": NetworkConfig("gru", hidden_size=4), "implementation": "native"},
    "lengths": {"data": GeneratedData(40, 16, 16, 5, 3, min_length=2)},
    "clipping, schedule": {},
}


@pytest.mark.parametrize("kind", slow_but(KINDS, ("lstm, layers, directions, dropout", "lengths")))
def test_in_one_program_each_seed_is_as_alone(config: Config, kind: str, tmp_path: Path) -> None:
    config = replace(config, **KINDS[kind])
    if kind.startswith("clipping"):
        changed = replace(config.optimization, clip_norm=0.01, schedule="cosine")
        config = replace(config, optimization=changed)
    summaries = train_seeds(config, [3, 4, 9], tmp_path / "seeds", quiet=True)
    assert [summary.seed for summary in summaries] == [3, 4, 9]
    for seed, summary in zip([3, 4, 9], summaries, strict=True):
        assert summary.path.endswith(", 3 seeds in one program (jax.vmap)")
        train(replace(config, seed=seed), tmp_path / str(seed), quiet=True)
        assert "vmap" not in read_run(tmp_path / str(seed)).summary.path
        compare(seed_folder(tmp_path / "seeds", seed), tmp_path / str(seed))
    losses = [run.curves["train"].loss[0] for run in read_runs(tmp_path / "seeds")]
    assert len(set(losses)) == 3


def test_a_state_that_is_carried_over_windows_is_each_seeds_own(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("to be, or not to be: that is the question.\n" * 40)
    config = replace(
        TASKS["text"].defaults, backend="jax", precision="float64", epochs=2, batch_size=4, bptt=16,
        network=NetworkConfig("lstm", hidden_size=4),
        data=TextData(str(tmp_path / "text.txt"), (0.8, 0.1, 0.1)),
    )  # fmt: skip
    (first, _) = train_seeds(config, [0, 1], tmp_path / "seeds", quiet=True)
    assert "vmap" in first.path
    for seed in (0, 1):
        train(replace(config, seed=seed), tmp_path / str(seed), quiet=True)
        compare(seed_folder(tmp_path / "seeds", seed), tmp_path / str(seed))


def test_both_frameworks_agree_from_every_seed(config: Config, tmp_path: Path) -> None:
    for name in ("jax", "torch"):
        train_seeds(replace(config, backend=name), [0, 1, 2], tmp_path / name, quiet=True)
    runs = [read_run(f) for f in run_folders([tmp_path / "jax", tmp_path / "torch"])]
    assert [len(side.runs) for side in grouped(runs)] == [3, 3]
    (pair,) = pairs(runs)
    assert pair.kind == "proved"
    assert pair.verdict == "equal in float64: every step of 3 seeds within 1e-09"
    # The largest difference of any seed counts: of one that is not the first, too.
    changed = runs[4].curves["train"]
    changed.loss[5] *= 1 + 1e-8
    (pair,) = pairs(runs)
    assert (pair.kind, pair.seed, pair.at) == ("different", 1, changed.step[5])


def test_in_torch_one_seed_follows_the_other(config: Config, tmp_path: Path) -> None:
    config = replace(config, backend="torch")
    train_seeds(config, [5, 2], tmp_path / "seeds", quiet=True)
    for seed in (5, 2):
        train(replace(config, seed=seed), tmp_path / str(seed), quiet=True)
        compare(seed_folder(tmp_path / "seeds", seed), tmp_path / str(seed), exact=True)


@pytest.mark.parametrize("why", ["large", "anomaly"])
def test_what_does_not_fit_is_trained_one_after_the_other(
    config: Config, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if why == "large":
        monkeypatch.setattr(jax_backend, "MOST_TOGETHER", 100)
    config = replace(config, detect_anomaly=why == "anomaly", epochs=1)
    for summary in train_seeds(config, [0, 1], tmp_path / "seeds", quiet=True):
        assert "vmap" not in summary.path


@pytest.mark.usefixtures("in_numpy")
def test_batches_of_other_shapes_are_not_taken_together(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A task may split its data by the seed, so that the longest sequence is another."""

    def prepared(config: Config, *others: Any) -> Ready:
        data = replace(SMALL_DATA, sequence_length=5 + (config.seed == 1))
        return prepare(replace(config, data=data), *others)

    monkeypatch.setattr(seeds, "prepare", prepared)
    summaries = train_seeds(replace(config, epochs=1), [0, 1, 2], tmp_path / "seeds", quiet=True)
    assert [(s.seed, "2 seeds in one program" in s.path) for s in summaries] == [
        (0, True), (2, True), (1, False),
    ]  # fmt: skip


def test_runs_of_other_settings_are_contenders_of_their_own(config: Config, tmp_path: Path) -> None:
    config = replace(config, backend="torch")
    train_seeds(config, [0, 1], tmp_path / "seeds", quiet=True)
    shutil.rmtree(seed_folder(tmp_path / "seeds", 1))
    train(replace(config, batch_size=5, seed=1), seed_folder(tmp_path / "seeds", 1), quiet=True)
    assert [len(side.runs) for side in grouped(read_runs(tmp_path / "seeds"))] == [1, 1]
    (tmp_path / "seeds" / "seeds.json").unlink()
    assert run_folders([tmp_path / "seeds"]) == [tmp_path / "seeds"]


def test_only_the_same_seeds_are_compared(config: Config, tmp_path: Path) -> None:
    for name, several in (("one", [0, 1]), ("other", [0, 5])):
        train_seeds(replace(config, backend="torch"), several, tmp_path / name, quiet=True)
    runs = [read_run(f) for f in run_folders([tmp_path / "one", tmp_path / "other"])]
    with pytest.raises(InvalidInput, match=r"the same seeds, got 0 1 in .*one; 0 5 in .*other"):
        check_comparable(runs)
    with pytest.raises(InvalidInput, match="the same seeds"):
        check_comparable(runs[:3])


@pytest.mark.parametrize(
    "seeds", [["0"], "01", [True, False], [0, 0], [], [-1], [1.5], [2**63], None, 3],
    ids=str,
)  # fmt: skip
def test_what_is_no_list_of_seeds_trains_nothing(
    seeds: Any, config: Config, tmp_path: Path
) -> None:
    with pytest.raises(InvalidInput, match=r"^seeds: expected one or more integers from 0 to "):
        train_seeds(config, seeds, tmp_path / "seeds", quiet=True)
    assert not [*tmp_path.iterdir()]


@pytest.mark.usefixtures("in_numpy")
def test_seeds_may_come_one_by_one_and_from_numpy(config: Config, tmp_path: Path) -> None:
    seeds: Any = (seed for seed in np.arange(2))
    train_seeds(config, seeds, tmp_path / "seeds", quiet=True)
    assert read_seeds(tmp_path / "seeds") == [0, 1]
