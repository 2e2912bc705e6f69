"""Times a training step of ours and of its peers on this machine, in one run.

For example:
    python scripts/bench.py --quick
    python scripts/bench.py --cells lstm --hidden 64 128 --parts training
    python scripts/bench.py --contenders rnn_jax torch.nn --parts training allocators
    python scripts/bench.py --out benchmarks --overwrite
    python scripts/bench.py --render benchmarks/results.json
"""

import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

sys.path.insert(0, str(Path(__file__).parents[1]))  # what a checkout has beside the packages

from benchmarks import PARTS, QUICK, Part
from shared.commands import cli
from shared.errors import InvalidInput
from shared.system import process
from shared.system.folders import report_folder, reserved
from shared.system.signals import Interrupted, number_of

if TYPE_CHECKING:
    from benchmarks.results import Results
    from benchmarks.run import Plan

HERE = Path(__file__).resolve().parents[1] / "benchmarks"


@dataclass(frozen=True)
class Arguments:
    cells: tuple[Literal["rnn", "lstm", "gru"], ...] = ("rnn", "lstm", "gru")
    """Recurrent cells to time."""
    hidden: tuple[int, ...] = ()
    """Hidden sizes of the main table; by default 8 64 128 256 512, with --quick 64 256."""
    contenders: tuple[str, ...] = ()
    """Who takes part; by default all: rnn_jax, rnn_jax-layer, flax.nnx, keras, rnn_torch,
    rnn_torch-layer and torch.nn."""
    parts: tuple[Part, ...] = ()
    """What to measure: by default all of it, with --quick training, hello and start."""
    repeats: int | None = None
    """Rounds, each in new processes; by default 5, with --quick 2. Beside the main table and hello
    everything has at most 3."""
    seconds: float | None = None
    """How long a measurement takes at least; by default 0.15, with --quick 0.1."""
    device: Literal["cpu", "gpu"] = "cpu"
    """Where to compute; gpu is the first one that both frameworks see."""
    quick: bool = False
    """An answer in about two minutes."""
    out: str | None = None
    """Folder for the results; by default the next free one in reports/."""
    overwrite: bool = False
    """Replace the results in --out."""
    render: str | None = None
    """A results.json whose tables and plots to write again, beside it; nothing is measured."""


def main(argv: Sequence[str]) -> None:
    assert __doc__ is not None
    arguments = cli.parse(Arguments, argv, Arguments(), __doc__)
    if arguments.render is not None:
        _render(arguments.render, argv)
        return

    from benchmarks import report
    from benchmarks.run import Plan

    for name in ("hidden", "contenders", "parts"):
        if f"--{name}" in argv and not getattr(arguments, name):  # named, but without a value
            raise InvalidInput(f"--{name}: expected one or more, got none")
    quick = arguments.quick
    plan = Plan(
        arguments.cells,
        arguments.hidden or ((64, 256) if quick else Plan.hidden),
        arguments.contenders or Plan.contenders,
        arguments.parts or (QUICK if quick else PARTS),
        arguments.repeats if arguments.repeats is not None else 2 if quick else Plan.repeats,
        arguments.seconds if arguments.seconds is not None else 0.1 if quick else Plan.seconds,
        arguments.device,
    )
    # The results that are published stand beside the code that measured them.
    code = {file.name for file in HERE.iterdir()} - {*report.FILES}
    beside = arguments.out is not None and Path(arguments.out).resolve() == HERE
    known = {*report.FILES, *(code if beside else ())}
    folder = report_folder(arguments.out, "bench", known, arguments.overwrite)
    with reserved(folder, "--out"):
        try:
            results = _measure(plan, folder, shlex.join(["python", "scripts/bench.py", *argv]))
        except KeyboardInterrupt as stop:
            raise Interrupted(number_of(stop), _interrupted(folder / report.RESULTS)) from stop
        report.write(results, folder)
    print(report.summary(results))
    print(f"wrote {folder / report.RESULTS}, {folder / report.MARKDOWN} and their pictures")


def _interrupted(file: Path) -> str:
    if file.exists():
        return f"interrupted; --render {file} shows what was measured in finished rounds"
    return "interrupted before the first round was finished"


def _render(name: str, argv: Sequence[str]) -> None:
    if len(argv) != (1 if argv[0].startswith("--render=") else 2):
        raise InvalidInput("--render writes beside its file: expected no other option")
    from benchmarks import report, results

    file = Path(name)
    report.write(results.read(file), file.parent)
    print(f"wrote {file.parent / report.MARKDOWN} and the pictures beside it")


def _measure(plan: "Plan", folder: Path, command: str) -> "Results":
    """Measures what is planned; results.json holds every finished round, also of a run that ends
    early."""
    from benchmarks import programs, report, results, run

    found, say = results.begin(asdict(plan), command), _Progress()

    def save() -> None:
        results.write(folder / report.RESULTS, found)

    programs.measure(found, plan, save, say)
    run.measure(found, plan, "default", save, say)
    if "allocators" in plan.parts:
        run.measure(found, plan, "tuned", save, say)
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr)
    return found


@dataclass
class _Progress:
    """What is going on: on a terminal in one line that the next one replaces, elsewhere the
    headings alone."""

    heading: str = ""

    def __call__(self, heading: str, detail: str) -> None:
        if sys.stderr.isatty():
            text = f"{heading}, {detail}" if detail else f"{heading}\n"  # which stays
            print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
        elif heading != self.heading:
            print(heading, file=sys.stderr, flush=True)
            self.heading = heading


if __name__ == "__main__":
    process.run(main)
