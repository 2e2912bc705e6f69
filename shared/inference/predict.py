"""Predictions of a trained network for new data: records, one for each time, sequence or line.

records = predictions(trained, Path("days.csv"))      # [{"date": …, "predicted": …}, …]
"""

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from shared.errors import InvalidInput
from shared.inference import beam
from shared.inference.tables import read_columns, read_sequences
from shared.inference.trained import Trained
from shared.protocol.batching import EVALUATION_ROWS
from shared.runs.schema import Schema
from shared.tasks.series import sequences
from shared.tasks.text import END_OF_LINE, read_text, words_of

Record = dict[str, Any]

WINDOW = 256
"""Number of tokens of a text that are read in one call."""
LONGEST = 2
"""Longest answer, in multiples of the steps of the longest sequence in training; it is cut off
there."""


@np.errstate(over="ignore", invalid="ignore")  # what comes of it is refused
def predictions(trained: Trained, file: Path | str, beams: int = 5) -> list[Record]:
    """Reads a file as the network's task needs it, and predicts.

    series              CSV or NPZ with the columns of the task, and dates where those count
    sequences           NPY, NPZ or CSV: `shared/inference/tables.py`
    text                UTF-8; how probable each line is, the state being carried from line to line
    sequences of characters     UTF-8, one a line; a source to translate, too

    Args:
        beams: for a translation, answers that are followed at once; 1 is greedy decoding.

    Raises:
        InvalidInput: the file cannot be read, or holds something else.
    """
    file = Path(file)
    schema = trained.schema
    if schema.series is not None:
        return _forecasts(trained, file)
    if not schema.tokens:
        return _of_sequences(trained, file)
    text = read_text(file)
    if schema.streams:
        return _of_text(trained, text, file)
    return _of_lines(trained, text.splitlines(), beams, file)


def _forecasts(trained: Trained, file: Path) -> list[Record]:
    """Predicts for each row with enough rows before it, and for the time after the last."""
    series = trained.schema.series
    assert series is not None
    table = read_columns(file, [c.name for c in series.columns], date=series.known is not None)
    count = len(table[series.target.name])
    if count < series.window:
        raise InvalidInput(
            f"{file}: expected at least {series.window} rows, which the network reads, got {count}"
        )
    # A stock exchange has holidays.
    if "date" in table and (series.known == "season" or series.time == "month"):
        _check_no_gap(table["date"], series.time, file)
    times = _times(table.get("date"), count, series.known == "weekday", series.time)
    rows = np.arange(series.window, count + 1)
    try:
        inputs = sequences(series, table, times, rows)
    except InvalidInput as error:
        raise InvalidInput(f"{file}: {error}") from error
    found = _outputs(trained, inputs, None, file)[:, 0]
    found = found + inputs[:, -1, 0] * series.difference
    values = found * series.target.std + series.target.mean
    unit = f" ({series.target.unit})" * bool(series.target.unit)
    actual = [*map(float, table[series.target.name][rows[:-1]]), None]
    dated = "date" in table
    return [
        {
            "date" if dated else "row": str(times[row]) if dated else int(row) + 1,
            f"predicted {series.target.name}{unit}": float(value),
            f"actual {series.target.name}{unit}": true,
        }
        for row, value, true in zip(rows, values, actual, strict=True)
    ]


def _check_no_gap(dates: np.ndarray, step: str, file: Path) -> None:
    """Refuses a gap in the dates: the network takes each row for the next day or month."""
    at = dates.astype("datetime64[M]" if step == "month" else "datetime64[D]")
    gaps = np.flatnonzero(np.diff(at).astype(int) != 1)
    if len(gaps):
        before, after = dates[gaps[0]], dates[gaps[0] + 1]
        raise InvalidInput(f"{file}: expected a row for each {step}, got {after} after {before}")


def _times(dates: np.ndarray | None, count: int, weekdays: bool, step: str) -> np.ndarray:
    """Returns the times of the rows and of the next one; without dates, arbitrary times."""
    if dates is None:
        return np.zeros(count + 1, "datetime64[D]")
    after = dates[-1:] + 1
    if weekdays:
        after = np.busday_offset(dates[-1:], 1, roll="backward")
    elif step == "month":
        months = dates.astype("datetime64[M]")
        before, first = ((months + i).astype("datetime64[D]") for i in range(2))
        last = (months[-1:] + 2).astype("datetime64[D]") - 1
        after = np.minimum(first[-1:] + (dates - before)[-1:], last)  # the same day, if it has one
        if (dates + 1 == first).all():
            after = last
    return np.concatenate([dates, after])


def _of_sequences(trained: Trained, file: Path) -> list[Record]:
    schema = trained.schema
    inputs, lengths, called = read_sequences(file, schema.input_size)
    if schema.mean:
        inputs = (inputs - schema.mean) / schema.std
        if lengths is not None:
            inputs[np.arange(inputs.shape[1]) >= lengths[:, None]] = 0
    found = _outputs(trained, inputs, lengths, file)
    if schema.loss == "mse":
        return [
            {"sequence": sequence, "predicted": float(value)}
            for sequence, value in zip(called, found[:, 0], strict=True)
        ]
    names = schema.classes or [str(i) for i in range(schema.output_size)]
    probability = np.exp(beam.log_softmax(found))
    return [
        {
            "sequence": sequence,
            "predicted": names[row.argmax()],
            "probability": float(row.max()),
        }
        for sequence, row in zip(called, probability, strict=True)
    ]


