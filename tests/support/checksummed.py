"""JSON of a run folder that a test changes: signed again, as if a run had written it."""

import json
from pathlib import Path
from typing import Any

from shared.system.json_files import CHECKSUM, digest


def read(file: Path) -> dict[str, Any]:
    values = json.loads(file.read_text(encoding="utf-8"))
    return {name: value for name, value in values.items() if name != CHECKSUM}


def write(file: Path, values: dict[str, Any]) -> None:
    unsigned = {name: value for name, value in values.items() if name != CHECKSUM}
    file.write_text(json.dumps(unsigned | {CHECKSUM: digest(unsigned)}), encoding="utf-8")
