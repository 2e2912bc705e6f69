"""Optimizers, clipping, learning rates and whole training steps against independent sources."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from rnn_jax import optimizers as jax_optimizers
from rnn_torch import optimizers as torch_optimizers
from shared.config import resolve
from shared.config.choices import constants
from shared.config.data import GeneratedData
from shared.config.settings import Cell, NetworkConfig, Nonlinearity, OptimizationConfig
from shared.protocol import load_backend
from shared.protocol.dataset import Signature
from shared.protocol.schedule import learning_rates
from shared.protocol.weights import initialize
from shared.tasks import TASKS, load_task
from tests.support import reference
from tests.support.compare_arrays import check_all_close, check_close
from tests.support.take_steps import in_backend, take_steps

STEP, RUN = 1e-10, 1e-9
Tensors = dict[str, np.ndarray]

OPTIMIZATIONS = {
    "adam": OptimizationConfig(optimizer="adam"),
    "adam, other constants": OptimizationConfig(
        optimizer="adam", betas=(0.8, 0.95), eps=1e-3, weight_decay=0.1
    ),
    "adamw": OptimizationConfig(optimizer="adamw"),
    "adamw, other constants": OptimizationConfig(
        optimizer="adamw", betas=(0.7, 0.9), eps=1e-4, weight_decay=0.2
    ),
    "sgd": OptimizationConfig(optimizer="sgd"),
    "sgd, momentum": OptimizationConfig(optimizer="sgd", momentum=0.8, weight_decay=0.1),
    "sgd, nesterov": OptimizationConfig(
        optimizer="sgd", momentum=0.8, nesterov=True, weight_decay=0.1
    ),
    "rmsprop": OptimizationConfig(optimizer="rmsprop"),
    "rmsprop, other constants": OptimizationConfig(
        optimizer="rmsprop", alpha=0.9, eps=1e-3, momentum=0.7, weight_decay=0.1
    ),
}


def resolved(optimization: OptimizationConfig) -> OptimizationConfig:
    return resolve(replace(TASKS["hello"].defaults, optimization=optimization)).optimization


def flat(by_moment: dict[str, dict]) -> Tensors:
    """moment → parameter → array, under a snapshot's names."""
    return {
        f"{moment}.{name}": np.asarray(array)
        for moment, tensors in by_moment.items()
        for name, array in tensors.items()
    }


def reference_moments(by_parameter: dict[str, Tensors]) -> Tensors:
    return {
        f"{moment}.{name}": array
        for name, tensors in by_parameter.items()
        for moment, array in tensors.items()
    }


@pytest.mark.parametrize("name", OPTIMIZATIONS)
def test_optimizers_are_the_published_ones(name: str) -> None:
    """Thirty updates with given gradients and a rate that changes at each of them."""
    optimization = resolved(OPTIMIZATIONS[name])
    rng = np.random.default_rng(11)
    weights = {"a": rng.standard_normal((3, 2)), "b": rng.standard_normal(4)}
    gradients = [
        {key: rng.standard_normal(array.shape) for key, array in weights.items()} for _ in range(30)
    ]
    rates = rng.uniform(0.001, 0.05, 30)

    expected, moments = weights, {}
    for t, (grads, rate) in enumerate(zip(gradients, rates, strict=True), start=1):
        options = constants(optimization) | {"rate": rate}
        expected = reference.update(optimization.optimizer, expected, grads, moments, t, **options)
    expected = expected | reference_moments(moments)

    params = {key: torch.tensor(array, requires_grad=True) for key, array in weights.items()}
    optimizer = torch_optimizers.make(optimization, params)
    for grads, rate in zip(gradients, rates, strict=True):
        for key, param in params.items():
            param.grad = torch.tensor(grads[key])
        optimizer.param_groups[0]["lr"] = rate
        optimizer.step()
    held = flat(torch_optimizers.moments(optimization, optimizer, params))
    found = {key: param.detach().numpy() for key, param in params.items()}
    check_all_close(found | held, expected, relative=STEP)

    values = {key: jnp.asarray(array) for key, array in weights.items()}
    transformation = jax_optimizers.make(optimization)
    state = transformation.init(values)
    for grads, rate in zip(gradients, rates, strict=True):
        direction, state = transformation.update(jax.tree.map(jnp.asarray, grads), state, values)
        values = jax.tree.map(lambda value, d, rate=rate: value - rate * d, values, direction)
    held = flat(jax_optimizers.moments(optimization, state))
    found = {key: np.asarray(array) for key, array in values.items()}
    check_all_close(found | held, expected, relative=STEP)


