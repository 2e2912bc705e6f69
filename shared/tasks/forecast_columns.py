"""The columns of a table that a forecast reads, as its options name them."""

from collections.abc import Mapping

from shared.config.own_data import ForecastData, check_columns
from shared.errors import InvalidInput
from shared.system import tables
from shared.system.tables import Table
from shared.tasks.output_names import check_free
from shared.tasks.task import Column
from shared.tasks.untidy import refuse_mostly_numbers


def check_options(data: ForecastData) -> None:
    """Refuses options that contradict each other, before a table is read.

    Raises:
        InvalidInput: the message names the option.
    """
    if not data.target:
        raise InvalidInput("--data.target: expected the columns to predict, got none")
    check_columns(data)
    _check_outputs(data)
    ahead = [*data.known_ahead, *data.calendar]
    if ahead and data.window < data.horizon:
        option = "--data.known-ahead" if data.known_ahead else "--data.calendar"
        raise InvalidInput(
            f"--data.window {data.window}: expected at least the {data.horizon} rows of "
            f"--data.horizon, so that a window can hold what {option} {' '.join(ahead)} says of "
            "each time to predict"
        )


def _check_outputs(data: ForecastData) -> None:
    """Refuses columns of groups and times that are named like a column of the predictions."""
    taken = {"ahead"}
    for name in data.target:
        taken |= {f"predicted {name}", f"actual {name}"}
    if data.time is None:
        taken.add("row")
    named = [("--data.group", name) for name in data.group]
    named += [] if data.time is None else [("--data.time", data.time)]
    check_free(named, taken)


def names_of(data: ForecastData) -> list[str]:
    """Returns the names of all columns that the options need, each once."""
    time = () if data.time is None else (data.time,)
    used = (*time, *data.group, *data.target, *data.features, *data.known_ahead)
    return [*dict.fromkeys(used)]


def columns_of(table: Table, data: ForecastData, units: Mapping[str, str]) -> list[Column]:
    """Returns the columns that the network reads, targets first; categories still without values.

    Args:
        units: of the columns that have one.

    Raises:
        InvalidInput: a target is no number.
    """
    named, other = {*data.categories, *data.group}, data.new_categories == "none"
    columns = [Column(n, unit=units.get(n, ""), log=n in data.log) for n in data.target]
    for name in (*data.features, *data.known_ahead):
        ahead = name in data.known_ahead
        if name not in named and tables.is_text(table, name):
            refuse_mostly_numbers(table, name, f"--data.categories {name}")
        if name in named or tables.is_text(table, name):
            if name in data.log:
                raise InvalidInput(
                    f"--data.log {name}: expected a column of numbers, got one of names"
                )
            columns.append(Column(name, "category", other=other, ahead=ahead))
        else:
            unit = units.get(name, "")
            columns.append(Column(name, unit=unit, log=name in data.log, ahead=ahead))
    return [*columns, *(Column(kind, kind, ahead=True) for kind in data.calendar)]
