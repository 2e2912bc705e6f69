"""Tests of shared/parity/propose.py: whole models and their ports, without help."""

import warnings
from typing import Any

import jax
import numpy as np
import optax
import pytest
import torch
from flax import nnx

import rnn_jax
from rnn_jax.arrays import arrays
from rnn_jax.pair import JaxProgram
from rnn_torch.pair import TorchProgram
from shared.errors import InvalidInput, OutputsDiffer
from shared.parity import compare_programs
from shared.parity.propose import propose
from shared.protocol.mapping import WeightMap
from shared.protocol.program import Example
from shared.system.randomness import generator
from tests.support.pairwise import slow_but
from tests.support.propose_cases import CASES, Case, case

IN_FLOAT32 = ("linen", "tagger", "wave")
"""Ports whose scan begins in float32, Flax's attention, whose softmax is in float32, and a buffer
that torch computed in float32."""


LIKE_OTHERS = ("by hand", "linen.SimpleCell", "pixels")


def proposed(one: Case, **options: Any) -> WeightMap:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OutputsDiffer)
        return _proposed(one, **options)


def _proposed(one: Case, **options: Any) -> WeightMap:
    return propose(
        one.theirs,
        one.ours,
        one.sample,
        params=one.params,
        ours_sample=one.ours_sample,
        show=False,
        **options,
    )


def outputs(one: Case, tree: Any) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Returns what both compute in evaluation mode, in float64 where they can."""
    several = one.sample if isinstance(one.sample, tuple) else (one.sample,)
    theirs = one.theirs.double().eval()(*(torch.tensor(array) for array in several))
    several = several if one.ours_sample is None else (one.ours_sample,)
    if one.params is None:
        tree.eval()
        ours = tree(*several)
    else:
        ours = one.ours(
            tree, *(np.asarray(a, next(iter(jax.tree.leaves(tree))).dtype) for a in several)
        )
    found = [np.asarray(x.detach()) for x in jax.tree.leaves(theirs)]
    return found, [np.asarray(x) for x in jax.tree.leaves(ours)]


@pytest.mark.parametrize("name", slow_but(CASES, set(CASES) - {*LIKE_OTHERS}))
def test_a_port_computes_the_same_and_gives_the_weights_back(name: str) -> None:
    one = case(name)
    before = {path: np.asarray(array) for path, array in arrays(one.tree).items()}
    state = {key: tensor.clone() for key, tensor in one.theirs.state_dict().items()}
    names = proposed(one)
    for key, tensor in one.theirs.state_dict().items():
        assert torch.equal(tensor, state[key]), f"{key} of torch's model has changed"
    for path, array in arrays(one.tree).items():
        np.testing.assert_array_equal(array, before[path], err_msg=f"{path} has changed")

    tree = names.load(one.tree, state)
    if name != "wave":  # weight norm, below
        back = names.state_dict(tree, like=state)
        assert back.keys() == state.keys()
        for key, tensor in state.items():
            assert torch.equal(back[key].to(tensor.dtype), tensor), f"{key} has not come back"
        one.theirs.load_state_dict(back)
    expected, found = outputs(one, tree)
    within = 1e-6 if name.startswith(IN_FLOAT32) else 1e-12
    assert names.deviation is not None
    assert names.deviation < (1e-5 if name.startswith(IN_FLOAT32) else 1e-12)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=within * np.abs(b).max())


def test_a_weight_norm_does_not_come_back() -> None:
    """The port has the matrix: torch's two halves cannot be told from it."""
    one = case("wave")
    names = proposed(one)
    names.load(one.ours, one.theirs.state_dict())
    assert names.reasons["front.weight"] == (
        "Conv1d: the same name; in torch computed by WeightNorm"
    )
    with pytest.raises(
        InvalidInput, match=r"front\.weight: expected it in the module's state dict"
    ):
        names.state_dict(one.ours, like=one.theirs.state_dict())


def test_swapped_branches_are_found_by_what_they_compute() -> None:
    names = proposed(case("branches with swapped names"))
    assert names.places["left.project.weight"] == "right.project.kernel.T"
    assert names.places["right.rnn.weight_hh_l0"] == "left.rnn.weight_hh_l0"
    assert names.reasons["left.project.weight"] == "Linear: by its effect"
    names = proposed(case("branches"))
    assert names.places["left.project.weight"] == "left.project.kernel.T"
    assert names.reasons["left.project.weight"] == "Linear: the same name"


