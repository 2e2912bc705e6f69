"""A run's model card, card.md: what the network is, on what it was trained, how good it is, what it
must not be used for, and how to use it (Mitchell et al. 2019).

Everything in it follows from the run's folder.
"""

import shlex
from collections.abc import Sequence
from dataclasses import replace

from shared.config import Config, resolve
from shared.config.naming import network_and_size
from shared.config.options import options, settings
from shared.report.card_limits import against_baselines, limits
from shared.report.render import write_pages
from shared.runs import predictions
from shared.runs.predictions import Predictions
from shared.runs.run import Run
from shared.runs.run_folder import CARD
from shared.runs.schema import Schema, read_schema
from shared.runs.scores import in_unit, long_name, to_show
from shared.runs.segments import described
from shared.tasks.registry import row
from shared.tasks.task import Column

NAMES = 12
"""Names of a list that are told; of a longer one, how many more there are."""


def write_card(run: Run) -> None:
    """Writes card.md into a run's folder."""
    schema, summary = read_schema(run.folder), run.summary
    found = predictions.read(run.folder, summary.predictions)
    from_python = _from_python(run.config)
    file = " --data.path FILE" * from_python
    columns = sorted(to_show(summary.test), key=lambda name: name != summary.score)
    context = {
        "task": run.config.task,
        "about": row(run.config.task).about,
        "does": does(schema),
        "network": network_and_size(run.config),
        "summary": summary,
        "computed": described(summary.segments),
        "scored": _scored(schema, columns, found) if found else "",
        "columns": [long_name(name, summary.unit) for name in columns],
        "rows": [
            (name, [in_unit(score, own[score]) if score in own else "–" for score in columns])
            for name, own in [
                ("this network", summary.test),
                *((f"without a network: {b.name}", b.scores) for b in summary.baselines),
            ]
        ],
        "verdict": against_baselines(summary),
        "limits": limits(schema, summary, found),
        "command": " ".join(["rnn-parity run", *chosen(run.config)]) + file,
        "proof": f"rnn-parity parity --config {shlex.quote(str(run.folder))}/config.json{file}",
        "folder": shlex.quote(str(run.folder)),
        "python_folder": repr(str(run.folder)),
        "from_python": from_python,
        "reads": _file(schema),
        "streams": schema.streams,
    }
    write_pages(run.folder, (CARD,), {}, context)


def _from_python(config: Config) -> bool:
    """Tells whether the data was no file, but given in Python."""
    own_data = row(config.task).goal is None
    return own_data and not getattr(config.data, "path", ())


def chosen(config: Config) -> list[str]:
    """Returns the options of a run that are not the defaults of its task, and its task and backend:
    ["--backend jax", "--task hello", …]."""
    defaults = resolve(replace(row(config.task).defaults, data=config.data, backend=config.backend))
    usual = settings(row(config.task).defaults)
    own, common = settings(config), settings(replace(defaults, data=row(config.task).defaults.data))
    first = {"backend": config.backend, "task": config.task}
    other = {
        name: value
        for name, value in own.items()
        if name not in first and value != common.get(name)
    }
    return options(first | other, usual)


def does(schema: Schema) -> str:
    """Tells in a sentence what the network reads and what it predicts."""
    step = "at each step" if schema.per_step else "after the last step"
    if schema.series is not None:
        series = schema.series
        rows = "the next row" if series.horizon == 1 else f"the next {series.horizon} rows"
        return (
            f"It reads {series.window} rows of {_columns(series.columns)}, and predicts "
            f"{_columns(series.predicted)} of {rows}."
        )
    if schema.measured is not None:
        goal = _columns(schema.measured.targets) if schema.measured.targets else "a class"
        read = _columns(schema.measured.features)
        return f"It reads sequences of {read}, and predicts {goal} {step}."
    token = "word" if schema.unit == "word" else "character"
    if schema.streams:
        return f"It reads a text, and predicts after each {token} the next one."
    if schema.between is not None:
        return f"It reads a text, and writes another one, {token} by {token}."
    if schema.tokens and schema.classes:
        return f"It reads a text, {token} by {token}, and names its label."
    read = "tokens" if schema.tokens else "numbers"
    goal = "numbers" if schema.loss == "mse" else "a class"
    return f"It reads sequences of {read}, and predicts {goal} {step}."


def _scored(schema: Schema, columns: Sequence[str], found: Predictions) -> str:
    """Tells of how many examples the scores are, and which are of answers to sources instead."""
    told = _count(len(found["targets"]), "example")
    count = len(found.get("answers", ()))
    names = predictions.of_answers(schema.vocabulary)
    own = ", ".join(long_name(name) for name in columns if name in names)
    if not count or not own:
        return told
    return f"{told} ({own}: of the answers to {_count(count, 'different source')})"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'s' * (number != 1)}"


def named(names: Sequence[str]) -> str:
    """Lists names: "a, b and 3 more"."""
    told = ", ".join(names[:NAMES])
    return told if len(names) <= NAMES else f"{told} and {len(names) - NAMES} more"


def _columns(columns: Sequence[Column]) -> str:
    return named([column.name for column in columns])


def _file(schema: Schema) -> str:
    """Tells what a file for the command predict holds."""
    if schema.series is not None:
        times = [schema.series.time] if schema.series.time else []
        facts = {"hour", "weekday", "month", "season"}
        read = [column.name for column in schema.series.columns if column.kind not in facts]
        return f"a table with the columns {named([*schema.series.groups, *times, *read])}"
    if schema.measured is not None:
        own = schema.measured
        step = [own.step] if own.step else []
        read = [*own.sequence, *step, *(column.name for column in own.features)]
        columns = named(list(dict.fromkeys(read)))
        return f"the same kind of file as it was trained on, with {columns}"
    if schema.tokens:
        return "a table with the same column of texts, or a text in each line"
    return f"sequences of {schema.input_size} numbers a step"
