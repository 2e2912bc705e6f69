"""What both frameworks share: configuration, tasks, weights, batches and the training protocol.

Nothing in this package imports JAX or PyTorch, nor one of the two backends, so that each backend
runs where the other framework is not installed. `tests/scripts/test_imports.py` holds it to that.
"""
