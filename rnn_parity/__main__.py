"""The installed program as a module: `python -m rnn_parity run --backend jax`."""

import sys

from rnn_parity import explained

if __name__ == "__main__":
    try:
        from shared.commands.program import start
    except ImportError as error:
        sys.exit(f"rnn-parity: {explained(error)}")
    start()
