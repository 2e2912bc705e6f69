"""rnn_torch.RNN, LSTM and GRU as torch modules: copies, dtypes, transformations, programs."""

import copy
import pickle
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn
from torch.func import functional_call, vmap
from torch.nn.utils import parametrizations
from torch.nn.utils.rnn import pack_padded_sequence
from torch.utils.checkpoint import checkpoint

import rnn_torch
from shared.protocol import LayerConfig
from tests.support.compare_arrays import check_all_close, check_close
from tests.support.torch_cases import NAMES, STACKED, check_same, pair, randn


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


@pytest.mark.parametrize("name", NAMES)
def test_activation_checkpointing(name: str) -> None:
    """What is saved for the backward pass may be computed anew, once."""
    layer = getattr(rnn_torch, name)(2, 3, **STACKED, dtype=torch.float64)
    x, found = randn(4, 5, 2).requires_grad_(), []
    for reentrant in (None, True, False):
        call = layer if reentrant is None else partial(checkpoint, layer, use_reentrant=reentrant)
        call(x)[0].sin().sum().backward()
        found.append([x.grad, *(p.grad for p in layer.parameters())])
        x.grad = None
        layer.zero_grad()
    for again in found[1:]:
        torch.testing.assert_close(again, found[0], rtol=0, atol=0)


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
