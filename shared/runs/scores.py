"""What a score means: its name, how it follows from a loss, how it is shown.

loss                nats, or squared error
accuracy            share of the targets that are predicted right
mae                 absolute error
rmse                root of the squared error, in the quantity's unit
r2                  share of the variance that is explained
bits_per_character  a text's loss in bits, for each character of the text
perplexity          exp of a text's loss
unknown             share of the targets that are the unknown token, however many characters it
                    stands for: with many, bits per character are too few to compare with others
exact               share of the sequences in which every target is predicted right. A network
                    that reads its own answers instead makes its first mistake at the same
                    place, so this is what greedy decoding reaches
accuracy_longer     accuracy on sequences longer than any that it was trained on
"""

import math
import statistics
from collections.abc import Sequence

from shared.protocol.backend import Evaluation
from shared.tasks.series import variance
from shared.tasks.task import Task
from shared.tasks.text import UNKNOWN_TOKEN

Scores = dict[str, float]

LOWER_IS_BETTER = {"loss", "mae", "rmse", "bits_per_character", "perplexity"}
LONG = {"r2": "R²", "bits_per_character": "bits per character", "exact": "exactly right"}
LONG |= {"accuracy_longer": "accuracy on longer sequences", "rmse": "RMSE"}
LONG |= {"unknown": "unknown tokens"}

DIGITS = {"rmse": 3, "r2": 3, "bits_per_character": 3, "perplexity": 1}
"""Digits after the decimal point."""


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
        bits = scores.loss / math.log(2) * split.targets.size / task.characters[part]
        found |= {"bits_per_character": bits, "perplexity": perplexity(scores.loss)}
        if unknown := float((split.targets == UNKNOWN_TOKEN).mean()):
            found["unknown"] = unknown
    if task.series is not None:
        split = task.test if part == "test" else task.valid
        assert split is not None
        found["rmse"] = task.series.target.std * math.sqrt(scores.loss)
        found["r2"] = 1 - scores.loss / variance(task.series, split)
    return found


def perplexity(loss: float) -> float:
    """Returns exp(loss), with the loss capped at 700 so that the result is finite."""
    return math.exp(min(loss, 700.0))


def long_name(name: str, unit: str = "") -> str:
    """Returns a score's name for a table: "accuracy", "RMSE, °C"."""
    return LONG.get(name, name) + (f", {unit}" if name == "rmse" and unit else "")


def shown(name: str, value: float, unit: str = "") -> str:
    """Returns a score for a reader: "accuracy 98.3 %", "RMSE 2.681 °C"."""
    after = f" {unit}" if name == "rmse" and unit else ""
    return f"{LONG.get(name, name)} {in_unit(name, value)}{after}"


def to_show(scores: Scores) -> list[str]:
    """Returns the names of the scores that a reader is shown.

    A series has its errors in its unit. Beside them, the scaled error that the network learns from
    would only be mistaken for one of them.
    """
    return [name for name in scores if not ((name == "mae" and "rmse" in scores) or name == "step")]


def spread(name: str, values: Sequence[float]) -> str:
    """Returns mean and standard deviation over seeds: "97.4 % ± 0.3"."""
    mean = in_unit(name, statistics.mean(values))
    if len(values) == 1:
        return mean
    return f"{mean} ± {in_unit(name, statistics.stdev(values)).removesuffix(' %')}"


def in_unit(name: str, value: float) -> str:
    """Returns a score's value alone: "98.3 %", "0.1234"."""
    if name in ("accuracy", "exact", "accuracy_longer", "unknown"):
        return f"{100 * value:.1f} %"
    return f"{value:.{DIGITS.get(name, 4)}f}"
