"""The tasks: data, loss, baseline and default configuration.

A task is one function `load(config) -> Task` and one row here. The row names the function instead
of importing it, so that `--help` shows a task's defaults without paying for NumPy.
"""

import importlib
from typing import TYPE_CHECKING, NamedTuple

from shared.config import Config, data, own_data
from shared.config.settings import NetworkConfig, OptimizationConfig
from shared.errors import InvalidInput

if TYPE_CHECKING:
    from shared.tasks.task import Task


class Goal(NamedTuple):
    """Score that a good network reaches, and that others have reached."""

    score: str
    bound: float | str
    """Least score, or the largest where lower is better; or the name of a baseline to surpass."""
    published: str = "–"


class Row(NamedTuple):
    load: str
    """Loader, as module:function below shared.tasks."""
    defaults: Config
    about: str
    goal: Goal | None = None
    """None for a task on data that a user brings."""


TASKS: dict[str, Row] = {
    "hello": Row(
        "hello:load",
        Config(
            task="hello",
            network=NetworkConfig(hidden_size=8),
            optimization=OptimizationConfig(learning_rate=0.01),
            data=data.HelloData(),
            epochs=1000,
            batch_size=1,
            eval_every=100,
        ),
        "spell 'elloh' while reading 'hello', a character at a time",
        Goal("accuracy", 1.0),
    ),
    "random-labels": Row(
        "generated:random_labels",
        Config(task="random-labels", data=data.GeneratedData(), epochs=25),
        "labels drawn independently of the inputs: nothing to learn",
        Goal("accuracy", "chance"),
    ),
    "last-value": Row(
        "generated:last_value",
        Config(task="last-value", data=data.GeneratedData(), epochs=25),
        "the label is the sign of the last step's first feature",
        Goal("accuracy", 0.99),
    ),
    "adding": Row(
        "memory:adding",
        Config(
            task="adding",
            network=NetworkConfig(cell="gru", hidden_size=64),
            optimization=OptimizationConfig(learning_rate=2e-3, clip_norm=1.0),
            data=data.AddingData(),
            epochs=8,
        ),
        "the sum of the two numbers that are marked in a long sequence",
        Goal("loss", 0.01, "below 0.01 (LSTM, T = 150: Le et al. 2015)"),
    ),
    "copy": Row(
        "memory:copy",
        Config(
            task="copy",
            network=NetworkConfig(cell="gru", hidden_size=128),
            optimization=OptimizationConfig(learning_rate=2e-3, clip_norm=1.0),
            data=data.CopyData(),
            epochs=10,
        ),
        "repeat ten symbols after fifty blanks",
        Goal("loss", "without memory", "LSTM stays at the baseline (Arjovsky et al. 2016)"),
    ),
    "parity": Row(
        "memory:parity",
        Config(
            task="parity",
            network=NetworkConfig(cell="gru", hidden_size=32),
            optimization=OptimizationConfig(learning_rate=5e-3, clip_norm=1.0),
            data=data.ParityData(),
            epochs=5,
        ),
        "after each bit, whether the ones so far are odd in number",
        Goal("accuracy", 0.99),
    ),
    "text": Row(
        "text:load",
        Config(
            task="text",
            network=NetworkConfig(cell="lstm", hidden_size=256),
            optimization=OptimizationConfig(
                learning_rate=3e-3, clip_norm=1.0, schedule="decay", decay_after=5, gamma=0.5
            ),
            data=data.TextData(),
            epochs=10,
            batch_size=32,
            bptt=64,
        ),
        "predict the next character, or word, of a text",
        Goal("bits_per_character", "gzip"),
    ),
    "translate": Row(
        "translate:load",
        Config(
            task="translate",
            network=NetworkConfig(
                cell="lstm", hidden_size=256, embedding_size=128, forget_bias=3.0
            ),
            optimization=OptimizationConfig(learning_rate=2e-3, clip_norm=1.0, schedule="cosine"),
            data=data.TranslateData(),
            epochs=8,
        ),
        "number words from English to French (needs num2words)",
        Goal("exact", 0.95),
    ),
    "vowels": Row(
        "recognition:vowels",
        Config(
            task="vowels",
            network=NetworkConfig(cell="gru", hidden_size=64, bidirectional=True),
            optimization=OptimizationConfig(learning_rate=3e-3, clip_norm=1.0),
            data=data.VowelsData(),
            epochs=60,
            batch_size=27,
        ),
        "which of nine men speaks two vowels",
        Goal("accuracy", 0.95, "94.1 to 98.9 % (Kudo et al. 1999 and later)"),
    ),
    "volume": Row(
        "series:volume",
        Config(
            task="volume",
            network=NetworkConfig(cell="gru", hidden_size=64),
            data=data.VolumeData(),
            epochs=30,
        ),
        "tomorrow's trading volume on the stock exchange",
        Goal(
            "r2",
            "AR(5) with features",
            "0.42 without weekday (RNN), 0.46 linear with it (James et al.)",
        ),
    ),
    "weather": Row(
        "series:weather",
        Config(
            task="weather",
            network=NetworkConfig(cell="gru", hidden_size=16, highway=0),
            data=data.WeatherData(),
            epochs=200,
            batch_size=32,
        ),
        "tomorrow's highest temperature in Seattle",
        Goal("rmse", 2.75),
    ),
    "rows": Row(
        "recognition:rows",
        Config(
            task="rows",
            network=NetworkConfig(cell="gru", hidden_size=64),
            optimization=OptimizationConfig(learning_rate=3e-3, clip_norm=1.0),
            data=data.RowsData(),
            epochs=60,
            batch_size=32,
        ),
        "handwritten digits, read row by row",
        Goal("accuracy", 0.96),
    ),
    "motion": Row(
        "recognition:motion",
        Config(
            task="motion",
            network=NetworkConfig(cell="gru", hidden_size=128),
            optimization=OptimizationConfig(learning_rate=2e-3, clip_norm=1.0),
            data=data.MotionData(),
            epochs=10,
        ),
        "in which of eight directions a digit moves through a film",
        Goal("accuracy", 0.95),
    ),
    "sunspots": Row(
        "series:sunspots",
        Config(
            task="sunspots",
            network=NetworkConfig(cell="gru", hidden_size=16),
            optimization=OptimizationConfig(
                optimizer="adamw", learning_rate=3e-4, weight_decay=1.5, schedule="cosine"
            ),
            data=data.SunspotsData(),
            epochs=40,
            batch_size=32,
        ),
        "next month's number of sunspots",
        Goal("rmse", "AR(36)"),
    ),
    "forecast": Row(
        "forecast:load",
        Config(
            task="forecast",
            network=NetworkConfig(cell="gru", hidden_size=64),
            optimization=OptimizationConfig(learning_rate=2e-3, clip_norm=1.0, schedule="cosine"),
            data=own_data.ForecastData(),
            epochs=30,
        ),
        "your own table: the next values of one or many series (--data.path, --data.target)",
    ),
    "sequences": Row(
        "sequences:load",
        Config(
            task="sequences",
            network=NetworkConfig(cell="gru", hidden_size=64, bidirectional=True),
            optimization=OptimizationConfig(learning_rate=3e-3, clip_norm=1.0, schedule="cosine"),
            data=own_data.SequencesData(),
            epochs=60,
            batch_size=32,
        ),
        "your own sequences: a class or numbers for each, or at each step (--data.path)",
    ),
    "labels": Row(
        "labels:load",
        Config(
            task="labels",
            network=NetworkConfig(cell="gru", hidden_size=64, bidirectional=True),
            optimization=OptimizationConfig(learning_rate=3e-3, clip_norm=1.0, schedule="cosine"),
            data=own_data.LabelsData(),
            epochs=10,
        ),
        "your own texts, with a label for each (--data.path)",
    ),
    "pairs": Row(
        "pairs:load",
        Config(
            task="pairs",
            network=NetworkConfig(
                cell="lstm", hidden_size=256, embedding_size=128, forget_bias=3.0
            ),
            optimization=OptimizationConfig(learning_rate=2e-3, clip_norm=1.0, schedule="cosine"),
            data=own_data.PairsData(),
            epochs=10,
        ),
        "your own pairs of texts, from one into the other (--data.path)",
    ),
}

WITH_DATA = tuple(name for name, row in TASKS.items() if row.goal is not None)
"""Tasks whose data comes along or is generated."""


def row(name: str) -> Row:
    """Returns the row of a task.

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
    if not isinstance(config, Config):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidInput(f"expected a Config, such as TASKS['hello'].defaults, got {config!r}")
    chosen = row(config.task)
    if type(config.data) is not type(chosen.defaults.data):
        expected, came = type(chosen.defaults.data).__name__, type(config.data).__name__
        raise InvalidInput(f"task {config.task}: expected data options {expected}, got {came}")
    module, function = chosen.load.split(":")
    task = getattr(importlib.import_module(f"shared.tasks.{module}"), function)(config)
    from shared.tasks.fits import check_fits  # which imports NumPy

    check_fits(config, task)
    return task