def _outputs(
    trained: Trained, inputs: np.ndarray, lengths: np.ndarray | None, file: Path
) -> np.ndarray:
    parts: list[np.ndarray] = []
    for start in range(0, len(inputs), EVALUATION_ROWS):
        rows = slice(start, start + EVALUATION_ROWS)
        own = None if lengths is None else lengths[rows]
        parts.append(trained.backend.predict(trained.state, inputs[rows], own)[0])
    found = np.concatenate(parts)
    if not np.isfinite(found).all():
        raise InvalidInput(
            f"{file}: expected numbers of a size that the network can compute with, "
            f"got some that lead to {found[~np.isfinite(found)][0]}"
        )
    return found


def _of_text(trained: Trained, text: str, file: Path) -> list[Record]:
    """Returns the bits of each line and of the whole text; the first token of the text is given."""
    schema = trained.schema
    number = {token: i for i, token in enumerate(schema.vocabulary)}
    word = schema.unit == "word"
    lines = text.splitlines(keepends=True) if word else re.findall(r".*?\n|.+", text, re.DOTALL)
    read = [words_of(line) if word else [*line] for line in lines]
    tokens = np.array([number.get(t, 0) for line in read for t in line], np.int32)
    if len(tokens) < 2:
        raise InvalidInput(f"{file}: expected a text of at least two tokens, got one")
    carry, bits = None, [0.0]
    for start in range(0, len(tokens) - 1, WINDOW):
        window = tokens[start : min(start + WINDOW, len(tokens) - 1)]
        outputs, carry = trained.backend.predict(trained.state, window[None], carry=carry)
        targets = tokens[start + 1 : start + 1 + len(window)]
        logs = beam.log_softmax(outputs[0])
        bits += list(-logs[np.arange(len(targets)), targets] / math.log(2))
    ends = np.cumsum([len(line) for line in read])
    each = [part.sum() for part in np.split(np.array(bits), ends[:-1])]
    unknown = [sum(token not in number for token in line) for line in read]

    def record(
        name: Any, total: float, characters: int, count: int, lost: int, given: int = 0
    ) -> Record:
        return {
            "line": name,
            "tokens": count,
            "unknown": lost,
            "bits per character": total / (characters - given * (not word)),
            "perplexity": 2 ** min(1000.0, total / (count - given)),
        }

    records = [
        record(i + 1, total, len(line), len(row), lost)
        for i, (total, line, row, lost) in enumerate(zip(each, lines, read, unknown, strict=True))
    ]
    return [*records, record("all", sum(bits), len(text), len(tokens), sum(unknown), 1)]


def _of_lines(trained: Trained, lines: Sequence[str], beams: int, file: Path) -> list[Record]:
    schema = trained.schema
    where = [f"{file}: line {i}" for i in range(1, len(lines) + 1)]
    if schema.between is not None:
        pairs = zip(lines, where, strict=True)
        return [
            {"source": line, "answer": answer(trained, line, beams, named)} for line, named in pairs
        ]
    rows = [encode(schema, line, named) for line, named in zip(lines, where, strict=True)]
    lengths = np.array([len(row) for row in rows], np.int32)
    tokens = np.zeros((len(rows), lengths.max()), np.int32)
    for padded, row in zip(tokens, rows, strict=True):
        padded[: len(row)] = row
    said = _outputs(trained, tokens, lengths, file).argmax(-1)
    return [
        {"input": line, "predicted": "".join(schema.vocabulary[int(t)] for t in row[: len(line)])}
        for line, row in zip(lines, said, strict=True)
    ]


def answer(trained: Trained, source: str, beams: int, where: str) -> str:
    """Returns the most probable answer to a source that beam search finds.

    Raises:
        InvalidInput: the source is empty, or has characters that the network does not know.
    """
    schema = trained.schema
    assert schema.between is not None
    assert schema.end is not None
    prompt = encode(schema, source, where, without=schema.between + schema.end)
    prompt = prompt[::-1] if schema.reverse else prompt
    tokens = np.append(prompt, schema.vocabulary.index(schema.between))
    end, longest = schema.vocabulary.index(schema.end), LONGEST * (schema.longest or 0)
    found = beam.search(trained.backend, trained.state, tokens, end, beams, longest)
    return "".join(schema.vocabulary[int(token)] for token in found[0].tokens)


def encode(schema: Schema, text: str, where: str, without: str = "") -> np.ndarray:
    """Returns the token numbers of a text.

    Args:
        where: names the text in messages.
        without: characters that it must not have although the network knows them.

    Raises:
        InvalidInput: it is empty, or a token is not in the vocabulary.
    """
    number = {token: i for i, token in enumerate(schema.vocabulary) if token not in without}
    words = schema.unit == "word"
    tokens = [*text]
    if words:
        tokens = [w for line in text.split("\n") for w in (*line.split(), END_OF_LINE)][:-1]
    if not tokens:
        raise InvalidInput(f"{where}: expected text, got none")
    for at, token in enumerate(tokens, start=1):
        if token not in number:
            kind = "word" if words else "character"
            hint = "; <unk> stands for any other" if words else ""
            known = (" " if words else "").join(number)
            known = known if len(known) <= 60 else f"{len(number)} {kind}s"
            raise InvalidInput(
                f"{where}: expected {kind}s that the run knows ({known}){hint}, "
                f"got {token!r} at {kind} {at}"
            )
    return np.array([number[token] for token in tokens], np.int32)
