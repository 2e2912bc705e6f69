"""The command line of the scripts: tyro over the configuration, and errors of one line.

Defaults come from the task, from `--config FILE`, or from the run that `--resume DIR` continues.
"""

import contextlib
import io
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import tyro

from shared.config import Config
from shared.errors import InvalidInput, TrainingDiverged
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
    errors = io.StringIO()
    try:
        with contextlib.redirect_stderr(errors):
            return tyro.cli(
                tyro.conf.AvoidSubcommands[arguments],
                args=argv,
                default=default,
                description=_with_tasks(description),
            )
    except SystemExit as stop:
        if stop.code in (0, None):
            raise
        raise InvalidInput(_one_line(errors.getvalue())) from None


def _with_tasks(description: str) -> str:
    """A script's docstring with the list of tasks; tyro keeps the line breaks of indented lines."""
    tasks = [f"    {name:<14} {row.about}" for name, row in TASKS.items()]
    return "\n".join([description.strip(), "", "Tasks, each with its own defaults:", *tasks])


def base_config(argv: Sequence[str]) -> Config:
    """The configuration that the command line changes: that of `--config FILE`, else the defaults
    of `--task NAME`.

    Raises:
        InvalidInput: an unknown task, or a file that holds no configuration.
    """
    file, task = option(argv, "--config"), option(argv, "--task")
    if file is not None:
        from shared.history import read_config

        config = read_config(Path(file))
        if task in (None, config.task):
            return config
        raise InvalidInput(f"--task: expected {config.task} as in {file}, got {task}")
    return row(task or "hello").defaults


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


def run(main: Callable[[Sequence[str]], Any]) -> NoReturn:
    """Runs a script's main function; bad input and divergence end in one line on stderr."""
    name = Path(sys.argv[0]).name
    try:
        main(sys.argv[1:])
    except InvalidInput as error:
        print(f"{name}: {error}", file=sys.stderr)
        sys.exit(2)
    except TrainingDiverged as error:
        print(f"{name}: {error}", file=sys.stderr)
        sys.exit(1)
    except BrokenPipeError:  # such as `--help | head`; Python would complain again at its exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except KeyboardInterrupt:
        print(f"{name}: interrupted; --resume continues from the last checkpoint", file=sys.stderr)
        sys.exit(130)
    sys.exit(0)


def _one_line(box: str) -> str:
    """The message in the box that tyro draws: its lines up to the rule above the hints."""
    words = []
    for line in box.splitlines():
        content = line.strip().strip("│╭╮╰╯").strip()
        if line.startswith(("╭", "╰")) or not content:
            continue
        if set(content) == {"─"}:
            break
        words.append(content)
    return " ".join(words) or box.strip()
