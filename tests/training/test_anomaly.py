"""A number that is not finite ends a run where it arises, by name; the last checkpoint stays."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rnn_jax.backend
import rnn_torch.backend
from shared.config import Config, resolve
from shared.config.data import GeneratedData
from shared.config.settings import NetworkConfig, OptimizationConfig
from shared.errors import TrainingDiverged
from shared.protocol import Snapshot
from shared.protocol.backend import Evaluation, Metrics
from shared.protocol.schedule import learning_rates
from shared.protocol.weights import initialize
from shared.runs import checkpoint, history
from shared.runs.run_folder import read_config
from shared.tasks import TASKS, load_task
from shared.tasks.batches import training_batches
from shared.training import anomaly, train
from shared.training.anomaly import Anomaly, first_anomaly
from tests.support.compare_arrays import check_close
from tests.support.take_steps import RUN

BACKENDS = {"jax": rnn_jax.backend.Backend, "torch": rnn_torch.backend.Backend}
KINDS = [(backend, kind) for backend in BACKENDS for kind in ("handcrafted", "native")]


def small(**changes) -> Config:
    config = replace(
        TASKS["last-value"].defaults,
        network=NetworkConfig(hidden_size=5, nonlinearity="relu"),
        data=GeneratedData(40, 8, 9, sequence_length=6, input_size=3),
        epochs=4,
        batch_size=8,
        precision="float64",
    )
    return replace(config, **changes)


EXPLODING = OptimizationConfig(optimizer="sgd", learning_rate=1e25)
"""In float32, activations overflow in the second step."""


def diverged(config: Config, folder: Path, **options: Any) -> str:
    with pytest.raises(TrainingDiverged) as stop:
        train(config, folder, quiet=True, **options)
    return str(stop.value)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_run_that_explodes_names_step_rate_and_norm(backend: str, tmp_path: Path) -> None:
    config = small(backend=backend, precision="float32", optimization=EXPLODING)
    said = diverged(config, tmp_path / "run")
    assert said.startswith("the training loss is nan and the norm of the gradient of ")
    assert " is nan at step 2 (epoch 1, learning rate 1e+25, gradient norm nan)" in said
    assert "no checkpoint was due yet" in said
    assert said.endswith(f"--resume {tmp_path / 'run'} --detect-anomaly finds where it begins")
    lines = (tmp_path / "run" / history.METRICS).read_text().splitlines()
    assert len(lines) == 1, "of step 1"


@pytest.mark.parametrize(("backend", "implementation"), KINDS)
def test_where_it_begins_is_found(backend: str, implementation: str, tmp_path: Path) -> None:
    """As the message says: by resuming the run."""
    config = small(
        backend=backend, implementation=implementation, precision="float32", optimization=EXPLODING
    )
    diverged(config, tmp_path / "run")
    config = replace(read_config(tmp_path / "run" / "config.json"), detect_anomaly=True)
    said = diverged(config, tmp_path / "run", resume=True)
    assert said.startswith("layers/0.outputs[")
    assert "] is inf, the first number that is not finite (phase layers, one of " in said
    assert "at step 2 (epoch 1, learning rate 1e+25, gradient norm " in said
    assert "--detect-anomaly" not in said


def broken(monkeypatch, backend: str, step: int, change: Callable[[Metrics], Metrics]) -> None:
    """From a step on, a backend's metrics are changed."""
    kind = BACKENDS[backend]
    advance, taken = kind.advance, []

    def changed(self, states, batches, rates):
        states, (metrics,) = advance(self, states, batches, rates)
        before = sum(taken)
        taken.append(len(rates))
        loss, metric, norms = (np.asarray(values).copy() for values in metrics)
        if before < step <= before + len(rates):
            metrics = change(Metrics(loss[step - before - 1 :], metric, norms[step - before - 1 :]))
            loss[step - before - 1 :], norms[step - before - 1 :] = metrics.loss, metrics.norms
        return states, [Metrics(loss, metric, norms)]

    monkeypatch.setattr(kind, "advance", changed)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_gradient_that_is_not_finite_is_named_though_the_loss_is(
    backend: str, value: float, tmp_path: Path, monkeypatch
) -> None:
    def change(metrics: Metrics) -> Metrics:
        norms = metrics.norms
        norms[:, 2] = value
        return metrics._replace(norms=norms)

    broken(monkeypatch, backend, 13, change)
    config = small(backend=backend)
    said = diverged(config, tmp_path / "run")
    name = BACKENDS[backend](resolve(config), load_task(config).signature).parameters[2]
    assert said.startswith(f"the norm of the gradient of {name} is {value} at step 13 (epoch 3, ")
    last = checkpoint.path(tmp_path / "run", 10)
    assert f"the last good checkpoint is {last}" in said
    checkpoint.read(last)
    assert checkpoint.steps(tmp_path / "run") == [5, 10]
    lines = (tmp_path / "run" / history.METRICS).read_text().splitlines()
    assert len(lines) == 12 + 2, "12 steps and 2 evaluations"


