"""The mistakes of `docs/lessons/catalog.py` in code: each trains with that one thing wrong, and
without.

Most are another way to call the network. Only `scripts/mistakes.py` uses them.
"""

import math
from collections.abc import Callable
from functools import partial
from itertools import islice

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from docs.lessons.catalog import Curve, Measured, Panel, conditional_entropy
from docs.lessons.trials import (
    SCORE_EVERY,
    SMOOTH,
    Forward,
    Job,
    Size,
    classification,
    curve,
    first_value,
    listed_letters,
    losses_of,
    network_of,
    positive,
    right,
    score,
    scores_of,
    spelling,
    train,
    with_sgd,
)
from rnn_torch.network import Network
from shared.protocol.dataset import Split

CHANCE = {"ln 2: as good as guessing": math.log(2)}
HELLO, FIRST = "hello → elloh", "the first of eight values decides"
"""Titles of pictures."""
EARLY = 100
"""The step at which slow beginnings are compared."""


def forgetful(network: Network, inputs: Tensor) -> Tensor:
    """Reads every step of (B, T) from a state of zeros, as a sequence of its own."""
    return right(network, inputs.reshape(-1, 1)).unflatten(0, inputs.shape).squeeze(2)


def last_for_all(network: Network, inputs: Tensor) -> Tensor:
    """Repeats the last step's logits for every step."""
    logits = right(network, inputs)
    return logits[:, -1:].expand_as(logits)


def weight_for_bias(network: Network, inputs: Tensor) -> Tensor:
    """Computes tanh(x_t W + W + b_hh) without recurrence. W (I, H) stands where b_ih (H,) is meant:
    where there are as many steps as inputs, T = I, row t of it is added at step t."""
    tensors = dict(network.rnn.named_parameters())
    weight, bias = tensors["weight_ih_l0"].T, tensors["bias_hh_l0"]
    return network.head(torch.tanh(F.embedding(inputs, weight) + weight + bias))


def detached(network: Network, inputs: Tensor) -> Tensor:
    """Cuts the state off from its past after every step."""
    state, logits = network.zero_state(len(inputs)), []
    for x_t in inputs.split(1, dim=1):
        logits_t, state = network(x_t, state)
        state = tuple(part.detach() for part in state)
        logits.append(logits_t)
    return torch.cat(logits, dim=1) if network.signature.per_step else logits[-1]


def carrying() -> Forward:
    """Returns a call that begins with the state in which the one before it ended."""
    kept: tuple[Tensor, ...] = ()

    def forward(network: Network, inputs: Tensor) -> Tensor:
        nonlocal kept
        logits, state = network(inputs, kept or network.zero_state(len(inputs)))
        kept = tuple(part.detach() for part in state)
        return logits

    return forward


def training_score(size: Size) -> Measured:
    job = classification("random-labels", size, examples=size.memorised)
    steps, (seen, unseen) = scores_of(
        job, right, size.epochs * job.per_epoch, job.per_epoch,
        lambda network: score(network, job.task.train, right),
        lambda network: score(network, job.task.test, right),
    )  # fmt: skip
    labels = "training data, called test data", "data held out"
    losses = [Curve(k, steps, s[:, 0]) for k, s in zip(labels, (seen, unseen), strict=True)]
    rates = [Curve(k, steps, 100 * s[:, 1]) for k, s in zip(labels, (seen, unseen), strict=True)]
    panels = [
        Panel("labels by a coin: loss of one network", losses, CHANCE),
        Panel("and its accuracy", rates, {"50 %: as good as guessing": 50.0}, "accuracy (%)"),
    ]
    numbers = {
        "examples": size.memorised,
        "epochs": size.epochs,
        "wrong_accuracy": f"{100 * seen[-1, 1]:.1f} %",
        "right_accuracy": f"{100 * unseen[-1, 1]:.1f} %",
    }
    return Measured(panels, numbers)


def random_labels(size: Size) -> Measured:
    curves = []
    labels = {"random-labels": "labels by a coin", "last-value": "labels by the last value"}
    for name, label in labels.items():
        job = classification(name, size)
        curves.append(curve(label, losses_of(job, right, job.per_epoch), SMOOTH))
    return Measured([Panel("every sequence is seen once", curves, CHANCE)])


def no_recurrence(size: Size) -> Measured:
    job = spelling(size)
    curves = _with_and_without(job, forgetful, size, "each letter on its own", "a walk over time")
    return Measured([Panel(HELLO, curves, _letter_alone(job))])


def misplaced_weight(size: Size) -> Measured:
    job = listed_letters(size)
    wrong, plain = network_of(job), network_of(job)
    curves = [
        curve("no walk, W_ih for b_ih", losses_of(job, weight_for_bias, size.steps, wrong)),
        curve("a walk over time", losses_of(job, right, size.steps)),
        curve("no walk, b_ih in its place", losses_of(job, forgetful, size.steps, plain)),
    ]
    split = job.task.train
    moved = Split(np.roll(split.inputs, 1, axis=1), np.roll(split.targets, 1, axis=1))
    numbers = {
        "moved": score(wrong, moved, weight_for_bias).loss,
        "plain": score(plain, split, forgetful).loss,
        "plain_moved": score(plain, moved, forgetful).loss,
    }
    return Measured([Panel(HELLO, curves, _letter_alone(job))], numbers)


def last_step(size: Size) -> Measured:
    job = spelling(size)
    labels = "one output for all five steps", "an output at every step"
    targets = np.asarray(job.task.train.targets)
    entropy = conditional_entropy(np.zeros_like(targets), targets)
    bounds = {"entropy of the letters e, l, l, o, h": entropy}
    return Measured([Panel(HELLO, _with_and_without(job, last_for_all, size, *labels), bounds)])


