"""Windows of a table: the sequences of a forecast, of which only those that are asked for are made.

inputs = Windows(table, starts, steps=36)           # (N, 36, F), no copy of the table
targets = Windows(goals, starts + 36, steps=3, flat=True)
inputs[np.array([5, 2])]                            # (2, 36, F), a copy of these two
"""

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Windows:
    """Stretches of a table's rows, used as an array (N, T, F), or (N, T·F) where they are flat.

    A table of millions of rows has as many windows, each nearly the same as the next: together they
    would take T times its memory.
    """

    rows: np.ndarray
    """(M, F) table."""
    starts: np.ndarray
    """(N,) integers, the first row of each window."""
    steps: int
    """Rows of a window, T."""
    flat: bool = False
    """True if a window is one row of numbers, time by time."""
    relative: bool = False
    """True if the row before a window is subtracted from each of its rows."""

    def __post_init__(self) -> None:
        if len(self.starts) == 0:
            return
        first, last = self.starts.min(), self.starts.max()
        if first < self.relative or last + self.steps > len(self.rows):
            raise ValueError(
                f"expected windows of {self.steps} rows within {len(self.rows)}, got some that "
                f"start at {first} to {last}"
            )

    @property
    def shape(self) -> tuple[int, ...]:
        features = self.rows.shape[1]
        if self.flat:
            return len(self.starts), self.steps * features
        return len(self.starts), self.steps, features

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.rows.dtype

    @property
    def parts(self) -> tuple[np.ndarray, ...]:
        """Arrays that say everything about the windows, for a fingerprint."""
        how = np.array([self.steps, self.flat, self.relative], np.int64)
        return self.rows, self.starts, how

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, which: Any) -> np.ndarray:
        """Copies windows: of a number, a slice or an array (…,) of numbers; (…, T, F).

        Further indices, after a comma, are those of NumPy into the copy.
        """
        which, *further = which if isinstance(which, tuple) else (which,)
        starts = np.asarray(self.starts[which])[..., None]
        found = self.rows[starts + np.arange(self.steps)]
        if self.relative:
            found = found - self.rows[starts - 1]
        if self.flat:
            found = found.reshape(*starts.shape[:-1], self.shape[1])
        axes = (slice(None),) * (starts.ndim - 1)
        return found[(*axes, *further)] if further else found

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Makes all windows."""
        if copy is False:
            raise ValueError("windows of a table are always copied")
        return np.asarray(self[:], dtype)
