"""Records that are written as a table: CSV, JSON or Parquet by the name of the file."""

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from shared.errors import InvalidInput
from shared.system.files import write_atomically

Record = dict[str, Any]
WRITTEN = (".csv", ".json", ".parquet")
"""Names of files that records are written to."""


def write_records(file: Path, records: Sequence[Record]) -> None:
    """Writes records with the same keys as rows; the file is complete or not there.

    Raises:
        InvalidInput: the name ends in none of WRITTEN.
        OSError: it cannot be written; the message names the file.
    """
    suffix = file.suffix.lower()
    if suffix == ".csv":
        content = as_csv(records).encode()
    elif suffix == ".json":
        content = as_json(records).encode()
    elif suffix == ".parquet":
        written = io.BytesIO()
        pl.DataFrame(records, infer_schema_length=None).write_parquet(written)
        content = written.getvalue()
    else:
        raise InvalidInput(f"{file}: expected a name in {', '.join(WRITTEN)}")
    write_atomically(file, content)


def as_csv(records: Sequence[Record]) -> str:
    """Writes a line of names and one for each record; a value of None leaves its place empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, records[0] if records else (), lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue()


def as_json(records: Sequence[Record]) -> str:
    return json.dumps(records, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
