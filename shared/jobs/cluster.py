"""Training of many runs over a cluster of Ray's, without a disk that its machines share.

Each job is an actor (node.py) on one core and, where the cluster has some, one GPU. Every second
the driver asks it for what is new in its run folder and writes that to the folder here. When a
node is lost, another one goes on from what has come back.
"""

import importlib
import os
import sys
import time
from collections import deque
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from shared.jobs.arrivals import read_kept, write_arrived
from shared.jobs.connection import check_nodes, connected, gpus, node_name, slots
from shared.jobs.job import Job, Outcome, State
from shared.jobs.local import announce
from shared.jobs.node import Order, Report, Trainer
from shared.jobs.travel import data_files, read_data
from shared.runs import run_folder
from shared.system import environment, lock, process
from shared.system.folders import reserved
from shared.system.lock import Lock
from shared.system.signals import SIGNALS, Interrupted, Interruption

TRIES = 3
"""Nodes that a job may lose."""
REPORT_S = 1.0
"""Seconds between two reports of a run."""
STOP_S = 120.0
"""Seconds that runs get for their checkpoint once they are to stop."""
NOTICE = "stopping the runs, each with a checkpoint; once more stops at once"


@dataclass
class _Running:
    """A job that is being trained, or waits for a node."""

    number: int
    job: Job
    lock: Lock
    stack: ExitStack
    state: State
    actor: Any
    arrived: bool
    """True if something of its run has come back."""
    node: str = ""
    """Name of its node; empty until it has begun there."""


@dataclass
class _Course:
    """What happens to the jobs of a plan, by their place in it."""

    plan: Sequence[Job]
    waiting: deque[int]
    outcomes: dict[int, Outcome]
    running: dict[Any, _Running] = field(default_factory=dict[Any, _Running])
    """Ray's reference of the call that each waits for → the job."""
    lost: dict[int, int] = field(default_factory=dict[int, int])
    """How often the node of a job was lost."""
    exit_code: int | None = None
    """Exit code of the first run that failed, where that ends all."""


@contextmanager
def prepared(
    plan: Sequence[Job], cluster: str
) -> Generator[dict[int, tuple[str, ...]], None, None]:
    """Gives its body, connected to the cluster, the jobs that are not done, by their place in the
    plan, each with the files of its data.

    Raises:
        InvalidInput: as `run_jobs`.
    """
    states = [job.state for job in plan]
    for job, state in zip(plan, states, strict=True):
        if state == "new":
            run_folder.check_free(job.folder, job.overwrite)
    left = [i for i, state in enumerate(states) if state != "done"]
    files = {i: data_files(plan[i].config) for i in left}
    if not left:
        yield files
        return
    with connected(cluster) as ray:
        check_nodes(ray, [plan[i] for i in left])
        yield files


def run_on_cluster(
    plan: Sequence[Job], cluster: str, tune_allocator: bool, keep_going: bool
) -> list[Outcome]:
    """Trains the runs that are not done, as `run_jobs`."""
    with prepared(plan, cluster) as files, Interruption(NOTICE) as interruption:
        done = {i: Outcome(job) for i, job in enumerate(plan) if i not in files}
        for i, (job, _) in done.items():
            announce(f"{i + 1} of {len(plan)}: {job.folder} (done)")
        if files:
            ray: Any = importlib.import_module("ray")
            course = _Course(plan, deque(files), done)
            sent = {one: ray.put(read_data(one)) for one in dict.fromkeys(files.values())}
            data = {i: sent[files[i]] for i in files}
            _train(ray, course, data, tune_allocator, keep_going, interruption)
    return [done[i] for i in range(len(plan))]


def _train(
    ray: Any,
    course: _Course,
    data: dict[int, Any],
    tune_allocator: bool,
    keep_going: bool,
    interruption: Interruption,
) -> None:
    deadline: float | None = None
    try:
        while course.running or (course.waiting and deadline is None):
            stop = interruption.received is not None or course.exit_code is not None
            if stop and deadline is None:
                deadline = time.monotonic() + STOP_S
                _stop(ray, course)
            if deadline is not None and time.monotonic() > deadline:
                break
            # One more than there is room for: a cluster that grows on demand sees the demand.
            while not stop and course.waiting and len(course.running) <= slots(ray):
                i = course.waiting.popleft()
                _begin(ray, course, i, data[i], tune_allocator)
            ready, _ = ray.wait([*course.running], num_returns=1, timeout=REPORT_S / 2)
            for reference in ready:
                _go_on(ray, course, reference, keep_going, stop)
    finally:
        for one in course.running.values():
            _let_go(ray, one)
    if interruption.received is not None:
        raise Interrupted(interruption.received)
    if course.exit_code is not None:
        sys.exit(course.exit_code)


