"""Predictions of a trained network for new data: records, one for each time, sequence or line.

records = predictions(trained, Path("days.csv"))      # [{"date": …, "predicted": …}, …]
"""

from pathlib import Path
from typing import Any

import numpy as np

from shared.inference import measured, texts
from shared.inference.forecasts import forecasts
from shared.inference.trained import Trained

Record = dict[str, Any]


@np.errstate(over="ignore", invalid="ignore")  # what comes of it is refused
def predictions(
    trained: Trained, file: Path | str, beams: int = 5, past: bool | None = None
) -> list[Record]:
    """Reads a file as the network's task needs it, and predicts.

    series              a table with the columns of the task, and times where those count
    sequences           NPZ, NPY, a table or a folder of tables: `shared/inference/measured.py`
    text                UTF-8; how probable each line is, the state being carried from line to line
    sequences of characters     UTF-8, one a line; a source to translate, too
    your own texts and pairs    tables with the column of the texts or sources; TXT with one a line

    Args:
        beams: for a translation, answers that are followed at once; 1 is greedy decoding.
        past: for a series, predict the times of its rows, too; None does so for the tasks whose
            data comes along.

    Raises:
        InvalidInput: the file cannot be read, or holds something else.
    """
    file = Path(file)
    schema = trained.schema
    if schema.series is not None:
        return forecasts(trained, file, past)
    if not schema.tokens:
        return measured.of_file(trained, file)
    return texts.of_file(trained, file, beams)
