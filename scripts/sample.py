"""Has a trained network write on: the text after a prompt, or the translation of one.

python scripts/sample.py --help
"""

from shared.commands.sample import main
from shared.system import process

if __name__ == "__main__":
    process.run(main)
