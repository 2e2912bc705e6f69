"""What the variables of a launcher say of a process, and what none of them can mean."""

import re
import socket

import pytest

from shared.errors import InvalidInput
from shared.system import launch
from shared.system.launch import PORTS, Place, check_alone, is_first, place

TORCHRUN = {
    "RANK": "3",
    "WORLD_SIZE": "4",
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "2",
    "GROUP_RANK": "1",
    "MASTER_ADDR": "10.0.0.7",
    "MASTER_PORT": "29500",
    "TORCHELASTIC_RESTART_COUNT": "1",
    "TORCHELASTIC_MAX_RESTARTS": "3",
}
SLURM = {
    "SLURM_JOB_ID": "12345",
    "SLURM_STEP_NODELIST": "node[01-03]",
    "SLURM_NTASKS": "9",
    "SLURM_STEP_NUM_TASKS": "5",
    "SLURM_STEP_TASKS_PER_NODE": "2(x2),1",
    "SLURM_PROCID": "4",
    "SLURM_LOCALID": "0",
    "SLURM_NODEID": "2",
}
OPEN_MPI = {
    "OMPI_MCA_orte_hnp_uri": "1531576320.0;tcp://10.96.0.1,10.148.0.1:34911",
    "OMPI_COMM_WORLD_RANK": "1",
    "OMPI_COMM_WORLD_SIZE": "2",
    "OMPI_COMM_WORLD_LOCAL_RANK": "1",
    "OMPI_COMM_WORLD_LOCAL_SIZE": "2",
}
HOST = socket.gethostname()


def found(environ: dict[str, str]) -> Place:
    result = place(environ)
    assert result is not None
    return result


def test_torchrun_says_all() -> None:
    expected = Place("torchrun", 3, 4, 1, 2, f"{HOST} 1", "10.0.0.7", 29500, 1, 3)
    assert found(TORCHRUN) == expected


def test_what_sets_only_the_variables_of_torch_has_one_process_on_each_host() -> None:
    few = {name: TORCHRUN[name] for name in launch.TORCHRUN}
    expected = Place("torchrun", 3, 4, 0, 1, HOST, "10.0.0.7", 29500)
    assert found(few) == expected


def test_slurm_counts_the_tasks_of_the_step_and_of_the_host() -> None:
    result = found(SLURM)
    assert (result.launcher, result.rank, result.count) == ("srun", 4, 5)
    assert (result.local_rank, result.local_count) == (0, 1)
    assert (result.node, result.address) == (f"{HOST} 2", "node01")


def test_slurm_tells_that_a_job_was_started_anew() -> None:
    assert found(SLURM).restarts == 0
    assert found(SLURM | {"SLURM_RESTART_COUNT": "2"}).restarts == 2


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ("4", [4]),
        ("2(x3)", [2, 2, 2]),
        ("4(x2),1", [4, 4, 1]),
        ("1,3(x2),2", [1, 3, 3, 2]),
    ],
)
def test_slurm_lists_tasks_by_host(counts: str, expected: list[int]) -> None:
    for node, tasks in enumerate(expected):
        environ = SLURM | {"SLURM_STEP_TASKS_PER_NODE": counts, "SLURM_NODEID": str(node)}
        assert found(environ).local_count == tasks


@pytest.mark.parametrize(
    ("nodes", "first"),
    [
        ("node01", "node01"),
        ("node01,node07", "node01"),
        ("node[01-04,07],gpu3", "node01"),
        ("gpu-a[3,5-9]", "gpu-a3"),
        ("rack[1-2]-ib", "rack1-ib"),
        ("a1.site.org,b[2-3]", "a1.site.org"),
    ],
)
def test_the_first_host_of_slurms_list_is_where_all_meet(nodes: str, first: str) -> None:
    assert found(SLURM | {"SLURM_STEP_NODELIST": nodes}).address == first


def test_open_mpi_says_all() -> None:
    result = found(OPEN_MPI)
    assert (result.launcher, result.rank, result.count) == ("mpirun", 1, 2)
    assert (result.local_rank, result.local_count) == (1, 2)
    assert (result.node, result.address) == (HOST, "10.96.0.1")


