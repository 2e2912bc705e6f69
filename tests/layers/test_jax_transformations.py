"""rnn_jax.RNN, LSTM and GRU under what JAX and Flax do to functions."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import rnn_jax
from tests.support.compare_arrays import check_close
from tests.support.jax_cases import NAMES, STACKED, check_same, initial, make, randn, scalar
from tests.support.pairwise import slow_but


def count_compilations(call: Callable[[], Any]) -> int:
    """How many programs XLA compiles in a second call, after one that may compile."""
    call()
    compiled: list[str] = []

    def listen(event: str, duration_secs: float, **kwargs: str | int) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            compiled.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        call()
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    return len(compiled)


def test_compilations_are_counted() -> None:
    x = jnp.ones(7)
    assert count_compilations(lambda: jax.jit(lambda x: jnp.sin(x) + 1)(x)) == 1


EACH = slow_but(
    [(name, lengths) for name in NAMES for lengths in (None, [2, 5, 3])],
    [("RNN", [2, 5, 3]), ("LSTM", None), ("GRU", [2, 5, 3])],
)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("name", "lengths"), EACH)
def test_outside_of_jit_a_second_call_compiles_nothing(
    name: str, lengths: list[int] | None
) -> None:
    layer, x = make(name, 3, 4, **STACKED), randn(3, 5, 3)

    def loss(layer: Any) -> jax.Array:
        return scalar(layer(x, lengths=lengths))

    calls: dict[str, Callable[[], Any]] = {
        "forward": lambda: layer(x, lengths=lengths),
        "gradient": lambda: nnx.grad(loss)(layer),
        "checkpoint": lambda: jax.grad(jax.checkpoint(lambda x: scalar(layer(x))))(x),
    }
    for what, call in calls.items():
        assert count_compilations(call) == 0, what


@pytest.mark.usefixtures("unchecked")  # a symbol is no int
def test_an_exported_program_takes_any_batch_and_length() -> None:
    layer = make("LSTM", 3, 4, **STACKED)
    graph, params = nnx.split(layer)
    batch, time = jax.export.symbolic_shape("batch, time")
    shapes = (
        jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), params),
        jax.ShapeDtypeStruct((batch, time, 3), jnp.float64),
        jax.ShapeDtypeStruct((batch,), jnp.int32),
    )
    call = jax.jit(lambda params, x, n: nnx.merge(graph, params)(x, lengths=n)[0])
    program = jax.export.export(call)(*shapes)
    for lengths in ([2, 5], [1, 7, 3]):
        x = randn(len(lengths), max(lengths), 3)
        found = program.call(params, x, jnp.asarray(lengths, jnp.int32))
        check_same(found, layer(x, lengths=jnp.asarray(lengths))[0])


@pytest.mark.parametrize("lengths", [None, jnp.int8, jnp.uint8, jnp.int32, jnp.int64])
@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_promoted_by_itself(name: str, lengths: Any) -> None:
    """Neither ranks nor dtypes: such defaults of JAX hide mistakes."""
    layer, x, state = make(name, 3, 4, **STACKED), randn(2, 5, 3), initial(name, 4, 2, 4)
    found = None if lengths is None else jnp.asarray([4, 2], lengths)
    with jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"):
        strict = layer(x, state, lengths=found)
        cell = getattr(rnn_jax, f"{name}Cell")(3, 4, param_dtype=jnp.float64, rngs=nnx.Rngs(0))
        cell(cell.initialize_carry((2, 3)), x[:, 0])
    check_same(strict, layer(x, state, lengths=found))


@pytest.mark.parametrize(("name", "lengths"), EACH)
def test_jit_in_both_forms(name: str, lengths: list[int] | None) -> None:
    layer, x = make(name, 3, 4, **STACKED), randn(3, 5, 3)
    found = None if lengths is None else jnp.asarray(lengths)
    expected = layer(x, lengths=found)

    graph, params = nnx.split(layer)
    functional = jax.jit(lambda params, x, lengths: nnx.merge(graph, params)(x, lengths=lengths))
    check_same(functional(params, x, found), expected)
    check_same(nnx.jit(lambda layer, x, n: layer(x, lengths=n))(layer, x, found), expected)
    given = jnp.asarray([1, 1, 1]) if lengths is None else None  # without a new compilation error
    check_same(functional(params, x, given), layer(x, lengths=given))


@pytest.mark.parametrize(("name", "lengths"), EACH)
def test_vmap_over_sequences(name: str, lengths: list[int] | None) -> None:
    """Sequences without a batch, mapped, are the batch; their lengths are traced."""
    layer, x = make(name, 3, 4, **STACKED), randn(3, 5, 3)
    if lengths is None:
        mapped = jax.vmap(layer, out_axes=(0, 1))(x)
        check_same(mapped, layer(x))
    else:
        found = jnp.asarray(lengths)
        mapped = jax.vmap(lambda x, n: layer(x, lengths=n), out_axes=(0, 1))(x, found)
        check_same(mapped, layer(x, lengths=found))


@pytest.mark.parametrize("name", NAMES)
def test_vmap_over_parameters(name: str) -> None:
    """An ensemble in one call is its members one by one, also in its gradients."""
    members = [make(name, 3, 4, rngs=nnx.Rngs(seed), **STACKED) for seed in range(3)]
    graph = nnx.graphdef(members[0])
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *map(nnx.state, members))
    x = randn(2, 5, 3)

    def loss(params: Any) -> jax.Array:
        return scalar(nnx.merge(graph, params)(x))

    derive = jax.value_and_grad(loss)
    values, gradients = jax.jit(jax.vmap(derive))(stacked)
    for i, member in enumerate(members):
        value, gradient = jax.jit(derive)(nnx.state(member))
        check_close(values[i], value, relative=1e-10, what=f"loss of {i}")
        check_same(jax.tree.map(lambda leaf, i=i: leaf[i], gradients), gradient)


def test_an_ensemble_is_made_by_nnx_vmap() -> None:
    @nnx.split_rngs(splits=3)
    @nnx.vmap
    def members(rngs: nnx.Rngs) -> Any:
        return rnn_jax.LSTM(3, 4, num_layers=2, dropout=0.5, param_dtype=jnp.float64, rngs=rngs)

    layers = members(nnx.Rngs(0))
    assert layers.weight_ih_l1.shape == (3, 16, 4)
    output, (h, c) = nnx.vmap(lambda layer, x: layer(x), in_axes=(0, None))(layers, randn(5, 2, 3))
    assert (output.shape, h.shape, c.shape) == ((3, 5, 2, 4), (3, 2, 2, 4), (3, 2, 2, 4))
    assert not np.allclose(output[0], output[1])


@pytest.mark.parametrize(
    ("name", "lengths"),
    slow_but([*((name, [2, 5, 3]) for name in NAMES), ("LSTM", None)], [("LSTM", [2, 5, 3])]),
)
def test_forward_and_reverse_derivatives_agree(name: str, lengths: list[int] | None) -> None:
    """Forward mode with autodiff=True; reverse mode, and both over it, by hand."""
    plain = make(name, 2, 3, bidirectional=True, batch_first=True, autodiff=True)
    by_hand = make(name, 2, 3, bidirectional=True, batch_first=True)
    x, found = randn(3, 5, 2), None if lengths is None else jnp.asarray(lengths)
    params = nnx.state(plain)

    def loss_of(layer: Any) -> Callable[[Any, jax.Array], jax.Array]:
        graph = nnx.graphdef(layer)
        return lambda params, x: scalar(nnx.merge(graph, params)(x, lengths=found))

    loss, loss_by_hand = loss_of(plain), loss_of(by_hand)
    reverse = jax.jit(jax.jacrev(loss_by_hand, argnums=(0, 1)))(params, x)
    check_same(jax.jit(jax.jacfwd(loss, argnums=(0, 1)))(params, x), reverse)
    tangents = jax.tree.map(lambda leaf: jnp.cos(leaf), (params, x))
    _, along = jax.jvp(loss, (params, x), tangents)
    products = jax.tree.map(lambda a, b: jnp.sum(a * b), reverse, tangents)
    expected = np.sum(jax.tree.leaves(products))
    check_close(np.asarray(along), expected, relative=1e-10, what="jvp")

    def along_reverse(x: jax.Array) -> jax.Array:  # a gradient of a gradient, in three ways
        return jnp.sum(jax.grad(loss_by_hand, argnums=1)(params, x) * tangents[1])

    def along_forward(x: jax.Array) -> jax.Array:
        return jax.jvp(lambda x: loss(params, x), (x,), (tangents[1],))[1]

    twice = jax.jit(jax.grad(along_forward))(x)
    check_same(jax.jit(jax.grad(along_reverse))(x), twice)
    forward_over_reverse = jax.jvp(
        lambda x: jax.grad(loss_by_hand, argnums=1)(params, x), (x,), (tangents[1],)
    )[1]
    check_same(forward_over_reverse, twice)
    with pytest.raises(TypeError, match="forward-mode"):
        jax.jvp(loss_by_hand, (params, x), tangents)


@pytest.mark.parametrize("name", NAMES)
def test_checkpoint_and_remat_change_nothing(name: str) -> None:
    layer, x = make(name, 3, 4, **STACKED), randn(2, 5, 3)
    graph, params = nnx.split(layer)

    def loss(params: Any) -> jax.Array:
        return scalar(nnx.merge(graph, params)(x))

    expected = jax.jit(jax.grad(loss))(params)
    check_same(jax.jit(jax.grad(jax.checkpoint(loss)))(params), expected)
    by_nnx = nnx.jit(nnx.grad(nnx.remat(lambda layer, x: scalar(layer(x)))))(layer, x)
    check_same(by_nnx, expected)
