"""Arrays of sequences, padded to one length: from an NPZ file, or from Python.

inputs          (N, T, I) numbers, or (N, T) for a single feature
lengths         (N,) steps of each sequence, if they are not all T
targets         (N,) classes or numbers, (N, O) numbers; (N, T) or (N, T, O) at each step
part, group     (N,) part (train, valid, test) and group of each sequence
feature_names   (I,), class_names (K,): by which they are called
"""

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from shared.errors import InvalidInput
from shared.system.table_arrays import load_arrays
from shared.system.tables import as_table, categories
from shared.tasks.parts import named_parts
from shared.tasks.sequence_steps import Steps, Values, real_steps

Arrays = Mapping[str, np.ndarray]

NAMES = ("inputs", "targets", "lengths", "part", "group", "feature_names", "class_names")


def read_arrays(file: Path) -> dict[str, np.ndarray] | None:
    """Reads the arrays of an NPZ or NPY file; None if they are the columns of a table.

    Raises:
        InvalidInput: the file cannot be read.
    """
    arrays = load_arrays(file)
    if isinstance(arrays, np.ndarray):
        return {"inputs": arrays[None] if arrays.ndim == 2 else arrays}
    return None if arrays and all(array.ndim == 1 for array in arrays.values()) else arrays


def stacked(
    inputs: np.ndarray | Sequence[np.ndarray],
    targets: Any,
    lengths: Any,
    per_step: bool,
) -> tuple[Any, Any, Any]:
    """Pads sequences that are arrays of their own, and their targets at each step."""
    if isinstance(inputs, np.ndarray) or not all(np.ndim(one) for one in inputs):
        return inputs, targets, lengths
    rows = [np.asarray(one) for one in inputs]
    ends = [len(row) for row in rows]
    if lengths is not None or not rows or len({row.shape[1:] for row in rows}) > 1 or not all(ends):
        shapes = ", ".join(str(row.shape) for row in rows[:3])
        raise InvalidInput(
            "inputs: expected an array (sequences, steps, features) and lengths, or a list of "
            f"arrays (steps, features), got {shapes or 'none'}" + ", …" * (len(rows) > 3)
        )

    def joined(parts: Sequence[np.ndarray]) -> np.ndarray:
        whole = np.concatenate(parts)
        made = np.zeros((len(parts), max(ends), *whole.shape[1:]), whole.dtype)
        made[np.arange(max(ends)) < np.array(ends)[:, None]] = whole
        return made

    if per_step:
        own = [np.asarray(one) for one in targets]
        for i, (one, end) in enumerate(zip(own, ends, strict=False)):
            if one.shape[:1] != (end,):
                raise InvalidInput(
                    f"targets, sequence {i + 1}: expected a target for each of {end} steps, got "
                    f"shape {one.shape}"
                )
        targets = joined(own) if len(own) == len(rows) else own
    return joined(rows), targets, np.array(ends)