def _begin(ray: Any, course: _Course, i: int, data: Any, tune_allocator: bool) -> None:
    """Asks for a node for a job, which gets the order as soon as there is one."""
    job = course.plan[i]
    with ExitStack() as stack:
        stack.enter_context(reserved(job.folder, "--out"))
        own = stack.enter_context(lock.held(job.folder, "--out"))
        begun = i in course.lost and run_folder.status(job.folder).begun
        state = "stopped" if begun else job.state if i not in course.lost else "new"
        order = Order(
            job.config,
            state,
            str(job.folder),
            os.getcwd(),
            read_kept(job.folder) if state == "stopped" else {},
            tune_allocator,
            environment.versions(job.config.backend),
        )
        on_gpu = job.config.device == "gpu" or (job.config.device == "auto" and gpus(ray) > 0)
        options = {"num_cpus": 1, "num_gpus": int(on_gpu), "max_restarts": 0}
        actor = ray.remote(Trainer).options(**options).remote()
        one = _Running(i + 1, job, own, stack.pop_all(), state, actor, state == "stopped")
        course.running[actor.start.remote(order, data)] = one


def _go_on(ray: Any, course: _Course, reference: Any, keep_going: bool, stopping: bool) -> None:
    """Takes the answer of a node, and asks for the next."""
    one = course.running.pop(reference)
    try:
        answer = ray.get(reference)
    except ray.exceptions.RayTaskError as error:  # on the node, such as of a full disk
        _let_go(ray, one)
        _failed(course, one, str(error.cause), 1, keep_going)
        return
    except ray.exceptions.RayError:
        _let_go(ray, one)
        if not stopping:
            _lost(course, one, keep_going)
        return
    if isinstance(answer, str):
        one.node = node_name(ray, answer)
        announce(f"{one.number} of {len(course.plan)}: {one.job.folder} on {one.node}")
        if stopping:
            one.actor.stop.remote()
    else:
        try:
            write_arrived(one.lock, answer.files, answer.names, not one.arrived)
        except BaseException:
            _let_go(ray, one)
            raise
        one.arrived = one.arrived or run_folder.status(one.job.folder).begun
        if answer.code is not None:
            _let_go(ray, one)
            _ended(course, one, answer, keep_going, stopping)
            return
    course.running[one.actor.report.remote(REPORT_S)] = one


def _ended(
    course: _Course, one: _Running, report: Report, keep_going: bool, stopping: bool
) -> None:
    code = report.code
    assert code is not None
    if code == 0:
        course.outcomes[one.number - 1] = Outcome(one.job)
    elif stopping:  # it goes on another time
        return
    elif code - 128 in SIGNALS:  # its node is being shut down
        _lost(course, one, keep_going)
    else:
        said = report.errors if code < 128 else f"was killed by signal {code - 128}"
        _failed(course, one, said or f"ended with the exit code {code}", code, keep_going)


def _lost(course: _Course, one: _Running, keep_going: bool) -> None:
    """Has another node go on with a job whose node was lost."""
    i = one.number - 1
    course.lost[i] = course.lost.get(i, 0) + 1
    where = one.node or "a node"
    if course.lost[i] >= TRIES:
        _failed(course, one, f"its node was lost {TRIES} times, last {where}", 1, keep_going)
        return
    step = run_folder.status(one.job.folder).step
    how = "it begins anew elsewhere" if step is None else f"it goes on elsewhere from step {step}"
    announce(f"{one.number} of {len(course.plan)}: {one.job.folder}: {where} was lost; {how}")
    course.waiting.appendleft(i)


def _failed(course: _Course, one: _Running, said: str, code: int, keep_going: bool) -> None:
    course.outcomes[one.number - 1] = Outcome(one.job, said)
    if keep_going:
        announce(f"{one.job.folder}: {said}")
    else:
        process.say(f"{one.job.folder}: {said}")
        course.exit_code = course.exit_code or code


def _stop(ray: Any, course: _Course) -> None:
    """Has each run end with a checkpoint, and those that wait for a node not begin."""
    for reference, one in [*course.running.items()]:
        if one.node:
            one.actor.stop.remote()
        else:
            del course.running[reference]
            _let_go(ray, one)


def _let_go(ray: Any, one: _Running) -> None:
    """Gives back a job's node and the lock of its folder."""
    ray.kill(one.actor)
    one.stack.close()
