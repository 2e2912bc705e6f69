"""The port of `policy_torch.py`, written as one writes Flax: one scan over time."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax import Array

import rnn_jax
from rnn_jax import optim

SIZE, HIDDEN, ACTIONS, UPDATES = 6, 6, 3, 10
State = tuple[Array, Array]


class Agent(nnx.Module):
    def __init__(self, **options: Any):
        self.lower = nnx.Linear(SIZE, HIDDEN, **options)
        self.upper = nnx.Linear(HIDDEN, HIDDEN, **options)
        self.cell = rnn_jax.LSTMCell(HIDDEN, HIDDEN, **options)
        self.policy = nnx.Linear(HIDDEN, ACTIONS, **options)
        self.value = nnx.Linear(HIDDEN, 1, **options)

    def features(self, observations: Array) -> Array:
        return jnp.tanh(self.upper(jnp.tanh(self.lower(observations))))

    def heads(self, h: Array) -> tuple[Array, Array]:
        return self.policy(h), self.value(h)[..., 0]

    def walk(self, x: Array, state: State, done: Array) -> tuple[Array, State]:
        def step(state: State, now: tuple[Array, Array]) -> tuple[State, Array]:
            x, done = now
            state = jax.tree.map(lambda part: jnp.where(done[:, None], 0, part), state)
            return self.cell(state, x)

        (h, c), outputs = jax.lax.scan(step, (state[0][0], state[1][0]), (x, done > 0))
        return outputs, (h[None], c[None])

    def __call__(self, observations: Array, state: State, done: Array) -> dict[str, Any]:
        outputs, after = self.walk(self.features(observations), state, done)
        logits, values = self.heads(outputs)
        return {"logits": logits, "values": values, "state": after}


def loss(outputs: dict[str, Any], targets: dict[str, Any], clip: float = 0.2) -> Array:
    shares, values = jax.nn.log_softmax(outputs["logits"]), outputs["values"]
    before = targets["old"]
    advantages = targets["advantages"]
    advantages = (advantages - advantages.mean()) / (advantages.std(ddof=1) + 1e-8)
    chosen = jnp.take_along_axis(shares, targets["actions"][..., None], -1)[..., 0]
    ratio = jnp.exp(chosen - before["log_prob"])
    surrogate = -jnp.minimum(advantages * ratio, advantages * jnp.clip(ratio, 1 - clip, 1 + clip))
    near = before["values"] + jnp.clip(values - before["values"], -clip, clip)
    errors = [jnp.square(guess - targets["returns"]) for guess in (values, near)]
    entropy = -(jnp.exp(shares) * shares).sum(-1)
    return surrogate.mean() + 0.25 * jnp.maximum(*errors).mean() - 0.01 * entropy.mean()


def optimizer() -> optax.GradientTransformation:
    rates = optim.lambda_lr(5e-3, lambda update: 1 - update / UPDATES)
    return optax.chain(optim.clip_grad_norm(0.5), optim.adam(rates, eps=1e-5))
