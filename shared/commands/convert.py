"""Converts a recurrent layer or cell between the files of PyTorch, Flax, Keras, NumPy and
safetensors.

For example:
    rnn-parity convert model.pt lstm.safetensors
    rnn-parity convert model.ckpt lstm.safetensors --source-prefix encoder.lstm
    rnn-parity convert lstm.safetensors lstm.pt --target-prefix encoder.lstm
    rnn-parity convert model.keras lstm.safetensors --one-bias
    rnn-parity convert RUN/checkpoint-200.safetensors lstm.pt --source-prefix weights/rnn.

A source is recognised by its content: a file of torch.save, .safetensors, .npz, Flax's msgpack, a
folder of Orbax, .keras or .weights.h5. The target's suffix says what is written: .safetensors, .pt
(.pth, .bin, .ckpt), .npz, .msgpack, .orbax (a folder, as any name that ends in /) or .weights.h5.
Every tensor keeps its values and its dtype; matrices that weight norm and its like keep in parts
are computed. Canonical names are those of torch.nn.LSTM without a prefix: weight_ih_l0, …
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from shared.commands import cli
from shared.errors import InvalidInput, printable

if TYPE_CHECKING:
    from shared.protocol.state_dict import FoundLayer


@dataclass(frozen=True)
class Arguments:
    source: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="SOURCE")]
    """File or folder to read."""
    target: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="TARGET")]
    """File or folder to write."""
    source_prefix: str | None = None
    """What stands before weight_ih_l0 in the source, or the end of that; by default that of the
    only layer in it."""
    target_prefix: str = ""
    """What to put before weight_ih_l0 in the target."""
    layer: int | None = None
    """Convert one layer of a stack: 0 is the first."""
    one_bias: bool = False
    """Accept that a single bias of Flax or Keras becomes bias_ih beside a bias_hh of zeros, or that
    two become their sum: the layer computes the same, and trains differently."""
    overwrite: bool = False
    """Replace the target."""


def main(argv: Sequence[str]) -> None:
    assert __doc__ is not None
    arguments = cli.parse(Arguments, argv, Arguments(tyro.MISSING, tyro.MISSING), __doc__)

    from shared.protocol.layer_forms import one_of_stack
    from shared.protocol.weight_files import (
        check_writer,
        layer_in,
        read_content,
        suffix_of,
        tensors_for,
        write_content,
    )

    source = Path(arguments.source)
    suffix = suffix_of(arguments.target)
    _check_target(arguments, suffix)
    check_writer(suffix)
    content = read_content(source)
    try:
        layer = layer_in(content, arguments.source_prefix, one_bias=arguments.one_bias)
        if arguments.layer is not None:
            layer = one_of_stack(layer, arguments.layer)
    except InvalidInput as error:
        raise InvalidInput(f"{source}: {error}") from error
    try:
        tensors = tensors_for(suffix, layer, arguments.target_prefix, one_bias=arguments.one_bias)
        write_content(arguments.target, tensors)
    except InvalidInput as error:
        raise InvalidInput(f"{arguments.target}: {error}") from error

    used = set(layer.sources)
    left = [name for name in [*content.tensors, *content.others] if name not in used]
    print(f"{source}: {printable(_described(layer))}")
    for what, said in _said(layer, left).items():
        if said:
            print(f"{what}: {printable(said)}")
    first = printable(next(iter(tensors)))
    print(f"wrote {arguments.target}: {len(tensors)} tensors, {first} …")


def _check_target(arguments: Arguments, suffix: str) -> None:
    """Refuses a target that cannot be written, or that is there and not to be replaced."""
    target = Path(arguments.target)
    folder = suffix == ".orbax"
    if target.is_dir() and not folder:
        raise InvalidInput(f"{target}: expected a file's name, got a folder")
    if os.path.lexists(target) and not arguments.overwrite:  # a link to nothing, too
        raise InvalidInput(f"{target} exists: expected another name, or --overwrite")
    if folder and os.path.lexists(target) and not (target / "_METADATA").is_file():
        raise InvalidInput(f"{target}: expected a folder of Orbax to replace, got another")
    if not target.parent.is_dir():
        raise InvalidInput(f"{target}: expected an existing folder, got {target.parent}")


def _said(layer: "FoundLayer", left: Sequence[str]) -> dict[str, str]:
    """Returns what a reader should know of a conversion, under its headings."""
    from shared.protocol.state_dict import listed

    return {
        "computed": listed([f"{one.name} ({one.wrapper})" for one in layer.folds]),
        "assumed": ", ".join(layer.assumed),
        "not carried over": ", ".join(layer.not_carried_over),
        "left out": listed(left),
    }


def _described(layer: "FoundLayer") -> str:
    arguments = layer.config.cell_arguments() if layer.cell else layer.config.arguments()
    # What no tensor tells is not shown, unless the file does.
    shown = ("input_size", "hidden_size", "num_layers", "bias", "bidirectional", "proj_size")
    names = [name for name in (*shown, *layer.told) if name in arguments]
    values = ", ".join(f"{name}={arguments[name]}" for name in names)
    dtype = next(iter(layer.tensors.values())).dtype
    under = f" under '{layer.prefix}'" if layer.prefix else ""
    return f"{layer.config.name}{'Cell' if layer.cell else ''}({values}), {dtype}{under}"
