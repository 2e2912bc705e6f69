"""Hundreds of optimizer steps in both frameworks from the same bytes: equal in float64."""

from dataclasses import replace

import numpy as np
import pytest

from shared.checkpoint import flatten
from shared.config import (
    Config,
    GeneratedData,
    NetworkConfig,
    OptimizationConfig,
    TextData,
)
from shared.layer import Cell, Nonlinearity
from shared.tasks import TASKS
from tests.compare_arrays import check_all_close, check_close
from tests.lockstep import Taken, in_backend, take_steps

CELLS = [("rnn", "tanh"), ("rnn", "relu"), ("lstm", "tanh"), ("gru", "tanh")]
OPTIMIZERS = {
    "adam": OptimizationConfig(optimizer="adam", learning_rate=0.01, weight_decay=0.01),
    "adamw": OptimizationConfig(optimizer="adamw", learning_rate=0.01, clip_norm=0.5),
    "sgd": OptimizationConfig(optimizer="sgd", learning_rate=0.1),
    "momentum": OptimizationConfig(
        optimizer="sgd", learning_rate=0.05, momentum=0.9, nesterov=True, weight_decay=1e-3
    ),
    "rmsprop": OptimizationConfig(
        optimizer="rmsprop", learning_rate=0.003, momentum=0.5, clip_norm=1.0
    ),
}
RUN = 1e-9


def hello(cell: Cell, nonlinearity: Nonlinearity) -> Config:
    defaults = TASKS["hello"].defaults
    network = replace(defaults.network, cell=cell, nonlinearity=nonlinearity)
    return replace(defaults, network=network, precision="float64")


def last_value(cell: Cell, nonlinearity: Nonlinearity) -> Config:
    """Small, with a ragged last batch: 27 examples in batches of 8."""
    return replace(
        TASKS["last-value"].defaults,
        network=NetworkConfig(cell=cell, nonlinearity=nonlinearity, hidden_size=6),
        data=GeneratedData(27, 4, 4, sequence_length=7, input_size=3),
        batch_size=8,
        precision="float64",
    )


def check_same(jax: Taken, torch: Taken) -> None:
    check_close(jax.losses, torch.losses, relative=RUN, what="loss", elementwise=True)
    check_all_close(jax.snapshot.weights, torch.snapshot.weights, relative=RUN)
    if jax.snapshot.moments or torch.snapshot.moments:  # plain SGD has none
        check_all_close(jax.snapshot.moments, torch.snapshot.moments, relative=RUN)


def check_parity(config: Config, steps: int = 200) -> None:
    check_same(
        take_steps(in_backend(config, "jax"), steps), take_steps(in_backend(config, "torch"), steps)
    )


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize(("cell", "nonlinearity"), CELLS)
@pytest.mark.parametrize("task", [hello, last_value])
def test_every_step_agrees(task, cell: Cell, nonlinearity: Nonlinearity, optimizer: str) -> None:
    config = replace(task(cell, nonlinearity), optimization=OPTIMIZERS[optimizer])
    check_parity(config)


@pytest.mark.parametrize(("cell", "nonlinearity"), CELLS)
def test_hello_agrees_over_the_whole_run(cell: Cell, nonlinearity: Nonlinearity) -> None:
    config = hello(cell, nonlinearity)
    jax, torch = (take_steps(in_backend(config, name), 1000) for name in ("jax", "torch"))
    check_same(jax, torch)
    assert jax.losses[-1] < 0.01
    assert torch.losses[-1] < 0.01


@pytest.mark.parametrize(
    ("num_layers", "bidirectional", "embedding_size"),
    [
        (1, False, 3),
        (1, True, None),
        (2, False, None),
        (2, True, 3),
        (3, False, 3),
        (3, True, None),
    ],
)
@pytest.mark.parametrize(("cell", "nonlinearity"), CELLS)
def test_layers_directions_dropout_and_embedding_agree(
    cell: Cell,
    nonlinearity: Nonlinearity,
    num_layers: int,
    bidirectional: bool,
    embedding_size: int | None,
) -> None:
    """Outputs at every step: at the last one alone, the reverse direction has only started."""
    config = deep(cell, nonlinearity, num_layers, bidirectional, embedding_size)
    check_parity(config, steps=40)


def deep(
    cell: Cell,
    nonlinearity: Nonlinearity,
    num_layers: int = 2,
    bidirectional: bool = True,
    embedding_size: int | None = 3,
    dropout: float = 0.3,
) -> Config:
    network = NetworkConfig(
        cell=cell,
        nonlinearity=nonlinearity,
        hidden_size=5,
        num_layers=num_layers,
        bidirectional=bidirectional,
        dropout=dropout if num_layers > 1 else 0.0,
        embedding_size=embedding_size,
    )
    return replace(hello(cell, nonlinearity), network=network)


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_dropout_drops(backend: str) -> None:
    """Agreement alone would also be that of two frameworks that ignore their masks."""
    with_it, without = (
        take_steps(in_backend(deep("gru", "tanh", dropout=dropout), backend), 3)
        for dropout in (0.3, 0.0)
    )
    assert (np.abs(with_it.losses - without.losses) > 1e-4).all()


