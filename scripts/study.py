"""Trains combinations of settings and finds the best in validation.

python scripts/study.py --help
"""

from shared.commands.study import main
from shared.system import process

if __name__ == "__main__":
    process.run(main)
