"""The benchmark of several processes: the model's arithmetic, its tables, and what is measured."""

import math
import re
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks import scaling, scaling_model, scaling_steps
from benchmarks.run import ContenderFailed
from benchmarks.scaling_model import LINKS, Link
from benchmarks.scaling_sizes import SIZES, Framework
from benchmarks.scaling_steps import WORKERS, Measured
from shared.errors import InvalidInput
from shared.protocol.row_parts import part_of_rows
from shared.system.team import ALONE, Team
from tests.support.teams import in_threads

TEXT = SIZES["text"]


def made_up(processes: int, step_ms: float, number: int = 1) -> Measured:
    several = processes > 1
    return Measured(
        "jax",
        "text",
        processes,
        processes,
        "cpu",
        number,
        step_ms,
        step_ms * (0.8 if several else 1),
        step_ms * (0.1 if several else 0),
        TEXT.reduced_bytes,
        {} if several else {"32": 40.0, "4": 10.0, "1": 5.0},
    )


FOUND = [
    one
    for number, slower in ((1, 1.0), (2, 3.0), (3, 2.0))
    for one in (made_up(1, 40 * slower, number), made_up(2, 60 * slower + number, number))
]


def results(found: list[Measured]) -> scaling.Results:
    return scaling.Results(
        "a machine", 2, "2026-12-01", "command", {"jax": "1"}, [0.5], {}, [*LINKS], found
    )


def test_a_ring_sends_almost_twice_the_buffer_and_waits_for_each_message() -> None:
    link = Link("made up", 1e6, 1e-3)
    assert scaling_model.all_reduce_s(1e6, 1, link) == 0
    assert scaling_model.all_reduce_s(1e6, 2, link) == pytest.approx(1 + 2e-3)
    assert scaling_model.all_reduce_s(1e6, 4, link) == pytest.approx(1.5 + 6e-3)
    assert scaling_model.all_reduce_s(1e6, 512, link) == pytest.approx(2 * 511 / 512 + 1022e-3)


def test_a_ring_is_as_long_as_if_each_message_is_counted() -> None:
    link, sent, workers = LINKS[0], 1_589_676, 8
    messages = [sent / workers for _ in ("scatter", "gather") for _ in range(workers - 1)]
    expected = sum(link.latency + part / link.bandwidth for part in messages)
    assert scaling_model.all_reduce_s(sent, workers, link) == pytest.approx(expected)


def test_efficiency_and_speed_follow_from_the_steps_that_were_measured() -> None:
    link = Link("made up", TEXT.reduced_bytes / 0.04, 0.0)  # the buffer takes a step of 40 ms
    one = made_up(1, 40)
    assert scaling_model.weak(one, 8, link) == pytest.approx(1 / (1 + 2 * 7 / 8))
    # 8 workers have 4 rows each, 64 one or none.
    assert scaling_model.strong(one, 8, link) == pytest.approx(40 / (10 + 70))
    assert scaling_model.strong(one, 64, link) == pytest.approx(40 / (5 + 80 * 63 / 64))


def test_links_have_the_units_that_their_names_say() -> None:
    for link in LINKS:
        amount, unit, latency = re.fullmatch(r"(\d+) (GB|Gb)/s, (\d+) µs", link.name).groups()  # type: ignore[union-attr]
        assert link.bandwidth == int(amount) * 1e9 / (8 if unit == "Gb" else 1)
        assert link.latency == pytest.approx(int(latency) * 1e-6)


def test_the_bytes_are_those_of_gradients_and_three_numbers() -> None:
    hidden, tokens = 256, 104
    recurrent = 4 * hidden * (tokens + hidden + 2)
    assert TEXT.reduced_bytes == 4 * (recurrent + tokens * (hidden + 1) + 3)
    for size in SIZES.values():
        assert size.reduced_bytes == 4 * (3 + sum(map(math.prod, size.shapes.values())))


@pytest.mark.parametrize("parts", [2, 3, 5])
@pytest.mark.parametrize("name", SIZES)
def test_the_parts_of_a_batch_are_its_rows_each_once(name: str, parts: int) -> None:
    size = replace(SIZES[name], batch_size=7, length=3, steps=2)
    whole = size.batches(np.arange(7))
    assert whole.inputs.shape[:3] == (2, 7, 3)
    own = [size.batches(part_of_rows(7, part, parts)) for part in range(parts)]
    for field in ("inputs", "targets", "weights"):
        together = np.concatenate([getattr(batch, field) for batch in own], axis=1)
        np.testing.assert_array_equal(together[:, :7], getattr(whole, field))
    weights = np.concatenate([batch.weights for batch in own], axis=1)
    assert weights.sum() == whole.weights.sum() == whole.weights.size


