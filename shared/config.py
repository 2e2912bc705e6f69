"""What to train, on what, and how: frozen dataclasses <-> command line <-> JSON.

    config = replace(TASKS["hello"].defaults, backend="torch")     # the defaults of a task
    config = resolve(config)            # checked, constants filled in: shared/validation.py
    config == from_json(asdict(config))                            # what config.json in a run holds

A value of None means "the default that belongs to the other choices"; `resolve` replaces it, so a
run folder always records the number that was really used.
"""

import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Annotated, Any, Literal, TypeVar, get_args

import tyro

from shared.data_config import Data, HelloData
from shared.errors import InvalidInput
from shared.files import parse
from shared.layer import Cell, Nonlinearity

Precision = Literal["float32", "float64"]
Part = TypeVar("Part")
Unprefixed = Annotated[Part, tyro.conf.arg(name="")]
"""A group whose options stand on the command line by their own names: --cell, no --network.cell."""


@dataclass(frozen=True)
class NetworkConfig:
    cell: Cell = "rnn"
    """Recurrent cell: Elman (rnn), LSTM or GRU."""
    nonlinearity: Nonlinearity = "tanh"
    """Nonlinearity of the Elman cell."""
    hidden_size: int = 64
    """Features of the hidden state."""
    num_layers: int = 1
    """Recurrent layers, each reading the outputs of the one below."""
    bidirectional: bool = False
    """Read every sequence in both directions."""
    dropout: float = 0.0
    """Probability of dropping an output between two recurrent layers, in [0, 1)."""
    embedding_size: int | None = None
    """Features of a learned embedding of tokens; None feeds them as one-hot vectors, but words,
    whose embedding has the hidden size then."""
    tied: bool = False
    """Use the embedding as the output layer's weights, too (Press & Wolf 2017)."""
    init_range: float | None = None
    """Draw all initial weights uniformly from -R to R; None draws them as torch.nn does."""
    forget_bias: float = 0.0
    """LSTM, GRU: added to the initial bias of the gate that keeps the state, forget gate or update
    gate, so that a long memory need not be learned first (Jozefowicz et al. 2015)."""


@dataclass(frozen=True)
class OptimizationConfig:
    optimizer: Literal["adam", "adamw", "sgd", "rmsprop"] = "adam"
    """Optimizer, with PyTorch's formulas and constants in both frameworks."""
    learning_rate: float = 1e-3
    """Initial learning rate."""
    betas: tuple[float, float] | None = None
    """Adam, AdamW: decay of the first and second moment (0.9 0.999)."""
    eps: float | None = None
    """Adam, AdamW, RMSprop: added to the denominator, outside the root (1e-8)."""
    weight_decay: float | None = None
    """L2 penalty, decoupled for AdamW (0; AdamW 0.01)."""
    momentum: float | None = None
    """SGD, RMSprop: momentum (0)."""
    nesterov: bool | None = None
    """SGD: Nesterov momentum (False)."""
    alpha: float | None = None
    """RMSprop: decay of the mean square (0.99)."""
    clip_norm: float | None = None
    """Scale gradients down to this global norm, as torch.nn.utils.clip_grad_norm_ does."""
    schedule: Literal["constant", "step", "decay", "cosine"] = "constant"
    """Learning rate over time."""
    step_size: int | None = None
    """Step schedule: epochs between two decays."""
    gamma: float | None = None
    """Step and decay schedule: factor of a decay (0.1; decay 0.5)."""
    decay_after: int | None = None
    """Decay schedule: epochs at the initial rate, before each one decays (Zaremba et al. 2014)."""
    min_learning_rate: float | None = None
    """Cosine schedule: learning rate at the end of the run (0)."""


@dataclass(frozen=True)
class Config:
    backend: Literal["jax", "torch"] = "jax"
    """Framework to train in."""
    implementation: Literal["handcrafted", "native"] = "handcrafted"
    """This project's own layers, or those that come with the framework."""
    task: str = "hello"
    """What to learn."""
    network: Unprefixed[NetworkConfig] = NetworkConfig()
    optimization: Unprefixed[OptimizationConfig] = OptimizationConfig()
    data: Data = field(default_factory=HelloData)
    epochs: int = 1
    """Passes over the training part."""
    batch_size: int = 64
    """Sequences in a batch; for text, parallel streams."""
    bptt: int | None = None
    """Truncate back-propagation to windows of this many steps, carrying the detached state from one
    window to the next; None propagates through whole sequences."""
    eval_every: int = 1
    """Epochs between two evaluations, each with a checkpoint."""
    checkpoint_every: str = "5m"
    """Steps or time between two checkpoints, such as 200, 30s, 5m or 1h, counted from the last
    evaluation; times count where a call of the backend ends."""
    keep_checkpoints: int = 2
    """Checkpoints to keep: the last ones, and for each of them the best in validation so far."""
    precision: Precision = "float32"
    """Floating-point type of weights and arithmetic."""
    device: Literal["auto", "cpu", "gpu", "tpu"] = "auto"
    """Where to compute; auto takes an accelerator if the framework sees one."""
    seed: int = 0
    """Seed of weights, order, dropout masks and generated data."""
    log_every: int = 1
    """Write the training loss of every N-th step."""
    logger: Literal["jsonl", "tensorboard"] = "jsonl"
    """Where to write the history: metrics.jsonl alone, or TensorBoard's events beside it."""
    detect_anomaly: bool = False
    """Look at all that a step computes, and stop at the first number that is not finite, with its
    name; much slower."""


