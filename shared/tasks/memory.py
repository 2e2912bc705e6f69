"""Generated sequences that ask for memory: adding, copy, parity."""

import math
from collections.abc import Callable

import numpy as np

from shared.config import Config
from shared.config.data import AddingData, CopyData, ParityData
from shared.errors import InvalidInput
from shared.protocol.dataset import Signature, Split
from shared.system.environment import check_memory
from shared.system.randomness import generator
from shared.tasks import baselines
from shared.tasks.task import Baseline, Task

SYMBOLS = "abcdefgh"
"""Symbols of the copy task, tokens 1 … 8."""
BLANK, SIGNAL = 0, len(SYMBOLS) + 1
COPIED = 10
ROUNDS = 20
"""Largest number of draws, each of the wanted size, before there seem to be too few different
sequences."""


def adding(config: Config) -> Task:
    """Makes the adding problem: the sum of the two marked numbers among T.

    The inputs are (u_t, m_t): u_t is uniform on [0, 1), and there is a mark of 1 in each half
    (Hochreiter & Schmidhuber 1997; in this form Le et al. 2015).
    """
    data = config.data
    assert isinstance(data, AddingData)
    steps = data.sequence_length
    if steps < 2:
        raise InvalidInput(f"--data.sequence-length: expected at least 2, got {steps}")
    _check_memory(data, 4 * 2 * steps)

    def part(name: str, examples: int) -> Split:
        draw = generator(config.seed, f"adding, {name}")
        inputs = np.zeros((examples, steps, 2), np.float32)
        inputs[..., 0] = draw.random((examples, steps), np.float32)
        rows = np.arange(examples)
        first = draw.integers(0, steps // 2, examples)
        second = draw.integers(steps // 2, steps, examples)
        inputs[rows, first, 1] = inputs[rows, second, 1] = 1
        return Split(inputs, (inputs[rows, first, 0] + inputs[rows, second, 0])[:, None])

    train, valid, test = (part(name, size) for name, size in _sizes(data).items())
    return Task(
        name="adding",
        signature=Signature(2, 1, tokens=False, per_step=False, loss="mse"),
        train=train,
        valid=valid,
        test=test,
        score="loss",
        distance=steps - test.inputs[:, :, 1].argmax(axis=1),
        baselines=lambda: [baselines.constant("always 1", 1.0, np.asarray(test.targets))],
        source="generated",
    )


def copy(config: Config) -> Task:
    """Makes the copy problem: read ten symbols, and repeat them after T blanks and a signal.

    It is from Hochreiter & Schmidhuber 1997; in this form from Arjovsky et al. 2016. Every one of
    the T + 20 steps counts, as in the paper. A network that knows when to repeat, but guesses the
    symbols, loses 10 ln 8 / (T + 20) nats a step. No two sequences are alike.
    """
    data = config.data
    assert isinstance(data, CopyData)
    steps = data.blank_length + 2 * COPIED
    sizes = _sizes(data)
    _check_memory(data, 2 * 4 * steps)
    draw = generator(config.seed, "copy")
    symbols = _distinct(
        lambda count: draw.integers(1, SIGNAL, (count, COPIED), np.int32),
        sum(sizes.values()),
        f"sequences of {COPIED} symbols",
    )

    def part(symbols: np.ndarray) -> Split:
        inputs = np.full((len(symbols), steps), BLANK, np.int32)
        inputs[:, :COPIED] = symbols
        inputs[:, -COPIED - 1] = SIGNAL
        targets = np.full_like(inputs, BLANK)
        targets[:, -COPIED:] = symbols
        return Split(inputs, targets)

    train, valid, test = map(part, np.split(symbols, np.cumsum([*sizes.values()])[:2]))
    guessed = COPIED / steps
    loss, accuracy = guessed * math.log(len(SYMBOLS)), 1 - guessed * (1 - 1 / len(SYMBOLS))
    return Task(
        name="copy",
        signature=Signature(SIGNAL + 1, SIGNAL, tokens=True, per_step=True, loss="cross_entropy"),
        train=train,
        valid=valid,
        test=test,
        score="loss",
        baselines=lambda: [Baseline("without memory", {"loss": loss, "accuracy": accuracy})],
        vocabulary=(".", *SYMBOLS, "!"),
        source="generated",
    )


def parity(config: Config) -> Task:
    """Makes the parity problem: after each bit, tell if the number of ones so far is odd.

    No two sequences are alike. The network is scored also on longer ones than it was trained on.
    """
    data = config.data
    assert isinstance(data, ParityData)
    if not data.min_length <= data.max_length < data.longer_length:
        raise InvalidInput(
            "--data.min-length, --data.max-length, --data.longer-length: expected growing lengths, "
            f"got {data.min_length}, {data.max_length}, {data.longer_length}"
        )
    _check_memory(data, 2 * 4 * data.longer_length)

    def part(name: str, sizes: list[int], least: int, most: int) -> list[Split]:
        draw = generator(config.seed, f"parity, {name}")

        def rows(count: int) -> np.ndarray:
            lengths = draw.integers(least, most, count, np.int32, endpoint=True)
            bits = draw.integers(0, 2, (count, most), np.int32)
            bits[np.arange(most) >= lengths[:, None]] = 0
            return np.column_stack([lengths, bits])

        what = f"sequences of {least} to {most} bits (--data.min-length, --data.max-length)"
        found = np.split(_distinct(rows, sum(sizes), what), np.cumsum(sizes)[:-1])
        return [Split(r[:, 1:], np.cumsum(r[:, 1:], 1, np.int32) % 2, r[:, 0]) for r in found]

    sizes = _sizes(data)
    train, valid, test = part("bits", [*sizes.values()], data.min_length, data.max_length)
    longer = part("longer", [sizes["test"]], data.max_length + 1, data.longer_length)[0]
    return Task(
        name="parity",
        signature=Signature(2, 2, tokens=True, per_step=True, loss="cross_entropy"),
        train=train,
        valid=valid,
        test=test,
        longer=longer,
        baselines=lambda: [baselines.class_frequencies(_real(train), _real(test), 2)],
        vocabulary=("0", "1"),
        source="generated",
    )


def _real(split: Split) -> np.ndarray:
    """Returns the targets of all steps that are no padding."""
    assert split.lengths is not None
    return split.targets[np.arange(split.targets.shape[1]) < split.lengths[:, None]]


def _sizes(data: AddingData | CopyData | ParityData) -> dict[str, int]:
    return {
        "train": data.train_examples,
        "valid": data.valid_examples,
        "test": data.test_examples,
    }


def _check_memory(data: AddingData | CopyData | ParityData, bytes_each: int) -> None:
    count = sum(_sizes(data).values())
    check_memory(
        count * bytes_each,
        f"{count} sequences (--data.train-examples, --data.valid-examples, --data.test-examples)",
    )


def _distinct(draw: Callable[[int], np.ndarray], count: int, what: str) -> np.ndarray:
    """Returns `count` rows, no two alike, in the order in which they were drawn.

    Raises:
        InvalidInput: `ROUNDS` draws of `count` rows did not yield them, or a draw brought nothing
            new.
    """
    drawn, before = draw(count), 0
    first = np.empty(0, np.int64)
    for _ in range(ROUNDS):
        first = np.sort(np.unique(drawn, axis=0, return_index=True)[1])
        if len(first) >= count:
            return drawn[first[:count]]
        if len(first) == before:
            break
        before = len(first)
        drawn = np.concatenate([drawn, draw(count)])
    raise InvalidInput(f"expected {count} different {what}, got {len(first)} that differ")
