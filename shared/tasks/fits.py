"""Checks that a configuration fits the data of its task."""

from shared.config import Config
from shared.errors import InvalidInput
from shared.tasks.task import Task


def check_fits(config: Config, task: Task) -> None:
    """Checks that a configuration fits its task.

    Raises:
        InvalidInput: an option needs something that the task does not have.
    """
    if config.bptt is not None and not task.signature.per_step:
        raise InvalidInput(
            f"--bptt {config.bptt} needs a target at every step, which task {task.name} has not"
        )
    if config.bptt is not None and (
        task.train.lengths is not None or task.train.weights is not None
    ):
        raise InvalidInput(
            f"--bptt {config.bptt} needs sequences of one length whose every step counts, which "
            f"task {task.name} has not"
        )
    if config.network.embedding_size is not None and not task.signature.tokens:
        raise InvalidInput(
            f"--embedding-size {config.network.embedding_size} needs tokens to embed, which task "
            f"{task.name} has not"
        )
    inputs, outputs = task.signature.input_size, task.signature.output_size
    if config.network.tied and inputs != outputs:
        raise InvalidInput(
            f"--tied needs as many outputs as tokens, of which task {task.name} has {outputs} and "
            f"{inputs}"
        )
    _check_highway(config, task)


def _check_highway(config: Config, task: Task) -> None:
    """Refuses a linear highway where there is no window of numbers that ends in a number."""
    steps, signature = config.network.highway, task.signature
    if not steps:
        return
    ragged = task.train.lengths is not None
    if signature.tokens or signature.per_step or signature.loss != "mse" or ragged:
        raise InvalidInput(
            f"--highway {steps} needs sequences of numbers, of one length, with numbers to predict "
            f"after the last step, which task {task.name} has not"
        )
    longest = task.train.inputs.shape[1]
    if steps > longest:
        raise InvalidInput(f"--highway: expected at most a sequence's {longest} steps, got {steps}")
