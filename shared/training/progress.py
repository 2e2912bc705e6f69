"""Progress of a run: a bar on a terminal, plain lines elsewhere."""

import sys
from types import TracebackType
from typing import Self

from tqdm import tqdm

from shared.runs.scores import shown


class Progress:
    """Shows steps, loss, metric, throughput and the time left.

    Args:
        start, total: optimizer steps done before and in the end.
        metric: name of the metric.
        quiet: show nothing.
        prefix: before each line, such as "seed 3: ".
        bar: show a bar on a terminal; of several runs at once only one can.
    """

    def __init__(
        self,
        start: int,
        total: int,
        metric: str,
        quiet: bool,
        prefix: str = "",
        bar: bool = True,
    ):
        terminal = sys.stderr.isatty()
        self._metric = metric
        self._quiet = quiet
        self._lines = not terminal
        self._prefix = prefix
        hidden = quiet or not terminal or not bar
        self._bar = tqdm(initial=start, total=total, unit=" steps", disable=hidden, leave=False)

    def advance(self, steps: int, loss: float, metric: float) -> None:
        self._bar.set_postfix_str(f"loss {loss:.4f}, {shown(self._metric, metric)}", refresh=False)
        self._bar.update(steps)

    def line(self, text: str) -> None:
        """Prints a line that stays: above the bar on a terminal, as it is elsewhere."""
        if self._quiet:
            return
        if self._lines:
            print(f"{self._prefix}{text}", flush=True)
        else:
            tqdm.write(f"{self._prefix}{text}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.close()
