"""Tables of arrays: those of an NPZ file, and data in memory."""

from collections.abc import Collection, Mapping
from datetime import date
from pathlib import Path
from typing import Any, cast

import numpy as np
import polars as pl
from numpy.lib.npyio import NpzFile

from shared.errors import InvalidInput, printable
from shared.system.files import DAMAGED, brief
from shared.system.table import Numbered, check_names, check_printable, shown
from shared.system.table_kinds import kind_of

_FIRST_DAY, _LAST_DAY = (day.toordinal() - 719_163 for day in (date.min, date.max))
"""Days from 1970-01-01 to the first and to the last day of Python's dates."""
_UNITS = {"ms": 86_400_000, "us": 86_400_000_000}
"""Units of a day. Nanoseconds in 64 bits reach only from 1677 to 2262."""


def load_arrays(
    file: Path, wanted: Collection[str] | None = None
) -> np.ndarray | dict[str, np.ndarray]:
    """Reads the array of an NPY file, or those of an NPZ file by name, without unpickling.

    Args:
        wanted: names of an NPZ file's arrays to read; None reads all.

    Raises:
        InvalidInput: the file is none of NumPy's, is damaged, or lacks an array.
    """
    try:
        with open(file, "rb") as opened:  # NumPy would leave one open that is damaged
            found: np.ndarray | NpzFile = np.load(opened, allow_pickle=False)
            return _members(file, found, wanted) if isinstance(found, NpzFile) else found
    except InvalidInput:
        raise
    except OSError as error:
        raise InvalidInput(
            f"{file}: expected a readable file, got: {error.strerror or error}"
        ) from error
    except DAMAGED as error:
        raise InvalidInput(
            f"{file}: expected NumPy arrays of numbers, got a damaged file or none of NumPy's"
        ) from error


def _members(file: Path, archive: NpzFile, wanted: Collection[str] | None) -> dict[str, np.ndarray]:
    check_names(str(file), archive.files, [*wanted] if wanted is not None else [])
    if len(set(archive.files)) < len(archive.files):
        raise InvalidInput(f"{file}: expected a name for each array, got one twice")
    try:
        return {name: archive[name] for name in archive.files if wanted is None or name in wanted}
    except DAMAGED as error:
        raise InvalidInput(f"{file}: expected arrays of numbers, got: {brief(error)}") from error


def read_npz_table(file: Path, columns: Collection[str] | None) -> Numbered:
    """Reads 1-D arrays of one length as columns."""
    found = load_arrays(file, columns)
    if isinstance(found, np.ndarray):
        raise InvalidInput(f"{file}: expected an NPZ file, got a single array")
    return Numbered(frame_of(str(file), found))


def check_kinds(where: str, frame: pl.DataFrame) -> None:
    """Refuses columns of lists, structures and other things that are no numbers, text or dates, and
    times that Python does not have.

    Raises:
        InvalidInput: that; the message names the column.
    """
    for column in frame.iter_columns():
        if kind_of(column.dtype) == "dates":
            _check_times(where, column)
        if kind_of(column.dtype) not in ("numbers", "text", "booleans", "dates", "nothing"):
            raise InvalidInput(
                f"{where}: expected numbers, text or dates in column {column.name}, "
                f"got {column.dtype}"
            )


def _check_times(where: str, column: pl.Series) -> None:
    found = column.to_physical()
    unit = "day" if column.dtype == pl.Date else getattr(column.dtype, "time_unit", "us")
    if unit == "ns":
        finer = (found % 1000 != 0).fill_null(False)
        if finer.any():
            row = finer.arg_max() or 0
            raise InvalidInput(
                f"{where}, row {row + 1}: expected times in whole microseconds in column "
                f"{column.name}, got nanoseconds"
            )
        return
    day = _UNITS.get(unit, 1)
    if not found.drop_nulls().is_between(_FIRST_DAY * day, (_LAST_DAY + 1) * day - 1).all():
        raise InvalidInput(
            f"{where}: expected dates of the years 1 to 9999 in column {column.name}, got others"
        )


