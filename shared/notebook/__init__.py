"""The front door in Python: a task of your own data, trained, looked at, used and loaded again.

task = forecast("sales.csv", target="sales", time="date", group="store", horizon=7)
trained = fit(task, backend="jax", hidden_size=32)
trained.scores, trained.baselines, trained.plot(), trained.predict("next.csv")
"""

from shared.notebook.fit import fit, fit_seeds, load
from shared.notebook.fitted import Fit
from shared.notebook.prove import prove
from shared.notebook.tasks import Problem, forecast, labels, pairs, sequences, task

__all__ = [
    "Fit",
    "Problem",
    "fit",
    "fit_seeds",
    "forecast",
    "labels",
    "load",
    "pairs",
    "prove",
    "sequences",
    "task",
]
