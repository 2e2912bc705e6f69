"""Steps of one run in several processes: their time, what they send, and what that means for many.

    python -m benchmarks.scaling                  # docs/scaling.json, and the tables on the page
    python -m benchmarks.scaling --render         # the tables on the page again, of that file
    torchrun --nnodes 2 --nproc-per-node 4 --rdzv-backend c10d --rdzv-endpoint HOST:29500 \\
        -m benchmarks.scaling --here --backend torch        # on a cluster: rank 0 prints the tables

Each round starts new processes, first one, then two, then four, of one framework after the other,
with torchrun on this machine. Of all rounds the median counts, and a ratio is the median of those
within a round. All processes of a round share the cores of this machine. So what two cores show is
that the steps are taken, and what sending them costs, but not how much faster several machines are.
That is what the model is for (`scaling_model.py`), whose numbers were measured nowhere.

What was expected of two cores was written down before the first measurement: `PREDICTED` there.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.run import ROOT, ContenderFailed, environment
from benchmarks.scaling_model import (
    LINKS,
    PREDICTED,
    PREDICTED_WEAK,
    Link,
    model_table,
    steps_table,
)
from benchmarks.scaling_sizes import SIZES, Framework
from benchmarks.scaling_steps import Measured, measure
from shared.errors import InvalidInput
from shared.protocol.processes import joined
from shared.system import environment as machine
from shared.system import process
from shared.system.allocator import keep_pages
from shared.system.files import write_atomically
from shared.system.json_files import parse, read_json, read_values

RESULTS, PAGE = ROOT / "docs" / "scaling.json", ROOT / "docs" / "machines.md"
BEGIN, END = "<!-- scaling:begin -->\n", "<!-- scaling:end -->\n"
COUNTS = (1, 2, 4)
"""Numbers of processes."""
FRAMEWORKS: tuple[Framework, ...] = ("jax", "torch")
LONGEST_S = 600  # after which processes have failed
MEASURED = """\
{machine}, {cores} cores, {when}; {rounds} rounds, in which others kept {others:.1f} cores busy.
All processes share these cores, so a step cannot become much faster with more of them: the table
shows that the steps are taken, and what several processes cost.

