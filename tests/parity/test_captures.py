"""What submodules in JAX are given and return is recorded, and nothing is changed by it."""

import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx
from jax import Array

import rnn_jax
from rnn_jax import captures as ours

B, T, F, H = 2, 3, 4, 5
WIDE: Any = jnp.float64


def numbers(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape)


def shown(calls: Any) -> list[tuple]:
    return [(c.path, c.number, *map(list, (c.inputs, c.outputs))) for c in calls]


Made: list[type] = []
Asked: list[str] = []


class Counting(nnx.Module):
    """A class that wants to know its subclasses, and refuses those that do not say who they are."""

    def __init_subclass__(cls, *, who: str, **options: Any) -> None:
        super().__init_subclass__(**options)
        Made.append(cls)

    def __init__(self, rngs: nnx.Rngs) -> None:
        self.lin = nnx.Linear(H, H, rngs=rngs, param_dtype=WIDE)


class Block(Counting, who="block"):
    def __call__(self, x: Array, *, scale: Array | None = None) -> dict[str, Any]:
        Asked.append(ours.current())
        out = self.lin(x)
        return {"kept": out if scale is None else out * scale, "name": "x", "none": None}


class Derived(Block, who="derived"):
    def __call__(self, x: Array, **options: Any) -> dict[str, Any]:
        assert isinstance(self, Derived)
        assert type(self).__name__ == "Derived"
        return super().__call__(x + 1, **options)


@nnx.dataclass
class Data(nnx.Module):
    inner: nnx.Linear
    rate: float = 0.5
    other: nnx.Param | None = None

    def __call__(self, x: Array) -> Array:
        return self.rate * self.inner(x)


class Old(nnx.Object):  # no pytree
    def __init__(self) -> None:
        self.w = nnx.Param(jnp.full((H,), 1.25))


class Bare(nnx.Module, pytree=False):
    def __init__(self) -> None:
        self.old = Old()

    def __call__(self, x: Array) -> Array:
        return x * self.old.w[...]


