"""What a recurrent layer is in both frameworks: its arguments, tensors and shapes of a call.

    weight_ih_l{k}{_reverse}      (G·H, I_k)      I_0 = I, later D·P
    weight_hh_l{k}{_reverse}      (G·H, P)
    bias_ih_l{k}{_reverse}        (G·H,)          with bias
    bias_hh_l{k}{_reverse}        (G·H,)          with bias
    weight_hr_l{k}{_reverse}      (P, H)          LSTM with proj_size

I input size, H hidden size, P proj_size or else H, D directions. The G gates of a row block stand
in the order of torch: LSTM i, f, g, o; GRU r, z, n. A state dict of `torch.nn.LSTM` is canonical as
it is (https://docs.pytorch.org/docs/stable/generated/torch.nn.LSTM.html).

What is refused here is refused by torch.nn too, with an exception of the same type; messages name
what was expected and what came.
"""

import numbers
from dataclasses import asdict, dataclass
from typing import Any, get_args

from shared.config.settings import Cell, Nonlinearity

Shape = tuple[int, ...]

GATES: dict[Cell, int] = {"rnn": 1, "lstm": 4, "gru": 3}
STATES: dict[Cell, tuple[str, ...]] = {"rnn": ("h",), "lstm": ("h", "c"), "gru": ("h",)}


@dataclass(frozen=True)
class LayerConfig:
    """The arguments of torch.nn.RNN, LSTM and GRU.

    Raises:
        TypeError, ValueError: an argument that torch.nn refuses with the same exception.
    """

    cell: Cell
    input_size: int
    hidden_size: int
    num_layers: int = 1
    nonlinearity: Nonlinearity = "tanh"
    bias: bool = True
    batch_first: bool = False
    dropout: float = 0.0
    bidirectional: bool = False
    proj_size: int = 0

    def __post_init__(self) -> None:
        _check_arguments(self)

    @property
    def name(self) -> str:
        """Name of the class, RNN, LSTM or GRU, as in messages."""
        return self.cell.upper()

    @property
    def mode(self) -> str:
        """Name of the computation in torch: RNN_TANH, RNN_RELU, LSTM or GRU."""
        return f"RNN_{self.nonlinearity.upper()}" if self.cell == "rnn" else self.name

    @property
    def directions(self) -> int:
        return 2 if self.bidirectional else 1

    @property
    def output_size(self) -> int:
        """Number of features of h in one direction."""
        return self.proj_size or self.hidden_size

    def arguments(self) -> dict[str, Any]:
        """Returns the keyword arguments with which torch.nn's class of this name makes such a
        layer."""
        arguments = asdict(self)
        del arguments["cell"]
        for name, cell in (("nonlinearity", "rnn"), ("proj_size", "lstm")):
            if self.cell != cell:
                del arguments[name]
        return arguments

    def cell_arguments(self) -> dict[str, Any]:
        """Returns the keyword arguments with which this project's cell of this name is made."""
        names = {"input_size", "hidden_size", "bias", "nonlinearity", "proj_size"}
        return {name: value for name, value in self.arguments().items() if name in names}

    def suffixes(self) -> list[list[str]]:
        """Returns the name endings of each layer's directions: [["_l0", "_l0_reverse"], …]."""
        directions = ("", "_reverse")[: self.directions]
        return [[f"_l{layer}{end}" for end in directions] for layer in range(self.num_layers)]

    def shapes(self) -> dict[str, Shape]:
        """Returns name → shape of every tensor, in torch's order."""
        rows = GATES[self.cell] * self.hidden_size
        shapes: dict[str, Shape] = {}
        columns = self.input_size
        for endings in self.suffixes():
            for ending in endings:
                shapes[f"weight_ih{ending}"] = (rows, columns)
                shapes[f"weight_hh{ending}"] = (rows, self.output_size)
                if self.bias:
                    shapes[f"bias_ih{ending}"] = (rows,)
                    shapes[f"bias_hh{ending}"] = (rows,)
                if self.proj_size:
                    shapes[f"weight_hr{ending}"] = (self.proj_size, self.hidden_size)
            columns = self.directions * self.output_size
        return shapes

    def cell_shapes(self) -> dict[str, Shape]:
        """Returns the same for a cell of these arguments, whose names have no ending: weight_ih."""
        return {name.removesuffix("_l0"): shape for name, shape in self.shapes().items()}

    def state_shapes(self, batch: int | None) -> tuple[Shape, ...]:
        """Returns the shapes of h, and for an LSTM c: (L·D, B, P) and (L·D, B, H).

        Without the axis B if `batch` is None.
        """
        rows = self.num_layers * self.directions
        between = () if batch is None else (batch,)
        widths = (self.output_size, self.hidden_size)
        return tuple((rows, *between, widths[name == "c"]) for name in STATES[self.cell])


def _check_arguments(config: LayerConfig) -> None:
    """Makes the checks of torch.nn.RNNBase, in its order."""
    dropout = config.dropout
    if not isinstance(dropout, numbers.Real):
        raise TypeError(f"dropout: expected a probability in [0, 1], got {dropout!r}")
    if isinstance(dropout, bool) or not 0 <= dropout <= 1:
        raise ValueError(f"dropout: expected a probability in [0, 1], got {dropout!r}")
    for name in ("bias", "batch_first", "bidirectional"):
        value = getattr(config, name)
        if not isinstance(value, bool):
            raise TypeError(f"{name}: expected a bool, got {value!r}")
    for name, least in (("input_size", 1), ("hidden_size", 1), ("num_layers", 1), ("proj_size", 0)):
        value = getattr(config, name)
        # torch takes NumPy's integers for these two alone.
        kind = int if name in ("input_size", "hidden_size") else numbers.Integral
        if not isinstance(value, kind) or isinstance(value, bool):
            raise TypeError(f"{name}: expected an int, got {value!r}")
        if value < least:
            raise ValueError(f"{name}: expected at least {least}, got {value}")
    if config.proj_size >= config.hidden_size:
        raise ValueError(
            f"proj_size: expected less than hidden_size {config.hidden_size}, "
            f"got {config.proj_size}"
        )
    if config.proj_size and config.cell != "lstm":
        raise ValueError(f"proj_size: expected 0, only LSTM projects, got {config.proj_size}")
    if config.nonlinearity not in get_args(Nonlinearity):
        raise ValueError(f"nonlinearity: expected 'tanh' or 'relu', got {config.nonlinearity!r}")
