"""The linear highway: what it adds to the network's output, and how its gradient is summed."""

from dataclasses import replace

import numpy as np
import pytest

from shared.config import Config, resolve
from shared.config.settings import Cell, NetworkConfig
from shared.protocol import Batch, Snapshot, load_backend
from shared.protocol.dataset import Signature
from shared.protocol.weights import initialize, network_shapes
from tests.support.compare_arrays import check_close

ROWS, TIME, INPUTS, OUTPUTS, HIDDEN = 5, 6, 2, 3, 4
SIGNATURE = Signature(INPUTS, OUTPUTS, tokens=False, per_step=False, loss="mse")
CONTENDERS = ["jax/handcrafted", "torch/handcrafted", "jax/native", "torch/native"]


def config_of(contender: str, cell: Cell, highway: int, bidirectional: bool = False) -> Config:
    backend, _, implementation = contender.partition("/")
    network = NetworkConfig(cell, hidden_size=HIDDEN, highway=highway, bidirectional=bidirectional)
    config = Config(backend="jax", network=network, precision="float64")
    return resolve(replace(config, backend=backend, implementation=implementation))


def numbers(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).uniform(-1, 1, shape)


@pytest.mark.parametrize("contender", CONTENDERS)
@pytest.mark.parametrize(("steps", "bidirectional"), [(1, False), (4, True), (TIME, False)])
def test_it_adds_a_linear_function_of_the_last_steps(
    contender: str, steps: int, bidirectional: bool
) -> None:
    inputs = numbers(ROWS, TIME, INPUTS)
    found = {}
    for highway in (0, steps):
        config = config_of(contender, "lstm", highway, bidirectional)
        weights = initialize(config.network, INPUTS, OUTPUTS, 3, "float64")
        backend = load_backend(config, SIGNATURE)
        found[highway], _ = backend.predict(backend.init(Snapshot.of(weights)), inputs)
    recent = inputs[:, TIME - steps :].reshape(ROWS, -1)
    check_close(
        found[steps] - found[0],
        recent @ weights["highway.weight"].T,
        what="what the highway adds",
        relative=1e-10,
    )


@pytest.mark.parametrize("contender", CONTENDERS[:2])
def test_its_gradient_is_the_error_times_what_it_reads(contender: str) -> None:
    """d/dW of mean((y - t)²) is 2 (y - t)ᵀ x / (B·O); the sequences with a weight of 0 are not in
    it."""
    config = config_of(contender, "gru", 4)
    weights = initialize(config.network, INPUTS, OUTPUTS, 3, "float64")
    backend = load_backend(config, SIGNATURE)
    inputs, targets = numbers(1, ROWS, TIME, INPUTS), numbers(1, ROWS, OUTPUTS)
    counts = np.array([[1.0, 0.5, 0.0, 1.0, 2.0]])
    batch = Batch(inputs, targets, counts, np.array([True]), None)
    state = backend.init(Snapshot.of(weights))
    predicted, _ = backend.predict(state, inputs[0])
    _, seen = backend.trace(state, batch, np.array([0.1]))
    off = (predicted - targets[0]) * counts[0][:, None] * 2 / OUTPUTS / counts.sum()
    expected = off.T @ inputs[0, :, -4:].reshape(ROWS, -1)
    check_close(seen["gradients/highway.weight"][0], expected, what="its gradient", relative=1e-10)


def test_its_weights_are_the_last_of_a_network_and_leave_the_others_as_drawn() -> None:
    """So that a run with and one without it begin with the same recurrent weights."""
    plain, beside = (NetworkConfig(hidden_size=HIDDEN, highway=steps) for steps in (0, 5))
    shapes = network_shapes(beside, INPUTS, OUTPUTS)
    assert [*shapes][-1] == "highway.weight"
    assert shapes["highway.weight"] == (OUTPUTS, 5 * INPUTS)
    first, second = (initialize(one, INPUTS, OUTPUTS, 0, "float64") for one in (plain, beside))
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name], err_msg=name)
    assert abs(second["highway.weight"]).max() <= 1 / np.sqrt(5 * INPUTS)
