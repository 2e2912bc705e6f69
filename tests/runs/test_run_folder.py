"""What is no run folder is named as what it is, by whoever reads one."""

from dataclasses import replace
from pathlib import Path

import pytest

from shared.config import Config, resolve
from shared.errors import InvalidInput
from shared.inference import load_trained
from shared.runs import checkpoint, read_run, run_folder
from shared.runs.seeds import save_seeds
from shared.system.tensor_files import read_tensors
from shared.tasks import TASKS
from shared.training import train, train_seeds

CONFIG: Config = replace(
    TASKS["hello"].defaults, backend="torch", epochs=4, eval_every=1, checkpoint_every="1"
)
pytestmark = pytest.mark.usefixtures("in_numpy")


@pytest.mark.parametrize(
    ("made", "got"),
    [
        ("nothing", "nothing there"),
        ("a file", "a file"),
        ("an empty folder", "one without it"),
        ("seeds", "that of several seeds, whose runs are {}/seed-…"),
    ],
)
def test_what_is_no_run_folder_is_named(made: str, got: str, tmp_path: Path) -> None:
    folder = tmp_path / "there"
    if made == "a file":
        folder.write_text("no run")
    elif made != "nothing":
        folder.mkdir()
    if made == "seeds":
        save_seeds(folder, [0, 1], resolve(CONFIG))
    said = f"expected a run folder, with a config.json, got {got.format(folder)}"
    for read in (read_run, load_trained):
        with pytest.raises(InvalidInput) as refused:
            read(folder)
        assert str(refused.value) == f"{folder}: {said}"
    with pytest.raises(InvalidInput) as refused:
        train(CONFIG, folder, resume=True, quiet=True)
    assert str(refused.value) == f"--resume {folder}: {said}"


def test_a_finished_run_without_its_last_checkpoint_is_no_older_network(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    train(CONFIG, folder, quiet=True)
    last = checkpoint.steps(folder)[-1]
    assert load_trained(folder).step > 0
    checkpoint.path(folder, last).unlink()
    older = checkpoint.steps(folder)[-1]
    with pytest.raises(InvalidInput) as refused:
        load_trained(folder)
    assert str(refused.value) == (
        f"{folder}: expected checkpoint-{last}.safetensors, of which summary.json tells, got "
        f"checkpoint-{older}.safetensors as the newest; without summary.json, the network of "
        f"checkpoint-{older}.safetensors is taken"
    )
    (folder / run_folder.SUMMARY).unlink()
    assert load_trained(folder).step <= older


def test_a_folder_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"expected a checkpoint, got a folder$"):
        read_tensors(tmp_path, "a checkpoint")


@pytest.mark.parametrize("change", [{"backend": "tf"}, {"precision": "half"}, {"device": 3}])
def test_a_network_is_loaded_for_what_there_is(change: dict, tmp_path: Path) -> None:
    train(CONFIG, tmp_path / "run", quiet=True)
    (name,) = change
    with pytest.raises(InvalidInput, match=f"^--{name}: expected one of "):
        load_trained(tmp_path / "run", **change)


def test_a_run_is_continued_or_replaced(tmp_path: Path) -> None:
    train(CONFIG, tmp_path / "run", quiet=True)
    before = sorted(file.name for file in (tmp_path / "run").iterdir())
    for start in (train, lambda config, *rest, **how: train_seeds(config, [0], *rest, **how)):
        with pytest.raises(InvalidInput, match="expected overwrite or resume, got both"):
            start(CONFIG, tmp_path / "run", overwrite=True, resume=True, quiet=True)
    assert sorted(file.name for file in (tmp_path / "run").iterdir()) == before
