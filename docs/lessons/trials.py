"""Short trainings in which one thing can be done otherwise, for `docs/lessons/mistakes.py`.

    job = spelling(Size())
    for step in islice(train(job, network_of(job), forward), 1000): print(step.loss)

Data, initial weights, batches, network and optimizer are those of `scripts/run.py`; `forward` is
how the network is called: (B, T) tokens or (B, T, I) features → logits (B, T, O) or (B, O).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import count, islice
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from docs.lessons.catalog import Curve
from rnn_torch import losses, optimizers
from rnn_torch.network import Network
from shared.config import Config, resolve
from shared.config.choices import with_choice
from shared.config.data import GeneratedData, HelloData
from shared.protocol.dataset import Split
from shared.protocol.weights import Weights, initialize
from shared.system.randomness import generator
from shared.tasks import TASKS, load_task
from shared.tasks.batches import training_batches
from shared.tasks.task import Task

Forward = Callable[[Network, Tensor], Tensor]

HELD_OUT = 2_000
"""Sequences that a classifier is scored on."""
SMOOTH = 25
"""Number of steps over which the losses of differing batches are averaged in a picture."""
SCORE_EVERY = 10
"""Steps of `hello` between two scores."""


class Size(NamedTuple):
    """The length of the networks' training."""

    seed: int = 0
    steps: int = 1000
    """Steps of `hello`."""
    examples: int = 40_000
    """Examples of a classification that sees each once, in batches of 64."""
    memorised: int = 500
    """Examples of a classification that sees each many times."""
    epochs: int = 100


class Job(NamedTuple):
    """The training job: a resolved configuration and its data."""

    config: Config
    task: Task

    @property
    def per_epoch(self) -> int:
        return training_batches(*self).per_epoch


def right(network: Network, inputs: Tensor) -> Tensor:
    """Reads whole sequences from a state of zeros, with gradients through all their steps."""
    return network(inputs, network.zero_state(len(inputs)))[0]


def spelling(size: Size, word: str = "hello") -> Job:
    """Returns the task `hello`, with its defaults."""
    return _job(replace(TASKS["hello"].defaults, seed=size.seed, data=HelloData((word,))))


def classification(name: str, size: Size, steps: int = 20, examples: int | None = None) -> Job:
    """Returns the task `last-value` or `random-labels`, on fewer and shorter sequences."""
    data = GeneratedData(examples or size.examples, 1, HELD_OUT, sequence_length=steps)
    return _job(replace(TASKS[name].defaults, seed=size.seed, data=data))


def first_value(size: Size) -> Job:
    """Returns `last-value` read backwards: what decides comes first, seven steps before the
    answer."""
    config, task = classification("last-value", size, steps=8)
    train, test = (part._replace(inputs=part.inputs[:, ::-1]) for part in (task.train, task.test))
    return Job(config, replace(task, train=train, test=test))


def listed_letters(size: Size) -> Job:
    """Returns `hello` with a token for each of its letters. There are five, but the second l takes
    the place of the first, which is never used."""
    job = spelling(size)
    places = {letter: place for place, letter in enumerate("hello")}
    tokens = np.array([places[letter] for letter in job.task.vocabulary])
    split = Split(tokens[job.task.train.inputs], tokens[job.task.train.targets])
    signature = job.task.signature._replace(input_size=5, output_size=5)
    return Job(job.config, replace(job.task, train=split, test=split, signature=signature))


def with_sgd(job: Job, clip_norm: float | None) -> Job:
    """Returns the job with plain gradient descent at a learning rate of 1, large enough for
    gradients to explode."""
    optimization = with_choice(job.config.optimization, "optimizer", "sgd")
    optimization = replace(optimization, learning_rate=1.0, clip_norm=clip_norm)
    return job._replace(config=resolve(replace(job.config, optimization=optimization)))


def _job(config: Config) -> Job:
    config = resolve(replace(config, backend="torch"))
    return Job(config, load_task(config))


