"""What processes of one run refuse before anything is written: each other's code, settings and
data, and commands that do not work in several."""

import os
import shutil
import signal
import socket
import sys
from pathlib import Path

import pytest

from shared.commands import program as commands
from tests.support.command_line import SCRIPTS
from tests.support.torchrun import Ended, Launched, bare, program, torchrun

WORDS = ["--task", "last-value", "--data.train-examples", "40", "--data.valid-examples", "8",
         "--data.test-examples", "9", "--data.sequence-length", "6", "--data.input-size", "3",
         "--hidden-size", "5", "--batch-size", "16", "--epochs", "1"]  # fmt: skip
OTHER_SETTING = 'if RANK == 1:\n    sys.argv += ["--hidden-size", "6"]\n'
OTHER_CODE = 'if RANK == 1:\n    sys.path.insert(0, "{}")\n'
TORCHRUN = {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "9"}


def run(*more: str, backend: str = "torch") -> list[str]:
    return ["--backend", backend, *WORDS, "--out", "run", *more]


def check_refused(ended: Ended, folder: Path, *expected: str) -> None:
    """All ended as after bad input, with one line, and nothing was written."""
    assert ended.codes == [2, 2], ended.err
    (line,) = ended.ours
    for part in expected:
        assert part in line, (part, line)
    assert {file.name for file in folder.iterdir()} <= {"run.py", "copy", "__pycache__"}


def stopped_after_first(found: Launched) -> Ended:
    """Stops rank 1 once rank 0 has ended, as torchrun does."""
    found.programs[0].wait(60)
    found.programs[1].send_signal(signal.SIGTERM)
    return found.ended()


def test_a_bad_option_is_said_once(tmp_path: Path) -> None:
    file = program(tmp_path)
    with bare(file, run("--epochs", "none"), cwd=tmp_path) as found:
        ended = stopped_after_first(found)
    check_refused(ended, tmp_path, "--epochs", "none")


@pytest.mark.slow
def test_what_only_another_process_finds_bad_is_said_by_that_one(tmp_path: Path) -> None:
    file = program(tmp_path, 'if RANK == 1:\n    sys.argv += ["--epochs", "none"]\n')
    with bare(file, run(), cwd=tmp_path) as found:
        found.programs[1].wait(60)
        assert found.programs[1].returncode == 2
        assert "run.py: " in found.text()
        assert "none" in found.text()


@pytest.mark.parametrize("name", sorted(set(commands.COMMANDS) - {"run"}))
def test_a_command_that_works_alone_is_refused_in_several_processes(
    name: str, monkeypatch: pytest.MonkeyPatch, call, capfd
) -> None:
    for variable, value in TORCHRUN.items():
        monkeypatch.setenv(variable, value)
    expected = "expected a single process, got 2 of torchrun; only `run` trains in several\n"
    refused = call(f"{name}.py", "--help")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr == f"{name}.py: {expected}"
    monkeypatch.setattr(sys, "argv", ["rnn-parity", name, "--help"])
    with pytest.raises(SystemExit) as stop:
        commands.start()
    assert stop.value.code == 2
    assert capfd.readouterr().err == f"rnn-parity {name}: {expected}"


def test_the_program_runs_in_several_processes(monkeypatch: pytest.MonkeyPatch, capfd) -> None:
    for variable, value in TORCHRUN.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setattr(sys, "argv", ["rnn-parity", "run", "--epochs", "none"])
    with pytest.raises(SystemExit) as stop:
        commands.start()
    assert stop.value.code == 2
    assert "single process" not in capfd.readouterr().err


@pytest.mark.parametrize("backend", ["torch", pytest.param("jax", marks=pytest.mark.slow)])
def test_another_configuration_is_refused(backend: str, tmp_path: Path) -> None:
    file = program(tmp_path, OTHER_SETTING)
    with bare(file, run(backend=backend), cwd=tmp_path) as found:
        ended = found.ended()
    expected = "has another configuration: expected --hidden-size 5, as process 0 of 2 (host "
    check_refused(ended, tmp_path, "process 1 of 2 (host ", expected, "got --hidden-size 6")


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_other_code_is_refused(backend: str, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    for package in ("shared", "rnn_torch", "rnn_jax"):
        shutil.copytree(SCRIPTS.parent / package, copy / package)
    changed = copy / "shared" / "protocol" / "batching.py"
    changed.write_text(changed.read_text() + "\n# changed\n")
    file = program(tmp_path, OTHER_CODE.format(copy))
    with bare(file, run(backend=backend), cwd=tmp_path) as found:
        ended = found.ended()
    check_refused(ended, tmp_path, "process 1 of 2 (host ", "runs other code: expected ",
                  "which differs in shared/protocol/batching.py;")  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_other_data_on_another_host_is_refused(backend: str, tmp_path: Path) -> None:
    """Two agents of torchrun, in two folders whose files differ in a letter."""
    text = "What a text says is not what it means. " * 200
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder, end in zip(folders, "xy", strict=True):
        folder.mkdir()
        (folder / "book.txt").write_text(text + end)
    words = ["--backend", backend, "--task", "text", "--data.path", "book.txt", "--out", "run"]
    with torchrun(
        program(tmp_path), words, cwd=tmp_path, agents=2, folders=folders, each=1
    ) as found:
        ended = found.ended(120)
    assert ended.codes == [1, 1], ended.err
    assert "exitcode  : 2" in ended.err
    (line,) = ended.ours
    assert "process 1 of 2 (host " in line
    assert "has other data: expected " in line
    assert "book.txt" in line
    assert not [folder for folder in folders if (folder / "run").exists()]


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_a_folder_that_is_not_free_is_refused_in_a_line(backend: str, tmp_path: Path) -> None:
    file = program(tmp_path)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine").touch()
    with bare(file, run(backend=backend), cwd=tmp_path) as found:
        ended = found.ended()
    assert ended.codes == [2, 2]
    assert len(ended.ours) == 1
    assert "--out run: " in ended.ours[0]
    assert os.listdir(tmp_path / "run") == ["mine"]


@pytest.mark.slow
def test_a_port_that_is_taken_is_refused_with_the_way_out(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        port = taken.getsockname()[1]
        options = ["--master-port", str(port - 1)]
        file = program(tmp_path)
        with torchrun(file, run(backend="jax"), cwd=tmp_path, options=options) as found:
            ended = found.ended(90)
    assert "exitcode  : 2" in ended.err
    assert ended.ours == [
        f"run.py: port {port} on 127.0.0.1: expected a free one for JAX's processes, got one that "
        "cannot be used; torchrun takes another with --master-port"
    ]
    assert not (tmp_path / "run").exists()
