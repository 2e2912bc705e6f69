"""Training of many runs: on this machine or over a cluster, whichever the caller names.

    plan = [Job(resolve(config), Path("runs/a")), …]
    outcomes = run_jobs(plan, at_once=2)
    outcomes = run_jobs(plan, cluster="ray://10.0.0.1:6379", keep_going=True)

A run that is done is not trained again, and a stopped one goes on.
"""

from collections.abc import Generator, Sequence
from contextlib import contextmanager

from shared.jobs.job import Job, Outcome
from shared.jobs.local import run_here


def run_jobs(
    plan: Sequence[Job],
    *,
    at_once: int = 1,
    cluster: str | None = None,
    tune_allocator: bool = True,
    keep_going: bool = False,
) -> list[Outcome]:
    """Trains the runs that are not done, and prints a line for each as it begins.

    Args:
        at_once: without a cluster: runs to train at once, each on its share of the cores.
        cluster: None for this machine; "ray" or "ray://HOST:PORT" for a cluster of Ray's.
        tune_allocator: have glibc keep the memory that a step gives back for the next one.
        keep_going: a run that fails, such as one that diverges, does not stop the others.

    Returns:
        What has become of each job, in the order of the plan.

    Raises:
        InvalidInput: a folder holds another run or a damaged one, or the cluster cannot be used;
            nothing was trained.
        SystemExit: without `keep_going`, a run failed; the line that says why is on stderr.
        Interrupted: a signal came. What has begun can be resumed by the same call.
    """
    if cluster is None:
        return run_here(plan, at_once, tune_allocator, keep_going)
    from shared.jobs.cluster import run_on_cluster

    return run_on_cluster(plan, cluster, tune_allocator, keep_going)


@contextmanager
def ready(plan: Sequence[Job], cluster: str | None) -> Generator[None, None, None]:
    """Checks what `run_jobs` would refuse of a plan for a cluster, and holds the connection to it
    while its body runs: to be used before what was there is removed.

    Raises:
        InvalidInput: as `run_jobs`.
    """
    if cluster is None:
        yield
        return
    from shared.jobs.cluster import prepared

    with prepared(plan, cluster):
        yield
