"""Several seeds in one go: in one program or one after the other, each run is the one that its seed
alone gives."""

import json
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest

from rnn_jax import backend as jax_backend
from shared.commands.cli import parse_seeds
from shared.config import Config, resolve
from shared.config.data import GeneratedData, TextData
from shared.config.settings import NetworkConfig
from shared.errors import InvalidInput
from shared.report.comparison_page import check_comparable
from shared.report.contenders import contenders
from shared.report.verdict import pairs
from shared.runs import checkpoint, read_run
from shared.runs.seeds import (
    are_in,
    read_runs,
    read_seeds,
    read_shared_config,
    run_folders,
    save_seeds,
    seed_folder,
)
from shared.system.signals import Interrupted
from shared.tasks import TASKS
from shared.training import calls, seeds, train, train_seeds
from shared.training.loop import take_steps
from shared.training.seeds import remove_runs
from shared.training.train import Ready, prepare
from tests.support import numpy_backend
from tests.support.command_line import SMALL, check_refused, script
from tests.support.pairwise import slow_but

SMALL_DATA = GeneratedData(40, 16, 16, 5, 3)


@pytest.fixture
def config() -> Config:
    return replace(
        TASKS["last-value"].defaults, backend="jax", precision="float64", epochs=3, batch_size=8,
        network=NetworkConfig("gru", hidden_size=4), data=SMALL_DATA,
    )  # fmt: skip


def compare(together: Path, alone: Path, *, exact: bool = False) -> None:
    """History and weights of two run folders, which must be of as many steps."""
    first, second = read_run(together), read_run(alone)
    for split in ("train", "valid", "test"):
        a, b = first.curves[split], second.curves[split]
        np.testing.assert_array_equal(a.step, b.step)
        for x, y in ((a.loss, b.loss), (a.metric, b.metric)):
            np.testing.assert_allclose(x, y, rtol=0 if exact else 1e-9, atol=0)
    snapshots = [
        checkpoint.read(checkpoint.path(folder, checkpoint.steps(folder)[-1])).snapshot
        for folder in (together, alone)
    ]
    a, b = map(checkpoint.flatten, snapshots)
    assert a.keys() == b.keys()
    assert any("moments" in name for name in a)
    for name in a:
        np.testing.assert_allclose(a[name], b[name], rtol=0 if exact else 1e-9, atol=1e-12)


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
    assert [len(side.runs) for side in contenders(runs)] == [3, 3]
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


# Stopped and gone on ------------------------------------------------------------------------------


class Signalled:
    """As `Interruption`, with a signal that comes when it has been looked at so often."""

    def __init__(self, looks: int):
        self.looks = looks

    @property
    def received(self) -> int | None:
        self.looks -= 1
        return signal.SIGINT if self.looks < 0 else None


@contextmanager
def signalled(looks: int) -> Iterator[None]:
    """Inside, a signal comes when training has looked for one so often."""
    signal = Signalled(looks)

    def take(records: Any, states: Any, _: Any) -> Any:
        return take_steps(records, states, signal)  # pyright: ignore[reportArgumentType]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys.modules["shared.training.train"], "take_steps", take)
        yield


