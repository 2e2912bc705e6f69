"""Forecasts of a table's series: what a window holds, how rows are split, scaled and left out."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from shared.protocol.dataset import Split
from shared.protocol.windows import Windows
from shared.system.tables import as_table
from shared.tasks import TASKS, forecast, load_task
from shared.tasks.forecast_rows import values
from shared.tasks.forecast_scores import last_values
from shared.tasks.task import Task
from tests.support.forecast_cases import DAYS, Columns, load, options, sales, series, stores

ALL = {
    "target": ("sold", "returned"), "features": ("weather",), "known_ahead": ("price", "store"),
    "calendar": ("weekday", "season"), "group": ("store",), "horizon": 3, "log": ("returned",),
}  # fmt: skip


def parts(task: Task) -> list[Split]:
    assert task.valid is not None
    return [task.train, task.valid, task.test]


def real(task: Task, split: Split, group: np.ndarray) -> np.ndarray:
    """Targets in the data's units, (N, h, O)."""
    last = last_values(series(task), split.inputs)
    return values(series(task), np.asarray(split.targets), last, group)


def by_hand(columns: Columns, start: int, scaled: Columns, difference: bool) -> tuple:
    """A window of 7 rows from a row of the sorted table on, and the three targets after it."""
    rows, ahead = np.arange(start, start + 7), np.arange(start, start + 7) + 3
    days = columns["date"][ahead]
    angle = 2 * np.pi * (days - days.astype("datetime64[Y]")).astype(int) / 366 * 366 / 365.25
    inputs = [
        scaled["sold"][rows], scaled["returned"][rows],
        *(columns["weather"][rows] == name for name in ("rain", "sun", "wind")),
        scaled["price"][ahead],
        *(columns["store"][ahead] == name for name in ("north", "south", "west")),
        *((days.astype(int) + 3) % 7 == day for day in range(7)),
        np.sin(angle), np.cos(angle),
    ]  # fmt: skip
    both = np.stack([scaled["sold"], scaled["returned"]], axis=1)
    goals = both[start + 7 : start + 10] - difference * both[start + 6]
    return np.stack(inputs, axis=1), goals.ravel()


@pytest.mark.parametrize("difference", [False, True])
def test_a_window_holds_its_rows_and_what_is_known_of_the_times_to_predict(
    difference: bool,
) -> None:
    columns = stores()
    task = load(columns, **ALL, difference=difference)
    cut = DAYS[70]  # of 100 different days
    scaled = {name: columns[name].astype(float) for name in ("sold", "returned", "price")}
    scaled["returned"] = np.log1p(scaled["returned"])
    for store in ("north", "south", "west"):
        own = columns["store"] == store
        for numbers in scaled.values():
            known = numbers[own & (columns["date"] < cut)]
            numbers[own] = (numbers[own] - known.mean()) / known.std()
    assert task.signature._asdict() == {
        "input_size": 2 + 3 + 1 + 3 + 7 + 2, "output_size": 6, "tokens": False, "per_step": False,
        "loss": "mse",
    }  # fmt: skip
    begins = {"north": 0, "south": 100, "west": 195}
    ends = {"north": 100, "south": 195, "west": 285}
    for part, low, high in zip(parts(task), (0, 70, 85), (70, 85, 100), strict=True):
        expected = [
            by_hand(columns, start, scaled, difference)
            for store, begin in begins.items()
            for start in range(begin, ends[store] - 9)
            if DAYS[low] <= columns["date"][start + 7]
            and columns["date"][start + 9] <= DAYS[high - 1]
        ]
        assert len(part.inputs) == len(expected)
        for i, (inputs, goals) in enumerate(expected):
            np.testing.assert_allclose(part.inputs[i], inputs, atol=1e-12)
            np.testing.assert_allclose(part.targets[i], goals, atol=1e-12)


