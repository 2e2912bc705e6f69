"""A study in a file means the same as its words on the command line."""

import json
import re
from pathlib import Path

import pytest

from shared.errors import InvalidInput
from shared.jobs.study_file import words_of

TOML = """
random = 20
seeds = [0, 1]
[run]
backend = "torch"
epochs = 3
bidirectional = true
tied = false
betas = [0.9, 0.99]
[vary]
learning-rate = "log:1e-4..1e-1"
hidden-size = [16, 32]
eps = [1e-8]
betas = [[0.9, 0.999], [0.8, 0.99]]
"""
WORDS = [
    "--random", "20", "--seeds", "0", "1", "--backend", "torch", "--epochs", "3",
    "--bidirectional", "--no-tied", "--betas", "0.9", "0.99",
    "--vary", "learning-rate", "log:1e-4..1e-1", "--vary", "hidden-size", "16", "32",
    "--vary", "eps", "1e-08", "--vary", "betas", "0.9,0.999", "0.8,0.99",
]  # fmt: skip


def test_a_file_is_read_as_words_of_the_command_line(tmp_path: Path) -> None:
    file = tmp_path / "search.toml"
    file.write_text(TOML)
    assert words_of(file, ["random", "seeds", "by"]) == WORDS
    values = {
        "random": 20, "seeds": [0, 1],
        "run": {"backend": "torch", "epochs": 3, "bidirectional": True, "tied": False,
                "betas": [0.9, 0.99]},
        "vary": {"learning-rate": "log:1e-4..1e-1", "hidden-size": [16, 32], "eps": [1e-8],
                 "betas": [[0.9, 0.999], [0.8, 0.99]]},
    }  # fmt: skip
    (tmp_path / "search.json").write_text(json.dumps(values))
    assert words_of(tmp_path / "search.json", ["random", "seeds", "by"]) == WORDS


REFUSED = {
    "a.toml": ("rondom = 3", r"a\.toml: expected keys among run, vary, random, got rondom"),
    "b.toml": ("run = 3", r"b\.toml: expected options with their values in run, got 3"),
    "c.toml": ("x =", r"c\.toml: expected TOML, got: "),
    "d.toml": ("[vary]\nx = [{a = 1}]", r"d\.toml: expected texts and numbers in vary\.x"),
    "e.json": ("[1]", r"e\.json: expected an object, got \[1\]"),
    "f.json": ("{", r"f\.json: expected JSON, got: "),
    "g.yaml": ("", r"--file .*g\.yaml: expected a name that ends in \.toml or \.json"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_another_file_is_refused_by_name(name: str, tmp_path: Path) -> None:
    content, message = REFUSED[name]
    (tmp_path / name).write_text(content)
    with pytest.raises(InvalidInput, match=message):
        words_of(tmp_path / name, ["random"])


def test_bytes_that_are_no_text_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_bytes(b"a = '\xff'")
    with pytest.raises(InvalidInput, match=r"x\.toml: expected TOML, got: .*utf-8"):
        words_of(tmp_path / "x.toml", [])
    missing = re.escape(str(tmp_path / "y.toml"))
    with pytest.raises(InvalidInput, match=rf"{missing}: expected TOML, got: No such file"):
        words_of(tmp_path / "y.toml", [])
