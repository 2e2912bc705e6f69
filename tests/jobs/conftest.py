"""A cluster for a file of tests: a head without a core, and two nodes that train."""

from collections.abc import Iterator
from tempfile import TemporaryDirectory

import pytest

from tests.support.cluster import STORE, Nodes


@pytest.fixture(scope="module")
def started() -> Iterator[Nodes]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        patch.delenv("RAY_ADDRESS", raising=False)
        tools = pytest.importorskip("ray.cluster_utils")
        head = {"num_cpus": 0, "include_dashboard": False, "object_store_memory": STORE}
        head["_system_config"] = {  # a killed node is noticed within a second
            "health_check_initial_delay_ms": 0,
            "health_check_period_ms": 300,
            "health_check_timeout_ms": 500,
            "health_check_failure_threshold": 2,
        }
        # Near the root: the names of sockets below it may have few letters.
        with TemporaryDirectory(prefix="ray-", dir="/tmp", ignore_cleanup_errors=True) as folder:
            head["temp_dir"] = folder
            cluster = tools.Cluster(initialize_head=True, head_node_args=head)
            try:
                yield Nodes(cluster)
            finally:
                cluster.shutdown()


@pytest.fixture
def nodes(started: Nodes) -> Nodes:
    started.refill()
    return started


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The lines that the driver prints."""
    found: list[str] = []
    monkeypatch.setattr("shared.jobs.cluster.announce", found.append)
    return found
