"""What measured steps mean for many workers: a model, and the tables of both.

A worker computes as fast as the machine that was measured. It sends after it has computed, as both
backends do, so that a step takes the sum of both times. For P workers and n bytes, an all-reduce
around a ring takes

    2 (P - 1) / P · n / bandwidth + 2 (P - 1) · latency

(Patarasuk & Yuan 2009, "Bandwidth optimal all-reduce algorithms for clusters of workstations"; the
cost of a message is that of Thakur et al. 2005, "Optimization of collective communication
operations in MPICH": latency + bytes / bandwidth). Adding the numbers up is left out.
"""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from benchmarks.results import ratios
from benchmarks.scaling_sizes import SIZES
from benchmarks.scaling_steps import WORKERS, Measured
from benchmarks.tables import formatted


@dataclass(frozen=True)
class Link:
    """A network between workers."""

    name: str
    bandwidth: float
    """Bytes a second of a worker, in each direction."""
    latency: float
    """Seconds that a message takes beside its bytes."""


LINKS = (
    Link("10 Gb/s, 30 µs", 10e9 / 8, 30e-6),
    Link("100 Gb/s, 5 µs", 100e9 / 8, 5e-6),
    Link("400 GB/s, 3 µs", 400e9, 3e-6),
)
"""Ethernet, a network of a cluster, and what links GPUs within a host (such as NVLink)."""


@dataclass(frozen=True)
class Expected:
    """What was expected before anything was measured."""

    step: float
    """Time of a step, that of one process being 1."""
    share: float
    """Share of the step that the sums take by themselves."""


PREDICTED = {
    "small": {2: Expected(1.3, 0.25), 4: Expected(3.0, 0.60)},
    "text": {2: Expected(1.0, 0.05), 4: Expected(1.3, 0.15)},
    "large": {2: Expected(1.1, 0.10), 4: Expected(1.5, 0.20)},
}
"""By size and processes on two cores, in either framework. A sum was expected to take 0.2 ms in two
processes and 1 ms in four, and 1 ms more for each megabyte."""
PREDICTED_WEAK = {"small": 0.30, "text": 0.90, "large": 0.87}
"""Efficiency of weak scaling in the model, with 64 workers at 10 Gb/s, by size."""


def all_reduce_s(sent: float, workers: int, link: Link) -> float:
    """Returns the seconds in which workers sum a buffer of so many bytes around a ring."""
    messages = 2 * (workers - 1)
    return messages / workers * sent / link.bandwidth + messages * link.latency


def weak(measured: Measured, workers: int, link: Link) -> float:
    """Returns the efficiency where each worker has as many rows as the batch that was measured, and
    the whole batch grows with the workers: the time of one worker's step over that of theirs."""
    alone = _rows_s(measured, SIZES[measured.size].batch_size)
    return alone / (alone + all_reduce_s(measured.reduced_bytes, workers, link))


def strong(measured: Measured, workers: int, link: Link) -> float:
    """Returns how many times faster than one worker they take the step of the same batch, which
    they share. Of more workers than rows, each has one row or none."""
    size = SIZES[measured.size].batch_size
    computing = _rows_s(measured, -(-size // workers))
    sending = all_reduce_s(measured.reduced_bytes, workers, link)
    return _rows_s(measured, size) / (computing + sending)


def _rows_s(measured: Measured, rows: int) -> float:
    return measured.rows_ms[str(rows)] / 1000


def steps_table(found: Sequence[Measured]) -> str:
    """Returns what was measured, a row for each size, framework and number of processes."""
    header = [
        "network", "framework", "processes", "devices", "step, ms", "of one process's",
        "expected", "kB reduced a step", "reduction by itself, ms", "share of the step",
        "expected", "share by the step without it",
    ]  # fmt: skip
    rows = []
    for size, framework, processes in _groups(found):
        rounds = _rounds(found, size, framework, processes)
        steps = {number: one.step_ms for number, one in rounds.items()}
        first = _rounds(found, size, framework, 1)
        times = ratios(steps, {number: one.step_ms for number, one in first.items()})
        expected = PREDICTED[size].get(processes)
        some, several = next(iter(rounds.values())), processes > 1
        shares = [one.reduce_ms / one.step_ms for one in rounds.values()]
        less = [1 - one.alone_ms / one.step_ms for one in rounds.values()]
        rows.append([
            size, framework, str(processes), str(some.devices), _spread(steps.values()),
            f"{statistics.median(times):.2f}" if times and several else "",
            f"{expected.step:.1f}" if expected else "",
            f"{some.reduced_bytes / 1000:.4g}" if several else "",
            _spread(one.reduce_ms for one in rounds.values()) if several else "",
            f"{statistics.median(shares):.0%}" if several else "",
            f"{expected.share:.0%}" if expected else "",
            f"{statistics.median(less):.0%}" if several else "",
        ])  # fmt: skip
    return formatted(header, rows)


def model_table(found: Sequence[Measured]) -> str:
    """Returns the model, a row for each size, framework and link.

    Of each framework and size, it takes the steps of the fewest processes, the median of rounds.
    """
    of_each = " / ".join(map(str, WORKERS))
    header = [
        "network", "framework", "link", f"reduction of {of_each} workers, ms",
        f"weak scaling: efficiency of {of_each}", f"strong scaling: speed of {of_each}",
    ]  # fmt: skip
    rows = []
    for one in typical(found):
        for link in LINKS:
            sums = (1000 * all_reduce_s(one.reduced_bytes, p, link) for p in WORKERS)
            rows.append([
                one.size, one.framework, link.name,
                " / ".join(f"{ms:.2g}" if ms < 100 else f"{ms:.0f}" for ms in sums),
                " / ".join(f"{weak(one, p, link):.0%}" for p in WORKERS),
                " / ".join(f"{strong(one, p, link):.2g} ×" for p in WORKERS),
            ])  # fmt: skip
    return formatted(header, rows)


def typical(found: Sequence[Measured]) -> list[Measured]:
    """Returns for each size and framework one measurement with the steps of few rows, each the
    median over the rounds of the fewest processes."""
    result: dict[tuple[str, str], Measured] = {}
    for size, framework, processes in _groups(found):
        rounds = [*_rounds(found, size, framework, processes).values()]
        if rounds[0].rows_ms and (size, framework) not in result:
            medians = {
                rows: statistics.median(one.rows_ms[rows] for one in rounds)
                for rows in rounds[0].rows_ms
            }
            result[size, framework] = replace(rounds[0], rows_ms=medians)
    return [*result.values()]


def _groups(found: Sequence[Measured]) -> list[tuple[str, str, int]]:
    names = [*SIZES]
    groups = {(one.size, one.framework, one.processes) for one in found}
    return sorted(groups, key=lambda group: (names.index(group[0]), *group[1:]))


def _rounds(
    found: Sequence[Measured], size: str, framework: str, processes: int
) -> dict[int, Measured]:
    wanted = (size, framework, processes)
    return {one.round: one for one in found if (one.size, one.framework, one.processes) == wanted}


def _spread(values: Iterable[float]) -> str:
    """Returns the median, and of several values the smallest and the largest."""
    known = [*values]
    middle = f"{statistics.median(known):.3g}"
    return middle if len(known) == 1 else f"{middle} ({min(known):.3g}–{max(known):.3g})"
