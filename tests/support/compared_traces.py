"""Traces of one call, compared, and changed at one place."""

from shared.parity.comparison import PROVED, Comparison
from shared.protocol.trace import Trace


def changed(trace: Trace, name: str, index: tuple[int, ...], value: float) -> Trace:
    array = trace[name].copy()
    array[index] = value
    return trace | {name: array}


def compared(first: Trace, second: Trace, tolerance: float = PROVED) -> Comparison:
    """The steps of one call, which begin with step 11."""
    comparison = Comparison("jax", "torch", tolerance)
    comparison.add(11, first, second)
    return comparison
