"""rnn_torch.RNN, LSTM and GRU take the place of torch.nn's: everything but the numbers, which
`test_layers.py` compares."""

import copy
import inspect
import pickle
import subprocess
import sys
import warnings
from collections.abc import Callable
from typing import Any, get_overloads

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.func import functional_call, vmap
from torch.nn.utils import parametrizations, prune
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pack_sequence

import rnn_torch
from shared.layer import Cell, LayerConfig
from tests.compare_arrays import check_all_close, check_close
from tests.layer_cases import make_case, run_torch, torch_handcrafted, torch_native

NAMES = ["RNN", "LSTM", "GRU"]
STACKED: dict[str, Any] = {"num_layers": 2, "bidirectional": True, "batch_first": True}


def pair(name: str, *args: Any, **options: Any) -> tuple[Any, Any]:
    """Theirs and ours, of the same weights, in float64."""
    options = {"dtype": torch.float64} | options
    theirs = getattr(nn, name)(*args, **options)
    ours = getattr(rnn_torch, name)(*args, **options)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    return theirs, ours


def tensors(result: Any) -> dict[str, np.ndarray]:
    """What a call returned, by position."""
    output, state = result
    output = output.data if isinstance(output, PackedSequence) else output
    parts = [output, *(state if isinstance(state, tuple) else (state,))]
    return {str(i): part.detach().to(torch.float64).numpy() for i, part in enumerate(parts)}


def check_same(ours: Any, theirs: Any, relative: float = 1e-10) -> None:
    check_all_close(tensors(ours), tensors(theirs), relative=relative)


