"""The installed program: `rnn-parity run --backend jax`, or `python -m rnn_parity run …`."""

import sys
from typing import NoReturn

from rnn_parity import check_shared


def start() -> NoReturn:
    """Runs the program with this process's arguments, and exits."""
    try:
        check_shared()
        from shared.commands import program
    except ImportError as error:
        sys.exit(f"rnn-parity: {error}")
    program.start()


if __name__ == "__main__":
    start()
