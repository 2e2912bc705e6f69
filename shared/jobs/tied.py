"""A program that ends with the process that started it, and the scratch folder of both.

    python -m shared.jobs.tied SCRATCH

Standard input is a pipe from the process that started it. Its first line is JSON: the command to
run and its working directory. SIGTERM is passed on to the command. Its exit code, or 128 + the
number of the signal that killed it, is written to standard output. When the pipe is closed, also
because that process has ended, however it ended, the command gets SIGTERM if it still runs, and the
scratch folder is removed.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from threading import Event, Thread
from typing import Any

from shared.system.children import Children
from shared.system.signals import SIGNALS, Interrupted


def main(scratch: str) -> None:
    line = sys.stdin.buffer.readline()
    if line:
        left = Event()
        Thread(target=_watch, args=(left,), daemon=True).start()
        code = _run(json.loads(line))
        with contextlib.suppress(BrokenPipeError):  # nobody is there any more
            os.write(1, b"%d\n" % code)
        left.wait()
    shutil.rmtree(scratch, ignore_errors=True)


def _watch(left: Event) -> None:
    """Waits until the pipe is closed."""
    sys.stdin.buffer.read()
    left.set()
    os.kill(os.getpid(), signal.SIGTERM)


def _run(order: dict[str, Any]) -> int:
    null = subprocess.DEVNULL
    with Children() as children:
        try:
            code = children.run(order["command"], cwd=order["directory"], stdin=null, stdout=null)
        except Interrupted as stop:
            code = 128 + stop.number
    for number in SIGNALS:  # nothing is left to stop
        signal.signal(number, signal.SIG_IGN)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    main(sys.argv[1])
