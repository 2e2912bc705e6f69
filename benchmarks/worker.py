"""One contender of the benchmark: a process that answers requests, one at a time.

    python -m benchmarks.worker NAME DEVICE

A request is a line of JSON on stdin, {"case": {…}, "seconds": 0.2} or, of the first steps' losses,
{"case": {…}, "losses": 20}; its answer is a line on stdout. Between them the process sleeps. A case
is prepared at its first request and kept, so that each further one only measures.
"""

import importlib
import json
import os
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from benchmarks.cases import CONTENDERS, Case
from shared.errors import InvalidInput
from shared.system.allocator import keep_pages
from shared.system.environment import peak_memory_mb, versions
from shared.system.json_files import parse

SHORTEST = 5e-3
"""Shortest time, in seconds, that the clock measures well; shorter steps are measured several at a
time."""
MOST = 12
"""Most samples of one measurement. Instead of more, each is made longer than SHORTEST."""


class Prepared(NamedTuple):
    """A case ready to run."""

    run: Callable[[], Any]
    """Function that takes steps, waits for their result, and returns their losses, or what else
    came out."""
    steps: int = 1
    """Number of steps that a call takes."""


@dataclass
class _Entry:
    prepared: Prepared
    ready: dict[str, Any]


class Worker:
    def __init__(self, name: str, device: str):
        # What scripts/run.py does for its process before it imports a framework is done here for
        # the two contenders that are its training; all others keep the allocator as they find it.
        if name in ("rnn_jax", "rnn_torch"):
            keep_pages()
        self.name = name
        self.device = device
        self.module = importlib.import_module(f"benchmarks.contenders_{CONTENDERS[name]}")
        self.entries: dict[Case, _Entry] = {}
        self.rested = 0.0

    def hello(self) -> dict[str, Any]:
        """Returns what the parent wants to know first; imports the framework."""
        where = self.module.start(self.name, self.device)
        known = versions(CONTENDERS[self.name])
        if self.name == "keras":
            from importlib.metadata import version

            known["keras"] = version("keras")
        self.rested = time.process_time()
        return {"where": where, "versions": known}

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        idle = time.process_time() - self.rested
        case = parse(Case, request["case"])
        if "losses" in request:
            answer = {"losses": losses(self.prepare(case), request["losses"])}
        else:
            if case not in self.entries:
                self.entries[case] = self._first(case)
            entry = self.entries[case]
            answer = measure(entry.prepared, request["seconds"]) | {"prepared": entry.ready}
        self.rested = time.process_time()
        return answer | {"idle_cpu_s": round(idle, 4)}

    def prepare(self, case: Case) -> Prepared:
        return self.module.prepare(self.name, case, self.device)

    def _first(self, case: Case) -> _Entry:
        _forget_peak()
        start = time.perf_counter()
        prepared = self.prepare(case)
        middle = time.perf_counter()
        prepared.run()
        end = time.perf_counter()
        times = {"prepare_s": round(middle - start, 4), "first_s": round(end - middle, 5)}
        return _Entry(prepared, times | {"peak_mb": round(_peak_mb(), 1)})


def measure(prepared: Prepared, seconds: float) -> dict[str, Any]:
    """Calls as often as fits into so many seconds, at least three times, after a warm-up."""
    warm = call = _clock(prepared.run)
    while warm < seconds / 4:
        call = _clock(prepared.run)
        warm += call
    group = max(1, round(max(SHORTEST, seconds / MOST) / call))
    groups = max(3, round(seconds / (call * group)))
    samples = []
    before = resource.getrusage(resource.RUSAGE_SELF)
    for _ in range(groups):
        start = time.perf_counter()
        for _ in range(group):
            prepared.run()
        samples.append(1000 * (time.perf_counter() - start) / (group * prepared.steps))
    after = resource.getrusage(resource.RUSAGE_SELF)
    steps = groups * group * prepared.steps
    system = after.ru_stime - before.ru_stime
    cpu = system + after.ru_utime - before.ru_utime
    return {
        "ms": [float(f"{ms:.5g}") for ms in samples],
        "steps": steps,
        "cpu_ms": round(1000 * cpu / steps, 4),
        "system_ms": round(1000 * system / steps, 4),
        "faults": round((after.ru_minflt - before.ru_minflt) / steps, 2),
    }


def losses(prepared: Prepared, count: int) -> list[float]:
    """Returns losses of the first steps, each before its update."""
    found: list[float] = []
    while len(found) < count:
        found += np.ravel(np.asarray(prepared.run())).tolist()
    return found[:count]


def _clock(run: Callable[[], Any]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def _forget_peak() -> None:
    """Makes Linux measure the peak of resident memory from now on."""
    try:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
    except OSError:  # another system, or not permitted: the peak is that of the whole process
        pass


def _peak_mb() -> float:
    try:
        with open("/proc/self/status") as file:
            line = next(line for line in file if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e6
    except (OSError, StopIteration):
        return peak_memory_mb()


def main(name: str, device: str) -> None:
    # Answers own the real stdout; what a library prints goes where errors go.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def say(answer: dict[str, Any]) -> None:
        try:
            print(json.dumps(answer), file=answers, flush=True)
        except BrokenPipeError:  # nobody listens any more; Python would complain again at its exit
            os._exit(1)

    try:
        worker = Worker(name, device)
        say(worker.hello())
    except (ModuleNotFoundError, InvalidInput) as error:
        missing = getattr(error, "name", None)
        say({"left_out": f"{missing} is not installed" if missing else str(error)})
        return
    for line in sys.stdin:
        try:
            say(worker.answer(json.loads(line)))
        except InvalidInput as error:
            say({"error": str(error)})


if __name__ == "__main__":
    main(*sys.argv[1:])
