"""Gaps of a proof: what two programs did not exercise in the steps in which they were equal.

    gaps = joined(gaps_of_torch, coverage.gaps())
    print(summary(gaps))                    # not exercised: rnn.weight_hh_l0, 88 rows of …
    print(*(gap.described for gap in gaps), sep="\\n")

A wrong port may hide in a gap: it is right in all that was exercised.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

Kind = Literal[
    "no-gradients", "nothing-moved", "no-gradient", "never-called", "one-step", "no-padding",
    "prepare-changed-nothing", "rate-constant", "same-draws", "one-update",
    "part-without-gradient", "rows-not-read", "not-moved", "moved-little", "dropout-off",
    "dropped-nothing", "norm-in-evaluation", "line-not-run", "zero-state", "one-length",
    "one-sequence",
]  # fmt: skip
"""What a gap can be; those where most may hide come first."""
ASIDE: tuple[Kind, ...] = ("zero-state", "one-length", "one-sequence")
"""Kinds that the data often has by nature. They are listed, and not in the line of the verdict."""


@dataclass(frozen=True)
class Gap:
    """One thing that was not exercised."""

    kind: Kind
    name: str = ""
    """The parameter, the path of the module ("" for the whole), or file and line, of torch."""
    count: int = 0
    """How many were not: parameters, rows, elements, lines, gates; or the number that all had."""
    of: int = 0
    """Of how many."""
    where: str = ""
    """Which part ("rows 3, 7-9", "gate f"), "cell" for a cell, or the text of a line."""
    rounding: bool = False
    """Whether a gradient was there, but no larger than the rounding of others."""

    @property
    def described(self) -> str:
        """Returns one plain line."""
        return _DESCRIBED[self.kind](self)

    @property
    def short(self) -> str:
        """Returns the few words that stand for it in a list."""
        return _SHORT[self.kind](self)


class Rows(NamedTuple):
    """Which rows of an embedding were read."""

    padding: int | None
    """The row of padding, whose gradient is zero by design."""
    read: np.ndarray
    """(V,), whether a batch read the row."""

    @property
    def unread(self) -> np.ndarray:
        """(V,), whether no batch read the row, padding excepted."""
        found = ~self.read
        if self.padding is not None:
            found[self.padding] = False
        return found


def of_rows(name: str, rows: Rows) -> list[Gap]:
    """Returns whether there are rows of an embedding that no batch read, and padding among
    them."""
    count = int(rows.unread.sum())
    found = [Gap("rows-not-read", name, count, len(rows.read))] if count else []
    if rows.padding is not None and not rows.read[rows.padding]:
        found.append(Gap("no-padding", name, where=f"row {rows.padding}"))
    return found


def joined(*several: Iterable[Gap]) -> list[Gap]:
    """Returns all gaps, each once, in the order of their kinds.

    Of two with one kind and name and part, the first is taken: what was seen where it happened
    comes before what was concluded. A module that was never called stands for its parameters
    without gradients; one whose parameters have gradients was used without a call, and is no gap.
    """
    found: dict[tuple[str, str, str], Gap] = {}
    for gap in (gap for gaps in several for gap in gaps):
        # A part says which rows, an update how many: only these occur more than once by name.
        part = gap.where if gap.kind == "part-without-gradient" else ""
        found.setdefault((gap.kind, gap.name, part), gap)
    kinds = {kind for kind, _, _ in found}
    dead = {name for kind, name, _ in found if kind == "no-gradient"}
    hidden: set[tuple[str, str, str]] = set()
    for key, gap in found.items():
        if gap.kind == "never-called" and gap.count:
            below = {name for name in dead if name.startswith(f"{gap.name}.")}
            if len(below) >= gap.count:
                hidden |= {("no-gradient", name, "") for name in below}
            elif "no-gradients" not in kinds:
                hidden.add(key)
    order = list(_DESCRIBED)
    kept = [gap for key, gap in found.items() if key not in hidden]
    return sorted(kept, key=lambda gap: order.index(gap.kind))


def summary(gaps: Sequence[Gap], most: int = 5) -> str:
    """Returns the short form for the line of a verdict: "not exercised: a, b and 3 more"; empty
    where there is nothing to say."""
    names = list(dict.fromkeys(gap.short for gap in gaps if gap.kind not in ASIDE))
    if not names:
        return ""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"not exercised: {', '.join(names[:most])}{more}"


def ranges(numbers: Iterable[int], most: int = 4) -> str:
    """Returns numbers as one would write them: "3, 7-9"; after `most` ranges how many are left."""
    found: list[list[int]] = []
    for number in sorted(set(numbers)):
        if found and number == found[-1][1] + 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    shown = [str(low) if low == high else f"{low}-{high}" for low, high in found[:most]]
    left = sum(high - low + 1 for low, high in found[most:])
    return ", ".join(shown) + (f" and {left} more" if left else "")


def counted(count: int, what: str) -> str:
    """Returns a number with its noun: "1 step", "2 steps"."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _named(gap: Gap) -> str:
    return gap.name or "the module"