def of_arrays(
    arrays: Arrays,
    called: str,
    targets: bool = True,
    per_step: bool = False,
    kind: Literal["class", "number"] | None = None,
    missing: bool = False,
) -> Steps:
    """Makes sequences of arrays.

    Args:
        called: the data, for messages.
        targets: False if there need be none.
        kind: of the targets; None takes text and whole numbers for a class.
        missing: True if a feature may be NaN.

    Raises:
        InvalidInput: an array is missing, unknown, of another shape, or has values that cannot be
            used.
    """
    _check_names(arrays, called, ("inputs", "targets") if targets else ("inputs",))
    inputs = arrays["inputs"]
    inputs = inputs[..., None] if inputs.ndim == 2 else inputs
    if inputs.ndim != 3 or 0 in inputs.shape:
        raise InvalidInput(
            f"{called}: expected inputs (sequences, steps, features), got shape "
            f"{arrays['inputs'].shape}"
        )
    count, steps, width = inputs.shape
    lengths = _lengths(arrays.get("lengths"), count, steps, called)
    real = real_steps(lengths, steps)
    starts = np.cumsum(lengths) - lengths

    def place(sequence: int) -> str:
        return f"{called}, sequence {sequence + 1}"

    def step_place(step: int) -> str:
        sequence = int(np.searchsorted(starts, step, "right")) - 1
        return f"{place(sequence)}, step {step - starts[sequence] + 1}"

    names = _feature_names(arrays.get("feature_names"), width, called)
    flat = _numbers(inputs[real], "inputs", missing, step_place)
    made = Steps(
        [Values(name, flat[:, i]) for i, name in enumerate(names)],
        lengths, {"sequence": [*range(1, count + 1)]}, step_place, place,
    )  # fmt: skip
    if not targets:
        return made
    own = arrays["targets"]
    own = _at_each_step(own, real, called) if per_step else _one_each(own, count, called)
    where = step_place if per_step else place
    return replace(
        made,
        targets=_targets(own, kind, where, arrays.get("class_names"), called),
        parts=_parts(arrays, count, called),
        groups=_groups(arrays, count, called),
    )


def _check_names(arrays: Arrays, called: str, needed: tuple[str, ...]) -> None:
    for name in needed:
        if name not in arrays:
            raise InvalidInput(
                f"{called}: expected an array {name!r}, got {', '.join(arrays) or 'none'}"
            )
    for name in arrays:
        if name not in NAMES:
            near = difflib.get_close_matches(name, NAMES, 1)
            raise InvalidInput(
                f"{called}: expected arrays {', '.join(NAMES)}, got {name!r}"
                + (f"; did you mean {near[0]!r}?" if near else "")
            )


def _lengths(lengths: np.ndarray | None, count: int, steps: int, called: str) -> np.ndarray:
    if lengths is None:
        return np.full(count, steps)
    if lengths.shape != (count,) or lengths.dtype.kind not in "iu":
        raise InvalidInput(
            f"{called}: expected lengths of {count} whole numbers from 1 to {steps}, "
            f"got {lengths.dtype} {lengths.shape}"
        )
    for i in np.flatnonzero((lengths < 1) | (lengths > steps))[:1]:
        raise InvalidInput(
            f"{called}, sequence {i + 1}: expected a length from 1 to {steps}, got {lengths[i]}"
        )
    return lengths.astype(np.int64)


def _feature_names(names: np.ndarray | None, width: int, called: str) -> list[str]:
    if names is None:
        return [f"feature {i + 1}" for i in range(width)]
    if names.shape != (width,) or names.dtype.kind not in "UST":
        raise InvalidInput(
            f"{called}: expected feature_names of {width} texts, got {names.dtype} {names.shape}"
        )
    found = names.astype(str).tolist()
    for name in found:
        if found.count(name) > 1:
            raise InvalidInput(f"{called}: expected a name for each feature, got {name!r} twice")
    return found


def _numbers(
    values: np.ndarray, what: str, missing: bool, place: Callable[[int], str]
) -> np.ndarray:
    """Returns float64 numbers, (M, …).

    Args:
        place: says where a row is.
    """
    if values.dtype.kind not in "fiub":
        raise InvalidInput(f"{place(0)}: expected numbers in {what}, got {values.dtype}")
    numbers = values.astype(np.float64)
    bad = ~np.isfinite(numbers) if not missing else np.isinf(numbers)
    for at in np.argwhere(bad)[:1]:
        way_out = ""
        if what == "inputs" and np.isnan(numbers[tuple(at)]):
            way_out = "; --data.missing previous reads the one before"
        raise InvalidInput(
            f"{place(int(at[0]))}: expected a finite number in {what}, got "
            f"{numbers[tuple(at)]}{way_out}"
        )
    return numbers


