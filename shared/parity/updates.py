"""Update rules in plain NumPy, written from their papers, with the constants of `torch.optim`.

    memory: Memory = {}
    for count, (gradient, rate) in enumerate(steps, 1):
        weights = weights + update(rule, memory, count, rate, weights, gradient)

All arrays are of one shape, and float64. The tests prove each rule against torch.
"""

from collections.abc import Callable

import numpy as np

from shared.errors import InvalidInput
from shared.protocol.update_rule import UpdateRule

Memory = dict[str, np.ndarray]
"""What a rule remembers of the steps before, by torch's names; empty at the start."""


def update(
    rule: UpdateRule,
    memory: Memory,
    count: int,
    rate: float,
    weights: np.ndarray,
    gradient: np.ndarray,
) -> np.ndarray:
    """Returns what a step adds to the weights, and takes the gradient into the memory.

    Args:
        count: the number of this step, from 1.
        rate: its learning rate.

    Raises:
        InvalidInput: a rule of unknown kind.
    """
    return applied(rule, memory, count, rate, weights, decayed(rule, weights, gradient))


def decayed(rule: UpdateRule, weights: np.ndarray, gradient: np.ndarray) -> np.ndarray:
    """Returns the gradient with its sign as the rule takes it, and with coupled weight decay."""
    signed = -gradient if rule.maximize else gradient
    if rule.decay and rule.decay_form == "coupled":
        return signed + rule.decay * weights
    return signed


def applied(
    rule: UpdateRule,
    memory: Memory,
    count: int,
    rate: float,
    weights: np.ndarray,
    gradient: np.ndarray,
) -> np.ndarray:
    """Returns the update for a gradient that `decayed` has been through."""
    if rule.kind not in _DIRECTIONS:
        raise InvalidInput(f"rule: expected one of {', '.join(_DIRECTIONS)}, got {rule.kind}")
    direction = _DIRECTIONS[rule.kind](rule, memory, count, gradient)
    if rule.rate_in_momentum:
        change = -_with_momentum(rule, memory, rate * direction)
    else:
        change = -rate * _with_momentum(rule, memory, direction)
    if rule.decay and rule.decay_form == "decoupled":
        change = change - rate * rule.decay * weights
    if rule.decay and rule.decay_form == "unscaled":
        change = change - rule.decay * weights
    return change


def _with_momentum(rule: UpdateRule, memory: Memory, step: np.ndarray) -> np.ndarray:
    """Momentum as in Sutskever et al. 2013, with the learning rate outside of the buffer."""
    if not rule.momentum:
        return step
    buffer = memory.get("momentum_buffer")
    if buffer is None:
        buffer = (1 - rule.dampening) * step if rule.zero_buffer else step
    else:
        buffer = rule.momentum * buffer + (1 - rule.dampening) * step
    memory["momentum_buffer"] = buffer
    return step + rule.momentum * buffer if rule.nesterov else buffer


def _sgd(rule: UpdateRule, memory: Memory, count: int, g: np.ndarray) -> np.ndarray:
    return g


def _adam(rule: UpdateRule, memory: Memory, count: int, g: np.ndarray) -> np.ndarray:
    """Adam (Kingma & Ba 2015). With amsgrad: Reddi et al. 2018, the bias corrected as in torch."""
    m, v = _moments(rule, memory, g)
    c1, c2 = _corrections(rule, count)
    if rule.amsgrad and rule.corrected_maximum:
        v, c2 = _maximum(memory, v / c2), 1.0
    elif rule.amsgrad:
        v = _maximum(memory, v)
    return m / c1 / _root(rule, v, c2)


def _nadam(rule: UpdateRule, memory: Memory, count: int, g: np.ndarray) -> np.ndarray:
    """NAdam (Dozat 2016), with the momentum's warm-up 1 - 0.96^(t·ψ) / 2."""
    m, v = _moments(rule, memory, g)
    _, c2 = _corrections(rule, count)

    def momentum(t: int) -> float:
        return rule.beta1 * (1 - 0.5 * 0.96 ** (t * rule.momentum_decay))

    now, then = momentum(count), momentum(count + 1)
    product = memory.get("mu_product", np.array(1.0)) * now
    memory["mu_product"] = product
    first = (1 - now) / (1 - product) * g + then / (1 - product * then) * m
    return first / _root(rule, v, c2)


def _radam(rule: UpdateRule, memory: Memory, count: int, g: np.ndarray) -> np.ndarray:
    """RAdam (Liu et al. 2020)."""
    m, v = _moments(rule, memory, g)
    c1, c2 = _corrections(rule, count)
    most = 2 / (1 - rule.beta2) - 1
    power = rule.beta2**count
    length = most - 2 * count * power / (1 - power)
    if length <= 5:
        return m / c1
    wide, narrow = (length - 4) * (length - 2) * most, (most - 4) * (most - 2) * length
    return (wide / narrow) ** 0.5 * (m / c1) / _root(rule, v, c2)


