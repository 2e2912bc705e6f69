"""How often checkpoints are written between evaluations: after steps, or after a time."""

import math
import re
from dataclasses import dataclass

from shared.errors import InvalidInput

UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True)
class Every:
    """Interval of checkpoints between evaluations: in steps, or in seconds."""

    steps: int | None = None
    seconds: float = math.inf

    @staticmethod
    def of(text: str) -> "Every":
        """Reads an interval such as "200", "30s", "5m" or "1h".

        Raises:
            InvalidInput: it is none of these.
        """
        match = re.fullmatch(r"(\d{1,9})([smh]?)", text, re.ASCII)
        if match is None or int(match[1]) == 0:
            raise InvalidInput(
                "--checkpoint-every: expected a number of steps such as 200, or a time such as "
                f"30s, 5m or 1h, got {text!r}"
            )
        number, unit = int(match[1]), match[2]
        return Every(seconds=number * UNITS[unit]) if unit else Every(steps=number)