def test_ratios_are_of_the_same_round_and_shares_of_the_same_step() -> None:
    *_, one, two = scaling_model.steps_table(FOUND).splitlines()
    cells = [line.strip("| ").split(" | ") for line in (one, two)]
    assert cells[0][2:5] == ["1", "1", "80 (40–120)"]
    # The ratios are 61 / 40, 182 / 120 and 123 / 80; the quotient of the medians is 1.54.
    assert cells[1][:6] == ["text", "jax", "2", "2", "123 (61–182)", "1.52"]
    assert cells[1][6:] == ["1.0", "1590", "12.3 (6.1–18.2)", "10%", "5%", "20%"]


def test_the_model_takes_the_median_over_rounds_of_a_single_process() -> None:
    slow = replace(FOUND[0], round=2, rows_ms={"32": 60.0, "4": 30.0, "1": 25.0})
    found = [FOUND[0], slow, replace(slow, round=3), made_up(2, 50)]
    (one,) = scaling_model.typical(found)
    assert one.rows_ms == slow.rows_ms
    table = scaling_model.model_table(found)
    assert len(table.splitlines()) == 2 + len(LINKS)
    for link in LINKS:
        weak = " / ".join(f"{scaling_model.weak(slow, p, link):.0%}" for p in WORKERS)
        assert f"| text | jax | {link.name} |" in table
        assert weak in table


def test_results_are_read_as_they_were_written_and_stand_on_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scaling, "RESULTS", tmp_path / "scaling.json")
    monkeypatch.setattr(scaling, "PAGE", tmp_path / "machines.md")
    scaling.PAGE.write_text(f"before\n{scaling.BEGIN}old\n{scaling.END}after\n")
    scaling.write(results(FOUND))
    scaling.write(results(FOUND))
    shown = scaling.PAGE.read_text()
    assert scaling.read(scaling.RESULTS).measured == FOUND
    assert shown.startswith(f"before\n{scaling.BEGIN}")
    assert shown.endswith(f"{scaling.END}after\n")
    assert "old" not in shown
    assert scaling.page(results(FOUND)) in shown
    assert scaling.page(scaling.read(scaling.RESULTS)) == scaling.page(results(FOUND))


@pytest.mark.parametrize("text", ["", scaling.BEGIN, f"{scaling.END}{scaling.BEGIN}"])
def test_a_page_without_a_place_for_the_tables_is_refused_and_stays(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scaling, "PAGE", tmp_path / "machines.md")
    scaling.PAGE.write_text(text)
    message = r"^machines\.md: expected the lines <!-- .* --> and .*, got a page without them; .*"
    with pytest.raises(InvalidInput, match=message):
        scaling.render(results(FOUND))
    assert scaling.PAGE.read_text() == text


@pytest.mark.slow
def test_processes_that_fail_are_named_with_their_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    plan = scaling.Plan(("small",), device="gpu")
    message = r"^torch, 1 process: exit code 2: scaling\.py: --device gpu: .* only: cpu$"
    with pytest.raises(ContenderFailed, match=message):
        scaling.started("torch", 1, plan, 1, tmp_path)


@pytest.mark.slow
def test_one_process_has_nothing_to_send() -> None:
    found = scaling_steps.measure(ALONE, "torch", "small", "cpu", 0.01)
    assert (found.processes, found.devices, found.reduce_ms) == (1, 1, 0)
    assert found.step_ms == found.alone_ms == found.rows_ms["64"] > 0
    assert [*found.rows_ms] == ["1", "8", "64"]


def test_of_all_processes_the_slowest_counts_and_of_all_samples_the_median() -> None:
    def in_process(team: Team) -> list[float]:
        spans = iter([0.001, 0.001, 0.03, 0.001, 0.03] if team.first else [0.001] * 5)
        return scaling_steps._clocked(team, [lambda: time.sleep(next(spans))], 0.0)

    found = in_threads(2, in_process)
    assert found[0] == found[1]
    assert 30 <= found[0][0] < 1000


@pytest.mark.slow
@pytest.mark.parametrize("framework", scaling.FRAMEWORKS)
def test_two_processes_measure_a_step_with_and_without_what_they_send(
    framework: Framework, tmp_path: Path
) -> None:
    plan = scaling.Plan(("small",), seconds=0.05)
    (found,) = scaling.started(framework, 2, plan, 1, tmp_path)
    assert (found.framework, found.size, found.processes, found.round) == (
        framework, "small", 2, 1,
    )  # fmt: skip
    assert found.devices >= 2
    assert min(found.step_ms, found.alone_ms, found.reduce_ms) > 0
    assert not found.rows_ms