def _adamax(rule: UpdateRule, memory: Memory, count: int, g: np.ndarray) -> np.ndarray:
    """Adamax (Kingma & Ba 2015, section 7.1), with epsilon beside the gradient as in torch."""
    m = _average(memory, "exp_avg", g, rule.beta1)
    largest = memory.get("exp_inf", np.zeros_like(g))
    memory["exp_inf"] = np.maximum(rule.beta2 * largest, np.abs(g) + rule.eps)
    return m / _corrections(rule, count)[0] / memory["exp_inf"]


def _adadelta(rule: UpdateRule, memory: Memory, count: int, g: np.ndarray) -> np.ndarray:
    """Adadelta (Zeiler 2012)."""
    v = _average(memory, "square_avg", g * g, rule.alpha)
    earlier = memory.get("acc_delta", np.zeros_like(g))
    step = np.sqrt(earlier + rule.eps) / _root(rule, v, 1.0) * g
    _average(memory, "acc_delta", step * step, rule.alpha)
    return step


def _adagrad(rule: UpdateRule, memory: Memory, count: int, g: np.ndarray) -> np.ndarray:
    """Adagrad (Duchi et al. 2011), with a learning rate that decays as 1 / (1 + (t - 1)·γ)."""
    total = memory.get("sum", np.full_like(g, rule.initial)) + g * g
    memory["sum"] = total
    return g / _root(rule, total, 1.0) / (1 + (count - 1) * rule.rate_decay)


def _rmsprop(rule: UpdateRule, memory: Memory, count: int, g: np.ndarray) -> np.ndarray:
    """RMSprop (Hinton 2012, lecture 6e). Centered: Graves 2013."""
    v = _average(memory, "square_avg", g * g, rule.alpha, rule.initial)
    c = 1 - rule.alpha**count if rule.correction in ("both", "second") else 1.0
    if rule.centered:
        mean = _average(memory, "grad_avg", g, rule.alpha)
        v = np.maximum(v - mean * mean / c, 0.0)
    return g / _root(rule, v, c)


def _moments(rule: UpdateRule, memory: Memory, g: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    m = _average(memory, "exp_avg", g, rule.beta1)
    return m, _average(memory, "exp_avg_sq", g * g, rule.beta2)


def _average(
    memory: Memory, name: str, value: np.ndarray, beta: float, initial: float = 0.0
) -> np.ndarray:
    """Moves an exponential average on by one value, and returns it."""
    before = memory.get(name)
    before = np.full_like(value, initial) if before is None else before
    memory[name] = beta * before + (1 - beta) * value
    return memory[name]


def _maximum(memory: Memory, v: np.ndarray) -> np.ndarray:
    memory["max_exp_avg_sq"] = np.maximum(memory.get("max_exp_avg_sq", np.zeros_like(v)), v)
    return memory["max_exp_avg_sq"]


def _corrections(rule: UpdateRule, count: int) -> tuple[float, float]:
    """Returns by what the two moments are divided (Kingma & Ba 2015, section 3)."""
    first = 1 - rule.beta1**count if rule.correction in ("both", "first") else 1.0
    second = 1 - rule.beta2**count if rule.correction in ("both", "second") else 1.0
    return first, second


def _root(rule: UpdateRule, v: np.ndarray, c: float) -> np.ndarray:
    """Returns the root of the second moment with epsilon, as `UpdateRule.epsilon` lists the forms.
    It is 1 where there is nothing to divide by: the gradient is zero there."""
    if rule.epsilon == "outside":
        root = np.sqrt(v / c) + rule.eps
    elif rule.epsilon == "inside":
        root = np.sqrt(v / c + rule.eps)
    elif rule.epsilon == "both":
        root = np.sqrt(v / c + rule.eps) + rule.eps
    elif rule.epsilon == "hat":
        root = (np.sqrt(v) + rule.eps) / np.sqrt(c)
    else:
        root = np.sqrt((v + rule.eps) / c)
    return root if rule.eps else np.where(root > 0, root, 1.0)


_DIRECTIONS: dict[str, Callable[[UpdateRule, Memory, int, np.ndarray], np.ndarray]] = {
    "sgd": _sgd,
    "adam": _adam,
    "nadam": _nadam,
    "radam": _radam,
    "adamax": _adamax,
    "adadelta": _adadelta,
    "adagrad": _adagrad,
    "rmsprop": _rmsprop,
}
