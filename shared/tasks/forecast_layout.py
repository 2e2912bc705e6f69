"""The rows of a table by series and time: where each series begins, and where its times jump."""

from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from itertools import pairwise
from typing import Literal, NamedTuple

import numpy as np

from shared.errors import InvalidInput, printable
from shared.system import tables
from shared.system.tables import Table
from shared.tasks.forecast_times import (
    following,
    of_numbers,
    pieces,
    spelled,
    step_of,
    steps_between,
)

BETWEEN = " / "
"""What stands between the values of several columns in the name of a series."""
Gaps = Literal["refuse", "split", "ignore"]


class Layout(NamedTuple):
    """Rows of a table, one series after the other, each in the order of its times."""

    names: list[str]
    """Names of the series: the values of their groups, joined; "" without groups."""
    bounds: np.ndarray
    """(G + 1,) first row of each series, and the end of the last."""
    group: np.ndarray
    """(M,) number of the series of each row."""
    order: np.ndarray
    """(M,) row of the table; -1 for a time that the table does not have."""
    times: np.ndarray | None
    """(M,) of each row."""
    stretch: np.ndarray
    """(M,) number of the stretch of rows without a jump."""
    step: str | None

    @property
    def as_read(self) -> bool:
        """True if the rows are those of the table, in its order."""
        first = np.arange(len(self.order), dtype=self.order.dtype)
        return np.array_equal(self.order, first)

    def series(self) -> Iterator[slice]:
        """Yields the rows of each series."""
        for first, end in pairwise(self.bounds.tolist()):
            yield slice(first, end)

    def called(self, series: int) -> str:
        """Names a series in a message."""
        name = printable(self.names[series])
        return f"series {name}" if name else "the series"


def arrange(
    table: Table,
    time: str | None,
    groups: Sequence[str],
    gaps: Gaps,
    step: str | None = None,
    known: Sequence[str] | None = None,
) -> Layout:
    """Puts the rows of a table in the order of their series and times.

    Args:
        time: column of times; None keeps the order of the rows.
        groups: columns that say to which series a row belongs.
        step: time from one row to the next; None takes the most frequent one.
        known: names of the series, in their order; None takes those of the table, sorted.

    Raises:
        InvalidInput: a time is there twice, or times jump where that is refused, or the step of one
            series is not that of the others, or the name of a series is not known.
    """
    names, codes = _series(table, groups)
    if known is not None:
        codes = _as_known(table, names, codes, known)
        names = [*known]
    at = None if time is None else tables.times(table, time)
    order = _order(codes, at)
    group = codes[order]
    begins = np.flatnonzero(np.append(True, group[1:] != group[:-1]))
    held = group[begins]
    bounds = np.append(begins, len(group))
    group = np.repeat(np.arange(len(held), dtype=np.int32), np.diff(bounds))
    names = [names[int(i)] for i in held]
    layout = Layout(names, bounds, group, order, None, group, None)
    if at is None:
        return layout
    if step is not None and (at.dtype.kind != "M") != of_numbers(step):
        kinds = ("dates", "numbers") if at.dtype.kind != "M" else ("numbers", "dates")
        raise InvalidInput(
            f"{table.name}: expected {kinds[0]} in column {time}, as in training, got {kinds[1]}"
        )
    at = at if layout.as_read else at[order]
    layout = layout._replace(times=at)
    follows = group[1:] == group[:-1]
    _check_repeats(table, layout, follows)
    if step is None:
        try:
            step = step_of(at, follows, gaps == "ignore")
        except InvalidInput as error:
            raise InvalidInput(f"{table.name}: {error}") from error
    return _with_stretches(table, layout._replace(step=step), follows, gaps)


def extended(layout: Layout, ends: np.ndarray, horizon: int) -> Layout:
    """Adds times to the series that lack some of the `horizon` rows after a row, by their step.

    Args:
        ends: (G,) the row of each series, counted within it, after which the times are needed.
    """
    sizes = np.diff(layout.bounds)
    more = np.maximum(ends + 1 + horizon - sizes, 0)
    if not more.any():
        return layout
    where = np.repeat(layout.bounds[1:], more)
    group, order, stretch = (
        np.insert(old, where, new)
        for old, new in (
            (layout.group, np.repeat(np.arange(len(more)), more)),
            (layout.order, -1),
            (layout.stretch, layout.stretch[where - 1]),
        )
    )
    times = layout.times
    if times is not None:
        assert layout.step is not None
        later = [
            following(times[rows], layout.step, int(count)).astype(times.dtype)
            for rows, count in zip(layout.series(), more, strict=True)
            if count
        ]
        times = np.insert(times, where, np.concatenate(later))
    bounds = layout.bounds + np.append(0, np.cumsum(more))
    return layout._replace(bounds=bounds, group=group, order=order, stretch=stretch, times=times)


