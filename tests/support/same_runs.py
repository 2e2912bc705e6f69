"""Run folders that must hold the same run, whatever took its steps."""

import json
from pathlib import Path

from shared.runs import checkpoint
from tests.support.compare_arrays import check_all_close


def check_same_run(folder: Path, whole: Path, relative: float = 1e-9) -> None:
    """Raises unless histories and last checkpoints are equal but for rounding."""
    both = [(part / "metrics.jsonl").read_text().splitlines() for part in (folder, whole)]
    mine, theirs = ([json.loads(line) for line in lines] for lines in both)
    assert len(mine) == len(theirs), (len(mine), len(theirs))
    for line, expected in zip(mine, theirs, strict=True):
        assert line.keys() == expected.keys()
        for name, value in expected.items():
            same = line[name] == value
            if isinstance(value, float):
                same = abs(line[name] - value) <= relative * max(abs(value), 1e-3)
            assert same, (line, expected)
    steps = checkpoint.steps(whole)
    assert steps, "no checkpoint to compare"
    assert checkpoint.steps(folder)[-1] == steps[-1]
    found, expected = (
        checkpoint.flatten(checkpoint.read(checkpoint.path(part, steps[-1])).snapshot)
        for part in (folder, whole)
    )
    kept = {name: array for name, array in expected.items() if array.size}
    check_all_close({name: found[name] for name in kept}, kept, relative=relative, allow_zero=True)