def test_gates_are_found_one_by_one() -> None:
    names = proposed(case("by hand, gates i f o g"))
    assert names.places["rnn.bias_ih_l0"] == ["b[0:6]", "b[6:12]", "b[18:24]", "b[12:18]"]
    assert proposed(case("by hand")).places["rnn.weight_hh_l0"] == "wh.T"
    turned = proposed(case("by hand, gates g o f i, as torch's"))
    assert turned.places["rnn.weight_hh_l0"] == [
        "wh[18:24, :]", "wh[12:18, :]", "wh[0:6, :]", "wh[6:12, :]",
    ]  # fmt: skip


def test_what_is_flattened_has_the_ports_order() -> None:
    names = proposed(case("pixels"))
    assert names.places["fc1.weight"] == "fc1.kernel o (c=4 s)->(s c) o"
    assert names.places["fc2.weight"] == "fc2.kernel.T"


def test_buffers_ties_and_counters_are_in_the_table(capsys: pytest.CaptureFixture) -> None:
    one = case("speech")
    names = propose(one.theirs, one.ours, one.sample, ours_sample=one.ours_sample)
    printed = capsys.readouterr().out
    assert printed == f"{names}\n"
    assert names.places["conv.1.running_var"] == "bn1.var"
    assert names.constants == {"conv.1.num_batches_tracked": "", "conv.4.num_batches_tracked": ""}
    tied = proposed(case("language model"))
    assert tied.places["decoder.weight"] == tied.places["encoder.weight"] == "embed.embedding"
    assert tied.reasons["decoder.weight"] == "tied to encoder.weight"
    assert list(proposed(case("wave")).constants) == ["fixed"]
    untwinned = proposed(case("linen.GRUCell"))
    assert untwinned.places["rnn.bias_hh_l0"] == [None, None, "params.GRUCell_0.hn.bias"]


def test_the_process_keeps_its_dtypes() -> None:
    one = case("branches")
    with jax.enable_x64(False):
        proposed(one)
        assert not jax.config.jax_enable_x64  # pyright: ignore[reportAttributeAccessIssue]
        assert jax.numpy.ones(1).dtype == np.float32


def test_a_pair_takes_the_mapping() -> None:
    one = case("branches")
    rng = generator(0, "pair")
    batches = [(rng.standard_normal((4, 5, 6)), rng.standard_normal((4, 6))) for _ in range(3)]
    ours = JaxProgram(one.ours, None, squares, optax.adam(0.01), names=proposed(one))
    theirs = TorchProgram(one.theirs, squares, lambda params: torch.optim.Adam(params, 0.01))
    compare_programs(ours, theirs, batches).comparison.check()


def test_a_pair_leaves_out_what_a_mapping_says_of_buffers_and_ties() -> None:
    one = case("speech")
    names = proposed(one)
    names.load(one.ours, one.theirs.state_dict())
    one.ours.eval()
    program = JaxProgram(one.ours, None, squares, names=names)
    original = TorchProgram(one.theirs.eval(), squares)
    program.begin(original.now())
    targets = np.full((2, 6, 6), 0.5)
    mine, theirs = (
        side.step(Example((x,), targets))
        for side, x in ((program, one.ours_sample), (original, one.sample))
    )
    for name in ("loss/loss", "gradients/conv.1.weight", "gradients/conv.0.weight"):
        within = 1e-10 * np.abs(theirs[name]).max()
        np.testing.assert_allclose(mine[name], theirs[name], rtol=0, atol=within)

    tied = case("language model")
    tied.ours.eval()
    program = JaxProgram(tied.ours, None, squares, names=proposed(tied))
    original = TorchProgram(tied.theirs.eval(), squares)
    program.begin(original.now())
    assert program.now().weights.keys() == original.now().weights.keys()


def squares(outputs: Any, targets: Any) -> Any:
    return ((outputs - targets) ** 2).mean()


def test_a_sample_may_be_a_nest() -> None:
    class Carried(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = torch.nn.LSTM(3, 4, batch_first=True)

        def forward(self, x, state):
            zeros = torch.zeros(len(x), x.shape[1], 4)  # in the default dtype
            return self.rnn(x, state)[0] + zeros

    class Port(nnx.Module):
        def __init__(self) -> None:
            kind: Any = {"dtype": np.float64, "param_dtype": np.float64, "rngs": nnx.Rngs(0)}
            self.lstm = rnn_jax.LSTM(3, 4, batch_first=True, **kind)

        def __call__(self, x, state):
            return self.lstm(x, state)[0]

    rng = np.random.default_rng(0)
    x, *state = (rng.standard_normal(size) for size in ((2, 5, 3), (1, 2, 4), (1, 2, 4)))
    for sample in ((x, tuple(state)), {"state": tuple(state), "x": x}):
        names = propose(Carried(), Port(), sample, show=False)
        assert names.places["rnn.weight_hh_l0"] == "lstm.weight_hh_l0"
        assert names.deviation is not None
        assert names.deviation < 1e-12