def randn(*shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(len(shape))
    return torch.randn(*shape, dtype=torch.float64, generator=generator)


# Arguments ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_arguments_are_those_of_torch(name: str) -> None:
    theirs = inspect.signature(get_overloads(getattr(nn, name).__init__)[0]).parameters
    ours = inspect.signature(getattr(rnn_torch, name).__init__).parameters
    assert [(p.name, p.kind, p.default) for p in ours.values()] == [
        (p.name, p.kind, p.default) for p in theirs.values()
    ]


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


BAD_CALLS: dict[str, Callable[[Any, Any], Any]] = {
    "1-D input": lambda layer, hx: layer(randn(3)),
    "4-D input": lambda layer, hx: layer(randn(2, 5, 3, 1)),
    "features": lambda layer, hx: layer(randn(5, 2, 7)),
    "no steps": lambda layer, hx: layer(randn(0, 2, 3)),
    "dtype": lambda layer, hx: layer(randn(5, 2, 3).float()),
    "integers": lambda layer, hx: layer(torch.ones(5, 2, 3, dtype=torch.long)),
    "state without layers": lambda layer, hx: layer(randn(5, 2, 3), hx(1, 2, 4)),
    "state of another batch": lambda layer, hx: layer(randn(5, 2, 3), hx(4, 3, 4)),
    "state of another width": lambda layer, hx: layer(randn(5, 2, 3), hx(4, 2, 5)),
    "2-D state for a batch": lambda layer, hx: layer(randn(5, 2, 3), hx(4, 4)),
    "3-D state for no batch": lambda layer, hx: layer(randn(5, 3), hx(4, 1, 4)),
    "packed features": lambda layer, hx: layer(pack_sequence([randn(2, 7)])),
    "packed, other batch": lambda layer, hx: layer(pack_sequence([randn(2, 3)]), hx(4, 2, 4)),
    "state of another dtype": lambda layer, hx: layer(randn(5, 2, 3), hx(4, 2, 4, torch.float32)),
    "dtype and features": lambda layer, hx: layer(randn(5, 2, 7).float()),
    "integers under autocast": lambda layer, hx: autocast(layer, torch.ones(5, 2, 3).long()),
    "packed rows that grow": lambda layer, hx: layer(growing()),
}


def autocast(layer: Any, x: torch.Tensor) -> Any:
    with torch.autocast("cpu", torch.bfloat16):
        return layer(x)


def growing() -> PackedSequence:
    """The second step has more sequences than the first, which none can."""
    return PackedSequence(randn(5, 3), torch.tensor([1, 2, 2]))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("bad", BAD_CALLS)
@pytest.mark.parametrize("name", NAMES)
def test_bad_calls_raise_what_torch_raises(name: str, bad: str) -> None:
    theirs, ours = pair(name, 3, 4, num_layers=2, bidirectional=True)

    def hx(*shape: Any) -> Any:
        dtype = shape[-1] if isinstance(shape[-1], torch.dtype) else torch.float64
        h = torch.ones([n for n in shape if isinstance(n, int)], dtype=dtype)
        return (h, h) if name == "LSTM" else h

    if bad.startswith("packed rows"):  # torch looks only at one direction
        theirs, ours = pair(name, 3, 4)
    with pytest.raises((ValueError, RuntimeError)) as expected:
        BAD_CALLS[bad](theirs, hx)
    # With integers, autocast makes torch find out late, with a RuntimeError.
    error = ValueError if bad.startswith("integers under") else expected.type
    with pytest.raises(error, match=f"{name}: expected .* got"):
        BAD_CALLS[bad](ours, hx)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("name", NAMES)
def test_packed_input_of_another_dtype(name: str) -> None:
    """A ValueError as for any input; torch.nn.LSTM finds out late, with a RuntimeError."""
    _, ours = pair(name, 3, 4)
    with pytest.raises(ValueError, match=r"input of torch.float64.* got torch.float32"):
        ours(pack_sequence([randn(2, 3).float()]))


@pytest.mark.usefixtures("unchecked")
def test_an_input_of_the_wrong_kind() -> None:
    for bad in (np.ones((5, 2, 3)), [[1.0, 2, 3]], None):
        with pytest.raises(TypeError, match=r"GRU: expected input to be a tensor or .* got "):
            rnn_torch.GRU(3, 4)(bad)  # pyright: ignore[reportArgumentType]


@pytest.mark.usefixtures("unchecked")
def test_a_state_of_the_wrong_kind() -> None:
    with pytest.raises(TypeError, match=r"LSTM: expected a pair \(h_0, c_0\).* got one tensor"):
        rnn_torch.LSTM(3, 4)(torch.ones(5, 2, 3), torch.ones(1, 2, 4))  # pyright: ignore
    with pytest.raises(TypeError, match=r"GRU: expected one tensor h_0 .* got 2 in a tuple"):
        rnn_torch.GRU(3, 4)(torch.ones(5, 2, 3), (torch.ones(1, 2, 4),) * 2)  # pyright: ignore
    for empty in ((), []):
        with pytest.raises(TypeError, match=r"GRU: expected one tensor h_0 .* got 0 in a"):
            rnn_torch.GRU(3, 4)(torch.ones(5, 2, 3), empty)  # pyright: ignore
    arrays = (np.ones((1, 2, 4), np.float32),) * 2
    with pytest.raises(TypeError, match=r"LSTM: expected h_0 to be an array .* got numpy.ndarray"):
        rnn_torch.LSTM(3, 4)(torch.ones(5, 2, 3), arrays)  # pyright: ignore


@pytest.mark.usefixtures("unchecked")
def test_lengths_beyond_the_padding_are_noticed() -> None:
    """torch packs them without a word, with rows that do not exist."""
    packed = pack_padded_sequence(torch.ones(4, 2, 3), torch.tensor([6, 2]))
    with pytest.raises(RuntimeError, match=r"expected 8 packed rows, .* got 6"):
        rnn_torch.GRU(3, 4)(packed)


@pytest.mark.parametrize("masks", [(1, 5, 2, 4), (2, 5, 2, 8)])
@pytest.mark.usefixtures("unchecked")
def test_masks_of_another_shape(masks: tuple[int, ...]) -> None:
    layer = rnn_torch.GRU(3, 4, num_layers=2, bidirectional=True)
    with pytest.raises(ValueError, match=r"masks of shape .* = \(1, 5, 2, 8\), got"):
        layer(torch.ones(5, 2, 3), masks=torch.ones(masks))


@pytest.mark.usefixtures("unchecked")
def test_masks_for_packed_sequences_are_checked_too() -> None:
    layer = rnn_torch.GRU(3, 4, num_layers=2)
    packed = pack_sequence([torch.ones(3, 3), torch.ones(1, 3)])
    for masks in (torch.ones(1, 1), torch.ones(1, 3, 4), torch.ones(1, 4, 1)):
        with pytest.raises(ValueError, match=r"masks of shape .* = \(1, 4, 4\), got"):
            layer(packed, masks=masks)
    with pytest.raises(TypeError, match="expected masks to be a tensor, got list"):
        layer(packed, masks=[1.0])  # pyright: ignore[reportArgumentType]


def test_masks_for_an_empty_batch_and_of_another_dtype() -> None:
    layer, x = rnn_torch.GRU(3, 4, num_layers=2), randn(5, 2, 3).float()
    assert layer(x[:, :0], masks=torch.ones(1, 5, 0, 4))[0].shape == (5, 0, 4)
    masks = 2.0 * (randn(1, 5, 2, 4) > 0)
    assert torch.equal(layer(x, masks=masks.double())[0], layer(x, masks=masks.float())[0])


def test_masks_have_the_layout_of_the_output() -> None:
    """One sequence, a batch of two in both layouts, packed: each the same."""
    ours = rnn_torch.LSTM(3, 4, num_layers=2, dtype=torch.float64)
    xs, masks = randn(2, 5, 3), 2.0 * (randn(2, 1, 5, 4) > 0)
    alone = [ours(x, masks=mask)[0] for x, mask in zip(xs, masks, strict=True)]
    expected = torch.stack(alone, dim=1)
    assert not torch.allclose(alone[0], ours(xs[0])[0])
    assert torch.allclose(ours(xs.transpose(0, 1), masks=torch.stack([*masks], 2))[0], expected)
    assert torch.allclose(ours(pack_sequence([xs[0]]), masks=masks[0])[0].data, alone[0])
    ours.batch_first = True
    assert torch.allclose(ours(xs, masks=torch.stack([*masks], 1))[0].transpose(0, 1), expected)


# Modules --------------------------------------------------------------------------------------


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
@pytest.mark.parametrize("name", NAMES)
def test_copies_are_independent(name: str, duplicate: Callable[[Any], Any]) -> None:
    _, ours = pair(name, 3, 4, **STACKED)
    x = randn(2, 5, 3)
    twin = duplicate(ours)
    before = ours(x)
    check_same(twin(x), before)
    with torch.no_grad():
        twin.weight_hh_l0.mul_(2)
    check_same(ours(x), before)
    with pytest.raises(AssertionError):
        check_same(twin(x), before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", NAMES)
def test_other_dtypes(name: str, dtype: torch.dtype) -> None:
    theirs, ours = pair(name, 3, 4, **STACKED)
    x = randn(2, 5, 3).to(dtype)
    expected, actual = theirs.to(dtype)(x), ours.to(dtype)(x)
    assert actual[0].dtype == expected[0].dtype == dtype
    check_same(actual, expected, relative=4 * torch.finfo(dtype).eps)


@pytest.mark.parametrize("name", NAMES)
def test_autocast(name: str) -> None:
    """All of it in bfloat16, as in torch.nn.RNN and LSTM; torch.nn.GRU has only its products so."""
    theirs, ours = pair(name, 3, 4, dtype=torch.float32, **STACKED)
    x = randn(2, 5, 3).float()
    with torch.autocast("cpu", torch.bfloat16):
        expected, actual = theirs(x), ours(x)
    assert {part.dtype for part in (actual[0], *actual[1])} == {torch.bfloat16}
    check_same(actual, expected, relative=4 * torch.finfo(torch.bfloat16).eps)


def test_a_device_and_a_dtype() -> None:
    layer = rnn_torch.LSTM(3, 4, device="meta", dtype=torch.float16)
    assert {(p.device.type, p.dtype) for p in layer.parameters()} == {("meta", torch.float16)}
    output, _ = layer(torch.ones(5, 2, 3, device="meta", dtype=torch.float16))
    assert output.shape == (5, 2, 4)


@pytest.mark.parametrize("name", NAMES)
def test_vmap_over_parameters(name: str) -> None:
    """An ensemble in one call is its members one by one, also in its gradients."""
    members = [pair(name, 3, 4, **STACKED)[1] for _ in range(3)]
    parameters, _ = torch.func.stack_module_state(members)
    x = randn(2, 5, 3)

    def loss(weights: Any) -> torch.Tensor:
        output, _ = functional_call(members[0], weights, (x,))
        return output.square().sum()

    gradients, values = vmap(torch.func.grad_and_value(loss))(parameters)
    for i, member in enumerate(members):
        value = member(x)[0].square().sum()
        value.backward()
        check_close(values[i].detach().numpy(), value.detach().numpy(), relative=1e-10, what="loss")
        expected = {key: p.grad.numpy() for key, p in member.named_parameters()}
        actual = {key: gradient[i].detach().numpy() for key, gradient in gradients.items()}
        check_all_close(actual, expected, relative=1e-10)


@pytest.mark.parametrize("lengths", [None, [2, 3]])
@pytest.mark.parametrize("name", NAMES)
def test_gradients_of_gradients(name: str, lengths: list[int] | None) -> None:
    layer = getattr(rnn_torch, name)(2, 3, bidirectional=True, dtype=torch.float64)
    weights = list(layer.parameters())

    def output(x: torch.Tensor, *values: torch.Tensor) -> torch.Tensor:
        named = dict(zip(dict(layer.named_parameters()), values, strict=True))
        inputs: Any = x
        if lengths is not None:
            inputs = pack_padded_sequence(x, torch.tensor(lengths), enforce_sorted=False)
        found, _ = functional_call(layer, named, (inputs,))
        return found.data if lengths is not None else found

    x = randn(3, 2, 2).requires_grad_()
    assert torch.autograd.gradcheck(output, (x, *weights), fast_mode=True)
    assert torch.autograd.gradgradcheck(output, (x, *weights), fast_mode=True)


@pytest.mark.usefixtures("unchecked")  # a check would fix the batch that it sees
@pytest.mark.parametrize("batch_first", [False, True])
def test_an_exported_program_takes_any_batch(batch_first: bool) -> None:
    options: Any = STACKED | {"batch_first": batch_first}
    _, layer = pair("LSTM", 3, 4, **options)
    shape = (2, 5) if batch_first else (5, 2)
    dynamic = {"input": {0 if batch_first else 1: torch.export.Dim("batch", min=1, max=64)}}
    program = torch.export.export(layer, (randn(*shape, 3),), dynamic_shapes=dynamic).module()
    for batch in (1, 2, 7):
        x = randn(batch, 5, 3) if batch_first else randn(5, batch, 3)
        check_same(program(x), layer(x))


def test_a_trace_would_keep_the_lengths_of_packed_sequences() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = rnn_torch.GRU(3, 4)

        def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
            return self.rnn(pack_padded_sequence(x, lengths))[1]

    with (
        warnings.catch_warnings(action="ignore"),
        pytest.raises(RuntimeError, match=r"padded input under torch.jit.trace, got a Packed"),
    ):
        torch.jit.trace(Model(), (torch.ones(5, 2, 3), torch.tensor([5, 2])))


def test_a_subclass_may_have_a_config() -> None:
    """As many models have; the layer's own has another name."""

    class Encoder(rnn_torch.LSTM):
        def __init__(self, config: Any):
            super().__init__(**config)
            self.config = config

    encoder = Encoder({"input_size": 3, "hidden_size": 4})
    assert encoder(torch.ones(5, 2, 3))[0].shape == (5, 2, 4)
    assert encoder.layer_config == LayerConfig("lstm", 3, 4)


def test_reparametrized_weights_are_used() -> None:
    theirs, ours = pair("GRU", 3, 4)
    for layer in (theirs, ours):
        parametrizations.weight_norm(layer, "weight_hh_l0")
        with torch.no_grad():
            layer.parametrizations.weight_hh_l0.original0.mul_(1.5)
    check_same(ours(randn(5, 2, 3)), theirs(randn(5, 2, 3)))


@pytest.mark.parametrize("name", NAMES)
def test_what_callers_of_torchs_layers_use(name: str) -> None:
    theirs, ours = pair(name, 3, 4, num_layers=2, bidirectional=True, bias=False)
    ours.flatten_parameters()
    assert [[w.shape for w in group] for group in ours.all_weights] == [
        [w.shape for w in group] for group in theirs.all_weights
    ]
    assert ours.all_weights[0][0] is ours.weight_ih_l0
    attributes = ["mode", "input_size", "hidden_size", "num_layers", "bias", "batch_first"]
    for attribute in [*attributes, "dropout", "bidirectional", "proj_size"]:
        assert getattr(ours, attribute) == getattr(theirs, attribute), attribute
    assert repr(ours) == repr(theirs)


def test_the_representation_names_what_is_not_default() -> None:
    theirs, ours = pair("LSTM", 3, 4, proj_size=2, dropout=0.5, **STACKED)
    assert repr(ours) == repr(theirs)
    assert repr(rnn_torch.RNN(3, 4, nonlinearity="relu")) == "RNN(3, 4, nonlinearity='relu')"


def test_dropout_can_be_changed_and_stops_in_evaluation() -> None:
    theirs, ours = pair("LSTM", 3, 4, num_layers=2, dropout=0.5)
    x = randn(5, 2, 3)
    assert not torch.equal(ours(x)[0], ours(x)[0])
    for layer in (theirs, ours):
        layer.eval()
    check_same(ours(x), theirs(x))
    ours.train().dropout = 0.0
    check_same(ours(x), theirs(x))


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
