"""Statistics of the benchmark: its ratios, floors and targets follow from its samples."""

from dataclasses import replace
from statistics import median

import pytest

from benchmarks import programs, report, results, run
from benchmarks.cases import HELLO, PRODUCT, SEEDS, Case, seeds
from benchmarks.programs import Program
from benchmarks.results import Results, Steps
from benchmarks.targets import targets
from tests.support.made_up_results import FAST, made_up, sample


def verdicts(found: Results) -> list[bool | None]:
    return [target.default.met for target in targets(found)]


def test_a_round_counts_by_its_median_and_a_ratio_within_its_round() -> None:
    found = made_up(FAST)
    steps, case = Steps(found), Case(cell="lstm")
    assert steps.rounds("rnn_jax", case) == {1: 2.0, 2: 4.0, 3: 2.0}
    assert steps.ms("rnn_jax", case) == 2.0
    assert steps.best(("keras", "flax.nnx", "torch.nn"), case) == "flax.nnx"
    assert steps.ratio("flax.nnx", "rnn_jax", case) == 2.0
    assert steps.ratio("flax.nnx", "rnn_jax", case, "tuned") is None
    assert results.ratios({1: 6.0, 2: 9.0, 4: 1.0}, {1: 2.0, 2: 1.0, 3: 5.0}) == [3.0, 9.0]


def test_seeds_together_stand_beside_one_alone() -> None:
    found = made_up(FAST)
    alone = [case for case in seeds(("gru",)) if case.seeds == 1]
    assert len(alone) == 15
    for case in alone:
        together = replace(case, seeds=SEEDS)
        assert together.flops == case.flops
        assert run.takes_part("rnn_jax", together, ["rnn_jax", "torch.nn"])
        assert not run.takes_part("torch.nn", case, ["rnn_jax", "torch.nn"])
        found.samples += [sample("rnn_jax", case, 1, 6.0), sample("rnn_jax", together, 1, 4.0)]
    page = report.markdown(found)
    rows = [line for line in page.splitlines() if line.endswith("| 6 | 4 | **1.50** |")]
    assert len(rows) == 15
    assert rows[0].startswith("| GRU, H = 8, B = 1, T = 5 | 0.0106 |")
    assert "## Several seeds" not in report.markdown(made_up(FAST))


def test_the_floor_is_at_the_quickest_product() -> None:
    found = made_up(FAST)
    assert Steps(found).floor_ms(Case()) is None
    case = Case("product", hidden_size=PRODUCT)
    found.samples += [sample("rnn_jax", case, 1, 100.0, 50.0), sample("rnn_torch", case, 1, 80.0)]
    steps = Steps(found)
    assert steps.product_gflops == pytest.approx(2 * PRODUCT**3 / 50e-3 / 1e9)
    floor = steps.floor_ms(Case(cell="gru"))
    assert floor == pytest.approx(50 * Case(cell="gru").flops / (2 * PRODUCT**3))


def test_targets_are_met_where_every_size_meets_them() -> None:
    assert verdicts(made_up(FAST)) == [True, True, True, True, True, None, None, None, None, None]
    assert all(t.tuned is None or t.tuned.met is None for t in targets(made_up(FAST)))


def test_one_slow_size_breaks_a_target_and_is_named() -> None:
    found = made_up(FAST)
    slow = Case(cell="gru", hidden_size=512)
    found.samples = [
        replace(s, ms=[4 * ms for ms in s.ms])
        if s.case == slow and s.contender in ("rnn_jax", "rnn_torch")
        else s
        for s in found.samples
    ]
    assert verdicts(found)[:5] == [False, True, False, False, True]
    detail = targets(found)[0].default.detail
    assert detail == "at 14 of 15 sizes, the least is 0.50 × (gru, H=512)"


def test_what_was_not_measured_is_not_called_met() -> None:
    assert verdicts(made_up(FAST, hidden=(64,)))[:5] == [None] * 5
    slow = FAST | {"rnn_jax": 8.0}
    assert verdicts(made_up(slow, hidden=(64,)))[:5] == [False, None, False, None, None]
    without = {name: ms for name, ms in FAST.items() if name != "keras"}  # not the best peer, but
    assert verdicts(made_up(without))[:2] == [None, None]  # who knows
    assert verdicts(Results("", 1, "", "", {})) == [None] * 10


def test_targets_of_whole_programs() -> None:
    found = made_up(FAST)
    found.samples += [sample("rnn_jax", HELLO, 1, 0.019), sample("rnn_torch", HELLO, 1, 0.5)]
    walls = {
        programs.COLD: 3.9, programs.WARM: 3.1, programs.HELP: 0.2,
        programs.OURS: 20.0, programs.AGAIN: 10.0, programs.TUTORIAL: 29.0,
    }  # fmt: skip
    found.programs += [Program(name, 1, wall, wall, 300.0) for name, wall in walls.items()]
    assert verdicts(found)[5:] == [True, False, True, False, True]
    found.programs += [Program(programs.OURS, 2, 6.0, 6.0, 300.0)]
    found.programs += [Program(programs.AGAIN, 2, 5.0, 5.0, 300.0)]
    found.programs += [Program(programs.TUTORIAL, 2, 30.0, 30.0, 300.0)]
    job = targets(found)[6].default
    assert job.met is True
    assert job.detail.startswith(f"{median((2.9, 6)):.2f} ×")
