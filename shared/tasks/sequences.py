"""Your own sequences: a class or numbers for each, or at each step.

They come from an NPZ file (`sequence_arrays.py`), a table with a row for each step, or a folder
with a table for each sequence (`sequence_files.py`). Numbers are scaled by mean and standard
deviation of the training part's steps.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from shared.config import Config
from shared.config.data import SequencesData
from shared.errors import InvalidInput
from shared.protocol.dataset import Signature, Split
from shared.system.table import Table
from shared.system.tables import read_table
from shared.tasks import sequence_baselines, sequence_repeats
from shared.tasks.parts import PARTS, Parts, check_parts, split_parts
from shared.tasks.sequence_arrays import of_arrays, read_arrays, stacked
from shared.tasks.sequence_columns import check_outputs, needed
from shared.tasks.sequence_files import of_folder, of_table
from shared.tasks.sequence_steps import Steps, Values, few, fit, inputs_of, padded, scale_of
from shared.tasks.task import Baseline, Column, Measured, Scale, Task

OF_TABLES = ("sequence", "step", "features", "target", "categories", "part", "group")
"""Options that name columns of tables."""


def load(config: Config) -> Task:
    """Reads the sequences in --data.path.

    Raises:
        InvalidInput: they cannot be read, or not be learnt from.
    """
    data = _data(config)
    if not data.path:
        raise InvalidInput("--data.path: expected a file or a folder, got none")
    path = Path(data.path[0])
    several = len(data.path) > 1
    if path.is_dir() and not several:
        return _task(config, of_folder(data, path), str(path))
    if path.suffix.lower() == ".npz" and not several:
        arrays = read_arrays(path)
        if arrays is not None:
            return _of_arrays(config, arrays, str(path))
    return from_table(config, read_table(data.path, columns=needed(data)))


def from_table(config: Config, table: Table) -> Task:
    """Makes the task of a table with a row for each step."""
    steps, called = of_table(_data(config), table), table.name
    del table  # its columns are read
    return _task(config, steps, called)


def from_arrays(
    config: Config,
    inputs: np.ndarray | Sequence[np.ndarray],
    targets: np.ndarray | Sequence[object],
    lengths: np.ndarray | Sequence[int] | None = None,
    names: np.ndarray | Sequence[str] | None = None,
    part: np.ndarray | Sequence[str] | None = None,
    group: np.ndarray | Sequence[object] | None = None,
    class_names: np.ndarray | Sequence[str] | None = None,
) -> Task:
    """Makes the task of arrays, as `sequence_arrays.py` describes them.

    Args:
        inputs: (N, T, I), or N arrays (T_i, I).
        targets: (N,) or (N, O), at each step (N, T) or (N, T, O). With N arrays of inputs and a
            target at each step, N arrays, too.
        names: of the features.
    """
    read, own, ends = stacked(inputs, targets, lengths, _data(config).per_step)
    arrays = {"inputs": read, "targets": own, "lengths": ends, "feature_names": names}
    arrays |= {"part": part, "group": group, "class_names": class_names}
    given = {name: np.asarray(array) for name, array in arrays.items() if array is not None}
    return _of_arrays(config, given, "the arrays")


def _of_arrays(config: Config, arrays: dict[str, np.ndarray], called: str) -> Task:
    data = _data(config)
    for name in OF_TABLES:
        if getattr(data, name):
            raise InvalidInput(
                f"--data.{name}: goes with tables; {called} has arrays, which need no names"
            )
    missing = data.missing == "previous"
    steps = of_arrays(arrays, called, per_step=data.per_step, kind=data.kind, missing=missing)
    return _task(config, steps, called)


def _data(config: Config) -> SequencesData:
    assert isinstance(config.data, SequencesData)
    return config.data


def _task(config: Config, steps: Steps, called: str) -> Task:
    """Shares sequences out, scales them and makes the task.

    Args:
        called: the data, for messages and as its source.
    """
    data = _data(config)
    check_outputs(data, steps.targets)
    same = sequence_repeats.same(steps)
    parts = _parts(data, steps, called, same)
    own = [steps.steps_of(part) if data.per_step else part for part in parts]
    other = data.new_categories == "none"
    columns, scales = fit(steps, steps.steps_of(parts[0]), called, other)
    values, targets, target_scales = _targets(steps, own[0], called)
    weights = _weights(data, steps.targets[0], own[0])
    train, valid, test = (
        _split(
            steps, part, inputs_of(steps, columns, scales, part), values,
            weights if i == 0 else None, data.per_step,
        )
        for i, part in enumerate(parts)
    )  # fmt: skip
    classes = tuple(steps.targets[0].names or ())

    def baselines() -> list[Baseline]:
        if classes:
            return sequence_baselines.of_classes(train, test, len(classes), data.per_step)
        return sequence_baselines.of_numbers(train, test, targets, target_scales, data.per_step)

    return Task(
        name=config.task,
        signature=Signature(
            train.inputs.shape[2],
            len(classes) or len(targets),
            tokens=False,
            per_step=data.per_step,
            loss="cross_entropy" if classes else "mse",
        ),
        train=train,
        valid=valid,
        test=test,
        score=_score(data, targets),
        baselines=baselines,
        classes=classes,
        measured=Measured(
            columns,
            scales,
            targets,
            target_scales,
            [*data.sequence],
            data.step,
            data.missing,
            ragged=train.lengths is not None,
        ),
        by_length=train.lengths is not None,
        about=_about(steps, parts, columns) | sequence_repeats.facts(same, parts),
        source=called,
    )


def _split(
    steps: Steps, part: np.ndarray, inputs: np.ndarray, targets: np.ndarray,
    weights: np.ndarray | None, per_step: bool,
) -> Split:  # fmt: skip
    """Makes a part of its sequences.

    Args:
        part: numbers of its sequences.
        targets, weights: of all sequences, or of all steps.
    """

    def chosen(array: np.ndarray) -> np.ndarray:
        return padded(array, steps, part) if per_step else array[part]

    ragged = int(np.ptp(steps.lengths)) > 0
    return Split(
        inputs,
        chosen(targets),
        steps.lengths[part].astype(np.int32) if ragged else None,
        None if weights is None else chosen(weights),
    )


def _parts(data: SequencesData, steps: Steps, called: str, same: np.ndarray) -> Parts:
    """Returns the sequences of each part, stratified by the class or a sequence's usual one.

    Args:
        same: (N,) equal for sequences that are the same.
    """
    target, groups = steps.targets[0], steps.groups
    codes = None if target.names is None else target.values
    for column in steps.targets:
        values = column.values
        if column.names is None and np.ptp(values) == 0:
            raise InvalidInput(
                f"{called}: expected numbers that differ in target {column.name}, got "
                f"{values[0]:g} for all {len(values)} {'steps' if data.per_step else 'sequences'}"
            )
    parts, option = steps.parts, f"--data.part {data.part or 'part'}"
    if parts is None:
        usual = _usual(steps, codes) if codes is not None and data.per_step else codes
        option = f"--data.split {' '.join(map(str, data.split))}"
        if groups is None:
            parts = sequence_repeats.draw(data.split, same, usual, called)
        else:
            parts = split_parts(len(same), data.split, "sequences", usual, groups.values)
    named = None if groups is None else (groups.names or [], groups.values)
    whole = None if codes is None or data.per_step else (target.names or [], codes)
    way_out = _way_out(data, target)
    check_parts(parts, steps.place, option, whole, named, way_out=way_out)
    if codes is not None and data.per_step:
        training, valid, test = map(steps.steps_of, parts)
        own = target.names or [], codes
        check_parts((training, valid, test), steps.step_place, option, own, None, "steps", way_out)
    return parts


def _way_out(data: SequencesData, target: Values) -> str:
    """Returns a hint where whole numbers were taken for classes."""
    guessed = data.kind is None and target.names is not None
    whole = guessed and all(name.lstrip("-").isdecimal() for name in target.names or [])
    return "; --data.kind number predicts a number" if whole else ""


def _usual(steps: Steps, codes: np.ndarray) -> np.ndarray:
    """Returns the most frequent class of each sequence's steps."""
    count, classes = len(steps.lengths), int(codes.max()) + 1
    pairs = np.repeat(np.arange(count), steps.lengths) * classes + codes
    found, frequency = np.unique(pairs, return_counts=True)
    best = np.lexsort((-frequency, found // classes))  # each sequence's most frequent one first
    _, first = np.unique(found[best] // classes, return_index=True)
    return found[best][first] % classes


def _targets(
    steps: Steps, training: np.ndarray, called: str
) -> tuple[np.ndarray, list[Column], list[Scale]]:
    """Returns classes (M,), or scaled numbers (M, O), their columns and scales.

    Args:
        training: numbers of the training part's targets.
    """
    if steps.targets[0].names is not None:
        return steps.targets[0].values.astype(np.int32), [], []
    scales: list[Scale] = []
    for column in steps.targets:
        own = column.values[training]
        if np.ptp(own) == 0:
            raise InvalidInput(
                f"{called}: expected numbers that differ in target {column.name} of the training "
                f"part, got {own[0]:g} for all {len(own)}"
            )
        scales.append(scale_of(column.name, own, called))
    scaled_ = [(c.values - s.mean) / s.std for c, s in zip(steps.targets, scales, strict=True)]
    return np.stack(scaled_, axis=1), [Column(column.name) for column in steps.targets], scales


def _weights(data: SequencesData, target: Values, training: np.ndarray) -> np.ndarray | None:
    """Returns the weight of each target, N / (K · count of its class), of which the mean over the
    training part is 1."""
    if data.class_weights == "equal":
        return None
    if target.names is None:
        raise InvalidInput(
            "--data.class-weights balanced: goes with classes, got numbers to predict "
            f"({target.name})"
        )
    counts = np.bincount(target.values[training], minlength=len(target.names))
    balanced = len(training) / ((counts > 0).sum() * np.maximum(counts, 1))
    return balanced[target.values]


def _score(data: SequencesData, targets: Sequence[Column]) -> str:
    if targets:
        return "rmse" if len(targets) == 1 else "r2"  # their units may differ
    return "accuracy" if data.class_weights == "equal" else "balanced_accuracy"


def _about(steps: Steps, parts: Parts, columns: Sequence[Column]) -> dict[str, str]:
    lengths, target = steps.lengths, steps.targets[0]
    least, most = int(lengths.min()), int(lengths.max())
    facts = {
        "sequences": str(len(lengths)),
        "steps": str(most) if least == most else f"{least} to {most}",
        "features": f"{len(columns)} ({few([column.name for column in columns])})",
    }
    if target.names is None:
        facts["numbers to predict"] = few([column.name for column in steps.targets])
    else:
        counts = np.bincount(target.values, minlength=len(target.names))
        facts["classes"] = few(
            [f"{name} {count}" for name, count in zip(target.names, counts, strict=True)]
        )
    if steps.groups is not None:
        facts["groups"] = str(len(steps.groups.names or []))
    return facts | {name: str(len(part)) for name, part in zip(PARTS, parts, strict=True)}
