"""Runs that the tests of prediction share, made once; who changes one copies it first."""

from pathlib import Path

import pytest

from shared.config.data import HelloData, TextData, VowelsData
from shared.tasks.task import Task
from tests.support.inference_cases import SERIES, TEXT, made


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="session")
def text(folder: Path) -> tuple[Path, Task]:
    path = folder / "text.txt"
    path.write_text(TEXT * 20, encoding="utf-8")
    return made(folder / "text", TextData(str(path)), batch_size=2, bptt=20)


@pytest.fixture(scope="session")
def words(folder: Path) -> tuple[Path, Task]:
    path = folder / "words.txt"
    path.write_text(TEXT * 20, encoding="utf-8")
    data = TextData(str(path), unit="word", split=(0.6, 0.2, 0.2))
    return made(folder / "words", data, batch_size=2, bptt=9)


@pytest.fixture(scope="session")
def hello(folder: Path) -> tuple[Path, Task]:
    return made(folder / "hello", HelloData())


@pytest.fixture(scope="session")
def runs(folder: Path) -> dict[str, tuple[Path, Task]]:
    found = {name: made(folder / name.replace(" ", "-"), data) for name, data in SERIES.items()}
    return found | {"vowels": made(folder / "vowels", VowelsData())}
