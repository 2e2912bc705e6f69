"""Traps planted in PyTorch are named by the switches in JAX, which were told nothing of them."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.nn import functional as F

import rnn_torch.cells
import rnn_torch.network
import rnn_torch.optimizers
import rnn_torch.stack
from shared.config import Config, resolve
from tests.support.trap_cases import BASE, diagnosed


def _single_bias(monkeypatch: pytest.MonkeyPatch) -> Config:
    old = rnn_torch.network.Network.forward

    def forward(self: Any, *arguments: Any, **options: Any) -> Any:
        for name, param in self.named_parameters():
            if ".bias_hh" in name and not param._backward_hooks:
                param.register_hook(torch.zeros_like)
        return old(self, *arguments, **options)

    monkeypatch.setattr(rnn_torch.network.Network, "forward", forward)
    return BASE


def _clip_epsilon(monkeypatch: pytest.MonkeyPatch) -> Config:
    def clip(params: dict[str, torch.Tensor], max_norm: float) -> None:
        norm = torch.nn.utils.get_total_norm([param.grad for param in params.values()])  # pyright: ignore[reportArgumentType]
        for param in params.values():
            assert param.grad is not None
            param.grad *= (max_norm / norm).clamp(max=1)

    monkeypatch.setattr(rnn_torch.optimizers, "clip", clip)
    return BASE


def _reset_gate(monkeypatch: pytest.MonkeyPatch) -> Config:
    def gru(projected: Any, state: Any, weights: Any) -> Any:
        (h,) = state
        size = h.shape[1]
        recurrent = F.linear(h, weights.weight_hh, weights.bias_hh)
        r, z = (torch.sigmoid(projected + recurrent)[:, i * size : (i + 1) * size] for i in (0, 1))
        weight, bias = weights.weight_hh[2 * size :], weights.bias_hh[2 * size :]
        n = torch.tanh(projected[:, 2 * size :] + F.linear(r * h, weight, bias))
        return ((1 - z) * n + z * h,)

    monkeypatch.setitem(rnn_torch.stack.CELLS, "GRU", gru)
    return replace(BASE, network=replace(BASE.network, cell="gru"))


def _gates(monkeypatch: pytest.MonkeyPatch) -> Config:
    def lstm(projected: Any, state: Any, weights: Any) -> Any:
        h, c = state
        gates = projected + F.linear(h, weights.weight_hh, weights.bias_hh)
        i, f, o, g = gates.chunk(4, dim=1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c), c

    monkeypatch.setitem(rnn_torch.stack.CELLS, "LSTM", lstm)
    return replace(BASE, network=replace(BASE.network, cell="lstm"))


def _adam(monkeypatch: pytest.MonkeyPatch) -> Config:
    """ε under the root."""

    class Adam(torch.optim.Adam):
        @torch.no_grad()
        def step(self, closure: Any = None) -> Any:
            (group,) = self.param_groups
            for param in group["params"]:
                state = self.state[param]
                if not state:
                    state["step"] = 0
                    state["exp_avg"] = torch.zeros_like(param)
                    state["exp_avg_sq"] = torch.zeros_like(param)
                state["step"] += 1
                b1, b2 = group["betas"]
                state["exp_avg"].lerp_(param.grad, 1 - b1)
                state["exp_avg_sq"].mul_(b2).add_((1 - b2) * param.grad**2)
                m = state["exp_avg"] / (1 - b1 ** state["step"])
                v = state["exp_avg_sq"] / (1 - b2 ** state["step"])
                param -= group["lr"] * m / torch.sqrt(v + group["eps"])

    monkeypatch.setattr(torch.optim, "Adam", Adam)
    return BASE


def _ragged_mean(monkeypatch: pytest.MonkeyPatch) -> Config:
    import rnn_torch.losses

    old = rnn_torch.losses.sums

    def sums(loss: Any, outputs: Any, targets: Any, weights: Any) -> Any:
        total, metric, count = old(loss, outputs, targets, weights)
        share = count / weights.numel()  # the step divides by the count
        return total * share, metric * share, count

    monkeypatch.setattr(rnn_torch.losses, "sums", sums)
    return BASE


def _padding(monkeypatch: pytest.MonkeyPatch) -> Config:
    old = rnn_torch.network.Network.forward

    def forward(self: Any, inputs: Any, state: Any, lengths: Any = None, *others: Any) -> Any:
        return old(self, inputs, state, None, *others)

    monkeypatch.setattr(rnn_torch.network.Network, "forward", forward)
    return BASE


PLANTED_IN_TORCH: dict[str, Callable[[pytest.MonkeyPatch], Config]] = {
    "single-bias": _single_bias,
    "clip-epsilon": _clip_epsilon,
    "reset-gate": _reset_gate,
    "adam:epsilon-in-root": _adam,
    "ragged-mean": _ragged_mean,
    "padding": _padding,
    "gates:ifog": _gates,
}


@pytest.mark.parametrize("name", PLANTED_IN_TORCH)
def test_a_trap_in_pytorch_is_named_by_the_switch_that_goes_into_it_too(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = resolve(PLANTED_IN_TORCH[name](monkeypatch))
    ran, diagnosis = diagnosed(config)
    assert not ran.comparison.equal
    assert diagnosis.causes == [name]


def test_something_else_is_not_given_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """A difference that no trap explains: PyTorch's tanh is a little steeper."""
    cell = rnn_torch.cells.rnn_tanh

    def steeper(projected: Any, state: Any, weights: Any) -> Any:
        return (1.001 * cell(projected, state, weights)[0],)

    monkeypatch.setitem(rnn_torch.stack.CELLS, "RNN_TANH", steeper)
    ran, diagnosis = diagnosed(resolve(BASE))
    assert ran.comparison.difference is not None
    assert ran.comparison.difference.phase == "layers"
    assert diagnosis.causes == []
    assert not diagnosis.rounding
