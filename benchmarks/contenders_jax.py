"""The benchmark's contenders in JAX; see `benchmarks/cases.py`.

All but the backend take the same step, written by hand: one jitted function of parameters and
moments, which are donated. For Flax that is `nnx.split` outside and `nnx.merge` inside, for Keras
its `stateless_call`; both are faster than the training loops these libraries come with.
"""

import os
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from benchmarks import cases
from benchmarks.cases import Case
from benchmarks.worker import Prepared
from rnn_jax import devices, exchange, layers
from rnn_jax.backend import Backend
from shared.errors import InvalidInput
from shared.protocol import Batch, Snapshot
from shared.protocol.weights import Weights, layer_config
from shared.system.environment import cores

Logits = Callable[[Any, jax.Array], jax.Array]
"""Parameters, inputs (B, T, I) → logits (B, classes)."""


def start(name: str, device: str) -> str:
    """Gets the framework ready; returns where it computes.

    Raises:
        InvalidInput: JAX has no such device.
        ModuleNotFoundError: Keras is not installed.
    """
    if name == "keras":
        os.environ["KERAS_BACKEND"] = "jax"
        import keras  # noqa: F401 # pyright: ignore[reportMissingImports]
    if name == "rnn_jax":
        devices.use_all_cores()  # before the first look at devices
    found = jax.devices()[0]
    if (found.platform == "gpu") != (device == "gpu"):
        raise InvalidInput(f"JAX computes on {found.platform}, expected {device}")
    if device == "gpu":
        jax.config.update("jax_default_matmul_precision", "highest")  # no TF32, as in ours
        return found.device_kind
    return f"cpu, {cores()} threads"


def prepare(name: str, case: Case, device: str) -> Prepared:
    if case.kind == "product":
        return _product(case)
    if case.kind == "hello":
        return _hello(device)
    if name == "rnn_jax":
        return _backend(case, device)
    make = {"rnn_jax-layer": _our_layer, "flax.nnx": _flax, "keras": _keras}[name]
    return _step(case, *make(case, cases.weights(case)))


def _backend(case: Case, device: str) -> Prepared:
    """Prepares a case that trains as scripts/run.py does: S steps a call, from NumPy batches."""
    backend = Backend(cases.config(case, "jax", device), cases.SIGNATURE)
    states = [backend.init(Snapshot.of(cases.weights(case)))]
    if case.kind == "forward":
        inputs, _ = cases.examples(case)
        return Prepared(lambda: backend.predict(states[0], inputs))
    batch, rates = cases.stacked(case)
    if case.seeds > 1:
        return _several_seeds(case, backend, batch, rates)

    def run() -> np.ndarray:
        (states[0],), (metrics,) = backend.advance([states[0]], [batch], rates)
        jax.block_until_ready(states[0])
        return np.asarray(metrics.loss)

    return Prepared(run, len(rates))


def _several_seeds(
    case: Case, backend: Backend, batch: Batch[np.ndarray], rates: np.ndarray
) -> Prepared:
    """Prepares the steps of several networks in one call. They have the same weights and batches,
    which does not change their cost."""
    weights = Snapshot.of(cases.weights(case))
    states = [[backend.init(weights) for _ in range(case.seeds)]]

    def run() -> np.ndarray:
        states[0], metrics = backend.advance(states[0], [batch] * case.seeds, rates)
        jax.block_until_ready(states[0])
        return np.stack([one.loss for one in metrics])

    return Prepared(run, len(rates) * case.seeds)


class Classifier(nnx.Module):
    """Recurrent layers → final state of each direction → linear."""

    def __init__(self, rnn: Any, weights: Weights):
        self.rnn = rnn
        kernel, bias = weights["head.weight"].T, weights["head.bias"]
        self.head = nnx.Linear(*kernel.shape, rngs=nnx.Rngs(0))
        nnx.update(self.head, {"kernel": jnp.asarray(kernel), "bias": jnp.asarray(bias)})


class Ours(Classifier):
    def __call__(self, x: jax.Array) -> jax.Array:
        _, final = self.rnn(x)
        h = final[0] if isinstance(final, tuple) else final
        directions = 2 if self.rnn.bidirectional else 1
        return self.head(jnp.concatenate([*h[-directions:]], axis=-1))


class Theirs(Classifier):
    def __call__(self, x: jax.Array) -> jax.Array:
        *below, top = self.rnn
        for layer in below:
            x = layer(x)
        if isinstance(top, nnx.RNN):
            carry, _ = top(x, return_carry=True)
            return self.head(carry[1] if isinstance(carry, tuple) else carry)  # an LSTM has (c, h)
        outputs = top(x)  # of both directions: the reverse one ends at the first step
        half = outputs.shape[-1] // 2
        ends = [outputs[:, -1, :half], outputs[:, 0, half:]]
        return self.head(jnp.concatenate(ends, axis=-1))


