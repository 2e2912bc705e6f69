"""Classification of generated sequences, as the tutorial's code and as its text describe it."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import numpy as np

from shared.config import Config
from shared.config.data import GeneratedData
from shared.errors import InvalidInput
from shared.protocol.dataset import Signature, Split
from shared.system.environment import check_memory
from shared.system.randomness import generator
from shared.tasks import baselines
from shared.tasks.stored import Form, Stored
from shared.tasks.task import Task

Label = Callable[[np.random.Generator, np.ndarray, np.ndarray], np.ndarray]
"""Maker of labels: a generator, inputs (N, T, I) and lengths (N,) → labels (N,). It is called for
one piece after the other."""

PIECE = 2**24
"""Bytes of inputs that are drawn at once, each piece from its own stream. Another size gives other
data."""


def random_labels(config: Config) -> Task:
    """Makes standard normal sequences whose labels are coin flips, independent of them.

    Held-out accuracy must be chance; more would mean that the test part leaks into training.
    """

    def labels(draw: np.random.Generator, inputs: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        return draw.integers(0, 2, len(inputs), np.int32)

    return _classification("random-labels", config, labels)


def last_value(config: Config) -> Task:
    """Makes standard normal sequences, labelled by the sign of the last step's first feature."""

    def labels(draw: np.random.Generator, inputs: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        return inputs[np.arange(len(inputs)), lengths - 1, 0] > 0

    return _classification("last-value", config, labels)


def _classification(name: str, config: Config, label: Label) -> Task:
    data = config.data
    assert isinstance(data, GeneratedData)
    parts = {
        "train": data.train_examples,
        "valid": data.valid_examples,
        "test": data.test_examples,
    }
    forms = {
        f"{part}-{kind}": form
        for part, examples in parts.items()
        for kind, form in _forms(data, examples).items()
    }
    if data.folder is None:
        check_memory(
            sum(form.bytes for form in forms.values()),
            f"{sum(parts.values())} sequences (--data.train-examples, --data.valid-examples, "
            f"--data.test-examples) of {data.sequence_length} × {data.input_size} numbers "
            "without --data.folder",
        )
        train, valid, test = _generate(config, label, parts, lambda name: np.empty(*forms[name]))
    else:
        options = {key: value for key, value in asdict(data).items() if key != "folder"}
        identity = {"task": name, "seed": config.seed, "piece": PIECE, **options}
        stored = Stored(Path(data.folder), identity, forms)
        with stored.alone():
            if not stored.complete():
                _generate(config, label, parts, stored.create)
                stored.finish()
        train, valid, test = (_read(stored, part, data) for part in parts)
    return Task(
        name=name,
        signature=Signature(data.input_size, 2, tokens=False, per_step=False, loss="cross_entropy"),
        train=train,
        valid=valid,
        test=test,
        baselines=lambda: [
            baselines.class_frequencies(np.asarray(train.targets), np.asarray(test.targets), 2)
        ],
        source="generated, standard normal" + f", in {data.folder}" * (data.folder is not None),
    )


def _forms(data: GeneratedData, examples: int) -> dict[str, Form]:
    """Returns the forms of the arrays of one part."""
    inputs = Form((examples, data.sequence_length, data.input_size), np.float32)
    found = {"inputs": inputs, "targets": Form((examples,), np.int32)}
    return found | ({} if data.min_length is None else {"lengths": Form((examples,), np.int32)})


def _generate(
    config: Config, label: Label, parts: dict[str, int], create: Callable[[str], np.ndarray]
) -> list[Split]:
    """Fills the arrays that `create` makes by name.

    It works piece by piece, several at a time: NumPy draws without the GIL.
    """
    data = config.data
    assert isinstance(data, GeneratedData)
    steps, width = data.sequence_length, data.input_size
    count = max(1, PIECE // (4 * steps * width))

    def made(part: str, examples: int) -> Split:
        lengths = None
        if data.min_length is not None:
            lengths = create(f"{part}-lengths")
            draw = generator(config.seed, f"lengths of {part}").integers
            lengths[:] = draw(data.min_length, steps, examples, np.int32, endpoint=True)
        return Split(create(f"{part}-inputs"), create(f"{part}-targets"), lengths)

    def fill(part: str, number: int) -> None:
        rows = slice(number * count, (number + 1) * count)
        inputs, targets, lengths, _ = splits[part]
        assert isinstance(inputs, np.ndarray)
        assert isinstance(targets, np.ndarray)  # to be filled
        piece = inputs[rows]
        generator(config.seed, f"inputs of {part}", number).standard_normal(
            dtype=np.float32, out=piece
        )
        own = np.broadcast_to(np.int32(steps), len(piece)) if lengths is None else lengths[rows]
        if lengths is not None:
            piece[np.arange(steps) >= own[:, None]] = 0
        targets[rows] = label(generator(config.seed, f"labels of {part}", number), piece, own)

    splits = {part: made(part, examples) for part, examples in parts.items()}
    pieces = [(part, i) for part, n in parts.items() for i in range(-(-n // count))]
    with ThreadPoolExecutor() as pool:
        for _ in pool.map(fill, *zip(*pieces, strict=True)):
            pass  # what a piece raised is raised here
    return list(splits.values())


def _read(stored: Stored, part: str, data: GeneratedData) -> Split:
    """Reads a part from its files.

    Targets and lengths are small: they are taken into memory and checked.
    """

    def numbers(kind: str, least: int, most: int) -> np.ndarray:
        found = np.array(stored.read(f"{part}-{kind}"))
        if found.min() < least or found.max() > most:
            raise InvalidInput(
                f"{stored.folder}: expected numbers from {least} to {most} as {part}-{kind}, "
                f"got {found.min()} to {found.max()}"
            )
        return found

    lengths = None
    if data.min_length is not None:
        lengths = numbers("lengths", data.min_length, data.sequence_length)
    return Split(stored.read(f"{part}-inputs"), numbers("targets", 0, 1), lengths)
