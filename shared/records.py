"""Records → CSV or JSON."""

import csv
import io
import json
from collections.abc import Sequence
from typing import Any


def as_csv(records: Sequence[dict[str, Any]]) -> str:
    """A line of names and one for each record; nothing where a value is None."""
    text = io.StringIO()
    writer = csv.DictWriter(text, records[0].keys(), lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue()


def as_json(records: Sequence[dict[str, Any]]) -> str:
    return json.dumps(records, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
