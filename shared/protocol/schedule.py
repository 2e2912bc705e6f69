"""The learning rate of every optimizer step, computed once here for both frameworks."""

import numpy as np

from shared.config.settings import OptimizationConfig


def learning_rates(
    optimization: OptimizationConfig, start: int, count: int, steps_per_epoch: int, total_steps: int
) -> np.ndarray:
    """Returns the learning rates of steps start … start + count - 1, shape (count,), float64.

    constant: η
    step:     η · γ^⌊epoch / step_size⌋                     (torch.optim.lr_scheduler.StepLR)
    decay:    η · γ^max(0, epoch + 1 - decay_after)          (Zaremba et al. 2014), epochs from 0
    cosine:   η_min + (η - η_min)(1 + cos(π t / T)) / 2     t steps of T
              (Loshchilov & Hutter 2017, without restarts; torch's CosineAnnealingLR taken per step)
    """
    steps = np.arange(start, start + count)
    rate = optimization.learning_rate
    if optimization.schedule == "step":
        assert optimization.step_size is not None
        assert optimization.gamma is not None
        return rate * optimization.gamma ** (steps // steps_per_epoch // optimization.step_size)
    if optimization.schedule == "decay":
        assert optimization.decay_after is not None
        assert optimization.gamma is not None
        late = np.maximum(0, steps // steps_per_epoch + 1 - optimization.decay_after)
        return rate * optimization.gamma**late
    if optimization.schedule == "cosine":
        low = optimization.min_learning_rate or 0.0
        return low + (rate - low) * (1 + np.cos(np.pi * steps / total_steps)) / 2
    return np.full(count, rate)
