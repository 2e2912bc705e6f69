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
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from shared.errors import InvalidInput

Cell = Literal["rnn", "lstm", "gru"]
Nonlinearity = Literal["tanh", "relu"]
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
        """RNN, LSTM or GRU, as in messages."""
        return self.cell.upper()

    @property
    def mode(self) -> str:
        """torch's name of the computation: RNN_TANH, RNN_RELU, LSTM or GRU."""
        return f"RNN_{self.nonlinearity.upper()}" if self.cell == "rnn" else self.name

    @property
    def directions(self) -> int:
        return 2 if self.bidirectional else 1

    @property
    def output_size(self) -> int:
        """Features of h in one direction."""
        return self.proj_size or self.hidden_size

    def arguments(self) -> dict[str, Any]:
        """The keyword arguments with which torch.nn's class of this name makes such a layer."""
        arguments = asdict(self)
        del arguments["cell"]
        for name, cell in (("nonlinearity", "rnn"), ("proj_size", "lstm")):
            if self.cell != cell:
                del arguments[name]
        return arguments

    def suffixes(self) -> list[list[str]]:
        """The name endings of each layer's directions: [["_l0", "_l0_reverse"], …]."""
        directions = ("", "_reverse")[: self.directions]
        return [[f"_l{layer}{end}" for end in directions] for layer in range(self.num_layers)]

    def shapes(self) -> dict[str, Shape]:
        """Name → shape of every tensor, in torch's order."""
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

    def state_shapes(self, batch: int | None) -> tuple[Shape, ...]:
        """Shapes of h, and for an LSTM c: (L·D, B, P) and (L·D, B, H); without B if it is None."""
        rows = self.num_layers * self.directions
        between = () if batch is None else (batch,)
        widths = (self.output_size, self.hidden_size)
        return tuple((rows, *between, widths[name == "c"]) for name in STATES[self.cell])


def warn_of_idle_dropout(config: LayerConfig, stacklevel: int) -> None:
    """torch's warning for dropout with a single layer, which has nothing to drop between.

    Args:
        stacklevel: as in `warnings.warn`, counted from the caller: 2 blames the caller's caller.
    """
    if config.dropout > 0 and config.num_layers == 1:
        warnings.warn(
            "dropout acts between recurrent layers: expected num_layers of 2 or more, got "
            f"dropout={config.dropout} and num_layers=1",
            stacklevel=stacklevel + 1,
        )


def check_input(config: LayerConfig, shape: Sequence[int], *, packed: bool = False) -> None:
    """Raises unless inputs have the shape (T, B, I), (T, I), or packed (N, I); T at least 1."""
    layout = "(batch, time, input_size)" if config.batch_first else "(time, batch, input_size)"
    expected = "(steps, input_size)" if packed else f"{layout} or (time, input_size)"
    got = tuple(shape)
    if packed and len(got) != 2:
        raise RuntimeError(f"{config.name}: expected packed input of shape {expected}, got {got}")
    if len(got) not in (2, 3):
        raise ValueError(f"{config.name}: expected 2-D or 3-D input, {expected}, got shape {got}")
    if got[-1] != config.input_size:
        raise RuntimeError(
            f"{config.name}: expected input of shape {expected} with input_size "
            f"{config.input_size}, got {got}"
        )
    if got[1 if config.batch_first and len(got) == 3 else 0] == 0:
        raise RuntimeError(f"{config.name}: expected input of at least one time step, got {got}")


def check_kind(config: LayerConfig, what: str, value: Any, right: bool, expected: str) -> None:
    """Raises TypeError unless a value is of the right kind, such as an array of the framework."""
    if not right:
        raise TypeError(f"{config.name}: expected {what} to be {expected}, got {named(value)}")


def named(value: Any) -> str:
    """The class of a value, with its module."""
    return f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")


def check_inherited(module: Any, classes: Sequence[type], method: str) -> None:
    """Raises TypeError if a subclass of one of the classes computes in a method of its own."""
    for kind in classes:
        if isinstance(module, kind) and getattr(type(module), method) is not getattr(kind, method):
            raise TypeError(
                f"expected {kind.__name__} or a subclass that computes the same, got "
                f"{named(module)} with a {method} of its own"
            )


