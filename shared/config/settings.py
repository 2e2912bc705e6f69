"""What to train, on what, and how: frozen dataclasses <-> command line <-> JSON.

    config = replace(TASKS["hello"].defaults, backend="torch")     # the defaults of a task
    config = resolve(config)            # checked, constants filled in: shared/config/validation.py
    config == from_json(asdict(config))                            # what config.json in a run holds

A value of None means "the default that belongs to the other choices"; `resolve` replaces it, so a
run folder always records the number that was really used.
"""

from dataclasses import dataclass, field
from typing import Literal

from shared.config.data import Data, HelloData

Cell = Literal["rnn", "lstm", "gru"]
Nonlinearity = Literal["tanh", "relu"]
Precision = Literal["float32", "float64"]


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
    highway: int | None = None
    """Last steps of a sequence of numbers that a linear layer reads beside the recurrent layers; it
    starts at least squares and its output is added to theirs (Lai et al. 2018). 0 is none. None is
    the whole window of a forecast, and 0 elsewhere."""
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
    network: NetworkConfig = NetworkConfig()
    optimization: OptimizationConfig = OptimizationConfig()
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
