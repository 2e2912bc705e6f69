"""What people use of rnn-parity, under the name that they install. A name loads what it needs when
it is first used, so that one framework is enough for what needs no other.

    import rnn_parity as rp

    task = rp.forecast("sales.csv", target="sales", time="date", horizon=7)
    fit = rp.fit(task, backend="jax", hidden_size=32)

    from rnn_parity import JaxProgram, TorchProgram, compare_programs
    from rnn_parity import TASKS, load_trained, read_run, train

The layers themselves are in `rnn_jax` and `rnn_torch`.
"""

import importlib
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # for editors and type checkers; what runs is `__getattr__`
    from rnn_jax.pair import JaxProgram as JaxProgram
    from rnn_torch.pair import TorchProgram as TorchProgram
    from shared.config import Config as Config
    from shared.config import resolve as resolve
    from shared.errors import DamagedFile as DamagedFile
    from shared.errors import InvalidInput as InvalidInput
    from shared.errors import NotCarriedOver as NotCarriedOver
    from shared.errors import OutputsDiffer as OutputsDiffer
    from shared.errors import TrainingDiverged as TrainingDiverged
    from shared.inference import load_trained as load_trained
    from shared.inference.predict import predictions as predictions
    from shared.notebook import Fit as Fit
    from shared.notebook import Problem as Problem
    from shared.notebook import fit as fit
    from shared.notebook import fit_seeds as fit_seeds
    from shared.notebook import forecast as forecast
    from shared.notebook import labels as labels
    from shared.notebook import load as load
    from shared.notebook import pairs as pairs
    from shared.notebook import prove as prove
    from shared.notebook import sequences as sequences
    from shared.notebook import task as task
    from shared.parity import Findings as Findings
    from shared.parity import compare_programs as compare_programs
    from shared.parity.comparison import Diverged as Diverged
    from shared.parity.comparison import compare_folders as compare_folders
    from shared.parity.propose import propose as propose
    from shared.protocol.folding import fold as fold
    from shared.protocol.mapping import WeightMap as WeightMap
    from shared.protocol.state_dict import find_layer as find_layer
    from shared.protocol.state_dict import read_safetensors as read_safetensors
    from shared.protocol.weight_files import read_layer as read_layer
    from shared.protocol.weight_files import write_layer as write_layer
    from shared.report import write_parity_report as write_parity_report
    from shared.report import write_report as write_report
    from shared.runs import read_run as read_run
    from shared.tasks import TASKS as TASKS
    from shared.tasks import load_task as load_task
    from shared.training import train as train
    from shared.training import train_seeds as train_seeds


__version__ = version("rnn-parity")

_MODULES = {
    "rnn_jax.pair": ("JaxProgram",),
    "rnn_torch.pair": ("TorchProgram",),
    "shared.config": ("Config", "resolve"),
    "shared.errors": (
        "DamagedFile",
        "InvalidInput",
        "NotCarriedOver",
        "OutputsDiffer",
        "TrainingDiverged",
    ),
    "shared.inference": ("load_trained",),
    "shared.inference.predict": ("predictions",),
    "shared.notebook": (
        "Fit",
        "Problem",
        "fit",
        "fit_seeds",
        "forecast",
        "labels",
        "load",
        "pairs",
        "prove",
        "sequences",
        "task",
    ),
    "shared.parity": ("Findings", "compare_programs"),
    "shared.parity.comparison": ("Diverged", "compare_folders"),
    "shared.parity.propose": ("propose",),
    "shared.protocol.folding": ("fold",),
    "shared.protocol.mapping": ("WeightMap",),
    "shared.protocol.state_dict": ("find_layer", "read_safetensors"),
    "shared.protocol.weight_files": ("read_layer", "write_layer"),
    "shared.report": ("write_parity_report", "write_report"),
    "shared.runs": ("read_run",),
    "shared.tasks": ("TASKS", "load_task"),
    "shared.training": ("train", "train_seeds"),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}

__all__ = sorted(_HOMES)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'rnn_parity' has no attribute {name!r}")
    check_shared()
    try:
        return getattr(importlib.import_module(_HOMES[name]), name)
    except ModuleNotFoundError as error:
        message = f"rnn_parity.{name} needs the package {error.name}, which is not installed"
        raise ImportError(message, name=error.name) from error


def check_shared() -> None:
    """Raises ImportError where another package or file is called `shared` and hides ours."""
    ours, found = Path(__file__).resolve().parents[1] / "shared", find_spec("shared")
    origin = Path((found and found.origin) or "nowhere").resolve()
    if origin.parent != ours:
        raise ImportError(
            f"rnn_parity needs the package shared in {ours}, but Python finds another one of that "
            f"name first: {origin}; rename that one, or start Python in another folder"
        )


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
