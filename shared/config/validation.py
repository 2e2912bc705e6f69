"""Checks of a configuration: it makes sense and is completed, or one line says why not."""

import math
from collections.abc import Mapping
from dataclasses import fields, replace
from types import NoneType, UnionType
from typing import Any, Literal, Union, cast, get_args, get_origin, get_type_hints

from shared.config.choices import OPTIMIZERS, SCHEDULES
from shared.config.data import (
    GeneratedData,
    HelloData,
    MotionData,
    TranslateData,
)
from shared.config.interval import Every
from shared.config.options import flag
from shared.config.own_data import OwnData, check_columns
from shared.config.settings import Config, NetworkConfig, OptimizationConfig
from shared.errors import InvalidInput

LARGEST = 1e30
"""Upper bound of constants, which stay below it, so that a step can be computed in float32."""


def resolve(config: Config) -> Config:
    """Checks a configuration and returns it with every None that has a default filled in.

    Raises:
        InvalidInput: one line naming the option, what was expected and what came.
    """
    if not isinstance(config, Config):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidInput(f"expected a Config, such as TASKS['hello'].defaults, got {config!r}")
    for part, prefix in ((config, ""), (config.network, ""), (config.optimization, ""),
                         (config.data, "data.")):  # fmt: skip
        _check_types(part, prefix)
    _check_sizes(config)
    config = replace(config, network=_with_highway(config, _with_embedding(config)))
    _check_network(config)
    optimization = _fill(config.optimization, "optimizer", OPTIMIZERS)
    optimization = _fill(optimization, "schedule", SCHEDULES)
    _check_optimization(optimization)
    return replace(config, optimization=optimization)


KINDS: dict[Any, tuple[str, tuple[type, ...]]] = {
    bool: ("True or False", (bool,)),
    int: ("an integer", (int,)),
    float: ("a number", (int, float)),
    str: ("a text", (str,)),
}
"""Type → its name in messages, and the Python types that are accepted for it."""


def _check_types(settings: object, prefix: str) -> None:
    """Refuses a value whose type is not that of its setting.

    A command line never brings one, but a program may.
    """
    hints: dict[str, Any] = get_type_hints(type(settings))
    for name, kind in hints.items():
        value = getattr(settings, name)
        union = get_origin(kind) in (Union, UnionType)
        kinds: tuple[Any, ...] = get_args(kind) if union else (kind,)
        if not any(_is(value, one) for one in kinds):
            expected = " or ".join(_named(one) for one in kinds if one is not NoneType)
            choice = isinstance(value, str) and get_origin(kind) is Literal
            _require(False, prefix + name, expected, value if choice else repr(value))


def _is(value: object, kind: Any) -> bool:
    """Tells whether a value is of the type of a setting, or of one of its types."""
    if get_origin(kind) is Literal:
        return type(value) is str and value in get_args(kind)
    if get_origin(kind) is tuple:
        inner: tuple[Any, ...] = get_args(kind)
        if not isinstance(value, tuple):
            return False
        values = cast(tuple[Any, ...], value)
        several = inner[-1] is Ellipsis
        return (several or len(values) == len(inner)) and all(_is(v, inner[0]) for v in values)
    if kind not in KINDS:
        return isinstance(value, kind)
    return isinstance(value, KINDS[kind][1]) and (kind is bool or not isinstance(value, bool))


def _named(kind: Any) -> str:
    """Names a type in a message."""
    if get_origin(kind) is Literal:
        return f"one of {', '.join(map(str, get_args(kind)))}"
    if get_origin(kind) is tuple:
        inner: tuple[Any, ...] = get_args(kind)
        count = "" if inner[-1] is Ellipsis else f"{len(inner)} "
        if get_origin(inner[0]) is Literal:
            return f"a tuple of {', '.join(map(str, get_args(inner[0])))}"
        return f"a tuple of {count}{KINDS[inner[0]][0].split()[-1]}s"
    return KINDS[kind][0] if kind in KINDS else kind.__name__


def _with_embedding(config: Config) -> NetworkConfig:
    """Adds an embedding for words: one-hot vectors would be a product with thousands of zeros
    each."""
    network, data = config.network, config.data
    if network.embedding_size is None and getattr(data, "unit", None) == "word":
        return replace(network, embedding_size=network.hidden_size)
    return network


def _with_highway(config: Config, network: NetworkConfig) -> NetworkConfig:
    """Adds a linear highway to a forecast: a network behind a linear model is no answer."""
    if network.highway is None:
        return replace(network, highway=getattr(config.data, "window", 0))
    return network


def _require(condition: bool, name: str, expected: str, value: object) -> None:
    if not condition:
        raise InvalidInput(f"{flag(name)}: expected {expected}, got {value}")


def _check_size(name: str, size: int | None) -> None:
    _require(size is None or 0 < size < 2**31, name, "a positive number below 2^31", size)


