"""Columns of numbers in which some text stands: without a word they would become categories."""

from shared.errors import InvalidInput
from shared.system import tables
from shared.system.tables import Table


def refuse_mostly_numbers(table: Table, name: str, option: str) -> None:
    """Refuses a column of text of whose different values more than half are numbers, also with a
    decimal comma.

    Args:
        option: reads the column as names all the same.

    Raises:
        InvalidInput: the first row that is no number.
    """
    different: list[str] = [text for text in table.column(name).unique().to_list() if text]
    if 2 * sum(map(_is_number, different)) > len(different):
        try:
            tables.numbers(table, name, missing=True)
        except InvalidInput as error:
            raise InvalidInput(f"{error}; {option} reads names") from error


def _is_number(text: str) -> bool:
    try:
        float(text.replace(",", "."))
    except ValueError:
        return False
    return True
