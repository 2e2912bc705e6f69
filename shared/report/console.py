"""Summaries → the text that a run prints at its end."""

from collections.abc import Sequence
from pathlib import Path
from statistics import mean

from shared.report.card_limits import best_baseline, is_ahead
from shared.runs.scores import long_name, shown, spread, to_show
from shared.runs.summary import Summary, located_notes
from shared.tasks.registry import WITH_DATA

SHOWN = 3
"""Number of sequences that are spelled out."""


def print_summary(summary: Summary, folder: Path, resumed: bool) -> None:
    test = summary.test
    _print_notes(summary)
    for sample in summary.samples[:SHOWN]:
        print("{input} → {predicted}  (target {target})".format(**sample))
    if summary.generated:
        print("{prompt}▶{continuation}".format(**summary.generated))
    kind = "test" if summary.held_out else "final, on the training sequence itself:"
    print(kind, "  ".join(shown(name, test[name], summary.unit) for name in to_show(test)))
    _print_baselines(summary)
    _print_standing(summary)
    print(_times(summary, resumed))
    print(f"wrote {folder}")


def _print_notes(summary: Summary) -> None:
    for where, note in located_notes(summary):
        print(f"note{where and f' on {where}'}: {note}")


def _print_standing(summary: Summary) -> None:
    """Says plainly that a network on a user's data is no answer; goals judge the other tasks."""
    best = best_baseline(summary)
    if summary.task not in WITH_DATA and best is not None and not is_ahead(summary, best):
        print(f"no better than without a network: {best.name}")


def _print_baselines(summary: Summary) -> None:
    for baseline in summary.baselines:
        known = baseline.scores
        found = [shown(name, known[name], summary.unit) for name in to_show(known)]
        print(f"baseline {baseline.name}: {'  '.join(found)}")


def _times(summary: Summary, resumed: bool) -> str:
    """Returns the cost of the run. Each segment has its own step; the rest is of this process
    alone."""
    process = (
        f"compiled in {summary.compile_s:.1f} s, {summary.total_s:.1f} s in all, "
        f"{summary.peak_memory_mb:.0f} MB at most, on {summary.device}"
    )
    if not resumed:
        tokens = summary.tokens_per_s
        speed = f" ({tokens:,.0f} tokens a second)" if tokens else ""
        return f"{summary.steps} steps, {summary.step_ms:.3f} ms each{speed}, {process}"
    parts = (
        f"{part.span} in {part.label}, {part.step_ms:.3f} ms each" for part in summary.segments
    )
    return f"{'; '.join(parts)}\nsince resuming: {process}"


def print_seeds(summaries: Sequence[Summary], folder: Path) -> None:
    """Prints the scores of each seed, and their mean and standard deviation."""
    first = summaries[0]
    kind = "test" if first.held_out else "final, on the training sequence itself"
    names = to_show(first.test)
    _print_notes(first)
    for summary in summaries:
        scores = [shown(name, summary.test[name], summary.unit) for name in names]
        print(f"seed {summary.seed}  {kind}: {'  '.join(scores)}")
    if len(summaries) > 1:
        spreads = [
            f"{long_name(name, first.unit)} {spread(name, [s.test[name] for s in summaries])}"
            for name in names
        ]
        print(f"mean ± standard deviation of {len(summaries)} seeds: {'  '.join(spreads)}")
    _print_baselines(first)
    print(
        f"{first.steps} steps, {mean(s.step_ms for s in summaries):.3f} ms each and seed, "
        f"{sum(s.total_s for s in summaries):.1f} s in all, on {first.device}; {first.path}"
    )
    print(f"wrote {folder}")