def _series(table: Table, groups: Sequence[str]) -> tuple[list[str], np.ndarray]:
    """Returns the names of the series and the number of each row's, (N,)."""
    if not groups:
        return [""], np.zeros(len(table), np.int32)
    names, codes = tables.categories(table, groups[0])
    for column in groups[1:]:
        values, own = tables.categories(table, column)
        pairs, codes = np.unique(codes.astype(np.int64) * len(values) + own, return_inverse=True)
        names = [f"{names[i // len(values)]}{BETWEEN}{values[i % len(values)]}" for i in pairs]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InvalidInput(
            f"{table.name}: expected groups whose names differ, got {twice!r} for two of them"
        )
    return names, codes.astype(np.int32)


def _as_known(
    table: Table, names: list[str], codes: np.ndarray, known: Sequence[str]
) -> np.ndarray:
    """Returns the numbers of the series among those that are known."""
    place = {name: i for i, name in enumerate(known)}
    for i, name in enumerate(names):
        if name not in place:
            near = get_close_matches(name, known, 1)
            raise InvalidInput(
                f"{table.place(int((codes == i).argmax()))}: expected one of the {len(known)} "
                f"series that the network is trained on, got {name!r}"
                + (f"; did you mean {near[0]!r}?" if near else "")
            )
    return np.array([place[name] for name in names], np.int32)[codes]


def _order(codes: np.ndarray, at: np.ndarray | None) -> np.ndarray:
    """Returns the rows by series and time; rows of one time keep their order."""
    if not codes.any() and (at is None or bool((at[1:] >= at[:-1]).all())):
        return np.arange(len(codes), dtype=np.int32)  # as most tables are; sorting takes memory
    if at is None:
        order = np.argsort(codes, kind="stable")
    elif codes.any():
        order = np.lexsort((at, codes))
    else:
        order = np.argsort(at, kind="stable")
    return order.astype(np.int32) if len(order) < 2**31 else order


def _check_repeats(table: Table, layout: Layout, follows: np.ndarray) -> None:
    """Refuses a time that a series has twice."""
    assert layout.times is not None
    same = follows & (layout.times[1:] == layout.times[:-1])
    if same.any():
        at = int(same.argmax())
        first, second = sorted(map(int, layout.order[at : at + 2]))
        (time,) = spelled(layout.times[at : at + 1])
        hint = "" if layout.names != [""] else "; --data.group tells series apart"
        raise InvalidInput(
            f"{table.place(second)}: expected each time once in "
            f"{layout.called(int(layout.group[at]))}, got {time} as in "
            f"{table.place(first).removeprefix(table.name + ', ')}{hint}"
        )


def _with_stretches(table: Table, layout: Layout, follows: np.ndarray, gaps: Gaps) -> Layout:
    """Finds the stretches without a jump in the times, and refuses what the option refuses."""
    assert layout.times is not None
    assert layout.step is not None
    one = np.empty(len(follows), bool)
    for piece in pieces(len(follows)):
        one[piece] = steps_between(layout.times[piece.start : piece.stop + 1], layout.step) == 1
    if gaps == "ignore":
        if follows.sum() > 2 and not (one & follows).any():
            _refuse_step(table, layout, int(np.diff(layout.bounds).argmax()))
        return layout
    jumps = follows & ~one
    if not jumps.any():
        return layout
    regular = np.bincount(layout.group[1:], follows & ~jumps, minlength=len(layout.names))
    odd = np.bincount(layout.group[1:], jumps, minlength=len(layout.names))
    for series in np.flatnonzero(odd > regular):
        _refuse_step(table, layout, int(series))
    at = int(jumps.argmax())
    if gaps == "refuse":
        times = layout.times[layout.bounds[layout.group[at]] : at + 1]
        before, got, expected = (
            spelled(found)[0]
            for found in (
                times[-1:],
                layout.times[at + 1 : at + 2],
                following(times, layout.step, 1).astype(times.dtype),
            )
        )
        raise InvalidInput(
            f"{table.place(int(layout.order[at + 1]))}: expected {expected} after {before} in "
            f"{layout.called(int(layout.group[at]))}, in steps of {layout.step}, got {got}; "
            "--data.gaps split lets no window reach over a jump, ignore takes each row for the "
            "next step"
        )
    return layout._replace(stretch=np.append(0, np.cumsum(~follows | jumps)).astype(np.int32))


def _refuse_step(table: Table, layout: Layout, series: int) -> None:
    """Refuses a series whose own step is another one than that of all."""
    assert layout.times is not None
    times = layout.times[layout.bounds[series] : layout.bounds[series + 1]]
    own = step_of(times, np.ones(len(times) - 1, bool), trading=False)
    if own != layout.step:
        raise InvalidInput(
            f"{table.name}: expected one step of time, {layout.step}, in all series and as in "
            f"training, got {own} in {layout.called(series)}"
        )


def carried(values: np.ndarray, layout: Layout) -> np.ndarray:
    """Puts the last value of a series where there is none, (M,); NaN before the first one."""
    empty = np.isnan(values)
    if not empty.any():
        return values
    place = np.where(empty, 0, np.arange(len(values)))
    np.maximum.accumulate(place, out=place)
    return np.where(place < layout.bounds[layout.group], np.nan, values[place])
