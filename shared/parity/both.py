"""Two programs that take the same steps, with the same random draws if they draw any."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from shared.errors import InvalidInput
from shared.protocol.draws import Draw, Replay
from shared.protocol.program import Call, Example, Program, Start
from shared.protocol.trace import Trace

REPLAY, REPLAY_FIRST = "replay", "replay-first"
Dropout = str | Mapping[str, str] | None
"""Whose draws are replayed in the other program: the second's ("replay", or by name: path of its
module → path of the first's), the first's ("replay-first"), or nobody's."""


class Taken(NamedTuple):
    """A step of both."""

    mine: Trace
    theirs: Trace
    draws: int = 0
    """How many were replayed."""
    keys: frozenset[bytes] = frozenset()
    """Of the generator in the first program, of each draw that was replayed there."""
    numbers: tuple[bytes, ...] = ()
    """Those that were drawn and replayed."""


class Both(NamedTuple):
    """The port and the original."""

    first: Program
    second: Program
    dropout: Dropout = None

    def begin(self, start: Start) -> None:
        self.first.begin(start)
        self.second.begin(start)

    def step(self, example: Example, altered: str = "") -> Taken:
        """Takes a step of both.

        Args:
            altered: what the second does otherwise.
        """
        if self.dropout is None:
            theirs = self.second.step(example, None, altered)
            return Taken(self.first.step(example), theirs)
        drawn: list[Draw] = []
        if self.dropout == REPLAY_FIRST:
            mine = self.first.step(example, drawn)
            replay = self.replay_first(drawn)
            theirs = self.second.step(example, replay, altered)
        else:
            theirs = self.second.step(example, drawn, altered)
            replay = self.replay(drawn)
            mine = self.first.step(example, replay)
        numbers = tuple(draw.values.tobytes() for draw in drawn)
        return Taken(mine, theirs, replay.replayed, frozenset(replay.keys), numbers)

    def calls(self, example: Example) -> tuple[list[Call], list[Call]]:
        """Returns the calls of submodules in a forward pass of each."""
        if self.dropout is None:
            return self.first.calls(example), self.second.calls(example)
        drawn: list[Draw] = []
        if self.dropout == REPLAY_FIRST:
            mine = self.first.calls(example, drawn)
            return mine, self.second.calls(example, self.replay_first(drawn))
        theirs = self.second.calls(example, drawn)
        return self.first.calls(example, self.replay(drawn)), theirs

    def evaluate(self, inputs: Any) -> tuple[Trace, Trace]:
        """Returns the outputs of each in evaluation mode, with the same draws if there are any;
        nothing if the first has none. A port that keeps no buffers of its own gets the
        original's."""
        buffers, drawn = self.second.now().buffers, list[Draw]()
        if self.dropout == REPLAY_FIRST:
            mine = self.first.evaluate(inputs, buffers, drawn)
            theirs = self.second.evaluate(inputs, draws=self.replay_first(drawn) if drawn else None)
        else:
            theirs = self.second.evaluate(inputs, draws=None if self.dropout is None else drawn)
            mine = self.first.evaluate(inputs, buffers, self.replay(drawn) if drawn else None)
        return mine, theirs if mine else {}

    def replay(self, drawn: list[Draw]) -> Replay:
        """Returns draws to be handed to the first program."""
        names = self.dropout if isinstance(self.dropout, Mapping) else None
        return Replay(drawn, names, drew=self.second.name, asks=self.first.name)

    def replay_first(self, drawn: list[Draw]) -> Replay:
        """Returns draws to be handed to the second program."""
        return Replay(drawn, drew=self.first.name, asks=self.second.name)


def check_dropout(dropout: Any) -> None:
    """Raises InvalidInput unless it is one of `Dropout`."""
    named = isinstance(dropout, Mapping) and all(isinstance(p, str) for p in dropout.values())
    if dropout is not None and dropout not in (REPLAY, REPLAY_FIRST) and not named:
        raise InvalidInput(
            'dropout: expected "replay", "replay-first" or {path in the original: path in the '
            f"port}}, got {dropout!r}"
        )
