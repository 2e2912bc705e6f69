"""Ports with one mistake each: real ones, as porters make them."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

import rnn_jax
from docs.examples import language_model_flax as lm
from docs.examples import policy_flax as policy
from docs.examples import speech_flax as speech
from tests.support.real_models import attention_decoder_flax as attention
from tests.support.real_models import packed_classifier_flax as classifier
from tests.support.real_models import text_line_flax as line

# The language model -------------------------------------------------------------------------------


class OtherGates(lm.Layer):
    def gates(self, sums: Array) -> list[Array]:
        i, f, o, g = super().gates(sums)
        return [i, f, g, o]


class ForgetBias(lm.Layer):
    def gates(self, sums: Array) -> list[Array]:
        i, f, g, o = super().gates(sums)
        return [i, f + 1, g, o]


class Transposed(lm.Layer):
    def recurrent(self) -> Array:
        blocks = jnp.split(super().recurrent(), 4, axis=1)
        return jnp.concatenate([block.T for block in blocks], axis=1)


class StatesSwapped(lm.Layer):
    """Takes the state as Flax's own cells have it: (c, h)."""

    def __call__(self, x: Array, before: lm.State) -> tuple[Array, lm.State]:
        return super().__call__(x, (before[1], before[0]))


class GatesInUpperLayer(lm.LanguageModel):
    def __init__(self, **options: Any):
        super().__init__(**options)
        self.layers[1] = OtherGates(lm.HIDDEN, lm.SIZE, **options)


class ForgetBiases(lm.LanguageModel):
    def __init__(self, **options: Any):
        super().__init__(**options)
        self.layers[0] = ForgetBias(lm.SIZE, lm.HIDDEN, **options)
        self.layers[1] = ForgetBias(lm.HIDDEN, lm.SIZE, **options)


class TransposedInLowerLayer(lm.LanguageModel):
    def __init__(self, **options: Any):
        super().__init__(**options)
        self.layers[0] = Transposed(lm.SIZE, lm.HIDDEN, **options)


class SwappedStates(lm.LanguageModel):
    def __init__(self, **options: Any):
        super().__init__(**options)
        self.layers[0] = StatesSwapped(lm.SIZE, lm.HIDDEN, **options)
        self.layers[1] = StatesSwapped(lm.HIDDEN, lm.SIZE, **options)


class Untied(lm.LanguageModel):
    def scores(self, x: Array) -> Array:
        return x @ jax.lax.stop_gradient(self.words.embedding[...]).T + self.bias[...]


# The classifier -----------------------------------------------------------------------------------


class LengthsIgnored(classifier.Classifier):
    def encode(self, x: Array, lengths: Array) -> tuple[Array, Array]:
        outputs, (h, _) = self.encoder(x)
        return outputs, jnp.asarray(h[-2:])


class LastOutput(classifier.Classifier):
    def encode(self, x: Array, lengths: Array) -> tuple[Array, Array]:
        outputs, _ = super().encode(x, lengths)
        return outputs, jnp.stack(jnp.split(outputs[:, -1], 2, axis=-1))


# Speech -------------------------------------------------------------------------------------------


class OtherMomentum(speech.Recogniser):
    """PyTorch's momentum, where Flax means 1 minus that."""

    def __init__(self, **options: Any):
        super().__init__(**options)
        for _, part in nnx.iter_modules(self):
            if isinstance(part, nnx.BatchNorm):
                part.momentum = 0.1


class Biased(speech.BatchNorm):
    """The batch norm of Flax as it is."""

    def __call__(self, x: Array, *args: Any, **options: Any) -> Array:
        return nnx.BatchNorm.__call__(self, x, *args, **options)


class BiasedVariance(speech.Recogniser):
    def __init__(self, **options: Any):
        super().__init__(**options)
        self.front.norm1 = Biased(speech.CHANNELS, **options)
        self.front.norm2 = Biased(speech.CHANNELS, **options)
        self.between = Biased(speech.HIDDEN, **options)
        self.last = Biased(speech.HIDDEN, **options)


class RunsOn(rnn_jax.GRU):
    """Its outputs go on into the padding, as those of `nnx.RNN` do, which also turns sequences so
    that their padding comes last."""

    def __call__(self, x: Any, *args: Any, lengths: Any = None, **options: Any) -> Any:
        steps, size = x.shape[1], self.hidden_size
        turned = ((lengths[:, None] - 1 - jnp.arange(steps)) % steps)[..., None]
        ahead = super().__call__(x)[0][..., :size]
        back = super().__call__(jnp.take_along_axis(x, turned, 1)[:, ::-1])[0][:, ::-1, size:]
        return jnp.concatenate([ahead, jnp.take_along_axis(back, turned, 1)], axis=-1), None


class PaddingNotZero(speech.Recogniser):
    def __init__(self, **options: Any):
        super().__init__(**options)
        both = {"batch_first": True, "bidirectional": True, **options}
        self.lower = RunsOn(self.lower.input_size, speech.HIDDEN, **both)
        self.upper = RunsOn(speech.HIDDEN, speech.HIDDEN, **both)


