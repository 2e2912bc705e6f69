"""Any command line: what is valid trains 3 steps in both frameworks, equal in float64; what is not
is refused in one line, with exit code 2, and writes nothing.
"""

import contextlib
import io
import json
import shlex
import signal
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import shared.training
from shared.commands import run as run_command
from shared.config import Config, resolve
from shared.config.options import options, settings
from shared.errors import InvalidInput
from shared.protocol import load_backend
from shared.protocol.backend import Metrics
from shared.protocol.schedule import learning_rates
from shared.runs.checkpoint import flatten
from shared.system import process
from shared.tasks import TASKS, load_task
from shared.tasks.batches import training_batches
from shared.tasks.start import first_position
from shared.training.calls import calls
from tests.support.compare_arrays import check_all_close, check_close
from tests.support.fuzz import fuzz
from tests.support.own_data import MADE

RUN = 1e-9
STEPS = 3
BOOK = "a text that is read by both of them, once more and again; \n" * 12

# Sizes that train quickly.
SIZES: dict[str, dict[str, Any]] = {
    "hello": {"words": [("hello",), ("ab", "cde", "f")]},
    "last-value": {"train_examples": [20], "valid_examples": [4], "test_examples": [5],
                   "sequence_length": [5, 7], "input_size": [1, 3], "min_length": [None, 2]},
    "random-labels": {"train_examples": [20], "valid_examples": [4], "test_examples": [5],
                      "sequence_length": [6], "input_size": [2], "min_length": [None, 6]},
    "adding": {"train_examples": [20], "valid_examples": [4], "test_examples": [5],
               "sequence_length": [6]},
    "copy": {"train_examples": [20], "valid_examples": [4], "test_examples": [5],
             "blank_length": [3]},
    "parity": {"train_examples": [20], "valid_examples": [4], "test_examples": [5],
               "min_length": [3], "max_length": [6], "longer_length": [9]},
    "text": {"path": ["book.txt"], "unit": ["char", "word"]},
    "translate": {"largest": [60], "reverse": [False, True]},
    "volume": {"window": [3], "weekday": [False, True], "difference": [False, True]},
    "sunspots": {"window": [5], "difference": [False, True]},
    "forecast": {"path": [("sales.csv",)], "target": [("sales",)], "time": ["date"],
                 "group": [("shop",)], "features": [(), ("price", "weather")],
                 "known_ahead": [(), ("holiday",)], "calendar": [(), ("weekday", "season")],
                 "window": [2, 5], "horizon": [1, 3], "season": [None, 7], "log": [(), ("sales",)],
                 "difference": [False, True]},
    "sequences": {"path": [("gestures.csv",)], "sequence": [("id",)], "step": ["step"],
                  "target": [("kind",)], "class_weights": ["equal", "balanced"],
                  "per_step": [False, True]},
    "labels": {"path": [("reviews.jsonl",)], "unit": ["char", "word"], "longest": [None, 5],
               "class_weights": ["equal", "balanced"]},
    "pairs": {"path": [("plurals.tsv",)], "reverse": [False, True], "split": [(0.6, 0.2, 0.2)]},
}  # fmt: skip
NETWORK: dict[str, Any] = {
    "cell": ["rnn", "lstm", "gru"], "nonlinearity": ["tanh", "relu"], "hidden_size": [1, 3, 5],
    "num_layers": [1, 2, 3], "bidirectional": [False, True], "dropout": [0.0, 0.3],
    "embedding_size": [None, 2, 5], "tied": [False, True], "init_range": [None, 0.3],
    "forget_bias": [0.0, 1.0], "highway": [None, 0, 2],
}  # fmt: skip
OPTIMIZATION: dict[str, Any] = {
    "optimizer": ["adam", "adamw", "sgd", "rmsprop"], "learning_rate": [1e-3, 0.05],
    "betas": [None, (0.8, 0.9)], "eps": [None, 1e-6], "weight_decay": [None, 0.0, 0.01],
    "momentum": [None, 0.0, 0.5], "nesterov": [None, True], "alpha": [None, 0.9],
    "clip_norm": [None, 0.1], "schedule": ["constant", "step", "decay", "cosine"],
    "step_size": [None, 1], "gamma": [None, 0.5], "decay_after": [None, 1],
    "min_learning_rate": [None, 1e-4],
}  # fmt: skip
OTHERS: dict[str, Any] = {
    "epochs": [1, 2], "batch_size": [1, 4, 7], "bptt": [None, 2], "eval_every": [1, 2],
    "seed": [0, 2**63 - 1], "log_every": [1, 2], "checkpoint_every": ["1", "2s"],
    "keep_checkpoints": [1, 3],
}  # fmt: skip


def changes(values: dict[str, Any], always: bool = False) -> st.SearchStrategy[dict[str, Any]]:
    """Some of the options, each with one of its values."""
    chosen = {name: st.sampled_from(found) for name, found in values.items()}
    if always:
        return st.fixed_dictionaries(chosen)
    return st.lists(st.sampled_from(sorted(values)), max_size=4, unique=True).flatmap(
        lambda names: st.fixed_dictionaries({name: chosen[name] for name in names})
    )


@st.composite
def configs(draw: st.DrawFn) -> Config:
    """One of any task; few options are drawn, so that about half make sense together."""
    task = draw(st.sampled_from(sorted(SIZES)))
    config = TASKS[task].defaults
    return replace(
        config,
        network=replace(config.network, **({"hidden_size": 4} | draw(changes(NETWORK)))),
        optimization=replace(config.optimization, **draw(changes(OPTIMIZATION))),
        data=replace(config.data, **draw(changes(SIZES[task], always=True))),
        **({"batch_size": 4, "epochs": 1} | draw(changes(OTHERS))),
        precision="float64",
    )


