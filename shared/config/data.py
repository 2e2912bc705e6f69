"""What data a task makes or reads: one class for each kind of options, `--data` on a command line.

No two classes have options of the same names, so that a configuration in JSON says which it means.
"""

from dataclasses import dataclass
from typing import Literal

from shared.config.own_data import ForecastData, LabelsData, PairsData, SequencesData


@dataclass(frozen=True)
class HelloData:
    words: tuple[str, ...] = ("hello",)
    """Words to spell, each a sequence of its own."""


@dataclass(frozen=True)
class GeneratedData:
    train_examples: int = 100_000
    """Sequences to train on."""
    valid_examples: int = 10_000
    """Held-out sequences that choose the best checkpoint."""
    test_examples: int = 20_000
    """Held-out sequences that are scored once, at the end."""
    sequence_length: int = 100
    """Time steps of a sequence."""
    input_size: int = 10
    """Features of a time step."""
    min_length: int | None = None
    """Shortest sequence, lengths being drawn up to the sequence length; None makes all equal."""
    folder: str | None = None
    """Folder to generate the data in, once, and to read it from as it is needed: it may be larger
    than memory. None keeps it in memory."""


@dataclass(frozen=True)
class TextData:
    path: str | None = None
    """UTF-8 text file, or a folder with train.txt, valid.txt and test.txt; None reads the help
    topics that come with CPython."""
    split: tuple[float, float, float] = (0.9, 0.05, 0.05)
    """Shares of a single text, in reading order, for training, validation and test."""
    unit: Literal["char", "word"] = "char"
    """What a token is: a character, or a word between blanks, with the end of a line as a word."""
    vocabulary_size: int = 10_000
    """Words: the most frequent ones of the training text are known, the others are one token."""


@dataclass(frozen=True)
class AddingData:
    train_examples: int = 50_000
    """Sequences to train on."""
    valid_examples: int = 2_000
    """Held-out sequences that choose the best checkpoint."""
    test_examples: int = 10_000
    """Held-out sequences that are scored once, at the end."""
    sequence_length: int = 150
    """Time steps of a sequence."""


@dataclass(frozen=True)
class CopyData:
    train_examples: int = 50_000
    """Sequences to train on."""
    valid_examples: int = 1_000
    """Held-out sequences that choose the best checkpoint."""
    test_examples: int = 5_000
    """Held-out sequences that are scored once, at the end."""
    blank_length: int = 50
    """Time steps between the symbols and the signal to repeat them."""


@dataclass(frozen=True)
class ParityData:
    train_examples: int = 20_000
    """Sequences to train on."""
    valid_examples: int = 1_000
    """Held-out sequences that choose the best checkpoint."""
    test_examples: int = 5_000
    """Held-out sequences that are scored once, at the end, and as many of the longer ones."""
    min_length: int = 20
    """Bits of the shortest sequence."""
    max_length: int = 50
    """Bits of the longest sequence."""
    longer_length: int = 200
    """Bits of the longest sequence that is scored beside the test part: longer than any that the
    network was trained on."""


@dataclass(frozen=True)
class TranslateData:
    source: Literal["en", "fr"] = "en"
    """Language to translate from, into the other one."""
    reverse: bool = True
    """Read the source from its end, so that its beginning is close to that of the target (Sutskever
    et al. 2014)."""
    largest: int = 9_999
    """Largest number; each number from 0 on belongs to one part."""
    valid_share: float = 0.05
    """Share of the numbers that chooses the best checkpoint."""
    test_share: float = 0.2
    """Share of the numbers that is scored once, at the end."""


@dataclass(frozen=True)
class VowelsData:
    valid_utterances: int = 3
    """Utterances of each speaker, of the 30 to train on, that choose the best checkpoint."""


@dataclass(frozen=True)
class VolumeData:
    window: int = 5
    """Days that the network reads before the day to predict."""
    weekday: bool = True
    """Tell it the weekday of that day."""
    difference: bool = False
    """Predict the change from the last day instead of the value itself."""


@dataclass(frozen=True)
class WeatherData:
    window: int = 7
    """Days that the network reads before the day to predict."""
    season: bool = True
    """Tell it the time of the year."""
    difference: bool = False
    """Predict the change from the last day instead of the value itself."""


@dataclass(frozen=True)
class SunspotsData:
    window: int = 36
    """Months that the network reads before the month to predict."""
    difference: bool = True
    """Predict the change from the last month instead of the value itself."""
    split: tuple[float, float, float] = (0.7, 0.1, 0.2)
    """Shares of the series, in its order, for training, validation and test."""


@dataclass(frozen=True)
class RowsData:
    valid_share: float = 0.1
    """Share of the images that chooses the best checkpoint."""
    test_share: float = 0.2
    """Share of the images that is scored once, at the end."""


@dataclass(frozen=True)
class MotionData:
    train_examples: int = 8_000
    """Films to train on."""
    valid_examples: int = 1_000
    """Held-out films that choose the best checkpoint."""
    test_examples: int = 2_000
    """Held-out films that are scored once, at the end."""
    frames: int = 8
    """Frames of a film."""


Data = (
    HelloData
    | GeneratedData
    | AddingData
    | CopyData
    | ParityData
    | TextData
    | TranslateData
    | VowelsData
    | VolumeData
    | WeatherData
    | RowsData
    | MotionData
    | SunspotsData
    | ForecastData
    | SequencesData
    | LabelsData
    | PairsData
)
