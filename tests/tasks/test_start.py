"""A run with a linear highway begins at least squares on the training part."""

from dataclasses import replace

import numpy as np
import pytest

from shared.config import Config, resolve
from shared.config.settings import NetworkConfig
from shared.errors import InvalidInput
from shared.protocol.backend import first_snapshot
from shared.protocol.dataset import Signature, Split
from shared.tasks import regression, start
from shared.tasks.fits import check_fits
from shared.tasks.start import first_position
from shared.tasks.task import Task

ROWS, TIME, INPUTS, OUTPUTS = 300, 5, 2, 3


def task_of(inputs: np.ndarray, targets: np.ndarray) -> Task:
    signature = Signature(INPUTS, OUTPUTS, tokens=False, per_step=False, loss="mse")
    split = Split(inputs, targets)
    return Task("made", signature, split, split, split)


def config_of(highway: int) -> Config:
    network = NetworkConfig(hidden_size=4, highway=highway)
    return resolve(Config(network=network, precision="float64", seed=3))


def linear() -> tuple[Task, np.ndarray, np.ndarray]:
    """A task whose targets are linear in the last three steps; its coefficients and constants."""
    draw = np.random.default_rng(0)
    inputs = draw.normal(1.0, 2.0, (ROWS, TIME, INPUTS))
    weights, constants = draw.normal(size=(OUTPUTS, 3 * INPUTS)), draw.normal(size=OUTPUTS)
    targets = inputs[:, -3:].reshape(ROWS, -1) @ weights.T + constants
    return task_of(inputs, targets), weights, constants


def test_the_highway_starts_where_least_squares_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(start, "RIDGE", 0.0)
    task, weights, constants = linear()
    found = first_position(config_of(3), task).weights
    np.testing.assert_allclose(found["highway.weight"], weights, rtol=1e-9)
    np.testing.assert_allclose(found["head.bias"], constants, rtol=1e-9)


def test_the_ridge_is_that_of_its_formula() -> None:
    task, _, _ = linear()
    found = first_position(config_of(3), task).weights
    inputs, targets = np.asarray(task.train.inputs), np.asarray(task.train.targets)
    x = np.column_stack([np.ones(ROWS), inputs[:, -3:].reshape(ROWS, -1)])
    penalty = start.RIDGE * ROWS * np.eye(x.shape[1])
    penalty[0, 0] = 0
    expected = np.linalg.inv(x.T @ x + penalty) @ x.T @ targets
    np.testing.assert_allclose(found["highway.weight"], expected[1:].T, rtol=1e-9)
    np.testing.assert_allclose(found["head.bias"], expected[0], rtol=1e-9)


def test_it_is_fitted_to_evenly_spaced_sequences_where_there_are_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(regression, "MOST", 50)
    monkeypatch.setattr(regression, "CHUNK", 7)
    task, _, _ = linear()
    found = first_position(config_of(3), task).weights["highway.weight"]
    rows = np.linspace(0, ROWS - 1, 50).round().astype(int)
    monkeypatch.setattr(regression, "MOST", 10**6)
    inputs, targets = np.asarray(task.train.inputs), np.asarray(task.train.targets)
    alone = first_position(config_of(3), task_of(inputs[rows], targets[rows])).weights
    np.testing.assert_allclose(found, alone["highway.weight"], rtol=1e-9)


def test_a_highway_over_very_many_numbers_starts_as_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regression, "LARGEST", 5)
    task, _, _ = linear()
    config = config_of(3)
    found, drawn = first_position(config, task), first_snapshot(config, task.signature)
    for name, array in drawn.weights.items():
        np.testing.assert_array_equal(found.weights[name], array)


def test_the_rest_is_drawn_from_the_seed_with_a_small_head() -> None:
    task, _, _ = linear()
    config = config_of(3)
    found, drawn = first_position(config, task), first_snapshot(config, task.signature)
    np.testing.assert_allclose(found.weights["head.weight"], 0.1 * drawn.weights["head.weight"])
    assert abs(found.weights["head.weight"]).min() > 0
    np.testing.assert_array_equal(
        found.weights["rnn.weight_hh_l0"], drawn.weights["rnn.weight_hh_l0"]
    )
    without = first_position(config_of(0), task)
    assert [*without.weights] == [*drawn.weights][:-1]


def test_a_highway_needs_a_window_of_numbers_that_is_as_long() -> None:
    task, _, _ = linear()
    with pytest.raises(
        InvalidInput, match=r"^--highway: expected at most a sequence's 5 steps, go"
    ):
        check_fits(config_of(6), task)
    classes = task.signature._replace(loss="cross_entropy")
    with pytest.raises(InvalidInput, match="--highway 2 needs sequences of numbers, of one length"):
        check_fits(config_of(2), replace(task, signature=classes))
    ragged = task.train._replace(lengths=np.full(ROWS, 4, np.int32))
    with pytest.raises(InvalidInput, match="--highway 2 needs sequences of numbers, of one length"):
        check_fits(config_of(2), replace(task, train=ragged))