def test_a_loss_that_is_not_finite_is_named(tmp_path: Path, monkeypatch) -> None:
    broken(
        monkeypatch, "torch", 7,
        lambda metrics: metrics._replace(loss=np.full_like(metrics.loss, np.inf)),
    )  # fmt: skip
    said = diverged(small(backend="torch"), tmp_path / "run")
    assert said.startswith("the training loss is inf at step 7 (epoch 2, learning rate 0.001, ")


@pytest.mark.parametrize(("backend", "implementation"), KINDS)
def test_norms_are_those_of_the_gradients(backend: str, implementation: str) -> None:
    """Of each parameter, before clipping, as a trace has them."""
    config = small(
        backend=backend, implementation=implementation,
        optimization=OptimizationConfig(optimizer="sgd", learning_rate=0.1, clip_norm=0.01),
    )  # fmt: skip
    config = resolve(config)
    task = load_task(config)
    batches = training_batches(config, task)
    made = BACKENDS[backend](config, task.signature)
    signature = task.signature
    weights = initialize(
        config.network, signature.input_size, signature.output_size, 0, config.precision
    )
    batch = batches.take(0, 4)
    rates = learning_rates(config.optimization, 0, 4, batches.per_epoch, 20)
    _, (metrics,) = made.advance([made.init(Snapshot.of(weights))], [batch], rates)
    assert np.asarray(metrics.norms).shape == (4, len(made.parameters))
    _, trace = made.trace(made.init(Snapshot.of(weights)), batch, rates)
    _, stepwise, found = anomaly.advance(made, made.init(Snapshot.of(weights)), batch, rates)
    assert found is None
    total = np.sqrt(np.square(np.asarray(metrics.norms)).sum(axis=1))
    check_close(total, trace["norm/norm"], relative=RUN, what="norm")
    for mine, theirs in zip(metrics, stepwise, strict=True):
        if mine.ndim == 1 or implementation == "handcrafted":
            check_close(np.asarray(mine), theirs, relative=RUN, what="metrics")
    if implementation == "handcrafted":
        for i, name in enumerate(made.parameters):
            expected = np.sqrt(np.square(trace[f"gradients/{name}"]).reshape(4, -1).sum(axis=1))
            check_close(np.asarray(metrics.norms)[:, i], expected, relative=RUN, what=name)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_run_in_which_nothing_goes_wrong_is_the_same(backend: str, tmp_path: Path) -> None:
    config = small(backend=backend)
    plain = train(config, tmp_path / "plain", quiet=True)
    looked = train(replace(config, detect_anomaly=True), tmp_path / "looked", quiet=True)
    assert plain.train.keys() == looked.train.keys()
    for name in plain.train:
        check_close(
            np.array(plain.train[name]), np.array(looked.train[name]), relative=RUN, what=name
        )


def test_the_first_in_the_order_of_a_step_is_found() -> None:
    trace = {
        "inputs/lengths": np.array([3, 4]),
        "before/w": np.ones(2),
        "layers/0.outputs": np.array([[1.0, 2.0], [-np.inf, np.nan]]),
        "loss/loss": np.array(np.nan),
    }
    found = first_anomaly(trace)
    assert found == Anomaly("layers/0.outputs", (1, 0), -np.inf, 2)
    first = "the first number that is not finite (phase"
    assert str(found) == f"layers/0.outputs[1, 0] is -inf, {first} layers, one of 2 in it),"
    del trace["layers/0.outputs"]
    found = first_anomaly(trace)
    assert str(found) == f"loss/loss is nan, {first} loss),"
    del trace["loss/loss"]
    assert first_anomaly(trace) is None


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_update_that_overflows_is_caught_before_it_is_saved(
    backend: str, tmp_path: Path
) -> None:
    """The last step's weights are in no loss yet."""
    config = small(
        backend=backend, precision="float32", epochs=1, batch_size=40,
        optimization=OptimizationConfig(optimizer="sgd", learning_rate=1e29, weight_decay=1e29),
    )  # fmt: skip
    said = diverged(config, tmp_path / "run")
    assert re.match(r"weights/\S+ is no longer finite at step 1 \(epoch 1, ", said), said
    assert not checkpoint.steps(tmp_path / "run")


def test_squares_that_overflow_are_told_from_gradients_that_do() -> None:
    trace = {"gradients/w": np.full(3, 1e30), "norm/norm": np.array(np.inf)}
    said = "(phase norm, the gradients are finite but not the sum of their squares)"
    assert said in str(first_anomaly(trace))


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_validation_loss_that_is_not_finite_has_no_advice(
    backend: str, tmp_path: Path, monkeypatch
) -> None:
    """A look at the training step would find nothing."""
    monkeypatch.setattr(
        BACKENDS[backend], "evaluate", lambda *_: Evaluation(loss=np.nan, metric=0.5)
    )
    said = diverged(small(backend=backend), tmp_path / "run")
    assert said.startswith("the validation loss is nan at step 5 (epoch 1, learning rate 0.001);")
    assert "--detect-anomaly" not in said
