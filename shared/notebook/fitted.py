"""What was trained: its scores beside the baselines, its curves, pictures and predictions."""

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from shared.config import Config
from shared.config.naming import network_name
from shared.errors import InvalidInput
from shared.inference.trained import Trained
from shared.runs import read_run, run_folder
from shared.runs.run import Curve, Run
from shared.runs.schema import Schema
from shared.runs.scores import Scores, in_unit, long_name, to_show
from shared.runs.segments import label
from shared.runs.summary import Summary
from shared.system.folders import reserved, written_beside

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, repr=False, eq=False)
class Fit:
    """A trained network with all that is known of its training."""

    config: Config
    """Its settings."""
    summary: Summary
    """Facts about the run, as in summary.json of a run folder."""
    curves: dict[str, Curve]
    """Arrays `step`, `epoch`, `loss` and `metric`, by part: train, valid, test."""
    predictions: dict[str, np.ndarray]
    """Arrays `predicted`, `targets` and others for the test part, in the network's scale: those of
    predictions.npz in a run folder. None of them for a text."""
    trained: Trained
    """The network with the weights of the best validation."""
    folder: Path | None
    """Run folder; None if the run is kept in memory only."""
    files: dict[str, bytes] = field(default_factory=dict[str, bytes])
    """Files of the run by name, if it is kept in memory only."""

    @property
    def scores(self) -> Scores:
        """Scores of the test part, by their names."""
        return {name: value for name, value in self.summary.test.items() if name != "step"}

    @property
    def baselines(self) -> dict[str, Scores]:
        """Scores of predictors without a network on the same part, by the predictors' names."""
        return {one.name: one.scores for one in self.summary.baselines}

    @property
    def schema(self) -> Schema:
        """The meaning of the network's inputs and outputs."""
        return self.trained.schema

    def plot(self) -> "Figure":
        """Draws the loss curves."""
        from shared.report.curve_plots import curves_figure

        with self.run() as run:
            return _shown(curves_figure([run]))

    def plot_predictions(self) -> "Figure":
        """Draws predictions for the test part, as the task needs: a forecast, a confusion matrix.

        Raises:
            InvalidInput: the task has no such picture, as a text.
        """
        from shared.report.prediction_plots import predictions_figure

        with self.run() as run:
            figure = predictions_figure([run])
        if figure is None:
            task = self.config.task
            raise InvalidInput(f"task {task}: expected one with a picture of its predictions")
        return _shown(figure)

    def predict(
        self, data: Any, lengths: Any = None, *, beams: int = 5, past: bool | None = None
    ) -> dict[str, np.ndarray]:
        """Predicts for new data.

        Args:
            data: of the kind that the task was made of, without targets: a file, a table, arrays, a
                list of texts.
            lengths: of arrays (N, T, I), as in `sequences`.
            beams: of answers, how many are followed at once; 1 is greedy decoding.
            past: of a series, predict the times of its rows, too, with the actual values beside;
                None does so for the tasks that come along.

        Returns:
            Columns (N,) by name, such as "predicted sales", with a row for each time, sequence or
            text. Times are texts, as in a file.

        Raises:
            InvalidInput: the data cannot be used; one line names file, column and row.
        """
        from shared.notebook.predict import predicted

        return predicted(self.trained, data, lengths, beams, past)

    def save(self, folder: Path | str, overwrite: bool = False) -> "Fit":
        """Writes a run folder, which the command line reads and resumes.

        Args:
            overwrite: replace the run that lies there.

        Returns:
            The same network, kept there.

        Raises:
            InvalidInput: the folder holds something else, or cannot be written to.
        """
        from shared.report.run_files import write_run_files

        folder = Path(folder)
        run_folder.check_free(folder, overwrite)
        with reserved(folder, "--out"), self.run() as run, written_beside(folder) as new:
            new.mkdir()
            for file in run.folder.iterdir():
                (new / file.name).write_bytes(file.read_bytes())
        saved = Fit(self.config, self.summary, self.curves, self.predictions, self.trained, folder)
        write_run_files([read_run(folder)], folder)
        return saved

    @contextmanager
    def run(self) -> Iterator[Run]:
        """Gives its body the run with its folder, for what reads runs: reports, comparisons. A run
        that is kept in memory only is in a temporary folder meanwhile."""
        if self.folder is not None:
            yield read_run(self.folder)
            return
        with TemporaryDirectory(prefix="rnn-parity-") as place:
            for name, content in self.files.items():
                (Path(place) / name).write_bytes(content)
            yield read_run(place)

    def __repr__(self) -> str:
        head, *rows = self._table()
        shown = (
            f"{name}: {', '.join(map(' '.join, zip(head[1:], cells, strict=True)))}"
            for name, *cells in rows
        )
        return f"Fit({self.config.task}; {'; '.join(shown)})"

    def _repr_html_(self) -> str:
        head, *rows = self._table()
        top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
        body = "".join(
            f"<tr><th>{escape(name)}</th>{''.join(f'<td>{escape(c)}</td>' for c in cells)}</tr>"
            for name, *cells in rows
        )
        return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"

    def _table(self) -> list[list[str]]:
        """Returns names of scores, and the scores of the network and of each baseline."""
        summary, names = self.summary, to_show(self.scores)
        part = "test part" if summary.held_out else "what it was trained on"
        head = [f"{self.config.task}, {part}", *(long_name(name, summary.unit) for name in names)]
        own = f"{network_name(self.config)}, {label(summary.segments)}"
        rows = {own: self.scores} | self.baselines
        return [head] + [
            [title, *(in_unit(name, scores[name]) if name in scores else "–" for name in names)]
            for title, scores in rows.items()
        ]


def _shown(figure: "Figure") -> "Figure":
    """Has a notebook show figures as pictures, which it does by itself only after an import of
    pyplot."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    formatter = getattr(shell, "display_formatter", None)
    if formatter is not None:
        formatter.formatters["image/png"].for_type(type(figure), _png)
    return figure


def _png(figure: "Figure") -> bytes:
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=90)
    return content.getvalue()
