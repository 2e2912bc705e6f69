"""Data of runs from several seeds, and one of them compared with the run of its seed alone."""

from pathlib import Path

import numpy as np

from shared.config.data import GeneratedData
from shared.runs import checkpoint, read_run

SMALL_DATA = GeneratedData(40, 16, 16, 5, 3)


def compare(together: Path, alone: Path, *, exact: bool = False) -> None:
    """History and weights of two run folders, which must be of as many steps."""
    first, second = read_run(together), read_run(alone)
    for split in ("train", "valid", "test"):
        a, b = first.curves[split], second.curves[split]
        np.testing.assert_array_equal(a.step, b.step)
        for x, y in ((a.loss, b.loss), (a.metric, b.metric)):
            np.testing.assert_allclose(x, y, rtol=0 if exact else 1e-9, atol=0)
    snapshots = [
        checkpoint.read(checkpoint.path(folder, checkpoint.steps(folder)[-1])).snapshot
        for folder in (together, alone)
    ]
    a, b = map(checkpoint.flatten, snapshots)
    assert a.keys() == b.keys()
    assert any("moments" in name for name in a)
    for name in a:
        np.testing.assert_allclose(a[name], b[name], rtol=0 if exact else 1e-9, atol=1e-12)
