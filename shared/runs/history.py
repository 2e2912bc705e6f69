"""The history of a run: metrics.jsonl, one JSON line a step and one an evaluation."""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from shared.errors import DamagedFile, InvalidInput
from shared.system.files import naming, write_atomically

METRICS = "metrics.jsonl"
SPLITS = ("train", "valid", "test")


class History:
    """Appends to metrics.jsonl: `flush` writes what was added since.

    Args:
        folder: the run folder.
        metric: name under which a metric is written, "accuracy" or "mae".
        log_every: training steps between two lines.
        keep: a resumed run keeps the training and validation lines up to this step. What comes
            after them is written again, also a line that was cut off when the run was killed.
    """

    def __init__(self, folder: Path, metric: str, log_every: int, keep: int = 0):
        self._metric = metric
        self._log_every = log_every
        self._path = folder / METRICS
        kept = b"".join(lines_up_to(keep, self._path, metric)) if keep else b""
        write_atomically(self._path, kept)
        self._digest = hashlib.sha256(kept)
        self._added: list[bytes] = []
        self._file = open(self._path, "ab", buffering=0)  # noqa: SIM115

    def train(self, step: int, epoch: int, loss: float, metric: float) -> None:
        if step % self._log_every == 0:
            self.add(step, epoch, "train", loss, metric)

    def add(self, step: int, epoch: int, split: str, loss: float, metric: float) -> None:
        line = {"step": step, "epoch": epoch, "split": split, "loss": loss, self._metric: metric}
        self._added.append((json.dumps(line) + "\n").encode())

    def flush(self) -> None:
        """Writes the lines added since the last flush.

        Raises:
            OSError: they cannot be written; the message names the file.
        """
        content = b"".join(self._added)
        self._added.clear()
        with naming(self._path):
            left = memoryview(content)
            while left:
                left = left[self._file.write(left) :]
        self._digest.update(content)

    def sync(self) -> str:
        """Waits until all lines have reached the disk; returns their SHA-256."""
        self.flush()
        with naming(self._path):
            os.fsync(self._file.fileno())
        return self._digest.hexdigest()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self.flush()
            else:  # what stopped the run counts, not that its last lines could not be written
                with suppress(OSError):
                    self.flush()
        finally:
            self._file.close()


def check_history(folder: Path, step: int, metric: str, digest: str, file: Path) -> None:
    """Compares metrics.jsonl up to a step with a checkpoint's record of it.

    Args:
        digest: its SHA-256, as `file` has it.

    Raises:
        DamagedFile: metrics.jsonl is missing, or damaged before that step.
    """
    path = folder / METRICS
    try:
        kept = b"".join(lines_up_to(step, path, metric))
    except InvalidInput as error:
        raise DamagedFile(str(error)) from error
    if hashlib.sha256(kept).hexdigest() != digest:
        raise DamagedFile(
            f"{path}: expected the lines up to step {step} that {file.name} was written after, "
            "got others: it is damaged, or was edited"
        )


def lines_up_to(step: int, path: Path, metric: str) -> list[bytes]:
    """Returns the lines of metrics.jsonl that a run resumed after this step keeps.

    Raises:
        InvalidInput: the file is missing, or damaged before that step.
    """
    kept = []
    for line, record in records(path, metric, cut_off=True):
        if record["step"] > step:
            break
        if record["split"] != "test":
            kept.append(line)
    return kept


def records(
    path: Path, metric: str, cut_off: bool = False
) -> Iterator[tuple[bytes, dict[str, Any]]]:
    """Yields each line of metrics.jsonl with the values in it.

    With cut_off, a damaged last line is left out: it was being written when the run was killed.
    """
    types = {"step": int, "epoch": int, "split": str, "loss": float, metric: float}
    try:
        lines = path.read_bytes().splitlines(keepends=True)
    except OSError as error:
        raise InvalidInput(f"{path}: expected a run's history, got: {error.strerror}") from error
    for i, line in enumerate(lines):
        record = _said(line)
        if {name: type(value) for name, value in record.items()} == types and (
            record["split"] in SPLITS
        ):
            yield line, record
        elif not cut_off or i < len(lines) - 1:
            raise InvalidInput(
                f"{path}: expected {', '.join(types)} in line {i + 1}, got {line[:80]!r}"
            )


def _said(line: bytes) -> dict[str, Any]:
    """Returns the values in a line; an empty dict if it is no JSON object."""
    try:
        record = json.loads(line, parse_constant=_no_number)
    except (ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}


def _no_number(name: str) -> None:
    """Refuses NaN and Infinity: JSON does not know them, but Python reads them."""
    raise ValueError(f"{name} is no number")
