"""Choice of the recurrence that a layer runs: by hand where it can be, otherwise the plain one."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import rnn_torch
from rnn_torch import bptt, recurrence
from rnn_torch.backend import Backend
from shared.config import Config, resolve
from shared.protocol.backend import first_snapshot
from shared.tasks import load_task
from shared.tasks.batches import training_batches


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the recurrences that layers called, in order."""
    calls: list[str] = []
    for module in (bptt, recurrence):

        def recorded(*args: Any, module: Any = module, recur: Any = module.recur, **kw: Any) -> Any:
            calls.append(module.__name__)
            return recur(*args, **kw)

        monkeypatch.setattr(module, "recur", recorded)
    return calls


def layer(**options: Any) -> rnn_torch.LSTM:
    return rnn_torch.LSTM(3, 4, **options)


X = torch.ones(5, 2, 3)


def dual_number() -> None:
    with torch.autograd.forward_ad.dual_level():
        layer()(torch.autograd.forward_ad.make_dual(X, X))


def within(context: Any) -> None:
    with context:
        layer()(X)


CALLS: dict[str, tuple[Callable[[], Any], str]] = {
    "training": (lambda: layer()(X), "bptt"),
    "evaluation": (lambda: within(torch.no_grad()), "bptt"),
    "inference": (lambda: within(torch.inference_mode()), "bptt"),
    "projection": (lambda: layer(proj_size=2)(X), "bptt"),
    "float64": (lambda: layer(dtype=torch.float64)(X.double()), "bptt"),
    "bfloat16": (lambda: layer(dtype=torch.bfloat16)(X.bfloat16()), "recurrence"),
    "autocast": (lambda: within(torch.autocast("cpu", torch.bfloat16)), "recurrence"),
    "meta": (lambda: layer(device="meta")(X.to("meta")), "recurrence"),
    "empty": (lambda: layer()(X[:, :0]), "recurrence"),
    "vmap": (lambda: torch.vmap(layer())(X[None]), "recurrence"),
    "jvp": (lambda: torch.func.jvp(lambda x: layer()(x)[0], (X,), (X,)), "recurrence"),
    "dual number": (dual_number, "recurrence"),
    "grad": (lambda: torch.func.grad(lambda x: layer()(x)[0].sum())(X), "recurrence"),
    "dispatch mode": (lambda: within(FlopCounterMode(display=False)), "recurrence"),
    "export": (lambda: torch.export.export(layer(), (X,)), "recurrence"),
}


@pytest.mark.parametrize("call", CALLS)
def test_the_path_taken(call: str, ran: list[str]) -> None:
    run, module = CALLS[call]
    run()
    assert set(ran) == {f"rnn_torch.{module}"}


@pytest.mark.parametrize("able", [True, False])
def test_a_backend_names_the_path_that_runs(
    able: bool, ran: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if not able:
        monkeypatch.setattr(bptt, "supports", lambda *tensors: False)
    config = resolve(Config(backend="torch"))
    task = load_task(config)
    backend = Backend(config, task.signature)
    state = backend.init(first_snapshot(config, task.signature))
    backend.advance([state], [training_batches(config, task).take(0, 1)], np.array([0.1]))
    assert set(ran) == {"rnn_torch.bptt" if able else "rnn_torch.recurrence"}
    assert ("bptt.py" in backend.path, "autograd" in backend.path) == (able, not able)
