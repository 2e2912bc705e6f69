"""The table of mutations fits the sources: each is one line, and its test is one of `make test`."""

from pathlib import Path

import pytest

from tests.support.mutations import MUTATIONS, ROOT, Mutation

FOLDERS = {"shared", "rnn_jax", "rnn_torch"}


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda one: f"{one.file}: {one.becomes}")
def test_a_mutation_changes_one_line_that_is_there(mutation: Mutation) -> None:
    text = (ROOT / mutation.file).read_text(encoding="utf-8")
    assert text.count(mutation.was) == 1
    assert "\n" not in mutation.was + mutation.becomes
    file, _, name = mutation.noticed_by.partition("::")
    assert f"\ndef {name}(" in (ROOT / file).read_text(encoding="utf-8")


def test_there_are_mutations_in_every_part() -> None:
    assert len(MUTATIONS) >= 40
    assert {Path(mutation.file).parts[0] for mutation in MUTATIONS} == FOLDERS
