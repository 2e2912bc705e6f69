"""Traps planted in JAX are found and named, and none is named where nothing is planted."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from rnn_jax import traps
from shared.config import resolve
from shared.config.settings import NetworkConfig, OptimizationConfig
from shared.errors import InvalidInput
from shared.parity import lockstep
from shared.parity.traps import TRAPS, VARIANTS, about
from tests.support.pairwise import slow_but
from tests.support.trap_cases import BASE, STEPS, diagnosed, shown, sides

EVERY = [name for name in TRAPS if name not in VARIANTS] + [
    f"{trap}:{variant}" for trap, variants in VARIANTS.items() for variant in variants
]
FIRST_PHASE = {
    "single-bias": "gradients",
    "clip-epsilon": "clipped",
    "reset-gate": "layers",
    "adam": "weights",
    "rmsprop-epsilon": "weights",
    "ragged-mean": "loss",
    "mean-of-means": "loss",
    "padding": "layers",
    "float32": "layers",
    "gates": "layers",
    "initial-values": "before",
    "batch-order": "inputs",
}


VARIED = ("adam:epsilon-hat", "gates:ifog", "gates:zrn", "gates:transposed", "mean-of-means:4")
USUAL = [name for name in EVERY if ":" not in name or name in VARIED]


@pytest.mark.parametrize("name", slow_but(EVERY, USUAL))
def test_a_planted_trap_is_named_and_no_other(name: str) -> None:
    ran, diagnosis = diagnosed(shown(name), name)
    difference = ran.comparison.difference
    assert difference is not None
    assert difference.phase == FIRST_PHASE[name.partition(":")[0]]
    assert diagnosis.causes == [name]


def test_there_are_twelve_traps_and_all_are_planted_above() -> None:
    assert len(TRAPS) == 12
    assert {name.partition(":")[0] for name in EVERY} == set(TRAPS) == set(FIRST_PHASE)


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_without_a_trap_nothing_differs(cell) -> None:
    config = resolve(replace(BASE, network=replace(BASE.network, cell=cell)))
    _, first, second = sides(config)
    ran = lockstep.run(config, first, second, 10)
    ran.comparison.check()
    assert ran.before is None


@pytest.mark.parametrize(
    ("cell", "optimizer"),
    slow_but(
        itertools.product(["rnn", "lstm", "gru"], ["adam", "rmsprop"]),
        [("lstm", "adam"), ("gru", "rmsprop")],
    ),
)
def test_every_switch_changes_the_step(cell, optimizer: str) -> None:
    """A trap that changed nothing would be found by chance alone."""
    config = replace(BASE, network=replace(BASE.network, cell=cell))
    config = resolve(
        replace(config, optimization=replace(config.optimization, optimizer=optimizer))
    )
    task, first, second = sides(config)
    names = [switch.name for switch in traps.switches(config, first.batches)]
    expected = set(EVERY) - {n for n in EVERY if n not in names}
    assert set(names) == expected
    for switch in traps.switches(config, first.batches):
        observed = traps.switched(first, config, task.signature, [switch], compiled=False)
        ran = lockstep.run(config, observed, second, STEPS)
        assert not ran.comparison.equal, switch.name


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no-such-trap", "expected one of single-bias, .* got no-such-trap"),
        ("gates:gofi", "expected gates or one of gates:.*, got gates:gofi"),
        ("reset-gate", "changes nothing here: expected --cell gru"),
        ("adam", "changes nothing here: expected --optimizer adam or adamw"),
    ],
)
def test_a_trap_that_cannot_be_planted_is_refused(name: str, message: str) -> None:
    config = resolve(replace(BASE, optimization=OptimizationConfig("sgd", learning_rate=0.1)))
    _, first, _ = sides(config)
    with pytest.raises(InvalidInput, match=message):
        traps.find_switch(name, config, first.batches)


def test_every_trap_and_variant_says_what_it_is() -> None:
    for name in EVERY:
        assert len(about(name)) > 20
        assert not about(name).endswith(".")


def test_flax_values_are_those_that_flax_draws() -> None:
    """LeCun normal, orthogonal for each gate, zero biases, in canonical layout."""
    config = resolve(replace(BASE, network=NetworkConfig("gru", hidden_size=16)))
    _, first, _ = sides(config)
    drawn = traps.flax_values(first.start.weights, seed=0)
    for name, array in first.start.weights.items():
        assert drawn[name].shape == array.shape
        assert drawn[name].dtype == array.dtype
        if ".bias" in name:
            assert not drawn[name].any()
    for block in np.split(drawn["rnn.weight_hh_l0"], 3):
        np.testing.assert_allclose(block @ block.T, np.eye(16), atol=1e-6)
