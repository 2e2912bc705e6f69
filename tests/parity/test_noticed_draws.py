"""No draw of torch goes unnoticed: each is recorded or refused."""

import warnings
from collections.abc import Iterator
from typing import Any

import jax
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils._python_dispatch import _disable_current_modes

from rnn_torch import draws as in_torch
from rnn_torch import private as of_torch
from shared.errors import InvalidInput
from shared.protocol.draws import Replay

KEY = jax.random.key(3)
MODULE = nn.Identity()


def random_operations() -> Iterator[Any]:
    for name in sorted(torch._C._dispatch_get_all_op_names()):
        if name.startswith("aten::"):
            base, _, overload = name.removeprefix("aten::").partition(".")
            operation = getattr(getattr(torch.ops.aten, base), overload or "default")
            if torch.Tag.nondeterministic_seeded in operation.tags:
                yield operation


def simple_arguments(operation: Any) -> tuple[list[Any], dict[str, Any]]:
    """Returns tensors of probabilities and small numbers, as the types of an operation ask."""
    values = {
        "Tensor": lambda: torch.full((3, 4), 0.5), "number": lambda: 0.5, "float": lambda: 0.5,
        "int": lambda: 3, "SymInt": lambda: 3, "bool": lambda: True, "Optional[bool]": lambda: True,
        "List[int]": lambda: [3, 4], "List[SymInt]": lambda: [3, 4], "Optional[SymInt]": lambda: 9,
        "Optional[int]": lambda: 9, "Scalar": lambda: 0.5,
    }  # fmt: skip
    args, kwargs = [], {}
    for argument in operation._schema.arguments:
        kind = str(argument.type)
        value = values[kind]() if kind in values else None
        if argument.kwarg_only and value is not None and kind == "Tensor":
            kwargs[argument.name] = value
        elif not argument.kwarg_only:
            args.append(value if argument.name != "generator" else None)
    return args, kwargs


def test_no_random_operation_of_torch_escapes() -> None:
    called: dict[str, str] = {}
    for operation in random_operations():
        with warnings.catch_warnings(), in_torch.seeded(1), in_torch.recorded(MODULE) as draws:
            warnings.simplefilter("ignore")
            before = torch.get_rng_state()
            try:
                operation(*simple_arguments(operation)[0], **simple_arguments(operation)[1])
            except Exception:  # not on this device, or not with these arguments
                continue
            drew = not torch.equal(before, torch.get_rng_state())
        assert len(draws) == drew, f"{operation} {draws}"
        if drew:
            called[operation.name()] = draws[0].kind
    assert len(called) > 70
    kinds = {"bernoulli", "uniform", "normal", "integers", "permutation", "poisson", "geometric_"}
    assert kinds < set(called.values())


@pytest.mark.parametrize(
    "draw",
    [
        lambda: torch.bernoulli(torch.rand(3)),
        lambda: torch.empty(3).uniform_(-2, 5),
        lambda: torch.normal(torch.arange(3.0), torch.arange(1.0, 4.0)),
        lambda: torch.randn(2, 3, out=torch.empty(2, 3)),
        lambda: torch.randint(2, 7, (3,)),
        lambda: torch.empty(4, dtype=torch.int64).random_(3, 9),
        lambda: torch.randperm(5),
        lambda: torch.multinomial(torch.tensor([0.2, 0.3, 0.5]), 6, replacement=True),
        lambda: torch.empty(3).exponential_(2.0),
        lambda: torch.native_dropout(torch.arange(1.0, 5.0), 0.5, True)[0],
        lambda: torch.rand(3, generator=torch.Generator().manual_seed(1)),
    ],
)
def test_torch_gets_its_own_draws_back(draw: Any) -> None:
    with in_torch.seeded(1), in_torch.recorded(MODULE) as draws:
        expected = draw()
    with in_torch.seeded(2), in_torch.replayed(MODULE, Replay(draws, asks="torch")):
        assert torch.allclose(draw(), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "draw", [lambda: torch.nn.RReLU()(torch.randn(5)), lambda: torch.poisson(torch.ones(5))]
)
def test_torch_refuses_a_kind_that_is_not_handed_over(draw: Any) -> None:
    with in_torch.seeded(1), in_torch.recorded(MODULE) as draws:
        draw()
    with (
        pytest.raises(InvalidInput, match=r"is not replayed \(what is: bernoulli"),
        in_torch.replayed(MODULE, Replay(draws, asks="torch")),
    ):
        draw()


def test_what_torch_does_not_show_is_noticed() -> None:
    disabled = _disable_current_modes
    with in_torch.seeded(1), in_torch.recorded(MODULE) as draws:
        torch.rand(2)
        with disabled():
            torch.rand(2)
        torch.rand(2)
        with disabled():
            torch.rand(2)
    kinds = ["uniform", in_torch.UNSEEN, "uniform", in_torch.UNSEEN]
    assert [draw.kind for draw in draws] == kinds
    with (
        pytest.raises(InvalidInput, match="torch draws draws that torch does not show"),
        in_torch.replayed(MODULE, Replay(draws[:1] * 2, drew="jax", asks="torch")),
        disabled(),
    ):
        torch.rand(2)


def test_to_seed_the_generator_is_no_draw() -> None:
    with in_torch.seeded(1), in_torch.recorded(MODULE) as draws:
        torch.rand(2)
        with torch.random.fork_rng():
            torch.manual_seed(5)
            torch.rand(3)
        torch.rand(2)
    assert [draw.shape for draw in draws] == [(2,), (3,), (2,)]


def test_the_process_keeps_generators_hooks_and_settings() -> None:
    module = nn.Sequential(nn.Dropout(0.5), nn.Linear(3, 3))
    before, cudnn = torch.get_rng_state(), torch.backends.cudnn.enabled
    found = []
    for _ in range(2):
        with in_torch.seeded(4), in_torch.recorded(module) as draws:
            assert not torch.backends.cudnn.enabled
            found.append(module(torch.ones(2, 3)))
        assert [draw.module for draw in draws] == ["0"]
    assert torch.equal(*found)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.backends.cudnn.enabled == cudnn
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in module.modules())


def test_dropout_that_is_off_draws_nothing() -> None:
    with in_torch.seeded(1), in_torch.recorded(MODULE) as draws:
        x = torch.ones(1, 3, 4, requires_grad=True)
        F.dropout(x, 0.5, training=False)
        F.dropout(x, 0.0)
        F.rrelu(x, training=False)
        F.scaled_dot_product_attention(x, x, x)
        torch.native_dropout(x, 0.5, False)
        torch.rand(0)
        torch.randperm(1)
    assert not draws


@pytest.mark.slow
def test_compiled_functions_draw_in_view() -> None:
    compiled = torch.compile(lambda x: F.dropout(x, 0.5), backend="eager")
    with in_torch.seeded(1):
        compiled(torch.ones(3))
    with in_torch.seeded(1), in_torch.recorded(MODULE) as draws:
        compiled(torch.ones(3))
    assert [draw.kind for draw in draws] == ["bernoulli"]


def test_a_torch_that_shows_no_operations_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(of_torch, "DispatchMode", None)
    with (
        pytest.raises(InvalidInput, match="expected a release of torch that shows its operations"),
        in_torch.recorded(MODULE),
    ):
        pass


def test_draws_left_over_are_refused() -> None:
    with in_torch.seeded(1), in_torch.recorded(MODULE) as draws:
        torch.rand(3)
    with (
        pytest.raises(InvalidInput, match="jax drew 1 more than torch"),
        in_torch.replayed(MODULE, Replay(draws, drew="jax", asks="torch")),
    ):
        pass