# What each choice understands, with the default that torch documents. An option outside the chosen
# row makes no sense and is refused instead of being ignored.
OPTIMIZERS: dict[str, dict[str, Any]] = {
    "adam": {"betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0},
    "adamw": {"betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.01},
    "sgd": {"momentum": 0.0, "nesterov": False, "weight_decay": 0.0},
    "rmsprop": {"alpha": 0.99, "eps": 1e-8, "momentum": 0.0, "weight_decay": 0.0},
}
SCHEDULES: dict[str, dict[str, Any]] = {
    "constant": {},
    "step": {"step_size": None, "gamma": 0.1},
    "decay": {"decay_after": None, "gamma": 0.5},
    "cosine": {"min_learning_rate": 0.0},
}


def with_choice(optimization: OptimizationConfig, choice: str, chosen: str) -> OptimizationConfig:
    """Another optimizer or schedule, and with it the default constants of that one.

    Args:
        choice: "optimizer" or "schedule".
        chosen: what to choose; nothing happens if it is chosen already.
    """
    if getattr(optimization, choice) == chosen:
        return optimization
    table = {"optimizer": OPTIMIZERS, "schedule": SCHEDULES}[choice]
    belonging: dict[str, Any] = {name: None for row in table.values() for name in row}
    return replace(optimization, **{choice: chosen}, **belonging)


def constants(optimization: OptimizationConfig) -> dict[str, Any]:
    """The constants of a resolved configuration's optimizer, by torch's names."""
    return {name: getattr(optimization, name) for name in OPTIMIZERS[optimization.optimizer]}


def moment_names(optimization: OptimizationConfig) -> tuple[str, ...]:
    """What an optimizer remembers of each parameter, by the names in torch.optim's state."""
    return {
        "adam": ("exp_avg", "exp_avg_sq"),
        "adamw": ("exp_avg", "exp_avg_sq"),
        "sgd": (),
        "rmsprop": ("square_avg",),
    }[optimization.optimizer] + (("momentum_buffer",) if optimization.momentum else ())


def from_json(values: dict[str, Any]) -> Config:
    """The configuration that `dataclasses.asdict` took apart.

    Raises:
        InvalidInput: a key is missing or unknown, or a value has the wrong type.
    """
    try:
        data = parse(_data_of(values["data"]), values["data"], "config")
        others = {name: value for name, value in values.items() if name != "data"}
        config = replace(parse(Config, others), data=data)
    except KeyError as error:
        raise InvalidInput(
            f"no config of this version: expected {error.args[0]}, got none"
        ) from error
    except (TypeError, AttributeError) as error:
        raise InvalidInput(f"no config of this version: {error!r}") from error
    # A missing key gets its default, which need not be what the run was trained with.
    missing = sorted(_names(asdict(config)) - _names(values))
    if missing:
        raise InvalidInput(
            f"no config of this version: expected {', '.join(missing)}, got no such key"
        )
    return config


def settings(config: Config) -> dict[str, Any]:
    """Values by the names of their options, without "--": {"cell": "rnn", "data.path": None, …}."""
    flat: dict[str, Any] = {}
    for name, value in asdict(config).items():
        prefix = "data." if name == "data" else ""
        inner = value if isinstance(value, dict) else {name: value}
        flat |= {flag(prefix + key).removeprefix("--"): inner[key] for key in inner}
    return flat


def options(values: Mapping[str, Any], usual: Mapping[str, Any]) -> list[str]:
    """Settings as the command line takes them: ["--cell rnn", "--no-bidirectional", …].

    Args:
        values: all or some of `settings`. One of None counts where it is not the usual one.
        usual: `settings` of the defaults that the options change.
    """
    words = []
    for name, value in values.items():
        if isinstance(value, bool) and usual.get(name) is not None:
            words.append(f"--{name}" if value else f"--no-{name}")
        elif value is not None or usual.get(name) is not None:
            several = value if isinstance(value, tuple) else (value,)
            words.append(shlex.join([f"--{name}", *map(str, several)]))
    return words


def differing(first: Config, second: Config) -> list[str]:
    """Options in which two configurations differ: ["--cell", …]."""
    a, b = settings(first), settings(second)
    return [f"--{name}" for name in sorted(a.keys() | b.keys()) if a.get(name) != b.get(name)]


def _data_of(values: dict[str, Any]) -> type[Any]:
    """The kind of data whose options these are: no two kinds have the same."""
    for kind in get_args(Data):
        if {option.name for option in fields(kind)} == values.keys():
            return kind
    raise InvalidInput(f"no config of this version: data: unknown options {', '.join(values)}")


def _names(values: dict[str, Any]) -> set[str]:
    return {
        name
        for key, value in values.items()
        for name in ([f"{key}.{inner}" for inner in value] if isinstance(value, dict) else [key])
    }


def flag(name: str) -> str:
    """The option of a field: "hidden_size" → "--hidden-size"."""
    return "--" + name.replace("_", "-")