@pytest.mark.parametrize("difference", [False, True])
def test_targets_are_the_data_in_their_units_again(difference: bool) -> None:
    columns = stores()
    task = load(columns, **ALL, difference=difference)
    assert task.group is not None
    assert task.times is not None
    row = {key: i for i, key in enumerate(zip(columns["store"], columns["date"], strict=True))}
    names = [*series(task).scales]
    truth = real(task, task.test, task.group)
    for i, (day, group) in enumerate(zip(task.times, task.group, strict=True)):
        at = row[names[group], day.astype("datetime64[D]")]
        expected = np.stack([columns[name][at : at + 3] for name in ("sold", "returned")], axis=1)
        np.testing.assert_allclose(truth[i], expected, rtol=1e-12, atol=1e-12)


def test_rows_in_any_order_and_series_that_are_mixed_make_the_same_task() -> None:
    columns = stores()
    order = np.random.default_rng(1).permutation(len(columns["date"]))
    mixed = {name: column[order] for name, column in columns.items()}
    one, other = load(columns, **ALL), load(mixed, **ALL)
    assert one.fingerprint == other.fingerprint
    assert series(one) == series(other)


def test_only_the_training_part_decides_how_the_rows_are_scaled() -> None:
    columns = stores()
    before = load(columns, **ALL)
    later = columns["date"] >= DAYS[70]
    changed = {name: column.copy() for name, column in columns.items()}
    for name in ("sold", "returned", "price"):
        changed[name][later] *= 7
    after = load(changed, **ALL)
    assert series(after) == series(before)
    np.testing.assert_array_equal(after.train.inputs[:], before.train.inputs[:])
    np.testing.assert_array_equal(after.train.targets[:], before.train.targets[:])
    assert (after.test.targets[:] != before.test.targets[:]).any()


def test_all_parts_read_one_table_without_a_copy() -> None:
    task = load(stores(), **ALL)
    tables = [array for part in parts(task) for array in (part.inputs, part.targets)]
    assert all(isinstance(one, Windows) for one in tables)
    assert all(np.shares_memory(one.rows, task.train.inputs.rows) for one in tables)  # pyright: ignore[reportAttributeAccessIssue]
    assert all(one.starts.dtype == np.int32 for one in tables)  # pyright: ignore[reportAttributeAccessIssue]


def test_without_times_each_row_is_the_next_step() -> None:
    columns = stores()
    dated, plain = (
        load(columns, group=("store",), time=time, split=(0.5, 0.25, 0.25))
        for time in ("date", None)
    )
    np.testing.assert_array_equal(dated.train.inputs.rows.shape, plain.train.inputs.rows.shape)  # pyright: ignore[reportAttributeAccessIssue]
    assert plain.times is not None
    assert series(plain).step is None
    assert plain.times.min() == 76  # the row after 75 of the longest series, counted from 1
    # The parts of a series without times are those of its rows: south has five rows fewer.
    assert len(plain.test.inputs) == 25 + 20 + 15
    assert len(dated.test.inputs) == 3 * 25


def test_a_category_has_its_values_in_the_training_part_and_numbers_can_be_names() -> None:
    columns = sales() | {"shelf": np.tile([10, 9, 2, 1], 25)}
    task = load(columns, features=("shelf", "weather"), categories=("shelf",))
    shelf, weather = series(task).columns[1:]
    assert shelf.values == ["1", "2", "9", "10"]
    assert weather.values == ["rain", "sun", "wind"]
    found = task.train.inputs[0][:, 1:5]
    np.testing.assert_array_equal(found.argmax(axis=1), [3, 2, 1, 0, 3, 2, 1])


def test_a_missing_value_is_read_as_the_one_before_and_never_predicted() -> None:
    columns = sales()
    columns["sold"][[0, 1, 40, 90]] = np.nan
    columns["price"][50] = np.nan
    task = load(columns, features=("price",), missing="previous")
    table = task.train.inputs.rows  # pyright: ignore[reportAttributeAccessIssue]
    np.testing.assert_array_equal(table[40, 0], table[39, 0])
    np.testing.assert_array_equal(table[50, 1], table[49, 1])
    assert np.isnan(table[:2, 0]).all()
    targets = np.concatenate([part.targets.starts for part in parts(task)])  # pyright: ignore[reportAttributeAccessIssue]
    expected = [row for row in range(9, 100) if row not in (40, 90)]
    np.testing.assert_array_equal(targets, expected)
    assert all(np.isfinite(part.inputs[:]).all() for part in parts(task))