def network_of(job: Job, change: Callable[[Weights], Weights] = dict) -> Network:
    """Returns the network with the initial weights of a run, or with those that `change` makes of
    them."""
    config, signature = job.config, job.task.signature
    weights = initialize(
        config.network, signature.input_size, signature.output_size, config.seed, config.precision
    )
    network = Network(
        config.network, signature, "handcrafted", device=torch.device("cpu"), dtype=torch.float32
    )
    tensors = {name: torch.from_numpy(array) for name, array in change(weights).items()}
    network.load_state_dict(tensors, strict=True)
    return network


def positive(seed: int) -> Callable[[Weights], Weights]:
    """Returns a change that draws recurrent weights from U[0, 1) and sets biases to zero."""

    def change(weights: Weights) -> Weights:
        draw = generator(seed, "positive weights")
        changed = dict(weights)
        for name, values in weights.items():
            if name.startswith("rnn."):
                drawn = draw.random(values.shape) * ("weight" in name)
                changed[name] = drawn.astype(values.dtype)
        return changed

    return change


class Step(NamedTuple):
    loss: float
    """Loss before the step, in nats."""
    norm: float
    """Norm of its gradients, before clipping."""


def train(job: Job, network: Network, forward: Forward) -> Iterator[Step]:
    """Yields optimizer steps without end, as `rnn_torch/step.py` takes them."""
    params: optimizers.Params = dict(network.named_parameters())
    optimizer = optimizers.make(job.config.optimization, params)
    batches = training_batches(*job)
    clip_norm = job.config.optimization.clip_norm
    for step in count():
        inputs, targets, weights = map(_tensor, batches.take(step, 1)[:3])
        optimizer.zero_grad()
        loss, _, weight = losses.sums("cross_entropy", forward(network, inputs), targets, weights)
        loss = loss / weight
        loss.backward()
        gradients = [param.grad for param in params.values() if param.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        if clip_norm is not None:
            optimizers.clip(params, clip_norm)
        optimizer.step()
        yield Step(loss.item(), norm.item())


class Score(NamedTuple):
    loss: float
    """Loss in nats."""
    accuracy: float


@torch.no_grad()
def score(network: Network, split: Split, forward: Forward) -> Score:
    inputs, targets = _tensor(split.inputs[None]), _tensor(split.targets[None])
    weights = torch.ones(targets.shape)
    loss, correct, weight = losses.sums("cross_entropy", forward(network, inputs), targets, weights)
    return Score((loss / weight).item(), (correct / weight).item())


def _tensor(stacked: np.ndarray) -> Tensor:
    """Returns the only one of the stacked batches."""
    tensor = torch.from_numpy(np.ascontiguousarray(stacked[0]))
    return tensor if tensor.is_floating_point() else tensor.long()


def losses_of(
    job: Job, forward: Forward, steps: int, network: Network | None = None
) -> list[float]:
    """Returns the loss of every step of a training."""
    taken = train(job, network or network_of(job), forward)
    return [step.loss for step in islice(taken, steps)]


def scores_of(
    job: Job, forward: Forward, steps: int, every: int, *judges: Callable[[Network], Score]
) -> tuple[np.ndarray, np.ndarray]:
    """Trains, and asks the judges every so many steps.

    Returns:
        Those steps (S,), and of each judge loss and accuracy (judges, S, 2).
    """
    network, found = network_of(job), {}
    for step, _ in enumerate(islice(train(job, network, forward), steps), start=1):
        if step % every == 0:
            found[step] = [judge(network) for judge in judges]
    return np.array([*found]), np.array([*found.values()]).swapaxes(0, 1)


def curve(label: str, values: Sequence[float], mean_of: int = 1) -> Curve:
    """Makes a curve with a value for each step, or the mean of so many."""
    size = min(mean_of, len(values))
    whole = len(values) // size * size
    return Curve(
        label, np.arange(size, whole + 1, size), np.array(values[:whole]).reshape(-1, size).mean(1)
    )