def command_line(config: Config) -> list[str]:
    usual, values = settings(TASKS[config.task].defaults), settings(config)
    changed = {name: value for name, value in values.items() if value != usual[name]}
    words = [word for option in options(changed, usual) for word in shlex.split(option)]
    return ["--backend", "torch", "--task", config.task, *words]


class Started(Exception):
    """Training would begin: what was given is valid."""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "book.txt").write_text(BOOK)
    for made in MADE.values():
        made(tmp_path)
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)  # pytest's, put back later
    return tmp_path


def check_refused(arguments: list[str], folder: Path) -> str | None:
    """Runs run.py. Raises unless it refuses the arguments in one line and writes nothing; returns
    the line, or None where they are valid and training would begin."""
    before = sorted(folder.rglob("*"))
    errors, terminated = io.StringIO(), signal.getsignal(signal.SIGTERM)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["run.py", *arguments])
        try:
            with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
                process.run(run_command.main)
        except Started:
            return None
        except SystemExit as stop:
            code = stop.code
        finally:
            signal.signal(signal.SIGTERM, terminated)
    said = errors.getvalue()
    assert code == 2, f"exit {code}: {said}"
    assert said.startswith("run.py: "), said
    assert said.count("\n") == 1, said
    assert "Traceback" not in said
    assert sorted(folder.rglob("*")) == before
    return said


def check_parity(config: Config) -> None:
    """Raises unless both frameworks take the same steps."""
    config = resolve(config)
    task = load_task(config)
    found = []
    for name in ("jax", "torch"):
        own = replace(config, backend=name)
        backend = load_backend(own, task.signature)
        batches = training_batches(own, task)
        state, taken = backend.init(first_position(own, task)), []
        for call in calls(0, STEPS, STEPS, None, 0, batches.alike):
            rates = learning_rates(own.optimization, *call, batches.per_epoch, 100)
            (state,), (metrics,) = backend.advance([state], [batches.take(*call)], rates)
            taken.append([np.asarray(part) for part in metrics])
        metrics = Metrics(*map(np.concatenate, zip(*taken, strict=True)))
        tensors = flatten(backend.export(state))
        norms = dict(zip(backend.parameters, metrics.norms.T, strict=True))
        tensors |= {f"norms/{name}": norm for name, norm in norms.items()}
        tensors["metric"] = metrics.metric
        found.append((metrics.loss, tensors))
    (loss, tensors), (expected_loss, expected) = found
    check_close(loss, expected_loss, relative=RUN, what="loss", elementwise=True)
    # Such as an accuracy of 0; they are exactly so in both.
    silent = {name for name, array in expected.items() if not array.any()}
    assert not any(tensors[name].any() for name in silent)
    mine, theirs = (
        {name: array for name, array in found.items() if name not in silent}
        for found in (tensors, expected)
    )
    assert any(name.startswith("norms/") for name in theirs)
    check_all_close(mine, theirs, relative=RUN)


@pytest.mark.slow
@fuzz(160)
@given(config=configs())
def test_a_configuration_trains_the_same_in_both_or_is_refused(
    config: Config, folder: Path
) -> None:
    try:
        resolved = resolve(config)
        task = load_task(resolved)
        if config.log_every > config.epochs * training_batches(resolved, task).per_epoch:
            raise InvalidInput("--log-every")
    except InvalidInput:
        assert check_refused(command_line(config), folder) is not None, "run.py takes it"
    else:
        check_parity(config)


@pytest.fixture
def started(monkeypatch) -> None:
    def stop(*_: Any, **__: Any) -> None:
        raise Started

    monkeypatch.setattr(shared.training, "train", stop)


NAMES = sorted(settings(TASKS["last-value"].defaults))
WORDS = st.one_of(
    st.sampled_from(["", "0", "-1", "1.5", "nan", "inf", "1e999", "true", "None", "adam", "lstm",
                     "\u0000", "\udc80", "a\nb", "--", "-x", "9" * 30, "٣", "../../etc", "5m"]),
    st.integers().map(str), st.text(max_size=8),
)  # fmt: skip


@fuzz(200)
@given(words=st.lists(st.tuples(st.sampled_from([*NAMES, "nothing", ""]), WORDS), max_size=3))
def test_any_words_on_a_command_line_are_understood_or_refused(
    words: list[tuple[str, str]], folder: Path, started
) -> None:
    given = [word for name, value in words for word in (f"--{name}", value)]
    check_refused(["--backend", "torch", "--task", "last-value", *given], folder)


JSON = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_subnormal=False), st.text(max_size=5),
    st.just([]), st.just({}), st.lists(st.integers(), max_size=3), st.just([["a"]]),
)  # fmt: skip


@fuzz(200)
@given(data=st.data())
def test_any_values_in_a_config_file_are_understood_or_refused(
    data: st.DataObject, folder: Path, started
) -> None:
    values = asdict(resolve(TASKS["last-value"].defaults))
    for _ in range(data.draw(st.integers(1, 2))):
        groups = [values, *(group for group in values.values() if isinstance(group, dict))]
        part = data.draw(st.sampled_from(groups))
        name = data.draw(st.sampled_from([*sorted(part), "nothing"]))
        if data.draw(st.booleans()):
            part[name] = data.draw(JSON)
        else:
            part.pop(name, None)
    (folder / "book.txt").write_text(json.dumps(values))
    check_refused(["--backend", "torch", "--config", "book.txt"], folder)
