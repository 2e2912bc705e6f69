"""Proves that two programs train the same, or names the first thing that differs and its cause.

For example:
    rnn-parity parity --task hello --cell lstm
    rnn-parity parity --task last-value --optimizer sgd --momentum 0.9 --steps 200
    rnn-parity parity --inject reset-gate
    rnn-parity parity --trap-gallery
    rnn-parity parity --task last-value --processes 2
    rnn-parity parity traces/mine traces/theirs

Both backends take the same steps from the same weights, and every phase of every step is compared:
in float64 as the proof, then in float32 to measure how far rounding carries them apart. With
--processes, the second one's steps are taken by several processes together. It exits with 0 if the
proof holds, with 1 if not.
"""

import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from shared.commands import cli
from shared.commands.processes import check_processes, crew, extent
from shared.config import Config
from shared.errors import InvalidInput, printable
from shared.system.folders import report_folder, reserved

if TYPE_CHECKING:
    from shared.parity import Findings
    from shared.parity.lockstep import Side

CONTENDERS = ("jax/handcrafted", "jax/native", "torch/handcrafted", "torch/native")


@dataclass(frozen=True)
class Arguments:
    settings: cli.Settings
    folders: tyro.conf.Positional[tuple[str, ...]] = ()
    """Two folders of traces to compare, instead of running anything (format:
    shared/protocol/trace.py)."""
    steps: int | None = None
    """Optimizer steps to compare; by default those of the configured run, at most 1000."""
    tolerance: float = 1e-9  # PROVED in shared/parity/comparison.py, which loads NumPy
    """Largest deviation that counts as equal in float64, relative to each tensor's magnitude."""
    runs: int = 5
    """Runs in each framework, with weights moved by one unit, that make the float32 envelope; 0
    leaves float32 out."""
    contenders: tuple[str, str] = ("jax/handcrafted", "torch/handcrafted")
    """The two backend/implementation pairs to compare; with --processes, they may be the same."""
    processes: int | None = None
    """Processes of this machine that take the steps of the second contender together; 1 only with
    --devices."""
    devices: int | None = None
    """With --processes, CPU devices among which each of them shares its rows, in JAX; by default
    1."""
    inject: str | None = None
    """A trap to plant in the first side, which must be jax/handcrafted: a name of --list-traps, or
    one with a variant, such as gates:transposed."""
    list_traps: bool = False
    """Print the names of the traps, one a line."""
    trap_gallery: bool = False
    """Plant every trap, one after the other, and write a page of what each does to a whole run."""
    traces: str | None = None
    """Folder for the traces of every step of both sides, a folder in it for each."""
    out: str | None = None
    """Folder for the report; by default the next free one in reports/."""
    overwrite: bool = False
    """Replace the report in --out, and the traces in --traces."""
    config: str | None = None
    """A config.json whose settings are the defaults."""


def main(argv: Sequence[str]) -> None:
    base = replace(cli.base_config(argv), precision="float64")
    arguments = parse_arguments(argv, base)
    if arguments.list_traps:
        if [*argv] != ["--list-traps"]:
            raise InvalidInput("--list-traps only prints: expected no options beside it")
        from shared.parity.traps import TRAPS

        print("\n".join(TRAPS))
    elif arguments.folders:
        _check_alone(arguments, base)
        _compare_folders(arguments, argv)
    elif arguments.trap_gallery:
        from shared.commands.trap_gallery import show_all

        lockstep = {name: getattr(arguments, name) for name in ("steps", "tolerance", "contenders")}
        usual = Arguments(arguments.settings)
        own = {name: value for name, value in lockstep.items() if value != getattr(usual, name)}
        folder, command = _folder(arguments, "traps"), cli.reproduction("parity", argv)
        show_all(arguments.settings, folder, own, command, **lockstep)
    else:
        _prove(arguments, argv)


def parse_arguments(argv: Sequence[str], base: Config) -> Arguments:
    """Returns the arguments. A trap brings the settings that show it, which the command line may
    change."""
    assert __doc__ is not None
    planted = cli.option(argv, "--inject")
    if planted is not None:
        from shared.parity.traps import TRAPS, find

        base = TRAPS[find(planted)[0]].show(base)
    arguments = cli.parse(Arguments, argv, Arguments(base), cli.with_tasks(__doc__))
    if cli.option(argv, "--backend") or cli.option(argv, "--implementation"):
        raise InvalidInput(
            "--backend, --implementation: expected --contenders BACKEND/IMPLEMENTATION twice"
        )
    if arguments.settings.precision != "float64":
        raise InvalidInput(
            "--precision: expected none, parity is proved in float64 and measured in float32"
        )
    if not 0 <= arguments.tolerance < 1:
        raise InvalidInput(f"--tolerance: expected a number in [0, 1), got {arguments.tolerance}")
    if arguments.runs < 0:
        raise InvalidInput(f"--runs: expected 0 or more, got {arguments.runs}")
    if arguments.steps is not None and arguments.steps < 1:
        raise InvalidInput(f"--steps: expected a positive number, got {arguments.steps}")
    unknown = [name for name in arguments.contenders if name not in CONTENDERS]
    if unknown:
        raise InvalidInput(
            f"--contenders: expected two of {', '.join(CONTENDERS)}, got {unknown[0]}"
        )
    if (planted or arguments.trap_gallery) and arguments.contenders[0] != "jax/handcrafted":
        raise InvalidInput(
            "traps are planted in the first side: expected --contenders jax/handcrafted …, "
            f"got {arguments.contenders[0]}"
        )
    if arguments.trap_gallery and (planted or arguments.traces or arguments.processes):
        raise InvalidInput(
            "--trap-gallery plants every trap: expected no --inject, --traces or --processes"
        )
    check_processes(
        arguments.processes,
        arguments.devices,
        arguments.contenders[1],
        arguments.settings.device,
    )
    return arguments