def _our_layer(case: Case, weights: Weights) -> tuple[Logits, Any]:
    return _split(Ours(_layer_of(case, weights), weights))


def _flax(case: Case, weights: Weights) -> tuple[Logits, Any]:
    """Returns flax.nnx.RNN over SimpleCell, OptimizedLSTMCell or GRUCell, with our initial
    weights."""
    theirs = exchange.to_flax(_layer_of(case, weights), one_bias=True)
    return _split(Theirs(nnx.List(theirs), weights))


def _layer_of(case: Case, weights: Weights) -> layers.Layer:
    config = layer_config(case.network, cases.INPUT_SIZE)
    layer = layers.make(config, param_dtype=jnp.float32, rngs=nnx.Rngs(0))
    layer.load_state_dict({name: weights[f"rnn.{name}"] for name in config.shapes()})
    return layer


def _split(model: nnx.Module) -> tuple[Logits, Any]:
    graph, params, rest = nnx.split(model, nnx.Param, ...)
    return lambda params, x: nnx.merge(graph, params, rest, copy=True)(x), params


def _keras(case: Case, weights: Weights) -> tuple[Logits, Any]:
    """Returns Keras 3's SimpleRNN, LSTM or GRU, with their default arguments, which run fastest."""
    import keras  # pyright: ignore[reportMissingImports]

    kind = {"rnn": "SimpleRNN", "lstm": "LSTM", "gru": "GRU"}[case.cell]
    model = keras.Sequential([keras.layers.Input((case.length, cases.INPUT_SIZE))])
    for number in range(case.num_layers):
        below = number < case.num_layers - 1
        layer = getattr(keras.layers, kind)(case.hidden_size, return_sequences=below)
        model.add(keras.layers.Bidirectional(layer) if case.bidirectional else layer)
    model.add(keras.layers.Dense(cases.CLASSES))
    model.set_weights(_keras_weights(case, weights))
    fixed = [variable.value for variable in model.non_trainable_variables]
    params = [variable.value for variable in model.trainable_variables]
    return lambda params, x: model.stateless_call(params, fixed, x)[0], params


def _keras_weights(case: Case, weights: Weights) -> list[np.ndarray]:
    """Returns canonical weights in the order of Keras' layers and gates: LSTM i, f, g, o; GRU z, r,
    n."""
    found = []
    for endings in layer_config(case.network, cases.INPUT_SIZE).suffixes():
        for ending in endings:
            names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            kernel, recurrent, b_ih, b_hh = (weights[f"rnn.{name}{ending}"].T for name in names)
            if case.cell == "gru":  # two biases, and the first two gates change places
                tensors = [kernel, recurrent, np.stack([b_ih, b_hh])]
                n = case.hidden_size
                order = np.r_[n : 2 * n, :n, 2 * n : 3 * n]
                found += [tensor[..., order] for tensor in tensors]
            else:
                found += [kernel, recurrent, b_ih + b_hh]
    return [*found, weights["head.weight"].T, weights["head.bias"]]


def _step(case: Case, logits: Logits, params: Any) -> Prepared:
    inputs, targets = (jnp.asarray(array) for array in cases.examples(case))
    if case.kind == "forward":
        forward = jax.jit(logits)
        return Prepared(lambda: jax.block_until_ready(forward(params, inputs)))
    optimizer = optax.adam(1e-3)

    def step(params: Any, moments: Any, inputs: jax.Array, targets: jax.Array) -> Any:
        def mean_loss(params: Any) -> jax.Array:
            found = logits(params, inputs)
            return optax.softmax_cross_entropy_with_integer_labels(found, targets).mean()

        loss, gradients = jax.value_and_grad(mean_loss)(params)
        updates, moments = optimizer.update(gradients, moments, params)
        return optax.apply_updates(params, updates), moments, loss

    compiled = jax.jit(step, donate_argnums=(0, 1))
    states = [(params, optimizer.init(params))]

    def run() -> jax.Array:
        *state, loss = compiled(*states[0], inputs, targets)
        states[0] = jax.block_until_ready(state)
        return loss

    return Prepared(run)


def _product(case: Case) -> Prepared:
    a, b = jax.random.normal(jax.random.key(0), (2, case.hidden_size, case.hidden_size))
    product = jax.jit(jnp.matmul)
    return Prepared(lambda: jax.block_until_ready(product(a, b)))


def _hello(device: str) -> Prepared:
    """Prepares the steps of the task hello, in calls as training makes them."""
    config, signature, weights, calls = cases.hello("jax", device)
    backend = Backend(config, signature)
    states = [backend.init(Snapshot.of(weights))]

    def run() -> np.ndarray:
        losses = []
        for batch, rates in calls:
            (states[0],), (metrics,) = backend.advance([states[0]], [batch], rates)
            losses.append(metrics.loss)
        return np.concatenate(losses)

    return Prepared(run, cases.HELLO_STEPS)
