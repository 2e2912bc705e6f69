"""Names of the columns of predictions, which columns of a table must not have."""

from collections.abc import Collection, Sequence

from shared.errors import InvalidInput


def check_free(named: Sequence[tuple[str, str]], taken: Collection[str]) -> None:
    """Refuses columns that predictions repeat, but that would have the name of another one there.

    Args:
        named: option and name of each column: ("--data.group", "shop").
        taken: names of the other columns of the predictions.

    Raises:
        InvalidInput: the message names the option and the column.
    """
    for option, name in named:
        if name in taken:
            raise InvalidInput(
                f"{option} {name}: expected another name, as predictions have a column {name!r} of "
                "their own; rename the column in the table"
            )