def _check_alone(arguments: Arguments, base: Config) -> None:
    """Refuses options beside two folders that only a run would use."""
    plain = Arguments(
        base,
        arguments.folders,
        tolerance=arguments.tolerance,
        out=arguments.out,
        overwrite=arguments.overwrite,
    )
    if arguments != plain:
        raise InvalidInput(
            "folders are compared as they are: expected no options beside them but --tolerance, "
            "--out and --overwrite"
        )
    if len(arguments.folders) != 2:
        raise InvalidInput(f"expected two folders of traces, got {len(arguments.folders)}")
    first, second = map(Path, arguments.folders)
    if first.resolve() == second.resolve():
        raise InvalidInput(f"expected two different folders of traces, got {first} twice")


def _compare_folders(arguments: Arguments, argv: Sequence[str]) -> None:
    from shared.parity.comparison import compare_folders

    first, second = map(Path, arguments.folders)
    folder = _folder(arguments, "traces")
    with reserved(folder, "--out"):
        comparison = compare_folders(first, second, arguments.tolerance)

        from shared.parity import Findings

        _finish(Findings(comparison), folder, f"traces of {len(comparison.steps)} steps", argv)


def _prove(arguments: Arguments, argv: Sequence[str]) -> None:
    from shared.config import naming
    from shared.parity import Findings, lockstep
    from shared.parity.envelope import measure
    from shared.parity.planting import find_switch, load, run_planted
    from shared.parity.traps import check_seen

    config, task = load(arguments.settings)
    if arguments.devices is not None:
        config = replace(config, device="cpu")
    folder = _folder(arguments, config.task)
    with crew(arguments.processes, arguments.devices, arguments.contenders[1]) as processes:
        first, second = sides = lockstep.sides(config, task, arguments.contenders, processes)
        steps, planted = lockstep.count_steps(arguments.steps, config, first), []
        if arguments.inject is not None:
            planted = [find_switch(arguments.inject, config, first)]
        title = naming.task_and_cell(config)
        with reserved(folder, "--out"):
            with _trace_folders(arguments, sides) as traces:
                about = f"{title}: {first.name} against {second.name}, {steps} steps in float64"
                print(about, flush=True)
                ran, diagnosis = run_planted(
                    config, task.signature, sides, planted, steps, arguments.tolerance, traces
                )
                if planted:
                    check_seen(planted[0].name, ran.comparison)
            envelope = None
            if ran.comparison.equal and arguments.runs:
                single = replace(config, precision="float32")
                a, b = lockstep.sides(single, task, arguments.contenders, processes)
                envelope = measure(single, a, b, steps, arguments.runs)
            findings = Findings(
                ran.comparison,
                ran.losses,
                diagnosis,
                planted[0].name if planted else None,
                envelope,
                sides,
                config,
                hints=extent(second) if processes and ran.comparison.equal else (),
            )
            _finish(findings, folder, title, argv)


def _finish(findings: "Findings", folder: Path, title: str, argv: Sequence[str]) -> None:
    """Prints the verdict, writes the report, and exits with 1 unless both sides are equal."""
    from shared.parity.findings import growth
    from shared.report import write_parity_report
    from shared.report.parity_page import HTML, MARKDOWN

    for line in findings.verdicts:
        print(printable(line))
    grown = growth(findings.comparison)
    if grown:
        print("how it grew:")
    for step, deviation, name in grown:
        where = f" at most, in {name}" if name else ""
        print(printable(f"  step {step}: {deviation}{where}"))
    command = cli.reproduction("parity", argv)
    write_parity_report(findings, folder, title=title, command=command)
    print(f"wrote {folder / HTML}, {folder / MARKDOWN} and the pictures beside them")
    if not findings.comparison.equal:
        sys.exit(1)


def _folder(arguments: Arguments, name: str) -> Path:
    """Returns the folder for the report."""
    from shared.report.parity_page import FILES, GALLERY

    own = {*FILES, *GALLERY}
    return report_folder(arguments.out, f"parity-{name}", own, arguments.overwrite)


def _trace_folders(
    arguments: Arguments, sides: tuple["Side", "Side"]
) -> AbstractContextManager[Sequence[Path]]:
    """Makes a folder for each side in --traces, or none."""
    if arguments.traces is None:
        return nullcontext(())
    from shared.parity.trace_files import new_folders

    names = [side.name.replace("/", "-").replace(" ", "-") for side in sides]
    if names[0] == names[1]:
        raise InvalidInput(
            f"--traces: expected two different contenders, got {sides[0].name} twice"
        )
    return new_folders(Path(arguments.traces), names, arguments.overwrite)
