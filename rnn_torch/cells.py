"""One step of each recurrent cell as a pure function, in PyTorch's notation.

A cell reads `projected`, the input's share of the gates (computed for all steps at once, because it
does not depend on the state), and the state of the step before:

    projected = x_t W_ihᵀ + b_ih                     (B, G·H)
    state = cell(projected, state, weight_hh, bias_hh)

The state is a tuple: (h,) or (h, c), each (B, H); h is also the step's output.
"""

import torch
from torch.nn import functional as F

State = tuple[torch.Tensor, ...]


def rnn_tanh(
    projected: torch.Tensor, state: State, weight_hh: torch.Tensor, bias_hh: torch.Tensor
) -> State:
    """Elman cell (Elman 1990): h' = tanh(x W_ihᵀ + b_ih + h W_hhᵀ + b_hh)."""
    (h,) = state
    return (torch.tanh(projected + F.linear(h, weight_hh, bias_hh)),)


def rnn_relu(
    projected: torch.Tensor, state: State, weight_hh: torch.Tensor, bias_hh: torch.Tensor
) -> State:
    """Elman cell with ReLU: h' = max(0, x W_ihᵀ + b_ih + h W_hhᵀ + b_hh)."""
    (h,) = state
    return (torch.relu(projected + F.linear(h, weight_hh, bias_hh)),)


def lstm(
    projected: torch.Tensor, state: State, weight_hh: torch.Tensor, bias_hh: torch.Tensor
) -> State:
    """Long short-term memory (Hochreiter & Schmidhuber 1997; forget gate: Gers et al. 2000).

    i, f, g, o = the four row blocks of x W_ihᵀ + b_ih + h W_hhᵀ + b_hh
    c' = σ(f) ⊙ c + σ(i) ⊙ tanh(g)
    h' = σ(o) ⊙ tanh(c')
    """
    h, c = state
    i, f, g, o = (projected + F.linear(h, weight_hh, bias_hh)).chunk(4, dim=-1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    h = torch.sigmoid(o) * torch.tanh(c)
    return h, c


def gru(
    projected: torch.Tensor, state: State, weight_hh: torch.Tensor, bias_hh: torch.Tensor
) -> State:
    """Gated recurrent unit (Cho et al. 2014), the reset gate after the product as in torch.nn.GRU.

    r = σ(x_r + h_r)    z = σ(x_z + h_z)    with x_· = x W_i·ᵀ + b_i·  and  h_· = h W_h·ᵀ + b_h·
    n = tanh(x_n + r ⊙ h_n)
    h' = (1 - z) ⊙ n + z ⊙ h
    """
    (h,) = state
    x_r, x_z, x_n = projected.chunk(3, dim=-1)
    h_r, h_z, h_n = F.linear(h, weight_hh, bias_hh).chunk(3, dim=-1)
    r = torch.sigmoid(x_r + h_r)
    z = torch.sigmoid(x_z + h_z)
    n = torch.tanh(x_n + r * h_n)
    return ((1 - z) * n + z * h,)


CELLS = {"rnn_tanh": rnn_tanh, "rnn_relu": rnn_relu, "lstm": lstm, "gru": gru}
