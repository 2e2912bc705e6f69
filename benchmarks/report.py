"""results.json → README.md with its tables, beside the plots."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean, median

from benchmarks import plots, programs
from benchmarks.cases import (
    CONTENDERS,
    HELLO,
    HELLO_STEPS,
    PEERS,
    SEEDS,
    Case,
    scaling,
    seeds,
    table,
)
from benchmarks.results import Allocator, Results, Sample, Steps, ratios
from benchmarks.run import FEW
from benchmarks.targets import targets
from shared.config.settings import Cell
from shared.system.files import write_atomically

RESULTS, MARKDOWN = "results.json", "README.md"
FILES = (RESULTS, MARKDOWN, *plots.FILES)
NAMES: dict[Cell, str] = {"rnn": "Elman (tanh)", "lstm": "LSTM", "gru": "GRU"}
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
TOGETHER = """\
A step of one network, in `rnn_jax` alone and as one of several that are trained in one program.
Above 1 it is faster together. `scripts/run.py --seeds` takes seeds together where a step has few
operations.
"""
JOB = """\
The job is a whole program: one epoch of 100 000 sequences, with its data, evaluation on 10 000 and
20 000 others, and all that the program needs to begin. `benchmarks/tutorial.py` is a plain loop
over `DataLoader` and `nn.RNN`. A first run of ours compiles; the next finds its programs on disk.
"""
FLOOR = """
The floor is what the matrix products that a step needs would take at {gflops:.0f} GFLOP/s, the
quickest product of two 2048 × 2048 matrices in either framework. With G gates they have
2·B·T·G·H·(2I + 3H) operations, above the first layer (3I + 3H), forward only (I + H).
"""


def write(results: Results, folder: Path) -> None:
    """Writes README.md and the plots into a folder."""
    drawn = plots.save(results, folder)
    write_atomically(folder / MARKDOWN, markdown(results, drawn).encode())


def summary(results: Results) -> str:
    """Returns a summary for the terminal: the training steps, and which targets are met."""
    parts = [*_main_table(results, "train", "default"), _targets(results)]
    if NOT_IDLE in (others := _others(results)):
        parts.append(others)
    return "\n".join(parts)


def markdown(results: Results, drawn: Sequence[str] = ()) -> str:
    """Returns the whole page.

    Args:
        drawn: files of the plots that there are.
    """
    parts = ["# Benchmark\n", _about(results), "\n## Targets\n", _targets(results)]
    parts += ["\n## A training step\n", *_main_table(results, "train", "default")]
    parts += _plots(drawn, plots.HIDDEN)
    forward = _main_table(results, "forward", "default")
    if forward:
        parts += ["\n## Forward only\n", *forward]
    parts += _scaling(results, drawn)
    parts += _seeds(results)
    parts += _allocators(results)
    parts += _costs(results)
    parts += _programs(results)
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
        _table(["contender", "what it is"], ([f"`{k}`", v] for k, v in DESCRIPTIONS.items())),
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
    return _table(["target", "as users get it", "every allocator tuned"], rows)


def _main_table(results: Results, kind, allocator: Allocator) -> list[str]:
    """Returns for each cell a table of hidden sizes and contenders."""
    parts = []
    for cell in results.settings["cells"]:
        cases = table([cell], results.settings["hidden"], kind)
        rows = _rows(results, cases, allocator, lambda case: str(case.hidden_size))
        if rows:
            parts.append(f"{NAMES[cell]}, ms:\n\n{rows}\n")
    return parts


def _rows(
    results: Results,
    cases: Sequence[Case],
    allocator: Allocator,
    label: Callable[[Case], str],
    first: str = "H",
) -> str:
    """Returns times of all contenders that were measured, our ratios, and the share of the
    floor."""
    steps = Steps(results)
    names = [name for name in CONTENDERS if any(steps.rounds(name, c, allocator) for c in cases)]
    cases = [case for case in cases if any(steps.rounds(name, case, allocator) for name in names)]
    if not cases:
        return ""
    peers = [name for name in PEERS if name in names]
    rows = []
    for case in cases:
        row = [label(case), *(_spread(steps.rounds(name, case, allocator)) for name in names)]
        best = steps.best(peers, case, allocator)
        against = steps.ratio(best, "rnn_jax", case, allocator)
        row.append("–" if against is None else f"**{against:.2f}** ({best})")
        row.append(_ratio(steps.ratio("torch.nn", "rnn_jax", case, allocator)))
        row.append(_ratio(steps.ratio("torch.nn", "rnn_torch", case, allocator)))
        floor, ours = steps.floor_ms(case), steps.ms("rnn_jax", case, allocator)
        row.append("–" if floor is None else f"{floor:.3g}")
        row.append("–" if floor is None or ours is None else f"{100 * floor / ours:.0f} %")
        rows.append(row)
    header = [first, *(f"`{name}`" for name in names)]
    header += ["`rnn_jax`: best peer", "`rnn_jax`: `torch.nn`", "`rnn_torch`: `torch.nn`"]
    return _table([*header, "floor", "`rnn_jax` of the floor"], rows)


def _scaling(results: Results, drawn: Sequence[str]) -> list[str]:
    parts: list[str] = []
    for axis, cases in scaling(results.settings["cells"]).items():
        for cell in results.settings["cells"]:
            mine = [case for case in cases if case.cell == cell]
            if "scaling" in results.settings["parts"]:
                rows = _rows(
                    results, mine, "default", lambda c, a=axis: _value(c, a), AXES[axis][0]
                )
                parts += [f"{NAMES[cell]} over {AXES[axis]}, ms:\n\n{rows}\n"] * bool(rows)
    if not parts:
        return []
    return ["\n## Scaling\n", *_plots(drawn, *plots.SCALING), *parts]


def _seeds(results: Results) -> list[str]:
    """Compares several networks trained at once with one after the other."""
    steps, rows = Steps(results), []
    for case in (case for case in seeds(results.settings["cells"]) if case.seeds > 1):
        alone = steps.rounds("rnn_jax", replace(case, seeds=1))
        together = steps.rounds("rnn_jax", case)
        if alone and together:
            sizes = f"{NAMES[case.cell]}, H = {case.hidden_size}, B = {case.batch_size}"
            sizes += f", T = {case.length}"
            ratio = median(ratios(alone, together))
            operations = f"{case.flops / 1e6:.3g}"
            rows.append([sizes, operations, _spread(alone), _spread(together), f"**{ratio:.2f}**"])
    if not rows:
        return []
    header = ["", "10⁶ operations", "alone, ms", f"of {SEEDS} seeds together, ms", "ratio"]
    return ["\n## Several seeds\n", TOGETHER, _table(header, rows), ""]


def _value(case: Case, axis: str) -> str:
    return str(1 + case.bidirectional) if axis == "bidirectional" else str(getattr(case, axis))


def _allocators(results: Results) -> list[str]:
    tables = _main_table(results, "train", "tuned")
    if not tables:
        return []
    return [
        "\n## A training step with a tuned allocator\n",
        TUNED,
        *tables,
    ]


def _costs(results: Results) -> list[str]:
    """Returns tables of compilation, memory, time in the kernel and page faults."""
    steps = Steps(results)
    cases = table(results.settings["cells"], results.settings["hidden"])
    names = [name for name in CONTENDERS if any(steps.rounds(name, case) for case in cases)]
    if not names:
        return []
    found: dict[tuple[str, Case, Allocator], list[Sample]] = {}
    for sample in results.samples:
        found.setdefault((sample.contender, sample.case, sample.allocator), []).append(sample)
    ready = {(p.contender, p.case): p for p in results.preparations if p.allocator == "default"}

    def of(text: str, value: Callable[[str, Case], str]) -> str:
        rows = [
            [f"{NAMES[case.cell]} {case.hidden_size}", *(value(name, case) for name in names)]
            for case in cases
        ]
        return f"{text}:\n\n{_table(['cell, H', *(f'`{name}`' for name in names)], rows)}\n"

    def sampled(pick: Callable[[Sample], float], form: str) -> Callable[[str, Case], str]:
        def value(name: str, case: Case) -> str:
            texts = []
            for allocator in ("default", "tuned"):
                samples = found.get((name, case, allocator))
                texts += [form.format(median(map(pick, samples)))] if samples else []
            return " → ".join(texts) or "–"

        return value

    def prepared(pick: Callable, form: str) -> Callable[[str, Case], str]:
        return lambda name, case: (
            form.format(pick(ready[name, case])) if (name, case) in ready else "–"
        )

    return [
        "\n## What else a step costs\n",
        of("Until the first step is done, s, compilation included", prepared(
            lambda p: p.prepare_s + p.first_s, "{:.2f}")),
        of("Most memory of the process, MB", prepared(lambda p: p.peak_mb, "{:.0f}")),
        of("Processor time of a step, ms, allocators as users get them → tuned",
            sampled(lambda s: s.cpu_ms, "{:.3g}")),
        of("Of it in the kernel, ms", sampled(lambda s: s.system_ms, "{:.2g}")),
        of("Page faults of a step", sampled(lambda s: s.faults, "{:.0f}")),
    ]  # fmt: skip


def _programs(results: Results) -> list[str]:
    """Returns tables of whole programs, hello and the matrix product."""
    parts: list[str] = []
    steps = Steps(results)
    hello = {name: steps.rounds(name, HELLO) for name in CONTENDERS}
    hello = {name: rounds for name, rounds in hello.items() if rounds}
    if hello:
        rows = [
            [f"`{name}`", _spread({i: HELLO_STEPS * ms for i, ms in rounds.items()})]
            for name, rounds in hello.items()
        ]
        parts += [f"{HELLO_STEPS} steps of `hello`:\n\n{_table(['', 'ms'], rows)}\n"]
    if results.programs:
        rows = []
        for name, walls in programs.walls(results).items():
            runs = [program for program in results.programs if program.name == name]
            cpu, peak = median(p.cpu_s for p in runs), max(p.peak_mb for p in runs)
            rows.append([name, _spread(walls), f"{cpu:.2f}", f"{peak:.0f}"])
        header = ["", "from start to exit, s", "processor time, s", "peak memory, MB"]
        parts.append(f"{JOB}\n{_table(header, rows)}\n")
    if steps.product_gflops is not None:
        parts.append(FLOOR.format(gflops=steps.product_gflops))
    return ["\n## Programs\n", *parts] if parts else []


def _plots(drawn: Sequence[str], *files: str) -> list[str]:
    return [f"![{plots.TITLES[file]}]({file})\n" for file in files if file in drawn]


def _spread(rounds) -> str:
    """Returns the median, and of several rounds the smallest and the largest."""
    values = list(rounds.values())
    if not values:
        return "–"
    middle = f"{median(values):.3g}"
    return middle if len(values) == 1 else f"{middle} ({min(values):.3g}–{max(values):.3g})"


def _ratio(ratio: float | None) -> str:
    return "–" if ratio is None else f"{ratio:.2f}"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