{sizes}
"""
MODEL = """\
The model: each worker computes as fast as one process on this machine, then all workers sum their
gradients around a ring, in 2 (P - 1) / P · bytes / bandwidth + 2 (P - 1) · latency (Patarasuk &
Yuan 2009; Thakur et al. 2005). With weak scaling each worker has the batch above, and the whole
batch grows with the workers. With strong scaling they share the batch above, and a speed is shown
as a multiple of one worker's. If there are more workers than rows, each has one row or none. A link
of 400 GB/s joins GPUs, which compute faster than this machine, so that the reduction takes a larger
share of their step. Expected of weak scaling with 64 workers at 10 Gb/s: {expected}.
"""


@dataclass(frozen=True)
class Results:
    """What docs/scaling.json holds."""

    machine: str
    cores: int
    when: str
    command: str
    versions: dict[str, str]
    others: list[float]
    """Of each round, the cores that other programs kept busy, in the mean."""
    predicted: dict[str, Any]
    """What was expected of two cores before the first measurement."""
    links: list[Link]
    measured: list[Measured] = field(default_factory=list)


@dataclass(frozen=True)
class Plan:
    """What is measured."""

    sizes: tuple[str, ...] = tuple(SIZES)
    processes: tuple[int, ...] = COUNTS
    repeats: int = 2
    seconds: float = 1.0
    device: str = "cpu"


def here(framework: Framework, plan: Plan, number: int = 1) -> list[Measured] | None:
    """Measures with the processes that a launcher started, of which this is one.

    Returns:
        In rank 0 what was measured, elsewhere None.

    Raises:
        LostProcess: another process is gone.
    """
    if plan.device != "gpu":
        keep_pages()
    with joined(SIZES[plan.sizes[0]].config(framework, plan.device)) as team:
        # In a round of this program, the model takes what a single process measures.
        rows = number == 0 or not team.several
        found = [
            measure(team, framework, size, plan.device, plan.seconds, rows, max(1, number))
            for size in plan.sizes
        ]
    return found if team.first else None


def started(
    framework: Framework, count: int, plan: Plan, number: int, scratch: Path
) -> list[Measured]:
    """Starts processes with torchrun, and returns what they measure.

    Args:
        number: of the round.
        scratch: folder for files, and for what JAX compiles.

    Raises:
        ContenderFailed: one failed, or they took too long.
    """
    path, output = scratch / "measured.json", scratch / "output.txt"
    path.unlink(missing_ok=True)
    command = [sys.executable, "-m"]
    env = environment(plan.device, scratch / "cache")
    if count > 1:
        command += ["torch.distributed.run", "--standalone", "--nproc-per-node", str(count), "-m"]
        env.setdefault("OMP_NUM_THREADS", "1")  # torchrun does so, too, and says it
    command += ["benchmarks.scaling", "--here", "--backend", framework, "--sizes", *plan.sizes]
    command += ["--seconds", str(plan.seconds), "--device", plan.device]
    command += ["--round", str(number), "--raw", str(path)]
    name = f"{framework}, {count} process{'es' * (count > 1)}"
    with output.open("wb") as file:
        child = subprocess.Popen(command, cwd=ROOT, env=env, stdout=file, stderr=file)
    try:
        code = child.wait(LONGEST_S)
    except subprocess.TimeoutExpired:
        raise ContenderFailed(f"{name}: expected an end within {LONGEST_S} s") from None
    finally:
        _end(child)
    if code:
        raise ContenderFailed(f"{name}: exit code {code}: {_reason(output)}")
    return [parse(Measured, one) for one in read_values(path)]


def _end(child: subprocess.Popen[bytes]) -> None:
    """Ends a launcher, which ends its processes, wherever it is."""
    if child.poll() is None:
        child.terminate()
    try:
        child.wait(40)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _reason(output: Path) -> str:
    """Returns the line in which a process says why it ended; else the last one."""
    lines = output.read_text(errors="replace").strip().splitlines()
    said = [line for line in lines if line.startswith(f"{Path(__file__).name}: ")]
    return (said or lines[-1:] or ["no output"])[0]


def measured(plan: Plan, command: str) -> Results:
    """Measures on this machine.

    Raises:
        ContenderFailed: processes failed.
    """
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    versions = machine.versions("jax") | machine.versions("torch")
    predicted = {"processes": PREDICTED, "weak, 64 workers, 10 Gb/s": PREDICTED_WEAK}
    found, others = list[Measured](), list[float]()
    with tempfile.TemporaryDirectory() as scratch:
        for number in range(1, plan.repeats + 1):
            with _others(others):
                for count in plan.processes:
                    for framework in FRAMEWORKS:
                        print(f"round {number}: {framework}, {count}", file=sys.stderr, flush=True)
                        found += started(framework, count, plan, number, Path(scratch))
    about = machine.machine(), machine.cores()
    return Results(*about, now, command, versions, others, predicted, [*LINKS], found)


@contextmanager
def _others(found: list[float]) -> Iterator[None]:
    """Appends how many cores other programs kept busy meanwhile, where the system tells."""
    wall, before, own = time.perf_counter(), machine.busy_s(), _own_s()
    yield
    wall, after = time.perf_counter() - wall, machine.busy_s()
    if before is not None and after is not None:
        found.append(round(max(0.0, after - before - (_own_s() - own)) / wall, 2))


def _own_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def page(results: Results) -> str:
    """Returns what the page shows of results."""
    names = [name for name in SIZES if any(one.size == name for one in results.measured)]
    sizes = "\n".join(f"- `{name}`: {SIZES[name].about}." for name in names)
    rounds = len({one.round for one in results.measured})
    others = sum(results.others) / max(1, len(results.others))
    expected = ", ".join(f"{PREDICTED_WEAK[name]:.0%} ({name})" for name in names)
    title = MEASURED.format(
        machine=results.machine, cores=results.cores, when=results.when, rounds=rounds,
        others=others, sizes=sizes,
    )  # fmt: skip
    parts = [title, steps_table(results.measured), "", MODEL.format(expected=expected)]
    return "\n".join([*parts, model_table(results.measured), ""])


def read(path: Path) -> Results:
    """Reads docs/scaling.json.

    Raises:
        InvalidInput: the file is missing or holds no such results.
    """
    return read_json(path, lambda values: parse(Results, values))


def write(results: Results) -> None:
    """Writes the results, and their tables onto the page.

    Raises:
        InvalidInput: the page has no place for them; the results are written.
    """
    text = json.dumps(asdict(results), indent=1, ensure_ascii=False) + "\n"
    write_atomically(RESULTS, text.encode())
    render(results)


def render(results: Results) -> None:
    """Writes the tables onto the page.

    Raises:
        InvalidInput: the page has no place for them.
    """
    shown = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    before, _, rest = shown.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise InvalidInput(
            f"{PAGE.name}: expected the lines {BEGIN.strip()} and {END.strip()}, between which the "
            "tables stand, got a page without them; once they are there, --render writes the tables"
        )
    write_atomically(PAGE, f"{before}{BEGIN}\n{page(results)}\n{end}{after}".encode())


def main(argv: Sequence[str]) -> None:
    about = "Times the steps of one run in several processes, and prints what that means for many."
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description=about)
    parser.add_argument("--sizes", nargs="+", choices=[*SIZES], default=[*SIZES])
    parser.add_argument("--processes", nargs="+", type=int, default=[*COUNTS])
    parser.add_argument("--repeats", type=int, default=Plan.repeats, help="rounds")
    parser.add_argument("--seconds", type=float, default=Plan.seconds, help="of a measurement")
    parser.add_argument("--device", choices=["auto", "cpu", "gpu"], default=Plan.device)
    parser.add_argument("--print", action="store_true", help="write no file, print the tables")
    parser.add_argument("--render", action="store_true", help="measure nothing, write the tables")
    parser.add_argument("--here", action="store_true", help="measure in this launcher's processes")
    parser.add_argument("--backend", choices=FRAMEWORKS, default="jax", help="of --here")
    parser.add_argument("--round", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--raw", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args(argv)
    plan = Plan(
        tuple(given.sizes), tuple(given.processes), given.repeats, given.seconds, given.device
    )
    if given.render:
        render(read(RESULTS))
    elif given.here:
        found = here(given.backend, plan, given.round)
        if found is not None and given.raw is not None:
            given.raw.write_text(json.dumps([asdict(one) for one in found]))
        elif found is not None:
            print(f"{steps_table(found)}\n\n{model_table(found)}")
    else:
        results = measured(plan, " ".join(["python -m benchmarks.scaling", *argv]))
        print(page(results))
        if not given.print:
            write(results)


if __name__ == "__main__":
    process.run(main, several="--here" in sys.argv)
