"""A cluster of Ray's on this machine, and what its runs are compared with."""

import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from shared.config import resolve
from shared.runs import checkpoint
from shared.runs.history import METRICS
from shared.tasks import TASKS

SHORT = resolve(replace(TASKS["hello"].defaults, backend="torch", epochs=4, eval_every=2))
STORE = 80 * 2**20


class Nodes:
    """The cluster, its address, and ways to add a node and to kill one."""

    def __init__(self, cluster: Any):
        self.cluster, self.nodes = cluster, {}
        self.address = f"ray://{cluster.address}"

    def add(self, name: str) -> None:
        self.nodes[name] = self.cluster.add_node(
            num_cpus=1, node_name=name, object_store_memory=STORE
        )

    def kill(self, name: str) -> None:
        node = self.nodes.pop(name)
        os.kill(node.all_processes["raylet"][0].process.pid, signal.SIGKILL)

    def refill(self) -> None:
        for name in {"first", "second"} - self.nodes.keys():
            self.add(name)


def check_same(folder: Path, other: Path) -> None:
    """Both runs have the same history and weights, bit by bit."""
    assert (folder / METRICS).read_bytes() == (other / METRICS).read_bytes()
    one, two = (checkpoint.read_last(f)[0].snapshot for f in (folder, other))
    assert one.step == two.step
    for name, array in checkpoint.flatten(two).items():
        np.testing.assert_array_equal(checkpoint.flatten(one)[name], array, err_msg=name)


def names_in(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()}
