"""Options and files of a report that the tests of scripts/parity.py share."""

import subprocess
from collections.abc import Callable

from shared.protocol.trace import PHASES_OF_A_RUN

Call = Callable[..., subprocess.CompletedProcess]
BY_TENSOR = [f"tensors-{phase}.png" for phase in PHASES_OF_A_RUN]
REPORT = {"parity.html", "parity.md", "deviations.png", "losses.png", *BY_TENSOR}
SHORT = ["--task", "hello", "--steps", "5", "--runs", "0"]
