"""Runs of the benchmark measure what was asked for; no test looks at a time that was measured."""

import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from benchmarks import results, run
from benchmarks.cases import CELLS, HELLO, HIDDEN, PRODUCT, Case, examples, table
from tests.support.command_line import SCRIPTS, check_refused, script
from tests.support.made_up_results import FAST, made_up

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


# Measuring ----------------------------------------------------------------------------------------


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
