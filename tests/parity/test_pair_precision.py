"""A pair in float64 is one in float64: what is rounded to less inside of it is told of."""

from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
import torch

from rnn_jax.pair import JaxProgram
from rnn_torch.pair import TorchProgram
from shared.parity import compare_programs
from tests.scripts.test_imports import python
from tests.support.pair_cases import FEATURES, Plain, compare_plain, cross_entropy, plain


def told(kind: str, line: str) -> str:
    """The hint that names the line of this file with this at its end."""
    lines = Path(__file__).read_text().splitlines()
    (at,) = (i for i, text in enumerate(lines, 1) if text.endswith(f"# {line}"))
    return f"{kind} inside float64: {__file__}:{at} "


def check_told(pair: Any, ours: str, theirs: str) -> None:
    """A proof, beside which a note names one line of each side."""
    pair.comparison.check()
    assert len(pair.hints) == 2
    assert pair.hints[0].startswith(ours)
    assert pair.hints[1].startswith(theirs)
    assert [f"note: {hint}" for hint in pair.hints] == pair.verdicts[1:]


@pytest.mark.parametrize("kind", ["float32", "float16", "bfloat16"])
def test_less_than_float64_is_told_of_beside_a_proof(kind: str) -> None:
    """Both round in the same way, and agree."""

    def rounded(y: Any) -> Any:
        return y.astype(kind).astype(y.dtype)  # in jax

    def rounded_too(y: torch.Tensor) -> torch.Tensor:
        return y.to(getattr(torch, kind)).double()  # in torch

    pair = compare_plain(Plain(rounded_too), plain(rounded))
    check_told(pair, told(kind, "in jax"), told(kind, "in torch"))


def test_a_product_with_a_result_in_float32_is_told_of() -> None:
    def product(y: Any) -> Any:
        eye = jnp.eye(len(y), dtype=y.dtype)
        return jnp.dot(eye, y, preferred_element_type=jnp.float32).astype(y.dtype)  # a product

    pair = compare_plain(Plain(lambda y: y.float().double()), plain(product))
    assert pair.hints[0].startswith(told("float32", "a product"))


def test_values_put_into_a_tensor_of_float32_are_told_of() -> None:
    """Assigning to a part of it returns nothing that would show it."""

    def filled(y: torch.Tensor) -> torch.Tensor:
        outputs = torch.zeros(y.shape, dtype=torch.float32)
        outputs[:] = y  # put
        return outputs.double()

    pair = compare_plain(Plain(filled), plain(lambda y: y.astype("float32").astype(y.dtype)))
    assert pair.hints[1].startswith(told("float32", "put"))


def test_zeros_in_float32_that_become_float64_round_nothing() -> None:
    pair = compare_plain(Plain(lambda y: y + torch.zeros(y.shape)))
    pair.comparison.check()
    assert not pair.hints


def test_outputs_of_other_precisions_are_compared_as_they_are() -> None:
    pair = compare_plain(
        Plain(lambda y: y.bfloat16()), plain(lambda y: y.astype("bfloat16")),
        losses=(lambda y, t: torch.nn.functional.cross_entropy(y.double(), t),
                lambda y, t: cross_entropy(y.astype("float64"), t)),
    )  # fmt: skip
    assert pair.verdicts[0].startswith("in bfloat16 and float64: equal")


def test_subnormal_numbers_count_as_zero_on_both_sides() -> None:
    tiny = np.full((5, 2, FEATURES), 1e-160)
    theirs = TorchProgram(Scaled(), lambda out, _: (1e10 * out).sum())
    ours = JaxProgram(
        lambda params, x: x * params["w"] * 1e-160, {"w": np.ones(FEATURES)},
        lambda out, _: (1e10 * out).sum(), names={"w": "w"},
    )  # fmt: skip
    before = float(np.array(1e-300) * 1e-10)  # zero where a backend ran in this process before
    compare_programs(ours, theirs, [(tiny, np.ones(5))]).comparison.check()
    assert float(np.array(1e-300) * 1e-10) == before  # NumPy's own arithmetic is as before


class Scaled(torch.nn.Module):
    """Products of 1e-320."""

    def __init__(self):
        super().__init__()
        self.w = torch.nn.Parameter(torch.ones(FEATURES))

    def forward(self, x):
        return x * self.w * 1e-160


FRESH = """
import jax, numpy as np, optax, torch
from shared.parity.pair import compare_programs
from tests.support.pair_cases import *

def pair(dtype, **options):
    theirs = original(module=Plain(), optimizer=sgd(), dtype=getattr(torch, dtype))
    params = {"kernel": np.ones((FEATURES, CLASSES)), "bias": np.ones(CLASSES)}
    ours = port(plain(), params, optax.sgd(0.1), names=PLAIN, dtype=dtype)
    return compare_programs(ours, theirs, plain_batches(3), **options)

assert not jax.config.jax_enable_x64
print(pair("float32", tolerance=1e-5).verdicts[0])
assert not jax.config.jax_enable_x64
print(pair("float64").verdicts[0])
assert jax.config.jax_enable_x64
"""


def test_float64_is_switched_on_for_the_process_and_float32_leaves_it_off() -> None:
    ran = python(FRESH)
    assert ran.returncode == 0, ran.stderr
    single, double = ran.stdout.splitlines()
    assert single.startswith("in float32: equal within 1e-05: 3 steps, ")
    assert double.startswith("proved in float64: equal within 1e-09: 3 steps, ")
