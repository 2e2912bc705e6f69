"""What fuzz tests share: a seed that a failed test prints, and bytes that are damaged.

FUZZ_SEED=7 makes another choice of cases than the usual one.
"""

import os
from collections.abc import Callable
from typing import Any, NamedTuple

from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st

SEED = int(os.environ.get("FUZZ_SEED", "0"))


def fuzz(cases: int) -> Callable[[Any], Any]:
    """Tries so many cases, the same at each run."""
    chosen = settings(
        max_examples=cases, deadline=None, database=None, print_blob=True,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )  # fmt: skip
    return lambda test: chosen(seed(SEED)(test))


class Edit(NamedTuple):
    """A change of a file; `at` is a share of its length."""

    kind: str
    at: float
    content: bytes

    def apply(self, before: bytes) -> bytes:
        at = min(int(self.at * len(before)), max(0, len(before) - 1))
        if self.kind == "truncate":
            return before[:at]
        if self.kind == "insert":
            return before[:at] + self.content + before[at:]
        if self.kind == "remove":
            return before[:at] + before[at + len(self.content) :]
        if self.kind == "zero":
            return before[:at] + bytes(len(before) - at)
        if self.kind == "flip" and before:
            return (
                before[:at]
                + bytes([before[at] ^ (1 << (len(self.content) % 8))])
                + before[at + 1 :]
            )
        return before[:at] + self.content + before[at + len(self.content) :]


EDITS = st.lists(
    st.builds(
        Edit,
        st.sampled_from(["flip", "flip", "truncate", "insert", "remove", "zero", "replace"]),
        st.integers(0, 999).map(lambda thousandth: thousandth / 1000),
        st.binary(min_size=1, max_size=12),
    ),
    min_size=1,
    max_size=3,
)


def damaged(content: bytes, edits: list[Edit]) -> bytes:
    for edit in edits:
        content = edit.apply(content)
    return content
