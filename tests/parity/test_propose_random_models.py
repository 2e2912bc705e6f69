"""Tests of shared/parity/propose.py with models that Hypothesis makes: nested anyhow, with weights
under any wrapper, ported under other names in another order."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import parametrizations, prune

import rnn_jax
from shared.parity.propose import propose
from shared.system.randomness import generator

SIZE = 5
KINDS = ("linear", "norm", "gru", "lstm")
WRAPPERS = ("none", "weight norm", "spectral norm", "pruning", "weight norm by hooks")
DOUBLE: dict[str, Any] = {"dtype": jnp.float64, "param_dtype": jnp.float64}


class Step(nn.Module):
    """One layer around whatever is within it, at any depth."""

    def __init__(self, name: str, layer: nn.Module, inner: nn.Module | None):
        super().__init__()
        self.add_module(name, layer)
        self.name = name
        self.inner = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.get_submodule(self.name)(x)
        y = torch.tanh(y[0] if isinstance(y, tuple) else y)
        return y if self.inner is None else self.inner(y) + y / 2


class Port(nnx.Module):
    """All layers side by side, in another order than they are called."""

    def __init__(self, kinds: Sequence[str], order: Sequence[int], names: Sequence[str]):
        rngs = nnx.Rngs(0)
        self.called = [f"{names[i]}{order.index(i)}" for i in range(len(kinds))]
        for i in order:
            setattr(self, self.called[i], _ours(kinds[i], rngs))

    def __call__(self, x: Any) -> Any:
        found = []
        for name in self.called:
            y = getattr(self, name)(x)
            x = jnp.tanh(y[0] if isinstance(y, tuple) else y)
            found.append(x)
        total = found[-1]
        for y in reversed(found[:-1]):
            total = total + y / 2
        return total


def _ours(kind: str, rngs: nnx.Rngs) -> nnx.Module:
    if kind == "norm":
        return nnx.LayerNorm(SIZE, epsilon=1e-5, **DOUBLE, rngs=rngs)
    if kind == "linear":
        return nnx.Linear(SIZE, SIZE, **DOUBLE, rngs=rngs)
    layer = {"gru": rnn_jax.GRU, "lstm": rnn_jax.LSTM}[kind]
    return layer(SIZE, SIZE, batch_first=True, **DOUBLE, rngs=rngs)


def _theirs(kind: str, wrapper: str) -> nn.Module:
    if kind == "norm":
        layer: Any = nn.LayerNorm(SIZE)
    elif kind == "linear":
        layer = nn.Linear(SIZE, SIZE)
    else:
        layer = {"gru": nn.GRU, "lstm": nn.LSTM}[kind](SIZE, SIZE, batch_first=True)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(torch.rand_like(parameter) * 0.4 + 0.1)
    name = "weight_hh_l0" if kind in ("gru", "lstm") else "weight"
    if kind == "norm" or wrapper == "none":
        return layer
    if wrapper == "pruning":
        return prune.random_unstructured(layer, name, 0.4)
    if wrapper == "weight norm by hooks":
        with pytest.warns(FutureWarning, match="weight_norm"):
            return nn.utils.weight_norm(layer, name)
    wrap = {
        "weight norm": parametrizations.weight_norm,
        "spectral norm": parametrizations.spectral_norm,
    }
    return wrap[wrapper](layer, name)


@settings(max_examples=12, deadline=None, derandomize=True, database=None)
@given(st.data())
def test_a_nested_model_under_wrappers_is_ported(data: st.DataObject) -> None:
    kinds = data.draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=5))
    order = data.draw(st.permutations(range(len(kinds))))
    names = [data.draw(st.sampled_from(("a", "layer", "rnn", "part"))) for _ in kinds]
    torch.manual_seed(data.draw(st.integers(0, 99)))
    theirs: nn.Module | None = None
    for kind in reversed(kinds):
        wrapper = data.draw(st.sampled_from(WRAPPERS))
        theirs = Step(
            data.draw(st.sampled_from(("x", "layer", "b"))), _theirs(kind, wrapper), theirs
        )
    assert theirs is not None
    ours = Port(kinds, order, names)
    x = generator(0, "sample").standard_normal((3, 4, SIZE))
    found = propose(theirs, ours, x, show=False)
    found.load(ours, theirs.state_dict())
    with torch.no_grad():
        expected = theirs.eval().double()(torch.tensor(x)).numpy()
    # What was folded is rounded to float32, as torch's parameters are.
    np.testing.assert_allclose(
        ours(jnp.asarray(x)), expected, rtol=0, atol=2e-7 * abs(expected).max()
    )
