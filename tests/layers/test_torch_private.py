"""A release of torch that lacks one of its private parts: the plain path is taken, and recorded."""

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import rnn_torch
from rnn_torch import private
from rnn_torch.backend import Backend
from rnn_torch.pair import TorchProgram
from shared.config import resolve
from shared.protocol.backend import first_snapshot
from shared.protocol.program import Example
from shared.tasks import TASKS, load_task
from shared.tasks.batches import training_batches
from tests.support.compare_arrays import check_close

SOURCE = Path(private.__file__).read_text()
NAMES = re.findall(r'_find\("(.*?)"\)', SOURCE)
TELLING = set(NAMES[: NAMES.index("torch.jit.is_tracing") + 1])
"""Those without which nobody can tell whether something looks into the operations."""


@pytest.fixture(params=NAMES)
def hidden(request: pytest.FixtureRequest) -> Iterator[str]:
    """A part that torch lacks while a test runs."""
    module, _, attribute = request.param.rpartition(".")
    owner: Any = torch._C if module == "torch._C" else importlib.import_module(module)
    with pytest.MonkeyPatch.context() as patch:
        kept = getattr(owner, attribute)
        patch.delattr(owner, attribute)
        importlib.reload(private)
        # Whoever has the part already, such as autograd itself, keeps it.
        patch.setattr(owner, attribute, kept, raising=False)
        yield request.param
    importlib.reload(private)
    assert private.MISSING == []


def test_every_part_is_there_today() -> None:
    assert private.MISSING == []
    assert len(NAMES) == 11


def test_no_other_file_uses_a_private_part() -> None:
    for file in sorted(Path(rnn_torch.__file__).parent.glob("*.py")):
        if file.name == "private.py":
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("torch"):
                names = [*str(node.module).split("."), *(alias.name for alias in node.names)]
            elif isinstance(node, ast.Attribute) and ast.unparse(node).startswith("torch."):
                names = ast.unparse(node).split(".")
            else:
                continue
            private_names = [n for n in names if n.startswith("_") and not n.endswith("__")]
            assert not private_names, f"{file}:{node.lineno}: {'.'.join(names)}"


def steps(backend: Backend) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    task = load_task(backend.config)
    states = [backend.init(first_snapshot(backend.config, task.signature))]
    batches = training_batches(backend.config, task)
    states, (metrics,) = backend.advance(states, [batches.take(0, 3)], np.full(3, 0.01))
    return np.asarray(metrics.norms), backend.export(states[0]).weights


def test_a_run_takes_the_plain_path_and_says_why(hidden: str) -> None:
    config = resolve(TASKS["hello"].defaults)
    signature = load_task(config).signature
    backend = Backend(config, signature)
    assert f"; torch lacks {hidden}" in backend.path
    assert ("autograd" in backend.path) == (hidden in TELLING)
    norms, weights = steps(backend)
    importlib.reload(private)
    whole = Backend(config, signature)
    assert "lacks" not in whole.path
    expected_norms, expected = steps(whole)
    check_close(norms, expected_norms, relative=1e-5, what="norms")
    for name, array in weights.items():
        check_close(array, expected[name], relative=1e-5, what=name)


def test_layers_compute_the_same(hidden: str) -> None:
    torch.manual_seed(0)
    layer = rnn_torch.LSTM(3, 4, batch_first=True, dtype=torch.float64)
    x = torch.randn(2, 5, 3, dtype=torch.float64, requires_grad=True)
    found = [*torch.autograd.grad(layer(x)[0].square().sum(), [x, *layer.parameters()])]
    importlib.reload(private)
    expected = torch.autograd.grad(layer(x)[0].square().sum(), [x, *layer.parameters()])
    for one, other in zip(found, expected, strict=True):
        check_close(one.numpy(), other.numpy(), relative=1e-12, what=hidden)


def test_a_pair_says_that_nobody_looked_for_less_than_float64(hidden: str) -> None:
    module = torch.nn.Linear(3, 2).double()
    program = TorchProgram(module, torch.nn.functional.mse_loss)
    rng = np.random.default_rng(0)
    example = Example((rng.standard_normal((4, 3)),), rng.standard_normal((4, 2)))
    program.begin(program.now())
    program.step(example)
    said = f"nobody looked for float32 inside float64: torch lacks {hidden}"
    shows = hidden.rpartition(".")[2] in ("TorchDispatchMode", "tree_leaves")
    assert (said in program.hints(example)) == shows
