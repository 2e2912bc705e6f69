"""Programs that a script runs and waits for: the script passes signals on to them, once."""

import contextlib
import signal
import subprocess
from collections.abc import Sequence
from threading import Lock
from types import FrameType
from typing import Any, Self

from shared.system.signals import SIGNALS, Interrupted


class Children:
    """Runner of programs: inside a `with`, `run` runs them from any thread.

    SIGINT and SIGTERM are passed on to the running programs, which end as they see fit. If no
    program runs, the signals raise `Interrupted`.
    """

    def __init__(self) -> None:
        self._running: dict[int, subprocess.Popen[Any] | None] = {}
        self._lock = Lock()
        self._count = 0
        self._before: dict[int, Any] = {}
        self._received: int | None = None

    def run(self, command: Sequence[str], **options: Any) -> int:
        """Runs a program to its end and returns its exit status.

        Raises:
            Interrupted: a signal came, and the program has ended or was not started.
        """
        with self._lock:
            self._count += 1
            number = self._count
        self._running[number] = None  # from here on a signal is noted
        try:
            self._check()
            # In a group of its own: a terminal's Ctrl-C would reach it twice.
            with subprocess.Popen(command, process_group=0, **options) as child:
                self._running[number] = child
                if self._received is not None:
                    child.send_signal(self._received)
                code = child.wait()
        finally:
            del self._running[number]
        if code <= 0:  # also one that was hit before it could see to its end
            self._check()
        return code

    def _check(self) -> None:
        if self._received is not None:
            raise Interrupted(self._received)

    def _pass_on(self, number: int, _: FrameType | None) -> None:
        self._received = number
        if not self._running:
            raise Interrupted(number)
        for child in [*self._running.values()]:
            if child is not None:
                with contextlib.suppress(ProcessLookupError):
                    child.send_signal(number)

    def __enter__(self) -> Self:
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._pass_on)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
