"""What runs in both frameworks share besides equal steps, which test_lockstep.py proves."""

from dataclasses import replace

import numpy as np
import pytest

from shared.config import Config
from shared.config.data import GeneratedData, TextData
from shared.config.settings import Cell, NetworkConfig, Nonlinearity
from shared.runs.checkpoint import flatten
from shared.tasks import TASKS
from tests.support.compare_arrays import check_all_close, check_close
from tests.support.take_steps import OPTIMIZERS, RUN, in_backend, take_steps


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
