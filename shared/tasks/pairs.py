"""Your own pairs of texts, from one into the other: what `translate` does for number words.

task = load(config)                                             # tables
task = from_pairs(config, ["one", "two"], ["un", "deux"])
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from shared.config import Config
from shared.config.data import PairsData
from shared.errors import InvalidInput
from shared.protocol.dataset import Signature, Split
from shared.system.environment import check_memory
from shared.tasks import pair_baselines, pair_questions
from shared.tasks.parts import Parts, check_parts, named_parts, split_parts
from shared.tasks.task import Task
from shared.tasks.text import UNKNOWN_TOKEN, UNKNOWN_WORD
from shared.tasks.vocabulary import Ragged, frequent, numbered, spaced

if TYPE_CHECKING:
    from shared.system.tables import Table

BETWEEN, END = "<to>", "<end>"
"""Tokens between source and target, and after the target. No text has them: a word that is spelled
the same is an unknown one."""
SPECIAL = (UNKNOWN_WORD, BETWEEN, END)


class Pairs(NamedTuple):
    """Sources and targets as token numbers of a vocabulary, a row for each pair."""

    sources: Ragged
    targets: Ragged


class Texts(NamedTuple):
    """Sources and targets as texts, a row for each pair."""

    sources: Sequence[str]
    targets: Sequence[str]


def load(config: Config) -> Task:
    """Reads tables with the columns --data.source and --data.target.

    Raises:
        InvalidInput: a table cannot be read, or its pairs are of no use: see `from_table`.
    """
    data = config.data
    assert isinstance(data, PairsData)
    if not data.path:
        raise InvalidInput("--data.path: expected tables of pairs of texts, got none")
    from shared.system.tables import read_table

    written = {data.source, data.target}  # 1.50 stays 1.50
    columns = written if data.part is None else {*written, data.part}
    return from_table(config, read_table(data.path, columns, text=written))


def from_pairs(
    config: Config,
    sources: Sequence[str],
    targets: Sequence[str],
    parts: Sequence[str] | None = None,
) -> Task:
    """Makes the task of pairs in memory.

    Args:
        parts: the part of each pair: train, valid or test; by default they are drawn.

    Raises:
        InvalidInput: the pairs are of no use: see `from_table`.
    """
    from shared.system.tables import as_table

    data = config.data
    assert isinstance(data, PairsData)
    columns: dict[str, Sequence[str]] = {"source": sources, "target": targets}
    columns |= {} if parts is None else {"part": parts}
    own = replace(
        data, source="source", target="target", part="part" if "part" in columns else None
    )
    table = as_table(columns, name="the pairs")
    return from_table(replace(config, data=own), table, "your pairs")


def from_table(config: Config, table: "Table", source: str | None = None) -> Task:
    """Makes the task of a table with a source and its target in each row.

    One network reads the source, a token between, and the target; it predicts the target's tokens
    and the end. A token is a character, or a word between blanks. The vocabulary is that of the
    training part; other tokens are one unknown token. A source that occurs several times is in one
    part, unless a column names the parts; its targets may differ, and each of them is right.

    Scores are of texts: of what the network writes to sources of the test part, beside their
    targets as they are written. The accuracy is that of single tokens, each after the right ones,
    and takes an unknown token for another: it is no score of the answers.

    Raises:
        InvalidInput: a text has no token, a pair has more tokens than --data.longest, a part is
            empty, the vocabulary has no place, or the padded pairs are larger than memory.
    """
    from shared.system import tables

    data = config.data
    assert isinstance(data, PairsData)
    columns = data.source, data.target
    read = [tables.texts(table, column) for column in columns]
    found, tokens = numbered(tokens_of(text, data) for texts in read for text in texts)
    rows = np.arange(len(table))
    pairs = Pairs(found.take(rows), found.take(rows + len(table)))
    for column, texts, own in zip(columns, read, pairs, strict=True):
        for row in np.flatnonzero(own.lengths == 0)[:1]:
            raise InvalidInput(
                f"{table.place(int(row))}: expected a text in column {column}, "
                f"got {texts[row]!r}, which has no word"
            )
    _check_longest(table, pairs, data)
    same = pairs.sources.same()
    parts = _parts(table, data, same)
    both = found.take(np.concatenate([parts[0], parts[0] + len(table)]))
    vocabulary, number = frequent(both, tokens, data.vocabulary_size, SPECIAL)
    known = Pairs(*(own.renumbered(number) for own in pairs))
    texts = Texts(
        *([joined(own.text(row), tokens, data.unit) for row in range(len(table))] for own in pairs)
    )
    task = paired("pairs", known, texts, parts, vocabulary, (BETWEEN, END), data.reverse)
    learned = Texts(*([own[int(row)] for row in parts[0]] for own in texts))
    questions = task.questions
    assert questions is not None
    return replace(
        task,
        baselines=lambda: pair_baselines.of_pairs(*learned, questions),
        unit=data.unit,
        by_length=True,
        about=_facts(data, known, parts, same, vocabulary, len(np.unique(both.numbers)))
        | pair_questions.facts(questions, len(np.unique(same[parts[2]]))),
        source=source or table.name,
    )


def tokens_of(text: str, data: PairsData) -> list[str]:
    """Splits a text into tokens, as a configuration wants them."""
    text = text.lower() if data.lowercase else text
    return [*text] if data.unit == "char" else text.split()


def joined(tokens: np.ndarray, vocabulary: Sequence[str], unit: str) -> str:
    """Joins the tokens of a source or target to a text."""
    return (" " if unit == "word" else "").join(vocabulary[int(token)] for token in tokens)


def paired(
    name: str,
    pairs: Pairs,
    texts: Texts,
    parts: Parts,
    vocabulary: tuple[str, ...],
    ends: tuple[str, str],
    reverse: bool,
) -> Task:
    """Makes a task in which one network reads source, token between and target.

    It predicts the next token. Only those of the target and its end count. So the same network
    reads the source and writes the answer.

    Args:
        texts: of the pairs, also of tokens that the vocabulary lacks.
        parts: rows of the pairs in each part, in the order of its sequences.
        ends: the tokens between source and target, and after the target.
        reverse: read a source from its end.
    """
    between, end = map(vocabulary.index, ends)
    steps = int((pairs.sources.lengths + pairs.targets.lengths).max()) + 1
    count = len(pairs.sources.ends)
    check_memory(9 * count * steps, f"{count} pairs, padded to {steps} tokens,")
    train, valid, test = (
        _split(Pairs(*(own.take(rows) for own in pairs)), between, end, steps, reverse)
        for rows in parts
    )
    size = len(vocabulary)
    return Task(
        name=name,
        signature=Signature(size, size, tokens=True, per_step=True, loss="cross_entropy"),
        train=train,
        valid=valid,
        test=test,
        score="exact",
        vocabulary=vocabulary,
        continues=True,
        between=ends[0],
        end=ends[1],
        reverse=reverse,
        questions=pair_questions.drawn(*texts, pairs.sources, parts[2], between, reverse),
    )


def _split(pairs: Pairs, between: int, end: int, steps: int, reverse: bool) -> Split:
    """Makes a part: each sequence, and the token that follows each of its tokens."""
    count = len(pairs.sources.ends)
    inputs = np.zeros((count, steps), np.int32)
    targets, weights = np.zeros_like(inputs), np.zeros(inputs.shape, bool)
    lengths = np.zeros(count, np.int32)
    for i in range(count):
        source, target = pairs.sources.text(i), pairs.targets.text(i)
        text = np.concatenate([source[::-1] if reverse else source, [between], target, [end]])
        lengths[i] = len(text) - 1
        inputs[i, : lengths[i]], targets[i, : lengths[i]] = text[:-1], text[1:]
        weights[i, len(source) : lengths[i]] = True
    return Split(inputs, targets, lengths, weights)


def _check_longest(table: "Table", pairs: Pairs, data: PairsData) -> None:
    lengths = pairs.sources.lengths + pairs.targets.lengths
    for row in np.flatnonzero(lengths > data.longest)[:1]:
        unit = "characters" if data.unit == "char" else "words"
        more = int((lengths > data.longest).sum()) - 1
        raise InvalidInput(
            f"{table.place(int(row))}: expected at most {data.longest} {unit} of source and target "
            f"together (--data.longest), got {lengths[row]}"
            + (f"; {more} more pairs are too long, the longest has {lengths.max()}" * bool(more))
        )


def _parts(table: "Table", data: PairsData, same: np.ndarray) -> Parts:
    if data.part is not None:
        parts = named_parts(table, data.part)
    else:
        drawn = split_parts(same.max() + 1, data.split, "pairs")
        train, valid, test = (np.flatnonzero(np.isin(same, part)) for part in drawn)
        parts = train, valid, test
    option = "--data.split" if data.part is None else f"--data.part {data.part}"
    check_parts(parts, table.place, option, what="pairs")
    return parts


def _facts(
    data: PairsData, known: Pairs, parts: Parts, same: np.ndarray, vocabulary: tuple[str, ...],
    different: int,
) -> dict[str, str]:  # fmt: skip
    """Describes the data for the run's card."""
    sizes, unit = [spaced(len(rows)) for rows in parts], _NAMED[data.unit]
    shown = [
        f"{own.lengths.min()} to {own.lengths.max()} {unit}, {own.lengths.mean():.1f} in the mean"
        for own in known
    ]
    test = known.targets.take(parts[2])
    lost = len(np.unique(test.text_of[test.numbers == UNKNOWN_TOKEN]))
    leaked = np.isin(same[parts[2]], np.concatenate([same[parts[0]], same[parts[1]]])).sum()
    return {
        "pairs": f"{spaced(len(same))}: training {sizes[0]}, validation {sizes[1]}, "
        f"test {sizes[2]}",
        "different sources": spaced(same.max() + 1),
        "lengths of the sources": shown[0],
        "lengths of the targets": shown[1],
        "vocabulary": f"{spaced(len(vocabulary) - len(SPECIAL))} of the {spaced(different)} "
        f"different {unit} of the training part, and one token for all others",
    } | {
        name: value
        for name, value in {
            "targets of the test part with unknown tokens, which no answer can have": spaced(lost),
            "pairs of the test part whose source another part has": spaced(leaked),
        }.items()
        if value != "0"
    }


_NAMED = {"char": "characters", "word": "words"}
