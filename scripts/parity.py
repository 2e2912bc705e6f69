"""Proves that two programs train the same, or names the first thing that differs and its cause.

python scripts/parity.py --help
"""

from shared.commands.parity import main
from shared.system import process

if __name__ == "__main__":
    process.run(main)
