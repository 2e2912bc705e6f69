"""What a score means: its name, how it follows from a loss, how it is shown.

loss                nats, or squared error, in the scale that the network learns in
accuracy            share of the targets that are predicted right
balanced_accuracy   mean over the classes of the share of a class that is predicted right
macro_f1            mean over the classes of F1
roc_auc             of two classes: the area under the ROC curve
mae                 absolute error, in the scale that the network learns in
rmse                root of the squared error, in the quantity's unit
mae_units           absolute error, in the quantity's unit
mase                absolute error in multiples of that of a naive forecast in the training part
r2                  share of the variance that is explained
bits_per_character  a text's loss in bits, for each character of the text
perplexity          exp of a text's loss
unknown             share of the targets that are the unknown token, however many characters it
                    stands for: with many, bits per character are too few to compare with others
exact               share of the sequences in which every target is predicted right: for translate,
                    what greedy decoding reaches, since a network that reads its own answers makes
                    its first mistake at the same place. Of pairs, share of the sources whose answer
                    is one of their targets
accuracy_longer     accuracy on sequences longer than any that it was trained on

"rmse_3" and "mase_3" are of the third step of a horizon, "rmse.price" and "mae_units.price" of one
of several targets. `shared/tasks/forecast_scores.py` and `class_scores.py` compute them.
"""

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from shared.protocol.backend import Evaluation
from shared.tasks.forecast_scores import last_values
from shared.tasks.task import Scale, Task
from shared.tasks.text import UNKNOWN_TOKEN

Scores = dict[str, float]

LOWER_IS_BETTER = {"loss", "mae", "rmse", "bits_per_character", "perplexity"}
LOWER_IS_BETTER |= {"mae_units", "mase", "edit_rate"}
LONG = {"r2": "R²", "bits_per_character": "bits per character", "exact": "exactly right"}
LONG |= {"accuracy_longer": "accuracy on longer sequences", "rmse": "RMSE", "mae_units": "MAE"}
LONG |= {"unknown": "unknown tokens", "mase": "MASE", "roc_auc": "ROC AUC", "bleu": "BLEU"}
LONG |= {"balanced_accuracy": "balanced accuracy", "macro_f1": "macro F1", "edit_rate": "edits"}

IN_UNIT = {"rmse", "mae_units"}
"""Scores in the unit of what is predicted."""
PERCENT = {"accuracy", "balanced_accuracy", "exact", "accuracy_longer", "unknown", "edit_rate"}
DIGITS = {"rmse": 3, "r2": 3, "bits_per_character": 3, "perplexity": 1, "mae_units": 3, "mase": 3}
DIGITS |= {"macro_f1": 3, "roc_auc": 3, "bleu": 1}
"""Digits after the decimal point."""


class Name(NamedTuple):
    """Parts of a score's name: "rmse_3" is ("rmse", "3", ""), "rmse.price" is ("rmse", "",
    "price")."""

    kind: str
    step: str
    target: str


def parts(name: str) -> Name:
    """Returns the parts of a score's name."""
    kind, _, target = name.partition(".")
    before, _, step = kind.rpartition("_")
    if before in ("rmse", "mase") and step.isdecimal():
        return Name(before, step, target)
    return Name(kind, "", target)


def lower_is_better(name: str) -> bool:
    """Tells whether a smaller score is a better one."""
    return parts(name).kind in LOWER_IS_BETTER


def named(task: Task, scores: Evaluation) -> Scores:
    """Returns loss and metric by their names."""
    return {"loss": scores.loss, task.metric: scores.metric}


def derived(task: Task, part: str, scores: Evaluation) -> Scores:
    """Returns loss, metric, and the scores that follow from the loss.

    Args:
        part: "valid" or "test".
    """
    found = named(task, scores)
    if task.streams:
        split = task.test if part == "test" else task.valid
        assert split is not None
        targets = np.asarray(split.targets)
        bits = scores.loss / math.log(2) * targets.size / task.characters[part]
        found |= {"bits_per_character": bits, "perplexity": perplexity(scores.loss)}
        if unknown := float((targets == UNKNOWN_TOKEN).mean()):
            found["unknown"] = unknown
    if part == "valid" and (scale := _only_scale(task)) is not None:
        found["rmse"] = scale.std * math.sqrt(scores.loss)
        if task.series is not None:
            found["r2"] = 1 - scores.loss / _variance(task)
    return found


def _only_scale(task: Task) -> Scale | None:
    """Returns the scale of the values to predict if all have one, and no logarithm, so that errors
    in their unit follow from the loss."""
    if task.measured is not None and len(task.measured.targets) == 1:
        return None if task.measured.targets[0].log else task.measured.target_scales[0]
    series = task.series
    if series is None or series.predicted[0].log:
        return None
    alone = len(series.scales) == series.targets == series.horizon == 1
    return next(iter(series.scales.values()))[0] if alone else None


def _variance(task: Task) -> float:
    """Returns the variance of a series' next values in the validation part, in its scale."""
    split = task.valid
    assert task.series is not None
    assert split is not None
    values = np.asarray(split.targets)
    if task.series.difference:
        values = values + last_values(task.series, split.inputs)
    return float(np.var(values))


def perplexity(loss: float) -> float:
    """Returns exp(loss), with the loss capped at 700 so that the result is finite."""
    return math.exp(min(loss, 700.0))


def long_name(name: str, unit: str = "") -> str:
    """Returns a score's name for a table: "accuracy", "RMSE, °C", "RMSE at step 3, °C"."""
    kind, step, target = parts(name)
    found = LONG.get(kind, kind) + f" of {target}" * bool(target) + f" at step {step}" * bool(step)
    return found + (f", {unit}" if kind in IN_UNIT and unit else "")


def shown(name: str, value: float, unit: str = "") -> str:
    """Returns a score for a reader: "accuracy 98.3 %", "RMSE 2.681 °C"."""
    after = f" {unit}" if parts(name).kind in IN_UNIT and unit else ""
    return f"{long_name(name)} {in_unit(name, value)}{after}"


def to_show(scores: Scores) -> list[str]:
    """Returns the names of the scores that a reader is shown.

    Values with a unit have their errors in it. Beside them, the scaled error that the network
    learns from would only be mistaken for one of them. The steps of a horizon are in the picture.
    """
    units = any(parts(name).kind in IN_UNIT for name in scores)
    hidden = {"step", "mae"} if units else {"step"}
    return [name for name in scores if name not in hidden and not parts(name).step]


def spread(name: str, values: Sequence[float]) -> str:
    """Returns mean and standard deviation over seeds: "97.4 % ± 0.3"."""
    mean = in_unit(name, statistics.mean(values))
    if len(values) == 1:
        return mean
    return f"{mean} ± {in_unit(name, statistics.stdev(values)).removesuffix(' %')}"


def in_unit(name: str, value: float) -> str:
    """Returns a score's value alone: "98.3 %", "0.1234"."""
    kind = parts(name).kind
    if kind in PERCENT:
        return f"{100 * value:.1f} %"
    return f"{value:.{DIGITS.get(kind, 4)}f}"
