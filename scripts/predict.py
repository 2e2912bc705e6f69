"""Has a trained network predict for new data.

python scripts/predict.py --help
"""

from shared.commands.predict import main
from shared.system import process

if __name__ == "__main__":
    process.run(main)
