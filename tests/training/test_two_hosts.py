"""One run over two hosts with addresses of their own: two network namespaces of Linux, joined by a
cable, which the test makes and removes. Both have a name that leads to 127.0.0.1, as many do."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from shared.system.network import interface_of, own_address
from tests.support.command_line import SCRIPTS, WIDTH, script
from tests.support.launched import MARK
from tests.support.same_runs import check_same_run
from tests.support.torchrun import Launched

WORDS = ["--task", "last-value", "--data.train-examples", "40", "--data.valid-examples", "8",
         "--data.test-examples", "9", "--data.sequence-length", "6", "--data.input-size", "3",
         "--hidden-size", "5", "--num-layers", "2", "--dropout", "0.2", "--batch-size", "16",
         "--precision", "float64", "--out", "run"]  # fmt: skip
PORT = "29500"
"""Free on a host of its own."""


class Host(NamedTuple):
    name: str
    """That of the namespace, and of its only interface but lo."""
    address: str

    def ip(self, *words: str) -> None:
        subprocess.run(["ip", "-n", self.name, *words], check=True, capture_output=True)


@pytest.fixture(scope="module")
def hosts() -> Iterator[list[Host]]:
    """Two hosts that reach each other, and nothing else."""
    if sys.platform != "linux" or shutil.which("ip") is None:
        pytest.skip("there is no `ip` here (package iproute2)")
    mark = uuid.uuid4().hex[:6]
    found = [Host(f"rp{mark}-{i}", f"10.77.31.{i + 1}") for i in range(2)]
    with ExitStack() as stack:
        for host in found:
            made = subprocess.run(
                ["ip", "netns", "add", host.name], capture_output=True, text=True, check=False
            )
            if made.returncode:
                pytest.skip(f"no network namespace can be made here: {made.stderr.strip()}")
            remove = ["ip", "netns", "del", host.name]
            stack.callback(subprocess.run, remove, check=True)
        (first, second) = found
        cable = ["ip", "link", "add", first.name, "netns", first.name, "type", "veth"]
        cable += ["peer", "name", second.name, "netns", second.name]
        made = subprocess.run(cable, capture_output=True, text=True, check=False)
        if made.returncode:
            pytest.skip(f"no network between namespaces can be made here: {made.stderr.strip()}")
        for host in found:
            host.ip("addr", "add", f"{host.address}/24", "dev", host.name)
            host.ip("link", "set", "lo", "up")
            host.ip("link", "set", host.name, "up")
        yield found


@contextmanager
def torchrun(
    hosts: list[Host], words: list[str], folder: Path, each: int = 1
) -> Iterator[list[Launched]]:
    """Starts torchrun on both hosts, each in a folder of its own, by static rendezvous."""
    mark = uuid.uuid4().hex
    variables = os.environ | WIDTH | {"OMP_NUM_THREADS": "1", MARK: mark}
    found: list[Launched] = []
    try:
        for rank, host in enumerate(hosts):
            (folder / str(rank)).mkdir()
            streams = folder / f"out-{rank}", folder / f"err-{rank}"
            command = [
                *("ip", "netns", "exec", host.name, sys.executable, "-m", "torch.distributed.run"),
                *("--nnodes", "2", "--node-rank", str(rank), "--nproc-per-node", str(each)),
                *("--master-addr", hosts[0].address, "--master-port", PORT),
                *(str(SCRIPTS / "run.py"), *words),
            ]
            with open(streams[0], "ab") as out, open(streams[1], "ab") as err:
                started = subprocess.Popen(
                    command, cwd=folder / str(rank), env=variables, stdin=subprocess.DEVNULL,
                    stdout=out, stderr=err, text=True, start_new_session=True,
                )  # fmt: skip
            found.append(Launched([started], mark, streams))
        yield found
    finally:
        for pid in found[0].pids() if found else ():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for one in found:
            one.programs[0].wait(10)


@pytest.mark.slow
@pytest.mark.parametrize(("backend", "each"), [("torch", 1), ("torch", 2), ("jax", 1)])
def test_a_run_on_two_hosts_is_that_of_one_process(
    backend: str, each: int, hosts: list[Host], tmp_path: Path
) -> None:
    words = ["--backend", backend, *WORDS, "--epochs", "3"]
    with torchrun(hosts, words, tmp_path, each) as found:
        codes = [one.programs[0].wait(180) for one in found]
        said = [one.text() for one in found]
    assert codes == [0, 0], said
    assert not list((tmp_path / "1").iterdir()), "only rank 0 writes"
    summary = json.loads((tmp_path / "0" / "run" / "summary.json").read_text())
    assert summary["processes"] == 2 * each
    alone = script("run.py", *words, cwd=tmp_path)
    assert alone.returncode == 0, alone.stderr
    check_same_run(tmp_path / "0" / "run", tmp_path / "run")


def test_the_interface_is_that_of_the_way_to_the_others() -> None:
    assert own_address("127.0.0.1", 9) == "127.0.0.1"
    if sys.platform == "linux":
        assert interface_of("127.0.0.1") == "lo"
    assert interface_of("203.0.113.7") is None, "an address of nobody's"


def test_the_interface_is_found_on_a_host_with_several(hosts: list[Host]) -> None:
    first, second = hosts
    code = (
        f"import sys; sys.path.insert(0, {str(SCRIPTS.parent)!r})\n"
        "from shared.system.network import interface_of, own_address\n"
        f"for host in ({second.address!r}, {first.address!r}):\n"
        "    address = own_address(host, 9)\n"
        "    print(address, interface_of(address))"
    )
    command = ["ip", "netns", "exec", first.name, sys.executable, "-c", code]
    asked = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert asked.stdout.split() == [first.address, first.name] * 2


def test_a_host_that_cannot_be_reached_is_an_error() -> None:
    with pytest.raises(OSError, match=r"Name or service|resolution|not known"):
        own_address("no-such-host.invalid", 9)
