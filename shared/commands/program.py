"""The installed program, `rnn-parity COMMAND …`: each command is a file of this room.

    rnn-parity run --backend jax
    rnn-parity --help

`python -m rnn_parity` is the same.
"""

import importlib
import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import NoReturn

from shared.errors import InvalidInput
from shared.system import process

NAME = "rnn-parity"
COMMANDS = {
    "run": "train a network in one framework, from one seed or several",
    "compare": "train it in several frameworks and report the runs side by side",
    "study": "search settings, by grid or at random, for the best in validation",
    "parity": "prove that two programs train the same, or name what differs first",
    "sample": "have a trained network write text, or translate one",
    "predict": "have a trained network predict for new data",
    "convert": "convert a recurrent layer or cell between files of PyTorch, Flax, Keras and NumPy",
}


def start() -> NoReturn:
    """Runs the program with this process's arguments, and exits as `process.run` does."""
    given = sys.argv[1:2]
    known = given and given[0] in COMMANDS
    name = f"{NAME} {given[0]}" if known else NAME
    process.run(main, name, several=given == ["run"])


def main(argv: Sequence[str]) -> None:
    """Runs one command.

    Raises:
        InvalidInput: there is no such command, or as the command.
    """
    name, *arguments = argv or [""]
    if name in ("-h", "--help"):
        print(help_text())
    elif name == "--version":
        if arguments:
            raise InvalidInput(f"--version: expected nothing after it, got {' '.join(arguments)}")
        print(f"{NAME} {version(NAME)}")
    elif name in COMMANDS:
        importlib.import_module(f"shared.commands.{name}").main(arguments)
    else:
        known = ", ".join(COMMANDS)
        raise InvalidInput(f"expected a command, one of {known}, got {name or 'none'}")


def help_text() -> str:
    """Returns the text that `--help` prints: a line for each command."""
    lines = [f"  {name:<9} {about}" for name, about in COMMANDS.items()]
    return "\n".join(
        [
            f"usage: {NAME} COMMAND [OPTIONS]",
            "",
            "The same recurrent networks in JAX and in PyTorch, trained in step and compared.",
            "",
            *lines,
            "",
            f"{NAME} COMMAND --help explains a command and its options.",
        ]
    )
