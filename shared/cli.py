"""The command line of the scripts: tyro over the configuration, and errors of one line.

Defaults come from the task, from `--config FILE`, or from the run that `--resume DIR` continues.
"""

import contextlib
import errno
import io
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import tyro

from shared.config import OPTIMIZERS, SCHEDULES, Config, flag, settings, with_choice
from shared.errors import InvalidInput, TrainingDiverged, printable
from shared.interruption import SIGNALS, number_of, raise_interrupted
from shared.tasks import TASKS, row

Arguments = TypeVar("Arguments")


def parse(
    arguments: type[Arguments], argv: Sequence[str], default: Arguments, description: str
) -> Arguments:
    """Parses a command line into a dataclass.

    Raises:
        InvalidInput: one line that says what was expected and what came.
        SystemExit: `--help` was printed.
    """
    for word in argv:
        if not word.isascii() and _surrogates(word):
            raise InvalidInput(f"expected arguments in UTF-8, got {word!r}")
    errors = io.StringIO()
    try:
        with contextlib.redirect_stderr(errors):
            return tyro.cli(
                tyro.conf.AvoidSubcommands[arguments],
                args=argv,
                default=default,
                description=description.strip(),
            )
    except SystemExit as stop:
        if stop.code in (0, None):
            raise
        message = _one_line(errors.getvalue())
        raise InvalidInput(_of_another_task(argv) or message) from None


def _of_another_task(argv: Sequence[str]) -> str | None:
    """What is said of an option that another task has."""
    owners = {name: settings(row.defaults) for name, row in TASKS.items()}
    chosen = option(argv, "--task") or "hello"
    if option(argv, "--config") is not None:  # which decides the task
        return None
    for word in argv:
        name = word.partition("=")[0].removeprefix("--")
        having = [task for task, values in owners.items() if name in values]
        if name.startswith("data.") and having and chosen not in having:
            return f"Unrecognized option --{name}: task {chosen} has none, {', '.join(having)} have"
    return None


def _surrogates(word: str) -> bool:
    """Whether Python could not decode a word and kept its bytes, which JSON cannot hold."""
    return any("\ud800" <= character <= "\udfff" for character in word)


def with_tasks(description: str) -> str:
    """A description with the list of tasks; tyro keeps the line breaks of indented lines."""
    tasks = [f"    {name:<14} {row.about}" for name, row in TASKS.items()]
    return "\n".join([description.strip(), "", "Tasks, each with its own defaults:", *tasks])


def base_config(argv: Sequence[str]) -> Config:
    """The configuration that the command line changes: that of `--config FILE`, else the defaults
    of `--task NAME`. Where the command line chooses another optimizer or schedule than the file,
    the file's constants of the old one do not count.

    Raises:
        InvalidInput: an unknown task, or a file that holds no configuration.
    """
    file, task = option(argv, "--config"), option(argv, "--task")
    if file is not None:
        from shared.history import read_config
        from shared.seeds import FILE, read_shared_config

        if Path(file).name == FILE:
            config = read_shared_config(Path(file).parent)
        else:
            config = read_config(Path(file), edited=True)
        if task not in (None, config.task):
            raise InvalidInput(f"--task: expected {config.task} as in {file}, got {task}")
        optimization = config.optimization
        for name, table in (("optimizer", OPTIMIZERS), ("schedule", SCHEDULES)):
            chosen = option(argv, flag(name))
            if chosen in table:
                optimization = with_choice(optimization, name, chosen)
        _check_folder(config, argv, file)
        return replace(config, optimization=optimization)
    return row(task or "hello").defaults


def _check_folder(config: Config, argv: Sequence[str], file: str) -> None:
    """A file from elsewhere may say where data is read, but not have this program write there."""
    folder = getattr(config.data, "folder", None)
    if folder is not None and option(argv, "--data.folder") is None:
        from shared.tasks.stored import IDENTITY

        if not Path(folder, IDENTITY).is_file():
            raise InvalidInput(
                f"--data.folder {folder}: expected the data there, as {file} says, got none; "
                "it is generated where the command line, too, has --data.folder"
            )


