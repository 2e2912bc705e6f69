"""The benchmark measures what was asked for, and computes what it says from its samples.

Nothing here looks at a time that was measured.
"""

import json
import re
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from itertools import product
from pathlib import Path
from statistics import median

import numpy as np
import pytest

from benchmarks import programs, report, results, run
from benchmarks.cases import (
    CELLS,
    HELLO,
    HIDDEN,
    PRODUCT,
    SEEDS,
    Case,
    examples,
    scaling,
    seeds,
    table,
)
from benchmarks.programs import Program
from benchmarks.results import Allocator, Preparation, Results, Round, Sample, Steps
from benchmarks.targets import targets
from shared.errors import InvalidInput
from tests.support.command_line import SCRIPTS, check_refused, script

TINY = Case(hidden_size=4, batch_size=3, length=5)


# Cases --------------------------------------------------------------------------------------------


def test_the_floor_counts_the_products_of_a_step() -> None:
    """2·B·T·G·H·(2I + 3H), above the first layer 3I, summed over layers and directions; forward
    only 2·B·T·G·H·(I + H)."""
    assert Case("train", "lstm", 128).flops == 2 * 64 * 100 * 4 * 128 * (2 * 10 + 3 * 128)
    assert Case("forward", "gru", 8).flops == 2 * 64 * 100 * 3 * 8 * (10 + 8)
    two = Case("train", "rnn", 32, batch_size=2, length=3, num_layers=2, bidirectional=True)
    first, second = 2 * 10 + 3 * 32, 3 * (64 + 32)
    assert two.flops == 2 * 2 * 3 * 2 * 32 * (first + second)


def test_a_plan_has_every_case_once() -> None:
    cases = run.Plan().cases()
    assert len(cases) == len(set(cases))
    assert set(table(CELLS, HIDDEN)) < set(cases)
    assert set(table(CELLS, HIDDEN, "forward")) < set(cases)
    centre = Case(cell="gru")
    assert {replace(centre, length=400), replace(centre, num_layers=4)} < set(cases)
    assert {replace(centre, bidirectional=True), HELLO, Case("product", hidden_size=PRODUCT)} < set(
        cases
    )
    small = run.Plan(cells=("rnn",), hidden=(8,), parts=("training",))
    assert small.cases() == [Case("product", hidden_size=PRODUCT), Case(hidden_size=8)]


def test_later_rounds_measure_the_main_table_alone() -> None:
    plan = run.Plan(cells=("gru",), hidden=(8, 64), repeats=5)
    main = {*table(("gru",), (8, 64)), HELLO, Case("product", hidden_size=PRODUCT)}
    assert [len(plan.cases(number)) for number in range(1, 6)] == [47, 47, 47, 4, 4]
    assert set(plan.cases(4)) == main


def test_a_backend_takes_fewer_steps_in_a_call_the_longer_they_are() -> None:
    calls = [Case(cell="lstm", hidden_size=size).steps_per_call for size in HIDDEN]
    assert calls == sorted(calls, reverse=True)
    assert calls[0] > 50
    assert calls[-1] == 4


def test_every_step_sees_the_same_examples() -> None:
    inputs, targets = examples(TINY)
    again, _ = examples(replace(TINY, cell="gru", hidden_size=9))
    np.testing.assert_array_equal(inputs, again)
    assert inputs.shape == (3, 5, 10)
    assert inputs.dtype == np.float32
    assert set(targets) <= {0, 1}


# Statistics, on made-up results -------------------------------------------------------------------


def sample(
    contender: str, case: Case, number: int, *ms: float, allocator: Allocator = "default"
) -> Sample:
    return Sample(contender, allocator, number, case, list(ms), 10 * len(ms), 2.0, 0.5, 7.0, 0.001)


def made_up(ms: dict[str, float], cells=CELLS, hidden=HIDDEN, rounds: int = 3) -> Results:
    """Contender → milliseconds a step at every case of the table; the machine is twice as slow in
    the second round."""
    plan = run.Plan(cells=cells, hidden=hidden)
    found = results.begin(json.loads(json.dumps(asdict(plan))), "python scripts/bench.py")
    for number, case in product(range(1, rounds + 1), table(cells, hidden)):
        slower = 2 if number == 2 else 1
        for name, usual in ms.items():
            values = (slower * usual, slower * usual * 1.1, slower * usual * 0.9)
            found.samples.append(sample(name, case, number, *values))
    return found


