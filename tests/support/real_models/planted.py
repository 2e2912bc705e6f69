"""Mistakes of porters, planted in six ports one at a time, and what each should be called."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array

from docs.examples import policy_flax as policy
from docs.examples import speech_flax as speech
from rnn_jax import optim
from shared.parity import Findings
from tests.support import real_models as models
from tests.support.real_models import attention_decoder_flax as attention
from tests.support.real_models import planted_ports as ports
from tests.support.real_models import text_line_flax as line

# Losses -------------------------------------------------------------------------------------------


def without_weights(scores: Array, classes: Array) -> Array:
    return optax.softmax_cross_entropy_with_integer_labels(scores, classes).mean()


def by_letters(outputs: tuple[Array, Array], targets: tuple[Array, Array]) -> Array:
    """The plain mean over sequences, as most write it who know `optax.ctc_loss`."""
    return speech.losses(outputs, targets).mean()


def total(scores: Array, letters: Array) -> Array:
    return line.losses(scores, letters).sum()


def with_padding(outputs: tuple[Array, Array], target: Array) -> Array:
    return attention.losses(outputs, target).mean()


# Optimizers ---------------------------------------------------------------------------------------


def language_model(clip: optax.GradientTransformation, **options: Any) -> Any:
    own = optim.sgd(optim.step_lr(0.5, 4, 0.5), momentum=0.9, weight_decay=1e-3, **options)
    return optax.chain(clip, own)


def of_classifier(**options: Any) -> optax.GradientTransformation:
    rate = optim.per_epoch(optim.exponential_lr(0.01, 0.8), 2)
    return optim.adam(rate, weight_decay=1e-3, **options)


def coupled_decay() -> optax.GradientTransformation:
    adam = optim.adam(optim.one_cycle_lr(0.01, total_steps=20, cycle_momentum=False))
    return optax.chain(optim.clip_grad_norm(0.5), optax.add_decayed_weights(0.05), adam)


def epsilon_inside() -> optax.GradientTransformation:
    return optax.chain(
        optim.clip_grad_value(0.05),
        optax.add_decayed_weights(1e-3),
        optax.scale_by_rms(decay=0.95, eps=1e-8),
        optax.trace(0.9),
        optax.scale_by_learning_rate(optim.multi_step_lr(2e-3, [4, 7], 0.3)),
    )


def translator(rate: Any, **options: Any) -> optax.MultiSteps:
    adam = optim.adam(rate, betas=(0.9, 0.98), eps=1e-9)
    return optax.MultiSteps(optax.chain(optim.clip_grad_norm(1.0), adam), 2, **options)


def rounded(step: Array) -> Array:
    """The warm-up, as it comes out of code that makes a schedule of float32."""
    return jnp.float32(0.02) * attention.warm_up(step).astype(jnp.float32)


def annealed(rate: float = 5e-3, late: int = 0, clip: Any = None) -> optax.GradientTransformation:
    rates = optim.lambda_lr(rate, lambda update: 1 - (update + late) / policy.UPDATES)
    return optax.chain(clip or optim.clip_grad_norm(0.5), optim.adam(rates, eps=1e-5))


def each_clipped(updates: Any, params: Any = None) -> Any:
    """Clips each tensor by its own norm."""

    def clipped(gradient: Array) -> Array:
        return gradient * jnp.minimum(1, 0.5 / (jnp.linalg.norm(gradient) + 1e-6))

    return jax.tree.map(clipped, updates)


def uncorrected() -> optax.GradientTransformation:
    """Adam without its bias corrections."""
    rates = optim.lambda_lr(5e-3, lambda update: 1 - update / policy.UPDATES)

    def init(params: Any) -> Any:
        zeros = jax.tree.map(jnp.zeros_like, params)
        return zeros, zeros, jnp.zeros([], jnp.int32)

    def update(updates: Any, state: Any, params: Any = None) -> Any:
        mean, square, count = state
        mean = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, mean, updates)
        square = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, square, updates)
        rate = rates(count)
        updates = jax.tree.map(lambda m, v: -rate * m / (jnp.sqrt(v) + 1e-5), mean, square)
        return updates, (mean, square, count + 1)

    return optax.chain(optim.clip_grad_norm(0.5), optax.GradientTransformation(init, update))


# All of them --------------------------------------------------------------------------------------

PHASES = {
    "forward": ("layers", "logits", "loss"),
    "loss": ("loss",),
    "gradients": ("gradients",),
    "buffers": ("buffers",),
    "optimizer": ("clipped", "moments", "weights"),
}


class Bug(NamedTuple):
    """A mistake in a port."""

    compare: Callable[..., Findings]
    where: str
    """In which phases it shows first: a key of PHASES."""
    cause: str | tuple[str, ...]
    """With what the name of the cause begins; several where two say the same."""
    changed: Any
    """The port, its loss, or a function that makes its optimizer: whichever has the mistake."""
    unnamed: str = ""
    """Why its cause is not named, if that is so."""

    def pair(self, **options: Any) -> Findings:
        if self.where == "optimizer":
            return self.compare(optimizer=self.changed(), **options)
        part = "loss" if self.where == "loss" else "ours"
        return self.compare(**{part: self.changed}, **options)


_language, _classifier = models.compare_language_model, models.compare_classifier
_speech, _line = models.compare_speech, models.compare_text_line
_attention, _policy = models.compare_attention, models.compare_policy

BUGS = {
    "gates in another order where weights are dropped": Bug(
        _language, "forward", "gates:ifog:", ports.GatesInUpperLayer
    ),
    "1 added to the forget gate": Bug(_language, "forward", "forget-bias", ports.ForgetBiases),
    "W_hh transposed where weights are dropped": Bug(
        _language, "forward", "transposed:rnns.0", ports.TransposedInLowerLayer
    ),
    "(c, h) for (h, c)": Bug(_language, "forward", "states", ports.SwappedStates),
    "tied weights trained apart": Bug(_language, "gradients", "untied", ports.Untied),
    "clipping without 1e-6": Bug(
        _language, "optimizer", "clip-epsilon",
        lambda: language_model(optax.clip_by_global_norm(0.25)),
    ),
    "Nesterov's momentum": Bug(
        _language, "optimizer", "nesterov",
        lambda: language_model(optim.clip_grad_norm(0.25), nesterov=True),
    ),
    "lengths ignored": Bug(_classifier, "forward", "lengths", ports.LengthsIgnored),
    "last output for last state": Bug(_classifier, "forward", "last-output", ports.LastOutput),
    "weights of classes ignored": Bug(_classifier, "loss", "weights", without_weights),
    "amsgrad": Bug(_classifier, "optimizer", "amsgrad", lambda: of_classifier(amsgrad=True)),
    "padding not zero": Bug(_speech, "forward", "padding", ports.PaddingNotZero),
    "GELU by tanh": Bug(_speech, "forward", "gelu", ports.RoughGelu),
    "CTC not divided by the number of letters": Bug(
        _speech, "loss", ("ctc-mean", "reduction:batchmean"), by_letters
    ),
    "momentum of batch norm": Bug(_speech, "buffers", "batch-norm-momentum", ports.OtherMomentum),
    "variance of batch norm": Bug(_speech, "buffers", "batch-norm-variance", ports.BiasedVariance),
    "weight decay coupled": Bug(_speech, "optimizer", "decay-coupled", coupled_decay),
    "gates in another order in the upper of two layers": Bug(
        _line, "forward", "gates:ifog:rnn.1", ports.GatesInUpperReader
    ),
    "W_hh of one direction transposed": Bug(
        _line, "forward", "transposed:rnn.0", ports.UntransposedToTheLeft
    ),
    "directions swapped": Bug(_line, "forward", "halves", ports.DirectionsSwapped),
    "batch and time swapped": Bug(_line, "forward", "batch-first", ports.BatchForTime),
    "epsilon of batch norm": Bug(_line, "forward", "batch-norm-epsilon", ports.OtherEpsilon),
    "sum for mean": Bug(_line, "loss", "reduction:sum", total),
    "epsilon inside the root": Bug(_line, "optimizer", "epsilon-inside", epsilon_inside),
    "reset gate before the product": Bug(_attention, "forward", "reset-gate", ports.ResetGate),
    "update gate swapped": Bug(_attention, "forward", "update-gate", ports.UpdateGate),
    "epsilon of layer norm": Bug(_attention, "forward", "layer-norm-epsilon", ports.FlaxEpsilon),
    "padding counted in the loss": Bug(_attention, "loss", "ignore-index", with_padding),
    "padding row trained": Bug(_attention, "gradients", "padding-row", ports.PaddingTrained),
    "accumulation by sum": Bug(
        _attention, "optimizer", "accumulation",
        lambda: translator(optim.lambda_lr(0.02, attention.warm_up), use_grad_mean=False),
    ),
    "schedule in float32": Bug(
        _attention, "optimizer", "schedule-float32", lambda: translator(rounded)
    ),
    "layers in another order": Bug(_policy, "forward", "layers", ports.LayersSwapped),
    "stop_gradient": Bug(_policy, "gradients", "stop-gradient", ports.CriticAlone),
    "another learning rate": Bug(
        _policy, "optimizer", "learning-rate", lambda: annealed(3e-4)
    ),
    "schedule one step late": Bug(
        _policy, "optimizer", "schedule-offset", lambda: annealed(late=1)
    ),
    "each tensor clipped": Bug(
        _policy, "optimizer", "clip-tensor",
        lambda: annealed(clip=optax.stateless(each_clipped)),
    ),
    "no bias correction": Bug(_policy, "optimizer", "bias-correction", uncorrected),
}  # fmt: skip
"""By what it is, each mistake."""
