"""Comparisons that raise and name what differs; none returns anything that could be ignored."""

from collections.abc import Mapping

import numpy as np


def check_close(
    actual: np.ndarray,
    expected: np.ndarray,
    *,
    relative: float,
    what: str,
    elementwise: bool = False,
    allow_zero: bool = False,
) -> None:
    """Raises unless every element of `actual` lies within `relative` of `expected`.

    The error is measured against the largest magnitude in the tensor: an element that cancelled to
    nearly nothing carries the rounding of what it was made of. With `elementwise` it is measured
    against each element's own magnitude, as for losses, which are sums of positive numbers.

    Raises:
        AssertionError: naming `what` and the first element that differs, or why the two cannot be
            compared: another shape or dtype, a number that is not finite, or nothing but zeros.
    """
    actual, expected = np.asarray(actual), np.asarray(expected)
    if actual.shape != expected.shape:
        raise AssertionError(f"{what}: expected shape {expected.shape}, got {actual.shape}")
    if actual.dtype != expected.dtype:
        raise AssertionError(f"{what}: expected dtype {expected.dtype}, got {actual.dtype}")
    if not expected.size:
        raise AssertionError(f"{what}: nothing to compare, shape {expected.shape}")
    for side, array in (("expected", expected), ("actual", actual)):
        if not np.isfinite(array).all():
            index = _first(~np.isfinite(array))
            place = list(map(int, index))
            raise AssertionError(f"{what}{place}: {side} value is {array[index]}")
    if not allow_zero and not expected.any():
        raise AssertionError(f"{what}: expected values are all zero, which proves nothing")
    error = np.abs(actual.astype(np.float64) - expected.astype(np.float64))
    scale = np.abs(expected.astype(np.float64))
    if not elementwise:
        scale = np.full_like(scale, scale.max())
    far = error > relative * scale
    if far.any():
        index = _first(far)
        raise AssertionError(
            f"{what}{list(map(int, index))}: expected {expected[index]!r}, got {actual[index]!r}, "
            f"absolute error {error[index]:.3e}, relative {error[index] / scale[index]:.3e} "
            f"(allowed {relative:g}); {int(far.sum())} of {far.size} elements differ"
        )


def check_all_close(
    actual: Mapping[str, np.ndarray],
    expected: Mapping[str, np.ndarray],
    *,
    relative: float,
    allow_zero: bool = False,
) -> None:
    """`check_close` for every tensor by name; other names on one side are a difference too."""
    if set(actual) != set(expected):
        missing, extra = sorted(set(expected) - set(actual)), sorted(set(actual) - set(expected))
        raise AssertionError(f"tensors missing: {missing}, unexpected: {extra}")
    if not expected:
        raise AssertionError("no tensors to compare")
    for name in expected:
        check_close(
            actual[name], expected[name], relative=relative, what=name, allow_zero=allow_zero
        )


def _first(mask: np.ndarray) -> tuple[np.intp, ...]:
    return tuple(np.argwhere(mask)[0])
