"""Configurations survive JSON, and None means what the other choices say."""

import json
import shlex
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from shared.commands import cli
from shared.commands.run import Arguments
from shared.config import Config, resolve
from shared.config.choices import OPTIMIZERS, constants
from shared.config.data import GeneratedData, HelloData, TextData
from shared.config.options import from_json, options, settings
from shared.config.settings import NetworkConfig, OptimizationConfig
from shared.errors import InvalidInput
from shared.system.json_files import parse, read_values
from shared.tasks import TASKS


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_configuration_survives_json(task: str, optimizer) -> None:
    config = resolve(
        replace(
            TASKS[task].defaults,
            network=NetworkConfig(num_layers=2, dropout=0.25, embedding_size=3),
            optimization=OptimizationConfig(optimizer=optimizer, learning_rate=0.1 + 0.2),
            backend="torch",
        )
    )
    assert from_json(json.loads(json.dumps(asdict(config)))) == config


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_resolving_makes_every_constant_explicit_and_changes_nothing_twice(optimizer) -> None:
    config = resolve(Config(optimization=OptimizationConfig(optimizer=optimizer)))
    assert constants(config.optimization) == OPTIMIZERS[optimizer]
    assert resolve(config) == config


def test_what_is_given_is_kept() -> None:
    given = OptimizationConfig(optimizer="adamw", betas=(0.5, 0.6), weight_decay=0.0)
    kept = resolve(Config(optimization=given)).optimization
    assert (kept.betas, kept.weight_decay, kept.eps) == ((0.5, 0.6), 0.0, 1e-8)


def test_words_are_embedded_and_characters_are_not() -> None:
    """A one-hot vector of ten thousand words would be mostly zeros."""
    defaults = TASKS["text"].defaults
    assert resolve(defaults).network.embedding_size is None
    words = replace(defaults, data=TextData(unit="word"))
    resolved = resolve(words)
    assert resolved.network.embedding_size == defaults.network.hidden_size
    assert resolve(resolved) == resolved
    chosen = replace(words, network=replace(defaults.network, embedding_size=7))
    assert resolve(chosen).network.embedding_size == 7
    tied = resolve(replace(words, network=replace(defaults.network, tied=True)))
    assert tied.network.embedding_size == tied.network.hidden_size
    assert replace(tied.network, tied=False) == resolved.network


DAMAGED = {
    "an unknown key": lambda values: values | {"colour": "red"},
    "a missing part": lambda values: {k: v for k, v in values.items() if k != "network"},
    "a value of another type": lambda values: values | {"epochs": "ten"},
    "an unknown choice": lambda values: values | {"backend": "mxnet"},
    "a list": lambda values: [values],
    "a text as data": lambda values: values | {"data": "hello"},
    "a number beyond floats": lambda values: (
        values | {"optimization": values["optimization"] | {"learning_rate": 10**400}}
    ),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_json_that_is_no_configuration_is_refused(case: str) -> None:
    values = DAMAGED[case](json.loads(json.dumps(asdict(resolve(TASKS["text"].defaults)))))
    with pytest.raises(InvalidInput, match="no config of this version"):
        from_json(values)


@dataclass
class Holding:
    names: list[str]
    size: int
    ratio: float | None = None


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"names": ["a"], "size": "ten"}, "expected int as size, got 'ten'"),
        ({"names": ["a"], "size": True}, "expected int as size, got 'True'"),
        ({"names": "a", "size": 1}, r"expected list\[str\] as names, got a text"),
        ({"names": {"a": 1}, "size": 1}, ".*"),
        ({"names": ["a", 1], "size": 1}, r"expected list\[str\] as names, got \['a', 1\]"),
        ({"names": [], "size": 1, "ratio": "half"}, r"expected float \| None as ratio, got 'half'"),
    ],
)
def test_json_of_other_types_is_refused_in_one_line_that_names_the_key(
    values: dict, message: str
) -> None:
    with pytest.raises(InvalidInput, match=f"^no holding of this version: {message}$"):
        parse(Holding, values)


