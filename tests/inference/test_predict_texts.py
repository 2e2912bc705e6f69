"""Labels and answers for new texts: as the network says for each alone, from every kind of file."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from shared.config.data import LabelsData, PairsData
from shared.errors import InvalidInput
from shared.inference import load_trained, predict, texts
from shared.inference.beam import log_softmax, search
from shared.inference.trained import Trained
from tests.support.inference_cases import made

REVIEWS = ["A good film, really!", "Bad. Just bad", "fine", "it's no good; it's <unk>", "so-so"]
LABELS = ["pos", "neg", "pos", "neg", "pos"]


@pytest.fixture(scope="module", params=["word", "char"])
def labelled(request, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("labels")
    frame = pl.DataFrame({"text": REVIEWS * 4, "label": LABELS * 4})
    file = folder / "texts.csv"
    frame.with_columns(text=frame["text"] + pl.Series(map(str, range(20)))).write_csv(file)
    data = LabelsData((str(file),), unit=request.param, longest=9, split=(0.6, 0.2, 0.2))
    return made(folder / "run", data)[0]


@pytest.fixture(scope="module", params=["word", "char"])
def paired(request, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pairs")
    glue = " " if request.param == "word" else ""
    draw = np.random.default_rng(0)
    rows = [draw.choice([*"abcdef"], draw.integers(1, 5)) for _ in range(60)]
    sources = [glue.join(row) for row in rows]
    targets = [glue.join(row[::-1]) for row in rows]
    pl.DataFrame({"source": sources, "target": targets}).write_csv(folder / "pairs.tsv",
                                                                   separator="\t")  # fmt: skip
    data = PairsData((str(folder / "pairs.tsv"),), unit=request.param, lowercase=True)
    return made(folder / "run", data)[0]


def tokens(trained: Trained, text: str) -> list[int]:
    """Numbers of a text's tokens, made once more by hand; 0 for those that are not known."""
    data, known = trained.config.data, trained.schema.vocabulary
    assert isinstance(data, (LabelsData, PairsData))
    split: list[str] = [*text.lower()]
    if data.unit == "word":
        split = text.lower().split()
    if data.unit == "word" and isinstance(data, LabelsData):
        split = "".join(c if c.isalnum() or c in " '" else f" {c} " for c in text.lower()).split()
    special = ("<unk>", "<to>", "<end>")
    return [known.index(t) if t in known and t not in special else 0 for t in split]


def test_a_label_is_what_the_network_says_of_the_text_alone(labelled: Path, tmp_path: Path) -> None:
    trained = load_trained(labelled)
    long = "good " * 40 + "bad"
    new = [*REVIEWS, "zebra! Good", "x", long, "A GOOD FILM, REALLY!"]
    pl.DataFrame({"id": range(9), "text": new}).write_csv(tmp_path / "new.csv")
    records = predict.predictions(trained, tmp_path / "new.csv")
    assert [record["text"] for record in records] == new
    for text, record in zip(new, records, strict=True):
        read = tokens(trained, text)[:9]
        outputs, _ = trained.backend.predict(trained.state, np.array([read], np.int32))
        probability = np.exp(log_softmax(outputs[0]))
        assert record["predicted"] == trained.schema.classes[probability.argmax()]
        assert record["probability"] == pytest.approx(probability.max(), rel=1e-9)
        assert record["unknown"] == read.count(0)
        assert [*record] == ["text", "predicted", "probability", "unknown"]
    assert records[0]["probability"] == pytest.approx(records[-1]["probability"], rel=1e-9)
    assert any(record["unknown"] for record in records)


@pytest.mark.parametrize("beams", [1, 3])
def test_an_answer_is_what_beam_search_finds(beams: int, paired: Path, tmp_path: Path) -> None:
    trained = load_trained(paired)
    schema = trained.schema
    glue = " " if schema.unit == "word" else ""
    new = [glue.join(t) for t in ("abc", "F", "Aqa", "f" * 40)]
    (tmp_path / "new.txt").write_text("\r\n".join(new) + "\r\n", encoding="utf-8")
    records = predict.predictions(trained, tmp_path / "new.txt", beams)
    assert [record["source"] for record in records] == new
    for text, record in zip(new, records, strict=True):
        prompt = [*tokens(trained, text)[::-1], schema.vocabulary.index("<to>")]
        end, longest = schema.vocabulary.index("<end>"), 2 * (schema.longest or 0)
        found = search(
            trained.backend, trained.state, np.array(prompt, np.int32), end, beams, longest
        )
        expected = glue.join(schema.vocabulary[t] for t in found[0].tokens)
        assert record == {"source": text, "answer": expected, "unknown": prompt.count(0)}
        assert texts.answer(trained, text, beams, "--prompt") == expected
    assert [record["unknown"] for record in records] == [0, 0, 1, 0]
    with pytest.raises(InvalidInput, match=r"^--prompt: expected a text, got ''$"):
        texts.answer(trained, "", beams, "--prompt")


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet", ".txt"])
def test_every_kind_of_file_gives_the_same_labels(
    suffix: str, labelled: Path, tmp_path: Path
) -> None:
    trained, file = load_trained(labelled), tmp_path / f"new{suffix}"
    frame = pl.DataFrame({"other": range(5), "text": REVIEWS})
    if suffix == ".parquet":
        frame.write_parquet(file)
    elif suffix == ".jsonl":
        frame.write_ndjson(file)
    elif suffix == ".txt":
        file.write_text("\n".join(REVIEWS), encoding="utf-8")
    else:
        frame.write_csv(file, separator="\t" if suffix == ".tsv" else ",")
    expected = texts.of_texts(trained, REVIEWS, str, beams=5)
    assert predict.predictions(trained, file) == expected


def test_both_frameworks_say_the_same(labelled: Path, paired: Path) -> None:
    new = ["a b", "cab", "d", "e f a b c d"]
    for folder in (labelled, paired):
        one, other = (
            texts.of_texts(load_trained(folder, name), new, str, beams=2)
            for name in ("jax", "torch")
        )
        for mine, theirs in zip(one, other, strict=True):
            near = pytest.approx(theirs.pop("probability", 0), rel=1e-9)
            assert mine.pop("probability", 0) == near
            assert mine == theirs


REFUSED: dict[str, tuple[Any, str]] = {
    "no text in a line": ("fine\n\ngood\n", r"new\.txt, line 2: expected a text, got ''$"),
    "only blanks": ("fine\n \ngood\n", r"new\.txt, line 2: expected a text, got ' '$"),
    "an empty file": ("", r"new\.txt: expected a text, got an empty file$"),
    "bytes": (b"fine\n\xff\n", r"new\.txt: expected UTF-8 text, got byte 0xff at position 5$"),
    "an empty cell": (
        {"text": ["a", None, "b"]},
        r"new\.csv, line 3: expected a value in column text, got none",
    ),
    "another column": (
        {"texts": ["a", "b"]},
        r"new\.csv: expected a column 'text', got texts, id; did you mean 'texts'\?$",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_text_is_refused_by_file_and_line(
    case: str, labelled: Path, tmp_path: Path
) -> None:
    content, message = REFUSED[case]
    trained = load_trained(labelled)
    file = tmp_path / ("new.csv" if isinstance(content, dict) else "new.txt")
    if isinstance(content, dict):
        pl.DataFrame(content | {"id": range(len(next(iter(content.values()))))}).write_csv(file)
    else:
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    if case == "only blanks" and trained.schema.unit == "char":  # a blank is a character
        assert len(predict.predictions(trained, file)) == 3
        return
    with pytest.raises(InvalidInput, match=message):
        predict.predictions(trained, file)
