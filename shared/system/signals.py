"""SIGINT (Ctrl-C) and SIGTERM: training finishes its current work and writes a checkpoint."""

import os
import signal
import threading
from types import FrameType
from typing import Any, Self

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(KeyboardInterrupt):
    """Stop of the program by a signal; scripts exit with 128 + its number."""

    def __init__(self, number: int, message: str = ""):
        super().__init__(message)
        self.number = number


def raise_interrupted(number: int, _: FrameType | None = None) -> None:
    """Handles a signal by raising `Interrupted`; half-written files are removed on the way out."""
    raise Interrupted(number)


def number_of(stop: KeyboardInterrupt) -> int:
    """Returns the number of the signal that a KeyboardInterrupt stands for."""
    return stop.number if isinstance(stop, Interrupted) else signal.SIGINT


class Interruption:
    """Record of the first signal inside a `with`, for a loop that looks for it.

    A second signal stops at once, with `Interrupted`. This works only where signals would stop the
    process: only in the main thread, and not if they are ignored or handled by someone else.

    Args:
        notice: a line for stderr that reports the first signal; nothing if empty.
    """

    def __init__(self, notice: str = ""):
        self._notice = notice
        self._before: dict[int, Any] = {}
        self.received: int | None = None

    def _note(self, number: int, _: FrameType | None) -> None:
        if self.received is not None:
            raise Interrupted(number)
        self.received = number
        if self._notice:
            os.write(2, f"{self._notice}\n".encode())  # print may be what it interrupts

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            usual = (signal.SIG_DFL, signal.default_int_handler, raise_interrupted)
            for number in SIGNALS:
                if signal.getsignal(number) in usual:
                    self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
