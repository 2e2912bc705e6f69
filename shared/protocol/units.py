"""The modules of a model that have parameters, as `propose` pairs them: torch's and its port's."""

from collections.abc import Mapping
from typing import NamedTuple

from shared.protocol.places import Place

RECURRENT = ("RNN", "LSTM", "GRU")
ATTENTION = "MultiheadAttention"
NORM = "Norm"
"""Kind of a normalisation whose parameters do not tell which it is."""
OTHER = "Parameter"
"""Kind of a parameter that belongs to a module of the user's own."""
BUFFER = "Buffer"
"""Kind of torch's buffers there, which a port may have in its code."""


class Unit(NamedTuple):
    """A module of a known kind, or one parameter of another module. Of a recurrent layer each layer
    and direction is a unit of its own, as a cell is."""

    path: str
    """What leads to it; two directions of a layer have the same."""
    kind: str
    """Name of its class in torch.nn: Linear, Conv2d, LSTM; an LSTMCell is an LSTM, too."""
    tensors: Mapping[str, Place]
    """Name of a tensor within torch's module → in torch its whole name, in the port its place."""
