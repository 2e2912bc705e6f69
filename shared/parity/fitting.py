"""Finds the value of one constant with which a course explains a run."""

from collections.abc import Callable, Sequence

import numpy as np

from shared.parity.courses import Course, Part, Run, residuals

ROUNDS = 12
STARTS = 2
"""How many of the starting values are followed to their end."""
MOST = 3.0
"""Largest step, in the logarithm of the value."""


def fitted(
    make: Callable[[float], Course], starts: Sequence[float], run: Run, parts: Sequence[Part]
) -> float:
    """Returns the value whose course leaves the least of the updates of these parts.

    Gauss-Newton on the logarithm of the value, from the best of the starting values. Where a value
    explains everything the residual is zero, so the last steps are quadratic.

    Args:
        make: a positive value → the course with it.
    """

    def left(log: float) -> np.ndarray:
        with np.errstate(all="ignore"):
            found = np.concatenate(list(residuals(make(float(np.exp(log))), run, parts)))
        return np.nan_to_num(found, nan=1e3, posinf=1e3, neginf=-1e3)

    tried = sorted((float(np.linalg.norm(left(log))), log) for log in np.log(starts))
    return float(np.exp(min(_followed(left, log) for _, log in tried[:STARTS])[1]))


def _followed(left: Callable[[float], np.ndarray], log: float) -> tuple[float, float]:
    """Returns the norm of what is left, and the logarithm, after the last step that helped."""
    now = left(log)
    size = float(np.linalg.norm(now))
    for _ in range(ROUNDS):
        slope = (left(log + 1e-6) - now) / 1e-6
        steep = float(slope @ slope)
        if not steep or not size:
            break
        step = float(np.clip(-(slope @ now) / steep, -MOST, MOST))
        for share in (1.0, 0.3, 0.05):
            then = left(log + share * step)
            reached = float(np.linalg.norm(then))
            if reached < size:
                break
        else:
            break
        slow = reached > 0.99 * size
        log, now, size = log + share * step, then, reached
        if slow:
            break
    return size, log


def rounded(value: float, within: float = 1e-4) -> float:
    """Returns the value with two digits, or three, if that is as good as the same: what somebody
    may have written."""
    for digits in (1, 2, 3):
        short = float(f"{value:.{digits}g}")
        if abs(short - value) <= within * abs(value):
            return short
    return value


def is_short(value: float) -> bool:
    """Tells if a number has three digits at most, but for the rounding of 1 minus it."""
    return abs(float(f"{value:.3g}") - value) <= 1e-14 * max(1.0, abs(value))
