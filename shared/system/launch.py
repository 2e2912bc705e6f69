"""What a launcher says of the processes that it starts for one run, in their environment.

Known are torchrun and all that set its variables, such as Kubeflow; Slurm's srun; Open MPI's
mpirun. The last two are recognised by the variables by which `jax.distributed` recognises them.
"""

import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass

from shared.errors import InvalidInput

TORCHRUN = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
SLURM = ("SLURM_JOB_ID", "SLURM_STEP_NODELIST", "SLURM_NTASKS", "SLURM_PROCID", "SLURM_LOCALID")
OPEN_MPI = ("OMPI_MCA_orte_hnp_uri", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE")
PORTS = 2**12
"""Ports from which one is derived of a job's number: the last ones there are, less two."""


@dataclass(frozen=True)
class Place:
    """The place of this process among those of a run."""

    launcher: str
    rank: int
    count: int
    local_rank: int
    """Its number among the processes of this host."""
    local_count: int
    node: str
    """Text that is equal for processes of one host."""
    address: str
    """Host of rank 0, where the processes meet."""
    port: int
    """Port at which PyTorch's processes meet; JAX's meet at the one after it."""
    restarts: int = 0
    """How often the launcher has started the processes anew."""
    most_restarts: int = 0
    """How often it will."""

    @property
    def several_hosts(self) -> bool:
        return self.local_count < self.count


def place(environ: Mapping[str, str] = os.environ) -> Place | None:
    """Returns the place of this process; None where it was started alone.

    Raises:
        InvalidInput: a launcher's variables hold what none of them can mean.
    """
    for names, read in ((TORCHRUN, _torchrun), (SLURM, _slurm), (OPEN_MPI, _open_mpi)):
        if all(name in environ for name in names):
            try:
                found = read(environ)
            except (ValueError, KeyError) as error:
                given = ", ".join(f"{name}={environ[name]}" for name in names)
                raise InvalidInput(
                    f"expected the variables of a launcher ({', '.join(names)}), got {given}"
                ) from error
            if not 0 <= found.rank < found.count:
                raise InvalidInput(
                    f"{names[0]}: expected a process of {found.count}, counted from 0, "
                    f"got {found.rank}"
                )
            return found if found.count > 1 else None
    return None


def is_first() -> bool:
    """Tells whether this process is rank 0, or was started alone."""
    found = place()
    return found is None or found.rank == 0


def check_alone() -> None:
    """Refuses to run a command in several processes, each of which would do all of it.

    Raises:
        InvalidInput: a launcher has started several.
    """
    found = place()
    if found is not None:
        raise InvalidInput(
            f"expected a single process, got {found.count} of {found.launcher}; only "
            "`run` trains in several"
        )


def _torchrun(environ: Mapping[str, str]) -> Place:
    rank = int(environ["RANK"])
    return Place(
        "torchrun",
        rank,
        int(environ["WORLD_SIZE"]),
        int(environ.get("LOCAL_RANK", 0)),
        int(environ.get("LOCAL_WORLD_SIZE", 1)),
        f"{socket.gethostname()} {environ.get('GROUP_RANK', '')}".strip(),
        environ["MASTER_ADDR"],
        int(environ["MASTER_PORT"]),
        int(environ.get("TORCHELASTIC_RESTART_COUNT", 0)),
        int(environ.get("TORCHELASTIC_MAX_RESTARTS", 0)),
    )


def _slurm(environ: Mapping[str, str]) -> Place:
    node = int(environ.get("SLURM_NODEID", 0))
    return Place(
        "srun",
        int(environ["SLURM_PROCID"]),
        int(environ.get("SLURM_STEP_NUM_TASKS", environ["SLURM_NTASKS"])),
        int(environ["SLURM_LOCALID"]),
        _tasks_of(environ.get("SLURM_STEP_TASKS_PER_NODE", "1"), node),
        f"{socket.gethostname()} {node}",
        _first_host(environ["SLURM_STEP_NODELIST"]),
        _port(int(environ["SLURM_JOB_ID"])),
        int(environ.get("SLURM_RESTART_COUNT", 0)),
    )


def _open_mpi(environ: Mapping[str, str]) -> Place:
    # 1531576320.0;tcp://10.96.0.1,10.148.0.1:34911, or tcp6://[fe80::b9b:ac5d]:43370
    uri = environ["OMPI_MCA_orte_hnp_uri"]
    address = re.search(r"tcp://([^,:]+)|tcp6://\[([^],]+)", uri)
    if address is None:
        raise ValueError(uri)
    return Place(
        "mpirun",
        int(environ["OMPI_COMM_WORLD_RANK"]),
        int(environ["OMPI_COMM_WORLD_SIZE"]),
        int(environ.get("OMPI_COMM_WORLD_LOCAL_RANK", 0)),
        int(environ.get("OMPI_COMM_WORLD_LOCAL_SIZE", 1)),
        socket.gethostname(),
        address[1] or address[2],
        _port(int(uri.partition(".")[0]) // 2**12),
    )


def _port(job: int) -> int:
    """Returns a port for the processes of a job: an even one, so that jobs that follow each other
    do not share the one after it."""
    return 2**16 - 2 - PORTS + job % (PORTS // 2) * 2


def _first_host(nodes: str) -> str:
    """Returns the first of Slurm's list of hosts: "node[01-04,07],gpu3" → "node01"."""
    head = re.match(r"([^,\[]+)(?:\[([^\],-]+)[^\]]*\]([^,]*))?", nodes)
    if head is None:
        raise ValueError(nodes)
    return "".join(part or "" for part in head.groups())


def _tasks_of(counts: str, node: int) -> int:
    """Returns the tasks of a host in Slurm's list: the one of node 2 in "4(x2),1" is 1."""
    found: list[int] = []
    for part in counts.split(","):
        tasks, _, times = part.removesuffix(")").partition("(x")
        found += [int(tasks)] * int(times or 1)
    return found[node] if node < len(found) else found[-1]