def test_windows_with_a_missing_value_are_left_out() -> None:
    columns = sales()
    columns["sold"][40] = np.nan
    columns["price"][90] = np.nan
    task = load(columns, features=("price",), missing="skip")
    targets = np.concatenate([part.targets.starts for part in parts(task)])  # pyright: ignore[reportAttributeAccessIssue]
    # The row itself, and the seven whose window would have it.
    expected = [r for r in range(7, 100) if not 40 <= r <= 47 and not 91 <= r <= 97]
    np.testing.assert_array_equal(targets, expected)


def test_a_category_may_be_missing() -> None:
    columns = sales()
    weather = columns.pop("weather").astype(object)
    weather[40] = None
    found = load(columns | {"weather": weather}, features=("weather",), missing="previous")
    table = found.train.inputs.rows  # pyright: ignore[reportAttributeAccessIssue]
    np.testing.assert_array_equal(table[40, 1:], table[39, 1:])
    skipped = load(columns | {"weather": weather}, features=("weather",), missing="skip")
    assert len(found.train.inputs) - len(skipped.train.inputs) == 7


def test_no_window_reaches_over_a_jump() -> None:
    columns = {name: np.delete(column, [60, 61]) for name, column in sales().items()}
    split = load(columns, gaps="split", horizon=2)
    ignored = load(columns, gaps="ignore", horizon=2)
    starts = split.train.inputs.starts  # pyright: ignore[reportAttributeAccessIssue]
    np.testing.assert_array_equal(starts, [r for r in range(61) if not 51 < r < 60])
    assert len(ignored.train.inputs) == len(starts) + 8
    assert series(ignored).step == series(split).step == "1d"


def test_the_naive_error_is_that_of_the_season_before_in_training() -> None:
    columns = stores()
    plain = load(columns, group=("store",), target=("sold", "returned"), log=("returned",))
    weekly = load(columns, group=("store",), target=("sold", "returned"), season=7)
    for task, lag in ((plain, 1), (weekly, 7)):
        for store, found in series(task).naive.items():
            own = (columns["store"] == store) & (columns["date"] < DAYS[70])
            expected = [
                np.abs(columns[name][own][lag:] - columns[name][own][:-lag]).mean()
                for name in ("sold", "returned")
            ]
            np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("difference", [False, True])
@pytest.mark.parametrize(("season", "horizon"), [(7, 3), (14, 3), (2, 5)])
def test_the_baselines_are_those_that_their_names_say(
    season: int, horizon: int, difference: bool
) -> None:
    """A season may be longer than the window, and shorter than the horizon."""
    columns = sales()
    task = load(columns, season=season, horizon=horizon, difference=difference)
    found = {baseline.name: baseline.scores for baseline in task.baselines()}
    assert [*found] == ["last value", "seasonal last value", "AR(7)"]
    sold = columns["sold"]
    origins = np.arange(85, 100 - horizon + 1)
    truth = np.stack([sold[o : o + horizon] for o in origins])
    last = np.repeat(sold[origins - 1][:, None], horizon, axis=1)
    seasonal = np.stack(
        [[sold[max(r for r in range(o) if (o + k - r) % season == 0)] for k in range(horizon)]
         for o in origins]
    )  # fmt: skip
    training = np.arange(7, 70 - horizon + 1)
    past = [
        np.column_stack([np.ones(len(rows)), *(sold[rows - lag] for lag in range(7, 0, -1))])
        for rows in (training, origins)
    ]
    goals = np.stack([sold[o : o + horizon] for o in training])
    linear = past[1] @ np.linalg.lstsq(past[0], goals)[0]
    for name, predicted in (
        ("last value", last), ("seasonal last value", seasonal), ("AR(7)", linear)
    ):  # fmt: skip
        off = predicted - truth
        assert found[name]["rmse"] == pytest.approx(np.sqrt(np.square(off).mean()), rel=1e-4)
        assert found[name]["mae_units"] == pytest.approx(np.abs(off).mean(), rel=1e-4)
        assert found[name][f"rmse_{horizon}"] == pytest.approx(
            np.sqrt(np.square(off[:, -1]).mean()), rel=1e-4
        )
        scale = series(task).scales[""][0].std
        assert found[name]["loss"] == pytest.approx(np.square(off / scale).mean(), rel=1e-4)


