"""One program of a pair: a model with its loss and optimizer, in either framework."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, Union

from shared.errors import InvalidInput
from shared.protocol.nests import parts as parts
from shared.protocol.trace import Trace
from shared.protocol.weights import Weights

if TYPE_CHECKING:
    from shared.protocol.draws import Draw, Replay
    from shared.protocol.gaps import Gap, Rows
    from shared.protocol.update_rule import UpdateRule


class Example(NamedTuple):
    """One batch, both as nests of arrays (see `shared/protocol/nests.py`)."""

    inputs: Any
    targets: Any


@dataclass(frozen=True)
class Start:
    """Values that both programs begin with, by their names in PyTorch."""

    weights: Weights
    buffers: Weights = field(default_factory=dict)
    tied: Mapping[str, str] = field(default_factory=dict)
    """Other names of a tensor → the first. Weights have it under every name."""


class Alteration(NamedTuple):
    """Something that a port may do in another way, and the original can be made to do."""

    name: str
    about: str
    phases: Collection[str]
    """Where its difference may show first: "forward", "loss", "gradients", "buffers",
    "evaluation"."""


class Call(NamedTuple):
    """One call of a submodule."""

    path: str
    number: int
    """1 for its first call in a step."""
    inputs: Mapping[str, Any]
    outputs: Mapping[str, Any]


@dataclass(frozen=True)
class Update:
    """What an optimizer does, as far as it is known. Rates are those of each step, by parameter."""

    rules: "Sequence[UpdateRule]" = ()
    rates: Sequence[Mapping[str, float]] = ()
    accumulate: int = 1


Draws = Union[list["Draw"], "Replay", None]
"""A list that is filled with what a step draws, or what it draws from; None leaves it alone."""


class Program(Protocol):
    """A model with its loss and optimizer, in either framework."""

    name: str

    def begin(self, start: Start) -> None:
        """Takes over values by their names in PyTorch, and starts afresh.

        The optimizer forgets what it knew, and other state is reset to that of the new program.
        """
        ...

    def load(self, start: Start) -> None:
        """Takes over values, but keeps the optimizer and other state as they are."""
        ...

    def now(self) -> Start:
        """Returns the values as they are."""
        ...

    def step(self, example: Example, draws: Draws = None, altered: str = "") -> Trace:
        """Takes an optimizer step and shows it; without an optimizer, up to the gradients.

        Layers come in the order in which they ran, if that is known.

        Args:
            draws: records what is drawn, or replays it.
            altered: the name of one of `alterations`, which is in force.
        """
        ...

    def evaluate(
        self,
        inputs: Any,
        buffers: Weights | None = None,
        draws: Draws = None,
        altered: str = "",
    ) -> Trace:
        """Returns the outputs in evaluation mode; empty where there is none.

        Args:
            buffers: by torch's names, for a program that keeps none by itself.
        """
        ...

    def calls(self, example: Example, draws: Draws = None) -> list[Call]:
        """Returns the calls of submodules in a forward pass, in their order; takes no step."""
        ...

    def kinds(self) -> Mapping[str, str]:
        """Returns the class of each submodule, by path; empty where it is not known."""
        ...

    def places(self) -> Mapping[str, Sequence[str]]:
        """Returns torch's name of each parameter → the paths of its arrays in this program."""
        ...

    def alterations(self) -> Sequence[Alteration]:
        """Returns what can be altered in a step; empty where nothing can."""
        ...

    def update(self) -> Update:
        """Returns what is known of the optimizer and its steps since `begin`."""
        ...

    def gaps(self) -> "list[Gap]":
        """Returns what the steps since `begin` did not exercise, as far as the program sees."""
        ...

    def rows(self) -> "Mapping[str, Rows]":
        """Returns which rows of which embeddings were read, by the names of their weights."""
        ...

    def hints(self, example: Example) -> list[str]:
        """Returns hints from a look at the program itself after its last step, such as arithmetic
        in float32."""
        ...


MOST_REASON = 1000
"""Characters of an error's text that are shown."""


@contextmanager
def calling(what: str, expected: str = "a result") -> Iterator[None]:
    """Wraps the user's own code: an error of any kind becomes one line and remains its cause."""
    try:
        yield
    except InvalidInput:
        raise
    except Exception as error:
        reason = " ".join(line.strip() for line in str(error).splitlines() if line.strip())
        cut = f"{reason[:MOST_REASON]} …" if len(reason) > MOST_REASON else reason
        message = f"{what}: expected {expected}, got {type(error).__name__}: {cut}"
        raise InvalidInput(message) from error
