"""A layer under what computes its weights anew: its twin computes what its next forward pass in
evaluation mode computes, and the layer itself stays as it is."""

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import rnn_jax
import rnn_torch
from rnn_torch.plain import plain
from shared.errors import NotCarriedOver
from tests.support.compare_arrays import check_close
from tests.support.exchange_cases import randn, torch_layer
from tests.support.fuzz import fuzz
from tests.support.wrapped_layers import DROPS, WRAPPERS, WeightDrop, moved, untouched

MAKERS: dict[str, Any] = {
    "RNN": nn.RNN,
    "LSTM": nn.LSTM,
    "GRU": nn.GRU,
    "our GRU": rnn_torch.GRU,
    "our LSTM": rnn_torch.LSTM,
    "GRUCell": nn.GRUCell,
    "our LSTMCell": rnn_torch.LSTMCell,
}


def wrapped(kind: str, wrapper: str, weight: str = "weight_hh", seed: int = 0) -> Any:
    """A layer in training mode whose weights have moved since they were computed last."""
    torch.manual_seed(seed)
    layer = MAKERS[kind](3, 4, dtype=torch.float64)
    name = weight if kind.endswith("Cell") else f"{weight}_l0"
    with warnings.catch_warnings(action="ignore"):  # torch's, of hooks
        return moved(WRAPPERS[wrapper](layer, name), seed)


def first(result: Any) -> Any:
    return first(result[0]) if isinstance(result, tuple) else result


def check_computes(module: Any, twin: Any, kind: str) -> None:
    """The module's own next forward pass in evaluation mode is the referee."""
    if kind.endswith("Cell"):
        x = randn(2, 3)
        zeros = np.zeros((2, 4))
        _, ours = twin((zeros, zeros) if "LSTM" in kind else zeros, x)
    else:
        x = randn(5, 2, 3)
        ours, _ = twin(x)
    expected = first(module.eval()(torch.tensor(x))).detach().numpy()
    check_close(np.asarray(ours), expected, relative=1e-12, what="output")


@pytest.mark.parametrize("wrapper", WRAPPERS)
@pytest.mark.parametrize("kind", ["LSTM", "our GRU", "GRUCell"])
def test_the_twin_computes_what_the_next_forward_pass_does(kind: str, wrapper: str) -> None:
    module = wrapped(kind, wrapper)
    line = "weight_hh.*: dropped in part" if wrapper in DROPS else "weight_hh.*: computed by"
    with untouched(module), pytest.warns(NotCarriedOver, match=line):
        twin = rnn_jax.from_torch(module)
    check_computes(module, twin, kind)


@fuzz(30)
@given(st.data())
def test_any_wrapper_around_any_layer(data: st.DataObject) -> None:
    kind, wrapper = (
        data.draw(st.sampled_from(list(MAKERS))),
        data.draw(st.sampled_from([*WRAPPERS])),
    )
    weight = data.draw(st.sampled_from(["weight_ih", "weight_hh"]))
    module = wrapped(kind, wrapper, weight, data.draw(st.integers(0, 99)))
    if data.draw(st.booleans()):  # what a call leaves behind must not matter either
        module.train(data.draw(st.booleans()))
        module(torch.tensor(randn(2, 3) if kind.endswith("Cell") else randn(5, 2, 3)))
        moved(module, 1)
    with untouched(module), pytest.warns(NotCarriedOver):
        twin = rnn_jax.from_torch(module)
    check_computes(module, twin, kind)


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_a_whole_model_has_plain_weights_under_their_names(wrapper: str) -> None:
    """Also those of a Linear, in the order in which an ordinary model has them."""

    def model() -> nn.Sequential:
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(3, 3), nn.LSTM(3, 4)).double()

    ordinary, module = list(dict(model().named_parameters())), model()
    with warnings.catch_warnings(action="ignore"):
        module[1] = WRAPPERS[wrapper](module[1], "weight_hh_l0")
        if wrapper not in DROPS:
            WRAPPERS[wrapper](module[0], "weight")
    if wrapper != "drops, tensor among the parameters":  # which torch then no longer calls
        module.float().double()
    moved(module)
    with untouched(module):
        copy, omitted = plain(module)
    assert not any("Parametrized" in type(part).__name__ for part in copy.modules())
    names = [name.replace("1.module.", "1.") for name in dict(copy.named_parameters())]
    assert names == ordinary
    assert {type(p) for p in copy.parameters()} == {nn.Parameter}
    assert {one.kind for one in omitted} == {"drops" if wrapper in DROPS else "computed"}
    x = torch.tensor(randn(5, 2, 3))
    expected = module.eval()(x)[0].detach().numpy()
    check_close(copy(x)[0].detach().numpy(), expected, relative=1e-12, what="output")
    kept = copy(x)[0]
    moved(module)  # nothing of it is the original's
    assert torch.equal(copy(x)[0], kept)


