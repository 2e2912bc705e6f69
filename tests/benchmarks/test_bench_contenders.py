"""The contenders of the benchmark: processes that train the same network, and say how long it took.

Nothing here looks at a time that was measured.
"""

import math
from dataclasses import asdict, replace
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from benchmarks import results, run, worker
from benchmarks.cases import CONTENDERS, HELLO, Case
from benchmarks.results import Preparation, Sample

TINY = Case(hidden_size=4, batch_size=3, length=5)


@pytest.fixture(scope="module")
def contenders(tmp_path_factory: pytest.TempPathFactory):
    """Every contender that can run here, by name, each in its process."""
    cache, found = tmp_path_factory.mktemp("cache"), {}
    for name in CONTENDERS:
        contender = run.Contender(name, "default", "cpu", cache)
        assert ("left_out" in contender.about) == (name == "keras" and not find_spec("keras"))
        found[name] = contender
    yield {name: one for name, one in found.items() if "left_out" not in one.about}
    for contender in found.values():
        contender.close()
        assert contender.process.returncode == 0


CASES = [
    replace(TINY, bidirectional=True),
    replace(TINY, cell="lstm", num_layers=2),
    replace(TINY, cell="gru", num_layers=2, bidirectional=True),
]


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=str)
def test_all_contenders_train_the_same_network(contenders, case: Case) -> None:
    """From the same weights, so the first loss is the same; later ones differ where a peer has one
    bias in place of two, which Adam moves half as far."""
    losses = {
        name: contender.ask({"case": asdict(case), "losses": 20})["losses"]
        for name, contender in contenders.items()
    }
    assert len(losses) >= 6
    expected = losses["torch.nn"]
    assert abs(expected[0] - math.log(2)) > 1e-4  # no network of zeros
    for name, found in losses.items():
        assert len(found) == 20
        assert found[0] == pytest.approx(expected[0], abs=1e-5), name
        assert all(b < a for a, b in pairwise(found)), (name, found)
    for name in ("rnn_jax", "rnn_jax-layer", "rnn_torch", "rnn_torch-layer"):
        np.testing.assert_allclose(losses[name], expected, rtol=0, atol=2e-6, err_msg=name)


@pytest.mark.parametrize(
    "case", [TINY, replace(TINY, kind="forward", cell="lstm"), Case("product", hidden_size=8)],
    ids=str,
)  # fmt: skip
@pytest.mark.slow
def test_a_contender_answers_with_a_sample(contenders, case: Case) -> None:
    for name in ("rnn_jax", "flax.nnx", "rnn_torch", "torch.nn"):
        answer = contenders[name].ask({"case": asdict(case), "seconds": 0.01})
        ready = answer.pop("prepared")
        of = {"contender": name, "allocator": "default", "case": asdict(case)}
        sample = results.parse(Sample, of | {"round": 1} | answer)
        preparation = results.parse(Preparation, of | ready)
        assert len(sample.ms) >= 3
        assert sample.steps >= len(sample.ms)
        assert all(ms > 0 for ms in sample.ms)
        assert preparation.peak_mb > 50


@pytest.mark.slow
def test_seeds_at_once_are_steps_of_each(contenders) -> None:
    """From the same weights and batches, each loses what one alone does."""
    case = replace(TINY, kind="seeds", seeds=3)
    alone = contenders["rnn_jax"].ask({"case": asdict(replace(case, seeds=1)), "losses": 4})
    steps = case.steps_per_call
    found = contenders["rnn_jax"].ask({"case": asdict(case), "losses": 3 * steps})
    for losses in np.split(np.array(found["losses"]), 3):
        np.testing.assert_allclose(losses[:4], alone["losses"], rtol=1e-5)


@pytest.mark.slow
def test_hello_is_a_thousand_steps(contenders) -> None:
    answer = contenders["rnn_jax"].ask({"case": asdict(HELLO), "losses": 1000})
    assert len(answer["losses"]) == 1000
    assert answer["losses"][-1] < 0.01 < 1 < answer["losses"][0]


@pytest.mark.slow
def test_a_request_that_is_none_is_answered_with_an_error(contenders) -> None:
    with pytest.raises(run.ContenderFailed, match=r"rnn_torch: no case of this version.*sides"):
        contenders["rnn_torch"].ask({"case": {"sides": 3}, "seconds": 0.01})


def test_a_measurement_takes_the_time_it_is_given_and_three_samples_at_least(monkeypatch) -> None:
    """On a clock that each call moves on by 2 ms, and by 1 s."""
    for step, seconds, samples, steps in ((2e-3, 0.24, 12, 960), (1.0, 0.2, 3, 24)):
        now = [0.0]

        def run_(step=step, now=now) -> None:
            now[0] += step

        monkeypatch.setattr(worker.time, "perf_counter", lambda now=now: now[0])
        answer = worker.measure(worker.Prepared(run_, 8), seconds)
        assert len(answer["ms"]) == samples
        assert answer["steps"] == steps
        assert answer["ms"] == pytest.approx([1000 * step / 8] * samples, rel=1e-4)


def test_the_tuned_allocator_reaches_the_process_and_the_users_own_does_not(
    monkeypatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MALLOC_ARENA_MAX", "7")
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.arena_max=7")
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "mine")
    default = run.environment("cpu", tmp_path)
    tuned = run.environment("cpu", tmp_path, "tuned")
    assert default["JAX_COMPILATION_CACHE_DIR"] == str(tmp_path)
    assert not {"MALLOC_ARENA_MAX", "GLIBC_TUNABLES"} & set(default)
    assert tuned == default | run.TUNED


def test_a_contender_that_dies_is_named(tmp_path: Path) -> None:
    contender = run.Contender("torch.nn", "default", "cpu", tmp_path)
    contender.process.kill()
    with pytest.raises(run.ContenderFailed, match=r"torch\.nn ended with exit code -9"):
        contender.ask({"case": asdict(TINY), "seconds": 0.01})
    contender.close()
