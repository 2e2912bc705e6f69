"""Processes of one run that differ in code, versions, settings or data are refused by name."""

import re
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shared.config import Config, resolve
from shared.errors import InvalidInput
from shared.protocol.dataset import Signature, Split
from shared.system.team import ALONE, Team
from shared.tasks import TASKS
from shared.tasks.task import Task
from shared.training import same
from shared.training.same import check_same_data, check_same_program, code
from tests.support.teams import in_threads, refused

CONFIG = resolve(TASKS["hello"].defaults)


def task(value: float, source: str) -> Task:
    part = Split(np.full((4, 3, 1), value), np.zeros((4, 1)))
    return Task("hello", Signature(1, 1, False, False, "mse"), part, None, part, source=source)


def messages(count: int, check: Callable[[Team], Any], hosts: int = 1) -> set[str]:
    errors = refused(count, check, hosts)
    assert all(isinstance(error, InvalidInput) for error in errors)
    return {str(error) for error in errors}


def only(pattern: str, found: set[str]) -> None:
    """Checks that all processes said the same, and what."""
    assert len(found) == 1
    assert re.fullmatch(pattern, found.pop())


def test_equal_processes_pass() -> None:
    def check(team: Team) -> None:
        check_same_program(team, CONFIG, {"--seeds": 2})
        check_same_data(team, task(1, "sales.csv"))

    assert in_threads(3, check) == [None] * 3


def test_a_process_alone_hashes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(same, "code", None)
    check_same_program(ALONE, CONFIG)
    data = task(1, "")
    check_same_data(ALONE, data)
    assert "fingerprint" not in vars(data)


def test_the_code_is_every_python_file_of_the_three_packages() -> None:
    root = Path(__file__).parents[2]
    files = {
        file.relative_to(root).as_posix()
        for package in ("rnn_jax", "rnn_torch", "shared")
        for file in (root / package).rglob("*.py")
    }
    assert code().keys() == files


def test_the_hash_of_a_file_changes_with_its_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "made_up" / "inner"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").touch()
    (package / "file.py").write_text("x = 1\n")
    (package / "data.txt").write_text("not code\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(same, "PACKAGES", ("made_up", "not_installed"))
    before = code()
    assert before.keys() == {"made_up/__init__.py", "made_up/inner/file.py"}
    (package / "file.py").write_text("x = 2\n")
    after = code()
    assert {name for name in before if before[name] != after[name]} == {"made_up/inner/file.py"}


def by_rank(monkeypatch: pytest.MonkeyPatch, name: str, values: Callable[[int], Any]) -> Any:
    """Gives `check_same_program` of each rank a value of its own for a function of the file; an
    error is raised."""
    own = threading.local()

    def check(team: Team, config: Config = CONFIG) -> None:
        own.value = values(team.rank)
        check_same_program(team, config)

    def value(*_: Any) -> Any:
        if isinstance(own.value, Exception):
            raise own.value
        return own.value

    monkeypatch.setattr(same, name, value)
    return check


def test_other_code_is_refused_by_the_names_of_its_files(monkeypatch: pytest.MonkeyPatch) -> None:
    files = {f"shared/{letter}.py": "0" for letter in "abcdefg"}
    changed = files | {f"shared/{letter}.py": "1" for letter in "bdef"} | {"shared/new.py": "2"}
    check = by_rank(monkeypatch, "code", lambda rank: changed if rank == 3 else files)
    only(
        r"process 3 of 4 \(host host1\) runs other code: expected [0-9a-f]{16}, as process 0 of 4 "
        r"\(host host0\), got [0-9a-f]{16}, which differs in shared/b.py, shared/d.py, shared/e.py "
        r"and 2 more; install the same version on all hosts",
        messages(4, check, hosts=2),
    )


def test_code_that_cannot_be_read_stops_all(monkeypatch: pytest.MonkeyPatch) -> None:
    error = OSError(5, "Input/output error", "shared/errors.py")
    check = by_rank(monkeypatch, "code", lambda rank: error if rank == 1 else {})
    for found in refused(2, check):
        assert isinstance(found, OSError)
        assert re.search("Input/output error: 'shared/errors.py'", str(found))


def test_other_versions_are_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def versions(rank: int) -> dict[str, str]:
        return {"python": "3.12.1", "jax": f"0.10.{rank}", "numpy": f"2.4.{rank}"}

    only(
        r"process 1 of 2 \(host host0\) has other versions: expected jax 0.10.0, numpy 2.4.0, as "
        r"process 0 of 2 \(host host0\), got jax 0.10.1, numpy 2.4.1; install the same ones on all "
        r"hosts",
        messages(2, by_rank(monkeypatch, "versions", versions)),
    )


def test_another_configuration_is_refused_by_the_names_of_its_options() -> None:
    other = replace(CONFIG, seed=7, network=replace(CONFIG.network, cell="gru"))
    only(
        r"process 2 of 3 \(host host0\) has another configuration: expected --cell \w+, --seed 0, "
        r"as process 0 of 3 \(host host0\), got --cell gru, --seed 7; start all processes with the "
        r"same command line",
        messages(3, lambda team: check_same_program(team, other if team.rank == 2 else CONFIG)),
    )


def test_another_backend_is_a_matter_of_the_configuration() -> None:
    configs = [replace(CONFIG, backend=backend) for backend in ("jax", "torch")]
    only(
        r"process 1 of 2 .* has another configuration: expected --backend jax, as .*, "
        r"got --backend torch; start .*",
        messages(2, lambda team: check_same_program(team, configs[team.rank])),
    )


@pytest.mark.parametrize("rank", [0, 1])
def test_another_option_of_the_command_is_refused(rank: int) -> None:
    def check(team: Team) -> None:
        check_same_program(team, CONFIG, {"--seeds": 2} if team.rank == rank else {})

    first, second = (2, None) if rank == 0 else (None, 2)
    only(
        rf"process 1 of 2 .*: expected --seeds {first}, as .*, got --seeds {second}; start .*",
        messages(2, check),
    )


def test_other_data_is_refused_by_fingerprint_and_source() -> None:
    tasks = [task(1, "a.csv"), task(1, "b.csv"), task(2, "c\n.csv"), task(3, "d.csv")]
    prints = [one.fingerprint for one in tasks]
    assert prints[0] == prints[1]
    only(
        rf"process 2 of 4 \(host host1\) has other data: expected {prints[0]} \(a.csv\), as "
        rf"process 0 of 4 \(host host0\), got {prints[2]} \(c\\n.csv\); all hosts need the same "
        r"files",
        messages(4, lambda team: check_same_data(team, tasks[team.rank]), hosts=2),
    )


def test_code_comes_before_versions_and_versions_before_settings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    configs = [CONFIG, replace(CONFIG, seed=7)]
    check = by_rank(monkeypatch, "versions", lambda rank: {"jax": str(rank)})
    found = messages(2, lambda team: check(team, configs[team.rank]))
    assert "has other versions" in found.pop()
    check = by_rank(monkeypatch, "code", lambda rank: {"shared/a.py": str(rank)})
    found = messages(2, lambda team: check(team, configs[team.rank]))
    assert "runs other code" in found.pop()
