"""Compiled or not, a function of JAX draws the same, in the same order, and gets the same back."""

import random
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen
from jax.random import bernoulli  # imported early, as by users

from rnn_jax.compiled_draws import Compiled, drawing
from shared.errors import InvalidInput
from shared.protocol.draws import Draw, Replay
from tests.support.draw_cases import KEYS, X, by_hand, equal


def scanned(x: Any) -> Any:
    """One mask for all steps, and others for each."""

    def step(h: Any, given: Any) -> Any:
        x, key = given
        noise = jax.random.normal(KEYS[6], h.shape)
        kept = bernoulli(jax.random.fold_in(key, 0), 0.2, h.shape)
        h = h * bernoulli(key, jax.nn.sigmoid(x))
        return jnp.where(kept, h, jnp.tanh(x + 0.5 * h)) * noise, None

    xs = x.swapaxes(0, 1), jax.random.split(KEYS[7], 4)
    return jax.lax.scan(step, jnp.ones_like(x[:, 0]), xs, reverse=True)[0]


def mapped(x: Any) -> Any:
    twice = jax.vmap(jax.vmap(lambda x, key, p: x * bernoulli(key, p, x.shape)), (1, 0, None), 1)
    return twice(x, jax.random.split(KEYS[0], (4, 3)), jax.nn.sigmoid(x[0, 0, :3]))


def branched(x: Any) -> Any:
    def draws() -> list[Any]:
        kinds = jax.random.normal, jax.random.gumbel
        return [lambda key, draw=draw: draw(key, (4, 5)) for draw in kinds]

    chosen = jax.lax.switch((x[0, 0, 0] > 0).astype(int), draws(), KEYS[3])
    return x * jax.lax.cond(x.sum() > 0, *draws(), KEYS[2]) + chosen


def looped(x: Any) -> Any:
    def step(state: Any) -> Any:
        t, noise = state
        return t + 1, noise + jax.random.uniform(jax.random.fold_in(KEYS[0], t), (4, 5))

    return x * jax.lax.while_loop(lambda state: state[0] < 3, step, (0, jnp.zeros((4, 5))))[1]


def kinds(x: Any) -> Any:
    key = jax.random.PRNGKey(5)  # of uint32
    x = x * (1 + jax.random.categorical(KEYS[4], x[:, 0])[:, None, None])
    x = x * jax.random.uniform(key, (5,), minval=x[0, 0, 0] - 3, maxval=2.0)
    x = x * jax.random.uniform(KEYS[1], (5,), jnp.float32, -jnp.exp(0.5), 2.0)
    x = x * jax.random.randint(KEYS[2], (4, 1), 2, 9) * jax.random.exponential(KEYS[3], (5,))
    x = jax.random.permutation(KEYS[5], x) ** jnp.arange(1, 4)[:, None, None]
    return x + jax.random.gumbel(KEYS[0], (0, 5)).sum()


def of_linen(x: Any) -> Any:
    body = jax.jit(lambda x, key: by_hand(x, key))  # which linen looks at, and then traces

    class Step(linen.Module):
        @linen.compact
        def __call__(self, h: Any, x: Any) -> Any:
            h = linen.Dropout(0.3, deterministic=False)(h + x)
            return (h := jnp.tanh(x + body(h, self.make_rng("dropout")))), h

    rngs: Any = {"params": False, "dropout": True}
    scan = linen.scan(Step, variable_broadcast="params", split_rngs=rngs)
    return scan().apply({}, jnp.zeros((4, 5)), x, rngs={"dropout": KEYS[2]})[1]


def in_a_jit(x: Any) -> Any:
    one, other = (jax.jit(lambda x, key: by_hand(x, key)) for _ in range(2))
    return one(x, KEYS[0]) + other(jnp.sin(x), KEYS[1])


@jax.custom_vjp
def own_gradient(x: Any) -> Any:
    return x * bernoulli(KEYS[0], 0.5, x.shape)


own_gradient.defvjp(lambda x: (own_gradient(x), None), lambda _, g: (2 * g,))

SAME = [scanned, mapped, branched, looped, kinds, of_linen, in_a_jit, own_gradient]


def drawn(function: Any, x: np.ndarray, draws: Any) -> list[np.ndarray]:
    with drawing(draws, 1):
        return [np.asarray(array) for array in function(jnp.asarray(x))]


