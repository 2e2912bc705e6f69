"""Tables in Parquet."""

import os
from collections.abc import Collection, Generator
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from shared.errors import InvalidInput, printable
from shared.system.files import brief
from shared.system.table import Numbered, check_names, check_printable
from shared.system.table_arrays import check_kinds


def read_parquet(file: Path, columns: Collection[str] | None) -> Numbered:
    """Reads columns of a Parquet file.

    Such a file has no checksums that polars writes or reads: a number that was changed in the file
    is read as it is.

    Raises:
        InvalidInput: the file is damaged or none of Parquet's, or lacks a column.
        OSError: it cannot be read.
    """
    try:
        with _quiet():
            names = [*pl.read_parquet_schema(file)]
            check_printable(str(file), names)
            check_names(str(file), names, [*columns] if columns is not None else [])
            wanted = [name for name in names if columns is None or name in columns]
            frame = pl.read_parquet(file, columns=wanted, glob=False, hive_partitioning=False)
            check_kinds(str(file), frame)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, ValueError) as error:
        if isinstance(error, InvalidInput):
            raise
        said = printable(brief(Exception(str(error).partition("\n")[0])))
        raise InvalidInput(f"{file}: expected a Parquet file, got: {said}") from error
    return Numbered(frame)


@contextmanager
def _quiet() -> Generator[None]:
    """Keeps from the terminal what polars writes there, before it raises, on a damaged file."""
    with open(os.devnull, "w") as nowhere:
        kept = os.dup(2)
        try:
            os.dup2(nowhere.fileno(), 2)
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
