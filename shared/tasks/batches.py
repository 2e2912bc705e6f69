"""The batches of a task, as its configuration wants them."""

from shared.config import Config
from shared.protocol.batching import (
    EVALUATION_ROWS,
    EVALUATION_ROWS_BY_LENGTH,
    EVALUATION_WINDOW,
    Batches,
    Dropout,
)
from shared.protocol.dataset import Split
from shared.system.team import ALONE, Team
from shared.tasks.task import Task


def training_batches(config: Config, task: Task, team: Team = ALONE) -> Batches:
    """Returns the batches of training; in a team, the part of this process."""
    network = config.network
    width = network.hidden_size * (2 if network.bidirectional else 1)
    dropout = Dropout(network.dropout, network.num_layers - 1, width) if network.dropout else None
    return Batches(
        task.train,
        batch_size=min(config.batch_size, len(task.train.inputs)),
        window=config.bptt,
        shuffle=not task.streams,
        seed=config.seed,
        dtype=config.precision,
        per_step=task.signature.per_step,
        dropout=dropout,
        by_length=_by_length(config, task, task.train),
        part=team.rank,
        parts=team.count,
    )


def evaluation_batches(config: Config, task: Task, split: Split, team: Team = ALONE) -> Batches:
    """Returns the batches that score a part of the data; in a team, the part of this process."""
    by_length = _by_length(config, task, split)
    rows = EVALUATION_ROWS_BY_LENGTH if by_length else EVALUATION_ROWS
    return Batches(
        split,
        batch_size=min(max(config.batch_size, rows), len(split.inputs)),
        window=max(config.bptt or 0, EVALUATION_WINDOW) if task.streams else config.bptt,
        shuffle=False,
        seed=config.seed,
        dtype=config.precision,
        per_step=task.signature.per_step,
        by_length=by_length,
        part=team.rank,
        parts=team.count,
    )


def _by_length(config: Config, task: Task, split: Split) -> bool:
    """Tells whether batches are made of sequences of similar lengths."""
    return task.by_length and split.lengths is not None and config.bptt is None
