"""Converts a recurrent layer between a torch state dict and canonical safetensors.

python scripts/convert.py --help
"""

from shared.commands.convert import main
from shared.system import process

if __name__ == "__main__":
    process.run(main)
