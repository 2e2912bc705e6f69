"""Converts a recurrent layer between a torch state dict and canonical safetensors.

For example:
    rnn-parity convert model.pt lstm.safetensors
    rnn-parity convert model.pt lstm.safetensors --source-prefix encoder.lstm.
    rnn-parity convert lstm.safetensors lstm.pt --target-prefix encoder.lstm.
    rnn-parity convert RUN/checkpoint-200.safetensors lstm.pt --source-prefix weights/rnn.

Each file is a .safetensors or one of torch.save (.pt, .pth, .bin). Every tensor keeps its values
and its dtype. Canonical names are those of torch.nn.LSTM without a prefix: weight_ih_l0, …
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

TORCH = (".pt", ".pth", ".bin")


@dataclass(frozen=True)
class Arguments:
    source: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="SOURCE")]
    """File to read."""
    target: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="TARGET")]
    """File to write."""
    source_prefix: str | None = None
    """What stands before weight_ih_l0 in the source; by default that of the only layer in it."""
    target_prefix: str = ""
    """What to put before weight_ih_l0 in the target."""
    overwrite: bool = False
    """Replace the target."""


def main(argv: Sequence[str]) -> None:
    assert __doc__ is not None
    arguments = cli.parse(Arguments, argv, Arguments(tyro.MISSING, tyro.MISSING), __doc__)
    source, target = Path(arguments.source), Path(arguments.target)
    from_torch, to_torch = _is_torch(source), _is_torch(target)
    if target.is_dir():
        raise InvalidInput(f"{target}: expected a file's name, got a folder")
    if os.path.lexists(target) and not arguments.overwrite:  # a link to nothing, too
        raise InvalidInput(f"{target} exists: expected another name, or --overwrite")
    if not target.parent.is_dir():
        raise InvalidInput(f"{target}: expected an existing folder, got {target.parent}")

    from shared.protocol.backend import part_of
    from shared.protocol.state_dict import find_layer, listed, read_safetensors
    from shared.system.tensor_files import write_tensors

    torch_files = part_of("torch", "files") if from_torch or to_torch else None
    read = torch_files.read_torch if torch_files and from_torch else read_safetensors
    write = torch_files.write_torch if torch_files and to_torch else write_tensors

    tensors, others = read(source)
    try:
        layer = find_layer(tensors, arguments.source_prefix)
    except InvalidInput as error:
        raise InvalidInput(f"{source}: {error}") from error
    renamed = {arguments.target_prefix + name: array for name, array in layer.tensors.items()}
    write(target, renamed)

    print(f"{source}: {printable(_described(layer))}")
    converted = {layer.prefix + name for name in layer.tensors}
    left = [name for name in [*tensors, *others] if name not in converted]
    if left:
        print(f"left out: {printable(listed(left))}")
    print(f"wrote {target}: {len(renamed)} tensors, {printable(next(iter(renamed)))} …")


def _described(layer: "FoundLayer") -> str:
    arguments = layer.config.arguments()
    # What no tensor tells is not shown.
    shown = ("input_size", "hidden_size", "num_layers", "bias", "bidirectional", "proj_size")
    values = ", ".join(f"{name}={arguments[name]}" for name in shown if name in arguments)
    dtype = layer.tensors["weight_ih_l0"].dtype
    under = f" under '{layer.prefix}'" if layer.prefix else ""
    return f"{layer.config.name}({values}), {dtype}{under}"


def _is_torch(path: Path) -> bool:
    if path.suffix not in (".safetensors", *TORCH):
        raise InvalidInput(f"{path}: expected a name in .safetensors, {', '.join(TORCH)}")
    return path.suffix in TORCH