def _one_each(targets: np.ndarray, count: int, called: str) -> np.ndarray:
    if targets.ndim == 3:
        raise InvalidInput(
            f"{called}: expected targets ({count},) or ({count}, outputs), got shape "
            f"{targets.shape}; --data.per-step predicts a target at each step"
        )
    if targets.ndim not in (1, 2) or len(targets) != count or 0 in targets.shape:
        raise InvalidInput(
            f"{called}: expected targets ({count},) or ({count}, outputs), got shape "
            f"{targets.shape}"
        )
    return targets


def _at_each_step(targets: np.ndarray, real: np.ndarray, called: str) -> np.ndarray:
    """Returns the targets of the steps that are no padding, (M,) or (M, O)."""
    count, steps = real.shape
    if targets.ndim not in (2, 3) or targets.shape[:2] != real.shape or 0 in targets.shape:
        raise InvalidInput(
            f"{called}: expected targets at each step, ({count}, {steps}) or ({count}, {steps}, "
            f"outputs), got shape {targets.shape}"
        )
    return targets[real]


def _targets(
    values: np.ndarray, kind: str | None, place: Callable[[int], str],
    names: np.ndarray | None, called: str,
) -> list[Values]:  # fmt: skip
    """Returns the columns of targets (M,) or (M, O)."""
    single = values.ndim == 1 or values.shape[1] == 1
    kind = kind or ("class" if values.dtype.kind in "USTbiu" and single else "number")
    if kind == "number":
        if values.dtype.kind in "UST":
            raise InvalidInput(f"{called}: expected targets that are numbers, got {values.dtype}")
        columns = _numbers(values, "targets", False, place).reshape(len(values), -1)
        count = columns.shape[1]
        called_by = ["target"] if count == 1 else [f"target {i + 1}" for i in range(count)]
        return [Values(name, columns[:, i]) for i, name in enumerate(called_by)]
    if not single:
        raise InvalidInput(f"{called}: expected one class each, got {values.shape[1]} targets")
    values = values.ravel()
    if values.dtype.kind == "f":
        for i in np.flatnonzero(~(np.isfinite(values) & (values == np.round(values))))[:1]:
            raise InvalidInput(f"{place(int(i))}: expected a class, got {values[i]}")
        values = values.astype(np.int64)
    if names is None:
        found, codes = categories(as_table({"targets": values}, name=called), "targets")
        return [Values("target", codes, found)]
    return [_by_names(values, names, place, called)]


def _by_names(
    values: np.ndarray, names: np.ndarray, place: Callable[[int], str], called: str
) -> Values:
    """Takes classes for the numbers of their names."""
    if names.ndim != 1 or names.dtype.kind not in "UST" or values.dtype.kind not in "iub":
        raise InvalidInput(
            f"{called}: expected class_names (classes,) of texts and targets that count them from "
            f"0, got {names.dtype} {names.shape} and {values.dtype}"
        )
    for i in np.flatnonzero((values < 0) | (values >= len(names)))[:1]:
        raise InvalidInput(
            f"{place(int(i))}: expected a class from 0 to {len(names) - 1}, of which class_names "
            f"tells, got {values[i]}"
        )
    return Values("target", values.astype(np.int32), names.astype(str).tolist())


def _column(arrays: Arrays, name: str, count: int, called: str) -> np.ndarray | None:
    values = arrays.get(name)
    if values is not None and values.shape != (count,):
        raise InvalidInput(
            f"{called}: expected {name} of {count} sequences, got shape {values.shape}"
        )
    return values


def _parts(
    arrays: Arrays, count: int, called: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    part = _column(arrays, "part", count, called)
    return None if part is None else named_parts(as_table({"part": part}, name=called), "part")


def _groups(arrays: Arrays, count: int, called: str) -> Values | None:
    group = _column(arrays, "group", count, called)
    if group is None:
        return None
    names, codes = categories(as_table({"group": group}, name=called), "group")
    return Values("group", codes, names)
