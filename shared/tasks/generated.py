"""Classification of generated sequences, as the tutorial's code and as its text describe it."""

from collections.abc import Callable

import numpy as np

from shared.config import Config, GeneratedData
from shared.environment import check_memory
from shared.randomness import generator
from shared.tasks.task import Baseline, Signature, Split, Task

Label = Callable[[np.ndarray, np.ndarray, str], np.ndarray]
"""Inputs (N, T, I), lengths (N,) and the name of the part → labels (N,)."""


def random_labels(config: Config) -> Task:
    """Standard normal sequences whose labels are coin flips, independent of them.

    Held-out accuracy must be chance; more would mean that the test part leaks into training.
    """

    def labels(inputs: np.ndarray, lengths: np.ndarray, part: str) -> np.ndarray:
        return generator(config.seed, f"labels of {part}").integers(0, 2, len(inputs), np.int32)

    return _classification("random-labels", config, labels)


def last_value(config: Config) -> Task:
    """Standard normal sequences, labelled by the sign of the last step's first feature."""

    def labels(inputs: np.ndarray, lengths: np.ndarray, part: str) -> np.ndarray:
        return (inputs[np.arange(len(inputs)), lengths - 1, 0] > 0).astype(np.int32)

    return _classification("last-value", config, labels)


def _classification(name: str, config: Config, label: Label) -> Task:
    data = config.data
    assert isinstance(data, GeneratedData)

    examples = data.train_examples + data.valid_examples + data.test_examples
    check_memory(
        4 * examples * data.sequence_length * data.input_size,
        f"{examples} sequences (--data.train-examples, --data.valid-examples, "
        f"--data.test-examples) of {data.sequence_length} × {data.input_size} numbers",
    )

    def split(part: str, examples: int) -> Split:
        shape = (examples, data.sequence_length, data.input_size)
        inputs = generator(config.seed, f"inputs of {part}").standard_normal(shape, np.float32)
        if data.min_length is None:
            return Split(inputs, label(inputs, np.full(examples, data.sequence_length), part))
        draw = generator(config.seed, f"lengths of {part}").integers
        lengths = draw(data.min_length, data.sequence_length, examples, np.int32, endpoint=True)
        inputs[np.arange(data.sequence_length) >= lengths[:, None]] = 0
        return Split(inputs, label(inputs, lengths, part), lengths)

    train = split("train", data.train_examples)
    test = split("test", data.test_examples)
    return Task(
        name=name,
        signature=Signature(data.input_size, 2, tokens=False, per_step=False, loss="cross_entropy"),
        train=train,
        valid=split("valid", data.valid_examples),
        test=test,
        baseline=_class_frequencies(train.targets, test.targets),
        source="generated, standard normal",
    )


def _class_frequencies(train: np.ndarray, test: np.ndarray) -> Baseline:
    """Always predicts the class frequencies of the training part (with one count added to each, so
    that a class which it lacks has a finite loss)."""
    counts = np.bincount(train, minlength=2) + 1
    shares = counts / counts.sum()
    accuracy = np.mean(test == shares.argmax())
    return Baseline("class frequencies", float(-np.log(shares[test]).mean()), float(accuracy))
