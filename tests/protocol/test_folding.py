"""Matrices that wrappers keep in parts: what is computed is what torch's next forward pass uses."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import parametrizations, parametrize

from shared.protocol.folding import Fold, fold, not_folded
from tests.support.fuzz import fuzz
from tests.support.wrapped_cases import DROPPED, WRAPS, pruned, state, trained, used, weight_norm

MODULES: dict[str, tuple[Any, str, tuple[int, ...]]] = {
    "Linear": (lambda: nn.Linear(3, 5), "weight", (4, 3)),
    "Linear, square": (lambda: nn.Linear(4, 4), "weight", (4, 4)),
    "Conv2d": (lambda: nn.Conv2d(2, 3, 2), "weight", (1, 2, 4, 5)),
    "ConvTranspose2d": (lambda: nn.ConvTranspose2d(2, 3, 2), "weight", (1, 2, 4, 5)),
    "LSTM": (lambda: nn.LSTM(3, 4), "weight_hh_l0", (5, 2, 3)),
    "RNN": (lambda: nn.RNN(3, 4), "weight_hh_l0", (5, 2, 3)),
    "GRUCell": (lambda: nn.GRUCell(3, 1), "weight_ih", (2, 3)),
}


def check_close(actual: np.ndarray, expected: np.ndarray, tolerance: float = 1e-12) -> None:
    assert actual.dtype == expected.dtype
    assert actual.shape == expected.shape
    assert expected.any()
    assert np.abs(actual - expected).max() <= tolerance


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("wrap", WRAPS)
def test_a_wrapped_tensor_is_what_the_next_forward_pass_uses(wrap: str, module: str) -> None:
    torch.manual_seed(0)
    make, name, shape = MODULES[module]
    wrapper, function = WRAPS[wrap]
    x = torch.randn(shape, dtype=torch.float64)
    wrapped = trained(function(make().double(), name), x)
    before = state(wrapped)
    tensors, folds = fold(before)
    expected = used(wrapped, name, x)
    check_close(tensors[name], expected)
    assert [(one.name, one.wrapper) for one in folds] == [(name, wrapper)]
    others = {key: array for key, array in before.items() if key not in folds[0].parts}
    assert {key for key in tensors if key != name} == set(others)
    assert all(tensors[key] is array for key, array in others.items())
    assert not_folded(tensors) == {}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_it_is_computed_in_float64_and_rounded_once(dtype: torch.dtype) -> None:
    torch.manual_seed(1)
    wrapped = weight_norm(nn.Linear(3, 5), "weight")
    parts = {name: tensor.to(dtype) for name, tensor in wrapped.state_dict().items()}
    g, v = parts["weight_g"].double(), parts["weight_v"].double()
    expected = (v * (g / v.norm(dim=1, keepdim=True))).to(dtype)
    found = fold(state(wrapped.to(dtype))).tensors["weight"]
    assert np.array_equal(found.astype(np.float64), expected.double().numpy())


@pytest.mark.parametrize("where", DROPPED)
def test_the_trained_matrix_of_drop_connect_is_taken(where: str) -> None:
    torch.manual_seed(2)
    x = torch.randn(5, 2, 3, dtype=torch.float64)
    wrapped = trained(DROPPED[where](nn.LSTM(3, 4).double(), "weight_hh_l0"), x)
    before = state(wrapped)
    tensors, (one,) = fold(before)
    assert set(tensors) == {f"module.{name}" for name in nn.LSTM(3, 4).state_dict()}
    expected = used(wrapped, "weight_hh_l0", x)
    assert np.array_equal(tensors["module.weight_hh_l0"], expected)
    assert (one.name, one.wrapper) == ("module.weight_hh_l0", "DropConnect")
    assert not any(name.endswith("_raw") for name in tensors)


def test_wrappers_around_wrappers_are_computed_from_the_inside() -> None:
    torch.manual_seed(3)
    layer = weight_norm(nn.Linear(3, 5).double(), "weight")
    wrapped = pruned(layer, "weight_v")
    tensors, folds = fold(state(wrapped))
    assert [one.wrapper for one in folds] == ["pruning", "weight norm"]
    x = torch.ones(1, 3, dtype=torch.float64)
    wrapped(x)
    check_close(tensors["weight"], used(wrapped, "weight", x))
    assert list(tensors) == ["bias", "weight"]


def test_the_axis_of_a_new_spectral_norm_of_a_square_matrix_is_not_guessed() -> None:
    """Neither shapes tell it nor vectors that have seen no forward pass."""
    torch.manual_seed(4)
    for layer in (nn.Linear(4, 4), nn.Conv1d(4, 4, 1)):
        tensors, folds = fold(state(nn.utils.spectral_norm(layer.double())))
        assert folds == ()
        assert "expected weight_u and weight_v of spectral norm" in not_folded(tensors)["weight"]


def test_the_vectors_of_a_spectral_norm_tell_its_axis() -> None:
    """Where the matrix is square, they fit the rows and the columns."""
    torch.manual_seed(5)
    x = torch.randn(4, 4, dtype=torch.float64)
    for axis in (0, 1):
        linear = nn.utils.spectral_norm(nn.Linear(4, 4).double(), dim=axis)
        wrapped = trained(linear, x)
        check_close(fold(state(wrapped)).tensors["weight"], used(wrapped, "weight", x))


ARRAYS = {
    "one half": {"a.weight_g": (5, 1)},
    "the other half": {"foo_v": (5, 3)},
    "g of another shape": {"a.weight_g": (4, 1), "a.weight_v": (5, 3)},
    "g with two axes": {"x_g": (5, 3), "x_v": (5, 3)},
    "two vectors": {"x_g": (5,), "x_v": (5,)},
    "the plain tensor is there": {"x_g": (5, 1), "x_v": (5, 3), "x": (5, 3)},
    "a mask of another shape": {"x_orig": (5, 3), "x_mask": (5,)},
    "a vector of another length": {"x_orig": (5, 3), "x_mask": (3, 5)},
    "raw values of something else": {"scale_raw": (5,), "scale": (5,)},
    "raw weights of something else": {"weight_raw": (5, 3), "weight": (5, 3)},
}


@pytest.mark.parametrize("case", ARRAYS)
def test_a_parameter_that_only_has_such_a_name_stays(case: str) -> None:
    tensors = {name: np.ones(shape) for name, shape in ARRAYS[case].items()}
    found, folds = fold(tensors)
    assert folds == ()
    assert list(found) == list(tensors)
    assert all(found[name] is array for name, array in tensors.items())
    assert not_folded(found) == {}
    assert fold({}) == ({}, ())


class Squared(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * x


def test_what_cannot_be_computed_is_named_with_the_way_out() -> None:
    orthogonal = parametrizations.orthogonal(nn.Linear(3, 3))
    parametrize.register_parametrization(orthogonal, "bias", Squared(), unsafe=True)
    tensors, folds = fold({f"a.{name}": array for name, array in state(orthogonal).items()})
    assert folds == ()
    refused = not_folded(tensors)
    assert set(refused) == {"a.weight", "a.bias"}
    for name, reason in refused.items():
        leaf = name.removeprefix("a.")
        assert f"remove_parametrizations(module, '{leaf}')" in reason
    two = parametrizations.weight_norm(nn.Linear(3, 3))
    parametrize.register_parametrization(two, "weight", Squared(), unsafe=True)
    parametrizations.spectral_norm(two, "weight")
    tensors, folds = fold(state(two))
    assert folds == ()
    assert set(not_folded(tensors)) == {"weight"}
    halves = {
        "rnn.weight_hh_l0_orig": np.ones((4, 4)),
        "rnn.weight_ih_l0_g": np.ones((4, 1)),
        "weight_ih_raw": np.ones((4, 4)),
        "weight_ih": np.ones((4, 5)),
    }
    refused = not_folded(fold(halves).tensors)
    assert set(refused) == {"rnn.weight_hh_l0", "rnn.weight_ih_l0", "weight_ih"}


PREFIXES = st.lists(st.sampled_from(["module", "a", "0", "parametrized", "x_v", "é\n"]), max_size=4)


@fuzz(30)
@given(PREFIXES, st.sampled_from([*WRAPS]), st.sampled_from([*MODULES]), st.integers(0, 99))
def test_at_any_depth_beside_anything(path: list[str], wrap: str, module: str, seed: int) -> None:
    torch.manual_seed(seed)
    make, name, shape = MODULES[module]
    wrapper, function = WRAPS[wrap]
    x = torch.randn(shape, dtype=torch.float64)
    wrapped = trained(function(make().double(), name), x)
    prefix = "".join(f"{step}." for step in path)
    beside = {f"else.{key}": array for key, array in state(nn.GRU(2, 3)).items()}
    beside |= {"other_v": np.ones(3), "else_orig": np.ones((2, 2))}
    inner = {prefix + key: array for key, array in state(wrapped).items()}
    tensors, folds = fold(beside | inner)
    parts = tuple(key for one in folds for key in one.parts)
    assert folds == (Fold(prefix + name, wrapper, parts),)
    assert set(parts) <= set(inner)
    check_close(tensors[prefix + name], used(wrapped, name, x))
    for key, array in beside.items():
        assert tensors[key] is array
