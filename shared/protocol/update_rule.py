"""An update rule: what an optimizer does with a gradient, as plain values.

The kinds and options are those of `torch.optim`. `rnn_torch/update_rules.py` reads them from a live
optimizer, and `shared/parity/updates.py` follows them in NumPy. Some fields have values that torch
does not know: a port may do these things by mistake.
"""

from dataclasses import dataclass
from typing import Literal

Kind = Literal[
    "sgd", "adam", "nadam", "radam", "adamax", "adadelta", "adagrad", "rmsprop", "unknown"
]  # fmt: skip
Decay = Literal["coupled", "decoupled", "unscaled"]
"""Coupled: added to the gradient. Decoupled: taken from the weights, times the learning rate
(Loshchilov & Hutter 2019). Unscaled: taken from the weights, without the learning rate."""
Epsilon = Literal["outside", "inside", "both", "hat", "inside-hat"]
"""Where epsilon stands, with v the second moment and c its bias correction:

    outside     √(v / c) + ε         torch, optax
    inside      √(v / c + ε)         optax.rmsprop, optax.adagrad; eps_root of optax.adam
    both        √(v / c + ε) + ε     optax.adam with eps_root equal to eps
    hat         (√v + ε) / √c        TensorFlow; ε-hat of Kingma & Ba 2015, end of section 2
    inside-hat  √((v + ε) / c)
"""
Correction = Literal["both", "first", "second", "none"]
"""Which moments are divided by their bias correction."""


@dataclass(frozen=True)
class UpdateRule:
    """What an optimizer does with the parameters of one of its groups.

    The learning rate is not part of it: it may be another one at each step.
    """

    kind: Kind
    source: str
    """Name of the optimizer's class."""
    names: tuple[str, ...] = ()
    """Parameters of the group."""
    decay: float = 0.0
    """Weight decay, also known as L2 penalty."""
    decay_form: Decay = "coupled"
    momentum: float = 0.0
    """Of sgd and rmsprop."""
    dampening: float = 0.0
    """Share of a gradient that the momentum buffer leaves out, from the second step on."""
    nesterov: bool = False
    beta1: float = 0.9
    beta2: float = 0.999
    alpha: float = 0.99
    """Of rmsprop; rho of adadelta."""
    eps: float = 1e-8
    amsgrad: bool = False
    centered: bool = False
    maximize: bool = False
    momentum_decay: float = 0.0
    """Of nadam; infinite for a momentum that is beta1 at every step, as in Dozat 2016 and optax."""
    rate_decay: float = 0.0
    """Of adagrad: lr_decay."""
    initial: float = 0.0
    """First value of the accumulator of adagrad. rmsprop begins with 0 in torch."""
    epsilon: Epsilon = "outside"
    correction: Correction = "both"
    corrected_maximum: bool = False
    """Whether amsgrad takes the maximum of corrected second moments, as optax does."""
    rate_in_momentum: bool = False
    """Whether the momentum buffer holds updates, times their learning rates, not gradients."""
    zero_buffer: bool = False
    """Whether the momentum buffer begins at zero, so that dampening counts at the first step."""
