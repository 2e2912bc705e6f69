"""results.json → README.md with its tables, beside the plots."""

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from benchmarks import plots, tables
from benchmarks.cases import (
    Case,
    scaling,
)
from benchmarks.results import Results
from benchmarks.run import FEW
from benchmarks.targets import targets
from shared.system.files import write_atomically

RESULTS, MARKDOWN = "results.json", "README.md"
FILES = (RESULTS, MARKDOWN, *plots.FILES)
AXES = {
    "length": "T, steps of a sequence",
    "batch_size": "B, sequences in a batch",
    "num_layers": "L, layers",
    "bidirectional": "D, directions",
}
MODEL = """\
A classifier of sequences: 10 features → recurrent layers → last step → linear, 2 classes,
cross-entropy, Adam, float32; B = 64 sequences of T = 100 steps, H = 64 units, one layer, where
nothing else is said. All contenders start from the same weights and see the same batch, which lies
in the framework's memory; the two backends take it from NumPy, as in training. Each step waits for
its result.
"""
METHOD = """\
Each contender is a process of its own, and only one works at a time. A round has new processes and
measures every case, in each case one contender after the other: after a warm-up, steps for
{seconds:g} s, of which the median counts. Tables show the median of {rounds} rounds, at most {few}
beside the main table, and in brackets the smallest and the largest. A ratio is the median of those
within each round, above 1 where ours is faster.

Where nothing else is said, each contender has the allocator that its user gets. For the peers and
our layers that is glibc as it is: it gives large blocks back to the system when they are freed,
and their pages are cleared again in the next step. `scripts/run.py` makes glibc keep them, so
`rnn_jax` and `rnn_torch` do. Tuned, all contenders do.
"""
IDLE = "Between its measurements no contender used more than {idle:.0f} ms of processor time."
OTHERS = "Processes beside the benchmark kept {mean:.2g} cores busy on average, {most:.2g} at most."
NOT_IDLE = "**The machine was not idle: all times are too long, and ratios may be wrong.**"
BUSY = 0.1
"""Most cores that others may keep busy."""
DESCRIPTIONS = {
    "rnn_jax": "`scripts/run.py --backend jax`: the backend, many steps in one compiled call",
    "rnn_jax-layer": "`rnn_jax.RNN`, `LSTM`, `GRU` in the same step as Flax's",
    "flax.nnx": (
        "`flax.nnx.RNN` over `SimpleCell`, `OptimizedLSTMCell`, `GRUCell`, in a jitted step with "
        "donated parameters and moments"
    ),
    "keras": "Keras 3 on JAX: `SimpleRNN`, `LSTM`, `GRU` by `stateless_call` in the same step",
    "rnn_torch": "`scripts/run.py --backend torch`: the backend",
    "rnn_torch-layer": "`rnn_torch.RNN`, `LSTM`, `GRU` in the same loop as torch's",
    "torch.nn": "`torch.nn.RNN`, `LSTM`, `GRU` in a plain loop with fused Adam",
}
TUNED = """\
Here all contenders run under settings with which glibc keeps the memory that a step frees.
"""


def write(results: Results, folder: Path) -> None:
    """Writes README.md and the plots into a folder."""
    drawn = plots.save(results, folder)
    write_atomically(folder / MARKDOWN, markdown(results, drawn).encode())


def summary(results: Results) -> str:
    """Returns a summary for the terminal: the training steps, and which targets are met."""
    parts = [*tables.main_table(results, "train", "default"), _targets(results)]
    if NOT_IDLE in (others := _others(results)):
        parts.append(others)
    return "\n".join(parts)


def markdown(results: Results, drawn: Sequence[str] = ()) -> str:
    """Returns the whole page.

    Args:
        drawn: files of the plots that there are.
    """
    parts = ["# Benchmark\n", _about(results), "\n## Targets\n", _targets(results)]
    parts += ["\n## A training step\n", *tables.main_table(results, "train", "default")]
    parts += _plots(drawn, plots.HIDDEN)
    forward = tables.main_table(results, "forward", "default")
    if forward:
        parts += ["\n## Forward only\n", *forward]
    parts += _scaling(results, drawn)
    parts += tables.several_seeds(results)
    parts += _allocators(results)
    parts += tables.costs(results)
    parts += tables.whole_programs(results)
    return "\n".join(parts) + "\n"


def _about(results: Results) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in results.versions.items())
    where = "; ".join(f"`{name}` on {where}" for name, where in results.contenders.items())
    rounds = max((sample.round for sample in results.samples), default=0)
    lines = [
        f"{results.machine}, {results.cores} cores; {results.date}.  ",
        f"{versions}.  ",
        f"{where}.\n",
        f"```sh\n{results.command}\n```\n",
        MODEL,
        METHOD.format(seconds=results.settings["seconds"], rounds=rounds, few=FEW),
        tables.formatted(
            ["contender", "what it is"], ([f"`{k}`", v] for k, v in DESCRIPTIONS.items())
        ),
        *(f"\n`{name}` was left out: {reason}." for name, reason in results.left_out.items()),
    ]
    if results.samples:
        idle = max(sample.idle_cpu_s for sample in results.samples)
        lines.append(f"\n{IDLE.format(idle=1000 * idle)}")
    if others := _others(results):
        lines.append(f"\n{others}")
    return "\n".join(lines)


def _others(results: Results) -> str:
    """Tells what others did on the machine in a round, averaged over its length."""
    others = [part.others for part in results.rounds if part.others is not None]
    if not others:
        return ""
    line = OTHERS.format(mean=fmean(others), most=max(others))
    return f"{line} {NOT_IDLE}" if max(others) > BUSY else line


def _targets(results: Results) -> str:
    """Returns the targets of which anything was measured."""
    rows = []
    for target in targets(results):
        default, tuned = (str(verdict or "") for verdict in (target.default, target.tuned))
        if target.default.detail or (target.tuned and target.tuned.detail):
            rows.append([target.text, default, tuned])
    if not rows:
        return "None of them was measured."
    return tables.formatted(["target", "as users get it", "every allocator tuned"], rows)


def _scaling(results: Results, drawn: Sequence[str]) -> list[str]:
    parts: list[str] = []
    for axis, cases in scaling(results.settings["cells"]).items():
        for cell in results.settings["cells"]:
            mine = [case for case in cases if case.cell == cell]
            if "scaling" in results.settings["parts"]:
                rows = tables.rows_of(
                    results, mine, "default", lambda c, a=axis: _value(c, a), AXES[axis][0]
                )
                parts += [f"{tables.NAMES[cell]} over {AXES[axis]}, ms:\n\n{rows}\n"] * bool(rows)
    if not parts:
        return []
    return ["\n## Scaling\n", *_plots(drawn, *plots.SCALING), *parts]


def _value(case: Case, axis: str) -> str:
    return str(1 + case.bidirectional) if axis == "bidirectional" else str(getattr(case, axis))


def _allocators(results: Results) -> list[str]:
    found = tables.main_table(results, "train", "tuned")
    if not found:
        return []
    return [
        "\n## A training step with a tuned allocator\n",
        TUNED,
        *found,
    ]


def _plots(drawn: Sequence[str], *files: str) -> list[str]:
    return [f"![{plots.TITLES[file]}]({file})\n" for file in files if file in drawn]
