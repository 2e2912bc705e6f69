"""Results of a benchmark that nobody ran, for tests of what is computed from them."""

import json
from dataclasses import asdict
from itertools import product

from benchmarks import results, run
from benchmarks.cases import CELLS, HIDDEN, Case, table
from benchmarks.results import Allocator, Results, Sample


def sample(
    contender: str, case: Case, number: int, *ms: float, allocator: Allocator = "default"
) -> Sample:
    return Sample(contender, allocator, number, case, list(ms), 10 * len(ms), 2.0, 0.5, 7.0, 0.001)


def made_up(ms: dict[str, float], cells=CELLS, hidden=HIDDEN, rounds: int = 3) -> Results:
    """Contender → milliseconds a step at every case of the table; the machine is twice as slow in
    the second round."""
    plan = run.Plan(cells=cells, hidden=hidden)
    found = results.begin(json.loads(json.dumps(asdict(plan))), "python scripts/bench.py")
    for number, case in product(range(1, rounds + 1), table(cells, hidden)):
        slower = 2 if number == 2 else 1
        for name, usual in ms.items():
            values = (slower * usual, slower * usual * 1.1, slower * usual * 0.9)
            found.samples.append(sample(name, case, number, *values))
    return found


FAST = {
    "rnn_jax": 2.0, "rnn_jax-layer": 2.1, "flax.nnx": 4.0, "keras": 5.0,
    "rnn_torch": 6.0, "rnn_torch-layer": 6.5, "torch.nn": 6.0,
}  # fmt: skip
