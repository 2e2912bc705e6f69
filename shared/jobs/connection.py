"""A connection to a cluster of Ray's: the one that is named, one that runs here, or a new one."""

import importlib
import os
import re
import signal
import socket
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any

from shared.errors import InvalidInput, printable
from shared.jobs.job import Job
from shared.jobs.node import check_versions
from shared.system import environment

ADDRESS = re.compile(r"(?:ray://)?([^/\s:]+|\[[^/\s]+\]):(\d{1,5})")
CLIENT_PORT = 10001
"""Port of Ray's client, which needs more than Ray's core."""
CONNECT_S = 5.0
ENVIRONMENT = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
"""What has Ray send no statistics and print no warning about accelerators."""


@contextmanager
def connected(cluster: str) -> Generator[Any, None, None]:
    """Gives its body the module `ray`, connected to a cluster.

    Args:
        cluster: "ray://HOST:PORT", the address of a head, from one of the cluster's machines; or
            "ray": that of RAY_ADDRESS, else a cluster that runs on this machine, else a new one
            on this machine, which is stopped at the end.

    Raises:
        InvalidInput: Ray is not installed, or no cluster is there.
    """
    address = _address(cluster)
    for name, value in ENVIRONMENT.items():  # which Ray reads as it is imported
        os.environ.setdefault(name, value)
    try:
        ray: Any = importlib.import_module("ray")
    except ModuleNotFoundError as error:
        raise InvalidInput(
            "--cluster: expected Ray, which is not installed; pip install 'rnn-parity[cluster]' "
            "brings it"
        ) from error
    before = signal.getsignal(signal.SIGTERM)
    quiet = {"log_to_driver": False, "logging_level": "ERROR", "configure_logging": True}
    _silence()
    own = not ray.is_initialized()
    try:
        if own:
            _connect(ray, address, cluster, quiet)
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)  # Ray has put one of its own there
        yield ray
    finally:
        if own:
            ray.shutdown()


def _address(cluster: str) -> str | None:
    """Returns the address of a head, HOST:PORT; None where none is named.

    Raises:
        InvalidInput: it is no address, or nobody answers there.
    """
    given = os.environ.get("RAY_ADDRESS", "auto") if cluster == "ray" else cluster
    if cluster == "ray" and given in ("", "auto", "local"):
        return None
    match = ADDRESS.fullmatch(given)
    if match is None or (cluster != "ray" and not cluster.startswith("ray://")):
        raise InvalidInput(f"--cluster: expected ray or ray://HOST:PORT, got {given}")
    host, port = match[1].strip("[]"), int(match[2])
    if port == CLIENT_PORT:
        raise InvalidInput(
            f"--cluster {given}: expected the port of the cluster's head, usually 6379, from one "
            "of its machines; got that of Ray's client"
        )
    try:
        socket.create_connection((host, port), CONNECT_S).close()
    except (OSError, OverflowError) as error:
        raise InvalidInput(
            f"--cluster {given}: expected the head of a cluster of Ray's there, got: {error}"
        ) from error
    return f"{match[1]}:{port}"


def _connect(ray: Any, address: str | None, cluster: str, quiet: dict[str, Any]) -> None:
    try:
        if address is not None:
            ray.init(address=address, **quiet)
            return
        try:
            ray.init(address="auto", **quiet)
        except ConnectionError:  # none runs here
            cores = environment.cores()
            ray.init(address="local", num_cpus=cores, include_dashboard=False, **quiet)
    except (RuntimeError, ValueError, OSError) as error:
        said = printable(str(error).strip().partition("\n")[0])
        raise InvalidInput(
            f"--cluster {cluster}: expected a cluster with this machine in it, got: {said}"
        ) from error


def _silence() -> None:
    """Has Ray not print what happens to its nodes: the lost ones are named by the caller. It
    offers no setting for that."""

    def nothing(*_: Any, **__: Any) -> None: ...

    worker: Any = importlib.import_module("ray._private.worker")
    worker.print_to_stdstream = nothing


def check_nodes(ray: Any, plan: Sequence[Job]) -> None:
    """Refuses a cluster in which a node has other versions, or none has what a job needs.

    Raises:
        InvalidInput: the message names the node.
    """
    backends = list(dict.fromkeys(job.config.backend for job in plan))
    expected = {backend: environment.versions(backend) for backend in backends}
    names = {name for found in expected.values() for name in found}

    # Ray sends a function inside of another one as it is: a node may lack this package.
    def found_versions() -> dict[str, str]:
        import importlib.metadata
        import platform

        found = {"python": platform.python_version()}
        for name in names - {"python"}:
            try:
                found[name] = importlib.metadata.version(name)
            except importlib.metadata.PackageNotFoundError:
                found[name] = "none"
        return found

    nodes = [n for n in ray.nodes() if n["Alive"] and n["Resources"].get("CPU", 0) >= 1]
    if not nodes:
        raise InvalidInput("--cluster: expected a node with a free core, got none in the cluster")
    if any(job.config.device == "gpu" for job in plan) and not gpus(ray):
        raise InvalidInput("--device gpu: expected a node with a GPU, got none in the cluster")
    strategy = importlib.import_module("ray.util.scheduling_strategies")
    probe = ray.remote(num_cpus=0, max_retries=0)(found_versions)
    asked = [
        probe.options(
            scheduling_strategy=strategy.NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        ).remote()
        for node in nodes
    ]
    wanted = {name: version for found in expected.values() for name, version in found.items()}
    for node, found in zip(nodes, ray.get(asked), strict=True):
        check_versions(wanted, found, node["NodeName"])


def gpus(ray: Any) -> int:
    """Returns the number of GPUs in the cluster."""
    return int(ray.cluster_resources().get("GPU", 0))


def slots(ray: Any) -> int:
    """Returns how many jobs of one core the cluster can train at once."""
    alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return sum(int(resources.get("CPU", 0)) for resources in alive)


def node_name(ray: Any, identifier: str) -> str:
    """Returns a node's name: what it was started with, else its address."""
    return next((n["NodeName"] for n in ray.nodes() if n["NodeID"] == identifier), identifier)
