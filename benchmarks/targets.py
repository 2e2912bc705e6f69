"""The project's promises about its speed, and whether a benchmark shows them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import geometric_mean, median

from benchmarks import programs
from benchmarks.cases import CELLS, HELLO, HELLO_STEPS, HIDDEN, PEERS, Case, table
from benchmarks.results import Allocator, Results, Steps, ratios
from shared.config.settings import Cell


@dataclass(frozen=True)
class Verdict:
    met: bool | None
    """True or False for met or missed; None if the run has not measured all that it takes to be
    met, and nothing that breaks it."""
    detail: str

    def __str__(self) -> str:
        word = {True: "met", False: "**not met**", None: "not measured"}[self.met]
        return f"{word}: {self.detail}" if self.detail else word


@dataclass(frozen=True)
class Target:
    text: str
    default: Verdict
    tuned: Verdict | None = None
    """Verdict with every contender's allocator tuned; None where that changes nothing that is
    promised."""


def targets(results: Results) -> list[Target]:
    steps = Steps(results)
    plain = table(CELLS, HIDDEN)

    def both(text: str, judge: Callable[[Allocator], Verdict]) -> Target:
        return Target(text, judge("default"), judge("tuned"))

    def against_best(allocator: Allocator) -> dict[Case, float | None]:
        return {case: _against_best(steps, case, allocator) for case in plain}

    def against_torch(ours: str, cells: Sequence[Cell], allocator: Allocator):
        return {
            case: steps.ratio("torch.nn", ours, case, allocator) for case in table(cells, HIDDEN)
        }

    return [
        both(
            "`rnn_jax` at least 1.2 × as fast as the best peer, at every cell and size",
            lambda allocator: _everywhere(1.2, against_best(allocator)),
        ),
        both(
            "in geometric mean at least 1.5 ×",
            lambda allocator: _mean(1.5, against_best(allocator)),
        ),
        both(
            "`rnn_jax` at least 2 × as fast as `nn.RNN` and `nn.GRU` everywhere",
            lambda allocator: _everywhere(2, against_torch("rnn_jax", ("rnn", "gru"), allocator)),
        ),
        both(
            "`rnn_torch` at least as fast as `nn.RNN` and `nn.GRU` everywhere",
            lambda allocator: _everywhere(1, against_torch("rnn_torch", ("rnn", "gru"), allocator)),
        ),
        both(
            "`rnn_torch` at least 0.67 × as fast as `nn.LSTM` everywhere",
            lambda allocator: _everywhere(0.67, against_torch("rnn_torch", ("lstm",), allocator)),
        ),
        Target("`hello`, 1000 steps once compiled, below 20 ms in JAX", _hello(steps)),
        Target(
            "the job at least 3 × as fast as a plain PyTorch loop, whole programs, once compiled",
            _job(results),
        ),
        Target("`run.py --backend jax` from start to exit below 4 s, cold", _below(
            results, programs.COLD, 4
        )),
        Target("below 3 s with a warm compilation cache", _below(results, programs.WARM, 3)),
        Target("`run.py --help` below 0.3 s", _below(results, programs.HELP, 0.3)),
    ]  # fmt: skip


def _against_best(steps: Steps, case: Case, allocator: Allocator) -> float | None:
    """Returns how many times faster than the best peer it is; None unless all peers were
    measured."""
    if not all(steps.rounds(name, case, allocator) for name in PEERS):
        return None
    return steps.ratio(steps.best(PEERS, case, allocator), "rnn_jax", case, allocator)


def _everywhere(least: float, ratios: dict[Case, float | None]) -> Verdict:
    measured = {case: ratio for case, ratio in ratios.items() if ratio is not None}
    if not measured:
        return Verdict(None, "")
    reached = sum(ratio >= least for ratio in measured.values())
    worst = min(measured, key=measured.__getitem__)
    detail = f"at {reached} of {len(measured)} sizes, the least is {measured[worst]:.2f} ×"
    detail += f" ({worst.cell}, H={worst.hidden_size})"
    if reached < len(measured):
        return Verdict(False, detail)
    if len(measured) < len(ratios):
        return Verdict(None, f"{detail}; {len(ratios) - len(measured)} sizes are missing")
    return Verdict(True, detail)


def _mean(least: float, ratios: dict[Case, float | None]) -> Verdict:
    measured = [ratio for ratio in ratios.values() if ratio is not None]
    if not measured:
        return Verdict(None, "")
    mean = geometric_mean(measured)
    if len(measured) < len(ratios):
        return Verdict(None, f"{mean:.2f} × over {len(measured)} of {len(ratios)} sizes")
    return Verdict(mean >= least, f"{mean:.2f} ×")


def _hello(steps: Steps) -> Verdict:
    ms = steps.ms("rnn_jax", HELLO)
    if ms is None:
        return Verdict(None, "")
    return Verdict(ms * HELLO_STEPS < 20, f"{ms * HELLO_STEPS:.1f} ms")


def _job(results: Results) -> Verdict:
    walls = programs.walls(results)
    first, again, theirs = (
        walls.get(name, {}) for name in (programs.OURS, programs.AGAIN, programs.TUTORIAL)
    )
    if not first or not again or not theirs:
        return Verdict(None, "")
    cold, warm = median(ratios(theirs, first)), median(ratios(theirs, again))
    ours, loop, compiling = (median(part.values()) for part in (again, theirs, first))
    detail = f"{warm:.2f} ×, {ours:.1f} s against {loop:.1f} s"
    detail += f"; a first run, which compiles, {cold:.2f} ×, {compiling:.1f} s"
    return Verdict(warm >= 3, detail)


def _below(results: Results, name: str, most: float) -> Verdict:
    walls = programs.walls(results).get(name, {})
    if not walls:
        return Verdict(None, "")
    return Verdict(median(walls.values()) < most, f"{median(walls.values()):.2f} s")
