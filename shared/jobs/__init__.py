"""Many runs: which are still to be trained, and their training here or over a cluster."""

from shared.jobs.job import Job, Outcome
from shared.jobs.run_jobs import ready, run_jobs

__all__ = ["Job", "Outcome", "ready", "run_jobs"]
