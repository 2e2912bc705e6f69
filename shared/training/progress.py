"""Progress of a run: a bar on a terminal or in a notebook, plain lines elsewhere."""

import sys
from types import TracebackType
from typing import Self

from tqdm import tqdm

from shared.runs.scores import shown


class Progress:
    """Shows steps, loss, metric, throughput and the time left.

    A notebook keeps every line that a cell prints. So it shows a single one: the bar, with the last
    evaluation behind it.

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
        self._notebook = not terminal and in_notebook()
        self._lines = not terminal
        self._prefix = prefix
        self._evaluated = False
        hidden = quiet or not (terminal or self._notebook) or not bar
        self._bar = tqdm(
            initial=start,
            total=total,
            unit=" steps",
            disable=hidden,
            leave=self._notebook,
            # On stderr a notebook shows it on red ground, as if it was an error.
            file=sys.stdout if self._notebook else sys.stderr,
        )

    def advance(self, steps: int, loss: float, metric: float) -> None:
        if not (self._notebook and self._evaluated):
            self._postfix(f"loss {loss:.4f}, {shown(self._metric, metric)}")
        self._bar.update(steps)

    def line(self, text: str) -> None:
        """Prints a line that stays: above the bar on a terminal, as it is elsewhere. In a notebook,
        a line that comes while steps are taken replaces the last one."""
        if self._quiet:
            return
        if self._notebook and self._bar.n > self._bar.initial:
            self._evaluated = True
            self._postfix(f"{self._prefix}{text}")
        elif self._lines:
            print(f"{self._prefix}{text}", flush=True)
        else:
            tqdm.write(f"{self._prefix}{text}")

    def _postfix(self, text: str) -> None:
        self._bar.set_postfix_str(text, refresh=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.close()


def in_notebook() -> bool:
    """Tells whether a kernel of Jupyter runs this process, such as Colab's."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return hasattr(shell, "kernel")
