"""The recurrence with gradients by hand against the plain one: outputs, states, every gradient."""

import copy
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
import torch

import rnn_torch
from rnn_torch import bptt, chunks, recurrence
from rnn_torch.cells import CELLS, State, Weights
from shared.protocol.layer import GATES
from tests.support.compare_arrays import check_all_close, check_close

KINDS = {"tanh": "RNN_TANH", "relu": "RNN_RELU", "lstm": "LSTM", "projected": "LSTM", "gru": "GRU"}
LENGTHS = {
    "one length": [3] * 6,
    "one sequence": [1] * 5,
    "one step": [4],
    "several": [5, 5, 3, 3, 3, 1],
    "all differ": [4, 3, 2, 1],
}
INPUTS, HIDDEN, PROJECTED = 3, 4, 2

Tensors = tuple[torch.Tensor, State, Weights]


def make(kind: str, batch_sizes: list[int], bias: bool = True, grad: bool = True) -> Tensors:
    """x, state and weights, nowhere zero, each a leaf that requires its gradient."""
    generator = torch.Generator().manual_seed(10 + len(batch_sizes))

    def draw(*shape: int) -> torch.Tensor:
        values = torch.rand(shape, generator=generator, dtype=torch.float64)
        signs = torch.randint(0, 2, shape, generator=generator)
        return ((0.1 + values) * (2 * signs - 1)).requires_grad_(grad)

    mode = KINDS[kind]
    rows = {"R": 1, "L": GATES["lstm"], "G": GATES["gru"]}[mode[0]] * HIDDEN
    size = PROJECTED if kind == "projected" else HIDDEN
    weights = Weights(
        draw(rows, INPUTS),
        draw(rows, size),
        draw(rows) if bias else None,
        draw(rows) if bias else None,
        draw(size, HIDDEN) if kind == "projected" else None,
    )
    batch = batch_sizes[0]
    state = (draw(batch, size), draw(batch, HIDDEN)) if mode == "LSTM" else (draw(batch, size),)
    return draw(sum(batch_sizes), INPUTS), state, weights


def named(tensors: Tensors) -> dict[str, torch.Tensor]:
    x, state, weights = tensors
    found = {"x": x} | {f"state {i}": part for i, part in enumerate(state)}
    return found | {k: v for k, v in weights._asdict().items() if v is not None}


def plain(kind: str, batch_sizes: list[int], reverse: bool, tensors: Tensors) -> list[torch.Tensor]:
    x, state, weights = tensors
    cell = CELLS[KINDS[kind]]
    output, final = recurrence.recur(cell, x, batch_sizes, state, weights, reverse)
    return [output, *final]


def fast(kind: str, batch_sizes: list[int], reverse: bool, tensors: Tensors) -> list[torch.Tensor]:
    x, state, weights = tensors
    assert bptt.supports(KINDS[kind], x, state, weights)
    output, final = bptt.recur(KINDS[kind], x, batch_sizes, state, weights, reverse)
    return [output, *final]


def results(
    outputs: list[torch.Tensor], tensors: Tensors, used: Callable[[int], bool] = lambda i: True
) -> dict[str, Any]:
    """Outputs, and the gradients of Σ cotangent · output over the outputs in use."""
    found = {f"output {i}": output.detach().numpy() for i, output in enumerate(outputs)}
    generator = torch.Generator().manual_seed(7)
    pairs = [(o, torch.randn(o.shape, generator=generator, dtype=o.dtype)) for o in outputs]
    kept, cotangents = zip(*(p for i, p in enumerate(pairs) if used(i)), strict=True)
    inputs = {name: t for name, t in named(tensors).items() if t.requires_grad}
    gradients = torch.autograd.grad(kept, list(inputs.values()), cotangents)
    return found | {f"d {name}": g.numpy() for name, g in zip(inputs, gradients, strict=True)}


