"""Hints beside a pair's verdict: the line of a cast to float32, and a bias that one side lacks."""

from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import optax
import torch

from rnn_jax.pair import JaxProgram
from shared.parity import Findings, compare_programs
from tests.support.pair_cases import (
    NAMES,
    Classifier,
    Nnx,
    batches,
    causes,
    check_equal,
    cross_entropy,
    empty,
    function,
    lstm,
    original,
    place,
    port,
    sgd,
)


def in_float32(h):
    return h.astype(jnp.float32).astype(h.dtype)  # planted here


def planted_line() -> str:
    lines = Path(__file__).read_text().splitlines()
    (at,) = (i for i, line in enumerate(lines, 1) if line.endswith("# planted here"))
    return f"{__file__}:{at} (in_float32)"


def hints(pair: Findings) -> list[str]:
    assert [f"hint: {hint}" for hint in pair.hints] == [v for v in pair.verdicts if "hint: " in v]
    return list(pair.hints)


def test_a_cast_to_float32_is_shown_by_its_line() -> None:
    ours = port(partial(function, cell=partial(lstm, cast=in_float32)))
    pair = compare_programs(ours, original(), batches())
    assert not pair.comparison.equal
    assert causes(pair) == []
    assert hints(pair) == [f"float32 inside float64: {planted_line()}"]


def test_casts_are_found_in_modules_loops_and_the_loss() -> None:
    def scanned(params, x):
        step = jax.jit(lambda total, part: (total + in_float32(part), None))
        total, _ = jax.lax.scan(step, jnp.zeros_like(x[:, 0]), jnp.swapaxes(x, 0, 1))
        return function(params, total[:, None])

    line = f"float32 inside float64: {planted_line()}"
    models = [(scanned, None), (Nnx(cast=in_float32), None)]
    for model, params in models:
        pair = compare_programs(port(model, params), original(), batches())
        assert hints(pair) == [line]
    ours = JaxProgram(
        function, empty(), lambda out, y: cross_entropy(in_float32(out), y), names=NAMES
    )  # fmt: skip
    pair = compare_programs(ours, original(), batches())
    assert hints(pair) == [line]
    assert place(pair).startswith("loss/")


def test_the_line_of_a_cast_is_the_users_not_flaxs() -> None:
    class Half(Nnx):
        def __call__(self, x):
            return self.head(self._cell(self.inp, self.rec, x)[0]).astype(x.dtype)  # called here

    model = Half()
    model.head.dtype = jnp.float32
    pair = compare_programs(port(model), original(), batches())
    (hint,) = hints(pair)
    lines = Path(__file__).read_text().splitlines()
    (at,) = (i for i, line in enumerate(lines, 1) if line.endswith("# called here"))
    assert f"{__file__}:{at} (" in hint


def test_a_single_bias_is_hinted_at() -> None:
    def single(params, x):
        rec = {"kernel": params["rec"]["kernel"], "bias": 0.0}
        return function({**params, "rec": rec}, x)

    params = empty()
    del params["rec"]["bias"]
    names = {**NAMES, "rnn.bias_hh_l0": None}
    ours = port(single, params, optax.sgd(0.1), names=names)
    pair = compare_programs(ours, original(optimizer=sgd()), batches())
    assert place(pair) == "before/rnn.bias_hh_l0[0]"
    assert causes(pair) == ["bias:rnn.bias_hh_l0"]
    assert hints(pair) == ["jax has no rnn.bias_hh_l0: it counts as zero there"]
    module = Classifier()
    torch.nn.init.zeros_(module.rnn.bias_hh_l0)
    pair = compare_programs(ours, original(module=module, optimizer=sgd()), batches())
    assert place(pair) == "gradients/rnn.bias_hh_l0[0]"
    assert causes(pair) == []
    assert hints(pair) == ["jax has no rnn.bias_hh_l0: it counts as zero there"]
    module.rnn.bias_hh_l0.requires_grad_(False)
    pair = compare_programs(ours, original(module=module, optimizer=sgd()), batches(), steps=5)
    check_equal(pair, 5, "jax has no rnn.bias_hh_l0: it counts as zero there")
