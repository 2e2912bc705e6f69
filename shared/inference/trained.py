"""A run folder → its trained network, in either framework.

trained = load_trained(Path("runs/text-1"), backend="torch", precision="float64")
outputs, carry = trained.backend.predict(trained.state, inputs)
"""

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

from shared.config import Config, resolve
from shared.config.settings import Precision
from shared.errors import InvalidInput
from shared.protocol import Backend, Snapshot, load_backend
from shared.protocol.backend import State
from shared.protocol.weights import network_shapes
from shared.runs import checkpoint, run_folder
from shared.runs.checkpoint import PATTERN
from shared.runs.schema import FILE, Schema, read_schema


class Trained(NamedTuple):
    config: Config
    schema: Schema
    backend: Backend
    state: State
    step: int
    """Number of optimizer steps after which its weights were taken."""


def load_trained(
    folder: Path | str,
    backend: Literal["jax", "torch"] | None = None,
    device: Any = None,
    precision: Precision | None = None,
) -> Trained:
    """Loads the network of a run, from the best checkpoint if there is one, else from the last.

    Args:
        backend: another than that of the run.
        device: where to compute, if not where the run was told to.
        precision: another than that of the run.

    Raises:
        InvalidInput: the folder holds no run, one without a checkpoint, or a file that is damaged,
            of another version, or does not fit the others.
    """
    folder = Path(folder)
    run_folder.check_run(folder)
    config = resolve(run_folder.read_config(folder / run_folder.CONFIG))
    if not (folder / FILE).is_file():
        raise InvalidInput(f"{folder}: expected a run of this version, got one without {FILE}")
    schema = read_schema(folder)
    if schema.task != config.task:
        raise InvalidInput(
            f"{folder / FILE}: expected task {config.task} as in {run_folder.CONFIG}, "
            f"got {schema.task}"
        )
    if not checkpoint.steps(folder):
        raise InvalidInput(f"{folder}: expected a checkpoint ({PATTERN}), got none")
    newest, found = checkpoint.read_last(folder)
    _check_newest(folder, newest.snapshot.step)
    file = checkpoint.path(folder, found.snapshot.step)
    if found.data != schema.data:
        raise InvalidInput(
            f"{file}: expected a checkpoint of the data in {FILE} ({schema.data}), "
            f"got one of other data ({found.data})"
        )
    snapshot = found.snapshot
    _check_shapes(config, schema, snapshot, file)
    # The run's own layers where the framework has them; both hold the same weights.
    chosen = resolve(
        replace(
            config,
            backend=backend or config.backend,
            device=device or config.device,
            precision=precision or config.precision,
            implementation="handcrafted",
        )
    )
    weights = {k: array.astype(chosen.precision) for k, array in snapshot.weights.items()}
    loaded = load_backend(chosen, schema.signature)
    return Trained(chosen, schema, loaded, loaded.init(Snapshot.of(weights)), snapshot.step)


def _check_newest(folder: Path, step: int) -> None:
    """Refuses a finished run whose last checkpoint is missing: an older one has other weights."""
    if not run_folder.status(folder).finished:
        return
    expected = run_folder.read_summary(folder).steps
    if step != expected:
        names = [checkpoint.path(folder, n).name for n in (expected, step)]
        raise InvalidInput(
            f"{folder}: expected {names[0]}, of which {run_folder.SUMMARY} tells, got {names[1]} "
            f"as the newest; without {run_folder.SUMMARY}, the network of {names[1]} is taken"
        )


def _check_shapes(config: Config, schema: Schema, snapshot: Snapshot, file: Path) -> None:
    expected = network_shapes(config.network, schema.input_size, schema.output_size)
    got = {name: array.shape for name, array in snapshot.weights.items()}
    for name in [*expected, *got]:
        if expected.get(name) != got.get(name):
            raise InvalidInput(
                f"{file}: the configuration beside it expects {expected.get(name, 'no tensor')} "
                f"as {name}, got {got.get(name, 'none')}"
            )
