"""rnn_torch.RNN, LSTM and GRU take the place of torch.nn's: arguments, calls and state dicts. The
numbers of whole batches are compared in `test_layers.py`."""

import inspect
import subprocess
import sys
import warnings
from typing import Any, get_overloads

import numpy as np
import pytest
import torch
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import parametrizations, prune
from torch.nn.utils.rnn import pack_sequence

import rnn_jax
import rnn_torch
from shared.config.settings import Cell
from shared.protocol import LayerConfig
from tests.support.compare_arrays import check_all_close
from tests.support.layer_cases import make_case, run_torch, torch_handcrafted, torch_native
from tests.support.torch_cases import NAMES, STACKED, check_same, pair, randn


@pytest.mark.parametrize("name", NAMES)
def test_arguments_are_those_of_torch(name: str) -> None:
    theirs = inspect.signature(get_overloads(getattr(nn, name).__init__)[0]).parameters
    ours = inspect.signature(getattr(rnn_torch, name).__init__).parameters
    # torch takes proj_size only to refuse it, where its signature does not show it.
    shown = [p for p in ours.values() if name == "LSTM" or p.name != "proj_size"]
    assert [(p.name, p.kind, p.default) for p in shown] == [
        (p.name, p.kind, p.default) for p in theirs.values()
    ]


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("proj_size", [0, 2])
@pytest.mark.parametrize("name", ["RNN", "GRU"])
def test_only_an_lstm_projects(name: str, proj_size: int) -> None:
    with pytest.raises(ValueError, match="proj_size argument is only supported for LSTM"):
        getattr(nn, name)(3, 4, proj_size=proj_size)
    rngs = {"rngs": nnx.Rngs(0)}
    for package, options in ((rnn_torch, {}), (rnn_jax, rngs)):
        with pytest.raises(ValueError, match=f"{name}: expected no proj_size, only LSTM projects"):
            getattr(package, name)(3, 4, proj_size=proj_size, **options)
        with pytest.raises(TypeError, match="unexpected keyword argument 'projection'"):
            getattr(package, name)(3, 4, projection=proj_size, **options)


@pytest.mark.parametrize("name", NAMES)
def test_calls_have_the_arguments_of_torch(name: str) -> None:
    theirs = list(inspect.signature(getattr(nn, name).forward).parameters)
    ours = inspect.signature(getattr(rnn_torch, name).forward).parameters
    assert list(ours) == [*theirs, "masks"]
    assert ours["masks"].kind is inspect.Parameter.KEYWORD_ONLY


@pytest.mark.parametrize("name", NAMES)
def test_a_seed_gives_torchs_initial_values_and_dropout(name: str) -> None:
    """Positional arguments too: the fourth of RNN is the nonlinearity."""
    args = (3, 4, 2, "relu") if name == "RNN" else (3, 4, 2)
    results = []
    for package in (nn, rnn_torch):
        torch.manual_seed(7)
        layer = getattr(package, name)(*args, dropout=0.4, bidirectional=True)
        results.append((layer.state_dict(), layer(torch.randn(5, 3, 3))))
    (their_weights, theirs), (our_weights, ours) = results
    assert list(our_weights) == list(their_weights)
    for key, tensor in our_weights.items():
        assert torch.equal(tensor, their_weights[key]), key
    check_same(ours, theirs, relative=1e-5)  # float32: another mask would be far off


BAD_ARGUMENTS: dict[str, dict[str, Any]] = {
    "dropout above 1": {"dropout": 1.5},
    "dropout True": {"dropout": True},
    "dropout None": {"dropout": None},
    "bias no bool": {"bias": 1},
    "batch_first no bool": {"batch_first": "yes"},
    "input_size no int": {"input_size": 2.0},
    "input_size 0": {"input_size": 0},
    "hidden_size no int": {"hidden_size": "4"},
    "hidden_size 0": {"hidden_size": 0},
    "no layers": {"num_layers": 0},
    "layers no int": {"num_layers": 1.5},
    "projection negative": {"proj_size": -1},
    "projection too wide": {"proj_size": 4},
}


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("bad", BAD_ARGUMENTS)
def test_bad_arguments_raise_what_torch_raises(bad: str) -> None:
    arguments: dict[str, Any] = {"input_size": 3, "hidden_size": 4} | BAD_ARGUMENTS[bad]
    with pytest.raises((TypeError, ValueError)) as theirs:
        nn.LSTM(**arguments)
    with pytest.raises(theirs.type, match=r"expected .*, got"):
        rnn_torch.LSTM(**arguments)


