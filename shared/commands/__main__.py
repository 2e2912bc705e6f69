"""The program as a module: `python -m shared.commands run --backend jax`."""

from shared.commands.program import start

if __name__ == "__main__":
    start()