def _check_sizes(config: Config) -> None:
    network, data = config.network, config.data
    sizes: dict[str, int | None] = {
        "hidden_size": network.hidden_size,
        "num_layers": network.num_layers,
        "embedding_size": network.embedding_size,
        "epochs": config.epochs,
        "batch_size": config.batch_size,
        "bptt": config.bptt,
        "eval_every": config.eval_every,
        "log_every": config.log_every,
        "keep_checkpoints": config.keep_checkpoints,
    }
    sizes |= {
        f"data.{field.name}": getattr(data, field.name)
        for field in fields(data)
        if field.type in (int, int | None)
    }
    for name, size in sizes.items():
        _check_size(name, size)
    highway = network.highway or 0
    _require(0 <= highway < 2**31, "highway", "a number of steps, 0 for none", highway)
    Every.of(config.checkpoint_every)
    _require(0 <= config.seed < 2**63, "seed", "a number from 0 to 2^63 - 1", config.seed)
    if isinstance(data, GeneratedData) and data.min_length is not None:
        _require(
            data.min_length <= data.sequence_length,
            "data.min_length",
            f"at most the sequence length {data.sequence_length}",
            data.min_length,
        )
    for name in ("path", "folder"):
        files = getattr(data, name, None) or ()
        for file in (files,) if isinstance(files, str) else files:
            _require("\0" not in file, f"data.{name}", "a name without NUL", repr(file))
    if isinstance(data, HelloData):
        _require(
            bool(data.words) and all(data.words),
            "data.words",
            "one or more words of at least one character",
            " ".join(map(repr, data.words)) or "none",
        )
    split: tuple[float, ...] | None = getattr(data, "split", None)
    if split is not None:
        _require(
            all(share > 0 for share in split) and math.isclose(sum(split), 1),
            "data.split",
            "three positive shares that sum to 1",
            " ".join(map(str, split)),
        )
    if isinstance(data, OwnData):
        check_columns(data)
    if isinstance(data, MotionData):
        _require(data.frames > 1, "data.frames", "two or more, between which it moves", data.frames)
    if isinstance(data, TranslateData):
        _require(data.largest < 10**6, "data.largest", "at most 999999", data.largest)
    for name in ("valid_share", "test_share"):
        share = getattr(data, name, 0.5)
        _require(0 < share < 1, f"data.{name}", "a share between 0 and 1", share)


def _check_network(config: Config) -> None:
    network = config.network
    _require(0 <= network.dropout < 1, "dropout", "a number in [0, 1)", network.dropout)
    bound = network.init_range
    _require(
        bound is None or 0 < bound < LARGEST,
        "init_range",
        f"a positive number below {LARGEST:g}",
        bound,
    )
    bias = network.forget_bias
    _require(abs(bias) < LARGEST, "forget_bias", f"a number of magnitude below {LARGEST:g}", bias)
    if bias and network.cell == "rnn":
        raise InvalidInput(
            f"--forget-bias {bias} is an option of --cell lstm and gru, got --cell rnn"
        )
    if network.tied:
        width = network.hidden_size * (2 if network.bidirectional else 1)
        if network.embedding_size != width:
            raise InvalidInput(
                f"--tied uses the embedding as the output layer's weights: expected "
                f"--embedding-size {width}, the width of the last layer, "
                f"got {network.embedding_size}"
            )
    if network.dropout > 0 and network.num_layers == 1:
        raise InvalidInput(
            f"--dropout {network.dropout} drops between layers: "
            "expected --num-layers of at least 2, got 1"
        )
    if network.cell != "rnn" and network.nonlinearity != "tanh":
        raise InvalidInput(
            f"--nonlinearity {network.nonlinearity} is an option of --cell rnn, "
            f"got --cell {network.cell}"
        )
    if network.bidirectional and config.bptt is not None:
        raise InvalidInput(
            "--bidirectional reads a sequence from its end, which truncated back-propagation "
            f"(--bptt {config.bptt}) has not reached: expected one of the two"
        )


def _fill(
    optimization: OptimizationConfig, choice: str, table: Mapping[str, Mapping[str, Any]]
) -> OptimizationConfig:
    chosen = getattr(optimization, choice)
    known = table[chosen]
    for name in {name for row in table.values() for name in row} - set(known):
        if getattr(optimization, name) is not None:
            options = ", ".join(flag(option) for option in known) or "none"
            raise InvalidInput(
                f"{flag(name)} makes no sense with {flag(choice)} {chosen}, "
                f"whose options are: {options}"
            )
    missing = {name: value for name, value in known.items() if getattr(optimization, name) is None}
    return replace(optimization, **missing)


def _check_optimization(optimization: OptimizationConfig) -> None:
    o = optimization
    for name in ("learning_rate", "clip_norm"):
        value = getattr(o, name)
        expected = f"a positive number below {LARGEST:g}"
        _require(value is None or 0 < value < LARGEST, name, expected, value)
    for name in ("momentum", "alpha"):
        value = getattr(o, name)
        _require(value is None or 0 <= value < 1, name, "a number in [0, 1)", value)
    if o.betas is not None:
        _require(all(0 <= beta < 1 for beta in o.betas), "betas", "two numbers in [0, 1)", o.betas)
    for name in ("eps", "weight_decay", "min_learning_rate"):
        value = getattr(o, name)
        expected = f"a number from 0 to {LARGEST:g}"
        _require(value is None or 0 <= value < LARGEST, name, expected, value)
    if o.nesterov and not o.momentum:
        raise InvalidInput("--nesterov needs momentum: expected --momentum above 0, got 0")
    after = {"step": "step_size", "decay": "decay_after"}.get(o.schedule)
    if after is not None:
        _require(getattr(o, after) is not None, after, "a number of epochs", getattr(o, after))
        _check_size(after, getattr(o, after))
        _require(o.gamma is not None and 0 < o.gamma <= 1, "gamma", "a factor in (0, 1]", o.gamma)
    if o.min_learning_rate is not None:
        _require(
            o.min_learning_rate <= o.learning_rate,
            "min_learning_rate",
            f"at most the learning rate {o.learning_rate}",
            o.min_learning_rate,
        )
