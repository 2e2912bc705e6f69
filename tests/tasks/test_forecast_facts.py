"""What a forecast's task tells of its data, and the least value of a forecast."""

from dataclasses import replace

import numpy as np
import pytest

from shared.tasks.forecast_rows import values
from shared.tasks.forecast_scores import score
from shared.tasks.parts import TESTED, UNTESTED
from shared.tasks.task import Task
from tests.support.forecast_cases import Columns, load, sales, series, stores


def test_the_facts_about_the_data_are_told() -> None:
    assert load(stores(), group=("store",)).about == {
        "rows": "285", "groups": "3", TESTED: "3 of 3", "from": "2024-01-01", "to": "2024-04-09",
        "step": "1d", "training": "2024-01-01 to 2024-03-10, 174 forecasts",
        "validation": "2024-03-11 to 2024-03-25, 45 forecasts",
        "test": "2024-03-26 to 2024-04-09, 45 forecasts",
    }  # fmt: skip


def ending_early(count: int) -> Task:
    """Of six series, as many end before the test part."""
    days = np.arange("2024-01-01", "2024-04-10", dtype="datetime64[D]")
    own: list[Columns] = [sales(days[: 80 if i < count else 100], seed=i) for i in range(6)]
    columns = {name: np.concatenate([one[name] for one in own]) for name in own[0]}
    named = np.repeat([f"shop\n{i}" for i in range(6)], [len(one["date"]) for one in own])
    return load(columns | {"shop": named}, group=("shop",))


@pytest.mark.parametrize(
    ("count", "tested", "untested"),
    [
        (0, "6 of 6", None),
        (2, "4 of 6", r"shop\n0, shop\n1"),
        (3, "3 of 6", r"shop\n0, shop\n1, shop\n2"),
        (5, "1 of 6", r"shop\n0, shop\n1, shop\n2 and 2 more"),
    ],
)
def test_series_without_a_test_forecast_are_told(
    count: int, tested: str, untested: str | None
) -> None:
    about = ending_early(count).about
    assert about[TESTED] == tested
    assert about.get(UNTESTED) == untested


def test_a_single_series_has_no_groups_to_tell_of() -> None:
    assert {TESTED, UNTESTED}.isdisjoint(load(sales()).about)


@pytest.mark.parametrize("difference", [False, True])
def test_a_forecast_of_a_logarithm_is_not_below_zero(difference: bool) -> None:
    columns = sales()
    columns["sold"] = np.abs(columns["sold"] - 45)
    rules = series(load(columns, log=("sold",), horizon=2, difference=difference))
    scale = rules.scales[""][0]
    last, none = np.array([[0.3]]), np.zeros(1, int)
    outputs = np.array([[-9.0, 0.5]])
    found = values(rules, outputs, last, none)[0, :, 0]
    scaled = outputs[0, 1] + 0.3 * difference
    expected = max(0.0, np.exp(scaled * scale.std + scale.mean) - 1)
    assert found.tolist() == [0.0, pytest.approx(expected, rel=1e-12)]
    scores = score(rules, outputs, np.array([[-8.0, 0.5]]), last, none)
    assert scores["rmse"] == 0.0, "scored otherwise than it is shown"
    plain = replace(rules, columns=[replace(rules.columns[0], log=False)])
    assert values(plain, outputs, last, none)[0, 0, 0] < 0
