"""The mathematics once more, in plain NumPy, from the papers and torch's documentation.

It shares no code with what it checks: the gates are cut apart and written one by one, time is a
Python loop, and gradients are not derived by hand at all. Every function accepts complex numbers,
so `gradients` differentiates by the complex step (Squire & Trapp 1998): f'(x) = Im f(x + ih) / h
without any subtraction, exact to rounding for a tiny h.
"""

from collections.abc import Callable

import numpy as np

Tensors = dict[str, np.ndarray]
STEP = 1e-30


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def relu(x: np.ndarray) -> np.ndarray:
    return np.where(np.real(x) > 0, x, 0)


def elman(x, h, W_ih, W_hh, b_ih, b_hh, *, nonlinearity) -> np.ndarray:
    """h' = f(W_ih x + b_ih + W_hh h + b_hh)"""
    f = {"tanh": np.tanh, "relu": relu}[nonlinearity]
    return f(x @ W_ih.T + b_ih + h @ W_hh.T + b_hh)


def lstm(x, h, c, W_ih, W_hh, b_ih, b_hh) -> tuple[np.ndarray, np.ndarray]:
    """i = σ(W_ii x + b_ii + W_hi h + b_hi), f and o alike, g with tanh; c' = f c + i g,
    h' = o tanh(c'); the rows are those of i, f, g, o."""
    W_ii, W_if, W_ig, W_io = np.split(W_ih, 4)
    W_hi, W_hf, W_hg, W_ho = np.split(W_hh, 4)
    b_ii, b_if, b_ig, b_io = np.split(b_ih, 4)
    b_hi, b_hf, b_hg, b_ho = np.split(b_hh, 4)
    i = sigmoid(x @ W_ii.T + b_ii + h @ W_hi.T + b_hi)
    f = sigmoid(x @ W_if.T + b_if + h @ W_hf.T + b_hf)
    g = np.tanh(x @ W_ig.T + b_ig + h @ W_hg.T + b_hg)
    o = sigmoid(x @ W_io.T + b_io + h @ W_ho.T + b_ho)
    c = f * c + i * g
    return o * np.tanh(c), c


def gru(x, h, W_ih, W_hh, b_ih, b_hh) -> np.ndarray:
    """r = σ(W_ir x + b_ir + W_hr h + b_hr), z alike; n = tanh(W_in x + b_in + r (W_hn h + b_hn));
    h' = (1 - z) n + z h; the rows are those of r, z, n."""
    W_ir, W_iz, W_in = np.split(W_ih, 3)
    W_hr, W_hz, W_hn = np.split(W_hh, 3)
    b_ir, b_iz, b_in = np.split(b_ih, 3)
    b_hr, b_hz, b_hn = np.split(b_hh, 3)
    r = sigmoid(x @ W_ir.T + b_ir + h @ W_hr.T + b_hr)
    z = sigmoid(x @ W_iz.T + b_iz + h @ W_hz.T + b_hz)
    n = np.tanh(x @ W_in.T + b_in + r * (h @ W_hn.T + b_hn))
    return (1 - z) * n + z * h


def recurrent(
    cell: str,
    weights: Tensors,
    x: np.ndarray,
    state: tuple[np.ndarray, ...],
    *,
    nonlinearity: str = "tanh",
    num_layers: int = 1,
    bidirectional: bool = False,
    masks: np.ndarray | None = None,
) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    """What torch.nn.RNN, LSTM and GRU compute, batch first.

    Args:
        weights: weight_ih_l0, … by torch's names.
        x: (B, T, I).
        state: (h,) or (h, c), each (L·D, B, H).
        masks: (L-1, B, T, D·H) factors between two layers.

    Returns:
        Outputs (B, T, D·H) and the final state.
    """
    endings = ("", "_reverse") if bidirectional else ("",)
    steps = x.shape[1]
    finals = []
    for layer in range(num_layers):
        if layer > 0 and masks is not None:
            x = x * masks[layer - 1]
        sides = []
        for ending in endings:
            names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            tensors = [weights[f"{name}_l{layer}{ending}"] for name in names]
            now = tuple(part[len(finals)] for part in state)
            outputs: list[np.ndarray] = [np.empty(0)] * steps
            for t in reversed(range(steps)) if ending else range(steps):
                if cell == "rnn":
                    now = (elman(x[:, t], *now, *tensors, nonlinearity=nonlinearity),)
                elif cell == "lstm":
                    now = lstm(x[:, t], *now, *tensors)
                else:
                    now = (gru(x[:, t], *now, *tensors),)
                outputs[t] = now[0]
            sides.append(np.stack(outputs, axis=1))
            finals.append(now)
        x = np.concatenate(sides, axis=-1)
    return x, tuple(np.stack(parts) for parts in zip(*finals, strict=True))


