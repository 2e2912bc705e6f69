"""Bad input of sample.py and predict.py is refused in one line, and nothing is written."""

from pathlib import Path

import pytest

from tests.support.command_line import check_refused, script

BAD_SAMPLE = {
    "no run": (["--run", "nowhere"], ["nowhere: expected a run folder, with a config.json"]),
    "nothing": ([], ["--run"]),
    "unknown character": (
        ["--run", "hello", "--prompt", "hex"],
        ["--prompt: expected characters that the run knows (ehlo), got 'x' at character 3"],
    ),
    "empty prompt": (["--run", "hello", "--prompt", ""], ["--prompt: expected text, got none"]),
    "no prompt": (["--run", "hello"], ["--prompt: expected a text to go on from, got none"]),
    "beams of a text": (["--run", "hello", "--prompt", "h", "--beams", "3"], ["--beams", "hello"]),
    "unknown word": (
        ["--run", "words", "--prompt", "the zebra"], ["(<unk> <eos> the ", "got 'zebra' at word 2"],
    ),
    "top-p of 0": (["--run", "hello", "--top-p", "0"], ["--top-p", "got 0"]),
    "top-p above 1": (["--run", "hello", "--top-p", "1.5"], ["--top-p", "got 1.5"]),
    "top-k of 0": (["--run", "hello", "--top-k", "0"], ["--top-k: expected a", "got 0"]),
    "no length": (["--run", "hello", "--length", "0"], ["--length: expected 1 or more, got 0"]),
    "negative temperature": (["--run", "hello", "--temperature", "-1"], ["--temperature"]),
    "temperature of nan": (["--run", "hello", "--temperature", "nan"], ["--temperature"]),
    "negative seed": (["--run", "hello", "--seed", "-1"], ["--seed", "-1"]),
    "no beams": (["--run", "hello", "--beams", "0"], ["--beams", "got 0"]),
    "no text": (["--run", "weather"], ["--run weather: expected a network that writes text"]),
    "unknown backend": (["--run", "hello", "--backend", "mxnet"], ["mxnet"]),
}  # fmt: skip
BAD_PREDICT = {
    "no run": (["--run", "nowhere"], ["nowhere: expected a run folder, with a config.json"]),
    "no file": (["--run", "hello", "--input", "none.txt"], ["none.txt: expected a readable file"]),
    "unknown character": (["--run", "hello", "--input", "bad.txt"], ["line 2", "got 'x'"]),
    "empty file": (["--run", "hello", "--input", "empty.txt"], ["empty.txt", "got an empty file"]),
    "not UTF-8": (["--run", "hello", "--input", "latin.txt"], ["latin.txt: expected UTF-8 text"]),
    "beams of a text": (["--run", "hello", "--beams", "3"], ["--beams", "hello"]),
    "other columns": (
        ["--run", "weather", "--input", "a.csv"], ["a.csv: expected a column 'date'"],
    ),
    "a folder in the way": (
        ["--run", "hello", "--out", "d.csv", "--overwrite"], ["--out d.csv", "got a folder"],
    ),
    "a folder of the system": (["--run", "hello", "--out", "/proc/o.csv"], ["--out /proc"]),
    "a long name": (["--run", "hello", "--out", "a" * 300 + ".csv"], ["too long"]),
    "a long name of a run": (["--run", "a" * 300], ["too long"]),
    "a page in the way": (["--run", "hello", "--out", "a.csv"], ["--out a.csv: exists"]),
    "wrong suffix": (
        ["--run", "hello", "--out", "o.txt"], ["--out o.txt", ".csv, .json or .parquet"],
    ),
    "no suffix": (["--run", "hello", "--out", "csv"], ["--out csv", ".csv, .json or .parquet"]),
    "no folder": (["--run", "hello", "--out", "x/o.csv"], ["--out x/o.csv", "a folder"]),
    "too many beams": (["--run", "hello", "--beams", "1001"], ["--beams", "got 1001"]),
}  # fmt: skip
BAD = [("sample.py", case) for case in BAD_SAMPLE] + [("predict.py", case) for case in BAD_PREDICT]


@pytest.mark.parametrize(("name", "case"), BAD)
def test_what_cannot_be_used_is_refused_in_one_line_and_nothing_is_written(
    name: str, case: str, hello, words, runs, tmp_path: Path, call
) -> None:
    for run in (hello[0], words[0], runs["weather"][0]):
        (tmp_path / run.name).symlink_to(run)
    for file, content in (("good.txt", b"hello"), ("bad.txt", b"hello\nhex"), ("empty.txt", b""),
                          ("latin.txt", b"h\xe9llo"), ("a.csv", b"a,b\n1,2\n")):  # fmt: skip
        (tmp_path / file).write_bytes(content)
    (tmp_path / "d.csv").mkdir()
    before = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*")}
    arguments, expected = (BAD_SAMPLE if name == "sample.py" else BAD_PREDICT)[case]
    if name == "predict.py" and "--input" not in arguments:
        arguments = [*arguments, "--input", "good.txt"]
    refused = call(name, *arguments)
    check_refused(refused, f"{name}: ", *expected)
    assert {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*")} == before


def test_the_scripts_refuse_as_processes_too(tmp_path: Path) -> None:
    for name in ("sample.py", "predict.py"):
        more = ("--input", "none.txt") if name == "predict.py" else ("--prompt", "hex")
        refused = script(name, "--run", "nowhere", *more, cwd=tmp_path)
        check_refused(refused, f"{name}: ", "nowhere")
    assert not list(tmp_path.iterdir())
