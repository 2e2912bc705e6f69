"""What a port's optimizer does otherwise than torch's: a table of mistakes, each with its name."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import optax
import torch

from tests.support.optimizer_parts import (
    ADAGRAD,
    ADAM,
    ADAMW,
    DECAY,
    FLOAT64,
    MOMENTUM,
    RMS,
    RMSPROP,
    SGD,
    averaged,
    by_tensor,
    chain,
    coupled,
    epsilon_hat,
    flat_adam,
    groups,
    halving,
    linear,
    multi,
    norm,
    only_first,
    scaled,
    shifted,
    steps,
    torchs,
    value,
    warming,
)


class Planted(NamedTuple):
    cause: str
    theirs: Callable
    ours: Any
    """Of optax, or what makes it of the model's parameters."""
    options: Mapping[str, Any] = MappingProxyType({})
    """Of torch's side."""
    says: str = ""


PLANTED: dict[str, Planted] = {
    # learning rates
    "rate of sgd": Planted("learning-rate", torchs(SGD), optax.sgd(0.2), says="is 10 times"),
    "rate of adam": Planted("learning-rate", torchs(ADAM), optax.adam(0.002), says="is 0.1 times"),
    "rate of a mean": Planted(
        "learning-rate", torchs(SGD, **MOMENTUM), chain(optax.trace(0.9), optax.scale(-0.002)),
        says="(1 - momentum",
    ),
    "rate odd": Planted("learning-rate", torchs(RMS), optax.rmsprop(0.0213769, **RMSPROP)),
    "late": Planted("schedule-offset", torchs(SGD), optax.sgd(halving(1)),
                    {"scheduler": steps(0.5)}, "1 step late"),
    "late adam": Planted("schedule-offset", torchs(ADAM), optax.adam(halving(1)),
                         {"scheduler": steps(0.5)}, "1 step late"),
    "early": Planted("schedule-offset", torchs(ADAM), optax.adam(halving(-1)),
                     {"scheduler": steps(0.5)}, "1 step early"),
    "warm-up late": Planted(
        "schedule-offset", torchs(SGD), optax.sgd(lambda t: 0.02 * jnp.minimum(1.0, t / 4.0)),
        {"scheduler": warming}, "1 step late",
    ),
    "an epoch late": Planted("schedule-offset", torchs(SGD, **MOMENTUM),
                             optax.sgd(halving(3, 3), **MOMENTUM),
                             {"scheduler": steps(0.5, 3), "steps": 9}, "3 steps late"),
    "no schedule": Planted("schedule-constant", torchs(SGD), optax.sgd(0.02),
                           {"scheduler": steps(0.5)}),
    "no schedule adam": Planted("schedule-constant", torchs(ADAM), optax.adam(0.02),
                                {"scheduler": steps(0.5)}),
    "float32": Planted("schedule-float32", torchs(SGD), optax.sgd(
        optax.linear_schedule(0.02, 0.006, 7)), {"scheduler": linear}),
    "float32 adam": Planted("schedule-float32", torchs(ADAM), optax.adam(
        optax.linear_schedule(0.02, 0.006, 7)), {"scheduler": linear}),
    "rounded rate": Planted("schedule-float32", torchs(ADAM), optax.adam(
        float(np.float32(0.02))), says="rounded to float32"),
    "another schedule": Planted("schedule", torchs(SGD), optax.sgd(
        lambda t: jnp.asarray(0.02, FLOAT64) / (1 + t) ** 0.5), says="first at step 2: 0.0141421"),
    "groups": Planted("group-rates", lambda p: groups(p, {"lr": 0.1}, {}), optax.sgd(0.02)),
    "groups adam": Planted("group-rates", lambda p: groups(p, {"lr": 0.1}, {}, ADAM),
                           optax.adam(0.1)),
    # decay
    "coupled": Planted("decay-coupled", torchs(ADAMW, weight_decay=DECAY), coupled(
        optax.adam(0.02))),
    "coupled sgd": Planted("decay-decoupled", torchs(SGD, weight_decay=DECAY, **MOMENTUM),
                           chain(optax.trace(0.9), optax.add_decayed_weights(DECAY),
                                 optax.scale(-0.02))),
    "decoupled": Planted("decay-decoupled", torchs(ADAM, weight_decay=DECAY),
                         optax.adamw(0.02, weight_decay=DECAY)),
    "unscaled": Planted("decay-decoupled", torchs(ADAMW, weight_decay=DECAY), chain(
        optax.adam(0.02), optax.add_decayed_weights(-DECAY)), says="without the learning rate"),
    "no decay": Planted("decay-missing", torchs(ADAMW), optax.adam(0.02)),
    "no decay sgd": Planted("decay-missing", torchs(SGD, weight_decay=DECAY), optax.sgd(0.02)),
    "optax's decay": Planted("decay-value", torchs(ADAMW), optax.adamw(0.02), says="is 0.0001"),
    "another decay": Planted("decay-value", torchs(RMS, weight_decay=DECAY), coupled(
        optax.rmsprop(0.02, **RMSPROP), 0.0371), says="is 0.0371"),
    "decay added": Planted("decay-added", torchs(ADAM), optax.adamw(0.02), says="0.0001"),
    "decay added sgd": Planted("decay-added", torchs(SGD, **MOMENTUM), coupled(
        optax.sgd(0.02, **MOMENTUM), 0.0123), says="0.0123, added to the gradient"),
    "biases decayed": Planted(
        "decay-groups", lambda p: groups(p, {"weight_decay": DECAY}, {"weight_decay": 0}, ADAMW),
        optax.adamw(0.02, weight_decay=DECAY), says="also of what torch does not decay: b",
    ),
    "biases not decayed": Planted(
        "decay-groups", torchs(SGD, weight_decay=DECAY), lambda names: optax.chain(
            optax.add_decayed_weights(DECAY, dict(zip(names, (True, False, False), strict=False))),
            optax.sgd(0.02)), says="no weight decay of b",
    ),
    # epsilon
    "epsilon inside": Planted("epsilon-inside", torchs(ADAM), optax.adam(
        0.02, eps=0.0, eps_root=1e-8), says="under the root"),
    "epsilon twice": Planted("epsilon-inside", torchs(ADAM), optax.adam(0.02, eps_root=1e-8)),
    "epsilon inside rmsprop": Planted("epsilon-inside", torchs(RMS), optax.rmsprop(
        0.02, decay=0.99)),
    "epsilon hat": Planted("epsilon-hat", torchs(ADAM), epsilon_hat()),
    "epsilon hat large": Planted("epsilon-hat", torchs(ADAM, eps=1e-4), epsilon_hat(eps=1e-4)),
    "another epsilon": Planted("epsilon-value", torchs(ADAM), optax.adam(0.02, eps=1e-6),
                               says="epsilon is 1e-06, not 1e-08"),
    "another epsilon rmsprop": Planted("epsilon-value", torchs(RMS), optax.rmsprop(
        0.02, **{**RMSPROP, "eps": 3e-7}), says="is 3e-07"),
    "no epsilon": Planted("epsilon-value", torchs(ADAMW, weight_decay=0.0), optax.adam(
        0.02, eps=0.0), says="epsilon is 0"),
    # moments
    "no correction": Planted("bias-correction", torchs(ADAM), flat_adam(first=False, second=False),
                             says="no moment"),
    "half a correction": Planted("bias-correction", torchs(ADAMW, weight_decay=0.0),
                                 flat_adam(first=True, second=False), says="only the first"),
    "rmsprop corrected": Planted("bias-correction", torchs(RMS), optax.rmsprop(
        0.02, bias_correction=True, **RMSPROP)),
    "beta2": Planted("betas", torchs(ADAM), optax.adam(0.02, b2=0.99), says="beta2 is 0.99"),
    "beta1": Planted("betas", torchs(ADAMW, weight_decay=DECAY), optax.adamw(
        0.02, b1=0.85, weight_decay=DECAY), says="beta1 is 0.85, not 0.9"),
    "no beta1": Planted("betas", torchs(ADAM), optax.adam(0.02, b1=0.0), says="beta1 is 0"),
    "alpha": Planted("alpha", torchs(RMS), optax.rmsprop(0.02, **{**RMSPROP, "decay": 0.9}),
                     says="alpha is 0.9, not 0.99"),
    "alpha with momentum": Planted("alpha", torchs(RMS, **MOMENTUM), optax.rmsprop(
        0.02, momentum=0.9, **{**RMSPROP, "decay": 0.95}), says="alpha is 0.95"),
    "accumulator": Planted("initial-accumulator", torchs(ADAGRAD, eps=0.0), chain(
        optax.scale_by_rss(0.1, 0.0), optax.scale(-0.02)), says="is 0.1, not 0"),
    "no accumulator": Planted(
        "initial-accumulator", torchs(ADAGRAD, eps=0.0, initial_accumulator_value=0.3),
        chain(optax.scale_by_rss(0.0, 0.0), optax.scale(-0.02)), says="at 0, not at 0.3",
    ),
    "initial scale": Planted("initial-accumulator", torchs(RMS), optax.rmsprop(
        0.02, initial_scale=1.0, **RMSPROP), says="is 1, not 0"),
    "amsgrad": Planted("amsgrad", torchs(ADAM), optax.amsgrad(0.02)),
    "no amsgrad": Planted("amsgrad", torchs(ADAM, amsgrad=True), optax.adam(0.02)),
    "optax's amsgrad": Planted("amsgrad", torchs(ADAM, amsgrad=True), optax.amsgrad(0.02),
                               says="corrected second moment"),
    "centered": Planted("centered", torchs(RMS), optax.rmsprop(0.02, centered=True, **RMSPROP)),
    "not centered": Planted("centered", torchs(RMS, centered=True), optax.rmsprop(
        0.02, **RMSPROP)),
    "nadam": Planted("nadam", torchs(ADAM), optax.nadam(0.02)),
    "adam": Planted("adam", torchs(torch.optim.NAdam), optax.adam(0.02)),
    "optax's nadam": Planted("nadam-momentum", torchs(torch.optim.NAdam), optax.nadam(0.02)),
    # momentum and sign
    "no momentum": Planted("momentum-missing", torchs(SGD, **MOMENTUM), optax.sgd(0.02)),
    "no momentum rmsprop": Planted("momentum-missing", torchs(RMS, **MOMENTUM), optax.rmsprop(
        0.02, **RMSPROP)),
    "another momentum": Planted("momentum", torchs(SGD, **MOMENTUM), optax.sgd(
        0.02, momentum=0.8), says="momentum is 0.8, not 0.9"),
    "momentum added": Planted("momentum", torchs(RMS), optax.rmsprop(
        0.02, momentum=0.9, **RMSPROP), says="momentum is 0.9, not 0"),
    "nesterov": Planted("nesterov", torchs(SGD, **MOMENTUM), optax.sgd(
        0.02, nesterov=True, **MOMENTUM)),
    "no nesterov": Planted("nesterov", torchs(SGD, nesterov=True, **MOMENTUM), optax.sgd(
        0.02, **MOMENTUM)),
    "an average": Planted("learning-rate", torchs(SGD, **MOMENTUM), chain(
        optax.ema(0.9, debias=False), optax.scale(-0.02)), says="as if it were an average"),
    "dampening": Planted("dampening", torchs(SGD, **MOMENTUM), averaged()),
    "dampened at once": Planted("dampening", torchs(SGD, dampening=0.5, **MOMENTUM), chain(
        optax.scale(0.5), optax.trace(0.9), optax.scale(-0.02)), says="at the first step"),
    "no dampening": Planted("dampening", torchs(SGD, dampening=0.5, **MOMENTUM), optax.sgd(
        0.02, **MOMENTUM), says="dampening is 0, not 0.5"),
    "rate inside": Planted("rate-in-momentum", torchs(SGD, **MOMENTUM), chain(
        optax.scale_by_learning_rate(halving()), optax.trace(0.9)), {"scheduler": steps(0.5)}),
    "rate inside rmsprop": Planted("rate-in-momentum", torchs(RMS, **MOMENTUM), optax.rmsprop(
        halving(), momentum=0.9, **RMSPROP), {"scheduler": steps(0.5)}),
    "maximized": Planted("maximize", torchs(ADAM), optax.adam(-0.02)),
    "minimized": Planted("maximize", torchs(SGD, maximize=True, weight_decay=DECAY), coupled(
        optax.sgd(0.02))),
    # clipping
    "clipping without 1e-6": Planted("clip-epsilon", torchs(SGD), chain(
        optax.clip_by_global_norm(0.5), optax.sgd(0.02)), {"prepare": norm(0.5)}),
    "clipping without 1e-6, adam": Planted("clip-epsilon", torchs(ADAM), chain(
        optax.clip_by_global_norm(0.3), optax.adam(0.02)), {"prepare": norm(0.3)}),
    "no clipping": Planted("clipping-missing", torchs(SGD), optax.sgd(0.02),
                           {"prepare": norm(0.5)}),
    "no clipping, adam": Planted("clipping-missing", torchs(ADAM), optax.adam(0.02),
                                 {"prepare": value(0.2)}),
    "by value": Planted("clip-value", torchs(SGD, **MOMENTUM), chain(
        optax.clip(0.2), optax.sgd(0.02, **MOMENTUM)), {"prepare": norm(0.2)}),
    "by value, adam": Planted("clip-value", torchs(ADAM), chain(
        optax.clip(0.2), optax.adam(0.02)), {"prepare": norm(0.2)}),
    "by norm": Planted("clip-norm", torchs(ADAM), chain(
        optax.clip_by_global_norm(0.2), optax.adam(0.02)), {"prepare": value(0.2)}),
    "by tensor": Planted("clip-tensor", torchs(ADAM), chain(by_tensor(0.3), optax.adam(0.02)),
                         {"prepare": norm(0.3)}),
    "by tensor, sgd": Planted("clip-tensor", torchs(SGD), chain(by_tensor(0.3), optax.sgd(0.02)),
                              {"prepare": norm(0.3)}),
    "another limit": Planted("clip-limit", torchs(ADAM), chain(
        optax.clip_by_global_norm(0.75), optax.adam(0.02)), {"prepare": norm(0.3)}, "at 0.75"),
    "another limit, sgd": Planted("clip-limit", torchs(SGD, **MOMENTUM), lambda names: chain(
        scaled(3.0 if "weight" in names else 1.25), optax.sgd(0.02, **MOMENTUM)),
        {"prepare": norm(0.5)}, "not at 0.5"),
    "clipping added": Planted("clipping-added", torchs(ADAM), chain(
        optax.clip_by_global_norm(0.3), optax.adam(0.02)), says="0.3 by the norm of all"),
    "clipping added by value": Planted("clipping-added", torchs(SGD, **MOMENTUM), chain(
        optax.clip(0.25), optax.sgd(0.02, **MOMENTUM)), says="0.25 each element"),
    "clipping after": Planted("clip-place", torchs(SGD, **MOMENTUM), chain(
        optax.sgd(0.02, **MOMENTUM), optax.clip_by_global_norm(0.01)), {"prepare": norm(0.01)},
        "the update is clipped"),
    "clipping after adam": Planted("clip-place", torchs(ADAM), chain(
        optax.scale_by_adam(), scaled(0.5), optax.scale(-0.02)), {"prepare": norm(0.5)},
        "before the learning rate"),
    "clipping decays": Planted("clip-place", torchs(SGD, weight_decay=DECAY), chain(
        optax.add_decayed_weights(DECAY), scaled(0.5), optax.sgd(0.02)), {"prepare": norm(0.5)},
        "the gradient with weight decay"),
    # accumulation
    "sum": Planted("accumulation-sum", torchs(ADAM, eps=1e-3), multi(
        optax.adam(0.02, eps=1e-3), 3, False), {"accumulate": 3}),
    "sum, sgd": Planted("accumulation-sum", torchs(SGD), multi(optax.sgd(0.02), 2, False),
                        {"accumulate": 2}),
    "sum in float32": Planted("accumulation-sum", torchs(ADAM, eps=1e-3), multi(
        optax.adam(0.02, eps=1e-3), 3, False, jnp.float32), {"accumulate": 3}, "in float32"),
    "in float32": Planted("accumulation-float32", torchs(SGD), multi(
        optax.sgd(0.02), 2, kept=jnp.float32), {"accumulate": 2}),
    "in float32, adam": Planted("accumulation-float32", torchs(ADAM), multi(
        optax.adam(0.02), 3, kept=jnp.float32), {"accumulate": 3}),
    "shifted": Planted("accumulation-shifted", torchs(SGD), shifted(optax.sgd(0.02), 2),
                       {"accumulate": 2}),
    "shifted, adam": Planted("accumulation-shifted", torchs(ADAM), shifted(optax.adam(0.02), 3),
                             {"accumulate": 3}, "the first 2 the first one"),
    "each batch": Planted("accumulation-missing", torchs(SGD), optax.sgd(0.02), {"accumulate": 2}),
    "each batch, adam": Planted("accumulation-missing", torchs(ADAM), optax.adam(0.02),
                                {"accumulate": 3}),
    "accumulated": Planted("accumulation", torchs(ADAM), multi(optax.adam(0.02), 2),
                           says="2 batches make an update, by the mean"),
    "accumulated, sgd": Planted("accumulation", torchs(SGD), multi(optax.sgd(0.02), 3, False),
                                says="3 batches make an update, by the sum"),
    "clipped batches": Planted("clip-place", torchs(ADAM), chain(
        scaled(0.3), multi(optax.adam(0.02), 2)), {"prepare": norm(0.3), "accumulate": 2},
        "each batch's gradient"),
    # parameters
    "frozen": Planted("frozen-trained", lambda p: SGD(list(p.values())[:-1], 0.02, momentum=0.9),
                      optax.sgd(0.02, **MOMENTUM)),
    "frozen, adam": Planted("frozen-trained", lambda p: ADAM(list(p.values())[:-1], 0.02),
                            optax.adam(0.02)),
    "left alone": Planted("untrained", torchs(ADAM), only_first(
        optax.set_to_zero(), optax.adam(0.02))),
    "left alone, sgd": Planted("untrained", torchs(SGD), only_first(
        optax.sgd(0.02), optax.set_to_zero())),
    # two things at once
    "optax's rmsprop": Planted("epsilon-inside + alpha", torchs(RMS), optax.rmsprop(0.02)),
    "optax's adagrad": Planted("epsilon-inside + initial-accumulator", torchs(ADAGRAD, eps=1e-7),
                               optax.adagrad(0.02)),
}  # fmt: skip