def network(
    cell: str,
    weights: Tensors,
    x: np.ndarray,
    state: tuple[np.ndarray, ...],
    per_step: bool = True,
    **options,
) -> np.ndarray:
    """Logits (B, T, O) of recurrent layers ("rnn.…") under a linear head ("head.…"); without
    `per_step` (B, O) of what each direction ends with: the reverse one at the first step."""
    layers = {
        name.removeprefix("rnn."): array
        for name, array in weights.items()
        if name.startswith("rnn.")
    }
    outputs, _ = recurrent(cell, layers, x, state, **options)
    if not per_step:
        half = outputs.shape[-1] // 2 if options.get("bidirectional") else outputs.shape[-1]
        outputs = np.concatenate([outputs[:, -1, :half], outputs[:, 0, half:]], axis=-1)
    return outputs @ weights["head.weight"].T + weights["head.bias"]


def cross_entropy(logits: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Mean of -log softmax(logits)[target] over all targets, in nats."""
    shifted = logits - np.real(logits).max(-1, keepdims=True)
    logs = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    return -np.take_along_axis(logs, targets[..., None], -1).mean()


def gradients(function: Callable[[Tensors], np.ndarray], at: Tensors) -> Tensors:
    """Derivatives of a real function of tensors with respect to every element."""
    result = {}
    for name, array in at.items():
        result[name] = np.empty_like(array)
        for index in np.ndindex(array.shape):
            moved = array.astype(complex)
            moved[index] += 1j * STEP
            result[name][index] = np.imag(function(at | {name: moved})) / STEP
    return result


def clip(grads: Tensors, max_norm: float) -> Tensors:
    """torch.nn.utils.clip_grad_norm_: g · min(1, max_norm / (‖all g‖₂ + 1e-6))."""
    norm = np.sqrt(sum((g**2).sum() for g in grads.values()))
    factor = min(1.0, max_norm / (norm + 1e-6))
    return {name: factor * g for name, g in grads.items()}


def adam(w, g, m, t, rate, betas, eps, weight_decay, decoupled):
    """Kingma & Ba 2015, Algorithm 1; decoupled: Loshchilov & Hutter 2019, Algorithm 2."""
    b1, b2 = betas
    if decoupled:
        w = w - rate * weight_decay * w
    else:
        g = g + weight_decay * w
    m["exp_avg"] = b1 * m.get("exp_avg", 0) + (1 - b1) * g
    m["exp_avg_sq"] = b2 * m.get("exp_avg_sq", 0) + (1 - b2) * g**2
    mean = m["exp_avg"] / (1 - b1**t)
    square = m["exp_avg_sq"] / (1 - b2**t)
    return w - rate * mean / (np.sqrt(square) + eps)


def sgd(w, g, m, rate, momentum, nesterov, weight_decay):
    """torch.optim.SGD, dampening 0: b = μ b + g; w' = w - η b, nesterov: w' = w - η (g + μ b)."""
    g = g + weight_decay * w
    if not momentum:
        return w - rate * g
    m["momentum_buffer"] = momentum * m.get("momentum_buffer", 0) + g
    return w - rate * (g + momentum * m["momentum_buffer"] if nesterov else m["momentum_buffer"])


def rmsprop(w, g, m, rate, alpha, eps, momentum, weight_decay):
    """torch.optim.RMSprop: v = α v + (1 - α) g²; b = μ b + g / (√v + ε); w' = w - η b."""
    g = g + weight_decay * w
    m["square_avg"] = alpha * m.get("square_avg", 0) + (1 - alpha) * g**2
    step = g / (np.sqrt(m["square_avg"]) + eps)
    if not momentum:
        return w - rate * step
    m["momentum_buffer"] = momentum * m.get("momentum_buffer", 0) + step
    return w - rate * m["momentum_buffer"]


def update(
    optimizer: str, weights: Tensors, grads: Tensors, moments: dict[str, Tensors], t: int, **options
) -> Tensors:
    """Weights after optimizer step number t, counted from 1; changes `moments` in place.

    Args:
        moments: parameter → moment → array, empty before the first step.
        options: rate and every constant of the optimizer.
    """
    after = {}
    for name, w in weights.items():
        g, m = grads[name], moments.setdefault(name, {})
        if optimizer in ("adam", "adamw"):
            after[name] = adam(w, g, m, t, decoupled=optimizer == "adamw", **options)
        else:
            after[name] = {"sgd": sgd, "rmsprop": rmsprop}[optimizer](w, g, m, **options)
    return after
