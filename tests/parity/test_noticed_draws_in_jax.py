"""No draw of JAX goes unnoticed: each is recorded or refused."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rnn_jax import draw_primitive
from rnn_jax import draws as in_jax
from rnn_jax import private as of_jax
from shared.errors import InvalidInput
from shared.protocol.draws import Replay

KEY = jax.random.key(3)
NO_DRAWS = {
    "PRNGKey", "clone", "fold_in", "key", "key_data", "key_dtype", "key_impl", "split",
    "wrap_key_data",
}  # fmt: skip
ONE = jnp.float64(1.0)
ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "ball": (2,), "beta": (ONE, ONE), "binomial": (ONE * 5, ONE / 2), "categorical": (jnp.ones(3),),
    "chisquare": (ONE,), "choice": (5,), "dirichlet": (jnp.ones(3),),
    "double_sided_maxwell": (ONE, ONE), "f": (ONE, ONE), "gamma": (ONE,),
    "generalized_normal": (ONE,), "geometric": (ONE / 2,), "loggamma": (ONE,),
    "multinomial": (ONE * 5, jnp.ones(3) / 3), "multivariate_normal": (jnp.ones(2), jnp.eye(2)),
    "orthogonal": (2,), "pareto": (ONE,), "permutation": (5,), "poisson": (ONE,),
    "randint": ((), 0, 5), "rayleigh": (ONE,), "t": (ONE,), "triangular": (-ONE, 0 * ONE, ONE),
    "truncated_normal": (-ONE, ONE), "wald": (ONE,), "weibull_min": (ONE, ONE),
}  # fmt: skip
KINDS = {
    "bernoulli": "bernoulli", "categorical": "categorical", "choice": "integers",
    "exponential": "exponential", "gumbel": "gumbel", "lognormal": "normal",
    "loggamma": "gamma", "multinomial": "binomial", "multivariate_normal": "normal",
    "normal": "normal", "orthogonal": "normal", "permutation": "permutation",
    "rademacher": "bernoulli", "randint": "integers", "uniform": "uniform",
}  # fmt: skip
FUNCTIONS = sorted(
    name
    for name in dir(jax.random)
    if name.islower() and name not in NO_DRAWS and callable(getattr(jax.random, name))
)
QUICK = ("bernoulli", "bits", "categorical", "choice", "gumbel", "laplace", "rademacher")


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[pytest.mark.slow] * (n not in QUICK)) for n in FUNCTIONS],
)
def test_each_function_of_jax_random_is_noticed(name: str) -> None:
    with in_jax.recorded() as draws:
        getattr(jax.random, name)(KEY, *ARGUMENTS.get(name, ()))
    assert {draw.kind for draw in draws} == {KINDS.get(name, name)}


def test_random_bits_of_other_functions_are_noticed() -> None:
    with in_jax.recorded() as draws:
        jax.lax.rng_uniform(0.0, 1.0, (3,))
        jax.lax.rng_bit_generator(jnp.zeros(4, jnp.uint32), (2,))
        unsafe = jax.random.key(0, impl="unsafe_rbg")  # whose keys come of random bits
        jax.random.uniform(jax.random.fold_in(jax.random.split(unsafe)[0], 1), (4,))
        jax.random.permutation(KEY, jnp.ones((3, 2)), independent=True)
        jax.random.normal(KEY, (2,), complex)
        jax.random.categorical(KEY, jnp.ones(5), replace=False, shape=(2,))
    assert [draw.kind for draw in draws] == [
        "rng_uniform", "rng_bit_generator", "uniform", "independent permutation",
        "complex normal", "complex normal", "categorical without replacement",
    ]  # fmt: skip


def test_jax_refuses_a_kind_that_is_not_handed_over() -> None:
    with in_jax.recorded() as draws:
        jax.random.laplace(KEY, (3,))
    with (
        pytest.raises(InvalidInput, match="laplace is not replayed"),
        in_jax.replayed(Replay(draws)),
    ):
        jax.random.laplace(KEY, (3,))


def test_what_was_traced_outside_is_traced_again_inside() -> None:
    body = jax.checkpoint(lambda x, key: x * jax.random.bernoulli(key, 0.5, x.shape))
    with jax.disable_jit():
        outside = body(jnp.ones(50), KEY)
    with in_jax.recorded() as draws:
        assert np.array_equal(body(jnp.ones(50), KEY), outside)
    flipped = draws[0]._replace(values=~draws[0].values)
    with in_jax.replayed(Replay([flipped])):
        assert np.array_equal(body(jnp.ones(50), KEY), 1 - outside)
    with jax.disable_jit():
        assert np.array_equal(body(jnp.ones(50), KEY), outside)


def test_what_is_only_traced_draws_nothing() -> None:
    with in_jax.recorded() as draws:
        shape = jax.eval_shape(lambda key: jax.random.uniform(key, (2, 3), minval=1), KEY).shape
    assert shape == (2, 3)
    assert not draws


def test_a_draw_that_is_compiled_all_the_same_is_refused() -> None:
    draw = jax.jit(lambda key: jax.random.normal(key, (2,)))
    told = r"got normal of \(2,\) in a function that JAX compiles"
    with pytest.raises(InvalidInput, match=told), in_jax.recorded(), jax.disable_jit(False):
        draw(KEY)


def test_gradients_are_taken_inside() -> None:
    body = jax.checkpoint(lambda x: jnp.sin(x) * jax.random.normal(KEY, x.shape))
    with in_jax.recorded():
        _, pullback = jax.vjp(body, jnp.ones(3))
    with pytest.raises(InvalidInput, match="expected gradients inside of the context"):
        pullback(jnp.ones(3))


def test_draws_left_over_and_contexts_within_are_refused() -> None:
    with in_jax.recorded() as draws:
        jax.random.normal(KEY, (3,))
        with pytest.raises(InvalidInput, match="one context at a time"), in_jax.recorded():
            pass
    with (
        pytest.raises(InvalidInput, match="torch drew 1 more than jax"),
        in_jax.replayed(Replay(draws)),
    ):
        pass


def test_jax_is_as_before_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    before = dict(of_jax.INNER)
    expected = jax.random.normal(KEY, (3,))

    def fails() -> None:
        jax.random.normal(KEY, (3,))
        raise ValueError("after a draw")

    with pytest.raises(ValueError, match="after a draw"), in_jax.recorded(lambda: "here") as draws:
        fails()
    assert draws[0].module == "here"
    assert draws[0].line.startswith(f"{__file__}:")
    assert all(of_jax.INNER[name] is value for name, value in before.items())
    assert np.array_equal(jax.random.normal(KEY, (3,)), expected)
    monkeypatch.delitem(of_jax.INNER, "_gumbel")
    with pytest.raises(InvalidInput, match=r"jax\.random lacks _gumbel"), in_jax.recorded():
        pass


def test_dropout_that_is_off_draws_nothing() -> None:
    with in_jax.recorded() as draws:
        jax.random.bernoulli(KEY, 0.5, (0, 3))
        jax.random.permutation(KEY, 1)
        nnx.Dropout(0.0, rngs=nnx.Rngs(0))(jnp.ones(3))
    assert not draws


def test_a_key_that_is_used_twice_is_one_draw_and_is_told() -> None:
    with in_jax.recorded() as draws:
        for key in jax.random.split(KEY):
            jax.random.normal(key, (3,))
    told = r"torch drew 1 more than jax: .*: 1 draw replayed \(with a key that it had used, jax "
    with pytest.raises(InvalidInput, match=told), in_jax.replayed(Replay(draws)):
        assert np.array_equal(jax.random.normal(KEY, (3,)), jax.random.normal(KEY, (3,)))


def test_keys_are_told_with_what_was_drawn_with_them() -> None:
    def keys(*draws: Any) -> set[bytes]:
        with in_jax.recorded() as found:
            for draw in draws:
                draw()
            assert draw_primitive.open_notes is not None
            noted = draw_primitive.open_notes.keys
        with in_jax.replayed(replay := Replay(found)):
            for draw in draws:
                draw()
        assert replay.keys == noted
        return replay.keys

    def normal(seed: int, *shape: int) -> Any:
        return lambda: jax.random.normal(jax.random.key(seed), shape)

    assert keys() == keys(normal(0, 0)) == set()
    one = keys(normal(0, 3))
    assert one == keys(normal(0, 3), normal(0, 3)) == keys(normal(0, 3))
    assert len(one) == 1
    others = normal(1, 3), normal(0, 3, 1), lambda: jax.random.gumbel(jax.random.key(0), (3,))
    assert len(keys(normal(0, 3), *others)) == 4
    # What is drawn from, and when, says nothing of the key.
    masks = [lambda p=p: jax.random.bernoulli(KEY, p, (3,)) for p in (0.4, 0.5)]
    assert keys(masks[0]) == keys(masks[1])
