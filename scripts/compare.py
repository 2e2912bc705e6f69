"""Trains one configuration in several backends and reports them side by side.

python scripts/compare.py --help
"""

from shared.commands.compare import main
from shared.system import process

if __name__ == "__main__":
    process.run(main)
