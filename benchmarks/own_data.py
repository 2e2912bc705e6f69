"""Trains the data sets of docs/your-own-data.md in both frameworks, and writes what they reach.

    python -m benchmarks.own_data            # docs/own-data.json, and the table on the page
    python -m benchmarks.own_data names      # these data sets again, the others as they are

Each is one command, `rnn-parity run`, with options of its data alone.
"""

import json
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from shared.runs.scores import in_unit, lower_is_better, shown, spread
from shared.runs.seeds import read_runs
from shared.runs.summary import Summary

DATA = "shared/tasks/data"
FORECAST, SEQUENCES = "--task forecast", "--task sequences"
COMMANDS = {
    "bikes": f"{FORECAST} --data.path {DATA}/bikes.parquet --data.target rentals "
    "--data.group rider --data.time time --data.known-ahead workday weather temperature "
    "--data.calendar hour --data.season 24 --data.gaps split",
    "traffic": f"{FORECAST} --data.path {DATA}/traffic.csv --data.target vehicles "
    "--data.features temperature clouds --data.time time --data.calendar hour weekday "
    "--data.season 24 --data.missing previous",
    "co2": f"{FORECAST} --data.path {DATA}/co2.csv --data.target co2 --data.time week "
    "--data.window 52 --data.horizon 4 --data.season 52 --data.difference "
    "--data.missing previous",
    "elnino": f"{FORECAST} --data.path {DATA}/elnino.csv --data.target temperature "
    "--data.time month --data.calendar month --data.horizon 6 --data.season 12",
    "speakers": f"{SEQUENCES} --data.path {DATA}/speakers.parquet --data.sequence utterance "
    "--data.step frame --data.target speaker",
    "digits": f"{SEQUENCES} --data.path {DATA}/digits.parquet --data.sequence image "
    "--data.step row --data.target digit",
    "names": f"--task labels --data.path {DATA}/names.csv --data.text name --data.label sex "
    "--data.unit char",
    "words": f"--task pairs --data.path {DATA}/words.tsv --data.source word --data.target sounds",
}
"""Options of the command that trains each data set."""
SEEDS = "0..2"
ROOT = Path(__file__).parent.parent
RESULTS, PAGE = ROOT / "docs" / "own-data.json", ROOT / "docs" / "your-own-data.md"
BEGIN, END = "<!-- results -->\n", "<!-- end of results -->\n"


def train(name: str, backend: str, folder: Path) -> list[Summary]:
    """Trains one data set from each seed."""
    words = ["--backend", backend, *COMMANDS[name].split(), "--seeds", SEEDS]
    command = [sys.executable, "scripts/run.py", *words, "--out", str(folder)]
    subprocess.run(command, check=True, cwd=ROOT)
    return [run.summary for run in read_runs(folder)]


def record(name: str, runs: dict[str, list[Summary]]) -> dict[str, Any]:
    """Returns the scores of the test part by backend, and those of the baselines."""
    first = runs["jax"][0]
    references = {b.name: b.scores[first.score] for b in first.baselines if first.score in b.scores}
    found: dict[str, Any] = {
        "options": COMMANDS[name],
        "data": first.data,
        "score": first.score,
        "unit": first.unit,
        "baselines": references,
    }
    for backend, summaries in runs.items():
        found[backend] = [summary.test[first.score] for summary in summaries]
    return found


def best(found: dict[str, Any]) -> str:
    """Returns the name of the best baseline."""
    choose = min if lower_is_better(found["score"]) else max
    return choose(found["baselines"], key=found["baselines"].__getitem__)


def ahead(found: dict[str, Any], backend: str) -> int:
    """Returns how many seeds are ahead of every baseline."""
    bound, sign = found["baselines"][best(found)], 1 if lower_is_better(found["score"]) else -1
    return sum(sign * value < sign * bound for value in found[backend])


def table(results: dict[str, dict[str, Any]]) -> str:
    """Returns the table of the page, a row for each data set."""
    lines = [
        "| data | score on the test part | JAX | PyTorch | best baseline | seeds ahead |",
        "|---|---|---|---|---|---|",
    ]
    for name, found in results.items():
        score, bound = found["score"], best(found)
        named = shown(score, 0.0, found["unit"]).split(" 0")[0]
        sides = [spread(score, found[backend]) for backend in ("jax", "torch")]
        count = sum(ahead(found, backend) for backend in ("jax", "torch"))
        total = sum(len(found[backend]) for backend in ("jax", "torch"))
        reference = f"{in_unit(score, found['baselines'][bound])} {bound}"
        lines.append(
            f"| `{name}` | {named} | {' | '.join(sides)} | {reference} | {count} of {total} |"
        )
    return "\n".join(lines) + "\n"


def main(names: Sequence[str]) -> None:
    results: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for name in names or COMMANDS:
        with TemporaryDirectory() as place:
            runs = {b: train(name, b, Path(place, b)) for b in ("jax", "torch")}
        results[name] = record(name, runs)
        print(name, {b: statistics.mean(results[name][b]) for b in ("jax", "torch")}, flush=True)
        write(results)


def write(results: dict[str, Any]) -> None:
    """Writes the results, and their table onto the page."""
    results = {known: results[known] for known in COMMANDS if known in results}
    RESULTS.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")
    before, _, rest = PAGE.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(before + BEGIN + "\n" + table(results) + "\n" + END + after)


if __name__ == "__main__":
    main(sys.argv[1:])