@pytest.mark.usefixtures("in_numpy")
@pytest.mark.parametrize("looks", [1, 2, 3])
def test_a_signal_leaves_all_seeds_at_the_same_step(
    config: Config, looks: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever of them sees it first; and together they go on."""
    monkeypatch.setattr(calls, "most_steps", lambda *_: 2)  # signals come between checkpoints
    whole = tmp_path / "whole"
    train_seeds(config, [0, 1], whole, quiet=True)
    with (
        signalled(looks),
        pytest.raises(Interrupted, match=r"--resume .*/seeds finishes the seeds"),
    ):
        train_seeds(config, [0, 1], tmp_path / "seeds", quiet=True)
    folders = run_folders([tmp_path / "seeds"])
    reached = [checkpoint.steps(folder)[-1] for folder in folders]
    assert len(folders) == 2
    assert reached[0] == reached[1] > 0
    resumed = train_seeds(config, [0, 1], tmp_path / "seeds", resume=True, quiet=True)
    assert all("2 seeds in one program" in summary.path for summary in resumed)
    for seed in (0, 1):
        compare(seed_folder(tmp_path / "seeds", seed), seed_folder(whole, seed), exact=True)


@pytest.mark.usefixtures("in_numpy")
def test_seeds_at_different_steps_go_on_by_themselves(config: Config, tmp_path: Path) -> None:
    """As a kill between their checkpoints leaves them; finished ones stay, missing ones begin."""
    train_seeds(config, [0, 1, 2, 3], tmp_path / "whole", quiet=True)
    train_seeds(config, [0, 1, 2, 3], tmp_path / "seeds", quiet=True)
    one, two, three = (seed_folder(tmp_path / "seeds", seed) for seed in (1, 2, 3))
    (one / "summary.json").unlink()
    checkpoint.path(one, 15).unlink()
    (two / "summary.json").unlink()
    shutil.rmtree(three)
    before = (seed_folder(tmp_path / "seeds", 0) / "summary.json").read_bytes()
    done = train_seeds(config, [0, 1, 2, 3], tmp_path / "seeds", resume=True, quiet=True)
    assert [summary.seed for summary in done] == [1, 2, 3]
    assert (seed_folder(tmp_path / "seeds", 0) / "summary.json").read_bytes() == before
    for seed in range(4):
        compare(seed_folder(tmp_path / "seeds", seed), seed_folder(tmp_path / "whole", seed))


@pytest.mark.usefixtures("in_numpy")
def test_what_is_replaced_is_gone_before_it_could_be_mistaken_for_new(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted at its first seed, a replacement of three goes on with all three."""
    old, new = (replace(config, backend="torch", batch_size=size) for size in (8, 10))
    train_seeds(old, [0, 1, 2], tmp_path / "seeds", quiet=True)
    with signalled(0), pytest.raises(Interrupted):
        train_seeds(new, [0, 1, 2], tmp_path / "seeds", overwrite=True, quiet=True)
    monkeypatch.undo()
    done = train_seeds(new, [0, 1, 2], tmp_path / "seeds", resume=True, quiet=True)
    assert [summary.seed for summary in done] == [0, 1, 2]
    assert {run.config.batch_size for run in read_runs(tmp_path / "seeds")} == {10}


@pytest.mark.usefixtures("in_numpy")
def test_the_same_is_trained_again_where_it_is_replaced(config: Config, tmp_path: Path) -> None:
    config = replace(config, backend="torch")
    train_seeds(config, [0, 1], tmp_path / "seeds", quiet=True)
    again = train_seeds(config, [0, 1], tmp_path / "seeds", overwrite=True, quiet=True)
    assert [summary.seed for summary in again] == [0, 1]


@pytest.mark.usefixtures("in_numpy")
def test_more_epochs_train_all_seeds_on(config: Config, tmp_path: Path) -> None:
    train_seeds(config, [0, 1], tmp_path / "seeds", quiet=True)
    longer = replace(config, epochs=4)
    assert len(train_seeds(longer, [0, 1], tmp_path / "seeds", resume=True, quiet=True)) == 2
    for seed in (0, 1):
        train(replace(longer, seed=seed), tmp_path / str(seed), quiet=True)
        compare(seed_folder(tmp_path / "seeds", seed), tmp_path / str(seed))


@pytest.mark.usefixtures("in_numpy")
def test_a_seed_that_diverges_stops_the_others_at_their_checkpoints(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from shared.errors import TrainingDiverged

    take = numpy_backend.Backend.advance

    def broken(self, states, batches, rates):
        new, (first, second) = take(self, states, batches, rates)
        return new, [first, second._replace(loss=np.full(len(rates), np.nan))]

    monkeypatch.setattr(numpy_backend.Backend, "advance", broken)
    with pytest.raises(
        TrainingDiverged, match=r"the training loss is nan at step 1.*no checkpoint"
    ):
        train_seeds(config, [0, 1], tmp_path / "seeds", quiet=True)
    assert not (seed_folder(tmp_path / "seeds", 0) / "run.lock").exists()


@pytest.mark.usefixtures("in_numpy")
@pytest.mark.parametrize("change", ["batch_size", "seed"])
def test_all_seeds_of_a_folder_share_a_configuration(
    config: Config, change: str, tmp_path: Path
) -> None:
    """Also where one of them has not begun, and those that are finished."""
    config = replace(config, backend="torch")
    train_seeds(config, [0, 1], tmp_path / "seeds", quiet=True)
    other = replace(config, **{change: 7})
    with pytest.raises(InvalidInput, match=f"got another --{change.replace('_', '-')}"):
        train_seeds(other, [0, 1], tmp_path / "seeds", resume=True, quiet=True)
    shutil.rmtree(seed_folder(tmp_path / "seeds", 1))
    with pytest.raises(InvalidInput, match=f"got another --{change.replace('_', '-')}"):
        train_seeds(other, [0, 1], tmp_path / "seeds", resume=True, quiet=True)
    train(replace(config, batch_size=5, seed=1), seed_folder(tmp_path / "seeds", 1), quiet=True)
    with pytest.raises(InvalidInput, match="got another --batch-size"):
        train_seeds(config, [0, 1], tmp_path / "seeds", resume=True, quiet=True)


@pytest.mark.usefixtures("in_numpy")
def test_seeds_that_were_only_noted_can_be_trained(config: Config, tmp_path: Path) -> None:
    """As a signal leaves them that comes before the first run has a folder."""
    config = replace(config, backend="torch")
    (tmp_path / "seeds").mkdir()
    save_seeds(tmp_path / "seeds", [0, 3], resolve(config))
    done = train_seeds(config, [0, 3], tmp_path / "seeds", resume=True, quiet=True)
    assert [summary.seed for summary in done] == [0, 3]


@pytest.mark.usefixtures("in_numpy")
def test_a_replacement_is_trained_together_and_leaves_nothing_of_before(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_seeds(config, [0, 1], tmp_path / "seeds", quiet=True)
    again = replace(config, batch_size=10)
    with monkeypatch.context() as patch:
        interrupted = Mock(side_effect=KeyboardInterrupt)
        patch.setattr(sys.modules["shared.training.train"], "take_steps", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train_seeds(again, [0, 1], tmp_path / "seeds", overwrite=True, quiet=True)
    assert {run.name for run in run_folders([tmp_path / "seeds"])} == {"seed-0", "seed-1"}
    for seed in (0, 1):
        assert not (seed_folder(tmp_path / "seeds", seed) / "summary.json").exists()
    assert read_shared_config(tmp_path / "seeds").batch_size == 10
    train_seeds(again, [0, 1], tmp_path / "seeds", resume=True, quiet=True)
    summaries = train_seeds(again, [0, 1], tmp_path / "seeds", overwrite=True, quiet=True)
    assert all("2 seeds in one program" in summary.path for summary in summaries)


def test_runs_of_other_settings_are_contenders_of_their_own(config: Config, tmp_path: Path) -> None:
    config = replace(config, backend="torch")
    train_seeds(config, [0, 1], tmp_path / "seeds", quiet=True)
    shutil.rmtree(seed_folder(tmp_path / "seeds", 1))
    train(replace(config, batch_size=5, seed=1), seed_folder(tmp_path / "seeds", 1), quiet=True)
    assert [len(side.runs) for side in contenders(read_runs(tmp_path / "seeds"))] == [1, 1]
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


@pytest.mark.usefixtures("in_numpy")
def test_a_folder_keeps_its_seeds(config: Config, tmp_path: Path) -> None:
    train_seeds(config, [0, 1], tmp_path / "seeds", quiet=True)
    for other in ([0], [7], [0, 1, 2]):
        with pytest.raises(InvalidInput, match=r"expected its own seeds 0 1, got .*; other seeds"):
            train_seeds(config, other, tmp_path / "seeds", resume=True, quiet=True)
    assert read_seeds(tmp_path / "seeds") == [0, 1]
    with pytest.raises(InvalidInput, match=r"expected a folder of several seeds, with a"):
        train_seeds(config, [0], tmp_path / "seeds" / "seed-0", resume=True, quiet=True)


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


# On the command line ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "expected"),
    [(["0..4"], [0, 1, 2, 3, 4]), (["3", "1"], [3, 1]), (["7..7", "1..2"], [7, 1, 2])],
)
def test_seeds_are_numbers_or_ranges(words: list[str], expected: list[int]) -> None:
    assert parse_seeds(words) == expected


@pytest.mark.parametrize(
    "words", [["0..2", "1"], ["2..0"], ["-1"], ["0.."], ["one"], [""], ["0..99999"], ["1,2"], []]
)
def test_other_seeds_are_refused(words: list[str]) -> None:
    with pytest.raises(InvalidInput, match="--seeds: expected"):
        parse_seeds(words)


@pytest.mark.draws
def test_a_run_of_several_seeds(call: Callable, tmp_path: Path) -> None:
    options = ["--backend", "torch", "--task", "last-value", *SMALL, "--out", "runs"]
    ran = call("run.py", *options, "--seeds", "0..1", "4")
    assert ran.returncode == 0, ran.stderr
    assert read_seeds(tmp_path / "runs") == [0, 1, 4]
    assert (tmp_path / "runs" / "curves.png").stat().st_size > 5000
    assert "mean ± standard deviation of 3 seeds: loss " in ran.stdout
    assert ran.stdout.count("baseline ") == 1
    assert [line[:6] for line in ran.stdout.splitlines() if line.startswith("seed")][-3:] == [
        "seed 0", "seed 1", "seed 4",
    ]  # fmt: skip
    again = call("run.py", *options, "--seeds", "0..1", "4")
    check_refused(again, "run.py: --out runs: holds other runs; continue them with --resume runs")
    longer = call("run.py", "--resume", "runs", "--epochs", "4")
    assert longer.returncode == 0, longer.stderr
    assert {run.config.epochs for run in read_runs(tmp_path / "runs")} == {4}
    fewer = call("run.py", *options, "--seeds", "1", "2", "--overwrite")
    assert fewer.returncode == 0, fewer.stderr
    names = {file.name for file in (tmp_path / "runs").iterdir()}
    assert names == {"seeds.json", "curves.png", "seed-1", "seed-2"}
    remove_runs(tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_what_seeds_do_not_go_with(call: Callable, tmp_path: Path) -> None:
    options = ["--backend", "torch", "--task", "last-value", *SMALL]
    check_refused(
        call("run.py", *options, "--seed", "1", "--seeds", "1"), "expected one of the two"
    )
    check_refused(call("run.py", *options, "--seeds", "a"), "--seeds: expected numbers", "got a")
    check_refused(call("run.py", *options, "--seeds"), "--seeds")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").touch()
    there = call("run.py", *options, "--seeds", "0..1", "--out", "other", "--overwrite")
    check_refused(there, "--out other: expected a new or empty folder")
    bad = call("run.py", *options, "--seeds", "0..1", "--out", "new", "--log-every", "100")
    check_refused(bad, "--log-every: expected at most")
    assert not (tmp_path / "new").exists()
    assert call("run.py", *options, "--seeds", "0..1", "--out", "runs").returncode == 0
    check_refused(call("run.py", "--resume", "runs", "--seeds", "5"), "expected no --seeds")
    single = call("run.py", *options, "--out", "runs", "--overwrite")
    check_refused(single, "--out runs: expected a new or empty folder")
    stored = json.loads((tmp_path / "runs" / "seeds.json").read_text())
    (tmp_path / "runs" / "seeds.json").write_text(json.dumps(stored | {"seeds": [0, 7]}))
    check_refused(call("run.py", "--resume", "runs"), "seeds.json")


def test_a_comparison_of_several_seeds(tmp_path: Path) -> None:
    options = ["--task", "last-value", *SMALL, "--contenders", "torch/handcrafted", "torch/native"]
    ran = script("compare.py", *options, "--seeds", "0..1", "--out", "report", cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    report = (tmp_path / "report" / "report.md").read_text()
    assert "Mean ± standard deviation over the seeds 0, 1." in report
    assert "| torch native | " in report
    assert "±" in next(line for line in report.splitlines() if line.startswith("| torch native"))
    # What is done stays, other seeds are refused, one seed takes the place of several.
    (tmp_path / "report" / "report.html").unlink()
    for name in ("report.md", "curves.png", "deviations.png"):
        (tmp_path / "report" / name).unlink()
    for extra in (tmp_path / "report").glob("*.png"):
        extra.unlink()
    others = script("compare.py", *options, "--seeds", "0..2", "--out", "report", cwd=tmp_path)
    check_refused(others, "expected runs from the seeds 0 1 2, got 0 1; move it away")
    again = script("compare.py", *options, "--seeds", "0..1", "--out", "report", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("(done)") == 2
    folders = [
        str(tmp_path / "report" / "runs" / f"torch-{n}-seeds") for n in ("handcrafted", "native")
    ]
    compared = script("compare.py", *folders, "--out", "again", cwd=tmp_path)
    assert compared.returncode == 0, compared.stderr
    assert "2 seeds each" in (tmp_path / "again" / "report.html").read_text()
    single = script("compare.py", *options, "--out", "report", "--overwrite", cwd=tmp_path)
    assert single.returncode == 0, single.stderr
    names = {file.name for file in (tmp_path / "report" / "runs").iterdir()}
    assert names == {"torch-handcrafted", "torch-native"}
    assert not are_in(tmp_path / "report" / "runs" / "torch-native")
