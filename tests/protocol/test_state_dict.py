"""Recurrent layers and cells in state dicts: found by names, recognised by shapes, never stale."""

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from rnn_torch.files import read_torch, write_torch
from shared.errors import InvalidInput
from shared.protocol import LayerConfig
from shared.protocol.state_dict import find_layer, read_safetensors
from shared.system.tensor_files import write_tensors
from tests.support.convert_cases import check_same, check_tensors, outputs_of
from tests.support.fuzz import fuzz
from tests.support.wrapped_cases import DROPPED, WRAPS, state, trained, used


@pytest.mark.parametrize("cell", ["RNN", "LSTM", "GRU"])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("hidden", [1, 4])
def test_a_layer_is_recognised_by_its_shapes(
    cell: str, bias: bool, bidirectional: bool, hidden: int
) -> None:
    arguments: dict[str, Any] = {"num_layers": 3, "bias": bias, "bidirectional": bidirectional}
    layer = getattr(nn, cell)(5, hidden, **arguments)
    tensors = {f"a.b.{name}": tensor.numpy() for name, tensor in layer.state_dict().items()}
    found = find_layer(tensors)
    kind: Any = cell.lower()
    assert found.config == LayerConfig(kind, 5, hidden, **arguments)
    assert found.prefix == "a.b."
    assert list(found.tensors) == list(layer.state_dict())


def test_a_prefix_may_hold_anything(tmp_path: Path) -> None:
    tensors = {f"a\nweight_ih_l0.{k}": t.numpy() for k, t in nn.GRU(3, 4).state_dict().items()}
    assert find_layer(tensors).prefix == "a\nweight_ih_l0."
    empty = {k: t.numpy() for k, t in nn.GRU(3, 4).state_dict().items()}
    assert find_layer(tensors | empty, prefix="").prefix == ""


def test_files_of_torch_and_safetensors_hold_the_same(tmp_path: Path) -> None:
    tensors = {
        "weight_ih_l0": np.arange(6, dtype=np.float32).reshape(3, 2).T,  # not contiguous
        "weight_hh_l0": np.asarray([[1.5]], ml_dtypes.bfloat16),
    }
    write_torch(tmp_path / "a.pt", tensors)
    write_tensors(tmp_path / "a.safetensors", tensors)
    for read, name in ((read_torch, "a.pt"), (read_safetensors, "a.safetensors")):
        found, others = read(tmp_path / name)
        assert others == []
        for key, array in tensors.items():
            assert found[key].dtype == array.dtype
            assert np.array_equal(found[key], array)


def test_only_recurrent_tensors_are_read(tmp_path: Path) -> None:
    """A model's other tensors may be of kinds that NumPy lacks, and large."""
    eights = torch.ones(2).to(torch.float8_e4m3fn)
    whole = nn.LSTM(3, 4).state_dict()
    torch.save({"x": eights} | dict(whole), tmp_path / "a.pt")
    tensors, others = read_torch(tmp_path / "a.pt")
    assert others == ["x"]
    assert set(tensors) == set(whole)
    with pytest.raises(InvalidInput, match="expected a safetensors file"):
        read_safetensors(tmp_path / "a.pt")


@pytest.mark.parametrize(
    ("tensors", "got"),
    [
        (None, "NoneType"),
        ([1], "list"),
        ({"weight_ih_l0": 3}, "3 as 'weight_ih_l0'"),
        ({1: np.ones(2)}, r"array\(\[1., 1.\]\) as 1"),
    ],
    ids=str,
)
def test_what_is_no_state_dict_is_refused(tensors: Any, got: str) -> None:
    with pytest.raises(InvalidInput, match=f"^expected arrays by name, got {got}$"):
        find_layer(tensors)


@pytest.mark.parametrize("cell", ["RNNCell", "LSTMCell", "GRUCell"])
@pytest.mark.parametrize("bias", [True, False])
def test_a_cell_is_recognised(cell: str, bias: bool) -> None:
    module = getattr(nn, cell)(5, 4, bias=bias)
    found = find_layer({f"decoder.{name}": t.numpy() for name, t in module.state_dict().items()})
    kind: Any = cell.lower().removesuffix("cell")
    assert found.config == LayerConfig(kind, 5, 4, bias=bias)
    assert (found.prefix, found.cell) == ("decoder.", True)
    check_tensors(found.tensors, {name: t.numpy() for name, t in module.state_dict().items()})


def test_a_damaged_cell_is_named() -> None:
    whole = state(nn.GRUCell(3, 4))
    for name, said in {"bias_hh": "missing bias_hh", "weight_ih": "missing weight_ih"}.items():
        with pytest.raises(InvalidInput, match=said):
            find_layer({key: array for key, array in whole.items() if key != name})
    with pytest.raises(InvalidInput, match="weight_ih: expected 1, 3 or 4"):
        find_layer(whole | {"weight_ih": np.ones((8, 3), np.float32)})


TWO = {
    prefix + name: array
    for prefix, layer in {"enc.lstm.": nn.LSTM(3, 4), "dec/gru_": nn.GRU(3, 4)}.items()
    for name, array in state(layer).items()
}


@pytest.mark.parametrize(
    ("given", "prefix"),
    [
        ("enc.lstm.", "enc.lstm."), ("enc.lstm", "enc.lstm."), ("lstm", "enc.lstm."),
        ("lstm.", "enc.lstm."), ("dec/gru_", "dec/gru_"), ("gru_", "dec/gru_"),
    ],
)  # fmt: skip
def test_a_prefix_may_lack_its_dot_and_its_beginning(given: str, prefix: str) -> None:
    assert find_layer(TWO, given).prefix == prefix


