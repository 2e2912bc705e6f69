"""Two sides that train a small model on the same data: torch's optimizer, and what a port does."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import optax
import torch

from rnn_torch.update_rules import learning_rates, update_rules
from shared.parity.diagnosis import Finding
from shared.parity.optimizer_causes import optimizer_causes
from shared.protocol.trace import Trace
from shared.protocol.update_rule import UpdateRule

STEPS = 6
Weights = dict[str, np.ndarray]


class Model(NamedTuple):
    """A loss with gradients that differ in size, by a hand-written gradient for both sides."""

    start: Weights
    batches: list[Weights]
    """What the weights are drawn towards, at each step."""
    scale: Weights

    def gradients(self, weights: Mapping[str, np.ndarray], step: int, noise: float) -> Weights:
        rng = np.random.default_rng(step)
        found = {}
        for name, array in weights.items():
            pull = array - self.batches[step % len(self.batches)][name]
            exact = self.scale[name] * np.tanh(pull)
            found[name] = exact * (1 + noise * rng.standard_normal(array.shape))
        return found


def model(kind: str, steps: int = 24) -> Model:
    """ "layer": a weight and a bias, gradients near 1; "three": three tensors, a scalar among them,
    gradients from 1e-4 to 1."""
    shapes: dict[str, tuple[int, ...]] = {
        "layer": {"weight": (4, 3), "bias": (4,)},
        "three": {"a": (5, 2), "b.bias": (3,), "b.gain": ()},
    }[kind]
    rng = np.random.default_rng({"layer": 1, "three": 2}[kind])

    def drawn() -> Weights:
        return {name: rng.standard_normal(shape) + 0.1 for name, shape in shapes.items()}

    low = {"layer": -0.3, "three": -4.0}[kind]
    scale = {n: np.asarray(10 ** rng.uniform(low, 0.3, shape)) for n, shape in shapes.items()}
    scale[next(iter(shapes))].flat[0] = 1.5  # for clipping
    return Model(drawn(), [drawn() for _ in range(steps)], scale)


class Original(NamedTuple):
    traces: list[Trace]
    rules: list[UpdateRule]
    rates: list[dict[str, float]]
    accumulate: int


def original(
    data: Model,
    make: Callable[..., torch.optim.Optimizer],
    *,
    steps: int = STEPS,
    prepare: Callable[[list], Any] | None = None,
    scheduler: Callable[[Any], Any] | None = None,
    accumulate: int = 1,
    without: Sequence[tuple[int, str]] = (),
) -> Original:
    """Trains with torch. `make` gets the parameters by name.

    Args:
        without: (step from 0, parameter) where there is no gradient.
    """
    params = {n: torch.nn.Parameter(torch.tensor(a)) for n, a in data.start.items()}
    optimizer = make(params)
    rules = update_rules(optimizer, params)
    schedule = scheduler(optimizer) if scheduler else None
    traces, rates = [], []
    for step in range(steps):
        before = {n: p.detach().numpy().copy() for n, p in params.items()}
        gradients = data.gradients(before, step, 0.0)
        rates.append(learning_rates(optimizer, params))
        for name, param in params.items():
            if (step, name) in without:
                gradients[name] = np.zeros_like(gradients[name])
            else:
                part = torch.tensor(gradients[name]) / accumulate
                param.grad = part if param.grad is None else param.grad + part
        trace = {f"before/{n}": a for n, a in before.items()}
        trace |= {f"gradients/{n}": a for n, a in gradients.items()}
        if (step + 1) % accumulate == 0:
            if prepare is not None:
                prepare(list(params.values()))
            for name, param in params.items():
                if param.grad is not None:
                    trace[f"clipped/{name}"] = param.grad.numpy().copy()
            optimizer.step()
            for param in params.values():
                param.grad = None
            if schedule is not None:
                schedule.step()
        trace |= {f"weights/{n}": p.detach().numpy().copy() for n, p in params.items()}
        traces.append(trace)
    return Original(traces, rules, rates, accumulate)


def port(
    data: Model,
    optimizer: optax.GradientTransformation,
    *,
    steps: int = STEPS,
    noise: float = 0.0,
    hidden: float = 0.0,
    without: Sequence[tuple[int, str]] = (),
) -> list[Trace]:
    """Trains with optax.

    Args:
        noise: relative error of the gradients.
        hidden: of what the optimizer gets, and the trace does not show.
    """
    weights: Any = {n: jnp.asarray(a) for n, a in data.start.items()}
    state = optimizer.init(weights)
    traces = []
    for step in range(steps):
        before = {n: np.asarray(a) for n, a in weights.items()}
        gradients = data.gradients(before, step, noise)
        gradients |= {n: np.zeros_like(gradients[n]) for t, n in without if t == step}
        rng = np.random.default_rng(step + 100)
        taken: Any = {
            n: jnp.asarray(g * (1 + hidden * rng.standard_normal(g.shape)))
            for n, g in gradients.items()
        }
        updates, state = optimizer.update(taken, state, weights)
        weights = optax.apply_updates(weights, updates)
        trace = {f"before/{n}": a for n, a in before.items()}
        trace |= {f"gradients/{n}": g for n, g in gradients.items()}
        trace |= {f"weights/{n}": np.asarray(a) for n, a in weights.items()}
        traces.append(trace)
    return traces


def found(theirs: Original, mine: list[Trace], steps: int | None = None) -> list[Finding]:
    return optimizer_causes(
        mine[:steps], theirs.traces[:steps], theirs.rules, theirs.rates, theirs.accumulate
    )


def causes(theirs: Original, mine: list[Trace], steps: int | None = None) -> list[str]:
    return [finding.name for finding in found(theirs, mine, steps) if finding.vanishes]
