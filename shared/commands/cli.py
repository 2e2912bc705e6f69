"""The command line of the scripts: tyro over the configuration, and errors of one line.

Defaults come from the task, from `--config FILE`, or from the run that `--resume DIR` continues.
"""

import contextlib
import io
import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import tyro

from shared.commands.program import NAME
from shared.config import Config
from shared.config.choices import OPTIMIZERS, SCHEDULES, with_choice
from shared.config.options import flag, settings
from shared.config.settings import NetworkConfig, OptimizationConfig
from shared.errors import InvalidInput
from shared.tasks import TASKS
from shared.tasks.registry import row

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Arguments = TypeVar("Arguments", bound="DataclassInstance")
Group = TypeVar("Group")
Unprefixed = Annotated[Group, tyro.conf.arg(name="")]
"""A group whose options stand on the command line by their own names: --cell, no --network.cell."""


@dataclass(frozen=True)
class _Options(Config):
    """A configuration as tyro reads it."""

    network: Unprefixed[NetworkConfig] = field(default_factory=NetworkConfig)
    optimization: Unprefixed[OptimizationConfig] = field(default_factory=OptimizationConfig)


FOLDERS = ("--config", "--out", "--resume", "--run", "--runs", "--traces")
"""Options that name a folder or a file."""
Settings = Annotated[Config, tyro.conf.arg(name="", constructor=_Options)]
"""A configuration among a command's arguments, every setting an option of its own."""


def parse(
    arguments: type[Arguments], argv: Sequence[str], default: Arguments, description: str
) -> Arguments:
    """Parses a command line into a dataclass.

    Args:
        description: what `--help` says, with examples of how the installed program is called; they
            are shown as the user can type them.

    Raises:
        InvalidInput: one line that says what was expected and what came.
        SystemExit: `--help` was printed.
    """
    for word in argv:
        if not word.isascii() and _surrogates(word):
            raise InvalidInput(f"expected arguments in UTF-8, got {word!r}")
    for name in FOLDERS:  # "" would be the folder at hand
        option(argv, name)
    errors, called = io.StringIO(), re.search(rf"{NAME} \w+", description)
    try:
        with contextlib.redirect_stderr(errors):
            parsed = tyro.cli(
                tyro.conf.AvoidSubcommands[arguments],
                args=argv,
                default=default,
                description=_as_called(description.strip()),
                prog=None if _is_script() or called is None else called[0],
            )
    except SystemExit as stop:
        if stop.code in (0, None):
            raise
        message = _one_line(errors.getvalue())
        raise InvalidInput(_of_another_task(argv) or message) from None
    read = {name: Config(**vars(v)) for name, v in vars(parsed).items() if isinstance(v, _Options)}
    return replace(parsed, **read)


def _of_another_task(argv: Sequence[str]) -> str | None:
    """Returns the message about an option that another task has."""
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
    """Tells whether Python could not decode a word and kept its bytes, which JSON cannot hold."""
    return any("\ud800" <= character <= "\udfff" for character in word)


def with_tasks(description: str) -> str:
    """Returns a description with the list of tasks; tyro keeps the line breaks of indented
    lines."""
    tasks = [f"    {name:<14} {row.about}" for name, row in TASKS.items()]
    return "\n".join([description.strip(), "", "Tasks, each with its own defaults:", *tasks])


def base_config(argv: Sequence[str]) -> Config:
    """Returns the configuration that the command line changes: that of `--config FILE`, else the
    defaults of `--task NAME`. The command line may choose another optimizer or schedule than the
    file. Then the file's constants of the old one do not count.

    Raises:
        InvalidInput: an unknown task, or a file that holds no configuration.
    """
    file, task = option(argv, "--config"), option(argv, "--task")
    if file is not None:
        from shared.runs.run_folder import read_config
        from shared.runs.seeds import FILE, read_shared_config

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
    """Refuses to generate data in a folder that only a file names. A file from elsewhere may say
    where data is read, but not have this program write there."""
    folder = getattr(config.data, "folder", None)
    if folder is not None and option(argv, "--data.folder") is None:
        from shared.tasks.stored import IDENTITY

        if not Path(folder, IDENTITY).is_file():
            raise InvalidInput(
                f"--data.folder {folder}: expected the data there, as {file} says, got none; "
                "it is generated where the command line, too, has --data.folder"
            )


def require_backend(config: Config) -> Config:
    """Returns a default whose backend the command line must name."""
    return replace(config, backend=tyro.MISSING)


def option(argv: Sequence[str], name: str) -> str | None:
    """Returns the value of an option, `--name value` or `--name=value`, before anything is
    parsed."""
    value = None
    for i, word in enumerate(argv):
        if word == name and i + 1 < len(argv):
            value = argv[i + 1]
        elif word.startswith(f"{name}="):
            value = word.partition("=")[2]
    if value == "" and name in FOLDERS:
        raise InvalidInput(f"{name}: expected a value, got an empty one")
    return value


def seeds(argv: Sequence[str], words: Sequence[str]) -> list[int]:
    """Returns the seeds that --seeds names; none where it is not on the command line.

    Args:
        words: the option's values.

    Raises:
        InvalidInput: other values than seeds, or --seed beside it.
    """
    if not any(word.partition("=")[0] == "--seeds" for word in argv):
        return []
    if option(argv, "--seed") is not None:
        raise InvalidInput("--seed names one seed and --seeds several: expected one of the two")
    return parse_seeds(words)


def _one_line(box: str) -> str:
    """Returns the message in the box that tyro draws: its lines up to the rule above the hints."""
    words: list[str] = []
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
    # An option that is left out is no choice to type.
    message = re.sub(r"(?<=[(\s])'None', |, 'None'(?=[,)])", "", message)
    return message.replace("[bold]", "").replace("[/bold]", "")


MOST = 1000
"""Most seeds of a range: more are a typing mistake."""


def parse_seeds(words: Sequence[str]) -> list[int]:
    """Turns ["0..2", "7"] into [0, 1, 2, 7].

    Raises:
        InvalidInput: anything else, a seed named twice, or none.
    """
    found: list[int] = []
    for word in words:
        match = re.fullmatch(r"(\d{1,9})(?:\.\.(\d{1,9}))?", word)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, -1)
        if not first <= last < first + MOST:
            expected = "numbers such as 0 1 2 or 0..2, of a range the smaller one first"
            raise InvalidInput(f"--seeds: expected {expected}, got {word}")
        found += range(first, last + 1)
    if not found or len(set(found)) < len(found):
        got = " ".join(words) or "none"
        raise InvalidInput(f"--seeds: expected one or more, each once, got {got}")
    return found


def _is_script() -> bool:
    """Tells whether this process is a script of a checkout, and not the installed program."""
    started = Path(sys.argv[0])
    return started.suffix == ".py" and started.name != "__main__.py"


def _as_called(text: str) -> str:
    """Returns a text whose command lines are those that the user can type."""
    return re.sub(rf"{NAME} (\w+)", r"python scripts/\1.py", text) if _is_script() else text


def reproduction(command: str, argv: Sequence[str]) -> str:
    """Returns the command line that was given, as a shell takes it."""
    return _as_called(f"{NAME} {command} {shlex.join(argv)}".rstrip())
