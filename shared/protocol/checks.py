"""Checks of the arguments of a recurrent layer, the same in both frameworks."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from shared.errors import InvalidInput
from shared.protocol.layer import STATES, LayerConfig, Shape


def warn_of_idle_dropout(config: LayerConfig, stacklevel: int) -> None:
    """Gives torch's warning for dropout with a single layer, where no next layer would receive it.

    Args:
        stacklevel: as in `warnings.warn`, counted from the caller: 2 blames the caller's caller.
    """
    if config.dropout > 0 and config.num_layers == 1:
        warnings.warn(
            "dropout acts between recurrent layers: expected num_layers of 2 or more, got "
            f"dropout={config.dropout} and num_layers=1",
            stacklevel=stacklevel + 1,
        )


def check_no_projection(name: str, proj_size: Any) -> None:
    """Raises ValueError, as torch.nn does, if a layer other than an LSTM gets proj_size, even 0."""
    if proj_size is not None:
        raise ValueError(f"{name}: expected no proj_size, only LSTM projects, got {proj_size!r}")


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
    """Returns the class of a value, with its module."""
    return f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")


def check_inherited(module: Any, classes: Sequence[type], method: str) -> None:
    """Raises TypeError if a subclass of one of the classes overrides the method that computes."""
    for kind in classes:
        if isinstance(module, kind) and getattr(type(module), method) is not getattr(kind, method):
            raise TypeError(
                f"expected {kind.__name__} or a subclass that computes the same, got "
                f"{named(module)} with a {method} of its own"
            )


def check_state(
    config: LayerConfig, state: Any, batch: int | None, is_array: Callable[[Any], bool]
) -> tuple[Any, ...]:
    """Returns an initial state, h or (h, c), as a tuple.

    Args:
        state: arrays of the framework.
        batch: its size, None for unbatched input.
        is_array: tells whether a value is an array of the framework.

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
    """Raises ValueError unless there is one mask of the output's shape between each two layers."""
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
    """Raises InvalidInput if the tensors have several dtypes; a layer has only one."""
    examples = {str(tensor.dtype): name for name, tensor in tensors.items()}
    if len(examples) > 1:
        got = ", ".join(f"{dtype} ({name})" for dtype, name in sorted(examples.items()))
        raise InvalidInput(f"expected parameters of one dtype, got {got}")