class Port(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        wide: Any = {"rngs": rngs, "param_dtype": WIDE, "dtype": WIDE}
        self.rnn = nnx.RNN(nnx.GRUCell(F, H, **wide))
        self.seq = nnx.Sequential(
            nnx.Linear(H, H, **wide), nnx.Dropout(0.4, rngs=rngs), nnx.BatchNorm(H, **wide)
        )
        self.blocks = nnx.List([Block(rngs), Derived(rngs)])
        self.data = Data(nnx.Linear(H, H, **wide))
        self.bare = Bare()
        self.cell = nnx.SimpleCell(H, H, **wide)
        self.own = rnn_jax.LSTM(H, H, rngs=rngs)
        norm: Any = self.seq.layers[2]
        for statistic in (norm.mean, norm.var):
            statistic.set_value(statistic.get_value().astype(WIDE))

    def __call__(self, x: Array) -> Array:
        y = self.bare(self.data(self.seq(self.rnn(x))))
        for block in self.blocks:
            y = block(y, scale=y[:, :1])["kept"]
        h = y[:, 0]
        for t in range(2):
            h, _ = self.cell(h, y[:, t])
        return self.own(y)[0] + h[:, None]


def merged(port: nnx.Module) -> Any:
    return nnx.merge(*nnx.split(port), copy=True)


def test_nnx_submodules() -> None:
    graph, state = nnx.split(Port(nnx.Rngs(0)))

    def run(state: Any, x: Any) -> list:
        port = nnx.merge(graph, state, copy=True)
        with ours.captured(port) as calls:
            port(x)
        return calls

    calls = jax.eval_shape(run, state, numbers(B, T, F))
    told = [call for call in shown(calls) if not call[0].startswith("rnn.cell")]
    one = ["inputs.0"], ["outputs"]
    assert told == [
        ("rnn", 1, *one),
        ("seq.layers.0", 1, *one), ("seq.layers.1", 1, *one), ("seq.layers.2", 1, *one),
        ("seq", 1, *one), ("data.inner", 1, *one), ("data", 1, *one), ("bare", 1, *one),
        ("blocks.0.lin", 1, *one), ("blocks.0", 1, ["inputs.0", "inputs.scale"], ["outputs.kept"]),
        ("blocks.1.lin", 1, *one), ("blocks.1", 1, ["inputs.0", "inputs.scale"], ["outputs.kept"]),
        ("cell.dense_i", 1, *one), ("cell.dense_h", 1, *one),
        ("cell", 1, ["inputs.0", "inputs.1"], ["outputs.0", "outputs.1"]),
        ("cell.dense_i", 2, *one), ("cell.dense_h", 2, *one),
        ("cell", 2, ["inputs.0", "inputs.1"], ["outputs.0", "outputs.1"]),
        ("own", 1, ["inputs.0"], ["outputs.0", "outputs.1.0", "outputs.1.1"]),
        ("", 1, *one),
    ]  # fmt: skip
    assert calls[-1].outputs["outputs"].shape == (B, T, H)
    assert [c for c in calls if c.path == "rnn.cell"] == [("rnn.cell", 1, {}, {})]
    assert ours.kinds(nnx.merge(graph, state))["seq.layers.1"] == "Dropout"
    assert [made.__name__ for made in Made] == ["Block", "Derived"]


def test_nnx_modules_are_as_they_were() -> None:
    port = merged(Port(nnx.Rngs(0)))
    before = [(path, type(part), list(vars(part))) for path, part in nnx.iter_modules(port)]
    graph, state = nnx.split(port)
    signature = inspect.signature(port.blocks[0])
    x = jnp.asarray(numbers(B, T, F))
    with ours.captured(port) as calls:
        places = [path for path, _ in nnx.to_flat_state(nnx.state(port))]
        assert isinstance(port.blocks[1], Derived)
        assert type(port.blocks[0]) is type(merged(port).blocks[0])
        copied = jax.tree.map(lambda leaf: leaf, port.data)
        assert copied is not port.data
        copied(x @ numbers(F, H))
        assert ours.current() == ""
        assert inspect.signature(port.blocks[0]) == signature
        nnx.split(port)
    assert [call.path for call in calls] == ["data.inner", "data"]
    assert places == [path for path, _ in nnx.to_flat_state(state)]
    after = [(path, type(part), list(vars(part))) for path, part in nnx.iter_modules(port)]
    assert after == before
    assert nnx.split(port)[0] == graph
    with pytest.raises(TypeError), ours.captured(port):
        port(x, 1)
    assert [type(part) for _, part in nnx.iter_modules(port)] == [kind for _, kind, _ in before]
    assert ours.current() == ""
    Asked.clear()
    port.blocks[0](x @ numbers(F, H))
    assert Asked == [""]
    # One that was copied inside of the context records no more.
    assert copied(x @ numbers(F, H)).shape == (B, T, H)
    assert len(calls) == 2


def loss(graph: Any, state: Any, x: Any, capture: bool) -> tuple:
    params, rest = nnx.split_state(state, nnx.Param, ...)

    def value(params: Any) -> tuple:
        port = nnx.merge(graph, params, rest, copy=True)
        if capture:
            with ours.captured(port) as calls:
                out = port(x)
        else:
            out, calls = port(x), []
        return jnp.square(out).sum(), (calls, out, nnx.state(port))

    return jax.value_and_grad(value, has_aux=True)(params)


def test_nnx_computes_the_same() -> None:
    graph, state = nnx.split(Port(nnx.Rngs(0)))
    x = jnp.asarray(numbers(B, T, F))

    def program(capture: bool) -> str:
        def without_calls(state: Any, x: Any) -> tuple:
            (value, (_, *seen)), gradients = loss(graph, state, x, capture)
            return value, seen, gradients

        return str(jax.make_jaxpr(without_calls)(state, x))

    assert program(True) == program(False)
    run = jax.jit(loss, static_argnums=(0, 3))
    (_, (calls, out, after)), _ = run(graph, state, x, True)
    (_, (none, plain, after_plain)), _ = run(graph, state, x, False)
    assert none == []
    np.testing.assert_allclose(out, plain, rtol=1e-12, atol=1e-12)
    # The calls come out of what is compiled, with their names and in their order.
    assert calls[-1].path == ""
    assert list(calls[-1].outputs) == ["outputs"]
    np.testing.assert_array_equal(calls[-1].outputs["outputs"], out)
    assert jax.tree.structure(after) == jax.tree.structure(after_plain)
    assert int(after.seq.layers[1].rngs.count[...]) == 1
    assert np.abs(after.seq.layers[2].mean[...]).min() > 0


class Transformed(nnx.Module):
    """A block in each of nnx's transformations, and in jax's own."""

    def __init__(self, how: str, rngs: nnx.Rngs) -> None:
        self.how = how
        if how in ("scan", "vmap"):
            make = nnx.vmap(lambda key: Block(nnx.Rngs(key)), in_axes=0)
            self.block = make(jax.random.split(rngs(), 2))
        else:
            self.block = Block(rngs)
        self.after = nnx.Linear(H, H, rngs=rngs, param_dtype=WIDE)

    def __call__(self, x: Array) -> Array:
        def call(block: Block, x: Array) -> Array:
            return block(x)["kept"]

        ways: dict[str, Callable] = {
            "scan": nnx.scan(call, in_axes=(0, nnx.Carry), out_axes=nnx.Carry),
            "vmap": lambda block, x: nnx.vmap(call, in_axes=(0, None))(block, x).sum(0),
            "jit": nnx.jit(call),
            "remat": nnx.remat(call),
            "lax": lambda block, x: jax.lax.scan(lambda h, _: (block(h)["kept"], 0), x, length=2)[
                0
            ],
        }
        return self.after(ways[self.how](self.block, x))


@pytest.mark.parametrize("how", ["scan", "vmap", "jit", "remat", "lax"])
def test_nothing_leaves_a_trace_of_the_models_own(how: str) -> None:
    graph, state = nnx.split(Transformed(how, nnx.Rngs(0)))
    x = jnp.asarray(numbers(B, H))
    Asked.clear()

    @jax.jit
    def run(state: Any, x: Array) -> tuple:
        port = nnx.merge(graph, state, copy=True)
        with ours.captured(port) as calls:
            return port(x), calls

    with jax.checking_leaks():
        out, calls = run(state, x)
    assert shown(calls) == [
        ("block.lin", 1, [], []), ("block", 1, [], []),
        ("after", 1, ["inputs.0"], ["outputs"]), ("", 1, ["inputs.0"], ["outputs"]),
    ]  # fmt: skip
    assert set(Asked) == {"block"}
    np.testing.assert_allclose(out, nnx.merge(graph, state)(x), rtol=1e-12)
    outside = nnx.merge(graph, state)
    with ours.captured(outside) as calls:
        outside(x)
    assert {call.path: len(call.inputs) for call in calls} == {
        "block.lin": 0, "block": 0, "after": 1, "": 1
    }  # fmt: skip


class Caller(nnx.Module):
    def __init__(self, data: Data) -> None:
        self.data = data

    def __call__(self, data: Data, scale: nnx.Param, key: Array) -> tuple[Any, ...]:
        return data(scale.get_value()), key, data, 3, np.float64


def test_a_module_among_the_arguments_is_no_nest_of_arrays() -> None:
    linear = nnx.Linear(F, H, rngs=nnx.Rngs(0), param_dtype=WIDE)
    caller = Caller(Data(linear, 0.5, nnx.Param(jnp.asarray(numbers(F)))))
    with ours.captured(caller) as calls:
        caller(caller.data, nnx.Param(jnp.asarray(numbers(B, F))), jax.random.key(0))
    assert shown(calls)[-1] == ("", 1, ["inputs.1"], ["outputs.0"])


# flax.linen and functions -----------------------------------------------------------------------


class Inner(linen.Module):
    @linen.compact
    def __call__(self, x: Array) -> Array:
        Asked.append(ours.current())
        dense = linen.Dense(H, param_dtype=WIDE, name="dense")
        return self.scaled(dense(x)) + dense(x)

    def scaled(self, x: Array) -> Array:
        return 2 * x


class Linen(linen.Module):
    @linen.compact
    def __call__(self, x: Array) -> Array:
        x = linen.BatchNorm(use_running_average=True, param_dtype=WIDE)(Inner(name="enc")(x))
        scan = linen.scan(
            linen.GRUCell, variable_broadcast="params", split_rngs={"params": False}, in_axes=1
        )
        carry = jnp.zeros((B, H))
        return scan(H, param_dtype=WIDE, name="cell")(carry, x)[0]


def test_linen_modules_inside_of_a_function() -> None:
    x = jnp.asarray(numbers(B, T, F))
    module = Linen()
    variables = module.init(jax.random.key(0), x)

    def function(params: Any, x: Array) -> Array:
        return module.apply(params, x)  # pyright: ignore[reportReturnType]

    def run(params: Any, x: Array, capture: bool) -> tuple:
        if not capture:
            return function(params, x), []
        with ours.captured(function) as calls:
            return function(params, x), calls

    Asked.clear()
    _, calls = jax.jit(run, static_argnums=2)(variables, x, True)
    assert Asked == ["enc"]
    one = ["inputs.0"], ["outputs"]
    assert [call for call in shown(calls) if not call[0].startswith("cell.")] == [
        ("enc.dense", 1, *one), ("enc.dense", 2, *one), ("enc", 1, *one),
        ("BatchNorm_0", 1, *one), ("cell", 1, [], []), ("", 1, *one),
    ]  # fmt: skip
    programs = [
        str(jax.make_jaxpr(lambda v, x, c=c: run(v, x, c)[0])(variables, x)) for c in (True, False)
    ]
    assert programs[0] == programs[1]
    with ours.captured(function):
        pass
    assert len(run(variables, x, False)[1]) == 0


def test_plain_functions_have_no_calls() -> None:
    with ours.captured(lambda params, x: params * x) as calls:
        assert jnp.ones(2).sum() == 2
    assert calls == []
    assert ours.kinds(print) == {}
