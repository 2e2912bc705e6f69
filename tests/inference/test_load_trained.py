"""A trained run is loaded at its best checkpoint, and refused in one line where it is damaged."""

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shared.errors import InvalidInput
from shared.inference import load_trained
from shared.protocol import Snapshot
from shared.runs import checkpoint
from tests.support import checksummed
from tests.support.command_line import check_refused
from tests.support.inference_cases import FIRST


def test_the_best_checkpoint_is_taken_where_there_is_one(hello, tmp_path: Path) -> None:
    run = shutil.copytree(hello[0], tmp_path / "run")
    found = checkpoint.read(run / FIRST)
    weights = {name: 2 * array for name, array in found.snapshot.weights.items()}
    best = found._replace(
        snapshot=Snapshot(weights, {}, (), 7), best={"loss": 0.1, "accuracy": 1.0, "step": 7}
    )
    checkpoint.write(run / "checkpoint-7.safetensors", best)
    last = best._replace(snapshot=Snapshot(found.snapshot.weights, {}, (), 30))
    checkpoint.write(run / "checkpoint-30.safetensors", last)
    trained = load_trained(run)
    assert trained.step == 7
    exported = trained.backend.export(trained.state).weights
    assert all((exported[name] == array).all() for name, array in weights.items())
    assert load_trained(hello[0]).step == 0


def damage(run: Path, case: str) -> None:
    """Makes a run folder what a case needs."""
    if case in ("no run folder", "no configuration"):
        (run / "config.json").unlink()
    elif case == "no checkpoint":
        (run / FIRST).unlink()
    elif case == "no schema":
        (run / "schema.json").unlink()
    elif case == "schema of another task":
        told = json.loads((run / "schema.json").read_text())
        checksummed.write(run / "schema.json", told | {"task": "parity"})
    elif case == "schema of another version":
        (run / "schema.json").write_text('{"task": "hello"}')
    elif case == "schema of another size":
        told = json.loads((run / "schema.json").read_text())
        checksummed.write(run / "schema.json", told | {"output_size": 7})
    elif case == "weights of another shape":
        found = json.loads((run / "config.json").read_text())
        found["network"]["hidden_size"] = 5
        checksummed.write(run / "config.json", found)
    elif case == "checkpoint of another vocabulary":
        found = checkpoint.read(run / FIRST)
        checkpoint.write(run / FIRST, found._replace(data="0123abcd"))
    elif case == "damaged checkpoint":
        (run / FIRST).write_bytes((run / FIRST).read_bytes()[:-9])
    elif case == "empty checkpoint":
        (run / FIRST).write_bytes(b"")


DAMAGED = {
    "no configuration": ["expected a run folder, with a config.json"],
    "no checkpoint": ["expected a checkpoint", "got none"],
    "no schema": ["got one without schema.json"],
    "schema of another task": ["schema.json: expected task hello", "got parity"],
    "schema of another version": ["schema.json: no schema of this version"],
    "schema of another size": ["schema.json: expected classes or no more outputs than tokens"],
    "weights of another shape": [FIRST, "the configuration beside it expects (15,"],
    "checkpoint of another vocabulary": [FIRST, "of the data in schema.json", "(0123abcd)"],
    "damaged checkpoint": [FIRST, "expected a checkpoint, got"],
    "empty checkpoint": [FIRST, "expected a checkpoint, got"],
}  # fmt: skip


@pytest.mark.parametrize("name", ["sample.py", "predict.py"])
@pytest.mark.parametrize("case", DAMAGED)
def test_a_run_that_is_damaged_is_refused_in_one_line(
    case: str, name: str, hello, tmp_path: Path, call
) -> None:
    run = shutil.copytree(hello[0], tmp_path / "run")
    damage(run, case)
    (tmp_path / "a.txt").write_text("hello")
    before = sorted(tmp_path.rglob("*"))
    more = ("--prompt", "h") if name == "sample.py" else ("--input", "a.txt", "--out", "o.csv")
    refused = call(name, "--run", "run", *more)
    check_refused(refused, f"{name}: ", *DAMAGED[case])
    assert refused.stdout == ""
    assert sorted(tmp_path.rglob("*")) == before


def in_series(**values: Any) -> Callable[[dict], object]:
    return lambda told: told["series"].update(values)


def in_scale(number: int, **values: Any) -> Callable[[dict], object]:
    return lambda told: told["series"]["scales"][""][number].update(values)


UNTRUE = [
    ("weather", in_series(window=0), "values after each window"),
    ("weather", in_series(horizon=2), "values after each window"),
    ("weather", in_series(targets=0), "values after each window"),
    ("weather", in_series(scales={}), "a scale for each group"),
    ("weather", lambda told: told["series"]["columns"].pop(), "the columns that a series reads"),
    ("weather", lambda told: told["series"]["columns"][0].update(kind="hour"), "numbers to predi"),
    ("weather", lambda told: told["series"]["scales"][""].pop(), "a scale for each column"),
    ("weather", in_scale(0, std=0.0), "finite means"),
    ("weather", in_scale(1, mean=math.inf), "finite means"),
    ("weather", lambda told: told.update(per_step=True), "values after each window"),
    ("weather", lambda told: told.update(tokens=True), "a vocabulary for tokens"),
    ("weather", lambda told: told.update(output_size=2), "values after each window"),
    ("vowels", lambda told: told.update(mean=[1.0] * 3), "a mean and a deviation"),
    ("vowels", lambda told: told.update(std=[]), "a mean and a deviation"),
    ("vowels", lambda told: told.update(mean=[math.nan] * 12), "finite means"),
    ("vowels", lambda told: told.update(classes=["a"]), "a name for each class"),
    ("hello", lambda told: told["vocabulary"].pop(), "a vocabulary for tokens"),
    ("hello", lambda told: told.update(between="h", end="#"), "tokens between and after"),
    ("hello", lambda told: told.update(between="h"), "tokens between and after"),
]


@pytest.mark.parametrize(("name", "change", "expected"), UNTRUE)
def test_a_schema_that_no_run_writes_is_refused(
    name: str, change: Callable[[dict], object], expected: str, hello, runs, tmp_path: Path
) -> None:
    run = shutil.copytree((runs | {"hello": hello})[name][0], tmp_path / "run")
    told = json.loads((run / "schema.json").read_text(encoding="utf-8"))
    change(told)
    checksummed.write(run / "schema.json", told)
    with pytest.raises(InvalidInput, match=rf"schema\.json: expected {expected}.*, got a damaged"):
        load_trained(run)
