"""Tests of shared/protocol/mapping.py: two biases into one, matrices that a wrapper makes, values
of several dtypes."""

from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch
from torch import nn

from shared.errors import InvalidInput
from shared.protocol.folding import fold
from shared.protocol.mapping import WeightMap
from shared.system.randomness import generator


def weights(gates: int) -> dict[str, np.ndarray]:
    rng = generator(0, "biases", gates)
    shapes = {"weight_ih_l0": (gates * 2, 3), "weight_hh_l0": (gates * 2, 2)}
    shapes |= {"bias_ih_l0": (gates * 2,), "bias_hh_l0": (gates * 2,)}
    return {name: rng.standard_normal(shape) for name, shape in shapes.items()}


def port(gates: int, biases: dict[str, int]) -> dict[str, np.ndarray]:
    made = {"wx": np.ones((3, gates * 2)), "wh": np.ones((2, gates * 2))}
    return made | {name: np.ones(size) for name, size in biases.items()}


MATRICES = {"weight_ih_l0": "wx.T", "weight_hh_l0": "wh.T"}


@pytest.mark.parametrize("kept", ["bias_ih_l0", "bias_hh_l0"])
def test_two_biases_become_one_if_asked_for(kept: str) -> None:
    other = {"bias_ih_l0": "bias_hh_l0", "bias_hh_l0": "bias_ih_l0"}[kept]
    names = WeightMap({**MATRICES, kept: "b", other: None})
    found = names.load(port(4, {"b": 8}), weights(4), one_bias=True)
    np.testing.assert_array_equal(found["b"], weights(4)[kept] + weights(4)[other])
    with pytest.raises(InvalidInput) as error:
        names.load(port(4, {"b": 8}), weights(4))
    assert str(error.value) == (
        f"{other}: has no twin in the port, expected zeros, got other values; with one_bias=True, "
        "load adds it to the other bias, which computes the same"
    )


def test_of_a_gru_the_bias_behind_the_reset_gate_is_no_part_of_a_sum() -> None:
    names = WeightMap({**MATRICES, "bias_ih_l0": "b", "bias_hh_l0": [None, None, "n"]})
    given = weights(3)
    found = names.load(port(3, {"b": 6, "n": 2}), given, one_bias=True)
    sums = given["bias_ih_l0"] + given["bias_hh_l0"] * np.array([1, 1, 1, 1, 0, 0])
    np.testing.assert_array_equal(found["b"], sums)
    np.testing.assert_array_equal(found["n"], given["bias_hh_l0"][4:])
    names = WeightMap({**MATRICES, "bias_ih_l0": "b", "bias_hh_l0": None})
    with pytest.raises(InvalidInput, match="bias_hh_l0: has no twin in the port, expected zeros"):
        names.load(port(3, {"b": 6}), given, one_bias=True)


def test_the_trained_matrix_is_loaded_and_not_its_stale_copy() -> None:
    """DropConnect may leave both in a state dict."""
    trained = np.arange(8.0).reshape(4, 2) + 1
    state = {"rnn.weight_hh_l0_raw": trained, "rnn.module.weight_hh_l0": trained * 0}
    found = WeightMap({"rnn.module.weight_hh_l0": "w"}).load({"w": np.ones((4, 2))}, state)
    np.testing.assert_array_equal(found["w"], trained)


def test_what_a_wrapper_makes_does_not_go_back() -> None:
    layer: Any = nn.utils.parametrizations.weight_norm(nn.Linear(3, 2))
    names = WeightMap({"weight": "w.T", "bias": "b"})
    found = names.load({"w": np.ones((3, 2)), "b": np.ones(2)}, layer.state_dict())
    with pytest.raises(
        InvalidInput, match=r"weight: expected it in the module's state dict, got no"
    ):
        names.state_dict(found, like=layer.state_dict())


def test_fold_takes_tensors_of_torch() -> None:
    layer: Any = nn.utils.parametrizations.weight_norm(nn.Linear(3, 2))
    tensors, folds = fold(layer.state_dict())
    assert [one.name for one in folds] == ["weight"]
    np.testing.assert_allclose(tensors["weight"], layer.weight.detach().numpy(), rtol=1e-6)


PARTS: dict[str, tuple[Any, Any]] = {
    "integers first": (np.zeros(3, int), np.full(3, 0.75)),
    "bfloat16 first": (np.ones(3, ml_dtypes.bfloat16), np.full(3, 1.2345678, np.float32)),
    "half first": (np.ones(3, np.float16), np.full(3, 1e6, np.float32)),
    "tensors": (torch.ones(3, dtype=torch.int32), torch.full((3,), 0.75)),
}


@pytest.mark.parametrize("case", PARTS)
def test_parts_of_one_array_keep_their_values_whatever_their_dtypes(case: str) -> None:
    first, second = PARTS[case]
    names = WeightMap({"a": "b[0:3]", "c": "b[3:6]"})
    found = names.load({"b": np.ones(6)}, {"a": first, "c": second})["b"]
    np.testing.assert_array_equal(found, np.r_[np.asarray(first), np.asarray(second)])


BAD: dict[str, tuple[Any, str]] = {
    "no state dict": ([1], "expected a state dict, got list"),
    "a checkpoint around it": (
        {"a": {"w": 1}}, "a: expected an array, got dict: if the tensors are in it, pass that, "
        "checkpoint['a']"),
    "complex": ({"a": np.ones(2) * 1j}, "a: expected real numbers, got complex128"),
    "text": ({"a": np.array(["x", "y"])}, "a: expected real numbers, got <U1"),
    "dates": (
        {"a": np.zeros(2, "datetime64[s]")}, "a: expected real numbers, got datetime64[s]"),
    "sparse": (
        {"a": torch.ones(2).to_sparse()},
        "a: expected plain values, got torch.sparse_coo, torch.float32, on cpu"),
    "no values": (
        {"a": torch.ones(2, device="meta")},
        "a: expected plain values, got torch.strided, torch.float32, on meta"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_real_tensor_is_refused(case: str) -> None:
    state, message = BAD[case]
    with pytest.raises(InvalidInput) as error:
        WeightMap({"a": "b"}).load({"b": np.ones(2)}, state)
    assert str(error.value) == message
