"""Lines of a module and its loss that never ran while it trained, and who else traces them."""

import sys
from collections.abc import Iterator
from functools import partial, wraps
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import rnn_torch
from rnn_torch.lines import code_of
from rnn_torch.observation import Observation, gaps, observed
from shared.protocol.gaps import summary

LINES = Path(__file__).read_text().splitlines()


def at(text: str) -> int:
    """Returns the number of the only line that ends so."""
    (found,) = (i for i, line in enumerate(LINES, 1) if line.endswith(text))
    return found


def said(seen: Observation) -> list[str]:
    return [gap.described for gap in gaps(seen)]


def steps(module: nn.Module, *calls: Any) -> Observation:
    """Observes a step for each call, of the arguments in a tuple."""
    seen = Observation()
    for args in calls:
        with observed(module, into=seen):
            module(*args)
    return seen


@pytest.fixture(autouse=True)
def untraced() -> Iterator[None]:
    """Takes away what else traces, such as a measurement of coverage, until the test is over."""
    before = sys.gettrace()
    sys.settrace(None)
    yield
    assert sys.gettrace() is None
    sys.settrace(before)


# fmt: off
class Branches(nn.Module):
    """Has what a line can be."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 2)

    def forward(self, x, deep=False, times=1):
        """Is no line."""
        assert x.dim() == 2, (
            "expected a batch"
        )
        if x.shape[1] != 2:
            text = "expected 2 features"
            raise ValueError(text)
        if deep:
            # a comment
            x = self.layer(x)  # not deep

            x = x + 1  # not deep either
        else:
            x = helper(x, times)
        try:
            y = x.view(
                -1,
                1,
            )
        except RuntimeError:
            y = x.reshape(-1, 1)  # not contiguous
        parts = [
            row
            for row in y
            if row is not None
        ]
        return torch.stack(
            parts
        )


def helper(x, times):
    for _ in range(times):
        x = x * 2  # no time

    def never(y):
        return y - 1  # never called

    return never(x) if times > 5 else (
        x
    )
# fmt: on


def test_lines_that_never_ran() -> None:
    x, file = torch.ones(3, 2), Path(__file__).name
    module = Branches()
    deep, late = at("# not deep"), at("# not deep either")
    caught, inner = at("# not contiguous"), at("# never called")
    seen = steps(module, (x,))
    assert said(seen) == [
        "layer was never called",
        f"{file}:{deep}-{late} never ran: `x = self.layer(x)  # not deep` …",
        f"{file}:{caught} never ran: `y = x.reshape(-1, 1)  # not contiguous`",
        f"{file}:{inner} never ran: `return y - 1  # never called`",
    ]
    assert [(gap.count, gap.name) for gap in gaps(seen)[1:3]] == [
        (2, f"{file}:{deep}-{late}"), (1, f"{file}:{caught}")
    ]  # fmt: skip
    assert summary(gaps(seen)[1:]).startswith(f"not exercised: {file}:{deep}-{late}, {file}:")
    assert f"{file}:{at('# no time')} never ran: `x = x * 2  # no time`" in said(
        steps(module, (x, False, 0))
    )
    calls = [(x, True), (x, False, 6), (x,)]
    assert said(steps(module, *calls)) == [
        f"{file}:{caught} never ran: `y = x.reshape(-1, 1)  # not contiguous`"
    ]
    assert said(steps(module, *calls, (torch.ones(2, 2).t(), False, 0))) == []


def reported(function: Any) -> Any:
    @wraps(function)
    def call(*args: Any) -> Any:
        return function(*args)

    return call


class Scored(nn.Module):
    @reported
    def forward(self, y):
        if y.sum() > 1e9:
            y = y * 0  # too large
        return y.sum()


def squared(y, weight=None):
    if weight is not None:
        y = y * weight  # unweighted
    return (y**2).sum()


@pytest.mark.parametrize(
    ("loss", "planted"),
    [
        (squared, "# unweighted"),
        (partial(squared, weight=None), "# unweighted"),
        (Scored(), "# too large"),
    ],
)
def test_lines_of_the_loss(loss: Any, planted: str) -> None:
    seen, module = Observation(), nn.Linear(2, 2)
    with observed(module, [loss], into=seen):
        loss(module(torch.ones(1, 2))).backward()
    (gap,) = gaps(seen)
    assert gap.name == f"{Path(__file__).name}:{at(planted)}"
    assert gap.where.endswith(planted)


def test_the_code_is_that_of_what_is_called_in_the_end() -> None:
    codes = [code_of(one) for one in (Scored.forward, partial(squared), squared, Scored().forward)]
    assert [code.co_name if code else "" for code in codes] == [
        "forward", "squared", "squared", "forward"
    ]  # fmt: skip
    assert code_of(max) is None


def nested(y):
    def inner(z):
        if z.sum() > 1e9:
            z = z * 0  # in the inner one
        return z

    return inner(y).sum()


def test_a_line_of_a_function_in_a_function_is_told_once() -> None:
    with observed(nn.Linear(1, 1), [nested]) as seen:
        nested(torch.ones(2))
    (gap,) = [gap for gap in gaps(seen) if gap.kind == "line-not-run"]
    assert gap.name == f"{Path(__file__).name}:{at('# in the inner one')}"


def test_what_is_not_the_users_has_no_lines() -> None:
    layers = nn.Sequential(rnn_torch.LSTM(2, 3), rnn_torch.RNN(2, 3))
    seen = Observation()
    losses = [nn.CrossEntropyLoss(), nn.functional.mse_loss, torch.sum, max, None]
    with observed(layers, losses, into=seen):
        assert sys.gettrace() is None
        layers[0](torch.ones(2, 3, 2))
    assert said(seen)[0] == "1 was never called"
    assert {gap.kind for gap in gaps(seen)} == {"never-called", "one-length"}


def test_functions_without_a_source_are_passed_over() -> None:
    space: dict[str, Any] = {"nn": nn}
    code = "class Made(nn.Module):\n    def forward(self, x):\n        return x if 1 else (\n 2)"
    exec(code, space)
    assert said(steps(space["Made"](), (torch.ones(1),))) == []


def test_all_is_as_before_also_after_an_error() -> None:
    module = Branches()
    hooks = [len(part._forward_hooks) for part in module.modules()]
    seen = Observation()
    with pytest.raises(ValueError, match="expected 2 features"), observed(module, into=seen):
        module(torch.ones(3, 3))
    assert sys.gettrace() is None
    assert [len(part._forward_hooks) for part in module.modules()] == hooks
    assert seen.steps == 1


def test_another_trace_function_stays() -> None:
    """That of a debugger, or of a tool that measures coverage: set before, or in the meantime."""
    events = []

    def theirs(frame: Any, event: str, arg: Any) -> Any:
        if frame.f_code.co_name == "helper":
            events.append(event)
        return theirs

    module, x = Branches(), torch.ones(3, 2)
    sys.settrace(theirs)
    try:
        seen = steps(module, (x,))
        assert sys.gettrace() is theirs
    finally:
        sys.settrace(None)
    assert "line" in events
    assert seen.lines.skipped
    assert said(seen) == ["layer was never called"]
    seen = steps(module, (x,))
    assert len(said(seen)) == 4
    sys.settrace(theirs)
    with observed(module, into=seen):  # lines of this step are not known
        module(x)
    sys.settrace(None)
    assert said(seen) == ["layer was never called"]
    seen = Observation()
    try:
        with observed(module, into=seen):
            assert sys.gettrace() is not None
            sys.settrace(theirs)
        assert sys.gettrace() is theirs
    finally:
        sys.settrace(None)


def test_two_observations_at_once_do_not_disturb_one_another() -> None:
    module, x = Branches(), torch.ones(3, 2)
    with observed(module) as outer:
        with observed(module) as inner:
            module(x)
        module(x)
    assert (outer.lines.skipped, inner.lines.skipped) == (False, True)
    assert len(said(outer)) == 4
