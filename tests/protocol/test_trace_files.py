"""Files of a trace read back as they were written, and what is no trace is named in one line."""

import json
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from shared.parity.trace_files import read_trace, steps_in, write_trace
from shared.protocol.trace import split_steps
from tests.support.trace_cases import CASES
from tests.support.traces import refused, take


def test_a_written_trace_reads_back_with_its_order_shapes_and_dtypes(tmp_path: Path) -> None:
    trace = {
        "weights/b": np.arange(6.0).reshape(2, 3).T,  # not contiguous
        "loss/loss": np.float64(0.25),
        "inputs/none": np.zeros((0, 3), np.float32),
        "inputs/targets": np.array([[1, 2]], np.int32),
        "inputs/reset": np.array([True, False]),
        "embedded/half": np.array([1.5, -2], np.float16),
        "embedded/brain": np.array([1.5, -2], ml_dtypes.bfloat16),
        "a": np.array(3, np.int64),
    }
    write_trace(tmp_path, 7, trace)
    found = read_trace(tmp_path / "step-000007.safetensors")
    assert list(found) == list(trace)
    for name, array in trace.items():
        assert found[name].shape == array.shape, name
        assert found[name].dtype == array.dtype, name
        np.testing.assert_array_equal(found[name], array, err_msg=name)


def test_a_trace_of_a_backend_comes_back_from_its_files(tmp_path: Path) -> None:
    """With scalars as scalars: whoever writes their own files has no reason for another shape."""
    steps = split_steps(take(CASES["text gru 2x1"], "torch/handcrafted").trace)
    for number, step in enumerate(steps, start=1):
        write_trace(tmp_path, number, step)
    files = steps_in(tmp_path)
    assert list(files) == [1, 2, 3]
    for step, file in zip(steps, files.values(), strict=True):
        found = read_trace(file)
        assert list(found) == list(step)
        for name in step:
            assert found[name].shape == np.shape(step[name]), name
            assert found[name].dtype == step[name].dtype, name
            np.testing.assert_array_equal(found[name], step[name], err_msg=name)


def test_files_of_another_program_come_in_the_order_of_a_step(tmp_path: Path) -> None:
    """Phases in their order, numbers by their value; phases that nobody knows come last."""
    names = [
        "inputs/x", "layers/l2.h", "layers/l10.h", "loss", "gradients/rnn.weight_l9",
        "gradients/rnn.weight_l10", "weights/w", "attention/a", "zebra/z",
    ]  # fmt: skip
    tensors = {name: np.full(2, i, np.float32) for i, name in enumerate(names)}
    shuffled = np.random.default_rng(0).permutation(names)
    save_file({name: tensors[name] for name in shuffled}, tmp_path / "step-1.safetensors")
    found = read_trace(steps_in(tmp_path)[1])
    assert list(found) == names
    for name in names:
        np.testing.assert_array_equal(found[name], tensors[name])


def test_a_file_may_say_its_own_order(tmp_path: Path) -> None:
    order = ["weights/w", "a", "inputs/x"]
    save_file(
        {name: np.ones(1) for name in sorted(order)},
        tmp_path / "file",
        {"order": json.dumps(order), "format": "none of ours"},
    )
    assert list(read_trace(tmp_path / "file")) == order


def test_steps_come_by_their_number_and_other_files_are_left_alone(tmp_path: Path) -> None:
    for name in ("step-10", "step-000009", "step-2"):
        save_file({"a": np.ones(1)}, tmp_path / f"{name}.safetensors")
    (tmp_path / "README").write_text("notes")
    (tmp_path / "step-4.safetensors.tmp").write_text("half a file")
    found = steps_in(tmp_path)
    assert [(step, file.name) for step, file in found.items()] == [
        (2, "step-2.safetensors"), (9, "step-000009.safetensors"), (10, "step-10.safetensors"),
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["step-x", "xstep-3", "Step-000003", "step000003"])
def test_a_trace_of_another_name_is_refused(tmp_path: Path, name: str) -> None:
    """In both folders misspelt alike, a step would be left out without a word."""
    for file in ("step-000002", name):
        save_file({"a": np.ones(1)}, tmp_path / f"{file}.safetensors")
    refused(lambda: steps_in(tmp_path), f"{tmp_path}: expected ", f"got {name}.safetensors")


def whole(file: Path) -> bytes:
    save_file({"inputs/x": np.ones(3), "loss/loss": np.ones(())}, file)
    return file.read_bytes()


def header(tensors: Any) -> bytes:
    text = json.dumps(tensors).encode()
    return len(text).to_bytes(8, "little") + text


DAMAGED = {
    "empty": lambda file: file.write_bytes(b""),
    "cut in its numbers": lambda file: file.write_bytes(whole(file)[:-5]),
    "cut in its header": lambda file: file.write_bytes(whole(file)[:40]),
    "cut in its length": lambda file: file.write_bytes(whole(file)[:4]),
    "longer than it says": lambda file: file.write_bytes(whole(file) + b"more"),
    "text": lambda file: file.write_text("step,loss\n1,0.5\n" * 20),
    "NumPy's": lambda file: file.write_bytes(b"\x93NUMPY\x01\x00" + bytes(200)),
    "a folder": lambda file: file.mkdir(),
    "missing": lambda file: None,
    "without tensors": lambda file: save_file({}, file),
    "without header": lambda file: file.write_bytes(header([])),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_what_is_no_trace_is_named_in_one_line(tmp_path: Path, damage: str) -> None:
    file = tmp_path / "step-000001.safetensors"
    DAMAGED[damage](file)
    refused(lambda: read_trace(file), str(file))


@pytest.mark.parametrize("kind", ["complex64", "float8_e4m3fn"])
def test_numbers_that_are_not_real_or_not_known_are_named(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "step-000001.safetensors"
    dtype = np.dtype(kind) if kind == "complex64" else np.dtype(getattr(ml_dtypes, kind))
    save_file({"inputs/x": np.ones(2), "layers/h": np.ones(2, dtype)}, file)
    refused(lambda: read_trace(file), f"{file}: ", "layers/h")


@pytest.mark.parametrize(
    "order",
    ['["a"]', '["a", "b", "b"]', '["a", "c"]', "{", "3", "null", '[["a"], "b"]', "[" * 9999],
)
def test_an_order_that_does_not_list_every_tensor_once_is_refused(
    tmp_path: Path, order: str
) -> None:
    file = tmp_path / "step-000001.safetensors"
    save_file({"a": np.ones(1), "b": np.ones(1)}, file, {"order": order})
    refused(lambda: read_trace(file), str(file), "'order'")


def test_two_files_of_one_step_are_refused(tmp_path: Path) -> None:
    for name in ("step-1", "step-000001"):
        save_file({"a": np.ones(1)}, tmp_path / f"{name}.safetensors")
    refused(lambda: steps_in(tmp_path), str(tmp_path), "step 1", "two")


def test_a_folder_that_is_missing_or_has_no_trace_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path, tmp_path / "nowhere", tmp_path / "file"):
        refused(lambda path=path: steps_in(path), f"{path}: ", "got no")