class RoughFront(speech.Front):
    def gelu(self, x: Array) -> Array:
        return jax.nn.gelu(x)


class RoughGelu(speech.Recogniser):
    def __init__(self, **options: Any):
        super().__init__(**options)
        self.front = RoughFront(**options)


# Text lines ---------------------------------------------------------------------------------------


class OtherHalf(line.Both):
    def __call__(self, x: Array) -> Array:
        return self.out(jnp.concatenate([self.left(x[::-1])[::-1], self.right(x)], axis=-1))


class DirectionsSwapped(line.Reader):
    def __init__(self, **options: Any):
        super().__init__(**options)
        self.lower = OtherHalf(6 * line.HEIGHT // 4, line.HIDDEN, line.HIDDEN, **options)
        self.upper = OtherHalf(line.HIDDEN, line.HIDDEN, line.HIDDEN, **options)


class OtherOrder(line.Direction):
    def gates(self, sums: Array) -> list[Array]:
        i, f, o, g = super().gates(sums)
        return [i, f, g, o]


class Untransposed(line.Direction):
    """Each gate's weights as they are, which PyTorch has the other way round."""

    def recurrent(self, h: Array) -> Array:
        blocks = jnp.split(self.rec.kernel[...], 4, axis=1)
        return h @ jnp.concatenate([block.T for block in blocks], axis=1)


class GatesInUpperReader(line.Reader):
    def __init__(self, **options: Any):
        super().__init__(**options)
        self.upper.right = OtherOrder(line.HIDDEN, line.HIDDEN, **options)
        self.upper.left = OtherOrder(line.HIDDEN, line.HIDDEN, **options)


class UntransposedToTheLeft(line.Reader):
    def __init__(self, **options: Any):
        super().__init__(**options)
        self.lower.left = Untransposed(6 * line.HEIGHT // 4, line.HIDDEN, **options)


class BatchForTime(line.Reader):
    """Walks over the pictures, not over their columns."""

    def read(self, columns: Array) -> Array:
        return super().read(columns.swapaxes(0, 1)).swapaxes(0, 1)


class OtherEpsilon(line.Reader):
    """The epsilon of batch norm in Keras."""

    def __init__(self, **options: Any):
        super().__init__(epsilon=1e-3, **options)


# The translator -----------------------------------------------------------------------------------


class ResetBefore(attention.Cell):
    """The reset gate acts on h before the product, as in Cho et al. (2014) and Keras' older GRU."""

    def __call__(self, h: Array, x: Array) -> Array:
        xr, xz, xn = jnp.split(self.inp(x), 3, axis=-1)
        hr, hz, _ = jnp.split(self.rec(h), 3, axis=-1)
        r, z = jax.nn.sigmoid(xr + hr), jax.nn.sigmoid(xz + hz)
        n = jnp.tanh(xn + jnp.split(self.rec(r * h), 3, axis=-1)[2])
        return (1 - z) * n + z * h


class UpdateSwapped(attention.Cell):
    """z and 1 - z the other way round, as in Cho et al. (2014)."""

    def __call__(self, h: Array, x: Array) -> Array:
        xr, xz, xn = jnp.split(self.inp(x), 3, axis=-1)
        hr, hz, hn = jnp.split(self.rec(h), 3, axis=-1)
        z = jax.nn.sigmoid(xz + hz)
        return z * jnp.tanh(xn + jax.nn.sigmoid(xr + hr) * hn) + (1 - z) * h


class ResetGate(attention.Translator):
    def __init__(self, **options: Any):
        super().__init__(**options)
        self.cell = ResetBefore(attention.SIZE + 2 * attention.HIDDEN, **options)


class UpdateGate(attention.Translator):
    def __init__(self, **options: Any):
        super().__init__(**options)
        self.cell = UpdateSwapped(attention.SIZE + 2 * attention.HIDDEN, **options)


class PaddingTrained(attention.Translator):
    def __init__(self, **options: Any):
        super().__init__(**options)
        self.source = nnx.Embed(attention.SOURCE, attention.SIZE, **options)
        self.target = nnx.Embed(attention.TARGET, attention.SIZE, **options)


class FlaxEpsilon(attention.Translator):
    """The epsilon of layer norm in Flax."""

    def __init__(self, **options: Any):
        super().__init__(epsilon=1e-6, **options)


# The policy ---------------------------------------------------------------------------------------


class CriticAlone(policy.Agent):
    """The values train the critic, but not what it reads."""

    def heads(self, h: Array) -> tuple[Array, Array]:
        return self.policy(h), self.value(jax.lax.stop_gradient(h))[..., 0]


class LayersSwapped(policy.Agent):
    def features(self, observations: Array) -> Array:
        return jnp.tanh(self.lower(jnp.tanh(self.upper(observations))))
