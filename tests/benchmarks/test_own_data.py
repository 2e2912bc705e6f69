"""What docs/your-own-data.md shows of real data sets is what was measured."""

import json
import re

import pytest

from benchmarks import own_data

PAGE = own_data.PAGE.read_text()
RESULTS = json.loads(own_data.RESULTS.read_text())


def test_the_table_is_that_of_the_results() -> None:
    between = PAGE.partition(own_data.BEGIN)[2].partition(own_data.END)[0]
    assert between.strip() == own_data.table(RESULTS).strip()
    assert [*RESULTS] == [*own_data.COMMANDS]


@pytest.mark.parametrize("name", own_data.COMMANDS)
def test_the_page_shows_the_options_of_each_data_set(name: str) -> None:
    flat = re.sub(r"\s+", " ", PAGE)
    shown = re.search(rf"\b{name} (--task .*?)(?= \w+ --task|```)", flat)
    assert shown is not None
    listed = [sorted(text.split()) for text in (shown[1], own_data.COMMANDS[name])]
    assert listed[0] == listed[1]
    assert RESULTS[name]["options"] == own_data.COMMANDS[name]


def test_at_least_six_data_sets_are_ahead_with_every_seed_in_both_frameworks() -> None:
    won = [
        name
        for name, found in RESULTS.items()
        if all(own_data.ahead(found, backend) == 3 for backend in ("jax", "torch"))
    ]
    assert len(won) >= 6, won
