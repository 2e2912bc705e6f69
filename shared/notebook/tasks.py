"""Data of your own, or one of the tasks that come along → a problem to train on.

    problem = forecast("sales.csv", target="sales", time="date", horizon=7)
    problem = labels(texts, names)
    problem = task("vowels")

Data is a file, several, or in memory. The options are those of the command line, `--data.window` as
`window`: `shared/config/own_data.py` has them all. Where several columns may be named, one is given
as a text or as a list.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from os import PathLike, fspath
from os.path import exists
from typing import TYPE_CHECKING, Any

from shared.config import Config, resolve
from shared.config.own_data import OwnData
from shared.errors import InvalidInput
from shared.notebook.options import with_data
from shared.runs.scores import Scores
from shared.tasks import load_task
from shared.tasks.registry import row
from shared.tasks.task import Task

if TYPE_CHECKING:
    from shared.system.tables import Table


READ = ("seed", "bptt", "batch_size")
"""Settings beside those of the data that some tasks make their data from."""


@dataclass(frozen=True, repr=False, eq=False)
class Problem:
    """Something to learn: data, and the settings to train on it by default."""

    config: Config
    """Settings: the defaults of the task, with the options of the data."""
    data: Task
    """The data in its parts, as a network reads it."""

    @property
    def is_own(self) -> bool:
        """True if the data is a user's own: it depends on the options of the data alone."""
        return isinstance(self.config.data, OwnData)

    def data_for(self, config: Config) -> Task | None:
        """Returns the data if a configuration makes the same of its options; else None.

        Raises:
            InvalidInput: the file was changed since.
        """
        if all(getattr(config, name) == getattr(self.config, name) for name in READ):
            return self.data
        self.check_unchanged()
        return self.data if self.is_own else None

    def check_unchanged(self) -> None:
        """Reads the file again, if the data is of one, and compares.

        Raises:
            InvalidInput: the file was changed since.
        """
        path = getattr(self.config.data, "path", None)
        if path and load_task(resolve(self.config)).fingerprint != self.data.fingerprint:
            named = path if isinstance(path, str) else " ".join(path)
            raise InvalidInput(
                f"{named}: expected the data that the task was made of, got other data: the file "
                "was changed since; make the task again"
            )

    @property
    def baselines(self) -> dict[str, Scores]:
        """Scores of predictors without a network on the test part, by their names."""
        return dict(self.data.baselines())

    @property
    def facts(self) -> dict[str, str]:
        """Facts about the data, by their names."""
        parts = {"training": self.data.train, "validation": self.data.valid, "test": self.data.test}
        sizes = {name: f"{len(part.inputs)}" for name, part in parts.items() if part is not None}
        about = self.data.about or sizes
        return {"task": self.data.name, "source": self.data.source} | about

    def __repr__(self) -> str:
        return f"Problem({', '.join(f'{name}: {value}' for name, value in self.facts.items())})"

    def _repr_html_(self) -> str:
        rows = (f"<tr><th>{escape(a)}</th><td>{escape(b)}</td></tr>" for a, b in self.facts.items())
        return f"<table>{''.join(rows)}</table>"


def check_problem(task: object, where: str) -> None:
    """Refuses what no function of this file made.

    Args:
        where: the function that it was given to.

    Raises:
        InvalidInput: it is something else, such as the name of a task.
    """
    if not isinstance(task, Problem):
        raise InvalidInput(
            f"{where}: expected a task that forecast, sequences, labels, pairs or task made, "
            f"such as task('hello'), got {type(task).__name__}"
        )


def task(name: str, **options: Any) -> Problem:
    """Loads one of the tasks that come along, such as "vowels".

    Args:
        options: of its data, as on the command line: `task("text", path="book.txt")`.

    Raises:
        InvalidInput: there is no such task or option, or the data cannot be used.
    """
    defaults = row(name).defaults
    config = replace(defaults, data=with_data(defaults.data, options, f"task {name}"))
    return Problem(config, load_task(resolve(config)))


def forecast(data: Any, target: str | Sequence[str], **options: Any) -> Problem:
    """Makes a task of one or many series: to predict their next values.

    Args:
        data: a file (CSV, TSV, Parquet, NPZ), a list of files with the same columns, or a table in
            memory: a dict of arrays, or a table of pandas, polars or pyarrow.
        target: column of numbers to predict, or several.
        options: `time`, `group`, `features`, `known_ahead`, `window`, `horizon` and the others of
            `ForecastData`.

    Raises:
        InvalidInput: an option or the data cannot be used; one line names file, column and row.
    """
    from shared.tasks.forecast import from_table

    options["target"] = target
    return _problem("forecast", data, options, lambda config: from_table(config, _table(data)))