@pytest.mark.parametrize("given", ["stm", "nc.lstm", "enc", "gru", "", "x"])
def test_part_of_a_name_is_no_prefix(given: str) -> None:
    with pytest.raises(InvalidInput, match=r"found only 'enc\.lstm\.', 'dec/gru_'"):
        find_layer(TWO, given)


def test_an_end_that_several_have_is_refused() -> None:
    both = {f"{side}.rnn.{name}": a for side in "ab" for name, a in state(nn.GRU(3, 4)).items()}
    with pytest.raises(InvalidInput, match=r"found only 'a\.rnn\.', 'b\.rnn\.'"):
        find_layer(both, "rnn")


@pytest.mark.parametrize(
    "prefix",
    ["exp_avg.rnn.", "moments/exp_avg.rnn.", "optimizer.state.", "opt_state.0.mu.params.rnn.",
     "optimizer_states.0.state.", "optim_state_dict.rnn.", "optimizer_G.",
     "a.momentum_buffer.rnn."],
)  # fmt: skip
def test_what_an_optimizer_keeps_is_found_only_by_its_whole_name(prefix: str) -> None:
    weights = {f"opt_encoder.{name}": array for name, array in state(nn.GRU(3, 4)).items()}
    kept = {prefix + name: array for name, array in state(nn.GRU(3, 4)).items()}
    assert find_layer(weights | kept).prefix == "opt_encoder."
    assert find_layer(weights | kept, prefix).prefix == prefix
    with pytest.raises(InvalidInput, match="found only what an optimizer keeps"):
        find_layer(kept)


@pytest.mark.parametrize("wrap", WRAPS)
def test_a_wrapped_layer_computes_what_torchs_does(wrap: str) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 5, 3, dtype=torch.float64)
    wrapper, function = WRAPS[wrap]
    layer = nn.LSTM(3, 4, dtype=torch.float64, batch_first=True)
    wrapped = trained(function(layer, "weight_hh_l0"), x)
    found = find_layer({f"m.{name}": array for name, array in state(wrapped).items()})
    with torch.no_grad():
        expected = wrapped.eval()(x)[0].numpy()
    check_same(outputs_of(found, x.numpy()), expected)
    assert [(one.name, one.wrapper) for one in found.folds] == [("m.weight_hh_l0", wrapper)]
    assert set(found.sources) >= {f"m.{name}" for name in state(wrapped)}


@pytest.mark.parametrize("where", DROPPED)
def test_drop_connect_is_never_the_dropped_copy(where: str) -> None:
    torch.manual_seed(0)
    x = torch.randn(5, 2, 3)
    wrapped = trained(DROPPED[where](nn.GRU(3, 4), "weight_hh_l0"), x)
    found = find_layer({f"rnns.0.{name}": array for name, array in state(wrapped).items()})
    assert found.prefix == "rnns.0.module."
    assert np.array_equal(found.tensors["weight_hh_l0"], used(wrapped, "weight_hh_l0", x))
    assert set(found.sources) >= {f"rnns.0.{name}" for name in state(wrapped)}


def test_a_matrix_that_cannot_be_computed_refuses_its_layer_alone() -> None:
    orthogonal = nn.utils.parametrizations.orthogonal(nn.GRU(3, 4), "weight_hh_l0")
    tensors = {f"a.{name}": array for name, array in state(orthogonal).items()}
    with pytest.raises(InvalidInput, match=r"a\.weight_hh_l0: .*remove_parametrizations"):
        find_layer(tensors)
    beside = {f"b.{name}": array for name, array in state(nn.GRU(3, 4)).items()}
    assert find_layer(tensors | beside, "b").prefix == "b."
    with pytest.raises(InvalidInput, match=r"one of 'a\.', 'b\.'"):
        find_layer(tensors | beside)


@fuzz(30)
@given(
    st.lists(st.sampled_from(["module", "state_dict", "a", "0", "l0", "é\n"]), max_size=4),
    st.sampled_from([None, *WRAPS, *DROPPED]),
    st.sampled_from(["RNN", "LSTM", "GRU", "LSTMCell", "GRUCell"]),
    st.booleans(),
)
def test_a_layer_is_found_at_any_depth_under_any_wrapper(
    path: list[str], wrap: str | None, kind: str, bias: bool
) -> None:
    torch.manual_seed(0)
    layer = getattr(nn, kind)(3, 4, bias=bias)
    name = "weight_hh" if kind.endswith("Cell") else "weight_hh_l0"
    x = torch.randn((2, 3) if kind.endswith("Cell") else (5, 2, 3))
    wrapped = layer
    if wrap is not None:
        wrapped = DROPPED[wrap](layer, name) if wrap in DROPPED else WRAPS[wrap][1](layer, name)
        wrapped = trained(wrapped, x)
    expected = used(wrapped, name, x)
    prefix = "".join(f"{step}." for step in path)
    tensors = {prefix + key: array for key, array in state(wrapped).items()}
    found = find_layer({"head.weight": np.ones((2, 2))} | tensors)
    assert found.prefix == prefix + "module." * (wrap in DROPPED)
    assert found.cell == kind.endswith("Cell")
    assert found.config.bias == bias
    assert np.abs(found.tensors[name] - expected).max() <= 1e-6