@pytest.mark.usefixtures("unchecked")
def test_a_direction_that_is_no_bool() -> None:
    """A TypeError at once; torch raises it at the first call."""
    with pytest.raises(TypeError, match="bidirectional: expected a bool, got 'no'"):
        rnn_torch.GRU(3, 4, bidirectional="no")  # pyright: ignore[reportArgumentType]


@pytest.mark.usefixtures("unchecked")
def test_integers_of_numpy_where_torch_takes_them() -> None:
    theirs, ours = pair("LSTM", 3, 4, num_layers=np.int64(2), proj_size=np.int64(2))
    check_same(ours(randn(5, 2, 3)), theirs(randn(5, 2, 3)))


@pytest.mark.usefixtures("unchecked")
def test_an_unknown_nonlinearity() -> None:
    for package in (nn, rnn_torch):
        with pytest.raises(ValueError, match=r"sigmoid"):
            package.RNN(3, 4, nonlinearity="sigmoid")


@pytest.mark.parametrize("name", NAMES)
def test_dropout_with_one_layer_warns_as_in_torch(name: str) -> None:
    for package in (nn, rnn_torch):
        with pytest.warns(UserWarning, match="dropout.*0.5.*num_layers=1") as caught:
            getattr(package, name)(3, 4, dropout=0.5)
        assert len(caught) == 1


@pytest.mark.parametrize(
    "call", ["rnn_torch.GRU(3, 4, dropout=0.5)", "rnn_jax.GRU(3, 4, dropout=0.5, rngs=nnx.Rngs(0))"]
)
def test_the_warning_points_at_the_callers_line(call: str) -> None:
    """In a process of its own: checked annotations put a frame between."""
    code = f"import rnn_torch, rnn_jax; from flax import nnx\n\n{call}\n"
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    assert "<string>:3: UserWarning: dropout acts between" in finished.stderr


# Calls ----------------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.data())
def test_any_shapes_and_lengths_agree(data: st.DataObject) -> None:
    draw = data.draw
    cell: Cell = draw(st.sampled_from(["rnn", "lstm", "gru"]))
    hidden = draw(st.integers(1, 5))
    config = LayerConfig(
        cell,
        draw(st.integers(1, 4)),
        hidden,
        draw(st.integers(1, 3)),
        draw(st.sampled_from(["tanh", "relu"])),
        bias=draw(st.booleans()),
        batch_first=draw(st.booleans()),
        bidirectional=draw(st.booleans()),
        proj_size=draw(st.integers(0, hidden - 1)) if cell == "lstm" else 0,
    )
    time, batch = draw(st.integers(1, 7)), draw(st.integers(1, 5))
    some = st.lists(st.integers(1, time), min_size=batch, max_size=batch)
    case = make_case(config, draw(st.none() | some), time=time, batch=batch)
    expected = run_torch(case, torch_native(config))
    actual = run_torch(case, torch_handcrafted(config))
    for mine, theirs in zip(actual, expected, strict=True):  # a ReLU may well be zero throughout
        check_all_close(mine, theirs, relative=1e-10, allow_zero=True)


@pytest.mark.parametrize("name", NAMES)
def test_one_sequence_without_a_batch(name: str) -> None:
    theirs, ours = pair(name, 3, 4, **STACKED)
    x, h = randn(5, 3), randn(4, 4)
    hx = (h, 2 * h) if name == "LSTM" else h
    check_same(ours(x), theirs(x))
    check_same(ours(x, hx), theirs(x, hx))
    assert [part.shape for part in ours(x)[1]] == [part.shape for part in theirs(x)[1]]


@pytest.mark.parametrize("name", NAMES)
def test_a_state_left_out_is_zero(name: str) -> None:
    theirs, ours = pair(name, 3, 4, **STACKED)
    check_same(ours(randn(2, 5, 3)), theirs(randn(2, 5, 3)))