def same(function: Any, path: str = "compiled") -> str:
    """Compares both paths, records, and replays in the other order of numbers.

    Returns:
        Why it is not compiled.
    """

    def loss(x: Any) -> Any:
        output = function(x)
        return (output * jnp.cos(jax.lax.stop_gradient(output) + 1)).sum(), output

    def plain(x: Any) -> Any:
        (_, output), gradient = jax.value_and_grad(loss, has_aux=True)(x)
        return output, gradient

    compiled = Compiled(plain)
    for scale in (1, 0.5):
        mine: list[Draw] = []
        theirs: list[Draw] = []
        equal(drawn(compiled, X * scale, mine), drawn(plain, X * scale, theirs))
        assert (compiled.path, bool(compiled.reason)) == (path, path == "plain"), compiled.reason
        assert [m[:2] + m[4:] for m in mine] == [t[:2] + t[4:] for t in theirs]
        for ours, others in zip(mine, theirs, strict=True):
            assert np.abs(ours.values * 1.0 - others.values).max() < 1e-12
            assert ours.values.dtype == others.values.dtype
            assert ours.settings.keys() == others.settings.keys()
            for name, value in ours.settings.items():
                assert np.abs(np.asarray(value) - others.settings[name]).max() < 1e-12
        given = [draw._replace(values=draw.values[::-1]) for draw in mine]
        replays = Replay(given), Replay(given)
        equal(drawn(compiled, X * scale, replays[0]), drawn(plain, X * scale, replays[1]))
        assert [replay.replayed for replay in replays] == [len(mine)] * 2
        assert replays[0].keys == replays[1].keys
        assert replays[0].keys
    return compiled.reason


@pytest.mark.parametrize("function", SAME)
def test_both_paths_draw_the_same(function: Any) -> None:
    assert not same(function)


def moved(x: Any) -> Any:
    """The second draw of each step is always the same, which gradients make before the loop."""

    def step(h: Any, given: Any) -> Any:
        x, key = given
        kept = bernoulli(key, 0.2, h.shape)
        return jnp.where(kept, h, jnp.tanh(x + h) * jax.random.normal(KEYS[6], h.shape)), None

    return jax.lax.scan(step, jnp.ones_like(x[:, 0]), (x.swapaxes(0, 1), KEYS[:4]))[0]


def remembered(x: Any) -> Any:
    body = jax.checkpoint(lambda x, key: by_hand(jnp.sin(x), key))
    return body(body(x, KEYS[0]), KEYS[1])


def shared(x: Any) -> Any:
    body = jax.jit(lambda x, key: by_hand(x, key))
    return body(x, KEYS[0]) + body(jnp.sin(x), KEYS[1])


def by_value(x: Any) -> Any:
    return by_hand(x) if x.sum() > -1e6 else x


def by_python(x: Any) -> Any:
    return x * jax.random.normal(KEYS[0], x.shape) * (1 + random.random())


def by_numpy(x: Any) -> Any:
    return x * jax.random.normal(KEYS[0], x.shape) * (1 + np.random.random())


def at_once(x: Any) -> Any:
    with jax.ensure_compile_time_eval():
        mask = bernoulli(KEYS[0], 0.5, x.shape)
    return x * mask


def fixed_by_linen(x: Any) -> Any:
    class Step(linen.Module):
        @linen.compact
        def __call__(self, h: Any, x: Any) -> Any:
            return (h := jnp.tanh(x + linen.Dropout(0.3, deterministic=False)(h + x))), h

    rngs: Any = {"params": False, "dropout": False}
    scan = linen.scan(Step, variable_broadcast="params", split_rngs=rngs)
    return scan().apply({}, jnp.zeros((4, 5)), x, rngs={"dropout": KEYS[2]})[1]


PLAIN = {
    moved: "another order", remembered: "Effects not supported", shared: "another order",
    by_value: "TracerBoolConversionError", by_python: "Python or NumPy draws",
    by_numpy: "Python or NumPy draws", at_once: "at compile time", fixed_by_linen: "random_bits",
}  # fmt: skip


@pytest.mark.parametrize("function", PLAIN)
def test_what_cannot_be_compiled_in_order_is_plain(function: Any) -> None:
    assert PLAIN[function] in same(function, "plain")


