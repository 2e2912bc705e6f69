"""One step of each recurrent cell as a pure function, in PyTorch's notation.

A cell reads `projected`, the input's share of the gates (computed for all steps at once, because it
does not depend on the state), and the state of the step before:

    projected = x_t W_ihᵀ + b_ih                     (B, G·H)
    state = cell(projected, state, weights)

The state is a tuple: (h,) or (h, c), each (B, H); h is also the step's output. A layer without bias
has no b_ih and b_hh; the equations then go without them.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

State = tuple[Float[Tensor, "*B _"], ...]


class Weights(NamedTuple):
    """The tensors of one layer and direction, as `shared/protocol/layer.py` describes them."""

    weight_ih: Float[Tensor, "GH I"]
    weight_hh: Float[Tensor, "GH P"]
    bias_ih: Float[Tensor, " GH"] | None = None
    bias_hh: Float[Tensor, " GH"] | None = None
    weight_hr: Float[Tensor, "P H"] | None = None


def rnn_tanh(projected: Float[Tensor, "B H"], state: State, weights: Weights) -> State:
    """Elman cell (Elman 1990): h' = tanh(x W_ihᵀ + b_ih + h W_hhᵀ + b_hh)."""
    (h,) = state
    return (torch.tanh(projected + F.linear(h, weights.weight_hh, weights.bias_hh)),)


def rnn_relu(projected: Float[Tensor, "B H"], state: State, weights: Weights) -> State:
    """Elman cell with ReLU: h' = max(0, x W_ihᵀ + b_ih + h W_hhᵀ + b_hh)."""
    (h,) = state
    return (torch.relu(projected + F.linear(h, weights.weight_hh, weights.bias_hh)),)


def lstm(projected: Float[Tensor, "B GH"], state: State, weights: Weights) -> State:
    """Long short-term memory (Hochreiter & Schmidhuber 1997; forget gate: Gers et al. 2000).

    i, f, g, o = the four row blocks of x W_ihᵀ + b_ih + h W_hhᵀ + b_hh
    c' = σ(f) ⊙ c + σ(i) ⊙ tanh(g)
    h' = σ(o) ⊙ tanh(c'),  projected to P features by W_hr if there is one (Sak et al. 2014)
    """
    h, c = state
    gates = projected + F.linear(h, weights.weight_hh, weights.bias_hh)
    i, f, g, o = gates.chunk(4, dim=-1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    h = torch.sigmoid(o) * torch.tanh(c)
    if weights.weight_hr is not None:
        h = F.linear(h, weights.weight_hr)
    return h, c


def gru(projected: Float[Tensor, "B GH"], state: State, weights: Weights) -> State:
    """Gated recurrent unit (Cho et al. 2014), the reset gate after the product as in torch.nn.GRU.

    r = σ(x_r + h_r)    z = σ(x_z + h_z)    with x_· = x W_i·ᵀ + b_i·  and  h_· = h W_h·ᵀ + b_h·
    n = tanh(x_n + r ⊙ h_n)
    h' = (1 - z) ⊙ n + z ⊙ h
    """
    (h,) = state
    x_r, x_z, x_n = projected.chunk(3, dim=-1)
    h_r, h_z, h_n = F.linear(h, weights.weight_hh, weights.bias_hh).chunk(3, dim=-1)
    r = torch.sigmoid(x_r + h_r)
    z = torch.sigmoid(x_z + h_z)
    n = torch.tanh(x_n + r * h_n)
    return ((1 - z) * n + z * h,)


CELLS = {"RNN_TANH": rnn_tanh, "RNN_RELU": rnn_relu, "LSTM": lstm, "GRU": gru}