@pytest.mark.parametrize("max_norm", [1e-3, 1.0, 5.916, 100.0])
def test_clipping_is_that_of_torch(max_norm: float) -> None:
    """Also where the norm (here 5.9161…) is within 1e-6 of the limit and above it."""
    gradients = {"a": np.array([[1.0, -2.0], [3.0, 4.0]]), "b": np.array([-1.0, 2.0, 0.0])}
    expected = reference.clip(gradients, max_norm)

    params = {key: torch.zeros(array.shape).double() for key, array in gradients.items()}
    for key, param in params.items():
        param.grad = torch.tensor(gradients[key])
    torch_optimizers.clip(params, max_norm)
    clipped = {key: np.asarray(param.grad) for key, param in params.items()}
    check_all_close(clipped, expected, relative=1e-14)

    clipped = jax_optimizers.clip(jax.tree.map(jnp.asarray, gradients), max_norm)
    check_all_close({key: np.asarray(g) for key, g in clipped.items()}, expected, relative=1e-14)


def test_clipping_has_the_1e_6_that_optax_lacks() -> None:
    """A norm near 1e-6 shows it; beside a norm of 1 it would hardly be seen."""
    gradients = {"a": np.array([3e-6, 4e-6])}
    clipped = jax_optimizers.clip(jax.tree.map(jnp.asarray, gradients), 1e-6)
    expected = {"a": gradients["a"] * 1e-6 / (5e-6 + 1e-6)}
    check_all_close({"a": np.asarray(clipped["a"])}, expected, relative=1e-14)


def test_step_schedule_is_that_of_torch() -> None:
    optimization = resolved(
        OptimizationConfig(learning_rate=0.3, schedule="step", step_size=2, gamma=0.5)
    )
    epochs, per_epoch = 7, 3
    scheduler = _torch_schedule(torch.optim.lr_scheduler.StepLR, 0.3, step_size=2, gamma=0.5)
    expected = np.repeat([next(scheduler) for _ in range(epochs)], per_epoch)
    rates = learning_rates(optimization, 0, epochs * per_epoch, per_epoch, epochs * per_epoch)
    check_close(rates, expected, relative=1e-14, what="rate", elementwise=True)


def test_cosine_schedule_is_that_of_torch() -> None:
    optimization = resolved(
        OptimizationConfig(learning_rate=0.3, schedule="cosine", min_learning_rate=0.01)
    )
    scheduler = _torch_schedule(
        torch.optim.lr_scheduler.CosineAnnealingLR, 0.3, T_max=20, eta_min=0.01
    )
    expected = np.array([next(scheduler) for _ in range(20)])
    rates = learning_rates(optimization, 0, 20, 5, 20)
    check_close(rates, expected, relative=1e-12, what="rate", elementwise=True)


def test_decay_begins_after_so_many_epochs_and_goes_on_with_each() -> None:
    """Zaremba et al. (2014), medium: η, 6 epochs, then divided by 1.2 before each one."""
    optimization = resolved(
        OptimizationConfig(learning_rate=0.3, schedule="decay", decay_after=2, gamma=0.5)
    )
    rates = learning_rates(optimization, 0, 15, 3, 15)
    expected = np.repeat([0.3, 0.3, 0.15, 0.075, 0.0375], 3)
    check_close(rates, expected, relative=1e-14, what="rate", elementwise=True)
    usual = resolved(OptimizationConfig(learning_rate=0.3, schedule="decay", decay_after=1))
    assert usual.gamma == 0.5
    rates = learning_rates(usual, 0, 3, 1, 3)
    check_close(rates, 0.3 * 0.5 ** np.arange(3), relative=1e-14, what="rate", elementwise=True)