def test_what_is_dropped_may_be_one_parameter_under_two_names() -> None:
    names = ("weight_hh_l0", "weight_hh_l0_reverse")
    module = WeightDrop(torch_layer("LSTM", bidirectional=True), *names)
    module.module.weight_hh_l0_reverse_raw = module.module.weight_hh_l0_raw
    with pytest.warns(NotCarriedOver):
        twin: Any = rnn_jax.from_torch(module)
    assert twin.weight_hh_l0_reverse is twin.weight_hh_l0
    check_computes(module, twin, "LSTM")


class Tagger(nn.Module):
    """A model that drops connections by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn: Any = WeightDrop(torch_layer("LSTM"), "weight_hh_l0").module
        self.head = nn.Linear(4, 2, dtype=torch.float64)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        dropped = nn.functional.dropout(self.rnn.weight_hh_l0_raw, 0.5, self.training)
        self.rnn.weight_hh_l0 = dropped
        return self.head(self.rnn(x)[0])


def test_a_model_that_drops_connections_by_itself() -> None:
    module = Tagger().float().double()
    copy, omitted = plain(module)
    assert [(one.name, one.kind) for one in omitted] == [("rnn.weight_hh_l0", "drops")]
    x = torch.tensor(randn(5, 2, 3))
    found: Any = copy
    assert torch.equal(found.head(found.rnn(x)[0]), module.eval()(x))


def test_a_parameter_that_is_only_called_raw() -> None:
    """Beside two layers it is not known to which it would belong; both have their own weights."""
    module = nn.ModuleDict({"one": torch_layer("GRU"), "other": torch_layer("GRU")})
    module.register_parameter("weight_hh_l0_raw", nn.Parameter(torch.ones(12, 4).double()))
    copy, omitted = plain(module)
    assert omitted == []
    for name, tensor in module.state_dict().items():
        assert torch.equal(copy.state_dict()[name], tensor)


def test_an_ordinary_layer_loses_nothing() -> None:
    for kind in ("RNN", "LSTM projected", "GRU without bias"):
        module = torch_layer(kind, num_layers=2, dropout=0.5)
        with untouched(module), warnings.catch_warnings(action="error"):
            rnn_jax.from_torch(module)
        assert plain(module).omitted == []


def test_what_is_not_carried_over_is_said_by_name() -> None:
    module = torch_layer("GRU")
    module.weight_hh_l0.requires_grad_(False)
    module.bias_ih_l0.register_hook(lambda gradient: gradient * 0)
    module.register_buffer("mean", torch.ones(3))
    with warnings.catch_warnings(record=True, action="always") as said:
        rnn_jax.from_torch(module)
    lines = [str(one.message) for one in said]
    assert [line.partition(":")[0] for line in lines] == ["weight_hh_l0", "bias_ih_l0", "mean"]
    for word, line in zip(("frozen", "hooks", "does not have"), lines, strict=True):
        assert word in line
    with pytest.warns(NotCarriedOver) as said:
        rnn_jax.from_torch(torch_layer("GRU").requires_grad_(False))
    assert [str(one.message) for one in said] == [
        "all parameters: frozen (requires_grad is False); what is made of them trains"
    ]
    with pytest.warns(NotCarriedOver, match=r"weight_hh_l0: dropped .* WeightDrop \(dropout=0.5\)"):
        rnn_jax.from_torch(wrapped("LSTM", "drops, tensor within"))


def test_a_buffer_among_the_weights_is_carried_over_as_frozen() -> None:
    module = torch_layer("GRU")
    values = module.weight_hh_l0.detach().clone()
    del module.weight_hh_l0
    module.register_buffer("weight_hh_l0", 2 * values)
    with untouched(module), pytest.warns(NotCarriedOver, match="weight_hh_l0: frozen"):
        twin = rnn_jax.from_torch(module)
    check_computes(module, twin, "GRU")


def test_blocks_of_columns_in_one_memory_are_two_parameters() -> None:
    module = torch_layer("LSTM", bidirectional=True)
    both = torch.randn(16, 8, dtype=torch.float64)
    module.weight_hh_l0, module.weight_hh_l0_reverse = (
        nn.Parameter(both[:, i : i + 4]) for i in (0, 4)
    )
    check_computes(module, rnn_jax.from_torch(module), "LSTM")


def test_hooks_elsewhere_in_a_model_are_left_alone() -> None:
    module = nn.Sequential(nn.Linear(3, 3), nn.GRU(3, 4)).double()
    module[0].register_forward_hook(lambda *call: 2 * call[-1])
    with untouched(module):
        copy, omitted = plain(module)
    x = torch.tensor(randn(5, 2, 3))
    assert torch.equal(copy(x)[0], module(x)[0])
    assert omitted == []
