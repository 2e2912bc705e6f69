"""Bad input of parity.py: one clear line on stderr, exit code 2, nothing written, no traceback."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from shared.parity.trace_files import write_trace
from tests.support.command_line import check_refused

TRACES = "traces/mine", "traces/theirs"


def test_names_of_traps_are_listed_alone(call: Callable) -> None:
    check_refused(call("parity.py", "--list-traps", "--steps", "3"), "--list-traps only prints")


BAD_PARITY = {
    "unknown trap": (["--inject", "gate"], ["--inject", "single-bias", "batch-order", "got gate"]),
    "no name of a trap": (["--inject", ""], ["--inject", "single-bias"]),
    "unknown variant": (["--inject", "gates:zrn"], ["--inject", "gates:transposed", "gates:zrn"]),
    "reset gate of an lstm": (["--inject", "reset-gate", "--cell", "lstm"], ["--cell gru"]),
    "order of one word": (
        ["--inject", "batch-order", "--data.words", "hello"], ["batch-order", "--data.words"],
    ),
    "zero steps": (["--steps", "0"], ["--steps", "positive", "0"]),
    "more steps than the run": (
        ["--epochs", "7", "--steps", "8"], ["--steps", "at most the 7 steps", "--epochs 7"],
    ),
    "negative runs": (["--runs", "-1"], ["--runs", "-1"]),
    "tolerance of 2": (["--tolerance", "2"], ["--tolerance", "[0, 1)", "2.0"]),
    "tolerance of nan": (["--tolerance", "nan"], ["--tolerance", "nan"]),
    "unknown contender": (
        ["--contenders", "jax/handcrafted", "torch/magic"], ["--contenders", "got torch/magic"],
    ),
    "one contender": (["--contenders", "jax/native"], ["--contenders"]),
    "planted in torch": (
        ["--inject", "adam", "--contenders", "torch/handcrafted", "jax/handcrafted"],
        ["--contenders jax/handcrafted", "got torch/handcrafted"],
    ),
    "float32": (["--precision", "float32"], ["--precision", "float64"]),
    "backend": (["--backend", "torch"], ["--contenders"]),
    "the default backend": (["--backend=jax"], ["--contenders"]),
    "implementation": (["--implementation", "handcrafted"], ["--contenders"]),
    "dropout of torch.nn": (
        ["--contenders", "jax/handcrafted", "torch/native", "--num-layers", "2", "--dropout=0.5"],
        ["--contenders", "torch/native", "dropout"],
    ),
    "traces of one contender": (
        ["--traces", "t", "--contenders", "torch/native", "torch/native"], ["--traces", "twice"],
    ),
    "traces in a folder with files": (["--traces", "traces"], ["--traces traces", "empty"]),
    "traces in a file": (["--traces", "empty.txt"], ["--traces empty.txt", "file"]),
    "traces below a file": (["--traces", "empty.txt/x"], ["--traces empty.txt/x", "file"]),
    "traces under a long name": (["--traces", "a" * 300], ["--traces", "too long"]),
    "traces of a gallery": (["--trap-gallery", "--traces", "t"], ["--trap-gallery", "--traces"]),
    "a trap for a gallery": (["--trap-gallery", "--inject", "adam"], ["--trap-gallery"]),
    "one folder": (["traces/mine"], ["two folders", "got 1"]),
    "three folders": (["a", "b", "c"], ["two folders", "got 3"]),
    "one folder twice": (["traces/mine", "./traces/../traces/mine"], ["two different folders"]),
    "missing folder": (["traces/mine", "nowhere"], ["nowhere", "a folder of traces"]),
    "folder without traces": (["traces/mine", "traces"], ["traces", "step-000001.safetensors"]),
    "file instead of a folder": (["empty.txt", "traces/mine"], ["empty.txt"]),
    "truncated trace": (["traces/mine", "cut"], ["cut/step-000001.safetensors", "safetensors"]),
    "a step is missing": (["traces/mine", "short"], ["short", "step 2"]),
    "another tensor": (["traces/mine", "other"], ["step 1", "weights/w", "other has not"]),
    "cell beside folders": ([*TRACES, "--cell", "lstm"], ["--tolerance", "folders"]),
    "steps beside folders": ([*TRACES, "--steps", "1"], ["--tolerance", "folders"]),
    "trap beside folders": ([*TRACES, "--inject", "adam"], ["--tolerance", "folders"]),
    "traces beside folders": ([*TRACES, "--traces", "t"], ["--tolerance", "folders"]),
    "folder with other files": (["--out", "traces"], ["--out", "other files"]),
    "folder with a report": (["--out", "report"], ["--out", "--overwrite"]),
    "folder that is a dangling link": (["--out", "dangling"], ["--out", "dangling", "link"]),
    "folder below a file": (["--out", "empty.txt/x"], ["--out", "file"]),
    "negative size": (["--hidden-size", "-1"], ["--hidden-size", "positive"]),
    "missing text": (["--task", "text", "--data.path", "none.txt"], ["none.txt"]),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_PARITY)
def test_parity_refuses_bad_input_in_one_line_and_writes_nothing(
    case: str, tmp_path: Path, call
) -> None:
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "dangling").symlink_to("nowhere-else")
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "parity.md").write_text("a report")
    step = {"weights/w": np.arange(1.0, 4.0)}
    folders = [*TRACES, "short", "cut", "other"]
    for folder in folders:
        (tmp_path / folder).mkdir(parents=True)
        for number in (1, 2) if folder != "short" else (1,):
            renamed = {"weights/v": step["weights/w"]} if folder == "other" else step
            write_trace(tmp_path / folder, number, renamed)
    cut = tmp_path / "cut" / "step-000001.safetensors"
    cut.write_bytes(cut.read_bytes()[:-1])
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    everything = sorted(tmp_path.rglob("*"))
    arguments, expected = BAD_PARITY[case]
    finished = call("parity.py", *arguments)
    check_refused(finished, *expected)
    assert finished.stderr.startswith("parity.py: ")
    assert not finished.stdout
    assert sorted(tmp_path.rglob("*")) == everything
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())
