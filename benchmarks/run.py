"""Measures the benchmark's cases: one process for each contender, of which one works at a time.

Every round visits every case, and in a case all contenders in turn, so that a machine that becomes
slower or faster does so for all of them, and ratios within a round stay true.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from benchmarks import PARTS, Part
from benchmarks.cases import CELLS, CONTENDERS, HELLO, HIDDEN, PRODUCT, Case, scaling, seeds, table
from benchmarks.results import Allocator, Preparation, Results, Round, Sample
from shared.config.settings import Cell
from shared.errors import InvalidInput
from shared.system import environment as machine
from shared.system.allocator import LARGEST
from shared.system.json_files import parse

ROOT = Path(__file__).parents[1]
FEW = 3
"""Rounds of cases that are not in the main table: more of them would take an hour."""


Say = Callable[[str, str], None]
"""Takes what is going on: a heading, and a detail of it."""


@dataclass(frozen=True)
class Plan:
    """The plan of a benchmark: what it measures."""

    cells: tuple[Cell, ...] = CELLS
    hidden: tuple[int, ...] = HIDDEN
    contenders: tuple[str, ...] = tuple(CONTENDERS)
    parts: tuple[Part, ...] = PARTS
    repeats: int = 5
    seconds: float = 0.15
    device: Literal["cpu", "gpu"] = "cpu"

    def __post_init__(self) -> None:
        unknown = [name for name in self.contenders if name not in CONTENDERS]
        if unknown or not self.contenders:
            expected, got = ", ".join(CONTENDERS), " ".join(unknown) or "none"
            raise InvalidInput(f"--contenders: expected some of {expected}, got {got}")
        for name in ("cells", "hidden", "contenders", "parts"):
            values = getattr(self, name)
            if len(set(values)) < len(values):
                raise InvalidInput(
                    f"--{name}: expected each once, got {' '.join(map(str, values))}"
                )
        if not self.cells:
            raise InvalidInput(f"--cells: expected some of {', '.join(CELLS)}, got none")
        for size in self.hidden:
            if not 0 < size < 2**15:
                raise InvalidInput(f"--hidden: expected sizes from 1 to 32767, got {size}")
        if not 0 < self.repeats < 2**15:
            raise InvalidInput(f"--repeats: expected a number from 1 up, got {self.repeats}")
        if not 0 < self.seconds < 3600:
            raise InvalidInput(f"--seconds: expected a time above 0, got {self.seconds}")

    def cases(self, number: int = 1) -> list[Case]:
        """Returns all cases of a round under the default allocator, each once."""
        found = [Case("product", hidden_size=PRODUCT)]
        if "training" in self.parts:
            found += table(self.cells, self.hidden)
        if "forward" in self.parts and number <= FEW:
            found += table(self.cells, self.hidden, "forward")
        if "scaling" in self.parts and number <= FEW:
            found += [case for axis in scaling(self.cells).values() for case in axis]
        if "seeds" in self.parts and number <= FEW:
            found += seeds(self.cells)
        if "hello" in self.parts:
            found.append(HELLO)
        return list(dict.fromkeys(found))


TUNED = {
    "GLIBC_TUNABLES": f"glibc.malloc.mmap_threshold={LARGEST}"
    f":glibc.malloc.trim_threshold={LARGEST}:glibc.malloc.arena_max=1"
}
"""Settings with which glibc keeps the memory that a step frees. Otherwise it gives the memory back
to the system and has each page cleared again in the next step. They cover all threads in one arena,
as the heaps of other arenas are given back whatever the thresholds."""


class Contender:
    """A running worker: requests in, answers out."""

    def __init__(self, name: str, allocator: Allocator, device: str, cache: Path):
        self.name = name
        self.allocator: Allocator = allocator
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", name, device],
            env=environment(device, cache, allocator),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C is the parent's, which then ends the workers
        )
        self.about = self._read()

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):  # it has ended, which reading tells better
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
        return self._read()

    def close(self) -> None:
        """Ends the process, also in the middle of a measurement."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with suppress(BrokenPipeError):
            self.process.stdin.close()
        try:
            self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()

    def _read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise ContenderFailed(f"{self.name} ended with exit code {self.process.wait()}")
        answer = json.loads(line)
        if "error" in answer:
            raise ContenderFailed(f"{self.name}: {answer['error']}")
        return answer


class ContenderFailed(OSError):
    """A worker died, and its message is on stderr; or a program failed."""


