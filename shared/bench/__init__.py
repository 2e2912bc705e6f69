"""The benchmark: what `scripts/bench.py` measures and how it reports it."""
