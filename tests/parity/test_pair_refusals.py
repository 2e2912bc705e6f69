"""What a user's own model, loss or optimizer does that leaves nothing to compare: one line each."""

import threading
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from flax import linen

from rnn_jax.pair import JaxProgram
from rnn_torch.pair import TorchProgram
from shared.errors import InvalidInput
from shared.parity import compare_programs
from tests.support.pair_cases import (
    CLASSES,
    CROSS_ENTROPIES,
    FEATURES,
    Plain,
    compare_plain,
    dense,
    plain,
    plain_batches,
    sgd,
)

pytestmark = [
    pytest.mark.usefixtures("unchecked"),  # as for a user
]
X, Y = plain_batches()[0]
SHAPED, LOSS = (FEATURES, CLASSES), CROSS_ENTROPIES


def silent(*_: Any) -> torch.Tensor:
    """A loss of nothing that was computed."""
    return torch.zeros((), dtype=torch.float64)


class Keeping(Plain):
    """Holds what cannot be copied."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()


def watching(outputs: Any) -> Callable[..., Any]:
    return lambda params, x: outputs(dense(params)(x))


CALLS: dict[str, tuple[dict[str, Any], str]] = {
    "torch model": (
        {"module": Plain(lambda y: y @ y)},
        "torch: model: expected a result, got RuntimeError: mat1 and mat2 shapes cannot be "
        "multiplied (6x4 and 6x4)",
    ),
    "jax model": (
        {"function": lambda params, x: params["kernel"][x]},
        "jax: model: expected a result, got TypeError: Indexer must have integer or boolean type, "
        "got indexer with type float64",
    ),
    "a missing parameter": (
        {"function": lambda params, x: x @ params["weight"]},
        "jax: model: expected a result, got KeyError: 'weight'",
    ),
    "torch loss": (
        {"data": [(X, Y.astype(np.int16))]},
        "torch: loss: expected a result, got RuntimeError: expected target dtype to be Long",
    ),
    "torch loss of Python": (
        {"losses": (lambda y, t: LOSS[0](y, t).item(), LOSS[1])},
        "torch: loss: expected one real number as a tensor, got float",
    ),
    "torch loss of integers": (
        {"losses": (lambda y, _: (y > 0).sum(), LOSS[1])},
        "torch: loss: expected one real number as a tensor, got int64 of shape ()",
    ),
    "torch loss of several": (
        {"losses": (lambda y, _: y, LOSS[1])},
        "torch: loss: expected one real number as a tensor, got float64 of shape (6, 4)",
    ),
    "jax loss of integers": (
        {"losses": (LOSS[0], lambda y, _: (y > 0).sum())},
        "jax: loss: expected one real number, got int64 of shape ()",
    ),
    "jax loss of several": (
        {"losses": (LOSS[0], lambda y, _: y)},
        "jax: loss: expected one real number, got float64 of shape (6, 4)",
    ),
    "jax loss and more": (
        {"losses": (LOSS[0], lambda y, t: (LOSS[1](y, t), "accuracy"))},
        "jax: loss: expected one real number, got tuple",
    ),
    "an optimizer itself": (
        {"optimizers": (torch.optim.SGD(Plain().parameters(), 0.1), optax.sgd(0.1))},
        "optimizer: expected a function of the parameters, got SGD",
    ),
    "none of torch": (
        {"optimizers": (list, optax.sgd(0.1))},
        "optimizer: expected a torch.optim.Optimizer, got list",
    ),
    "none of optax": (
        {"optimizers": (sgd(), 0.1)}, "optimizer: expected one of optax, got float",
    ),
    "a mask of other places": (
        {"optimizers": (sgd(), optax.masked(optax.sgd(0.1), {"weight": True}))},
        "jax: optimizer: expected a result, got ValueError: ",
    ),
    "clipping": (
        {"optimizers": (sgd(), optax.sgd(0.1)), "prepare": lambda params: params["weight"]},
        "torch: prepare: expected a result, got TypeError: list indices must be integers",
    ),
    "no outputs": (
        {"module": Plain(lambda _: {"a": None}), "function": plain(lambda _: {"a": None}),
         "losses": (silent, lambda *_: jnp.zeros(()))},
        "jax: outputs: expected elements to compare, got none",
    ),
    "outputs without elements": (
        {"module": Plain(lambda y: y[:0]), "function": plain(lambda y: y[:0]),
         "losses": (lambda y, _: y.sum(), lambda y, _: y.sum())},
        "jax: outputs: expected elements to compare, got none",
    ),
    "two outputs of one name": (
        {"module": Plain(lambda y: {1: y, "1": 2 * y})},
        "outputs.1: expected one tensor of that name, got two",
    ),
    "and with dots": (
        {"function": plain(lambda y: {"a.b": y, "a": {"b": 2 * y}})},
        "outputs.a.b: expected one tensor of that name, got two",
    ),
    "watched without a tensor": (
        {"module": Plain(lambda _: None), "watch": [""],
         "function": watching(lambda y: (y, {}))},
        "watch: expected tensors of the module, got none",
    ),
    "watched in a triple": (
        {"function": watching(lambda y: (y, y, {})), "watch": [""]},
        "watch: expected a function that returns (outputs, dict)",
    ),
    "no module": (
        {"module": lambda x: x},
        "module: expected a torch.nn.Module, or a function without arguments that makes one, got "
        "TypeError",
    ),
    "a module of linen": (
        {"function": linen.Dense(CLASSES)},
        "model: expected a function or an nnx.Module, got Dense of flax.linen, which "
        "`lambda params, x: module.apply({\"params\": params}, x)` makes one of",
    ),
    "a class": (
        {"function": dict}, "model: expected a function or an nnx.Module, got the class dict",
    ),
    "complex parameters": (
        {"module": torch.nn.Linear(FEATURES, CLASSES, dtype=torch.complex64)},
        "module: expected real parameters, got torch.complex64 in weight",
    ),
    "a module that cannot be copied": (
        {"module": Keeping()},
        "module: expected one that can be copied, or a function that makes it",
    ),
    "more than 64 bits": (
        {"data": [(X.astype(np.longdouble), Y)]},
        f"batches[0]: expected numbers of 64 bits at most, got {np.dtype(np.longdouble)}",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CALLS)
def test_what_leaves_nothing_to_compare(case: str) -> None:
    given, expected = CALLS[case]
    with pytest.raises(InvalidInput) as error:
        compare_plain(**given)
    assert str(error.value).startswith(expected)
    assert len(str(error.value).splitlines()) == 1


def test_the_users_own_error_is_kept() -> None:
    with pytest.raises(InvalidInput) as error:
        compare_plain(Plain(lambda y: y / None))
    assert isinstance(error.value.__cause__, TypeError)


def test_two_parameters_in_one_place() -> None:
    """Both would get the same values."""
    params = {"a.b": np.ones(SHAPED), "a": {"b": np.ones(SHAPED)}}
    with pytest.raises(InvalidInput, match=r"params: a\.b: expected one parameter there, got two"):
        JaxProgram(lambda p, x: x @ p["a.b"], params, LOSS[1], names={"weight": "a.b.T"})


def test_complex_parameters_in_jax() -> None:
    with pytest.raises(InvalidInput, match="params: w: expected real numbers, got complex64"):
        JaxProgram(same_, {"w": np.ones(2, np.complex64)}, LOSS[1], names={"weight": "w"})


def same_(params: Any, x: Any) -> Any:
    return x @ params["w"]


def test_gradients_of_an_embedding_may_be_sparse() -> None:
    theirs = TorchProgram(torch.nn.Embedding(5, CLASSES, sparse=True), LOSS[0], sgd())
    ours = JaxProgram(
        lambda params, x: params["table"][x], {"table": np.ones((5, CLASSES))}, LOSS[1],
        optax.sgd(0.1), names={"weight": "table"},
    )  # fmt: skip
    compare_programs(ours, theirs, [(np.array([0, 3, 3]), Y[:3])]).comparison.check()


def test_names_may_have_slashes() -> None:
    class Slashed(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.p = torch.nn.ParameterDict({"a/b": torch.ones(FEATURES, CLASSES)})

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x @ self.p["a/b"]

    theirs = TorchProgram(Slashed(), LOSS[0], sgd(momentum=0.9))
    ours = JaxProgram(
        same_, {"w": np.ones(SHAPED)}, LOSS[1], optax.sgd(0.1, momentum=0.9), names={"p.a/b": "w"}
    )  # fmt: skip
    pair = compare_programs(ours, theirs, plain_batches())
    pair.comparison.check()
    assert {"weights/p.a/b", "moments/momentum_buffer.p.a/b"} <= set(pair.comparison.deviations)
    wrong = JaxProgram(
        same_, {"w": np.ones(SHAPED)}, LOSS[1], optax.sgd(0.2, momentum=0.9), names={"p.a/b": "w"}
    )  # fmt: skip
    difference = compare_programs(wrong, theirs, plain_batches()).comparison.difference
    assert difference is not None
    assert (difference.phase, difference.tensor) == ("weights", "p.a/b")