FAST = {
    "rnn_jax": 2.0, "rnn_jax-layer": 2.1, "flax.nnx": 4.0, "keras": 5.0,
    "rnn_torch": 6.0, "rnn_torch-layer": 6.5, "torch.nn": 6.0,
}  # fmt: skip


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


# Files --------------------------------------------------------------------------------------------


def test_results_come_back_as_they_were_written(tmp_path: Path) -> None:
    found = made_up(FAST, rounds=1)
    found.preparations.append(Preparation("keras", "default", Case(), 0.5, 1.5, 400.0))
    found.programs.append(Program(programs.HELP, 1, 0.2, 0.2, 80.0))
    found.left_out["keras"] = "keras is not installed"
    file = tmp_path / "results.json"
    results.write(file, found)
    assert results.read(file) == found
    assert len(file.read_text().splitlines()) < 25 + len(found.samples)


def test_a_page_is_rendered_from_the_file_alone(tmp_path: Path, call) -> None:
    found = made_up(FAST, cells=("lstm",), hidden=(8, 64))
    found.samples += [
        sample(name, case, 1, 3.0)
        for name in FAST
        for cases in scaling(("lstm",)).values()
        for case in cases
        if case != Case(cell="lstm")
    ]
    found.samples += [
        sample(name, case, 1, 1.5, allocator="tuned")
        for name in FAST
        for case in table(("lstm",), (8, 64))
    ]
    found.left_out["flax.nnx"] = "flax is not installed"
    results.write(tmp_path / "results.json", found)
    finished = call("bench.py", "--render", "results.json")
    assert finished.returncode == 0, finished.stderr
    page = (tmp_path / report.MARKDOWN).read_text()
    assert "| 400 | 3 | 3 | 3 |" in page
    assert "| 8 | 2 (2–4) | 2.1 (2.1–4.2) | 4 (4–8) |" in page
    assert "**2.00** (flax.nnx) | 3.00 | 1.00 |" in page
    assert "`flax.nnx` was left out: flax is not installed." in page
    assert "LSTM over T, steps of a sequence, ms:" in page
    assert "| LSTM 8 | 2 → 2 |" in page
    for file in report.FILES:
        assert (tmp_path / file).exists(), file
    again = call("bench.py", f"--render={tmp_path / 'results.json'}")
    assert again.returncode == 0, again.stderr
    assert (tmp_path / report.MARKDOWN).read_text() == page


@pytest.mark.parametrize(
    ("others", "says"),
    [([0.01, 0.05], "kept 0.03 cores busy on average, 0.05 at most."), ([0.0, 0.4], "not idle")],
)
def test_a_page_says_what_others_did_meanwhile(others: list[float], says: str) -> None:
    found = made_up(FAST, cells=("gru",), hidden=(8,))
    found.rounds = [Round("default", i, 60.0, cores) for i, cores in enumerate(others, start=1)]
    assert says in report.markdown(found)
    busy = max(others) > 0.1
    assert (report.NOT_IDLE in report.markdown(found)) == busy
    assert (report.NOT_IDLE in report.summary(found)) == busy
    found.rounds = [Round("default", 1, 60.0, None)]
    assert "cores busy" not in report.markdown(found)


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="reads Linux's /proc")
def test_others_are_all_but_the_benchmark() -> None:
    found = made_up(FAST, rounds=1)
    own = [sys.executable, "-c", "import time\nwhile time.process_time() < 1: pass"]
    with run._timed(found, "default", 1):
        subprocess.run(own, check=True)
    other = subprocess.Popen(own)  # which has not been waited for when the round ends
    with run._timed(found, "default", 2):
        time.sleep(0.8)
    other.wait()
    own_child, others_child = (part.others for part in found.rounds)
    assert own_child is not None
    assert others_child is not None
    assert others_child > own_child