def test_open_mpi_may_have_an_address_of_ipv6() -> None:
    uri = "1314521088.0;tcp6://[fe80::b9b:ac5d:9cf0:b858,2620::3000:fe4]:43370"
    # The first of several addresses.
    result = found(OPEN_MPI | {"OMPI_MCA_orte_hnp_uri": uri.replace(",2620::3000:fe4", "")})
    assert result.address == "fe80::b9b:ac5d:9cf0:b858"


def test_jobs_that_follow_each_other_have_ports_of_their_own() -> None:
    """PyTorch's processes meet at one port, JAX's at the next; each start anew takes one more."""
    ports = [found(SLURM | {"SLURM_JOB_ID": str(job)}).port for job in range(7000, 7100)]
    assert len({port + i for port in ports for i in (0, 1)}) == 200
    for job in range(0, 3 * PORTS, 97):
        assert 2**15 < found(SLURM | {"SLURM_JOB_ID": str(job)}).port < 2**16 - 1


@pytest.mark.parametrize("variables", [TORCHRUN, SLURM, OPEN_MPI])
def test_without_one_of_its_variables_nobody_is_a_launcher(variables: dict[str, str]) -> None:
    needed = {*launch.TORCHRUN, *launch.SLURM, *launch.OPEN_MPI} & variables.keys()
    assert len(needed) >= 3
    for name in needed:
        assert place({k: v for k, v in variables.items() if k != name}) is None
    assert place({}) is None


def test_one_process_of_a_launcher_is_alone() -> None:
    assert place(TORCHRUN | {"RANK": "0", "WORLD_SIZE": "1"}) is None
    assert place(SLURM | {"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "1"}) is None
    one = {"OMPI_COMM_WORLD_RANK": "0", "OMPI_COMM_WORLD_SIZE": "1"}
    assert place(OPEN_MPI | one) is None


def test_torchrun_within_a_job_of_slurm_counts() -> None:
    assert found(SLURM | OPEN_MPI | TORCHRUN).launcher == "torchrun"


@pytest.mark.parametrize(
    ("variables", "name", "value", "message"),
    [
        (TORCHRUN, "RANK", "first", r"RANK, WORLD_SIZE, MASTER_ADDR.* got RANK=first, WORLD_SIZE"),
        (TORCHRUN, "RANK", "4", r"RANK: expected a process of 4, counted from 0, got 4"),
        (TORCHRUN, "RANK", "-1", r"RANK: expected a process of 4, counted from 0, got -1"),
        (TORCHRUN, "WORLD_SIZE", "", r"expected the variables of a launcher .* WORLD_SIZE=,"),
        (TORCHRUN, "MASTER_PORT", "http", r"expected the variables of a launcher .*PORT=http"),
        (SLURM, "SLURM_STEP_NODELIST", "[1-2]", r"expected .*SLURM_STEP_NODELIST=\[1-2\]"),
        (SLURM, "SLURM_JOB_ID", "a", r"expected the variables .*got SLURM_JOB_ID=a"),
        (SLURM, "SLURM_STEP_TASKS_PER_NODE", "x", r"expected the variables of a launcher \(SLURM"),
        (OPEN_MPI, "OMPI_MCA_orte_hnp_uri", "7.0;usock", r"expected .*hnp_uri=7\.0;usock"),
        (OPEN_MPI, "OMPI_COMM_WORLD_SIZE", "1", r"expected a process of 1, counted from 0, got 1"),
    ],
)
def test_nonsense_is_refused_in_one_line(
    variables: dict[str, str], name: str, value: str, message: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        place(variables | {name: value})
    assert re.search(message, str(refused.value))
    assert "\n" not in str(refused.value)


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in TORCHRUN.items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("launched")
def test_only_rank_0_of_several_is_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not is_first()
    monkeypatch.setenv("RANK", "0")
    assert is_first()
    monkeypatch.delenv("RANK")
    assert is_first()


@pytest.mark.usefixtures("launched")
def test_a_command_for_one_process_refuses_several(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidInput, match="expected a single process, got 4 of torchrun; only"):
        check_alone()
    monkeypatch.setenv("WORLD_SIZE", "1")
    monkeypatch.setenv("RANK", "0")
    check_alone()
