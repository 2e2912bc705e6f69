"""What one process of a run measures: a step with the others, the same step without them, and what
is sent between them.

A step with the others is `Backend.advance`, as in training. Without them, each process takes at the
same time the same step with its own rows alone: as much to compute, on as many busy cores, with
nothing sent. What is sent is measured by itself, too: the sum over all processes of arrays of the
gradients' shapes, with their packing into one buffer and out of it.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from benchmarks.scaling_sizes import SCALARS, SIZES, Framework, Size
from shared.config import Config
from shared.protocol import Batch, load_backend
from shared.protocol.backend import Backend, first_snapshot
from shared.protocol.row_parts import part_of_rows
from shared.system.team import ALONE, Team

WORKERS = (8, 64, 512)
"""Numbers of workers of the model."""
LEAST, MOST = 3, 25
"""Least and largest number of samples of a measurement."""


@dataclass(frozen=True)
class Measured:
    """One size in one framework, measured by the processes of one run. Times are of one step."""

    framework: Framework
    size: str
    processes: int
    devices: int
    device: str
    round: int
    step_ms: float
    alone_ms: float
    """Milliseconds of the step with the rows of one process, while the other processes take theirs,
    and nothing is sent."""
    reduce_ms: float
    """Milliseconds of what is sent, by itself."""
    reduced_bytes: int
    rows_ms: dict[str, float]
    """Number of rows → milliseconds of a step with them, nothing sent: what the model needs. Empty
    where it was not asked for."""


def measure(
    team: Team,
    framework: Framework,
    name: str,
    device: str,
    seconds: float,
    rows: bool = True,
    number: int = 1,
) -> Measured:
    """Measures one size; all processes have to call it.

    Args:
        seconds: how long the measurement takes about, without its beginning.
        rows: measure also the steps with fewer rows that the model needs.
        number: of the round.
    """
    size = SIZES[name]
    config = size.config(framework, device)
    backend = load_backend(config, size.signature, team, size.batch_size)
    own = size.batches(part_of_rows(size.batch_size, team.rank, team.count))
    run = _steps(backend, config, size, own)
    kinds: list[Callable[[], Any]] = [run]
    if team.several:
        alone = _without_others(framework, size, config)
        kinds += [_steps(alone, config, size, own), _sums(framework, backend, size, own)]
    found = [ms / size.steps for ms in _clocked(team, kinds, seconds)]
    step, alone_ms, reduce_ms = found if team.several else (found[0], found[0], 0.0)
    fewer = {}
    if rows:
        fewer = _rows(team, framework, size, device, seconds / 4)
        if not team.several:
            fewer[str(size.batch_size)] = round(step, 4)
    return Measured(
        framework,
        name,
        team.count,
        backend.devices,
        backend.device,
        number,
        round(step, 4),
        round(alone_ms, 4),
        round(reduce_ms, 4),
        size.reduced_bytes,
        fewer,
    )


def _rows(
    team: Team, framework: Framework, size: Size, device: str, seconds: float
) -> dict[str, float]:
    """Returns milliseconds of a step with as few rows as a batch leaves to each of many workers;
    in a team, also with all rows."""
    counts = {-(-size.batch_size // workers) for workers in WORKERS}
    if team.several:
        counts.add(size.batch_size)
    found = {}
    for count in sorted(counts):
        config = size.config(framework, device, count)
        backend = _without_others(framework, size, config)
        run = _steps(backend, config, size, size.batches(np.arange(count)))
        (ms,) = _clocked(team, [run], seconds)
        found[str(count)] = round(ms / size.steps, 4)
    return found


def _clocked(team: Team, kinds: list[Callable[[], Any]], seconds: float) -> list[float]:
    """Calls functions in turn, as often as fits into so many seconds; returns for each the median
    of its milliseconds. Of all processes, which begin together, the slowest counts."""
    for call in kinds:  # which compiles
        call()
    once = sum(_clock(call) for call in kinds)
    count = team.of_first(min(MOST, max(LEAST, round(seconds / once))))
    samples: list[list[float]] = []
    for _ in range(count):
        times = []
        for call in kinds:
            team.exchange(b"")
            times.append(1000 * _clock(call))
        samples.append(times)
    slowest = np.max(team.gather(samples), axis=0)
    return [statistics.median(map(float, column)) for column in slowest.T]


def _clock(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _steps(
    backend: Backend, config: Config, size: Size, batch: Batch[np.ndarray]
) -> Callable[[], Any]:
    """Returns a function that takes the steps of one call and waits for them."""
    rates = np.full(size.steps, 1e-3)
    states = [backend.init(first_snapshot(config, size.signature))]

    def run() -> np.ndarray:
        (states[0],), (metrics,) = backend.advance([states[0]], [batch], rates)
        return np.asarray(metrics.norms)

    return run


def _without_others(framework: Framework, size: Size, config: Config) -> Backend:
    """Returns a backend that takes steps on the devices of this process alone, also where there are
    other processes."""
    backend: Any = load_backend(config, size.signature, ALONE, config.batch_size)
    if framework == "jax":
        all_devices = backend._mesh
        backend._mesh = lambda *sizes: _own_devices(all_devices(*sizes))
    return backend


def _own_devices(mesh: Any) -> Any:
    """Returns those devices of a mesh of JAX that belong to this process; None for a single one."""
    import jax
    from jax.sharding import AxisType

    from rnn_jax.sharding import AXIS

    if mesh is None:
        return None
    own = [d for d in mesh.devices.flat if d.process_index == jax.process_index()]
    if len(own) == 1:
        return None
    return jax.make_mesh((len(own),), (AXIS,), axis_types=(AxisType.Auto,), devices=own)


def _sums(
    framework: Framework, backend: Any, size: Size, batch: Batch[np.ndarray]
) -> Callable[[], Any]:
    """Returns a function that sums arrays of the gradients' shapes over all processes, as often as
    a call of the backend does."""
    arrays = {name: np.zeros(shape, np.float32) for name, shape in size.shapes.items()}
    arrays["scalars"] = np.zeros(SCALARS, np.float32)
    if framework == "torch":
        return partial(_torch_sums, size.steps, [*map(backend._tensor, arrays.values())])
    import jax

    from rnn_jax import sharding

    mesh = backend._mesh(batch.inputs.shape[1:3], 6)

    def sums(tree: Any) -> Any:
        def once(tree: Any, _: None) -> tuple[Any, None]:
            # An array that does not change would be summed once for all steps.
            found = sharding.total(mesh, sharding.own(mesh, tree))
            return jax.tree.map(lambda leaf: leaf / mesh.size, found), None

        return jax.lax.scan(once, tree, None, size.steps)[0]

    call = jax.jit(sharding.shared_among(mesh, sums, (sharding.WHOLE,), sharding.WHOLE))
    device = jax.local_devices()[0]
    placed = sharding.place(mesh, device, (arrays,), (sharding.WHOLE,))
    return lambda: jax.block_until_ready(call(*placed))


def _torch_sums(count: int, tensors: list[Any]) -> None:
    from rnn_torch import processes

    for _ in range(count):
        processes.total(tensors)
    tensors[-1].sum().item()  # a GPU is waited for
