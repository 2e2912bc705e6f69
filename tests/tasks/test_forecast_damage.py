"""Damaged tables: each makes a task whose every number is right, or is refused in one line."""

from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import InvalidInput
from shared.tasks.forecast_rows import values
from shared.tasks.forecast_scores import last_values
from shared.tasks.task import Task
from tests.support.forecast_cases import DAYS, Columns, load, sales, series, stores
from tests.support.fuzz import fuzz


class Damage(NamedTuple):
    """A change of `length` rows of a column from a share of its length on."""

    kind: str
    column: str
    at: float
    length: int
    value: Any

    def of(self, columns: Columns) -> Columns:
        rows = len(columns["date"])
        if rows == 0:
            return columns
        where = slice(int(self.at * rows), int(self.at * rows) + self.length)
        if self.kind == "remove":
            return {name: np.delete(column, where) for name, column in columns.items()}
        if self.kind == "repeat":
            return {n: np.concatenate([column, column[where]]) for n, column in columns.items()}
        if self.kind == "keep":
            return {name: column[where] for name, column in columns.items()}
        if self.kind == "shuffle":
            order = np.random.default_rng(self.length).permutation(rows)
            return {name: column[order] for name, column in columns.items()}
        column = columns[self.column].astype(object)
        column[where] = column[0] if self.kind == "constant" else self.value
        return columns | {self.column: np.array(column.tolist(), object)}


DAMAGES = st.builds(
    Damage,
    st.sampled_from(["remove", "repeat", "keep", "shuffle", "constant", "set", "set", "set"]),
    st.sampled_from(["date", "sold", "returned", "price", "weather"]),
    st.floats(0, 0.999, allow_subnormal=False),
    st.integers(1, 40) | st.just(400),
    st.sampled_from(
        [None, float("nan"), float("inf"), -1.0, 0.0, 3, 1e-300, 1e200, -1e100, "", "n/a", "7",
         True, DAYS[3].item(), DAYS[50].item()]
    ),
)  # fmt: skip
OPTIONS = st.fixed_dictionaries(
    {
        "window": st.integers(1, 12), "horizon": st.integers(1, 4), "difference": st.booleans(),
        "missing": st.sampled_from(["refuse", "previous", "skip"]),
        "gaps": st.sampled_from(["refuse", "split", "ignore"]),
        "time": st.sampled_from(["date", "date", "date", None]),
        "target": st.sampled_from([("sold",), ("sold", "returned")]),
        "features": st.sampled_from([(), ("weather",)]),
        "known_ahead": st.sampled_from([(), ("price",)]),
        "log": st.sampled_from([(), ("sold",)]),
        "season": st.sampled_from([None, 1, 7, 30]),
        "calendar": st.sampled_from([(), (), ("weekday",), ("hour", "season"), ("month",)]),
    }
)  # fmt: skip


@pytest.mark.slow
@fuzz(300)
@given(grouped=st.booleans(), damages=st.lists(DAMAGES, min_size=1, max_size=3), chosen=OPTIONS)
def test_a_damaged_table_is_read_rightly_or_refused(
    grouped: bool, damages: list[Damage], chosen: dict[str, Any]
) -> None:
    columns = stores() if grouped else sales()
    for damage in damages:
        columns = damage.of(columns)
    if chosen["time"] is None:
        chosen = chosen | {"calendar": ()}
    try:
        task = load(columns, group=("store",) if grouped else (), **chosen)
    except InvalidInput as error:
        assert len(str(error).splitlines()) == 1  # noqa: PT017
        return
    assert task.valid is not None
    for part in (task.train, task.valid, task.test):
        assert len(part.inputs) > 0
        assert np.isfinite(part.inputs[:]).all()
        assert np.isfinite(part.targets[:]).all()
    for baseline in task.baselines():
        assert np.isfinite([*baseline.scores.values()]).all(), baseline
    if chosen["time"] is not None:
        _check_truth(columns, task)


def _check_truth(columns: Columns, task: Task) -> None:
    """Compares the first value of each forecast of the test part with that of its day."""
    assert task.group is not None
    assert task.times is not None
    last = last_values(series(task), task.test.inputs)
    truth = values(series(task), np.asarray(task.test.targets), last, task.group)[:, 0, 0]
    stores_of = columns.get("store", np.full(len(columns["date"]), ""))
    days = columns["date"].astype("datetime64[D]")
    known = dict(zip(zip(stores_of, days, strict=True), columns["sold"], strict=True))
    names = [*series(task).scales]
    for value, group, time in zip(truth, task.group, task.times, strict=True):
        expected = float(known[names[group], time.astype("datetime64[D]")])
        scale = series(task).scales[names[group]][0].std
        assert value == pytest.approx(expected, rel=1e-9, abs=1e-9 * max(scale, 1.0))