def frame_of(where: str, arrays: Mapping[str, Any]) -> pl.DataFrame:
    """Makes a table of 1-D arrays or lists of one length.

    Raises:
        InvalidInput: one has another shape, length or kind.
    """
    check_printable(where, [*arrays])
    columns = {name: series(where, name, values) for name, values in arrays.items()}
    sizes = {name: len(column) for name, column in columns.items()}
    if len(set(sizes.values())) > 1:
        got = ", ".join(f"{name} {size}" for name, size in sizes.items())
        raise InvalidInput(f"{where}: expected columns of one length, got {got}")
    frame = pl.DataFrame(columns)
    check_kinds(where, frame)
    return frame


def series(where: str, name: str, values: Any) -> pl.Series:
    """Makes a column of an array, a list or a column of another library."""
    if isinstance(values, pl.Series):
        return values.alias(name)
    if not isinstance(values, np.ndarray) and hasattr(values, "to_numpy"):
        values = values.to_numpy()
    if isinstance(values, np.ndarray):
        return _of_array(where, name, cast(np.ndarray, values))
    try:
        return _of_list(where, name, list(values))
    except TypeError as error:
        raise InvalidInput(
            f"{where}: expected an array or a list as column {name}, got {type(values).__name__}"
        ) from error


def _of_array(where: str, name: str, values: np.ndarray) -> pl.Series:
    if values.ndim != 1 or not len(values):
        raise InvalidInput(
            f"{where}: expected a column {name} of one or more values, got shape {values.shape}"
        )
    kind = values.dtype.kind
    if kind == "S":
        try:
            return pl.Series(name, [value.decode("utf-8") for value in values.tolist()], pl.String)
        except UnicodeDecodeError as error:
            raise InvalidInput(
                f"{where}: expected UTF-8 text in column {name}, got other bytes"
            ) from error
    if kind in "OUT":
        return _of_list(where, name, values.tolist())
    if kind not in "biufM":
        raise InvalidInput(f"{where}: expected real numbers in {name}, got {values.dtype}")
    if kind == "f" and values.dtype.itemsize not in (4, 8):
        values = values.astype(np.float64)
    if kind == "M":
        return pl.Series(name, _of_times(where, name, values))
    return pl.Series(name, values.astype(values.dtype.newbyteorder("="), copy=False))


def _of_times(where: str, name: str, values: np.ndarray) -> np.ndarray:
    """Returns times in microseconds, of which no one may be too far away for them; nanoseconds stay
    for `check_kinds`."""
    if np.datetime_data(values.dtype)[0] == "ns":
        return values.astype("datetime64[ns]", copy=False)
    found = values.astype("datetime64[us]")
    known = ~np.isnat(values)
    if (found.astype(values.dtype) != values)[known].any():
        raise InvalidInput(
            f"{where}: expected dates of the years 1 to 9999 in column {name}, got others"
        )
    return found


def _of_list(where: str, name: str, values: list[Any]) -> pl.Series:
    """Makes a column of Python's values; of several kinds, a column of text.

    Raises:
        InvalidInput: a text has half of a surrogate pair, which UTF-8 does not have.
    """
    cells = [None if _is_missing(value) else value for value in values]
    kinds: set[type[Any]] = {type(value) for value in cells if value is not None}
    numeric = all(issubclass(kind, int | float | np.number) and kind is not bool for kind in kinds)
    if numeric and len(kinds) > 1:
        return pl.Series(name, [None if v is None else float(v) for v in cells], pl.Float64)
    try:
        found = pl.Series(name, cells, strict=True)
        if found.dtype != pl.Object:
            return found
    except (TypeError, OverflowError, ValueError, pl.exceptions.PolarsError):
        pass
    written = [None if v is None else str(v) for v in cells]
    for row, text in enumerate(written, start=1):
        if text is not None:
            check_text(f"{where}, row {row}", name, text)
    return pl.Series(name, written, pl.String)


def check_text(place: str, column: str, text: str) -> None:
    """Refuses text that UTF-8 cannot write: half of a surrogate pair, such as \\ud83d alone.

    Raises:
        InvalidInput: that.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidInput(
            f"{place}: expected text that UTF-8 can write in column {printable(column)}, got half "
            f"of a surrogate pair at character {error.start + 1}: {shown(text)}"
        ) from error


def _is_missing(value: Any) -> bool:
    """Tells whether a value is none, NaN, or what pandas has in their place."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, float) and value != value
