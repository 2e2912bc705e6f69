"""A run that is stopped and goes on in the same framework writes the same bits.

Where a run may stop: after each call of the backend, at evaluations, and with a checkpoint of its
own. What counts is every byte of metrics.jsonl and of the last checkpoint's tensors.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

import rnn_jax.backend
import rnn_torch.backend
from shared.config import Config
from shared.config.data import GeneratedData, TextData
from shared.config.settings import NetworkConfig, OptimizationConfig
from shared.runs import checkpoint
from shared.runs.history import METRICS
from shared.runs.run_folder import read_config
from shared.system.signals import Interrupted, Interruption
from shared.tasks import TASKS
from shared.training import train
from tests.support.fault_points import check_same_checkpoints
from tests.support.pairwise import few_by_default

BACKENDS = {"jax": rnn_jax.backend.Backend, "torch": rnn_torch.backend.Backend}
KINDS = [(backend, kind) for backend in BACKENDS for kind in ("handcrafted", "native")]


def ragged(**changes) -> Config:
    """27 examples in shuffled batches of 8, with dropout between two layers; 4 steps an epoch."""
    config = replace(
        TASKS["last-value"].defaults,
        network=NetworkConfig(cell="lstm", hidden_size=4, num_layers=2, dropout=0.3),
        data=GeneratedData(27, 8, 9, sequence_length=6, input_size=3),
        epochs=6,
        eval_every=3,
        batch_size=8,
        optimization=OptimizationConfig(learning_rate=0.05, clip_norm=0.5),
    )
    return replace(config, **changes)


def text(folder: Path, **changes) -> Config:
    """4 streams in windows of 7 steps, the state carried on; 18 steps an epoch."""
    (folder / "book.txt").write_text("a text that someone goes on reading later; " * 15)
    config = replace(
        TASKS["text"].defaults,
        network=NetworkConfig(cell="gru", hidden_size=5),
        data=TextData(path=str(folder / "book.txt"), split=(0.8, 0.1, 0.1)),
        epochs=2,
        batch_size=4,
        bptt=7,
        optimization=OptimizationConfig(optimizer="rmsprop", learning_rate=0.01, momentum=0.5),
    )
    return replace(config, **changes)


@contextmanager
def few_steps_a_call(most: int = 3) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("shared.protocol.batching.CHUNK_STEPS", most)
        yield


@contextmanager
def interrupted(backend: str, calls: int) -> Iterator[None]:
    """A signal comes while a run inside takes its call number `calls`."""
    kind = BACKENDS[backend]
    advance = kind.advance
    taken = []
    received = Interruption

    class Noted(received):
        def __enter__(self):
            noted.append(self)
            return self

        def __exit__(self, *_: object) -> None:
            pass

    noted: list[Noted] = []

    def counting(self, state, batch, rates):
        taken.append(len(rates))
        if len(taken) == calls:
            noted[0].received = 15
        return advance(self, state, batch, rates)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys.modules["shared.training.train"], "Interruption", Noted)
        patch.setattr(kind, "advance", counting)
        with pytest.raises(Interrupted):
            yield


def check_same(run: Path, whole: Path) -> None:
    """Raises unless both have the same bytes; that of the signal may be one checkpoint more."""
    mine, theirs = ((folder / METRICS).read_bytes() for folder in (run, whole))
    assert mine == theirs
    check_same_checkpoints(run, whole)


@pytest.mark.parametrize(
    ("backend", "implementation", "calls"),
    few_by_default([(*kind, calls) for kind in KINDS for calls in (1, 3, 6)]),
)
def test_ragged_batches_with_dropout(
    backend: str, implementation: str, calls: int, tmp_path: Path
) -> None:
    """Calls of 3 steps of 12 between two evaluations: also in the middle of an epoch."""
    config = ragged(backend=backend, implementation=implementation)
    with few_steps_a_call():
        train(config, tmp_path / "whole", quiet=True)
        with interrupted(backend, calls):
            train(config, tmp_path / "run", quiet=True)
        assert checkpoint.steps(tmp_path / "run")[-1] == 3 * calls
        train(config, tmp_path / "run", resume=True, quiet=True)
    check_same(tmp_path / "run", tmp_path / "whole")


@pytest.mark.parametrize(
    ("backend", "implementation", "calls"),
    few_by_default([(*kind, calls) for kind in KINDS for calls in (2, 9)]),
)
def test_windows_of_a_text(backend: str, implementation: str, calls: int, tmp_path: Path) -> None:
    config = text(tmp_path, backend=backend, implementation=implementation, checkpoint_every="5")
    with few_steps_a_call():
        train(config, tmp_path / "whole", quiet=True)
        with interrupted(backend, calls):
            train(config, tmp_path / "run", quiet=True)
        train(config, tmp_path / "run", resume=True, quiet=True)
    check_same(tmp_path / "run", tmp_path / "whole")


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_time_between_checkpoints_changes_no_bit(backend: str, tmp_path: Path) -> None:
    """One that passes during each call."""
    config = ragged(backend=backend)
    with few_steps_a_call():
        train(config, tmp_path / "whole", quiet=True)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("shared.config.interval.UNITS", {"s": 0.0})
            often = replace(config, checkpoint_every="1s", keep_checkpoints=9)
            train(often, tmp_path / "often", quiet=True)
    assert checkpoint.steps(tmp_path / "often") == [3, 6, 9, 12, 15, 18, 21, 24]
    assert checkpoint.steps(tmp_path / "whole") == [12, 24]
    mine, theirs = ((tmp_path / name / METRICS).read_bytes() for name in ("often", "whole"))
    assert mine == theirs


def test_it_goes_on_from_each_checkpoint_that_is_left(tmp_path: Path) -> None:
    """As it does when those after it are removed, because they are damaged."""
    config = ragged(backend="torch", checkpoint_every="2", keep_checkpoints=99)
    train(config, tmp_path / "whole", quiet=True)
    steps = checkpoint.steps(tmp_path / "whole")
    assert steps == [*range(2, 25, 2)]
    for step in reversed(steps[:-1]):
        run = tmp_path / "whole"
        before = (run / METRICS).read_bytes()
        (run / "summary.json").unlink()
        for later in steps:
            if later > step:
                checkpoint.path(run, later).unlink()
        train(read_config(run / "config.json"), run, resume=True, quiet=True)
        assert (run / METRICS).read_bytes() == before, step
        assert checkpoint.steps(run) == steps