@pytest.mark.parametrize(
    "name", ["laplace", pytest.param("gamma", marks=pytest.mark.slow), "rng_uniform"]
)
def test_what_is_not_handed_over_is_plain(name: str) -> None:
    def draw(x: Any) -> Any:
        if name == "rng_uniform":
            return jax.lax.rng_uniform(0.0, 1.0, x.shape)
        return getattr(jax.random, name)(KEYS[0], *[2.0] * (name == "gamma"), shape=x.shape)

    compiled, draws = Compiled(draw), []
    with drawing(draws, 1):
        compiled(X)
    assert compiled.path == "plain"
    assert {found.kind for found in draws} == {name}


def test_a_refusal_is_the_same_in_both() -> None:
    def draw(x: Any) -> Any:
        return jax.lax.scan(lambda h, k: (h * bernoulli(k, 0.5, (3,)), 0), x[0, 0, :3], KEYS)[0]

    ones = np.ones(3, bool)
    others = [Draw("bernoulli", (3,), {"p": p}, ones) for p in (0.5, 0.5, 0.4, 0.5)]
    for given in (others, others[:2], others[:2] * 5):
        told, taken = [], []
        for function in (compiled := Compiled(draw), draw):
            replay = Replay(given)
            with pytest.raises(InvalidInput) as error, drawing(replay, 1):
                function(jnp.asarray(X))
            told.append(str(error.value))
            taken.append(replay.replayed)
        assert compiled.path == "compiled"
        assert told[0] == told[1]
        assert taken[0] == taken[1]


def test_a_key_that_a_function_makes_is_the_same_at_every_step() -> None:
    def fixed(x: Any, _: Any) -> Any:
        return by_hand(x, jax.random.key(0))

    def half(x: Any, key: Any) -> Any:
        return fixed(by_hand(x, key), key)

    for function, same in ((fixed, 1), (by_hand, 0), (half, 1)):
        for path in (Compiled(function), function):
            replays = []
            for step in (1, 2):
                draws: list[Draw] = []
                with drawing(draws, step):
                    path(jnp.asarray(X * step), KEYS[step])
                replays.append(Replay(draws))
                with drawing(replays[-1], step):
                    path(jnp.asarray(X * step), KEYS[step])
            first, second = (replay.keys for replay in replays)
            assert len(first) == len(second) == 1 + (function is half)
            assert len(first & second) == same


def test_what_is_traced_in_one_way_is_not_used_in_another() -> None:
    body = jax.jit(lambda x: x * jax.random.normal(KEYS[0], x.shape))

    def function(x: Any) -> Any:
        return jax.lax.scan(lambda h, x: (body(x), None), x[0], x)[0]

    x = jnp.asarray(X)
    expected = function(x)
    for draw in (Compiled(function), Compiled(function), function):
        draws: list[Draw] = []
        with drawing(draws, 1):
            equal([expected], [draw(x)])
        assert [found.kind for found in draws] == ["normal"]
        flipped = [draws[0]._replace(values=-draws[0].values)]
        with drawing(Replay(flipped), 1):
            equal([-expected], [draw(x)])
        equal([expected], [function(x)])


def test_a_function_that_others_use_is_traced_anew() -> None:
    body = jax.jit(lambda x: x * jax.random.normal(KEYS[0], x.shape))
    for other in (body, lambda x: body(x * bernoulli(KEYS[1], 0.5, x.shape))):
        compiled, draws = Compiled(other), []
        with drawing(draws, 1):
            compiled(jnp.asarray(X))
        assert compiled.path == "compiled"
    assert [draw.kind for draw in draws] == ["bernoulli", "normal"]


def test_large_draws_and_half_precision_arrive() -> None:
    compiled = Compiled(lambda x: x * jax.random.normal(KEYS[0], (1500, 1000), x.dtype))
    for dtype in (jnp.float32, jnp.bfloat16):
        draws: list[Draw] = []
        with drawing(draws, 1):
            found = compiled(jnp.ones((1500, 1000), dtype))
        expected = jax.random.normal(KEYS[0], (1500, 1000), dtype)
        assert compiled.path == "compiled"
        assert found.dtype == expected.dtype == draws[0].values.dtype
        assert np.abs(np.asarray(found - expected)).max() < 1e-6
        assert np.array_equal(draws[0].values, found)