def test_only_targets_that_were_measured_are_listed() -> None:
    page = report.markdown(made_up(FAST, cells=("gru",), hidden=(8,)))
    assert "`rnn_torch` at least as fast as `nn.RNN` and `nn.GRU` everywhere" in page
    assert "`nn.LSTM` everywhere" not in page
    assert "hello" not in page.partition("## A training step")[0].partition("## Targets")[2]


@pytest.mark.slow
def test_a_small_benchmark_runs(tmp_path: Path, call) -> None:
    finished = call(
        "bench.py", "--cells", "rnn", "--hidden", "4", "--contenders", "torch.nn", "rnn_torch",
        "--parts", "training", "forward", "allocators", "--repeats", "1", "--seconds", "0.01",
        "--out", "made",
    )  # fmt: skip
    assert finished.returncode == 0, finished.stderr
    found = results.read(tmp_path / "made" / "results.json")
    measured = {(s.contender, s.allocator, s.case.kind) for s in found.samples}
    assert [part.allocator for part in found.rounds] == ["default", "tuned"]
    assert all(part.number == 1 and part.wall_s > 0 for part in found.rounds)
    assert finished.stderr.splitlines() == [
        "default allocator, round 1/1",
        "tuned allocator, round 1/1",
    ]
    assert measured == {
        *product(("torch.nn", "rnn_torch"), ("default",), ("train", "forward")),
        *product(("torch.nn", "rnn_torch"), ("tuned",), ("train",)),
        ("torch.nn", "default", "product"),
    }
    assert "# Benchmark" in (tmp_path / "made" / "README.md").read_text()
    assert not (tmp_path / "made" / "hidden.png").exists()  # of a single size


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--contenders", "numpy"], ["--contenders", "torch.nn", "numpy"]),
        (["--contenders", "keras", "keras"], ["--contenders", "once", "keras keras"]),
        (["--cells", "transformer"], ["--cells", "transformer"]),
        (["--hidden", "0"], ["--hidden", "0"]),
        (["--repeats", "0"], ["--repeats", "0"]),
        (["--seconds", "-1"], ["--seconds", "-1"]),
        (["--seconds", "nan"], ["--seconds", "nan"]),
        (["--parts", "lunch"], ["--parts", "lunch"]),
        (["--parts"], ["--parts: expected one or more, got none"]),
        (["--contenders"], ["--contenders: expected one or more, got none"]),
        (["--hidden", "--quick"], ["--hidden: expected one or more, got none"]),
        (["--repeats", "x"], ["--repeats: expected INT, got x"]),
        (["--render", "none.json"], ["none.json", "expected JSON"]),
        (["--render", "none.json", "--quick"], ["--render", "no other option"]),
        (["--device", "gpu", "--contenders", "torch.nn", "--parts", "training"], ["GPU"]),
    ],
)
def test_bad_options_are_refused(call, tmp_path: Path, arguments, expected) -> None:
    check_refused(call("bench.py", *arguments), *expected)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_an_interrupted_benchmark_keeps_its_finished_rounds(tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPTS / "bench.py"), "--cells", "rnn", "--hidden", "4"]
    command += ["--contenders", "torch.nn", "--parts", "training", "--repeats", "1000"]
    process = subprocess.Popen(
        [*command, "--seconds", "0.01", "--out", "made"],
        cwd=tmp_path, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    file = tmp_path / "made" / "results.json"
    while not file.exists():
        assert process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    *_, last = errors.splitlines()
    assert last.startswith("bench.py: interrupted; --render made/results.json shows what was")
    assert {sample.round for sample in results.read(file).samples} >= {1}


@pytest.mark.slow
def test_the_tutorial_trains_and_scores(tmp_path: Path) -> None:
    finished = script("../benchmarks/tutorial.py", "--examples", "200", "70", "80", cwd=tmp_path)
    assert finished.returncode == 0, finished.stderr
    assert re.fullmatch(
        r"train loss 0\.\d{4}  valid loss 0\.\d{4}  accuracy \d+\.\d%\n"
        r"test loss 0\.\d{4}  accuracy \d+\.\d%\n",
        finished.stdout,
    )


def test_results_of_another_kind_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(InvalidInput, match=r"x\.json: no results of this version"):
        results.read(tmp_path / "x.json")