def test_text_that_no_file_could_hold_or_be_named_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"data": {"words": ["\\ud800"]}}', encoding="utf-8")
    with pytest.raises(InvalidInput, match=r"config\.json: expected JSON, got: .*surrogates"):
        read_values(tmp_path / "config.json")
    with pytest.raises(InvalidInput, match=r"^--data\.path: expected a name without NUL, got 'a"):
        resolve(replace(TASKS["text"].defaults, data=TextData("a\0b")))
    with pytest.raises(InvalidInput, match=r"^--data\.folder: expected a name without NUL, got 'a"):
        resolve(replace(TASKS["last-value"].defaults, data=GeneratedData(folder="a\0b")))


WRITTEN = {
    "plain": Config(),
    "words with spaces, both directions": replace(
        Config(), data=HelloData(("it's one", "two")), network=NetworkConfig(bidirectional=True)
    ),
    "nesterov": replace(
        Config(), optimization=OptimizationConfig("sgd", momentum=0.9, nesterov=True)
    ),
    "sgd": replace(Config(), optimization=OptimizationConfig("sgd")),
    "without what the task has": replace(
        TASKS["text"].defaults,
        bptt=None,
        optimization=OptimizationConfig(),
        data=TextData(split=(0.5, 0.25, 0.25)),
    ),
}


@pytest.mark.parametrize("case", WRITTEN)
def test_settings_as_options_can_be_pasted(case: str) -> None:
    config = resolve(WRITTEN[case])
    defaults = TASKS[config.task].defaults
    words = shlex.split(" ".join(options(settings(config), settings(defaults))))
    parsed = cli.parse(Arguments, words, Arguments(defaults), "")
    assert resolve(parsed.settings) == config


def made(kind: Callable[..., Any], **values: Any) -> Any:
    return kind(**values)


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        ({"implementation": "foo"}, "--implementation: expected one of handcrafted, native,"),
        ({"backend": "tf"}, "--backend: expected one of jax, torch, got tf"),
        ({"device": "npu"}, "--device: expected one of auto, cpu, gpu, tpu, got npu"),
        ({"logger": "wandb"}, "--logger: expected one of jsonl, tensorboard, got wandb"),
        ({"precision": "float16"}, "--precision: expected one of float32, float64, got float16"),
        ({"epochs": "5"}, "--epochs: expected an integer, got '5'"),
        ({"epochs": True}, "--epochs: expected an integer, got True"),
        ({"batch_size": 2.5}, "--batch-size: expected an integer, got 2.5"),
        ({"detect_anomaly": 1}, "--detect-anomaly: expected True or False, got 1"),
        ({"network": made(NetworkConfig, cell="lsmt")}, "--cell: expected one of rnn, lstm,"),
        ({"network": made(NetworkConfig, dropout="a")}, "--dropout: expected a number, got 'a'"),
        ({"optimization": made(OptimizationConfig, optimizer="lion")}, "--optimizer: expected"),
        ({"data": made(TextData, unit="byte")}, "--data.unit: expected one of char, word,"),
        ({"data": made(HelloData, words="hello")}, "--data.words: expected a tuple of texts, got"),
        ({"data": made(HelloData, words=["a"])}, "--data.words: expected a tuple of texts, got ["),
        ({"data": made(HelloData, words=("a", 3))}, "--data.words: expected a tuple of texts, got"),
        ({"data": made(TextData, split=(0.9, 0.1))}, "--data.split: expected a tuple of 3 numbers"),
        ({"optimization": made(OptimizationConfig, betas=(0.9,))}, "--betas: expected a tuple"),
        ({"optimization": made(OptimizationConfig, betas=("a", "b"))}, "--betas: expected a tuple"),
        ({"network": {}}, "--network: expected NetworkConfig, got {}"),
        ({"optimization": 3}, "--optimization: expected OptimizationConfig, got 3"),
        ({"data": {"words": ["a"]}}, "--data: expected HelloData or "),
    ],
)  # fmt: skip
def test_a_program_may_give_no_other_values_than_a_command_line(
    change: dict[str, Any], refusal: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        resolve(replace(Config(), **change))
    assert str(refused.value).startswith(refusal)


@pytest.mark.parametrize("value", [None, "jax", {}])
def test_what_is_no_configuration_is_refused(value: Any) -> None:
    with pytest.raises(InvalidInput) as refused:
        resolve(value)
    expected = "expected a Config, such as TASKS['hello'].defaults, got"
    assert str(refused.value) == f"{expected} {value!r}"
