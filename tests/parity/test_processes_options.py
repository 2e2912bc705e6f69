"""What --processes and --devices allow, and what a page says of several processes."""

from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest

from shared.commands.parity import parse_arguments
from shared.config import Config
from shared.errors import InvalidInput
from shared.parity.in_processes import InProcesses, targets_of
from shared.parity.messages import Answer, Facts
from shared.parity.worker import checksums
from shared.protocol import Snapshot

BASE = replace(Config(), precision="float64")
FACTS = Facts("cpu (1 thread)", 0, "a loop", [], [], False, "0")
JAX_TWICE = ("--contenders", "jax/handcrafted", "jax/handcrafted")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--processes", "0"], r"^--processes: expected 1 to 64, got 0$"),
        (["--processes", "65"], r"^--processes: expected 1 to 64, got 65$"),
        (["--processes", "1"], r"^--processes 1: expected 2 or more, or --devices 2 or more besid"),
        (["--devices", "2"], r"^--devices: expected --processes N beside it"),
        (
            ["--processes", "2", "--devices", "2"],
            r"^--devices: a process of PyTorch has one device; expected .*, got torch/handcrafted$",
        ),
        (
            ["--processes", "2", "--devices", "0", *JAX_TWICE],
            r"^--devices: expected 1 to 64, got 0$",
        ),
        (
            ["--processes", "2", "--devices", "2", "--device", "gpu", *JAX_TWICE],
            r"^--devices: expected --device cpu, of which it counts, got gpu$",
        ),
        (
            ["--processes", "2", "--trap-gallery"],
            r"^--trap-gallery plants every trap: expected no .* or --processes$",
        ),
    ],
)
def test_what_cannot_be_is_refused(words: list[str], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        parse_arguments(words, BASE)


@pytest.mark.parametrize(
    "words", [["--processes", "2"], ["--processes", "1", "--devices", "8", *JAX_TWICE]]
)
def test_what_can_be_is_not(words: list[str]) -> None:
    arguments = parse_arguments(words, BASE)
    assert arguments.processes == int(words[1])


class Scripted:
    """Processes that answer a trace with these weights of the targets."""

    def __init__(self, count: int, devices: int, shared: int, weights: list[list[float]]):
        self.count, self.devices, self.weights = count, devices, weights
        self.facts = FACTS._replace(devices=shared)

    def ask(self, what: str, *_: object) -> list[Answer]:
        trace = {"inputs/weights": np.array([self.weights])}
        return [Answer(trace if what == "trace" else None, [], self.facts)] * self.count


@pytest.mark.parametrize(
    ("crew", "said"),
    [
        (Scripted(2, 1, 2, [[1, 1], [1, 0]]), "2 processes of this machine, 2 devices in all; "
         "not exercised: several hosts, GPUs"),
        (Scripted(2, 1, 2, [[1, 1], [1, 1]]), "2 processes of this machine, 2 devices in all; "
         "not exercised: several hosts, GPUs, processes with unequal numbers of targets"),
        (Scripted(3, 2, 3, [[1, 1]]), "3 processes of this machine, 3 devices in all; "
         "not exercised: several hosts, GPUs, 3 devices of 6, rows for 2 of 3 processes"),
        (Scripted(1, 2, 2, [[1, 1], [1, 1]]), "1 process of this machine, 2 devices in all; "
         "not exercised: several hosts, GPUs, devices with unequal numbers of targets"),
    ],
)  # fmt: skip
def test_a_page_says_what_took_part_and_what_was_not_exercised(crew: Any, said: str) -> None:
    taken, nothing = InProcesses(crew, 0, [FACTS] * crew.count), cast(Any, None)
    taken.trace(taken.init(Snapshot.of({})), nothing, np.ones(1))
    assert taken.extent == said


def test_targets_are_counted_by_part_and_a_part_may_have_no_rows() -> None:
    weights = np.arange(1.0, 11).reshape(1, 5, 2)
    by_hand = [[1 + 2 + 3 + 4 + 5 + 6, 7 + 8 + 9 + 10]]
    np.testing.assert_array_equal(targets_of(2, weights), by_hand)
    np.testing.assert_array_equal(targets_of(4, weights[..., 0]), [[1 + 3, 5 + 7, 9, 0]])


def test_checksums_tell_steps_and_phases_apart() -> None:
    trace = {"inputs/inputs": np.zeros((2, 3)), "weights/w": np.ones((2, 4))}
    before = checksums(trace)
    assert before[0] == before[1]
    trace["weights/w"][1, 2] = np.nextafter(1, 2)
    after = checksums(trace)
    assert after[0] == before[0]
    assert after[1]["inputs"] == before[1]["inputs"]
    assert after[1]["weights"] != before[1]["weights"]
