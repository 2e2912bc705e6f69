"""The results of a benchmark, and what is computed from them: medians, spreads, ratios.

Everything that is reported comes from results.json alone.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any, Literal

from benchmarks.cases import Case
from shared.system import environment
from shared.system.files import write_atomically
from shared.system.json_files import parse, read_json

Allocator = Literal["default", "tuned"]


@dataclass(frozen=True)
class Sample:
    """One measurement of one case: after a warm-up, steps for a fraction of a second."""

    contender: str
    allocator: Allocator
    round: int
    case: Case
    ms: list[float]
    """Milliseconds of a step, each the mean of as few steps as the clock can tell apart."""
    steps: int
    """Steps taken in all of them."""
    cpu_ms: float
    """Processor time of a step, of all threads."""
    system_ms: float
    """Part of it in the kernel."""
    faults: float
    """Page faults of a step that needed no disk."""
    idle_cpu_s: float
    """Processor time that the contender used since its last answer, while others worked."""


@dataclass(frozen=True)
class Preparation:
    """The cost of a case before its first measurement."""

    contender: str
    allocator: Allocator
    case: Case
    prepare_s: float
    """Seconds to make the model and, where that is a step of its own, to compile."""
    first_s: float
    """Seconds of the first call; it compiles too where that happens there."""
    peak_mb: float
    """Most memory resident in the process until then, in MB of 10^6 bytes; where the system can
    tell, only that of this case."""


@dataclass(frozen=True)
class Round:
    """Every case once."""

    allocator: Allocator
    number: int
    wall_s: float
    others: float | None
    """Cores that others kept busy meanwhile, on average: processes that do not belong to the
    benchmark, and other guests of a hypervisor; None where the system does not tell."""


@dataclass(frozen=True)
class Program:
    """One run of a whole program, from start to exit."""

    name: str
    round: int
    wall_s: float
    cpu_s: float
    peak_mb: float


@dataclass
class Results:
    """The content of results.json."""

    machine: str
    cores: int
    date: str
    command: str
    settings: dict[str, Any]
    versions: dict[str, str] = field(default_factory=dict)
    contenders: dict[str, str] = field(default_factory=dict)
    """Contender → its device and its number of threads."""
    left_out: dict[str, str] = field(default_factory=dict)
    """Contender → the reason why it is not there."""
    rounds: list[Round] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    preparations: list[Preparation] = field(default_factory=list)
    programs: list[Program] = field(default_factory=list)


def write(path: Path, results: Results) -> None:
    """Writes results.json: a line for every record."""
    values = asdict(results)
    lines = []
    for name, value in values.items():
        if isinstance(value, list):
            rows = ",\n".join(f"  {json.dumps(row, ensure_ascii=False)}" for row in value)
            lines.append(f"{json.dumps(name)}: [\n{rows}\n ]")
        else:
            lines.append(f"{json.dumps(name)}: {json.dumps(value, ensure_ascii=False)}")
    write_atomically(path, ("{\n " + ",\n ".join(lines) + "\n}\n").encode())


def read(path: Path) -> Results:
    """Reads results.json.

    Raises:
        InvalidInput: the file holds no results.
    """
    return read_json(path, lambda values: parse(Results, values))


# Statistics ---------------------------------------------------------------------------------------

Rounds = Mapping[int, float]
"""Round → milliseconds a step, the median of the round's samples."""


class Steps:
    """The times of a benchmark, by contender, case and allocator."""

    def __init__(self, results: Results):
        self._rounds: dict[tuple[str, Case, Allocator], dict[int, float]] = {}
        products: list[float] = []
        for sample in results.samples:
            key = (sample.contender, sample.case, sample.allocator)
            self._rounds.setdefault(key, {})[sample.round] = median(sample.ms)
            if sample.case.kind == "product":
                products += [2 * sample.case.hidden_size**3 / (1e6 * ms) for ms in sample.ms]
        self.product_gflops = max(products, default=None)
        """Largest speed, in 10⁹ floating-point operations a second, of all large matrix
        products."""

    def rounds(self, contender: str, case: Case, allocator: Allocator = "default") -> Rounds:
        """Returns the rounds of a case; empty where it was not measured."""
        return self._rounds.get((contender, case, allocator), {})

    def ms(self, contender: str, case: Case, allocator: Allocator = "default") -> float | None:
        """Returns the median over rounds."""
        found = self.rounds(contender, case, allocator)
        return median(found.values()) if found else None

    def best(
        self, contenders: Sequence[str], case: Case, allocator: Allocator = "default"
    ) -> str | None:
        """Tells which contender has the smallest median over rounds."""
        found = {name: self.ms(name, case, allocator) for name in contenders}
        times = {name: ms for name, ms in found.items() if ms is not None}
        return min(times, key=times.__getitem__) if times else None

    def ratio(
        self, slower: str | None, faster: str, case: Case, allocator: Allocator = "default"
    ) -> float | None:
        """Tells how many times faster one is: the median of the ratios within each round, in which
        both met the same machine."""
        if slower is None:
            return None
        found = ratios(self.rounds(slower, case, allocator), self.rounds(faster, case, allocator))
        return median(found) if found else None

    def floor_ms(self, case: Case) -> float | None:
        """Returns the time that the matrix products of a step take at the speed of the quickest
        large one."""
        gflops = self.product_gflops
        return None if gflops is None else case.flops / (1e6 * gflops)


def ratios(slower: Rounds, faster: Rounds) -> list[float]:
    """Returns the ratios round by round; a round that only one of them has does not count."""
    return [slower[i] / faster[i] for i in sorted(slower.keys() & faster.keys())]


def begin(settings: dict[str, Any], command: str) -> Results:
    """Returns results without any measurement.

    Args:
        settings: the plan.
        command: what the user typed.
    """
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return Results(environment.machine(), os.cpu_count() or 1, now, command, settings)