def sequences(
    data: Any,
    targets: Any = None,
    lengths: Any = None,
    *,
    names: Sequence[str] | None = None,
    class_names: Sequence[str] | None = None,
    parts: Sequence[str] | None = None,
    groups: Sequence[Any] | None = None,
    **options: Any,
) -> Problem:
    """Makes a task of sequences with a class, or with numbers, for each or at each step.

    Args:
        data: arrays: (N, T, I) numbers, or a list of (T, I) of unequal lengths; or a file, a list
            of files, a folder, or a table in memory with a row for each step.
        targets: of arrays: (N,) classes, texts or numbers, (N, O) numbers, or with `per_step`
            (N, T) or (N, T, O).
        lengths: of arrays: (N,) steps of each sequence, the rest being padding; None if all have T.
        names: of arrays: names of the features.
        class_names: of arrays: names of the classes 0, 1, …
        parts: of arrays: (N,) train, valid or test; None draws them.
        groups: of arrays: (N,) such as a person; no group is in two parts.
        options: of a table `sequence`, `step`, `features`, `target`; of both `kind`, `per_step`,
            `split`, `class_weights` and the others of `SequencesData`.

    Raises:
        InvalidInput: an option or the data cannot be used; one line names file, column and row.
    """
    from shared.tasks.sequences import from_arrays, from_table

    if targets is None:
        beside = {"lengths": lengths, "names": names, "class_names": class_names}
        _check_none(beside | {"parts": parts, "groups": groups}, "sequences", "targets")
        return _problem("sequences", data, options, lambda c: from_table(c, _table(data)))
    return _problem(
        "sequences",
        None,
        options,
        lambda c: from_arrays(c, data, targets, lengths, names, parts, groups, class_names),
    )


def labels(
    data: Any,
    labels: Sequence[Any] | None = None,
    *,
    parts: Sequence[str] | None = None,
    groups: Sequence[Any] | None = None,
    **options: Any,
) -> Problem:
    """Makes a task of texts with a label for each.

    Args:
        data: texts; or, without labels, a file, a list of files, a folder with a folder for each
            label, or a table in memory.
        labels: label of each text.
        parts: beside labels: train, valid or test for each text; None draws them.
        groups: beside labels: such as the author of each text; no group is in two parts.
        options: of a table `text` and `label`, its columns; `unit`, `vocabulary_size`, `longest`
            and the others of `LabelsData`.

    Raises:
        InvalidInput: an option or the data cannot be used; one line names file, column and row.
    """
    from shared.tasks.labels import from_table, from_texts

    if labels is None:
        _check_none({"parts": parts, "groups": groups}, "labels", "labels")
        _check_files(data, "labels", "labels")
        return _problem("labels", data, options, lambda c: from_table(c, _table(data)))
    return _problem("labels", None, options, lambda c: from_texts(c, data, labels, parts, groups))


def pairs(
    data: Any,
    targets: Sequence[str] | None = None,
    *,
    parts: Sequence[str] | None = None,
    **options: Any,
) -> Problem:
    """Makes a task of pairs of texts: to write the target of each source.

    Args:
        data: sources; or, without targets, a file, a list of files, or a table in memory.
        targets: text to write for each source.
        parts: beside targets: train, valid or test for each pair; None draws them.
        options: of a table `source` and `target`, its columns; `unit`, `reverse`, `longest` and the
            others of `PairsData`.

    Raises:
        InvalidInput: an option or the data cannot be used; one line names file, column and row.
    """
    from shared.tasks.pairs import from_pairs, from_table

    if targets is None:
        _check_none({"parts": parts}, "pairs", "targets")
        _check_files(data, "pairs", "targets")
        return _problem("pairs", data, options, lambda c: from_table(c, _table(data)))
    return _problem("pairs", None, options, lambda c: from_pairs(c, data, targets, parts))


def _check_none(given: Mapping[str, Any], where: str, needed: str) -> None:
    """Refuses arguments that go with arrays where there is a table."""
    for name, value in given.items():
        if value is not None:
            raise InvalidInput(
                f"{where}: {name} goes with {needed} beside the data; of a table, name its columns"
            )


def _check_files(data: Any, where: str, needed: str) -> None:
    """Refuses a list of texts without what belongs to them, which looks like a list of files."""
    files = paths(data)
    if not isinstance(data, str | PathLike) and files and not any(map(exists, files)):
        raise InvalidInput(
            f"{where}: expected {needed} beside the texts, or files, got {files[0]!r}, "
            "which is no file"
        )


def _problem(
    name: str, data: Any, options: Mapping[str, Any], make: Callable[[Config], Task]
) -> Problem:
    """Returns a task of files, or else one that is made in memory."""
    if "path" in options:
        raise InvalidInput(f"{name}: expected the file as the first argument, got the option path")
    defaults = row(name).defaults
    config = replace(defaults, data=with_data(defaults.data, options, name))
    files = paths(data)
    if files:
        config = replace(config, data=replace(config.data, path=files))
    resolved = resolve(config)
    return Problem(config, load_task(resolved) if files else make(resolved))


def paths(data: Any) -> tuple[str, ...]:
    """Returns the files or folders that data names; none if it is data itself."""
    several = data if isinstance(data, list | tuple) else (data,)
    if not all(isinstance(one, str | PathLike) for one in several):
        return ()
    return tuple(fspath(one) for one in several)


def _table(data: Any) -> "Table":
    from shared.system.tables import as_table

    return as_table(data)
