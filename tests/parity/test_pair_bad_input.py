"""Pairs that cannot be compared are refused in one line, and no proof is claimed that is none."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from flax import nnx

from rnn_jax.pair import JaxProgram
from rnn_torch.pair import TorchProgram
from shared.errors import InvalidInput
from shared.parity import compare_programs
from shared.protocol.program import Example
from tests.support.pair_cases import (
    NAMES,
    Classifier,
    batches,
    cross_entropy,
    empty,
    function,
    original,
    port,
    sgd,
)

BAD_NAMES: dict[str, tuple[dict[str, Any], str]] = {
    "unknown place": (
        {**NAMES, "head.bias": "head.b"},
        "names: head.bias: expected one of head.bias, head.kernel, inp.bias, inp.kernel, rec.bias, "
        "rec.kernel, got head.b",
    ),
    "twice": (
        {**NAMES, "rnn.bias_hh_l0": "inp.bias[:]"},
        "names: rnn.bias_hh_l0: inp.bias has a twin already",
    ),
    "two as one": (
        {**NAMES, "rnn.bias_hh_l0": "inp.bias"},
        "names: expected a twin for rec.bias, got none",
    ),
    "twice in one": (
        {**NAMES, "rnn.bias_hh_l0": ["rec.bias", "rec.bias"]},
        "names: rnn.bias_hh_l0: rec.bias has a twin already",
    ),
    "left out": (
        {k: v for k, v in NAMES.items() if "head" not in k},
        "names: expected a twin for head.bias, head.kernel, got none",
    ),
    "not named": (
        {k: v for k, v in NAMES.items() if k != "head.bias"},
        "names: expected a twin for head.bias, got none",
    ),
    "misspelt": (
        {**{k: v for k, v in NAMES.items() if k != "head.bias"}, "head.bais": "head.bias"},
        "names: expected head.bais among torch's tensors, got none (did you mean head.bias?)",
    ),
    "not there": (
        {**NAMES, "zzz": None}, "names: expected zzz among torch's tensors, got none",
    ),
    "not transposed": (
        {**NAMES, "head.weight": "head.kernel"},
        "names: head.weight: expected shape (3, 4) for head.kernel, got (4, 3)",
    ),
    "blocks of other sizes": (
        {**{k: v for k, v in NAMES.items() if k != "rnn.bias_hh_l0"},
         "head.bias": ["head.bias", "rec.bias", "inp.bias"], "rnn.bias_ih_l0": None,
         "rnn.bias_hh_l0": None},
        "names: head.bias: expected rows for 3 equal blocks, got 4",
    ),
    "no name": (
        {**NAMES, "head.bias": 3}, "names: head.bias: expected a place or several, got 3",
    ),
    "transposed": (
        {**NAMES, "head.weight": "rec.kernel.T", "rnn.weight_hh_l0": "head.kernel.T"},
        "names: rnn.weight_hh_l0: expected shape (3, 4) for head.kernel, got (3, 12) after "
        "transposing",
    ),
}  # fmt: skip


def check_message(error: pytest.ExceptionInfo, expected: str) -> None:
    assert str(error.value) == expected


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("case", BAD_NAMES)
def test_names_that_do_not_fit(case: str) -> None:
    names, expected = BAD_NAMES[case]
    with pytest.raises(InvalidInput) as error:
        compare_programs(port(names=names), original(), batches())
    check_message(error, expected)


X, Y = batches()[0]
BAD_BATCHES: dict[str, tuple[Any, str]] = {
    "none": ([], "batches: expected (inputs, targets) at least once, got none"),
    "nothing": (None, "batches: expected (inputs, targets) at least once, got none"),
    "one instead of a list": ((X, Y), "batches[0]: expected (inputs, targets), got ndarray"),
    "nan": ([(X, Y), (X * np.nan, Y)], "batches[1]: expected finite numbers, got nan"),
    "text": ([(np.array(["a"]), Y)], "batches[0]: expected real numbers, got <U1"),
    "objects": ([(np.array([None]), Y)], "batches[0]: expected real numbers, got object"),
    "complex": ([(X * 1j, Y)], "batches[0]: expected real numbers, got complex128"),
    "empty": ([(X[:0], Y[:0])], "batches[0]: expected elements, got shape (0, 2, 2)"),
    "infinite targets": ([(X, np.array([np.inf]))], "batches[0]: expected finite numbers, got inf"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_BATCHES)
def test_batches_that_cannot_be_used(case: str) -> None:
    data, expected = BAD_BATCHES[case]
    with pytest.raises(InvalidInput) as error:
        compare_programs(port(), original(), data)
    check_message(error, expected)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"steps": 0}, "steps: expected a positive number, got 0"),
        ({"steps": -1}, "steps: expected a positive number, got -1"),
        ({"steps": 2.5}, "steps: expected a positive number, got 2.5"),
        ({"tolerance": float("nan")}, "tolerance: expected a number in [0, 1), got nan"),
        ({"tolerance": -1e-9}, "tolerance: expected a number in [0, 1), got -1e-09"),
        ({"tolerance": "x"}, "tolerance: expected a number in [0, 1), got 'x'"),
        ({"suspects": {"a": 3}}, "a: expected a JaxProgram or a TorchProgram, got 3"),
    ],
)
def test_options_that_mean_nothing(options: dict, expected: str) -> None:
    with pytest.raises(InvalidInput) as error:
        compare_programs(port(), original(), batches(), **options)
    check_message(error, expected)


def test_the_program_in_jax_cannot_come_second() -> None:
    with pytest.raises(
        InvalidInput, match="jax begins with the weights of the other program: expected JAX first"
    ):
        compare_programs(original(), port(), batches())


def test_what_is_watched_must_be_there() -> None:
    with pytest.raises(InvalidInput) as error:
        original(watch=["lstm"])
    check_message(error, "watch: expected names of submodules, got lstm")
    with pytest.raises(InvalidInput) as error:
        compare_programs(port(watch=True), original(), batches())
    check_message(error, "watch: expected a function that returns (outputs, dict)")


def test_a_ragged_list_is_no_array() -> None:
    with pytest.raises(InvalidInput, match=r"batches\[0\]: expected arrays, got: setting an array"):
        compare_programs(port(), original(), [(([[1.0], [1.0, 2.0]],), Y)])


def as_any(value: Any) -> Any:
    return value


def test_what_is_no_program_is_named() -> None:
    expected, one, none = "expected a JaxProgram or a TorchProgram, got", as_any(1), as_any(None)
    with pytest.raises(InvalidInput, match=rf"^first: {expected} 1$"):
        compare_programs(one, original(), batches())
    with pytest.raises(InvalidInput, match=rf"^second: {expected} None$"):
        compare_programs(port(), none, batches())


def test_a_program_is_not_compared_with_itself() -> None:
    """Both sides would share one state, and be equal whatever they compute."""
    theirs = original(optimizer=sgd())
    with pytest.raises(InvalidInput, match="first: expected another program than the second"):
        compare_programs(theirs, theirs, batches())
    with pytest.raises(InvalidInput, match="mine: expected another program than the second"):
        compare_programs(
            port(optimizer=optax.sgd(0.1)), theirs, batches(), suspects={"mine": theirs}
        )


def test_a_submodule_that_is_not_called_is_not_watched() -> None:
    module = Classifier()
    module.unused = torch.nn.Linear(2, 2)
    theirs = original(module=module, watch=["unused"])
    with pytest.raises(InvalidInput, match="watch: expected unused to be called in a step, it was"):
        theirs.step(Example((X,), Y))


def test_an_optimizer_of_other_parameters_moves_nothing() -> None:
    """Such as those of the original, of which a copy is trained."""
    module = Classifier()
    with pytest.raises(InvalidInput, match="optimizer: expected one of the parameters it is"):
        original(module=module, optimizer=lambda _: torch.optim.SGD(module.parameters(), 0.1))


def test_optimizers_that_call_the_model_themselves() -> None:
    with pytest.raises(InvalidInput, match="expected one that needs the gradients alone"):
        original(optimizer=torch.optim.LBFGS)
    ours = port(optimizer=optax.lbfgs())
    with pytest.raises(InvalidInput, match="expected one that needs the gradients alone"):
        compare_programs(ours, original(), batches())


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_other_precisions_are_refused(dtype: str) -> None:
    with pytest.raises(
        InvalidInput, match=rf"torch\.float64 or torch\.float32, got torch\.{dtype}"
    ):
        original(dtype=getattr(torch, dtype))
    with pytest.raises(InvalidInput, match=f"expected float64 or float32, got {dtype}"):
        port(dtype=getattr(jnp, dtype))


@pytest.mark.usefixtures("unchecked")
def test_a_dtype_of_the_other_framework() -> None:
    with pytest.raises(InvalidInput, match="dtype: expected float64 or float32, got TypeError"):
        port(dtype=torch.float64)
    with pytest.raises(InvalidInput, match=r"torch\.float64 or torch\.float32, got float64"):
        original(dtype="float64")


@pytest.mark.parametrize(
    "module", [torch.nn.LazyLinear(2), torch.nn.Linear(2, 2, device="meta")], ids=["lazy", "meta"]
)
def test_a_module_without_values(module: torch.nn.Module) -> None:
    with pytest.raises(InvalidInput, match="module: expected parameters with values, got none in"):
        original(module=module)


class Dropping(nnx.Module):
    def __init__(self, rate: float = 0.5):
        self.head = nnx.Linear(2, 2, rngs=nnx.Rngs(0))
        self.drop = nnx.Dropout(rate, rngs=nnx.Rngs(0))

    def __call__(self, x):
        return self.drop(self.head(x))


DROPPING: dict[str, Callable[[], torch.nn.Module]] = {
    "1": lambda: torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Dropout(0.5)),
    "it": lambda: torch.nn.LSTM(2, 2, num_layers=2, dropout=0.5),
    "0": lambda: torch.nn.Sequential(torch.nn.MultiheadAttention(2, 1, dropout=0.5)),
}


@pytest.mark.parametrize("where", DROPPING)
def test_dropout_that_is_on_is_refused(where: str) -> None:
    theirs = original(module=DROPPING[where]())
    with pytest.raises(InvalidInput, match=rf"expected dropout to be off .* of 0\.5 in {where}"):
        theirs.step(Example(np.ones((2, 2)), np.zeros(2, int)))


def test_dropout_of_flax_that_is_on_is_refused() -> None:
    names = {"weight": "head.kernel.T", "bias": "head.bias"}
    data = [(np.ones((3, 2)), np.zeros(3, int))]
    theirs = TorchProgram(torch.nn.Linear(2, 2), torch.nn.functional.cross_entropy)
    with pytest.raises(InvalidInput, match=r"dropout to be off .* a rate of 0\.5 in drop"):
        compare_programs(port(Dropping(), names=names), theirs, data)
    model = Dropping()
    model.eval()
    for quiet in (model, Dropping(0.0)):
        compare_programs(port(quiet, names=names), theirs, data)


def test_outputs_that_are_no_tensors() -> None:
    class Talking(Classifier):
        def forward(self, x):  # pyright: ignore[reportIncompatibleMethodOverride]
            return super().forward(x), 0.5

    theirs = TorchProgram(Talking(), lambda out, y: torch.nn.functional.cross_entropy(out[0], y))
    with pytest.raises(InvalidInput, match=r"outputs\.1: expected tensors, got float"):
        theirs.step(Example((X,), Y))
    ours = JaxProgram(
        lambda params, x: (function(params, x), "text"), empty(),
        lambda out, y: cross_entropy(out[0], y), names=NAMES,
    )  # fmt: skip
    with pytest.raises(InvalidInput, match=r"outputs\.1: expected tensors, got str"):
        compare_programs(ours, original(), batches())


def test_a_suspect_that_does_not_fit_is_named() -> None:
    wrong = port(optimizer=optax.sgd(0.2))
    with pytest.raises(InvalidInput, match=r"^suspects: bare: step 1: \S+: second has it"):
        compare_programs(wrong, original(optimizer=sgd()), batches(), suspects={"bare": port()})
