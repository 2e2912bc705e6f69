"""Files of any content: read as what they are, or refused in one line that names them.

How many cases are tried is in each test; `FUZZ_SEED` chooses others.
"""

import csv
import io
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rnn_torch.files import read_torch
from shared.config.data import GeneratedData, TextData
from shared.config.settings import NetworkConfig
from shared.errors import InvalidInput
from shared.inference import tables
from shared.runs import checkpoint, predictions, read_run
from shared.runs.schema import read_schema
from shared.system.tables import numbers, read_table
from shared.tasks import TASKS, load_task
from shared.training import train
from tests.support.fuzz import EDITS, Edit, damaged, fuzz


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run; tests put back what they damage."""
    folder = tmp_path_factory.mktemp("run") / "run"
    config = replace(
        TASKS["last-value"].defaults, backend="torch", network=NetworkConfig(hidden_size=3),
        data=GeneratedData(20, 8, 9, sequence_length=4, input_size=2), epochs=2, batch_size=8,
    )  # fmt: skip
    train(config, folder, quiet=True)
    return folder


def check_line(error: InvalidInput, file: Path) -> None:
    """Raises unless it is a line that names the file."""
    said = str(error)
    assert file.name in said, said
    assert "expected" in said or "no config" in said or "no schema" in said or "no summary" in said
    assert len(said) < 2000, said


def same(mine: checkpoint.Checkpoint, theirs: checkpoint.Checkpoint) -> bool:
    one, other = (checkpoint.flatten(found.snapshot) for found in (mine, theirs))
    return one.keys() == other.keys() and all(
        one[name].tobytes() == other[name].tobytes() for name in one
    ) and mine._replace(snapshot=theirs.snapshot) == theirs  # fmt: skip


@fuzz(200)
@given(EDITS)
def test_a_damaged_checkpoint_is_recognised(run: Path, tmp_path: Path, edits: list[Edit]) -> None:
    whole = checkpoint.path(run, checkpoint.steps(run)[-1])
    file = tmp_path / whole.name
    content = damaged(whole.read_bytes(), edits)
    file.write_bytes(content)
    try:
        found = checkpoint.read(file)
    except InvalidInput as error:
        check_line(error, file)
    else:  # two edits may cancel each other, or lie in what safetensors fills up with blanks
        assert same(found, checkpoint.read(whole))


@pytest.mark.parametrize("name", ["config.json", "summary.json", "schema.json", "metrics.jsonl"])
@fuzz(60)
@given(edits=EDITS)
def test_a_damaged_text_file_is_recognised(
    name: str, run: Path, tmp_path: Path, edits: list[Edit]
) -> None:
    folder = tmp_path / "damaged"
    shutil.copytree(run, folder, dirs_exist_ok=True)
    (folder / name).write_bytes(damaged((run / name).read_bytes(), edits))
    try:
        found = read_run(folder), read_schema(folder)
    except InvalidInput as error:
        check_line(error, folder / name)
        return
    expected = read_run(run), read_schema(run)
    assert found[1] == expected[1]
    assert (found[0].config, found[0].summary) == (expected[0].config, expected[0].summary)
    for split, curve in expected[0].curves.items():
        for mine, theirs in zip(found[0].curves[split], curve, strict=True):
            np.testing.assert_array_equal(mine, theirs)


@fuzz(60)
@given(EDITS)
def test_damaged_predictions_are_recognised(run: Path, tmp_path: Path, edits: list[Edit]) -> None:
    file = tmp_path / predictions.FILE
    content = damaged((run / predictions.FILE).read_bytes(), edits)
    file.write_bytes(content)
    digest = read_run(run).summary.predictions
    try:
        predictions.read(tmp_path, digest)
    except InvalidInput as error:
        check_line(error, file)
    else:
        assert content == (run / predictions.FILE).read_bytes()


@fuzz(60)
@given(EDITS)
def test_a_damaged_state_dict_is_recognised(tmp_path: Path, edits: list[Edit]) -> None:
    """Or read: a .pt file has no checksum of its own that torch looks at."""
    content = io.BytesIO()
    torch.save(torch.nn.GRU(2, 3).state_dict(), content)
    file = tmp_path / "layer.pt"
    file.write_bytes(damaged(content.getvalue(), edits))
    try:
        tensors, _ = read_torch(file)
    except InvalidInput as error:
        check_line(error, file)
        return
    assert all(isinstance(tensor, np.ndarray) for tensor in tensors.values())


LINES = st.text(st.characters(codec="utf-8"), max_size=300)
TEXTS = st.one_of(
    LINES.map(str.encode),
    st.binary(max_size=300),
    st.text("ab \n", min_size=60, max_size=400).map(str.encode),
    LINES.map(lambda text: b"\xef\xbb\xbf" + text.encode() * 3),
)


@fuzz(80)
@given(content=TEXTS, unit=st.sampled_from(["char", "word"]))
def test_a_text_of_any_content_is_read_or_refused(tmp_path: Path, content: bytes, unit) -> None:
    file = tmp_path / "book.txt"
    file.write_bytes(content)
    config = replace(
        TASKS["text"].defaults, batch_size=2, data=TextData(path=str(file), unit=unit)
    )  # fmt: skip
    try:
        task = load_task(config)
    except InvalidInput as error:
        check_line(error, file)
        return
    for split in (task.train, task.valid, task.test):
        assert split is not None
        tokens = np.asarray(split.inputs)
        assert tokens.min() >= 0
        assert tokens.max() < len(task.vocabulary)


VALUES = st.one_of(
    st.integers(-(10**20), 10**20).map(str), st.floats(allow_subnormal=False).map(repr),
    st.sampled_from(["", " ", "1_0", "0x1", "1e400", "-", "²", "2020-01-31", "2020-02-31", '"']),
    st.text(max_size=5),
)  # fmt: skip
HEADERS = st.lists(
    st.sampled_from(["date", "a", "b", "sequence", "a", ""]), min_size=0, max_size=4
)  # fmt: skip


@fuzz(120)
@given(header=HEADERS, rows=st.lists(st.lists(VALUES, max_size=4), max_size=6), raw=st.booleans())
def test_a_table_of_any_content_is_read_or_refused(
    tmp_path: Path, header: list[str], rows: list[list[str]], raw: bool
) -> None:
    content = io.StringIO()
    if raw:
        content.write("\n".join(",".join(row) for row in [header, *rows]))
    else:
        csv.writer(content).writerows([header, *rows])
    file = tmp_path / "table.csv"
    file.write_text(content.getvalue(), encoding="utf-8", newline="")
    try:
        values = numbers(read_table([file], ["a"], option=""), "a")
        assert np.isfinite(values).all()
    except InvalidInput as error:
        check_line(error, file)
    try:
        found = tables.read_sequences(file, 1)
        assert found.inputs.ndim == 3
        assert np.isfinite(found.inputs).all()
    except InvalidInput as error:
        check_line(error, file)
