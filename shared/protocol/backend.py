"""The contract between the training loop and a framework: pure steps on an opaque state.

    backend = load_backend(config, signature)
    state = backend.init(Snapshot.of(weights))
    (state,), (metrics,) = backend.advance([state], [batch], rates)    # S optimizer steps
    state, trace = backend.trace(state, batch, rates)            # the same, every phase of it shown
    snapshot = backend.export(state)                             # canonical, for any backend

`init` and `export` speak the canonical layout of `shared/protocol/weights.py`, so a snapshot that
one framework wrote continues in the other.
"""

import importlib
import math
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from shared.config import Config
from shared.config.choices import moment_names
from shared.errors import InvalidInput
from shared.protocol.batching import Batch
from shared.protocol.dataset import Signature
from shared.protocol.trace import Trace
from shared.protocol.weights import Weights, initialize, network_shapes
from shared.system import environment
from shared.system.team import ALONE, Team

if TYPE_CHECKING:
    from shared.protocol.sampling import Sampling

State = Any


class Snapshot(NamedTuple):
    """Everything that a run needs to go on, in NumPy and in the canonical layout.

    weights: name → array, as in `shared/protocol/weights.py`.
    moments: "exp_avg.rnn.weight_ih_l0" → array: the optimizer's moments under torch's names.
    carry:   the recurrent state between two windows, each (L·D, B, H); () stands for zeros.
    step:    optimizer steps taken.
    """

    weights: Weights
    moments: dict[str, np.ndarray]
    carry: tuple[np.ndarray, ...]
    step: int

    @staticmethod
    def of(weights: Weights) -> "Snapshot":
        return Snapshot(weights, {}, (), 0)


def first_snapshot(config: Config, signature: Signature) -> Snapshot:
    """Returns the beginning of a run, at step 0: weights drawn from the seed, no moments.

    Raises:
        InvalidInput: the machine has no memory for the weights, their gradients and moments.
    """
    shapes = network_shapes(config.network, signature.input_size, signature.output_size)
    parameters = sum(map(math.prod, shapes.values()))
    tensors = 2 + len(moment_names(config.optimization))  # weights, gradients and moments
    environment.check_memory(
        parameters * tensors * np.dtype(config.precision).itemsize,
        f"{parameters} parameters (--hidden-size, --num-layers), their gradients and moments",
    )
    weights = initialize(
        config.network, signature.input_size, signature.output_size, config.seed, config.precision
    )
    return Snapshot.of(weights)


class Metrics(NamedTuple):
    """Loss and metric of S steps, shape (S,), and the norm of each gradient before clipping.

    The norms have shape (S, P) for `Backend.parameters`. All are arrays of the framework, read with
    np.asarray.
    """

    loss: Any
    metric: Any
    norms: Any


class Evaluation(NamedTuple):
    """Mean loss (nats or squared error) and metric over all targets of a data set."""

    loss: float
    metric: float


