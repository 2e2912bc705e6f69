"""Which modules are recurrent layers or cells, and with which arguments: torch.nn's and ours."""

from typing import Any, NamedTuple, get_args

from torch import nn

from rnn_torch.cell_modules import Cell, Recurrence
from rnn_torch.layers import Layer
from rnn_torch.stack import Recurrent
from shared.config.settings import Cell as Kind
from shared.protocol import LayerConfig
from shared.protocol.layer import Shape

CLASSES: tuple[type[nn.Module], ...] = (
    *get_args(Layer),
    *get_args(Cell),
    nn.RNN,
    nn.LSTM,
    nn.GRU,
    nn.RNNCell,
    nn.LSTMCell,
    nn.GRUCell,
)
"""What is exchanged, and subclasses that compute the same."""
_MODES: dict[str, Kind] = {"RNN_TANH": "rnn", "RNN_RELU": "rnn", "LSTM": "lstm", "GRU": "gru"}
_CELLS: dict[type[nn.RNNCellBase], Kind] = {
    nn.RNNCell: "rnn",
    nn.LSTMCell: "lstm",
    nn.GRUCell: "gru",
}


class Described(NamedTuple):
    """What a recurrent layer or cell is."""

    config: LayerConfig
    cell: bool

    def shapes(self) -> dict[str, Shape]:
        """Returns name → shape of every tensor, in torch's order."""
        return self.config.cell_shapes() if self.cell else self.config.shapes()


def described(module: Any) -> Described | None:
    """Returns the arguments of a layer or a cell of this package or of torch.nn; None for what is
    neither."""
    if isinstance(module, (Recurrent, Recurrence)):
        return Described(module.layer_config, isinstance(module, Recurrence))
    if isinstance(module, (nn.RNN, nn.LSTM, nn.GRU)):
        config = LayerConfig(
            _MODES[module.mode],
            module.input_size,
            module.hidden_size,
            module.num_layers,
            "relu" if module.mode == "RNN_RELU" else "tanh",
            module.bias,
            module.batch_first,
            module.dropout,
            module.bidirectional,
            module.proj_size,
        )
        return Described(config, False)
    for kind, cell in _CELLS.items():
        if isinstance(module, kind):
            # torch's cells take any number and any truth value.
            sizes = int(module.input_size), int(module.hidden_size)
            nonlinearity: Any = getattr(module, "nonlinearity", "tanh")
            config = LayerConfig(cell, *sizes, nonlinearity=nonlinearity, bias=bool(module.bias))
            return Described(config, True)
    return None
