"""The tasks: data, loss, baseline and default configuration.

A task is one function `load(config) -> Task` and one row here. The row names the function instead
of importing it, so that `--help` shows a task's defaults without paying for NumPy.
"""

import importlib
from typing import TYPE_CHECKING, NamedTuple

from shared.config import Config, NetworkConfig, OptimizationConfig
from shared.data_config import (
    AddingData,
    CopyData,
    GeneratedData,
    HelloData,
    MotionData,
    ParityData,
    RowsData,
    SunspotsData,
    TextData,
    TranslateData,
    VolumeData,
    VowelsData,
    WeatherData,
)
from shared.errors import InvalidInput

if TYPE_CHECKING:
    from shared.tasks.task import Task


class Row(NamedTuple):
    load: str
    """module:function below shared.tasks"""
    defaults: Config
    about: str


TASKS: dict[str, Row] = {
    "hello": Row(
        "hello:load",
        Config(
            task="hello",
            network=NetworkConfig(hidden_size=8),
            optimization=OptimizationConfig(learning_rate=0.01),
            data=HelloData(),
            epochs=1000,
            batch_size=1,
            eval_every=100,
        ),
        "spell 'elloh' while reading 'hello', a character at a time",
    ),
    "random-labels": Row(
        "generated:random_labels",
        Config(task="random-labels", data=GeneratedData(), epochs=25),
        "labels drawn independently of the inputs: nothing to learn",
    ),
    "last-value": Row(
        "generated:last_value",
        Config(task="last-value", data=GeneratedData(), epochs=25),
        "the label is the sign of the last step's first feature",
    ),
    "adding": Row(
        "memory:adding",
        Config(
            task="adding",
            network=NetworkConfig(cell="gru", hidden_size=64),
            optimization=OptimizationConfig(learning_rate=2e-3, clip_norm=1.0),
            data=AddingData(),
            epochs=8,
        ),
        "the sum of the two numbers that are marked in a long sequence",
    ),
    "copy": Row(
        "memory:copy",
        Config(
            task="copy",
            network=NetworkConfig(cell="gru", hidden_size=128),
            optimization=OptimizationConfig(learning_rate=2e-3, clip_norm=1.0),
            data=CopyData(),
            epochs=10,
        ),
        "repeat ten symbols after fifty blanks",
    ),
    "parity": Row(
        "memory:parity",
        Config(
            task="parity",
            network=NetworkConfig(cell="gru", hidden_size=32),
            optimization=OptimizationConfig(learning_rate=5e-3, clip_norm=1.0),
            data=ParityData(),
            epochs=5,
        ),
        "after each bit, whether the ones so far are odd in number",
    ),
    "text": Row(
        "text:load",
        Config(
            task="text",
            network=NetworkConfig(cell="lstm", hidden_size=256),
            optimization=OptimizationConfig(
                learning_rate=3e-3, clip_norm=1.0, schedule="decay", decay_after=5, gamma=0.5
            ),
            data=TextData(),
            epochs=10,
            batch_size=32,
            bptt=64,
        ),
        "predict the next character, or word, of a text",
    ),
    "translate": Row(
        "translate:load",
        Config(
            task="translate",
            network=NetworkConfig(
                cell="lstm", hidden_size=256, embedding_size=128, forget_bias=3.0
            ),
            optimization=OptimizationConfig(learning_rate=2e-3, clip_norm=1.0, schedule="cosine"),
            data=TranslateData(),
            epochs=8,
        ),
        "number words from English to French (needs num2words)",
    ),
    "vowels": Row(
        "recognition:vowels",
        Config(
            task="vowels",
            network=NetworkConfig(cell="gru", hidden_size=64, bidirectional=True),
            optimization=OptimizationConfig(learning_rate=3e-3, clip_norm=1.0),
            data=VowelsData(),
            epochs=60,
            batch_size=27,
        ),
        "which of nine men speaks two vowels",
    ),
    "volume": Row(
        "series:volume",
        Config(
            task="volume",
            network=NetworkConfig(cell="gru", hidden_size=16),
            data=VolumeData(),
            epochs=60,
        ),
        "tomorrow's trading volume on the stock exchange",
    ),
    "weather": Row(
        "series:weather",
        Config(
            task="weather",
            network=NetworkConfig(cell="gru", hidden_size=16),
            data=WeatherData(),
            epochs=200,
            batch_size=32,
        ),
        "tomorrow's highest temperature in Seattle",
    ),
    "rows": Row(
        "recognition:rows",
        Config(
            task="rows",
            network=NetworkConfig(cell="gru", hidden_size=64),
            optimization=OptimizationConfig(learning_rate=3e-3, clip_norm=1.0),
            data=RowsData(),
            epochs=60,
            batch_size=32,
        ),
        "handwritten digits, read row by row",
    ),
    "motion": Row(
        "recognition:motion",
        Config(
            task="motion",
            network=NetworkConfig(cell="gru", hidden_size=128),
            optimization=OptimizationConfig(learning_rate=2e-3, clip_norm=1.0),
            data=MotionData(),
            epochs=10,
        ),
        "in which of eight directions a digit moves through a film",
    ),
    "sunspots": Row(
        "series:sunspots",
        Config(
            task="sunspots",
            network=NetworkConfig(nonlinearity="relu", hidden_size=64),
            optimization=OptimizationConfig(optimizer="adamw", weight_decay=1.5, schedule="cosine"),
            data=SunspotsData(),
            epochs=60,
            batch_size=32,
        ),
        "next month's number of sunspots",
    ),
}


def row(name: str) -> Row:
    """The row of a task.

    Raises:
        InvalidInput: there is no such task.
    """
    if name not in TASKS:
        raise InvalidInput(f"--task: expected one of {', '.join(TASKS)}, got {name}")
    return TASKS[name]


def load_task(config: Config) -> "Task":
    """Reads or generates the data of a configuration's task.

    Raises:
        InvalidInput: the data cannot be used, or an option does not fit the task.
    """
    chosen = row(config.task)
    if type(config.data) is not type(chosen.defaults.data):
        expected, came = type(chosen.defaults.data).__name__, type(config.data).__name__
        raise InvalidInput(f"task {config.task}: expected data options {expected}, got {came}")
    module, function = chosen.load.split(":")
    return getattr(importlib.import_module(f"shared.tasks.{module}"), function)(config)