def environment(
    device: str, cache: Path | None = None, allocator: Allocator = "default"
) -> dict[str, str]:
    """Returns the environment of a process that measures. It has this package first on its path and
    the allocator as it is asked for, whatever the user has set. Compiled programs are kept in a
    folder of its own."""
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    ours = ("MALLOC_", "GLIBC_TUNABLES", "JAX_COMPILATION_CACHE_DIR")
    found = {k: v for k, v in os.environ.items() if not k.startswith(ours)}
    found |= {"PYTHONPATH": path}
    if device == "cpu":
        found["JAX_PLATFORMS"] = "cpu"
    # Without it JAX takes most of a GPU's memory, and the next contender finds none.
    found["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
    if cache is not None:
        found |= {"JAX_COMPILATION_CACHE_DIR": str(cache), "XDG_CACHE_HOME": str(cache)}
        found["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
        found["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"
    return found | (TUNED if allocator == "tuned" else {})


def measure(
    results: Results,
    plan: Plan,
    allocator: Allocator,
    save: Callable[[], None],
    say: Say,
) -> None:
    """Measures the planned cases, round by round, and appends to the results; `save` after each.

    Each round has new processes. So what chance decides at the start of one, such as where its
    memory lies, is seen as spread. What JAX compiled in the first is kept for the others. Small
    cases come first: glibc's thresholds adapt to the largest blocks that a process has freed.

    Raises:
        InvalidInput: none of the contenders can run here.
        ContenderFailed: one ended; finished rounds are in the results.
    """
    rounds = plan.repeats if allocator == "default" else min(plan.repeats, FEW)
    with tempfile.TemporaryDirectory() as cache:
        for number in range(1, rounds + 1):
            title = f"{allocator} allocator, round {number}/{rounds}"
            cases = plan.cases(number)
            if allocator == "tuned":
                cases = table(plan.cells, plan.hidden)
            cases.sort(key=lambda case: case.flops)
            found: list[Sample] = []
            with _timed(results, allocator, number), ExitStack() as stack:
                contenders = _start(results, plan, allocator, Path(cache), stack)
                for name, reason in results.left_out.items() if number == 1 else ():
                    say(f"{name} is left out: {reason}", "")
                names = [contender.name for contender in contenders]
                for i, case in enumerate(cases, start=1):
                    say(title, f"{i}/{len(cases)}: {case}")
                    for contender in contenders:
                        if takes_part(contender.name, case, names):
                            found.append(_one(results, contender, case, number, plan.seconds))
            results.samples += found
            save()


@contextmanager
def _timed(results: Results, allocator: Allocator, number: int) -> Iterator[None]:
    """Notes how long a round takes, and what others do meanwhile."""
    began, before, own = time.perf_counter(), machine.busy_s(), _own_s()
    yield
    wall, after = time.perf_counter() - began, machine.busy_s()
    others = None
    if before is not None and after is not None:
        others = round(max(0.0, after - before - (_own_s() - own)) / wall, 3)
    results.rounds.append(Round(allocator, number, round(wall, 1), others))


def _own_s() -> float:
    """Returns the processor time of this process and of the contenders that have ended."""
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def takes_part(name: str, case: Case, names: Sequence[str]) -> bool:
    """Tells whether a contender measures a case. A product is the same for all of a framework,
    hello is a run of our backends, and several seeds at once are JAX's."""
    if case.kind == "product":
        return name == next(one for one in names if CONTENDERS[one] == CONTENDERS[name])
    if case.kind == "seeds":
        return name == "rnn_jax"
    return case.kind != "hello" or name in ("rnn_jax", "rnn_torch")


def _start(
    results: Results,
    plan: Plan,
    allocator: Allocator,
    cache: Path,
    stack: ExitStack,
) -> list[Contender]:
    """Starts the contenders that can run here. The others, and where each computes, go to the
    results."""
    started = []
    for name in plan.contenders:
        contender = Contender(name, allocator, plan.device, cache)
        stack.callback(contender.close)
        if "left_out" in contender.about:
            results.left_out[name] = contender.about["left_out"]
            continue
        results.contenders[name] = contender.about["where"]
        results.versions |= contender.about["versions"]
        started.append(contender)
    if not started:
        reasons = "; ".join(f"{name}: {why}" for name, why in results.left_out.items())
        raise InvalidInput(f"--contenders: expected one that runs here, got {reasons}")
    return started


def _one(results: Results, contender: Contender, case: Case, number: int, seconds: float) -> Sample:
    answer = contender.ask({"case": asdict(case), "seconds": seconds})
    ready = answer.pop("prepared")
    of = {"contender": contender.name, "allocator": contender.allocator, "case": asdict(case)}
    if number == 1:
        results.preparations.append(parse(Preparation, of | ready))
    return parse(Sample, of | {"round": number} | answer)
