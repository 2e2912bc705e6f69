"""Which rows of a batch each process has: equal parts, in order.

The last parts may have rows past the end of the batch. These repeat its last row and count nothing.
"""

import numpy as np

from shared.system.team import Team


def part_of_rows(rows: int, part: int, parts: int) -> np.ndarray:
    """Returns the numbers of the rows of one part of a batch; in the last parts they may lie past
    its end."""
    size = -(-rows // parts)
    return part * size + np.arange(size)


def own_rows(rows: int, team: Team) -> np.ndarray:
    """Returns the numbers of the rows of a batch that this process has; those past its end are the
    last one."""
    return np.minimum(part_of_rows(rows, team.rank, team.count), rows - 1)
