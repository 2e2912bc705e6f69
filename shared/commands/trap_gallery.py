"""Every trap, planted in a run of its own: what `parity --trap-gallery` does."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shared.commands import cli
from shared.config import Config
from shared.parity import lockstep
from shared.parity.planting import find_switch, load, run_planted
from shared.parity.traps import TRAPS
from shared.report.parity_page import GALLERY_HTML, GALLERY_MARKDOWN
from shared.report.trap_page import Planted, write_gallery
from shared.system.folders import reserved


def show_all(
    settings: Config,
    folder: Path,
    own: Mapping[str, Any],
    command: str,
    *,
    steps: int | None,
    tolerance: float,
    contenders: tuple[str, str],
) -> None:
    """Plants one trap after the other and writes a page of what each does.

    Args:
        settings: the configuration that each trap changes until it shows.
        folder: where the page goes.
        own: the options of `parity` that every run has, as the page shows them.
        command: the command line, shown for reproduction.
        steps, tolerance, contenders: those of every run, as the command's arguments.

    Raises:
        SystemExit: with 1, unless every trap is named as the cause of what it does.
    """
    with reserved(folder, "--out"):
        shown: list[Planted] = []
        for name, trap in TRAPS.items():
            config, task = load(trap.show(settings))
            sides = lockstep.sides(config, task, contenders)
            switch = find_switch(name, config, sides[0])
            count = lockstep.count_steps(steps, config, sides[0])
            ran, diagnosis = run_planted(config, task.signature, sides, [switch], count, tolerance)
            shown.append(Planted(switch.name, config, ran, diagnosis))
            found = "named" if shown[-1].named else "NOT named"
            print(f"{name}: {found}: {ran.comparison.sentence}", flush=True)
        program = cli.reproduction("parity", [])
        write_gallery(shown, folder, settings, own, program=program, command=command)
    named = sum(planted.named for planted in shown)
    print(f"{named} of {len(TRAPS)} planted traps were named")
    print(
        f"wrote {folder / GALLERY_HTML}, {folder / GALLERY_MARKDOWN} and the pictures beside them"
    )
    if named < len(TRAPS):
        sys.exit(1)
