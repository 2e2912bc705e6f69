"""A command's process: however it ends, it writes one line on stderr and has an exit code."""

import errno
import io
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from shared.errors import InvalidInput, TrainingDiverged, printable
from shared.system.signals import SIGNALS, number_of, raise_interrupted

_name = ""
"""Name that stands before a message."""


def run(main: Callable[[Sequence[str]], Any], name: str | None = None) -> NoReturn:
    """Runs a command's main function with this process's arguments, and exits.

    Args:
        name: the command's name in its messages; by default the file that was started.

    Bad input (2), divergence (1), a machine that fails us, such as a full disk (1), Ctrl-C (130)
    and SIGTERM (143) each end in one line on stderr. For the last two, the line is the message of
    the KeyboardInterrupt.
    """
    global _name
    _name = name or Path(sys.argv[0]).name
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, raise_interrupted)
    sys.unraisablehook = _interrupt_again
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal in ASCII still shows "hello ? elloh"
            stream.reconfigure(errors="replace")
    try:
        main(sys.argv[1:])
    except InvalidInput as error:
        _stop(str(error), 2)
    except TrainingDiverged as error:
        _stop(str(error), 1)
    except BrokenPipeError as error:  # such as `--help | head`
        # Python would complain again at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if error.__cause__ is not None:  # raised again, with how to go on
            say(str(error.strerror))
        sys.exit(1)
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:  # which no machine could read or write
            _stop(f"{error.filename}: expected the name of a file, got: {error.strerror}", 2)
        _stop(f"{error.filename}: {error.strerror}" if error.filename else str(error), 1)
    except MemoryError:
        _stop("out of memory; smaller sizes need less", 1)
    except KeyboardInterrupt as error:
        say(str(error) or "interrupted")
        sys.stdout.flush()
        _leave(128 + number_of(error))
    for number in SIGNALS:  # all is done: too late for one that comes while Python shuts down
        signal.signal(number, signal.SIG_IGN)
    sys.exit(0)


_leave = os._exit
"""Exit that skips Python's own cleanup: a thread in which XLA still compiles would crash on what
that cleanup removes."""


def _interrupt_again(unraisable: Any) -> None:
    """Sends a signal again, a moment later, if Python dropped its exception.

    That happens in some callbacks, such as JAX's of the garbage collector.
    """
    stop = unraisable.exc_value
    if isinstance(stop, KeyboardInterrupt):
        main = threading.main_thread().ident
        assert main is not None
        threading.Timer(0.01, signal.pthread_kill, [main, number_of(stop)]).start()
    else:
        sys.__unraisablehook__(unraisable)


def _stop(message: str, code: int) -> NoReturn:
    say(message)
    sys.exit(code)


def say(message: str) -> None:
    """Prints a line on stderr, after the command's name."""
    print(f"{_name}: {printable(message)}", file=sys.stderr, flush=True)
