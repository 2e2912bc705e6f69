"""The benchmark of a large table measures reading and the first step, on a table that fits."""

import re
import tempfile
from pathlib import Path

import numpy as np
import pytest

from benchmarks import large_table
from benchmarks.run import ContenderFailed
from shared.system import tables


def test_the_table_has_a_row_for_each_time_of_each_group(tmp_path: Path) -> None:
    large_table.make(tmp_path / "table.csv", 3000, 3)
    table = tables.read_table([tmp_path / "table.csv"])
    names, codes = tables.categories(table, "group")
    assert names == ["series 0", "series 1", "series 2"]
    minutes = tables.times(table, "time").astype("datetime64[m]").astype(np.int64)
    for group in range(3):
        own = codes == group
        assert own.sum() == 1000
        np.testing.assert_array_equal(np.diff(minutes[own]), 1)
        a, target = (tables.numbers(table, name)[own] for name in ("a", "target"))
        assert np.corrcoef(a[:-60], target[60:])[0, 1] > 0.7


def test_a_process_that_fails_is_named(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("time,a,b,target\n")
    message = r"load_task: exit code 1: .*InvalidInput: .*table\.csv: expected .* only the names$"
    with pytest.raises(ContenderFailed, match=message):
        large_table.measured_load(tmp_path / "table.csv", 1, tmp_path)


@pytest.mark.slow
def test_a_small_table_is_measured_in_both_frameworks_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    title, _, _, _, *lines = large_table.measure(20_000, 2).splitlines()
    assert re.fullmatch(r"20000 rows, \d MB:", title)
    assert [line.split(" | ")[0] for line in lines] == [
        "| load_task", "| first step, jax", "| first step, torch",
    ]  # fmt: skip
    for line in lines:
        seconds, cpu, peak, _ = map(float, line.strip("| ").split(" | ")[1:])
        assert min(seconds, cpu, peak) > 0
    assert not [*tmp_path.iterdir()]
