"""Trains one network in one framework.

python scripts/run.py --help
"""

from shared.commands.run import main
from shared.system import process

if __name__ == "__main__":
    process.run(main, several=True)
