"""Optimizers and clipping with PyTorch's formulas, every constant explicit.

The learning rate is not part of them: a step is `weights - rate · direction`, and `shared/schedule.py`
gives the rate. That is also where PyTorch applies it (optax would put it inside RMSprop's momentum).
"""

import jax
import jax.numpy as jnp
import optax

from shared.config import OptimizationConfig

Params = dict[str, jax.Array]

# torch's name of a moment → the field of optax's state that holds it
MOMENTS = {
    "adam": {"exp_avg": "mu", "exp_avg_sq": "nu"},
    "adamw": {"exp_avg": "mu", "exp_avg_sq": "nu"},
    "sgd": {"momentum_buffer": "trace"},
    "rmsprop": {"square_avg": "nu", "momentum_buffer": "trace"},
}


def make(o: OptimizationConfig) -> optax.GradientTransformation:
    """The direction of a step, without its learning rate.

    Adam (Kingma & Ba 2015), AdamW (Loshchilov & Hutter 2019), SGD with momentum as in torch.optim.SGD
    (dampening 0), RMSprop as in torch.optim.RMSprop (not centred, eps outside the root).
    """
    parts = []
    if o.weight_decay and o.optimizer != "adamw":
        parts.append(optax.add_decayed_weights(o.weight_decay))
    if o.optimizer in ("adam", "adamw"):
        assert o.betas is not None
        parts.append(optax.scale_by_adam(b1=o.betas[0], b2=o.betas[1], eps=o.eps, eps_root=0.0))
    if o.optimizer == "adamw":
        parts.append(optax.add_decayed_weights(o.weight_decay))
    if o.optimizer == "rmsprop":
        parts.append(
            optax.scale_by_rms(decay=o.alpha, eps=o.eps, initial_scale=0.0, eps_in_sqrt=False)
        )
    if o.momentum:
        parts.append(optax.trace(decay=o.momentum, nesterov=bool(o.nesterov)))
    return optax.chain(*parts)


def clip(gradients: Params, max_norm: float) -> Params:
    """Scales gradients down to a global norm as torch.nn.utils.clip_grad_norm_ does: by
    max_norm / (norm + 1e-6), at most 1 (optax's clip_by_global_norm has no 1e-6)."""
    scale = jnp.minimum(max_norm / (optax.global_norm(gradients) + 1e-6), 1.0)
    return jax.tree.map(lambda gradient: gradient * scale, gradients)


def moments(o: OptimizationConfig, state: optax.OptState) -> dict[str, Params]:
    """torch's name of each moment → its tensors by parameter; empty for plain SGD."""
    found = {name: optax.tree.get(state, field) for name, field in MOMENTS[o.optimizer].items()}
    return {name: tensors for name, tensors in found.items() if tensors is not None}


def with_moments(
    o: OptimizationConfig, state: optax.OptState, tensors: dict[str, Params], count: int
) -> optax.OptState:
    """The optimizer state with the given moments after `count` steps."""
    fields = {MOMENTS[o.optimizer][name]: values for name, values in tensors.items()}
    if o.optimizer in ("adam", "adamw"):
        fields["count"] = jnp.asarray(count, jnp.int32)
    return optax.tree.set(state, **fields)
