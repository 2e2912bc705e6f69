"""The meaning of a network's inputs and outputs in terms of its task: schema.json in a run folder.

With it and a checkpoint, a run can read new data and say what it predicts. It does not need the
data that it was trained on.
"""

import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from shared.config import Config
from shared.errors import InvalidInput
from shared.protocol.dataset import Signature
from shared.system.json_files import parse, read_signed, write_signed
from shared.tasks.task import Measured, Series, Task

FILE = "schema.json"


@dataclass(frozen=True)
class Schema:
    task: str
    data: str
    """Fingerprint of the data that the network is trained on."""
    input_size: int
    output_size: int
    tokens: bool
    per_step: bool
    loss: Literal["cross_entropy", "mse"]
    vocabulary: list[str]
    unit: Literal["char", "word"]
    """Unit that a token stands for."""
    continues: bool
    """True if each output is the next input, so that the network can go on by itself."""
    between: str | None
    end: str | None
    """Token that follows a source to be answered, and that ends the answer."""
    reverse: bool
    """True if a source is read from its end."""
    streams: bool
    """True if it reads one long text instead of sequences."""
    classes: list[str]
    series: Series | None
    measured: Measured | None
    mean: list[float]
    std: list[float]
    """Standard deviations of features that are scaled without columns: (value - mean) / std."""
    image: list[int] | None
    """Height and width of a step that is an image, or a row of one."""
    longest: int | None
    """Steps of the longest sequence of the training part, or None."""

    @property
    def signature(self) -> Signature:
        return Signature(self.input_size, self.output_size, self.tokens, self.per_step, self.loss)


def schema_of(config: Config, task: Task) -> Schema:
    return Schema(
        task=config.task,
        data=task.fingerprint,
        **task.signature._asdict(),
        vocabulary=list(task.vocabulary),
        unit=task.unit,
        streams=task.streams,
        classes=list(task.classes),
        continues=task.continues,
        between=task.between,
        end=task.end,
        reverse=task.reverse,
        series=task.series,
        measured=task.measured,
        mean=[] if task.scaling is None else task.scaling[0].tolist(),
        std=[] if task.scaling is None else task.scaling[1].tolist(),
        image=None if task.image is None else list(task.image),
        longest=None if task.streams else task.train.inputs.shape[1],
    )


def save_schema(folder: Path, schema: Schema) -> None:
    write_signed(folder / FILE, schema)


def read_schema(folder: Path) -> Schema:
    """Reads a schema that `save_schema` wrote.

    Raises:
        InvalidInput: the file is missing, damaged, or of another version.
    """
    schema = read_signed(folder / FILE, partial(parse, Schema))
    for what, holds in _claims(schema).items():
        if not holds:
            raise InvalidInput(f"{folder / FILE}: expected {what}, got a damaged schema")
    return schema


def _claims(schema: Schema) -> dict[str, bool]:
    """Returns claims that hold for every schema that a run writes; its users rely on them."""
    inputs, outputs, series = schema.input_size, schema.output_size, schema.series
    ends = schema.between, schema.end
    numbers = [*schema.mean, *schema.std]
    claims = {
        "a vocabulary for tokens": len(schema.vocabulary) == inputs * schema.tokens,
        "classes or no more outputs than tokens": outputs <= inputs
        or not schema.tokens
        or bool(schema.classes),
        "tokens between and after what is answered": ends == (None, None)
        or (all(token in schema.vocabulary for token in ends) and (schema.longest or 0) > 0),
        "a name for each class": len(schema.classes) in (0, outputs),
        "a mean and a deviation of each feature": len(schema.mean) == len(schema.std)
        and len(schema.mean) in (0, inputs),
    }
    columns, measured = [], schema.measured
    if series is not None:
        columns.append((series.columns, [*series.scales.values()]))
        claims |= {
            "values after each window of a series": min(series.window, series.horizon) > 0
            and (schema.tokens, schema.per_step) == (False, False)
            and outputs == series.horizon * series.targets,
            "numbers to predict": 0 < series.targets <= len(series.columns)
            and all(column.kind == "number" for column in series.predicted),
            "the columns that a series reads": inputs == sum(c.width for c in series.columns),
            "a scale for each group": bool(series.scales),
        }
    if measured is not None:
        columns += [
            (measured.features, [measured.feature_scales]),
            (measured.targets, [measured.target_scales]),
        ]
        claims |= {
            "the features of sequences": inputs == sum(c.width for c in measured.features),
            "the numbers to predict of sequences": len(measured.targets)
            == outputs * (schema.loss == "mse"),
        }
    if schema.loss == "mse" and series is None and measured is None:
        claims["one value where errors are squared"] = outputs == 1
    for named, scales in columns:
        claims["a scale for each column of numbers"] = claims.get(
            "a scale for each column of numbers", True
        ) and all(len(own) == sum(c.kind == "number" for c in named) for own in scales)
    every = [scale for _, scales in columns for own in scales for scale in own]
    numbers += [number for scale in every for number in (scale.mean, scale.std)]
    return claims | {
        "finite means and deviations, of which none is 0": all(map(math.isfinite, numbers))
        and all(std > 0 for std in [*schema.std, *(scale.std for scale in every)])
    }