class Backend(Protocol):
    team: Team
    """The processes that take its steps together. Of a batch, each gets its part."""
    device: str
    """Device that it computes on, as the framework names it."""
    devices: int
    """Devices among which a batch is shared, in all processes."""
    path: str
    """Implementation that really runs."""
    notes: list[str]
    """Notes for a reader of the numbers, such as weights that a native layer cannot hold."""
    parameters: list[str]
    """Names of the trained parameters, as the layer has them: canonical, except in Flax's
    layers."""
    own_masks: bool
    """True if its layers draw dropout masks of their own instead of taking those of a batch."""
    compile_s: float
    """Seconds spent compiling so far."""

    @property
    def compilation(self) -> str:
        """Description of what was compiled so far, and of how much of it came from a cache."""
        ...

    def __init__(
        self, config: Config, signature: Signature, team: Team = ALONE, rows: int = 0
    ) -> None: ...

    def init(self, snapshot: Snapshot) -> State: ...

    def advance(
        self, states: Sequence[State], batches: Sequence[Batch[np.ndarray]], rates: np.ndarray
    ) -> tuple[list[State], list[Metrics]]:
        """Takes S optimizer steps in each of N states, in one program where it can.

        Args:
            states: used up; the states of several seeds, or the single state of a run.
            batches: for each state, one batch for each step, stacked.
            rates: (S,) learning rates.

        Returns:
            The new states, and their metrics before each step. Each state gets the result that it
            gets alone, except for rounding.
        """
        ...

    def together(self, operations: float) -> bool:
        """Tells whether one call of `advance` for several seeds is faster than a call for each.

        Args:
            operations: of a step of one seed.
        """
        ...

    def trace(
        self, state: State, batch: Batch[np.ndarray], rates: np.ndarray
    ) -> tuple[State, Trace]:
        """Takes the steps of `advance` for one state and shows what each computes; a single process
        takes them on a single device.

        The trace holds the arrays of `shared/protocol/trace.py` in canonical names and shapes, each
        with a leading axis S; in a team, of the whole batch.
        """
        ...

    def evaluate(self, state: State, batches: Iterable[Batch[np.ndarray]]) -> Evaluation:
        """Scores without dropout; the carry starts at zero and passes through all batches."""
        ...

    def predict(
        self,
        state: State,
        inputs: np.ndarray,
        lengths: np.ndarray | None = None,
        carry: tuple[np.ndarray, ...] | None = None,
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
        """Returns outputs for inputs (B, T, …), and the recurrent state after them.

        The outputs are (B, T, O), or (B, O) of the last step; the state is (L·D, B, H) each. It
        starts from zero, or from a carry.
        """
        ...

    def generate(
        self,
        state: State,
        logits: np.ndarray,
        carry: tuple[np.ndarray, ...],
        noise: np.ndarray,
        how: "Sampling",
    ) -> tuple[np.ndarray, np.ndarray, tuple[np.ndarray, ...]]:
        """Draws N tokens, each from the logits after the one before: `choose` in sampling.py.

        Args:
            logits: (V,) of the first token.
            carry: the recurrent state of a single sequence, each (L·D, 1, H).
            noise: (N, V) Gumbel noise.

        Returns:
            The tokens (N,) int32, the logits of the next one and the state after the last.
        """
        ...

    def export(self, state: State) -> Snapshot: ...


_failed: dict[str, Exception] = {}
"""Errors of the first import of each framework: a second try fails for another reason."""


def import_backend(name: str) -> None:
    """Imports a framework ahead of `load_backend`, which raises any error that occurs here."""
    try:
        part_of(name, "backend")
    except Exception as error:
        _failed[name] = error


def load_backend(
    config: Config, signature: Signature, team: Team = ALONE, rows: int = 0
) -> Backend:
    """Returns the backend of a configuration; imports its framework if that has not happened yet.

    Args:
        team: processes that take the steps together.
        rows: of a whole batch; several processes need it.

    Raises:
        InvalidInput: the framework is not installed, cannot be imported, or has no such device.
    """
    if team.several and rows < 1:
        raise ValueError(f"rows: expected those of a whole batch, got {rows}")
    try:
        module = part_of(config.backend, "backend")
    except Exception as second:
        error = _failed.get(config.backend, second)
        if isinstance(error, InvalidInput):
            raise error from error.__cause__
        # Such as JAX_ENABLE_COMPILATION_CACHE=maybe.
        raise InvalidInput(f"--backend {config.backend}: cannot be imported: {error}") from error
    return module.Backend(config, signature, team=team, rows=rows)


def part_of(framework: str, name: str) -> ModuleType:
    """Returns a file of a backend's package, found by name: nothing in `shared` imports a
    framework.

    Args:
        framework: "jax" or "torch".
        name: of the file, such as "exchange".

    Raises:
        InvalidInput: a package that it needs is not installed.
    """
    try:
        return importlib.import_module(f"rnn_{framework}.{name}")
    except ModuleNotFoundError as error:
        raise _missing(framework, error.name) from error


PACKAGES = {"jax": ("jax", "flax", "optax"), "torch": ("torch",)}
"""What each backend needs."""


def check_installed(frameworks: Iterable[str]) -> None:
    """Refuses frameworks that are not installed, without importing those that are.

    Raises:
        InvalidInput: the message names the package.
    """
    for framework in frameworks:
        for package in PACKAGES[framework]:
            if find_spec(package) is None:
                raise _missing(framework, package)


def _missing(framework: str, package: str | None) -> InvalidInput:
    return InvalidInput(
        f"--backend {framework} needs the package {package}, which is not installed"
    )
