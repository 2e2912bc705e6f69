"""rnn_torch.RNNCell, LSTMCell and GRUCell in place of torch.nn's: arguments, numbers, errors."""

import copy
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call, vmap

import rnn_torch
from tests.support.compare_arrays import check_all_close, check_close
from tests.support.torch_cases import randn

NAMES = ["RNNCell", "LSTMCell", "GRUCell"]
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "RNNCell": ("RNNCell", {}),
    "RNNCell relu": ("RNNCell", {"nonlinearity": "relu"}),
    "LSTMCell": ("LSTMCell", {}),
    "GRUCell": ("GRUCell", {}),
    "GRUCell without bias": ("GRUCell", {"bias": False}),
}


def pair(kind: str, **options: Any) -> tuple[Any, Any]:
    """Theirs and ours from the same seed."""
    name, arguments = KINDS[kind]
    made = []
    for package in (nn, rnn_torch):
        torch.manual_seed(3)
        options = {"dtype": torch.float64} | arguments | options
        made.append(getattr(package, name)(3, 4, **options))
    return made[0], made[1]


def state(name: str, *shape: int, dtype: torch.dtype = torch.float64) -> Any:
    h = torch.ones(shape, dtype=dtype) * 0.3
    return (h, 2 * h) if name.startswith("LSTM") else h


def numbers(result: Any) -> dict[str, np.ndarray]:
    return {str(i): part.detach().numpy() for i, part in enumerate(_tuple(result))}


def scalar(*parts: torch.Tensor) -> torch.Tensor:
    """A number that every part moves, differently."""
    return torch.stack([((i + 1) * part).sin().sum() for i, part in enumerate(parts)]).sum()


@pytest.mark.parametrize("name", NAMES)
def test_arguments_are_those_of_torch(name: str) -> None:
    for method in ("__init__", "forward"):
        theirs = inspect.signature(getattr(getattr(nn, name), method)).parameters.values()
        ours = inspect.signature(getattr(getattr(rnn_torch, name), method)).parameters.values()
        expected = [(p.name, p.kind, p.default) for p in theirs]
        if (name, method) == ("LSTMCell", "__init__"):
            expected.append(("proj_size", inspect.Parameter.KEYWORD_ONLY, 0))
        assert [(p.name, p.kind, p.default) for p in ours] == expected


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_gives_torchs_values_and_both_load_from_each_other(kind: str) -> None:
    theirs, ours = pair(kind)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for name, tensor in theirs.state_dict().items():
        assert torch.equal(ours.state_dict()[name], tensor), name
    assert repr(ours) == repr(theirs)
    for attribute in ("input_size", "hidden_size", "bias", "bias_ih", "bias_hh", "weight_hh"):
        assert type(getattr(ours, attribute)) is type(getattr(theirs, attribute)), attribute
    theirs.load_state_dict(ours.state_dict(), strict=True)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    assert torch.equal(pair(kind)[1].weight_hh, ours.weight_hh)


@pytest.mark.parametrize("shape", [(2,), ()], ids=["batch", "one"])
@pytest.mark.parametrize("kind", KINDS)
def test_outputs_and_gradients_are_those_of_torch(kind: str, shape: tuple[int, ...]) -> None:
    for hx in (None, state(kind, *shape, 4)):
        found = []
        for cell in pair(kind):
            x = (randn(2, 3) if shape else randn(2, 3)[1]).requires_grad_()
            before = None if hx is None else tuple(p.clone().requires_grad_() for p in _tuple(hx))
            given = before if hx is None or isinstance(hx, tuple) else before[0]  # pyright: ignore
            after = _tuple(cell(x, given))
            scalar(*after).backward()
            tensors: dict[str, Any] = {key: p.grad for key, p in cell.named_parameters()}
            tensors |= {"x": x.grad} | {f"before {i}": p.grad for i, p in enumerate(before or ())}
            tensors |= {f"after {i}": part for i, part in enumerate(after)}
            found.append({key: tensor.detach().numpy() for key, tensor in tensors.items()})
        theirs, ours = found
        # From zeros, a recurrent matrix has a gradient of zeros.
        check_all_close(ours, theirs, relative=1e-12, allow_zero=hx is None)


