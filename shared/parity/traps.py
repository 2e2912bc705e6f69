"""The known traps: what makes a port train differently although every line of it looks right.

A trap is one thing that the JAX side of a lockstep run does in another way than PyTorch. This file
says what each one is and which configuration shows it; `rnn_jax/traps.py` has its code.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from shared.config import Config
from shared.config.choices import with_choice
from shared.config.data import GeneratedData, HelloData
from shared.errors import InvalidInput
from shared.parity.comparison import Comparison
from shared.protocol.batching import Batches


def _always(config: Config, batches: Batches) -> bool:
    return True


def _nothing(config: Config) -> str:
    return ""


def _same(config: Config) -> Config:
    return config


class Trap(NamedTuple):
    """A trap; by default, every configuration shows it."""

    about: str
    """Difference between the two sides: what one does and the other does not."""
    needs: str = ""
    """Need of the trap: what a configuration must have so that it changes anything; empty if
    nothing."""
    shown_by: Callable[[Config, Batches], bool] = _always
    """Test of whether a configuration and its training batches meet this need."""
    otherwise: Callable[[Config], str] = _nothing
    """Description of what a configuration has that does not meet it."""
    show: Callable[[Config], Config] = _same
    """Function that changes a configuration so that it meets the need."""


WORDS = ("hello", "orange", "pink")
"""Words of several lengths, whose first letters tell them apart."""


def _network(**changes) -> Callable[[Config], Config]:
    return lambda config: replace(config, network=replace(config.network, **changes))


def _optimizer(name: str) -> Callable[[Config], Config]:
    return lambda config: replace(
        config, optimization=with_choice(config.optimization, "optimizer", name)
    )


def _clipped(config: Config) -> Config:
    return replace(config, optimization=replace(config.optimization, clip_norm=0.1))


def _with_lengths(config: Config) -> Config:
    data = config.data
    if isinstance(data, GeneratedData):
        return replace(config, data=replace(data, min_length=1 + data.sequence_length // 2))
    return _several_words(config)


def _several_words(config: Config) -> Config:
    if isinstance(config.data, HelloData):
        return replace(config, data=HelloData(WORDS), batch_size=2)
    return config


PROCESSES = (2, 4, 8)
"""Numbers of processes among which `mean-of-means` shares a batch."""


def uneven(batches: Batches, processes: int) -> bool:
    """Tells whether processes can have unequal counts of targets in some batch: its rows cannot be
    shared equally, or rows have several lengths, or targets have weights of their own.

    Process p of P has the rows p·b … (p + 1)·b − 1 of a batch of B, where b = ceil(B / P). With
    fewer rows than processes, False. No batch is read for this: by chance, all may be equal.
    """
    lengths, rows = batches.split.lengths, batches.batch_size
    if rows < processes:
        return False
    if batches.per_step and lengths is not None and lengths.min() < lengths.max():
        return True
    return batches.split.weights is not None or batches.rows % rows > 0 or rows % processes > 0


def _make_uneven(config: Config) -> Config:
    return _make_ragged(replace(config, batch_size=max(2, config.batch_size)))


def _ragged(config: Config, batches: Batches) -> bool:
    """Tells whether the targets of some batch count unequally: it is not full, or its sequences
    have several lengths, or weights of their own."""
    lengths = batches.per_step and batches.split.lengths is not None
    counts = batches.split.weights is not None or batches.rows % batches.batch_size > 0
    return lengths or counts or not batches.take(batches.per_epoch - 1, 1).weights.all()


def _make_ragged(config: Config) -> Config:
    data = config.data
    if isinstance(data, GeneratedData):
        rows = min(data.train_examples, 3 * config.batch_size) - 1
        return replace(config, data=replace(data, train_examples=max(1, rows)))
    return _several_words(config)


def _optimizer_of(config: Config) -> str:
    return f"--optimizer {config.optimization.optimizer}"


TRAPS: dict[str, Trap] = {
    "single-bias": Trap(
        "one bias is trained where PyTorch trains two, whose sum moves twice as far in a step"
    ),
    "clip-epsilon": Trap(
        "clipping divides by the norm, as optax does; PyTorch by norm + 1e-6",
        needs="--clip-norm, below the norm of the gradients",
        shown_by=lambda config, _: config.optimization.clip_norm is not None,
        otherwise=lambda _: "no --clip-norm",
        show=_clipped,
    ),
    "reset-gate": Trap(
        "the GRU's reset gate acts on h before W_hn; PyTorch's on W_hn h + b_hn",
        needs="--cell gru",
        shown_by=lambda config, _: config.network.cell == "gru",
        otherwise=lambda config: f"--cell {config.network.cell}",
        show=_network(cell="gru"),
    ),
    "adam": Trap(
        "Adam's epsilon or bias correction has another place than in PyTorch",
        needs="--optimizer adam or adamw, with --eps and --betas above 0",
        shown_by=lambda config, _: config.optimization.optimizer in ("adam", "adamw"),
        otherwise=_optimizer_of,
        show=_optimizer("adam"),
    ),
    "rmsprop-epsilon": Trap(
        "RMSprop's epsilon is inside the root, as in optax; PyTorch's is outside",
        needs="--optimizer rmsprop, with --eps above 0",
        shown_by=lambda config, _: config.optimization.optimizer == "rmsprop",
        otherwise=_optimizer_of,
        show=_optimizer("rmsprop"),
    ),
    "ragged-mean": Trap(
        "the mean loss of a batch that is not full is divided by the size of a full one, padding "
        "included",
        needs="a batch that is not full, or targets at every step of sequences of several lengths",
        shown_by=_ragged,
        otherwise=lambda _: "full batches of one length",
        show=_make_ragged,
    ),
    "mean-of-means": Trap(
        "each of several processes divides by the count of its own targets, not by that of all, "
        "and their gradients are averaged",
        needs="--batch-size of 2 or more, and parts of a batch with unequal counts of targets (a "
        "batch that is not full, targets at every step of sequences of several lengths, weights)",
        shown_by=lambda _, batches: any(uneven(batches, count) for count in PROCESSES),
        otherwise=lambda config: f"full batches of one length, --batch-size {config.batch_size}",
        show=_make_uneven,
    ),
    "padding": Trap(
        "the recurrence runs on into the padding, whose outputs are not zero",
        needs="sequences of several lengths (--data.words, --data.min-length)",
        shown_by=lambda _, batches: batches.split.lengths is not None,
        otherwise=lambda _: "sequences of one length",
        show=_with_lengths,
    ),
    "float32": Trap(
        "recurrent layers compute in float32 inside a float64 run",
        needs="--precision float64",
        shown_by=lambda config, _: config.precision == "float64",
        otherwise=lambda config: f"--precision {config.precision}",
        show=lambda config: replace(config, precision="float64"),
    ),
    "gates": Trap("a weight is read transposed, or the gates in another order than PyTorch's"),
    "initial-values": Trap("training starts from the framework's own initial values"),
    "batch-order": Trap(
        "examples come in another order",
        needs="several sequences that are not alike (--data.words)",
        shown_by=lambda _, batches: batches.rows > 1,
        otherwise=lambda _: "one sequence",
        show=_several_words,
    ),
}


VARIANTS: dict[str, dict[str, str]] = {
    "adam": {
        "epsilon-hat": "epsilon is added to a second moment not corrected yet, as in TensorFlow",
        "epsilon-in-root": "Adam's epsilon is under the root",
        "no-correction": "Adam's moments are not corrected for their bias",
    },
    "mean-of-means": {
        str(count): f"each of {count} processes divides by the count of its own targets, not by "
        "that of all, and their gradients are averaged"
        for count in PROCESSES
    },
    "gates": {
        "igfo": "the gates are read in the order i g f o of TensorFlow 1 and Haiku, not i f g o",
        "ifog": "the gates are read in the order i f o g of Stanford's CS231n, not i f g o",
        "iofg": "the gates are read in the order i o f g of ONNX, not i f g o",
        "zrn": "the gates are read in the order z r n of Keras and ONNX, not r z n",
        "transposed": "the recurrent weights W_hh are read transposed: square, they fit",
    },
}
"""Variants of each trap that has several. The first that fits a network is the default."""


NEEDS = {"gates:transposed": "--hidden-size above 1"} | {
    f"mean-of-means:{count}": f"a batch of {count} or more rows, and unequal counts of targets in "
    f"the parts of {count} processes"
    for count in PROCESSES
}
"""Needs of a variant, where it needs something else than the trap does."""


def about(name: str) -> str:
    """Tells what a trap, or a variant such as "gates:transposed", does."""
    trap, _, variant = name.partition(":")
    return VARIANTS[trap][variant] if variant else TRAPS[trap].about


def find(name: str) -> tuple[str, str | None]:
    """Returns the trap of "gates", or the trap and the variant of "gates:transposed".

    Raises:
        InvalidInput: there is no such trap.
    """
    trap, _, variant = name.partition(":")
    if trap not in TRAPS:
        raise InvalidInput(f"--inject: expected one of {', '.join(TRAPS)}, got {name}")
    return trap, variant or None


def check_shown(name: str, config: Config, batches: Batches) -> None:
    """Refuses a configuration in which a trap changes nothing.

    Raises:
        InvalidInput: it does; the message says what the trap needs, and what came.
    """
    trap = TRAPS[name]
    if not trap.shown_by(config, batches):
        raise InvalidInput(
            f"--inject {name} changes nothing here: expected {trap.needs}, "
            f"got {trap.otherwise(config)}"
        )


def check_seen(name: str, comparison: Comparison) -> None:
    """Refuses to call a run with a planted trap equal.

    Raises:
        InvalidInput: the run was equal all the same.
    """
    if comparison.equal:
        needs = NEEDS.get(name, TRAPS[name.partition(":")[0]].needs)
        raise InvalidInput(
            f"--inject {name}: expected a run that it changes{needs and f' ({needs})'}, "
            f"got one {comparison.sentence}"
        )