@pytest.mark.parametrize(("first", "second"), [("jax", "torch"), ("torch", "jax")])
def test_a_deep_run_with_dropout_continues_in_the_other_framework(first: str, second: str) -> None:
    """Moments of every layer and direction, and the masks of the steps that are left."""
    config = deep("lstm", "tanh", num_layers=3)
    whole = take_steps(in_backend(config, first), 40)
    half = take_steps(in_backend(config, first), 20)
    rest = take_steps(in_backend(config, second), 20, start=half.snapshot)
    check_close(rest.losses, whole.losses[20:], relative=RUN, what="loss", elementwise=True)
    check_all_close(rest.snapshot.moments, whole.snapshot.moments, relative=RUN)


def text(tmp_path, cell: Cell = "lstm") -> Config:
    """A text of 3 streams in windows of 11 steps, the last window of a stream being shorter."""
    characters = np.random.default_rng(5).choice(list("abcdefgh \n"), 400)
    file = tmp_path / "text.txt"
    file.write_text("".join(characters))
    return replace(
        TASKS["text"].defaults,
        network=NetworkConfig(cell=cell, hidden_size=6, embedding_size=4),
        data=TextData(path=str(file), split=(0.8, 0.1, 0.1)),
        batch_size=3,
        bptt=11,
        precision="float64",
    )


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_carried_state_agrees(tmp_path, cell: Cell) -> None:
    config = text(tmp_path, cell)
    jax, torch = (take_steps(in_backend(config, name), 60) for name in ("jax", "torch"))
    check_same(jax, torch)
    for mine, theirs in zip(jax.snapshot.carry, torch.snapshot.carry, strict=True):
        check_close(mine, theirs, relative=RUN, what="carry")


@pytest.mark.parametrize(
    "optimization",
    [
        OptimizationConfig(learning_rate=0.01, schedule="step", step_size=7, gamma=0.5),
        OptimizationConfig(learning_rate=0.01, schedule="cosine", min_learning_rate=1e-4),
    ],
    ids=["step", "cosine"],
)
def test_schedules_agree(optimization: OptimizationConfig) -> None:
    check_parity(replace(hello("lstm", "tanh"), optimization=optimization), steps=100)


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_steps_do_not_depend_on_how_they_are_grouped(backend: str) -> None:
    config = in_backend(last_value("lstm", "tanh"), backend)
    one, many = take_steps(config, 24), take_steps(config, 24, calls=6)
    check_close(many.losses, one.losses, relative=1e-13, what="loss", elementwise=True)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize(("first", "second"), [("jax", "torch"), ("torch", "jax")])
def test_a_snapshot_continues_in_the_other_framework(
    first: str, second: str, optimizer: str, tmp_path
) -> None:
    """After step 25: an epoch has 10, and where one begins the carried state is reset anyway."""
    config = replace(text(tmp_path, "lstm"), optimization=OPTIMIZERS[optimizer])
    whole = take_steps(in_backend(config, first), 40)
    part = take_steps(in_backend(config, first), 25)
    rest = take_steps(in_backend(config, second), 15, start=part.snapshot)
    check_close(rest.losses, whole.losses[25:], relative=RUN, what="loss", elementwise=True)
    check_all_close(flatten(rest.snapshot), flatten(whole.snapshot), relative=RUN)
    assert rest.snapshot.step == 40


def test_torch_native_is_the_same_network(tmp_path) -> None:
    for config in (hello("lstm", "tanh"), last_value("gru", "tanh"), text(tmp_path, "rnn")):
        native = take_steps(in_backend(config, "torch", "native"), 60)
        check_same(native, take_steps(in_backend(config, "torch"), 60))


def test_mean_squared_error_agrees() -> None:
    """No task of this list uses it yet: sums of both frameworks on the same numbers."""
    import jax.numpy as jnp
    import torch

    from rnn_jax import losses as jax_losses
    from rnn_torch import losses as torch_losses

    rng = np.random.default_rng(3)
    outputs, targets = rng.standard_normal((2, 4, 6, 2))
    weights = (rng.random((4, 6)) < 0.7).astype(np.float64)
    mine = jax_losses.sums("mse", jnp.array(outputs), jnp.array(targets), jnp.array(weights))
    theirs = torch_losses.sums("mse", *map(torch.from_numpy, (outputs, targets, weights)))
    error = outputs - targets
    expected = np.array(
        [
            (weights * np.square(error).mean(-1)).sum(),
            (weights * np.abs(error).mean(-1)).sum(),
            weights.sum(),
        ]
    )
    check_close(np.array(mine), expected, relative=1e-12, what="jax sums", elementwise=True)
    check_close(
        np.array([value.item() for value in theirs]),
        expected,
        relative=1e-12,
        what="torch sums",
        elementwise=True,
    )


def test_subnormal_numbers_are_zero_in_both() -> None:
    """XLA flushes them; in PyTorch they made a step with vanishing gradients six times slower."""
    import jax.numpy as jnp
    import torch

    take_steps(in_backend(hello("rnn", "tanh"), "torch"), 1)
    tiny = np.full(4, 1e-20, np.float32)
    assert float(torch.from_numpy(tiny).square().sum()) == 0.0
    assert float(jnp.square(jnp.asarray(tiny)).sum()) == 0.0


def test_float32_runs_stay_float32_in_a_float64_process() -> None:
    config = replace(hello("lstm", "tanh"), precision="float32")
    for backend in ("jax", "torch"):
        taken = take_steps(in_backend(config, backend), 5)
        dtypes = {array.dtype.name for array in taken.snapshot.weights.values()}
        assert dtypes | {taken.losses.dtype.name} == {"float32"}, (backend, dtypes)