def _tuple(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


BAD: dict[str, Callable[[Any, str], Any]] = {
    "0-D input": lambda cell, name: cell(torch.tensor(1.0).double()),
    "3-D input": lambda cell, name: cell(randn(2, 2, 3)),
    "features": lambda cell, name: cell(randn(2, 5)),
    "features of one": lambda cell, name: cell(randn(5)),
    "dtype": lambda cell, name: cell(randn(2, 3).float()),
    "integers": lambda cell, name: cell(torch.ones(2, 3, dtype=torch.long)),
    "3-D state": lambda cell, name: cell(randn(2, 3), state(name, 1, 2, 4)),
    "state of another batch": lambda cell, name: cell(randn(2, 3), state(name, 3, 4)),
    "state of one for a batch of two": lambda cell, name: cell(randn(2, 3), state(name, 1, 4)),
    "state of another width": lambda cell, name: cell(randn(2, 3), state(name, 2, 5)),
    "a batch's state for one": lambda cell, name: cell(randn(3), state(name, 2, 4)),
    "one's state for a batch": lambda cell, name: cell(randn(2, 3), state(name, 4)),
    "state of another dtype": lambda cell, name: cell(
        randn(2, 3), state(name, 2, 4, dtype=torch.float32)
    ),
}


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("name", NAMES)
def test_bad_calls_raise_what_torch_raises(name: str, bad: str) -> None:
    theirs, ours = pair(name)
    with pytest.raises((ValueError, RuntimeError)) as expected:
        BAD[bad](theirs, name)
    with pytest.raises(expected.type, match=f"{name}: expected .* got"):
        BAD[bad](ours, name)


@pytest.mark.usefixtures("unchecked")
def test_a_state_of_another_number_and_wrong_kinds() -> None:
    lstm, gru, h = rnn_torch.LSTMCell(3, 4), rnn_torch.GRUCell(3, 4), torch.ones(2, 4)
    x: Any = torch.ones(2, 3)
    for several in ((h, h, h), (h,)):
        with pytest.raises(RuntimeError):
            nn.LSTMCell(3, 4)(x, several)  # pyright: ignore[reportArgumentType]
        with pytest.raises(
            RuntimeError, match=r"LSTMCell: expected a pair \(h, c\) .* got [13] tensors"
        ):
            lstm(x, several)  # pyright: ignore[reportArgumentType]
    wrong: list[tuple[Any, Any, str]] = [
        (lstm, h, r"LSTMCell: expected a pair \(h, c\) of tensors as state, got one tensor"),
        (lstm, (h, None), r"LSTMCell: expected a pair \(h, c\) of tensors as state, got tuple"),
        (gru, (h, h), "GRUCell: expected one tensor h as state, got tuple"),
        (gru, h.numpy(), "GRUCell: expected one tensor h as state, got numpy.ndarray"),
    ]
    for cell, hx, message in wrong:
        with pytest.raises(TypeError, match=message):
            cell(x, hx)
    for bad in (x.numpy(), [1.0, 2.0, 3.0], None):
        with pytest.raises(TypeError, match="GRUCell: expected input to be a tensor, got"):
            gru(bad)  # pyright: ignore[reportArgumentType]
    assert torch.equal(lstm(x, [h, h])[0], lstm(x, (h, h))[0])  # pyright: ignore


@pytest.mark.parametrize("name", NAMES)
def test_loading_is_all_or_nothing(name: str) -> None:
    _, ours = pair(name)
    before = {key: tensor.clone() for key, tensor in ours.state_dict().items()}
    bad = {key: 2 * tensor for key, tensor in before.items()} | {"bias_hh": torch.ones(3)}
    with pytest.raises(RuntimeError, match="size mismatch for bias_hh"):
        ours.load_state_dict(bad)
    with pytest.raises(RuntimeError, match="Missing key"):
        ours.load_state_dict({"weight_ih": 2 * before["weight_ih"]})
    assert all(torch.equal(ours.state_dict()[key], tensor) for key, tensor in before.items())


@pytest.mark.parametrize("name", NAMES)
def test_autocast_and_other_dtypes(name: str) -> None:
    theirs, ours = pair(name, dtype=torch.float32)
    x = randn(2, 3).float()
    with torch.autocast("cpu", torch.bfloat16):
        expected, actual = theirs(x), ours(x)
    for one, other in zip(_tuple(actual), _tuple(expected), strict=True):
        assert one.dtype == other.dtype
        check_close(
            one.detach().float().numpy(),
            other.detach().float().numpy(),
            relative=4 * torch.finfo(torch.bfloat16).eps,
            what="output",
        )
    half = ours.to(torch.bfloat16)(x.bfloat16())
    assert {part.dtype for part in _tuple(half)} == {torch.bfloat16}


@pytest.mark.parametrize("name", NAMES)
def test_cells_are_plain_modules(name: str) -> None:
    """Copies, functional calls, vmap over parameters, an empty batch, a device."""
    _, ours = pair(name)
    x, hx = randn(2, 3), state(name, 2, 4)
    expected = numbers(ours(x, hx))
    check_all_close(numbers(copy.deepcopy(ours)(x, hx)), expected, relative=1e-15)
    doubled = {key: 2 * p.detach() for key, p in ours.named_parameters()}
    stacked = {key: torch.stack([p, p / 2]) for key, p in doubled.items()}
    both = vmap(lambda weights: functional_call(ours, weights, (x, hx)))(stacked)
    check_all_close(numbers(tuple(p[1] for p in _tuple(both))), expected, relative=1e-12)
    assert _tuple(ours(x[:0]))[0].shape == (0, 4)
    meta = getattr(rnn_torch, name)(3, 4, device="meta", dtype=torch.float16)
    assert {(p.device.type, p.dtype) for p in meta.parameters()} == {("meta", torch.float16)}


PROJECTED: dict[str, tuple[str, dict[str, Any]]] = {
    "LSTMCell projected": ("LSTMCell", {"proj_size": 2})
}


@pytest.mark.parametrize("kind", KINDS | PROJECTED)
def test_a_loop_of_cells_is_the_layer(kind: str) -> None:
    """Of torch.nn and of this package: outputs, final states and all gradients."""
    name, arguments = (KINDS | PROJECTED)[kind]
    projected = arguments.get("proj_size", 4)
    cell = getattr(rnn_torch, name)(3, 4, **arguments, dtype=torch.float64)
    x = randn(5, 2, 3)
    before = [randn(2, projected), 2 * randn(2, 4)][: 2 if name == "LSTMCell" else 1]

    def results(step: Callable[[Any], tuple[Any, ...]], module: Any) -> dict[str, np.ndarray]:
        module.zero_grad()
        given = [part.clone().requires_grad_() for part in before]
        output, *final = step(given)
        scalar(output, *final).backward()
        found = {p: t.grad for p, t in module.named_parameters()}
        found = {key.removesuffix("_l0"): gradient for key, gradient in found.items()}
        found |= {f"before {i}": part.grad for i, part in enumerate(given)}
        found |= {f"after {i}": part for i, part in enumerate(final)} | {"output": output}
        return {key: tensor.detach().numpy() for key, tensor in found.items()}

    def loop(given: list[Any]) -> tuple[Any, ...]:
        carry, outputs = tuple(given), []
        for step in x:
            carry = _tuple(cell(step, carry if len(carry) == 2 else carry[0]))
            outputs.append(carry[0])
        return torch.stack(outputs), *carry

    expected = results(loop, cell)
    for package in (nn, rnn_torch):
        layer = getattr(package, name.removesuffix("Cell"))(3, 4, **arguments, dtype=torch.float64)
        layer.load_state_dict({f"{key}_l0": t for key, t in cell.state_dict().items()})

        def whole(given: list[Any], layer: Any = layer) -> tuple[Any, ...]:
            hx = [part[None] for part in given]
            output, final = layer(x, tuple(hx) if len(hx) == 2 else hx[0])
            return output, *(part[0] for part in _tuple(final))

        check_all_close(results(whole, layer), expected, relative=1e-12)