def _torch_schedule(kind, rate: float, **options):
    """The learning rate before each step of a torch scheduler."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=rate)
    scheduler = kind(optimizer, **options)
    while True:
        yield optimizer.param_groups[0]["lr"]
        optimizer.step()
        scheduler.step()


@pytest.mark.parametrize("optimization", OPTIMIZATIONS)
def test_rates_do_not_depend_on_where_a_call_begins(optimization: str) -> None:
    """A resumed run asks for the rest of the rates only."""
    for schedule in (
        {"schedule": "step", "step_size": 1},
        {"schedule": "decay", "decay_after": 2},
        {"schedule": "cosine"},
    ):
        config = resolved(replace(OPTIMIZATIONS[optimization], **schedule))
        whole = learning_rates(config, 0, 12, 3, 12)
        np.testing.assert_array_equal(learning_rates(config, 5, 7, 3, 12), whole[5:])


TRAINED = [
    ("rnn", "tanh", "adam", None),
    ("rnn", "relu", "sgd, nesterov", 0.3),
    ("lstm", "tanh", "adamw, other constants", 0.3),
    ("gru", "tanh", "rmsprop, other constants", None),
]


@pytest.mark.parametrize(("cell", "nonlinearity", "optimizer", "clip_norm"), TRAINED)
def test_training_is_the_reference(
    cell: Cell, nonlinearity: Nonlinearity, optimizer: str, clip_norm: float | None
) -> None:
    """Ten steps of a ragged data set, in NumPy from end to end: its own order of the batches is the
    only thing taken from `shared`."""
    optimization = replace(OPTIMIZATIONS[optimizer], learning_rate=0.02, clip_norm=clip_norm)
    config = resolve(
        replace(
            TASKS["last-value"].defaults,
            network=NetworkConfig(cell=cell, nonlinearity=nonlinearity, hidden_size=3),
            data=GeneratedData(7, 2, 2, sequence_length=4, input_size=2),
            optimization=optimization,
            batch_size=4,
            precision="float64",
        )
    )
    losses, weights, moments = _train_in_numpy(config, steps=10)
    for backend in ("jax", "torch"):
        taken = take_steps(in_backend(config, backend), 10)
        check_close(taken.losses, losses, relative=RUN, what=f"{backend} loss", elementwise=True)
        check_all_close(taken.snapshot.weights, weights, relative=RUN)
        check_all_close(taken.snapshot.moments, moments, relative=RUN)


def _train_in_numpy(config, steps: int) -> tuple[np.ndarray, Tensors, Tensors]:
    from shared.system.randomness import generator

    task, network, optimization = load_task(config), config.network, config.optimization
    weights = initialize(network, 2, 2, config.seed, "float64")
    inputs, targets, *_ = task.train
    rows = [
        order[start : start + 4]
        for epoch in range(steps // 2)
        for order in [generator(config.seed, "order", epoch).permutation(7)]
        for start in (0, 4)
    ]
    losses, moments = [], {}
    for t, chosen in enumerate(rows, start=1):
        x, y = inputs[chosen].astype(np.float64), targets[chosen]
        state = (np.zeros((1, len(x), 3)),) * (2 if network.cell == "lstm" else 1)

        def loss(tensors: Tensors, x=x, y=y, state=state) -> np.ndarray:
            logits = reference.network(
                network.cell, tensors, x, state, nonlinearity=network.nonlinearity
            )
            return reference.cross_entropy(logits[:, -1], y)

        losses.append(loss(weights))
        grads = reference.gradients(loss, weights)
        if optimization.clip_norm is not None:
            grads = reference.clip(grads, optimization.clip_norm)
        options = constants(optimization) | {"rate": optimization.learning_rate}
        weights = reference.update(optimization.optimizer, weights, grads, moments, t, **options)
    return np.array(losses), weights, reference_moments(moments)


@pytest.mark.parametrize("implementation", ["handcrafted", "native"])
@pytest.mark.parametrize(("hidden_size", "threads"), [(8, 1), (64, 2)])
def test_torch_computes_small_networks_in_one_thread(
    implementation: str, hidden_size: int, threads: int, monkeypatch
) -> None:
    """Both implementations alike, so that a comparison compares these and not threads."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    config = replace(
        TASKS["random-labels"].defaults,
        backend="torch",
        implementation=implementation,
        network=NetworkConfig(hidden_size=hidden_size),
        device="cpu",
    )
    signature = Signature(10, 2, tokens=False, per_step=False, loss="cross_entropy")
    assert f"({threads} thread" in load_backend(resolve(config), signature).device
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert "(2 threads)" in load_backend(resolve(config), signature).device
