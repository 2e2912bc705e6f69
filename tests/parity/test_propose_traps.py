"""Tests of shared/parity/propose.py where running both models could deceive: what is compared, what
has which values, what a model keeps or draws."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import linen, nnx
from torch import nn

from rnn_jax.pair import JaxProgram
from rnn_torch.pair import TorchProgram
from shared.errors import InvalidInput, OutputsDiffer
from shared.parity.propose import propose
from shared.protocol.program import Example, Start
from shared.system.randomness import generator

X = generator(0, "x").standard_normal((5, 4))
DOUBLE: dict[str, Any] = {"dtype": jnp.float64, "param_dtype": jnp.float64}


class Torch(nn.Module):
    """Layers by name, and a function of them and the input."""

    def __init__(self, call: Any, **parts: Any):
        super().__init__()
        for name, part in parts.items():
            if isinstance(part, torch.Tensor) and not isinstance(part, nn.Parameter):
                self.register_buffer(name, part)
            else:
                setattr(self, name, part)
        self.call = call

    def forward(self, x: torch.Tensor) -> Any:
        return self.call(self, x)


class Flax(nnx.Module):
    def __init__(self, call: Any, **parts: Any):
        for name, part in parts.items():
            setattr(self, name, part)
        self.call = call

    def __call__(self, x: Any) -> Any:
        return self.call(self, x)


def linear(inputs: int = 4, outputs: int = 3) -> nnx.Linear:
    return nnx.Linear(inputs, outputs, **DOUBLE, rngs=nnx.Rngs(0))


def places(theirs: nn.Module, ours: Any, x: Any = X, **options: Any) -> Any:
    return propose(theirs, ours, x, show=False, **options).places


def refused(theirs: nn.Module, ours: Any, x: Any = X, **options: Any) -> str:
    with pytest.raises(InvalidInput) as error:
        propose(theirs, ours, x, show=False, **options)
    return str(error.value)


def test_outputs_of_a_dict_belong_together_by_their_keys() -> None:
    theirs = Torch(
        lambda s, x: {"mu": s.a(x), "logvar": s.b(x)}, a=nn.Linear(4, 3), b=nn.Linear(4, 3)
    )
    ours = Flax(
        lambda s, x: {"logvar": s.second(x), "mu": s.first(x)}, second=linear(), first=linear()
    )
    assert places(theirs, ours)["a.weight"] == "first.kernel.T"
    other = Flax(
        lambda s, x: {"mean": s.first(x), "logvar": s.second(x)}, first=linear(), second=linear()
    )
    assert refused(theirs, other) == (
        "outputs: expected the same of both, got outputs.mu, outputs.logvar of theirs and "
        "outputs.logvar, outputs.mean of ours"
    )


def test_state_of_the_port_has_its_own_values() -> None:
    ours = Flax(lambda s, x: s.l(x) + s.shift[...], l=linear(), shift=nnx.Variable(jnp.ones(3)))
    assert "the port computes something else" in refused(nn.Linear(4, 3), ours)
    theirs = Torch(lambda s, x: s.l(x) + s.shift, l=nn.Linear(4, 3), shift=torch.ones(3) * 0.5)
    assert places(theirs, ours)["shift"] == "shift"


def test_a_large_output_hides_no_other() -> None:
    theirs = Torch(
        lambda s, x: torch.cat([s.l(x).exp() * 1e5, s.l(x).tanh()], -1), l=nn.Linear(4, 3)
    )
    ours = Flax(
        lambda s, x: jnp.concatenate([jnp.exp(s.l(x)) * 1e5, -jnp.tanh(s.l(x))], -1), l=linear()
    )
    assert "the port computes something else" in refused(theirs, ours)


def test_masked_outputs_and_parameters_under_a_root() -> None:
    mask = [False, True, False]
    theirs = Torch(
        lambda s, x: (s.l(x) / s.v.sqrt()).masked_fill(torch.tensor(mask), -torch.inf),
        l=nn.Linear(4, 3), v=nn.Parameter(torch.ones(3)),
    )  # fmt: skip
    ours = Flax(
        lambda s, x: jnp.where(jnp.array(mask), -jnp.inf, s.l(x) / jnp.sqrt(s.v[...])),
        l=linear(), v=nnx.Param(jnp.ones(3)),
    )  # fmt: skip
    assert places(theirs, ours)["v"] == "v"


def test_integers_alone_show_nothing() -> None:
    theirs = Torch(lambda s, x: s.l(x).argmax(-1), l=nn.Linear(4, 3))
    ours = Flax(lambda s, x: s.l(x).argmax(-1), l=linear())
    assert refused(theirs, ours).startswith("outputs: expected real numbers among them, got none")


def test_complex_parameters_are_refused_and_complex_buffers_computed_with() -> None:
    theirs = Torch(
        lambda s, x: (s.l(x) * s.z).abs(), l=nn.Linear(4, 3), z=nn.Parameter(torch.tensor(1 + 2j))
    )
    assert refused(theirs, Flax(lambda s, x: s.l(x), l=linear())) == (
        "z: expected real values, got torch.complex64"
    )
    theirs = Torch(lambda s, x: s.l(x) * s.z, l=nn.Linear(4, 3), z=torch.tensor(1 + 2j))
    assert places(theirs, Flax(lambda s, x: s.l(x) * (1 + 2j), l=linear()))
    ours = Flax(lambda s, x: s.l(x) * (1 + 3j), l=linear())
    assert "the port computes something else" in refused(theirs, ours)


def test_a_model_that_draws_or_remembers() -> None:
    theirs = Torch(lambda s, x: nn.functional.dropout(s.l(x), 0.5), l=nn.Linear(4, 3))
    assert "it draws random numbers" in refused(theirs, Flax(lambda s, x: s.l(x), l=linear()))

    def remembers(s: Any, x: torch.Tensor) -> torch.Tensor:
        s.before = s.before + x.mean()
        return s.l(x) + s.before

    theirs = Torch(remembers, l=nn.Linear(4, 3))
    theirs.before = torch.zeros(())  # pyright: ignore[reportAttributeAccessIssue]
    assert places(theirs, Flax(lambda s, x: s.l(x) + x.mean(), l=linear()))


def test_one_module_under_several_names() -> None:
    shared = nn.Embedding(9, 4)
    theirs = Torch(
        lambda s, x: s.head(torch.tanh(s.enc[1](s.enc[0](x))) + s.dec[0](x)),
        enc=nn.ModuleList([shared, nn.Linear(4, 4)]),
        dec=nn.ModuleList([shared]),
        head=nn.Linear(4, 9, bias=False),
    )
    theirs.head.weight = shared.weight  # pyright: ignore
    ours = Flax(
        lambda s, x: s.e.attend(jnp.tanh(s.l(s.e(x))) + s.e(x)),
        e=nnx.Embed(9, 4, **DOUBLE, rngs=nnx.Rngs(0)),
        l=linear(4, 4),
    )
    found = places(theirs, ours, generator(0, "tokens").integers(0, 9, (3, 5)))
    assert found["enc.0.weight"] == found["dec.0.weight"] == found["head.weight"] == "e.embedding"


def test_a_buffer_in_the_ports_code() -> None:
    """Of the shape of a parameter; as a variable; as an array that is no variable; without an
    effect on the sample, where its values still count."""
    theirs = Torch(
        lambda s, x: s.l(x) * s.gain + s.freq,
        l=nn.Linear(4, 3), gain=nn.Parameter(torch.ones(3)), freq=torch.arange(3.0) + 0.5,
    )  # fmt: skip
    freq = jnp.arange(3.0) + 0.5
    for held in (None, nnx.Variable(freq), freq):
        ours = Flax(
            lambda s, x: s.l(x) * s.gain[...] + (freq if s.held is None else s.held[...]),
            l=linear(), gain=nnx.Param(jnp.ones(3)), held=held,
        )  # fmt: skip
        assert places(theirs, ours)["gain"] == "gain"

    def clipped() -> nn.Module:
        return Torch(
            lambda s, x: s.l(x).clamp(-s.most, s.most), l=nn.Linear(4, 3), most=torch.tensor(99.0)
        )

    ours = Flax(lambda s, x: jnp.clip(s.l(x), -99, 99), l=linear())
    names, changed = propose(clipped(), ours, X, show=False), clipped()
    changed.most.fill_(0.1)  # pyright: ignore
    with pytest.raises(InvalidInput, match="most: expected the buffer that the port was checked"):
        names.load(ours, changed.state_dict())
    names = propose(clipped(), ours, X, show=False, known={"most": None})
    names.load(ours, changed.state_dict())


def test_leaves_that_are_no_parameters_stay() -> None:
    params = {"w": np.ones((4, 3)), "b": np.ones(3), "scale": 2.0, "n": np.arange(3)}
    theirs = Torch(lambda s, x: s.l(x) * 2, l=nn.Linear(4, 3))
    found = places(theirs, lambda p, x: (x @ p["w"] + p["b"]) * p["scale"], params=params)
    assert found == {"l.weight": "w.T", "l.bias": "b"}


def test_a_module_that_holds_itself() -> None:
    ours = Flax(lambda s, x: s.l(x), l=linear())
    ours.me = ours  # pyright: ignore[reportAttributeAccessIssue]
    assert places(nn.Linear(4, 3), ours) == {"weight": "l.kernel.T", "bias": "l.bias"}


def test_axes_of_size_one_and_no_elements() -> None:
    theirs = Torch(
        lambda s, x: s.l(x) * s.gain[0, 0],
        l=nn.Linear(4, 3),
        gain=nn.Parameter(torch.ones(1, 1, 3)),
        none=nn.Parameter(torch.ones(3, 0)),
    )
    ours = Flax(
        lambda s, x: s.l(x) * s.gain[...],
        l=linear(), gain=nnx.Param(jnp.ones(3)), none=nnx.Param(jnp.ones((3, 0))),
    )  # fmt: skip
    assert places(theirs, ours)["gain"] == "gain 1 1 a->a"


class Normed(linen.Module):
    @linen.compact
    def __call__(self, x: Any) -> Any:
        x = linen.Dense(3)(x)
        return linen.Dense(3)(linen.BatchNorm(use_running_average=True)(x))


def test_the_batch_norm_of_linen() -> None:
    theirs = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 3))
    module = Normed()
    variables = module.init(jax.random.key(0), X)
    found = places(theirs, module.apply, params=variables)
    assert found["1.running_var"] == "batch_stats.BatchNorm_0.var"
    assert found["2.weight"] == "params.Dense_0.kernel.T" or found["0.weight"] != found["2.weight"]

    def alone(params: Any, x: Any) -> Any:
        return module.apply({"params": params, "batch_stats": variables["batch_stats"]}, x)

    with pytest.warns(OutputsDiffer, match="a buffer that torch has in float32"):
        names = propose(theirs, alone, X, params=variables["params"], show=False)
    assert names.places["1.weight"] == "BatchNorm_0.scale"
    assert {"1.running_mean", "1.running_var"} <= names.constants.keys()


def test_a_pair_takes_a_mapping_of_a_pytree_with_running_statistics_and_a_prefix() -> None:
    theirs = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 3)).double()
    module = Normed()
    variables = module.init(jax.random.key(0), X)
    names = propose(theirs, module.apply, X, params=variables, show=False)
    assert names.buffers == {"1.running_mean", "1.running_var"}
    loaded = names.load(jax.tree.map(np.float64, variables), theirs.state_dict())

    def squares(outputs: Any, targets: Any) -> Any:
        return ((outputs - targets) ** 2).mean()

    ours = JaxProgram(module.apply, loaded, squares, names=replace(names, prefix="inner."))
    original = TorchProgram(nn.ModuleDict({"inner": theirs.eval()})["inner"], squares)
    start = original.now()
    wrapped, buffers = (
        {f"inner.{name}": array for name, array in side.items()}
        for side in (start.weights, start.buffers)
    )
    ours.begin(Start(wrapped, buffers))
    assert ours.now().weights.keys() == wrapped.keys()
    example = Example((X,), np.full((5, 3), 0.5))
    mine, expected = ours.step(example), original.step(example)
    np.testing.assert_allclose(mine["loss/loss"], expected["loss/loss"], rtol=1e-10)
    np.testing.assert_allclose(
        mine["gradients/inner.0.weight"], expected["gradients/0.weight"], rtol=0, atol=1e-12
    )


def test_a_pair_says_that_a_wrapper_is_in_the_way() -> None:
    theirs = nn.utils.parametrizations.weight_norm(nn.Linear(4, 3))
    ours = Flax(lambda s, x: s.l(x), l=linear())
    names = propose(theirs, ours, X, show=False)
    program = JaxProgram(ours, None, lambda a, b: (a - b).sum(), names=names)
    with pytest.raises(
        InvalidInput, match="a wrapper such as weight norm computes it there: remove"
    ):
        program.begin(TorchProgram(theirs, lambda a, b: (a - b).sum()).now())
