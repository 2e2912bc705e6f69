"""Both frameworks in one process: torch first, because importing jax before it has crashed."""

import torch  # noqa: I001
import pkgutil
from collections.abc import Iterator

import jax
import jaxtyping
import pytest

# Without it JAX silently computes float64 in float32; float32 runs must stay float32 beside it.
jax.config.update("jax_enable_x64", True)
# Tiny tensors: a second thread only waits for the first.
torch.set_num_threads(1)

# Every annotation, shapes included, is checked at each call. Not those of modules whose
# annotations name Batch: beartype does not know generic named tuples.
for package in ("rnn_jax", "rnn_torch"):
    modules = [
        module.name
        for module in pkgutil.iter_modules([package])
        if module.name not in ("backend", "traps")
    ]
    jaxtyping.install_import_hook([f"{package}.{name}" for name in modules], "beartype.beartype")


@pytest.fixture
def unchecked() -> Iterator[None]:
    """Annotations are not checked, as for a user: wrong input reaches the checks of the layers."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
