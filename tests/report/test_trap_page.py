"""The page of traps: what it shows, and that every run in it can be repeated from its command."""

import re
import shlex
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from shared.commands import cli
from shared.commands.parity import parse_arguments
from shared.config import resolve
from shared.parity.comparison import compare
from shared.parity.diagnosis import Diagnosis, Finding
from shared.parity.lockstep import Lockstep
from shared.parity.traps import TRAPS, about
from shared.report.trap_page import Planted, single, write_gallery

GALLERIES = {
    "plain": [],
    "another cell": ["--cell", "lstm"],
    "another optimizer": ["--optimizer", "sgd", "--momentum", "0.9", "--nesterov", "True"],
    "another task": ["--task", "last-value", "--num-layers", "2", "--dropout", "0.2"],
    "words": ["--data.words", "it's", "two words", "--cell", "gru"],
    "sides": ["--steps", "7", "--tolerance", "1e-7", "--contenders", "jax/handcrafted",
              "torch/native"],
}  # fmt: skip


PROGRAM = "python scripts/parity.py"


def parsed(argv: Sequence[str]):
    return parse_arguments(argv, replace(cli.base_config(argv), precision="float64"))


@pytest.mark.parametrize("trap", TRAPS)
@pytest.mark.parametrize("gallery", GALLERIES)
def test_the_command_of_a_trap_gives_the_run_in_the_gallery(gallery: str, trap: str) -> None:
    whole = parsed(["--trap-gallery", *GALLERIES[gallery]])
    config = resolve(TRAPS[trap].show(whole.settings))
    own = {}
    if gallery == "sides":
        own = {"steps": 7, "tolerance": 1e-7, "contenders": ("jax/handcrafted", "torch/native")}
    command = single(PROGRAM, trap, config, own)
    assert command.startswith(f"python scripts/parity.py --inject {trap}")
    alone = parsed(shlex.split(command)[2:])
    assert resolve(alone.settings) == config
    for name in ("steps", "tolerance", "contenders"):
        assert getattr(alone, name) == getattr(whole, name)


def test_a_command_has_no_option_that_the_trap_brings() -> None:
    base = parsed(["--trap-gallery", "--cell", "lstm"]).settings
    commands = {name: single(PROGRAM, name, resolve(TRAPS[name].show(base)), {}) for name in TRAPS}
    assert commands["reset-gate"] == "python scripts/parity.py --inject reset-gate"
    assert commands["padding"] == "python scripts/parity.py --inject padding --cell lstm"


def test_both_pages_show_curves_causes_and_commands(tmp_path: Path) -> None:
    base = parsed(["--trap-gallery", "--cell", "lstm"]).settings
    shown = []
    for name in ("clip-epsilon", "adam:no-correction"):
        found = compare([{"loss/loss": np.ones(1)}] * 2, [{"loss/loss": np.array([1.5])}] * 2)
        finding = Finding(name, about(name), 0.0, True)
        config = resolve(TRAPS[name.partition(":")[0]].show(base))
        ran = Lockstep(found, (np.ones(2), np.ones(2) + 0.5), None)
        shown.append(Planted(name, config, ran, Diagnosis(1, "loss/loss", 0.5, [finding])))
    write_gallery(shown, tmp_path, base, {"steps": 2}, program=PROGRAM, command="all of it")
    assert {file.name for file in tmp_path.iterdir()} == {
        "traps.html", "traps.md", "trap-clip-epsilon.png", "trap-adam.png",
    }  # fmt: skip
    for page in ("traps.html", "traps.md"):
        text = re.sub(r"base64,[A-Za-z0-9+/=]+", "", (tmp_path / page).read_text())
        assert text.count("first difference at step 1: loss/loss") == 2
        assert "python scripts/parity.py --inject clip-epsilon --cell lstm --steps 2" in text
        assert "--inject adam:no-correction --cell lstm --steps 2" in text
        assert re.search(r"with (<code>|`)--clip-norm 0.1(</code>|`)", text)
        assert "cause: adam:no-correction: " in text
        assert "all of it" in text


@pytest.mark.slow
def test_every_planted_trap_is_named(
    tmp_path: Path, call: Callable[..., subprocess.CompletedProcess]
) -> None:
    finished = call("parity.py", "--trap-gallery", "--steps", "2", "--epochs", "2", "--out", "X")
    assert (finished.returncode, finished.stderr) == (0, "")
    lines = finished.stdout.splitlines()
    assert [line.partition(": ")[0] for line in lines[: len(TRAPS)]] == list(TRAPS)
    assert lines[len(TRAPS)] == f"{len(TRAPS)} of {len(TRAPS)} planted traps were named"
    assert len(list((tmp_path / "X").glob("trap-*.png"))) == len(TRAPS)