def _gradient(gap: Gap) -> str:
    return "never had a gradient" + (" beyond rounding" if gap.rounding else "")


def _part(gap: Gap) -> str:
    of = "" if gap.where.startswith("gate") else f" of {gap.of}"
    return f"{gap.name}: {gap.where}{of} {_gradient(gap)}"


def _rows(gap: Gap) -> str:
    were = "was" if gap.count == 1 else "were"
    return f"{gap.name}: {gap.count} of {counted(gap.of, 'row')} {were} read by no batch"


def _not_moved(gap: Gap) -> str:
    if gap.count == gap.of:
        return f"{gap.name} had gradients and never moved"
    return f"{gap.name}: {gap.count} of {counted(gap.of, 'element')} had gradients and never moved"


def _line(gap: Gap) -> str:
    more = " …" if gap.count > 1 else ""
    return f"{gap.name} never ran: `{gap.where}`{more}"


def _one_step(gap: Gap) -> str:
    why = "its state was always zero" if gap.where == "cell" else "every sequence had 1 step"
    return f"{_named(gap)}: {why}, so nothing recurrent was exercised"


def _padding(gap: Gap) -> str:
    if gap.where:
        return f"{_named(gap)}: {gap.where}, that of padding, was read by no batch"
    return (
        f"{_named(gap)}: no sequence was shorter than the longest of its batch, so padding was "
        "not exercised"
    )


_DESCRIBED: dict[Kind, Callable[[Gap], str]] = {
    "no-gradients": lambda gap: "every gradient is zero",
    "nothing-moved": lambda gap: "no weight moves by more than the tolerance",
    "no-gradient": lambda gap: f"{gap.name} {_gradient(gap)}",
    "never-called": lambda gap: f"{_named(gap)} was never called",
    "one-step": _one_step,
    "no-padding": _padding,
    "prepare-changed-nothing": lambda gap: (
        "clipping: what is called between gradients and step changed no gradient"
    ),
    "rate-constant": lambda gap: (
        f"the scheduler: the learning rate was the same at all {counted(gap.count, 'step')}"
    ),
    "same-draws": lambda gap: (
        f"{gap.name} draws the same numbers at every step, as it does not where they are replayed"
    ),
    "one-update": lambda gap: (
        "the optimizer made a single update, in which what it remembers plays no part"
    ),
    "part-without-gradient": _part,
    "rows-not-read": _rows,
    "not-moved": _not_moved,
    "moved-little": lambda gap: f"{gap.name} never moved by more than the tolerance",
    "dropout-off": lambda gap: f"{_named(gap)}: dropout was off at every step",
    "dropped-nothing": lambda gap: f"{_named(gap)}: dropout was on and never dropped anything",
    "norm-in-evaluation": lambda gap: (
        f"{_named(gap)} was in evaluation mode at every step, so a batch's own statistics were "
        "not exercised"
    ),
    "line-not-run": _line,
    "zero-state": lambda gap: f"{_named(gap)}: its initial state was always zero",
    "one-length": lambda gap: f"{_named(gap)}: every sequence had {counted(gap.count, 'step')}",
    "one-sequence": lambda gap: f"{_named(gap)}: every batch had 1 sequence",
}  # fmt: skip

_SHORT: dict[Kind, Callable[[Gap], str]] = {
    "no-gradients": lambda gap: "gradients",
    "nothing-moved": lambda gap: "updates of weights",
    "no-gradient": lambda gap: gap.name,
    "never-called": _named,
    "one-step": lambda gap: f"the recurrence of {_named(gap)}",
    "no-padding": lambda gap: f"padding in {_named(gap)}",
    "prepare-changed-nothing": lambda gap: "clipping",
    "rate-constant": lambda gap: "the scheduler",
    "same-draws": lambda gap: f"the draws of {gap.name} from step to step",
    "one-update": lambda gap: "what the optimizer remembers",
    "part-without-gradient": lambda gap: f"{gap.where} of {gap.name}",
    "rows-not-read": lambda gap: f"{counted(gap.count, 'row')} of {gap.name}",
    "not-moved": lambda gap: f"the update of {gap.name}",
    "moved-little": lambda gap: f"the update of {gap.name}",
    "dropout-off": lambda gap: f"dropout in {_named(gap)}",
    "dropped-nothing": lambda gap: f"dropout in {_named(gap)}",
    "norm-in-evaluation": lambda gap: f"a batch's statistics in {_named(gap)}",
    "line-not-run": lambda gap: gap.name,
    "zero-state": lambda gap: f"the initial state of {_named(gap)}",
    "one-length": lambda gap: f"other lengths in {_named(gap)}",
    "one-sequence": lambda gap: f"batches of several in {_named(gap)}",
}
