"""The place where JAX's processes meet, as a program of its own that rank 0 starts.

    python -m rnn_jax.coordinator PORT PROCESSES

JAX would have rank 0 be that place, whose end then aborts all others in C++, with a stack trace
each. So they meet in a process that outlives rank 0 by some seconds, in which they end by
themselves. It prints a line when it is ready, and ends after its input.
"""

import sys
import time

from jax._src.lib import _jax  # pyright: ignore[reportPrivateImportUsage]

HEARTBEAT_S = 120
"""Seconds after which JAX aborts the others of a process that says nothing; later than
`shared/system/heartbeat.py` ends them, with a line. One that has only ended is noticed at once."""
SHUTDOWN_S = 60
LINGER_S = 5


def main() -> None:
    port, processes = sys.argv[1:]
    service = _jax.get_distributed_runtime_service(
        f"[::]:{port}", int(processes), heartbeat_timeout=HEARTBEAT_S, shutdown_timeout=SHUTDOWN_S
    )
    print("ready", flush=True)
    sys.stdin.read()
    time.sleep(LINGER_S)
    del service


if __name__ == "__main__":
    main()
