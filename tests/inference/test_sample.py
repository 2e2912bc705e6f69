"""Text that sample.py writes on from a prompt: as the network says, the same for one seed."""

import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from shared.config.data import TranslateData
from shared.inference import load_trained
from tests.support.command_line import check_refused
from tests.support.inference_cases import made


@pytest.mark.parametrize("option", ["--temperature", "--top-k", "--top-p", "--seed", "--length"])
def test_a_translation_is_not_drawn(option: str, tmp_path: Path, call) -> None:
    pytest.importorskip("num2words")
    run, _ = made(tmp_path / "translate", TranslateData(largest=42))
    refused = call("sample.py", "--run", str(run), "--prompt", "one", option, "1")
    check_refused(refused, f"{option}: a translation is searched (--beams)")


def test_sample_writes_on_from_the_prompt(text, hello, tmp_path: Path, call) -> None:
    options = ("--run", str(text[0]), "--prompt", "the ", "--length", "40", "--seed")
    first, again, other = (call("sample.py", *options, seed).stdout for seed in ("1", "1", "2"))
    assert first == again != other
    assert first.startswith("the ")
    assert len(first) == 4 + 40 + 1
    greedy = ("--run", str(hello[0]), "--prompt", "h", "--length", "3", "--temperature", "0")
    written = call("sample.py", *greedy).stdout.rstrip("\n")
    trained, tokens = load_trained(hello[0]), "h"
    for _ in range(3):
        at = np.array([[trained.schema.vocabulary.index(c) for c in tokens]], np.int32)
        outputs, _ = trained.backend.predict(trained.state, at)
        tokens += trained.schema.vocabulary[outputs[0, -1].argmax()]
    assert written == tokens


@pytest.mark.parametrize("prompt", ["the", "the ", "the\n"])
def test_words_follow_a_prompt_with_one_blank_between(prompt: str, words, call) -> None:
    options = ("--run", str(words[0]), "--length", "9", "--seed", "3", "--prompt")
    written = call("sample.py", *options, prompt).stdout.removeprefix(prompt)
    first = written[: len(written) - len(written.lstrip(" "))]
    assert first == ("" if prompt[-1].isspace() or written[0] == "\n" else " ")


def test_text_that_nobody_reads_is_written_all_the_same(text, tmp_path: Path) -> None:
    """With its output closed: `rnn-parity sample … >&-`"""
    command = shlex.join([sys.executable, "-m", "rnn_parity", "sample", "--run", str(text[0])])
    command += " --prompt 'the ' --length 3 >&-"
    finished = subprocess.run(
        command, shell=True, cwd=tmp_path, stderr=subprocess.PIPE, text=True, check=False
    )
    assert (finished.returncode, finished.stderr) == (0, "")
