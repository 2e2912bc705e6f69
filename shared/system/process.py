"""A command's process: however it ends, it writes one line on stderr and has an exit code."""

import errno
import io
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from shared.errors import InvalidInput, LostProcess, TrainingDiverged, printable
from shared.system.launch import check_alone, is_first
from shared.system.signals import SIGNALS, number_of, raise_interrupted

_name = ""
"""Name that stands before a message."""
_silent = False
"""True if another process says why all of them end."""
_parted = False
"""True if it is known which of several processes says it."""
FIRST_S = 5.0
"""Seconds after which a process speaks that waits for rank 0 to do it."""


def run(
    main: Callable[[Sequence[str]], Any], name: str | None = None, several: bool = False
) -> NoReturn:
    """Runs a command's main function with this process's arguments, and exits.

    Args:
        name: the command's name in its messages; by default the file that was started.
        several: True if it may run in several processes of a launcher, which work together.

    Bad input (2), divergence (1), a machine that fails us, such as a full disk (1), Ctrl-C (130)
    and SIGTERM (143) each end in one line on stderr. For the last two, the line is the message of
    the KeyboardInterrupt. Of several processes, one writes it.
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
        if not several:
            check_alone()
        main(sys.argv[1:])
    except InvalidInput as error:
        _stop(str(error), 2)
    except (TrainingDiverged, LostProcess) as error:
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
        if _parted or _is_first():
            say(str(error) or "interrupted")
        sys.stdout.flush()
        _leave(128 + number_of(error))
    ignore_signals()  # all is done: too late for one that comes while Python shuts down
    sys.exit(0)


def ignore_signals() -> None:
    """Has SIGINT and SIGTERM do nothing from now on."""
    if threading.current_thread() is threading.main_thread():
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)


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
    if not _parted and not _is_first():
        _wait_for_first(code)
    say(message)
    _exit(code)


def _is_first() -> bool:
    """Tells whether this process is rank 0, or is alone, or cannot know it."""
    try:
        return is_first()
    except InvalidInput:
        return True


def _wait_for_first(code: int) -> None:
    """Leaves rank 0 the time to say what most often stops all processes, such as a bad option; the
    launcher then stops this one, which ends without a word."""
    for number in SIGNALS:
        signal.signal(number, lambda _number, _frame: _leave(code))
    time.sleep(FIRST_S)


def part(silent: bool | None) -> None:
    """Has this process end by itself, without waiting for the others of its run.

    Args:
        silent: print nothing: another one says why all of them end; None where that is not known.
    """
    global _silent, _parted, _exit
    _silent, _parted, _exit = bool(silent), silent is not None, _exit_at_once


def end(message: str) -> NoReturn:
    """Ends this process from any of its threads, with a line and exit code 1."""
    say(message)
    _exit_at_once(1)


def _exit_at_once(code: int) -> NoReturn:
    sys.stdout.flush()
    os._exit(code)


_exit: Callable[[int], NoReturn] = sys.exit


def say(message: str) -> None:
    """Prints a line on stderr, after the command's name."""
    if _silent:
        return
    print(f"{_name}: {printable(message)}", file=sys.stderr, flush=True)