@pytest.mark.parametrize("chunk", [1, 30, 2**18])
@pytest.mark.parametrize("lengths", LENGTHS)
@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize("kind", KINDS)
def test_it_is_the_plain_recurrence(
    kind: str, bias: bool, reverse: bool, lengths: str, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also cut into chunks of one step, and of some."""
    monkeypatch.setattr(chunks, "MOST", chunk)
    tensors = make(kind, LENGTHS[lengths], bias)
    expected = plain(kind, LENGTHS[lengths], reverse, tensors)
    actual = fast(kind, LENGTHS[lengths], reverse, tensors)
    check_all_close(results(actual, tensors), results(expected, tensors), relative=1e-10)
    with torch.no_grad():
        alone = fast(kind, LENGTHS[lengths], reverse, tensors)
    without = {f"output {i}": output.numpy() for i, output in enumerate(alone)}
    wanted = {f"output {i}": output.detach().numpy() for i, output in enumerate(expected)}
    check_all_close(without, wanted, relative=1e-10)


@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
@pytest.mark.parametrize("kind", KINDS)
def test_unused_outputs_and_inputs_without_gradients(kind: str, reverse: bool) -> None:
    sizes = LENGTHS["several"]
    for only in ("x", "state 0", "weight_ih", "weight_hh", "bias_ih", "bias_hh"):
        tensors = make(kind, sizes, grad=False)
        named(tensors)[only].requires_grad_()
        for i in range(len(tensors[1]) + 1):
            expected = results(plain(kind, sizes, reverse, tensors), tensors, lambda k, i=i: k == i)
            actual = results(fast(kind, sizes, reverse, tensors), tensors, lambda k, i=i: k == i)
            check_all_close(actual, expected, relative=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_tensors_that_are_not_contiguous(kind: str) -> None:
    sizes = LENGTHS["several"]

    def spread(tensor: torch.Tensor) -> torch.Tensor:
        """Of the same values, transposed in memory, with gaps."""
        wide = torch.zeros(*tensor.shape[::-1], 2, dtype=tensor.dtype)[..., 0]
        wide = wide.permute(*reversed(range(tensor.dim())))
        return wide.copy_(tensor).requires_grad_()

    x, state, weights = make(kind, sizes, grad=False)
    others: list[Any] = [None if w is None else spread(w) for w in weights]
    tensors = spread(x), tuple(map(spread, state)), Weights(*others)
    assert not tensors[0].is_contiguous()
    expected = results(plain(kind, sizes, False, tensors), tensors)
    check_all_close(results(fast(kind, sizes, False, tensors), tensors), expected, relative=1e-10)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "relu"])  # which has a kink
@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
def test_gradients_are_those_of_finite_differences(kind: str, reverse: bool) -> None:
    tensors = make(kind, [3, 2, 2])

    def outputs(*flat: torch.Tensor) -> Any:
        parts = dict(zip(named(tensors), flat, strict=True))
        state = tuple(parts[f"state {i}"] for i in range(len(tensors[1])))
        weights = Weights(**{k: v for k, v in parts.items() if k in Weights._fields})
        return tuple(fast(kind, [3, 2, 2], reverse, (parts["x"], state, weights)))

    flat = tuple(named(tensors).values())
    assert torch.autograd.gradcheck(outputs, flat)
    assert torch.autograd.gradgradcheck(outputs, flat, fast_mode=True)


def test_arguments_that_depend_on_each_other_are_counted_once() -> None:
    """In a gradient that can be differentiated again, h_0 being computed from x."""
    x, _, weights = make("gru", [3, 3])

    def gradient(run: Callable[..., list[torch.Tensor]], again: bool) -> torch.Tensor:
        state = (torch.tanh(x[:3].repeat(1, 2)[:, :HIDDEN]),)
        total = run("gru", [3, 3], False, (x, state, weights))[0].square().sum()
        return torch.autograd.grad(total, x, create_graph=again)[0].detach()

    expected = gradient(plain, False)
    for again in (False, True):
        torch.testing.assert_close(gradient(fast, again), expected, rtol=1e-10, atol=1e-12)


def test_gradients_have_memory_of_their_own() -> None:
    """Clipping scales each in place."""
    tensors = make("tanh", [2, 2])
    inputs = list(named(tensors).values())
    output = fast("tanh", [2, 2], False, tensors)[0]
    for gradient in torch.autograd.grad(output.sum(), inputs, retain_graph=True):
        gradient.zero_()
    for gradient in torch.autograd.grad(output.sum(), inputs):  # a second time, from what was kept
        assert (gradient != 0).all()
        gradient.zero_()


def test_outputs_may_be_changed_in_place() -> None:
    tensors = make("lstm", [2, 2])
    output = fast("lstm", [2, 2], False, tensors)[0]
    expected = plain("lstm", [2, 2], False, tensors)[0]
    gradients = [torch.autograd.grad(o.relu_().sum(), tensors[0])[0] for o in (output, expected)]
    torch.testing.assert_close(*gradients, rtol=1e-10, atol=1e-12)


def test_several_gradients_at_once() -> None:
    """vmap over the backward pass, as torch.autograd.functional.jacobian(vectorize=True) does."""
    tensors = make("gru", [2, 2])
    outputs = [run("gru", [2, 2], False, tensors)[1] for run in (fast, plain)]
    cotangents = torch.eye(outputs[0].numel(), dtype=torch.float64).unflatten(1, outputs[0].shape)
    actual, expected = (
        torch.autograd.grad(output, tensors[0], cotangents, is_grads_batched=True)[0]
        for output in outputs
    )
    torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-12)


def test_a_backward_pass_within_autocast() -> None:
    x, state, weights = make("lstm", [2, 2], grad=False)
    layer = [t.float().requires_grad_() for t in (x, *state)]
    floats: list[Any] = [None if w is None else w.float() for w in weights]
    single = Weights(*floats)

    def gradients(context: Any) -> tuple[torch.Tensor, ...]:
        output, _ = bptt.recur("LSTM", layer[0], [2, 2], tuple(layer[1:]), single)
        with context:
            return torch.autograd.grad(output.sum(), layer)

    found = gradients(torch.autocast("cpu", torch.bfloat16))
    for mine, expected in zip(found, gradients(nullcontext()), strict=True):
        assert torch.equal(mine, expected)


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
@pytest.mark.parametrize("size", [1e-2, 1e-4, 1e-6])
def test_small_numbers_keep_their_digits(name: str, size: float) -> None:
    """float32 without biases, against float64; as σ(2a)·2 - 1, tanh would lose them."""
    layer = getattr(rnn_torch, name)(3, 8, bias=False)
    exact = copy.deepcopy(layer).double()
    x = size * torch.randn(20, 4, 3, generator=torch.Generator().manual_seed(0))
    found, expected = [], []
    for one, inputs, results in ((layer, x, found), (exact, x.double(), expected)):
        inputs.requires_grad_()
        output = one(inputs)[0]
        gradients = torch.autograd.grad((output / size).square().sum(), [inputs, *one.parameters()])
        results += [part.detach().double().numpy() for part in (output, *gradients)]
    for one, other in zip(found, expected, strict=True):
        check_close(one, other, relative=2e-6, what=name)
