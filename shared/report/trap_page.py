"""Every trap in a run of its own → one page that says what each does, and a picture of each.

write_gallery([Planted(name, config, lockstep, diagnosis), …], folder, base, own, command=…)
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from shared.config import Config, resolve
from shared.config.naming import task_and_cell
from shared.config.options import options, settings
from shared.parity.diagnosis import Diagnosis
from shared.parity.findings import cause
from shared.parity.lockstep import Lockstep
from shared.parity.traps import TRAPS, about
from shared.report.parity_page import FILES, GALLERY, GALLERY_HTML, GALLERY_MARKDOWN
from shared.report.parity_plots import save_losses
from shared.report.render import write_pages
from shared.system import environment
from shared.system.folders import remove
from shared.tasks.registry import row


class Planted(NamedTuple):
    """A trap and the result of its run."""

    name: str
    config: Config
    """Configuration of its run, resolved."""
    lockstep: Lockstep
    diagnosis: Diagnosis | None

    @property
    def named(self) -> bool:
        """True if the instrument names this trap and no other."""
        return self.diagnosis is not None and self.diagnosis.causes == [self.name]


def write_gallery(
    shown: Sequence[Planted],
    folder: Path,
    base: Config,
    own: Mapping[str, Any],
    *,
    program: str,
    command: str,
) -> None:
    """Writes traps.html, traps.md and a picture of each trap, which shows its effect on a whole
    run.

    Args:
        base: the configuration that each trap changed until it showed.
        own: options of the command itself that every run had, such as {"steps": 100}.
        program: how the command is called, such as "rnn-parity parity".
        command: the command line, shown for reproduction.
    """
    folder.mkdir(parents=True, exist_ok=True)
    remove(folder, (*FILES, *GALLERY))  # the older one may have had pictures that this one lacks
    pictures, rows = {}, []
    for planted in shown:
        trap, comparison = planted.name.partition(":")[0], planted.lockstep.comparison
        pictures[trap] = f"trap-{trap}.png"
        names = (f"{comparison.first} with {planted.name}", comparison.second)
        losses = planted.lockstep.losses
        save_losses(losses, names, folder / pictures[trap])
        rows.append(
            {
                "trap": trap,
                "name": planted.name,
                "about": about(planted.name)[0].upper() + about(planted.name)[1:],
                "needs": TRAPS[trap].needs,
                "task": task_and_cell(planted.config),
                "sentence": comparison.sentence,
                "causes": cause(comparison, planted.diagnosis),
                "first_loss": f"{losses[0][-1]:.4g}",
                "second_loss": f"{losses[1][-1]:.4g}",
                "steps": len(losses[0]),
                "options": _changed(base, planted.config),
                "command": single(program, planted.name, planted.config, own),
            }
        )
    context = {"rows": rows, "machine": environment.machine(), "command": command}
    write_pages(folder, (GALLERY_HTML, GALLERY_MARKDOWN), pictures, context)


def single(program: str, name: str, config: Config, own: Mapping[str, Any]) -> str:
    """Returns the command line that plants one trap in a run of this configuration."""
    usual = TRAPS[name.partition(":")[0]].show(
        replace(row(config.task).defaults, precision="float64")
    )
    task = {} if config.task == "hello" else {"task": config.task}
    words = [*options(task, {}), *_changed(usual, config), *options(own, {})]
    return " ".join([program, "--inject", name, *words])


def _changed(base: Config, config: Config) -> list[str]:
    """Returns the options that turn the first configuration into the second."""
    before, after = settings(resolve(base)), settings(config)
    changed = {name: after[name] for name in after if after[name] != before.get(name)}
    return options(changed, settings(base))