def check_state(
    config: LayerConfig, state: Any, batch: int | None, is_array: Callable[[Any], bool]
) -> tuple[Any, ...]:
    """An initial state, h or (h, c), as a tuple.

    Args:
        state: arrays of the framework.
        batch: its size, None for unbatched input.
        is_array: whether a value is an array of the framework.

    Raises:
        TypeError: not one tensor, or for an LSTM not a pair of them.
        RuntimeError: another shape than (L·D, B, P) for h or (L·D, B, H) for c.
    """
    names = STATES[config.cell]
    several = isinstance(state, (tuple, list))
    parts = tuple(state) if several else (state,)
    if several != (config.cell == "lstm") or len(parts) != len(names):
        kind = type(state).__name__
        got = f"{len(parts)} in a {kind}" if several else "one tensor" if is_array(state) else kind
        wanted = "a pair (h_0, c_0)" if config.cell == "lstm" else "one tensor h_0"
        raise TypeError(f"{config.name}: expected {wanted} as initial state, got {got}")
    for name, part, expected in zip(names, parts, config.state_shapes(batch), strict=True):
        check_kind(config, f"{name}_0", part, is_array(part), "an array of the layer's framework")
        if tuple(part.shape) != expected:
            layout = "(num_layers · directions, batch, features)"
            if batch is None:
                layout = "(num_layers · directions, features), the input being unbatched,"
            raise RuntimeError(
                f"{config.name}: expected {name}_0 of shape {layout} = {expected}, "
                f"got {tuple(part.shape)}"
            )
    return parts


def check_lengths(
    config: LayerConfig,
    shape: Shape,
    dtype: str,
    values: Sequence[int] | None,
    expected: Shape,
    steps: int,
) -> None:
    """Raises unless lengths are integers in [1, T], one for each sequence.

    Args:
        shape: of the lengths.
        dtype: of the lengths, by its name.
        values: None if they are not known yet.
        expected: (B,), or () for one sequence without a batch.
        steps: T.

    Raises:
        TypeError: not integers.
        ValueError: another shape, or a value outside [1, T].
    """
    if not dtype.startswith(("int", "uint")):
        raise TypeError(f"{config.name}: expected lengths to be integers, got {dtype}")
    if shape != expected:
        raise ValueError(f"{config.name}: expected lengths of shape {expected}, got {shape}")
    for i, value in enumerate(values or ()):
        if not 1 <= value <= steps:
            raise ValueError(
                f"{config.name}: expected lengths from 1 to {steps}, the steps of the input, "
                f"got {value} for sequence {i}"
            )


def check_masks(config: LayerConfig, shape: Sequence[int], output: Sequence[int]) -> None:
    """Raises ValueError unless there is one mask of the output's shape between any two layers."""
    expected = (config.num_layers - 1, *output)
    if tuple(shape) != expected:
        raise ValueError(
            f"{config.name}: expected masks of shape (num_layers - 1, *output) = {expected}, "
            f"got {tuple(shape)}"
        )


def check_tensors(expected: Mapping[str, Shape], found: Mapping[str, Any]) -> None:
    """Raises InvalidInput, naming every tensor that is missing, unexpected or of another shape."""
    wrong = [f"missing {name} {shape}" for name, shape in expected.items() if name not in found]
    wrong += [f"unexpected {name}" for name in found if name not in expected]
    for name, shape in expected.items():
        if name in found and not hasattr(found[name], "shape"):
            wrong.append(f"{name}: expected an array, got {type(found[name]).__name__}")
        elif name in found and tuple(found[name].shape) != shape:
            wrong.append(f"{name}: expected shape {shape}, got {tuple(found[name].shape)}")
    if wrong:
        raise InvalidInput("; ".join(wrong))


def check_one_dtype(tensors: Mapping[str, Any]) -> None:
    """Raises InvalidInput if tensors have several dtypes, of which a layer has one."""
    examples = {str(tensor.dtype): name for name, tensor in tensors.items()}
    if len(examples) > 1:
        got = ", ".join(f"{dtype} ({name})" for dtype, name in sorted(examples.items()))
        raise InvalidInput(f"expected parameters of one dtype, got {got}")


def _check_arguments(config: LayerConfig) -> None:
    """The checks of torch.nn.RNNBase, in its order."""
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
