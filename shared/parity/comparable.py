"""What can be compared of a step of two programs."""

from shared.parity.comparison import in_both
from shared.protocol.program import Start
from shared.protocol.trace import Trace, phase_of

ONE_SIDED = ("moments", "buffers", "gradients", "clipped")
"""Phases of which one program may show less."""


def comparable(mine: Trace, theirs: Trace, start: Start) -> tuple[Trace, Trace]:
    """Returns what can be compared of a step of both.

    Optimizers remember different things; a port may have no buffers, or no evaluation; the original
    has no gradients of what is frozen, and two names for one tensor where the port has one. What it
    clips is its own.
    """
    a, b = in_both(mine, theirs, ONE_SIDED)
    other = {n for n in start.tied if f"before/{n}" not in a}
    b = {n: array for n, array in b.items() if n.partition("/")[2] not in other}
    if {n for n in mine if phase_of(n) == "gradients"} - a.keys():
        # The norm is that of all gradients, and one has more.
        del a["norm/norm"], b["norm/norm"]
    # In the second one's order, which knows in which its layers ran.
    return {n: a[n] for n in b if n in a} | a, b
