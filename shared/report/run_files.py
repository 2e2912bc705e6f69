"""What a run's folder gets for a reader once it is finished: its pictures and its model card."""

from collections.abc import Sequence
from pathlib import Path

from shared.report.curve_plots import save_curves
from shared.report.model_card import write_card
from shared.report.prediction_plots import save_predictions
from shared.runs.run import Run
from shared.runs.run_folder import CURVES, PICTURE


def write_run_files(runs: Sequence[Run], folder: Path) -> None:
    """Draws predictions and curves of a run and writes its card; of several seeds, those of each,
    and the curves of all into their common folder.

    The curves come last: a run without them is not yet drawn.

    Raises:
        OSError: a file cannot be written.
    """
    for run in runs:
        save_predictions([run], run.folder / PICTURE)
        write_card(run)
        save_curves([run], run.folder / CURVES)
    if len(runs) > 1:
        save_curves(runs, folder / CURVES)