def test_a_season_that_is_not_in_the_table_is_the_last_value() -> None:
    """The jump leaves too few rows before the test part's first forecasts."""
    columns = {name: np.delete(column, np.arange(72, 76)) for name, column in sales().items()}
    task = load(columns, season=14, window=3, gaps="split", split=(0.7, 0.1, 0.2))
    last, seasonal, _ = task.baselines()
    sold = columns["sold"]
    rows = task.test.targets.starts  # pyright: ignore[reportAttributeAccessIssue]
    predicted = np.array([sold[r - 14] if r - 14 >= 72 else sold[r - 1] for r in rows])
    assert (rows - 14 < 72).any()
    expected = np.sqrt(np.square(predicted - sold[rows]).mean())
    assert seasonal.scores["rmse"] == pytest.approx(expected, rel=1e-12)
    assert seasonal.scores["rmse"] != last.scores["rmse"]


def test_autoregressions_say_what_they_read() -> None:
    task = load(sales(), features=("price",), calendar=("weekday",))
    names = [baseline.name for baseline in task.baselines()]
    assert names == ["last value", "AR(7) of itself", "AR(7) with calendar", "AR(7) with features"]


def test_what_is_known_ahead_is_worth_something_to_the_autoregression() -> None:
    """The price of the day to predict explains most of the sales."""
    found = load(sales(), known_ahead=("price",), season=7).baselines()
    scores = {baseline.name: baseline.scores["rmse"] for baseline in found}
    assert scores["AR(7) with features"] < 0.7 * scores["AR(7) of itself"]


def test_files_are_read_one_after_the_other(tmp_path) -> None:
    columns = pl.DataFrame(stores())
    columns[:100].write_csv(tmp_path / "a.csv")
    columns[100:].write_csv(tmp_path / "b.csv")
    data = options(group=("store",), path=(str(tmp_path / "a.csv"), str(tmp_path / "b.csv")))
    task = load_task(replace(TASKS["forecast"].defaults, data=data))
    assert task.source == f"{tmp_path / 'a.csv'} and 1 more"
    assert task.fingerprint == load(stores(), group=("store",)).fingerprint


def test_series_are_named_by_several_columns_and_numbers_are_in_order() -> None:
    columns = stores() | {"number": np.repeat([10, 9, 9], [100, 95, 90])}
    task = load(columns, group=("number", "store"))
    assert [*series(task).scales] == ["9 / south", "9 / west", "10 / north"]
    assert series(task).groups == ["number", "store"]
    assert task.group is not None
    np.testing.assert_array_equal(np.bincount(task.group), [15, 15, 15])


def test_the_size_of_a_piece_changes_nothing(monkeypatch) -> None:
    columns = {name: np.delete(column, [60, 61]) for name, column in stores().items()}
    whole = load(columns, group=("store",), gaps="split")
    monkeypatch.setattr("shared.tasks.forecast_times.PIECE", 7)
    pieces = load(columns, group=("store",), gaps="split")
    assert series(whole) == series(pieces)
    assert whole.fingerprint == pieces.fingerprint


def test_an_autoregression_on_too_many_numbers_is_left_out(monkeypatch) -> None:
    monkeypatch.setattr("shared.tasks.regression.LARGEST", 13)
    names = [baseline.name for baseline in load(sales(), features=("price",)).baselines()]
    assert names == ["last value", "AR(7) of itself"]


def test_a_table_in_memory_stays_as_it_is() -> None:
    frame = pl.DataFrame(stores())
    before = frame.clone()
    table = as_table(frame)
    config = replace(TASKS["forecast"].defaults, data=options(group=("store",)))
    forecast.from_table(config, table)
    assert frame.equals(before)
    assert table.frame.equals(before)
