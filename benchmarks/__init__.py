"""The benchmark: what `scripts/bench.py` measures and how it reports it."""

from typing import Literal, get_args

Part = Literal["training", "forward", "scaling", "allocators", "hello", "start", "job", "seeds"]
PARTS: tuple[Part, ...] = get_args(Part)
QUICK: tuple[Part, ...] = ("training", "hello", "start")
