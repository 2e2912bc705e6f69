"""Both frameworks in one process: torch first, because importing jax before it has crashed."""

import torch  # noqa: I001
import jax

# Without it JAX silently computes float64 in float32; float32 runs must stay float32 beside it.
jax.config.update("jax_enable_x64", True)
# Tiny tensors: a second thread only waits for the first.
torch.set_num_threads(1)