@pytest.mark.parametrize("name", NAMES)
def test_packed_sequences_come_back_packed_in_the_same_order(name: str) -> None:
    theirs, ours = pair(name, 3, 4, num_layers=2)
    packed = pack_sequence([randn(2, 3), randn(6, 3), randn(1, 3)], enforce_sorted=False)
    expected, actual = theirs(packed), ours(packed)
    check_same(actual, expected)
    for mine, other in zip(actual[0][1:], expected[0][1:], strict=True):
        assert torch.equal(mine, other)
    by_names = ours(input=packed, hx=None)
    check_same(by_names, expected)


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_batch(name: str) -> None:
    theirs, ours = pair(name, 3, 4, **STACKED)
    expected, actual = theirs(randn(0, 5, 3)), ours(randn(0, 5, 3))
    assert actual[0].shape == expected[0].shape
    assert actual[1][0].shape == expected[1][0].shape


# State dicts ----------------------------------------------------------------------------------


def damage(state: dict[str, Any], how: str) -> dict[str, Any]:
    if how == "missing":
        del state["bias_hh_l1"]
    elif how == "unexpected":
        state["weight_ih_l2"] = torch.ones(16, 4)
    else:
        state["weight_hh_l1"] = torch.ones(16, 5)
    return state


@pytest.mark.parametrize("how", ["missing", "unexpected", "shape"])
def test_a_state_dict_is_loaded_as_a_whole_or_not_at_all(how: str) -> None:
    layer, other = (rnn_torch.LSTM(3, 4, num_layers=2) for _ in range(2))
    kept = {key: tensor.clone() for key, tensor in layer.state_dict().items()}
    named = {"missing": "bias_hh_l1", "unexpected": "weight_ih_l2", "shape": "weight_hh_l1"}[how]
    with pytest.raises(RuntimeError, match=named):
        layer.load_state_dict(damage(other.state_dict(), how))
    for key, tensor in layer.state_dict().items():
        assert torch.equal(tensor, kept[key]), key


@pytest.mark.parametrize("assign", [False, True])
@pytest.mark.parametrize("change", ["weight_norm", "prune"])
def test_parametrizations_and_buffers_are_not_loaded_by_half_either(
    change: str, assign: bool
) -> None:
    layer = rnn_torch.LSTM(3, 4)
    if change == "prune":
        prune.random_unstructured(layer, "weight_hh_l0", 0.5)
    else:
        parametrizations.weight_norm(layer, "weight_hh_l0")
    kept = {key: tensor.clone() for key, tensor in layer.state_dict().items()}
    names = dict(layer.named_parameters())
    zeros = {key: torch.zeros_like(tensor) for key, tensor in kept.items()}
    del zeros["bias_ih_l0"]
    with pytest.raises(RuntimeError, match="bias_ih_l0"):
        layer.load_state_dict(zeros, assign=assign)
    after = dict(layer.named_parameters())
    assert list(after) == list(names)
    assert all(after[name] is parameter for name, parameter in names.items())
    for key, tensor in layer.state_dict().items():
        assert torch.equal(tensor, kept[key]), key


def test_a_state_dict_that_is_not_strict_loads_what_there_is() -> None:
    layer, other = (rnn_torch.LSTM(3, 4, num_layers=2) for _ in range(2))
    before = layer.state_dict()["bias_hh_l1"].clone()
    report = layer.load_state_dict(damage(other.state_dict(), "missing"), strict=False)
    assert torch.equal(layer.state_dict()["weight_hh_l0"], other.state_dict()["weight_hh_l0"])
    assert torch.equal(layer.state_dict()["bias_hh_l1"], before)
    assert report.unexpected_keys == []


@pytest.mark.parametrize("name", NAMES)
def test_state_dicts_pass_both_ways_bit_for_bit(name: str) -> None:
    theirs, ours = pair(name, 3, 4, **STACKED)
    back = getattr(nn, name)(3, 4, dtype=torch.float64, **STACKED)
    back.load_state_dict(ours.state_dict(), strict=True)
    for key, tensor in theirs.state_dict().items():
        assert torch.equal(tensor, back.state_dict()[key]), key


def test_no_warning_in_ordinary_use() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        layer = rnn_torch.LSTM(3, 4, num_layers=2, dropout=0.1)
        layer(torch.ones(5, 2, 3))[0].sum().backward()
