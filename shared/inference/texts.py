"""Predictions of a trained network for new texts: labels, answers, tokens, probabilities of lines.

records = of_file(trained, Path("reviews.csv"), beams=5)
records = of_texts(trained, ["good!"], lambda row: f"text {row + 1}", beams=5)
"""

import math
import re
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from shared.config.data import LabelsData, PairsData
from shared.errors import InvalidInput
from shared.inference import beam
from shared.inference.answers import blocks, greedy
from shared.inference.trained import Trained
from shared.runs.schema import Schema
from shared.tasks import labels, pairs
from shared.tasks.text import END_OF_LINE, UNKNOWN_TOKEN, read_text, words_of

Record = dict[str, Any]

WINDOW = 256
"""Number of tokens of a text that are read in one call."""
LONGEST = 2
"""Longest answer, in multiples of the steps of the longest sequence in training; it is cut off
there."""


def of_file(trained: Trained, file: Path, beams: int) -> list[Record]:
    """Reads a file as a task on tokens needs it, and predicts: see `predict.predictions`.

    Raises:
        InvalidInput: the file cannot be read, or a text is empty or has a token that the network
            cannot read.
    """
    data = trained.config.data
    if not isinstance(data, (LabelsData, PairsData)):
        text = read_text(file)
        if trained.schema.streams:
            return _of_text(trained, text, file)
        return _of_lines(trained, text.splitlines(), beams, file)
    if file.suffix.lower() == ".txt":
        lines = read_text(file).replace("\r\n", "\n").removesuffix("\n").split("\n")
        return of_texts(trained, lines, lambda row: f"{file}, line {row + 1}", beams)
    from shared.system import tables

    column = data.text if isinstance(data, LabelsData) else data.source
    table = tables.read_table([file], {column}, option="--input", text={column})
    return of_texts(trained, tables.texts(table, column), table.place, beams)


def of_texts(
    trained: Trained, texts: Sequence[str], place: Callable[[int], str], beams: int
) -> list[Record]:
    """Predicts the labels of texts, or answers them.

    Each record also counts the tokens that the network does not know.

    Args:
        place: says where a text is, from its number: "reviews.csv, line 18".
        beams: of an answer, `beam.search`.

    Raises:
        InvalidInput: a text has no token.
    """
    data, schema = trained.config.data, trained.schema
    if isinstance(data, LabelsData):
        split = [labels.tokens_of(text, data)[: data.longest] for text in texts]
    else:
        assert isinstance(data, PairsData)
        split = [pairs.tokens_of(text, data) for text in texts]
    for row, own in enumerate(split):
        if not own:
            raise InvalidInput(f"{place(row)}: expected a text, got {texts[row]!r}")
    # No word of a text is a special token, even if it is spelled the same.
    special = pairs.SPECIAL if schema.between is not None else ()
    number = {token: i for i, token in enumerate(schema.vocabulary) if token not in special}
    read = [np.array([number.get(t, UNKNOWN_TOKEN) for t in own], np.int32) for own in split]
    unknown = [{"unknown": int((own == UNKNOWN_TOKEN).sum())} for own in read]
    if schema.between is None:
        found = _labelled(trained, texts, read)
    else:
        prompts = [_prompt(schema, own) for own in read]
        said = _answers(trained, prompts, beams)
        found = [{"source": t, "answer": a} for t, a in zip(texts, said, strict=True)]
    return [record | lost for record, lost in zip(found, unknown, strict=True)]


def _labelled(trained: Trained, texts: Sequence[str], read: Sequence[np.ndarray]) -> list[Record]:
    probability = np.exp([beam.log_softmax(outputs) for outputs in _outputs(trained, read)])
    return [
        {
            "text": text,
            "predicted": trained.schema.classes[row.argmax()],
            "probability": float(row.max()),
        }
        for text, row in zip(texts, probability, strict=True)
    ]


def _outputs(trained: Trained, read: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Returns the outputs for each text: (O,), or (P, O) if there is one at every step."""
    schema = trained.schema
    found = [np.empty(0)] * len(read)
    for block in blocks(read, schema.output_size):
        outputs, _ = trained.backend.predict(trained.state, block.tokens, block.lengths)
        for row, own in zip(block.rows, outputs, strict=False):
            found[row] = own[: len(read[int(row)])] if schema.per_step else own
    return found


def _prompt(schema: Schema, source: np.ndarray) -> np.ndarray:
    """Returns the tokens that are read before an answer."""
    assert schema.between is not None
    read = source[::-1] if schema.reverse else source
    return np.append(read, np.int32(schema.vocabulary.index(schema.between)))


def _answers(trained: Trained, prompts: Sequence[np.ndarray], beams: int) -> list[str]:
    schema, backend, state = trained.schema, trained.backend, trained.state
    assert schema.end is not None
    end, longest = schema.vocabulary.index(schema.end), LONGEST * (schema.longest or 0)
    if beams == 1:
        found = greedy(backend, state, prompts, end, longest, schema.output_size)
    else:
        found = [beam.search(backend, state, p, end, beams, longest)[0].tokens for p in prompts]
    return [pairs.joined(tokens, schema.vocabulary, schema.unit) for tokens in found]


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
        read = [_source(schema, line, named) for line, named in zip(lines, where, strict=True)]
        said = _answers(trained, read, beams)
        return [{"source": line, "answer": own} for line, own in zip(lines, said, strict=True)]
    rows = [encode(schema, line, named) for line, named in zip(lines, where, strict=True)]
    said = [outputs.argmax(-1) for outputs in _outputs(trained, rows)]
    return [
        {"input": line, "predicted": "".join(schema.vocabulary[int(t)] for t in row)}
        for line, row in zip(lines, said, strict=True)
    ]


def _source(schema: Schema, text: str, where: str) -> np.ndarray:
    """Returns the prompt of a source of which every token is known."""
    assert schema.between is not None
    assert schema.end is not None
    return _prompt(schema, encode(schema, text, where, without=(schema.between, schema.end)))


def answer(trained: Trained, source: str, beams: int, where: str) -> str:
    """Returns the most probable answer to a source that beam search finds.

    Raises:
        InvalidInput: the source is empty, or has characters that the network does not know and for
            which it has no token.
    """
    if isinstance(trained.config.data, PairsData):
        return of_texts(trained, [source], lambda _: where, beams)[0]["answer"]
    return _answers(trained, [_source(trained.schema, source, where)], beams)[0]


def encode(schema: Schema, text: str, where: str, without: Collection[str] = ()) -> np.ndarray:
    """Returns the token numbers of a text of which every token is known.

    Args:
        where: names the text in messages.
        without: tokens that it must not have although the network knows them.

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
