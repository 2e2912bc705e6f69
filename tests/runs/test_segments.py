"""What computed which steps of a run, in words."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from shared.protocol import Snapshot
from shared.runs.checkpoint import Checkpoint
from shared.runs.segments import Segment, covers, described, label
from shared.tasks import TASKS
from shared.training.resume import resumption


def run_of(*parts: tuple[str, int]) -> list[Segment]:
    """Segments from ("jax native", last step) of each."""
    ends = [0, *(end for _, end in parts)]
    names = [tuple(name.split()) for name, _ in parts]
    return [
        Segment(backend, implementation, start, end, 0.5, [])
        for (backend, implementation), start, end in zip(names, ends, ends[1:], strict=False)
    ]


JAX, TORCH, NATIVE = "jax handcrafted", "torch handcrafted", "torch native"
NAMED = [
    (run_of((JAX, 9)), "jax handcrafted", "steps 1–9 in jax handcrafted"),
    (
        run_of((JAX, 6), (TORCH, 9)),
        "jax → torch handcrafted",
        "steps 1–6 in jax handcrafted, steps 7–9 in torch handcrafted",
    ),
    (
        run_of((JAX, 1), (NATIVE, 9)),
        "jax handcrafted → torch native",
        "step 1 in jax handcrafted, steps 2–9 in torch native",
    ),
    (run_of((JAX, 3), (JAX, 6), (JAX, 9)), "jax handcrafted", "steps 1–9 in jax handcrafted"),
    (
        run_of((TORCH, 3), (JAX, 6), (JAX, 8), (TORCH, 9)),
        "torch → jax → torch handcrafted",
        "steps 1–3 in torch handcrafted, steps 4–8 in jax handcrafted, step 9 in torch handcrafted",
    ),
]


@pytest.mark.parametrize(("segments", "name", "steps"), NAMED)
def test_a_run_is_named_by_all_that_computed_it(segments, name: str, steps: str) -> None:
    assert label(segments) == name
    assert described(segments) == steps


def test_segments_cover_a_run_without_gap_or_overlap() -> None:
    good = run_of((JAX, 6), (TORCH, 9))
    assert covers(good, 9)
    assert covers([], 0)
    for bad in (
        [],
        good[:1],
        good[1:],
        good[::-1],
        [good[0], replace(good[1], start=5)],
        [good[0], replace(good[1], start=7)],
        [good[0], good[0], good[1]],
        [*good, replace(good[1], start=9)],
    ):
        assert not covers(bad, 9), bad


@pytest.mark.parametrize(
    ("total", "left"),
    [
        (1500, "steps 1001–1500 follow in torch handcrafted"),
        (1001, "step 1001 follows in torch handcrafted"),
        (1000, "no step is left, only the test, in torch handcrafted"),
    ],
)
def test_a_resumption_says_what_was_done_and_what_is_left(total: int, left: str) -> None:
    config = replace(TASKS["hello"].defaults, backend="torch")
    snapshot = Snapshot.of({"head.bias": np.ones(3)})._replace(step=1000)
    position = Checkpoint(snapshot, "0123abcd", segments=run_of((JAX, 1000)))
    assert resumption(config, Path("runs/x"), position, total) == (
        f"resuming runs/x after step 1000 of {total} (steps 1–1000 in jax handcrafted): {left}"
    )
