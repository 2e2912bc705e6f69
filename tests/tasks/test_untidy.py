"""A column of numbers in which some text stands is no category, unless that is said."""

import re
from typing import Any

import numpy as np
import pytest

from shared.errors import InvalidInput
from shared.tasks.task import Column
from tests.support.forecast_cases import Columns, load, sales, series


def with_price(change: Any) -> Columns:
    columns = sales()
    columns["price"] = np.array([change(i, f"{x:g}") for i, x in enumerate(columns["price"])])
    return columns


UNTIDY = {
    "a mark": (lambda i, x: "n/a" if i == 40 else x, "row 41", "'n/a'"),
    "decimal commas": (lambda i, x: f"{x},5" if i % 2 else x, "row 2", ".*"),
}


@pytest.mark.parametrize("case", UNTIDY)
@pytest.mark.parametrize("role", ["features", "known_ahead"])
def test_text_among_numbers_is_named_by_its_row(case: str, role: str) -> None:
    change, row, got = UNTIDY[case]
    message = f"the table, {row}: expected a number in column price, got {got}"
    with pytest.raises(InvalidInput, match=f"^{message}.*; --data.categories price reads names$"):
        load(with_price(change), **{role: ("price",)})


def test_the_same_is_a_category_where_that_is_said() -> None:
    columns = with_price(UNTIDY["a mark"][0])
    task = load(columns, features=("price",), categories=("price",))
    price: Column = series(task).columns[1]
    assert price.kind == "category"
    assert re.search("n/a", " ".join(price.values))
