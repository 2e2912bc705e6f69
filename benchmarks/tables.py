"""The tables of the benchmark's page: times of steps, ratios, costs, whole programs."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from statistics import median

from benchmarks import programs
from benchmarks.cases import CONTENDERS, HELLO, HELLO_STEPS, PEERS, SEEDS, Case, seeds, table
from benchmarks.results import Allocator, Results, Sample, Steps, ratios
from shared.config.settings import Cell

NAMES: dict[Cell, str] = {"rnn": "Elman (tanh)", "lstm": "LSTM", "gru": "GRU"}
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


def main_table(results: Results, kind, allocator: Allocator) -> list[str]:
    """Returns for each cell a table of hidden sizes and contenders."""
    parts = []
    for cell in results.settings["cells"]:
        cases = table([cell], results.settings["hidden"], kind)
        rows = rows_of(results, cases, allocator, lambda case: str(case.hidden_size))
        if rows:
            parts.append(f"{NAMES[cell]}, ms:\n\n{rows}\n")
    return parts


def rows_of(
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
    return formatted([*header, "floor", "`rnn_jax` of the floor"], rows)


def several_seeds(results: Results) -> list[str]:
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
    return ["\n## Several seeds\n", TOGETHER, formatted(header, rows), ""]


def costs(results: Results) -> list[str]:
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
        return f"{text}:\n\n{formatted(['cell, H', *(f'`{name}`' for name in names)], rows)}\n"

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


def whole_programs(results: Results) -> list[str]:
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
        parts += [f"{HELLO_STEPS} steps of `hello`:\n\n{formatted(['', 'ms'], rows)}\n"]
    if results.programs:
        rows = []
        for name, walls in programs.walls(results).items():
            runs = [program for program in results.programs if program.name == name]
            cpu, peak = median(p.cpu_s for p in runs), max(p.peak_mb for p in runs)
            rows.append([name, _spread(walls), f"{cpu:.2f}", f"{peak:.0f}"])
        header = ["", "from start to exit, s", "processor time, s", "peak memory, MB"]
        parts.append(f"{JOB}\n{formatted(header, rows)}\n")
    if steps.product_gflops is not None:
        parts.append(FLOOR.format(gflops=steps.product_gflops))
    return ["\n## Programs\n", *parts] if parts else []


def _spread(rounds) -> str:
    """Returns the median, and of several rounds the smallest and the largest."""
    values = list(rounds.values())
    if not values:
        return "–"
    middle = f"{median(values):.3g}"
    return middle if len(values) == 1 else f"{middle} ({min(values):.3g}–{max(values):.3g})"


def _ratio(ratio: float | None) -> str:
    return "–" if ratio is None else f"{ratio:.2f}"


def formatted(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Returns a table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
