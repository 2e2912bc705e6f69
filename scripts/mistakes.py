"""Trains with each of the tutorial's mistakes and without it, and writes a page of what it does.

For example:
    python scripts/mistakes.py
    python scripts/mistakes.py --only detached-state carried-state --seed 1

The page, mistakes.md, has a picture of each, and the messages of those that do not run at all.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # what a checkout has beside the packages

from shared.commands import cli
from shared.errors import InvalidInput
from shared.system import process
from shared.system.folders import report_folder, reserved


@dataclass(frozen=True)
class Arguments:
    only: tuple[str, ...] = ()
    """Names of the mistakes to show; by default all of --list."""
    list: bool = False
    """Print the names of the mistakes, one a line."""
    seed: int = 0
    """Seed of weights, order and generated data."""
    out: str | None = None
    """Folder for the page; by default the next free one in reports/."""
    overwrite: bool = False
    """Replace the page in --out."""


def main(argv: Sequence[str]) -> None:
    from docs.lessons.catalog import MISTAKES

    assert __doc__ is not None
    arguments = cli.parse(Arguments, argv, Arguments(), __doc__)
    unknown = [name for name in arguments.only if name not in MISTAKES]
    if unknown:
        raise InvalidInput(f"--only: expected some of {', '.join(MISTAKES)}, got {unknown[0]}")
    if arguments.seed < 0:
        raise InvalidInput(f"--seed: expected 0 or more, got {arguments.seed}")
    if arguments.list:
        print("\n".join(MISTAKES))
    else:
        _show(arguments, argv)


def _show(arguments: Arguments, argv: Sequence[str]) -> None:
    from docs.lessons.page import FILES, PAGE, write_mistakes

    folder = report_folder(arguments.out, "mistakes", FILES, arguments.overwrite)
    with reserved(folder, "--out"):
        import torch

        from docs.lessons.crashes import CRASHES, facts, message
        from docs.lessons.mistakes import MEASURE
        from docs.lessons.trials import Size

        torch.set_num_threads(1)  # a second thread only waits where tensors are small
        torch.set_flush_denormal(True)
        size, measured = Size(seed=arguments.seed), {}
        for name, measure in MEASURE.items():
            if not arguments.only or name in arguments.only:
                measured[name] = measure(size)
                wrong, right = measured[name].ends
                print(f"{name}: loss {wrong:.4f}, without it {right:.4f}", flush=True)
        write_mistakes(
            measured, {name: message(call) for name, call in CRASHES.items()}, facts(size), folder,
            seed=size.seed, command=cli.reproduction("mistakes", argv),
        )  # fmt: skip
    print(f"wrote {folder / PAGE} and the pictures beside it")


if __name__ == "__main__":
    process.run(main)
