"""In these tests every annotation, shapes included, is checked at each call."""

from collections.abc import Iterator

import pytest

from tests.support import annotations


@pytest.fixture(autouse=True)
def checked() -> Iterator[None]:
    annotations.checked(True)
    yield
    annotations.checked(False)
