"""How processes of one run agree: what they send each other, and errors of one that are those of
all."""

import errno
import re
from collections.abc import Callable

import pytest

from shared.errors import InvalidInput, LostProcess, TrainingDiverged
from shared.system.team import ALONE, Team
from tests.support.teams import in_threads, refused


def unused(own: bytes) -> list[bytes]:
    raise AssertionError("expected nothing to be sent")


def test_a_process_alone_sends_nothing() -> None:
    team = Team(exchange=unused)
    assert (team.several, team.first) == (False, True)
    assert (team.gather(7), team.of_first("a")) == ([7], "a")
    assert (team.any(True), team.any(False)) == (True, False)
    with team.agreed():
        pass
    assert ALONE.exchange(b"own") == [b"own"]


def test_an_error_of_a_process_alone_is_raised_as_it_is() -> None:
    error = ValueError("as it is")
    with pytest.raises(ValueError, match="as it is") as raised, Team(exchange=unused).agreed():
        raise error
    assert raised.value is error


@pytest.mark.parametrize("count", [2, 5])
def test_all_get_the_values_of_all_by_rank(count: int) -> None:
    def own(rank: int) -> tuple[int, str, None]:
        return rank, "x" * (rank * 3000), None

    found = in_threads(count, lambda team: team.gather(own(team.rank)))
    assert found == [[own(rank) for rank in range(count)]] * count


def test_all_get_the_value_of_the_first() -> None:
    class Local:
        """What another process could not even be sent."""

    def call(team: Team) -> list[int]:
        return team.of_first([1, 2] if team.first else Local())  # pyright: ignore

    assert in_threads(3, call) == [[1, 2]] * 3


@pytest.mark.parametrize("flags", [(False, False, False), (False, False, True), (True, True, True)])
def test_what_is_true_in_one_is_true_in_any(flags: tuple[bool, ...]) -> None:
    assert in_threads(3, lambda team: team.any(flags[team.rank])) == [any(flags)] * 3


def test_only_rank_0_is_the_first() -> None:
    assert in_threads(3, lambda team: team.first) == [True, False, False]


def test_nothing_is_raised_where_no_process_fails() -> None:
    def call(team: Team) -> str:
        with team.agreed():
            pass
        return "went on"

    assert in_threads(3, call) == ["went on"] * 3


def failing(errors: dict[int, Exception]) -> Callable[[Team], None]:
    """Returns what raises an error in some ranks, and nothing in the others."""

    def call(team: Team) -> None:
        with team.agreed():
            if team.rank in errors:
                raise errors[team.rank]

    return call


@pytest.mark.parametrize("kind", [InvalidInput, TrainingDiverged])
def test_what_stops_one_process_stops_all(kind: type[Exception]) -> None:
    own = kind("--data.path sales.csv: expected a file, got none")
    found = refused(3, failing({1: own}))
    assert found[1] is own
    for other in (found[0], found[2]):
        assert type(other) is kind
        assert str(other) == f"process 1 of 3: {own}"


def test_a_full_disk_of_one_process_is_an_error_of_the_system_in_all() -> None:
    own = OSError(errno.ENOSPC, "No space left on device", "runs/a/metrics.jsonl")
    found = refused(2, failing({0: own}))
    assert found[0] is own
    assert isinstance(found[1], OSError)
    assert (found[1].errno, found[1].filename) == (errno.ENOSPC, "runs/a/metrics.jsonl")
    assert found[1].strerror == "process 0 of 2: No space left on device"


def test_an_error_of_the_system_without_a_number_keeps_its_words() -> None:
    found = refused(2, failing({1: OSError("metrics.jsonl: damaged")}))
    assert isinstance(found[0], OSError)
    assert re.fullmatch("process 1 of 2: metrics.jsonl: damaged", str(found[0]))


def test_of_several_errors_that_of_the_lowest_rank_is_raised() -> None:
    errors: dict[int, Exception] = {1: InvalidInput("first"), 2: InvalidInput("second")}
    found = refused(3, failing(errors))
    assert [str(error) for error in found] == [
        "process 1 of 3: first", "first", "process 1 of 3: first",
    ]  # fmt: skip


def test_what_all_refuse_is_said_without_the_number_of_a_process() -> None:
    found = refused(3, failing({rank: InvalidInput("--epochs: above 0") for rank in range(3)}))
    assert {str(error) for error in found} == {"--epochs: above 0"}
    assert all(isinstance(error, InvalidInput) for error in found)


def test_an_error_of_the_program_ends_the_others_as_one_that_is_lost() -> None:
    own = KeyError("weights")
    found = refused(2, failing({0: own}))
    assert found[0] is own
    assert isinstance(found[1], LostProcess)
    assert str(found[1]) == "process 0 of 2: KeyError: 'weights'"


def test_a_process_that_has_lost_another_waits_for_nobody() -> None:
    team = Team(0, 2, exchange=unused)
    with pytest.raises(LostProcess, match="is gone"), team.agreed():
        raise LostProcess("process 1 of 2 is gone")