def require_backend(config: Config) -> Config:
    """A default whose backend the command line must name."""
    return replace(config, backend=tyro.MISSING)


def option(argv: Sequence[str], name: str) -> str | None:
    """The value of an option, `--name value` or `--name=value`, before anything is parsed."""
    value = None
    for i, word in enumerate(argv):
        if word == name and i + 1 < len(argv):
            value = argv[i + 1]
        elif word.startswith(f"{name}="):
            value = word.partition("=")[2]
    return value


def seeds(argv: Sequence[str], words: Sequence[str]) -> list[int]:
    """What --seeds names; nothing where it is not on the command line.

    Args:
        words: the option's values.

    Raises:
        InvalidInput: other values than seeds, or --seed beside it.
    """
    if not any(word.partition("=")[0] == "--seeds" for word in argv):
        return []
    if option(argv, "--seed") is not None:
        raise InvalidInput("--seed names one seed and --seeds several: expected one of the two")
    from shared.seeds import parse_seeds

    return parse_seeds(words)


def run(main: Callable[[Sequence[str]], Any]) -> NoReturn:
    """Runs a script's main function and exits.

    Bad input (2), divergence (1), a machine that fails us, such as a full disk (1), Ctrl-C (130)
    and SIGTERM (143) each end in one line on stderr, the last two with what the KeyboardInterrupt
    says.
    """
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
    except BrokenPipeError:  # such as `--help | head`; Python would complain again at its exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:  # which no machine could read or write
            _stop(f"{error.filename}: expected the name of a file, got: {error.strerror}", 2)
        _stop(f"{error.filename}: {error.strerror}" if error.filename else str(error), 1)
    except MemoryError:
        _stop("out of memory; smaller sizes need less", 1)
    except KeyboardInterrupt as error:
        _say(str(error) or "interrupted")
        sys.stdout.flush()
        _leave(128 + number_of(error))
    for number in SIGNALS:  # all is done: too late for one that comes while Python shuts down
        signal.signal(number, signal.SIG_IGN)
    sys.exit(0)


_leave = os._exit
"""Without Python's own way out: a thread in which XLA still compiles would meet what that takes
away, and crash."""


def _interrupt_again(unraisable: Any) -> None:
    """A signal may come while a callback runs whose exceptions Python drops, such as JAX's of the
    garbage collector; it counts a moment later."""
    stop = unraisable.exc_value
    if isinstance(stop, KeyboardInterrupt):
        main = threading.main_thread().ident
        assert main is not None
        threading.Timer(0.01, signal.pthread_kill, [main, number_of(stop)]).start()
    else:
        sys.__unraisablehook__(unraisable)


def _stop(message: str, code: int) -> NoReturn:
    _say(message)
    sys.exit(code)


def _say(message: str) -> None:
    print(f"{Path(sys.argv[0]).name}: {printable(message)}", file=sys.stderr, flush=True)


def _one_line(box: str) -> str:
    """The message in the box that tyro draws: its lines up to the rule above the hints."""
    words = []
    lines = box.splitlines()
    if len(lines) > 1 and set(lines[1].strip()) == {"-"}:
        lines = lines[2:]  # without the title, where a terminal knows ASCII alone
    for line in lines:
        content = line.strip().strip("│╭╮╰╯").strip()
        if line.startswith(("╭", "╰")) or not content:
            continue
        if set(content) in ({"─"}, {"-"}):
            break
        words.append(content)
    message = " ".join(words) or box.strip()
    message = re.sub(
        r"no type matching \{None\}\|(\S+) could be instantiated from \['(.*?)'\]\..*",
        r"expected \1, got \2",
        message,
    )
    return message.replace("[bold]", "").replace("[/bold]", "")
