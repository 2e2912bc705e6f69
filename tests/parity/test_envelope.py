"""The envelope of float32 runs: what rounding alone does, and what is more than that."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from shared.config import Config, resolve
from shared.config.data import HelloData
from shared.config.settings import NetworkConfig, OptimizationConfig
from shared.parity.deviation import SMALLEST_LOSS
from shared.parity.envelope import ROUNDED, Envelope, measure, moved
from shared.parity.lockstep import Side, side
from shared.protocol import Snapshot
from shared.tasks import TASKS, load_task

STEPS = 16

# Moved weights ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_weight_moves_by_one_number_up_or_down(dtype: str) -> None:
    rng = np.random.default_rng(3)
    weights = {
        "rnn.weight_ih_l0": rng.standard_normal((20, 5)).astype(dtype),
        "head.bias": np.array([1.0, -1.0, 0.5, -2.0, 3.0, 1e-30, -1e30], dtype),
    }
    kept = {name: array.copy() for name, array in weights.items()}
    start = Snapshot(weights, {"exp_avg.head.bias": np.ones(7, dtype)}, (np.ones(2, dtype),), 5)
    other = moved(start, np.random.default_rng(0))
    assert other.weights.keys() == weights.keys()
    for name, array in other.weights.items():
        assert array.dtype == dtype
        assert array.shape == weights[name].shape
        up = np.nextafter(weights[name], weights[name].dtype.type(np.inf))
        down = np.nextafter(weights[name], weights[name].dtype.type(-np.inf))
        assert ((array == up) | (array == down)).all(), name
        assert (array != weights[name]).all(), name
        np.testing.assert_array_equal(weights[name], kept[name])  # moved in a copy
    directions = other.weights["rnn.weight_ih_l0"] > weights["rnn.weight_ih_l0"]
    assert 30 < directions.sum() < 70  # of 100, both ways
    assert other._replace(weights={}) == start._replace(weights={})


def test_the_generator_alone_decides_the_directions() -> None:
    start = Snapshot.of({"a": np.ones(50, np.float32)})
    first, again, other = (moved(start, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.weights["a"], again.weights["a"])
    assert (first.weights["a"] != other.weights["a"]).any()


# What is inside -----------------------------------------------------------------------------------


def test_the_edge_is_the_largest_spread_so_far_of_either_side() -> None:
    jax, torch = np.array([1e-7, 3e-6, 1e-6, 1e-6]), np.array([1e-7, 1e-6, 2e-6, 5e-6])
    envelope = Envelope(np.array([1e-8, 3e-6, 3.1e-6, 4e-6]), {"jax": jax, "torch": torch}, 4)
    np.testing.assert_array_equal(envelope.edge, [ROUNDED, 3e-6, 3e-6, 5e-6])
    np.testing.assert_array_equal(envelope.inside, [True, True, False, True])
    assert envelope.sentence == (
        "inside the envelope of 4 runs a side at 3 of 4 steps, past its edge by at most 3 %, "
        "at step 3 (over the run: at most 4.0e-06, the envelope 5.0e-06)"
    )
    assert ROUNDED == 2 * 2.0**-23


def test_the_sentence_names_the_step_that_is_furthest_beyond() -> None:
    """Beyond by its ratio to the edge: the deviation at step 4 is larger, and so is the edge."""
    spread = {"jax": np.array([1e-6, 1e-6, 1e-6, 1e-3])}
    outside = Envelope(np.array([1e-6, 2e-6, 5e-6, 4e-3]), spread, 2)
    assert "at 1 of 4 steps, past its edge by at most 400 %, at step 3 " in outside.sentence
    nearly = Envelope(np.array([1e-6, 1.004e-6, 1e-6, 1e-3]), spread, 2)
    assert "at 3 of 4 steps, past its edge by less than 1 %, at step 2 " in nearly.sentence
    inside = Envelope(np.array([1e-6, 1e-6, 1e-6, 1e-3]), spread, 2)
    assert inside.sentence == (
        "inside the envelope of 2 runs a side at every step (over the run: at most 1.0e-03, "
        "the envelope 1.0e-03)"
    )


def test_a_loss_that_is_no_number_is_never_inside() -> None:
    good, bad = np.array([1e-6, 1e-6]), np.array([1e-6, np.nan])
    for cross, spread in ((bad, good), (good, bad), (bad, bad)):
        envelope = Envelope(cross, {"jax": good, "torch": spread}, 2)
        np.testing.assert_array_equal(envelope.inside, [True, False])
        assert "at 1 of 2 steps" in envelope.sentence


# Measured -----------------------------------------------------------------------------------------


class Scripted:
    """A backend whose loss is that of a script, and which says with which weights it was asked."""

    def __init__(self, losses: list[float]):
        self.losses = losses
        self.asked: list[tuple[int, float]] = []

    def init(self, snapshot: Snapshot) -> Snapshot:
        return snapshot

    def advance(
        self, states: list[Snapshot], batches: list[Any], rates: np.ndarray
    ) -> tuple[list[Snapshot], list[Any]]:
        (state,) = states
        weight = float(state.weights["w"][0])
        self.asked.append((state.step, weight))
        count = len(rates)
        # Moved up or down, a weight near 1 adds or takes 1 ULP of it.
        losses = np.array(self.losses[state.step : state.step + count]) + (weight - 1)
        after = Snapshot({"w": np.ones(1, np.float32)}, {}, (), state.step + count)
        return [after], [type("Metrics", (), {"loss": losses})]

    def export(self, state: Snapshot) -> Snapshot:
        return state


class Steps:
    """Batches of nothing, five to a call."""

    chunk, per_epoch = 5, 3

    def take(self, start: int, count: int) -> tuple[int, int]:
        return start, count

    def alike(self, start: int, most: int) -> int:
        return most


def scripted(name: str, losses: list[float]) -> tuple[Side, Scripted]:
    backend: Any = Scripted(losses)
    batches: Any = Steps()
    return Side(name, backend, batches, Snapshot.of({"w": np.ones(1, np.float32)})), backend


def test_runs_are_moved_before_every_step_and_compared_as_they_are() -> None:
    plain = [4.0, 2.0, 1.0, 0.5, 0.25, 0.0, 0.25]
    (first, jax), (second, torch) = scripted("jax", plain), scripted("torch", [*plain[:-1], 0.5])
    config = resolve(TASKS["hello"].defaults)
    envelope = measure(config, first, second, 7, others=3)
    assert envelope.runs == 4
    np.testing.assert_array_equal(envelope.cross, [0, 0, 0, 0, 0, 0, 0.5])
    assert list(envelope.spread) == ["jax", "torch"]
    for backend in (jax, torch):
        # As they are in two calls of up to five steps, then three times step by step.
        assert backend.asked[:2] == [(0, 1.0), (5, 1.0)]
        assert [step for step, _ in backend.asked[2:]] == [*range(7)] * 3
        up, down = 1 + 2.0**-23, 1 - 2.0**-24
        assert {weight for _, weight in backend.asked[2:]} == {up, down}
    for name, losses in (("jax", plain), ("torch", [*plain[:-1], 0.5])):
        spread = envelope.spread[name]
        for step, loss in enumerate(losses):
            # Among the plain run and three moved ones some went up, some down, or both.
            possible = [2.0**-23, 2.0**-24, 2.0**-23 + 2.0**-24]
            scale = [max(loss + move, SMALLEST_LOSS) for move in (2.0**-23, 0, 2.0**-23)]
            near = np.isclose(spread[step], np.array(possible) / scale, rtol=1e-5)
            assert near.any(), (name, step)
    # Both sides are moved alike, so that they have seen the same.
    assert jax.asked == torch.asked


def test_losses_near_zero_are_judged_by_the_smallest_loss() -> None:
    (first, _), (second, _) = scripted("jax", [1e-9]), scripted("torch", [3e-9])
    envelope = measure(resolve(TASKS["hello"].defaults), first, second, 1, others=1)
    assert envelope.cross == pytest.approx([2e-9 / SMALLEST_LOSS])


def tiny() -> Config:
    """Losses of several characters move by rounding at nearly every step."""
    return resolve(
        replace(
            TASKS["hello"].defaults,
            network=NetworkConfig("gru", hidden_size=6),
            optimization=OptimizationConfig(learning_rate=0.05),
            data=HelloData(("hello", "yellow", "help")),
            batch_size=2,
            precision="float32",
        )
    )


class Faster:
    """A backend that takes every step a little too far."""

    def __init__(self, backend: Any, factor: float):
        self.backend, self.factor = backend, factor

    def __getattr__(self, name: str) -> Any:
        return getattr(self.backend, name)

    def advance(self, states: Any, batches: Any, rates: np.ndarray) -> Any:
        return self.backend.advance(states, batches, rates * self.factor)


def test_frameworks_differ_as_rounding_does_and_a_planted_difference_does_not() -> None:
    config = tiny()
    task = load_task(config)
    jax, torch = (side(config, task, name) for name in ("jax/handcrafted", "torch/handcrafted"))
    envelope = measure(config, jax, torch, STEPS, others=3)
    assert list(envelope.spread) == ["jax/handcrafted", "torch/handcrafted"]
    for name, spread in envelope.spread.items():
        assert spread.shape == (STEPS,)
        # Runs that were moved really are other runs, and no more than rounding apart.
        assert np.count_nonzero(spread) >= 4, name
        assert spread.max() < 1e-5, name
    # With few runs and few steps, the edge is only about where rounding reaches.
    assert (envelope.cross <= 3 * envelope.edge).all(), envelope.sentence

    planted: Any = Faster(torch.backend, 1.001)
    found = measure(config, jax, replace(torch, backend=planted), STEPS, others=3)
    # The first loss is that of the same weights; from the second on, they are not the same.
    assert found.inside[0]
    assert not found.inside[1:].any(), found.sentence
    assert f"at 1 of {STEPS} steps, past its edge by at most" in found.sentence
    assert (found.cross[2:] > 30 * found.edge[2:]).all()