def forgotten_state(size: Size) -> Measured:
    job = spelling(size)
    steps, (forgot, kept) = scores_of(
        job, right, size.steps, SCORE_EVERY,
        lambda network: score(network, job.task.train, forgetful),
        lambda network: score(network, job.task.train, right),
    )  # fmt: skip
    curves = [
        Curve("predicting without the state", steps, forgot[:, 0]),
        Curve("predicting with the state", steps, kept[:, 0]),
    ]
    numbers = {
        "lowest": float(forgot[:, 0].min()),
        "wrong_letters": round(5 * forgot[-1, 1]),
        "right_letters": round(5 * kept[-1, 1]),
    }
    return Measured([Panel(f"{HELLO}, one network", curves, _letter_alone(job))], numbers)


def detached_state(size: Size) -> Measured:
    labels = "state detached at every step", "gradients through time"
    job = first_value(size)
    curves = [
        curve(label, losses_of(job, forward, job.per_epoch), SMOOTH)
        for label, forward in zip(labels, (detached, right), strict=True)
    ]
    hello = _with_and_without(spelling(size), detached, size, *labels)
    panels = [
        Panel(FIRST, curves, CHANCE),
        Panel(HELLO, hello, log=True),
    ]
    wrong, correct = (float(c.values[-1]) for c in hello)
    return Measured(panels, {"hello_wrong": wrong, "hello_right": correct})


def detached_remedy(size: Size) -> Measured:
    job = first_value(size)
    losses, norms, highest = [], [], {}
    for name, label, clip_norm, forward in (
        ("detached", "detached", None, detached),
        ("clipped", "clipped to a norm of 1", 1.0, right),
        ("neither", "neither", None, right),
    ):
        chosen = with_sgd(job, clip_norm)
        steps = [*islice(train(chosen, network_of(chosen), forward), job.per_epoch)]
        losses.append(curve(label, [step.loss for step in steps], SMOOTH))
        norms.append(curve(label, [step.norm for step in steps], SMOOTH))
        highest[f"{name}_norm"] = max(step.norm for step in steps)
    panels = [
        Panel(FIRST, losses, CHANCE, log=True),
        Panel("norm of the gradients before clipping", norms, ylabel="norm", log=True),
    ]
    return Measured(panels, highest | {"neither": float(losses[2].values[-1])})


def positive_weights(size: Size) -> Measured:
    labels = "weights from 0 to 1", "weights from −1/√H to 1/√H"
    last, hello = classification("last-value", size), spelling(size)
    curves = [
        [
            curve(label, losses_of(job, right, steps, network), mean_of)
            for label, network in zip(
                labels, (network_of(job, positive(size.seed)), network_of(job)), strict=True
            )
        ]
        for job, steps, mean_of in ((last, last.per_epoch, SMOOTH), (hello, size.steps, 1))
    ]
    panels = [
        Panel("last-value, 64 units", curves[0], CHANCE),
        Panel("hello, 8 units", curves[1], log=True),
    ]
    early = min(EARLY, size.steps)
    numbers: dict[str, int | float | str] = {"early": early}
    for name, shown in zip(("wrong", "right"), curves[1], strict=True):
        numbers[f"early_{name}"] = float(shown.values[early - 1])
        numbers[f"hello_{name}"] = float(shown.values[-1])
    return Measured(panels, numbers)


def carried_state(size: Size) -> Measured:
    panels, numbers = [], {}
    for word in ("mississippi", "hello"):
        job = spelling(size, word)
        judge = partial(score, split=job.task.train, forward=right)
        curves = []
        for label, forward in (("carried on", carrying()), ("from zero", right)):
            steps, (scores,) = scores_of(job, forward, size.steps, SCORE_EVERY, judge)
            curves.append(Curve(f"trained {label}, used from zero", steps, scores[:, 0]))
        seen = losses_of(job, carrying(), size.steps)
        curves.append(curve("what the first one's training shows", seen))
        numbers |= {f"{word}_seen": seen[-1], f"{word}_wrong": float(curves[0].values[-1])}
        panels.append(Panel(word, curves, log=word == "hello"))
    return Measured(panels, numbers)


def double_letter(size: Size) -> Measured:
    curves = [
        curve("five tokens, one never used", losses_of(listed_letters(size), right, size.steps)),
        curve("four tokens", losses_of(spelling(size), right, size.steps)),
    ]
    bounds = {"ln 5: five tokens alike": math.log(5), "ln 4: four tokens alike": math.log(4)}
    starts = {
        "wrong_start": float(curves[0].values[0]),
        "right_start": float(curves[1].values[0]),
    }
    return Measured([Panel(HELLO, curves, bounds, until=EARLY)], starts)


def _with_and_without(job: Job, forward: Forward, size: Size, *labels: str) -> list[Curve]:
    forwards = (forward, right)
    return [
        curve(label, losses_of(job, chosen, size.steps))
        for label, chosen in zip(labels, forwards, strict=True)
    ]


def _letter_alone(job: Job) -> dict[str, float]:
    """Returns the loss that no prediction from the present letter alone can go below."""
    read, targets, *_ = job.task.train
    bound = conditional_entropy(np.asarray(read), np.asarray(targets))
    return {"2/5 ln 2: what one letter can tell": bound}


MEASURE: dict[str, Callable[[Size], Measured]] = {
    "training-score": training_score,
    "random-labels": random_labels,
    "no-recurrence": no_recurrence,
    "misplaced-weight": misplaced_weight,
    "last-step": last_step,
    "forgotten-state": forgotten_state,
    "detached-state": detached_state,
    "detached-remedy": detached_remedy,
    "positive-weights": positive_weights,
    "carried-state": carried_state,
    "double-letter": double_letter,
}
"""Functions by the names of `docs/lessons/catalog.py`."""
