"""Batches of a pair: any nesting, from lists, data loaders and generators."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rnn_jax.pair import JaxProgram
from rnn_torch.pair import TorchProgram
from shared.errors import InvalidInput
from shared.parity import compare_programs
from shared.protocol.nests import Packed, leaves
from tests.support.pair_cases import CLASSES, FEATURES, PLAIN, Plain, compare_plain, plain_batches

RNG = np.random.default_rng(3)


class Named(NamedTuple):
    one: Any
    other: Any


@dataclass
class Fields:
    one: Any
    other: Any


def arrays() -> st.SearchStrategy:
    sizes = st.tuples(st.integers(1, 3), st.integers(1, 3))
    return st.builds(lambda size, seed: np.random.default_rng(seed).normal(size=size), sizes, SEEDS)


SEEDS = st.integers(0, 1000)
NESTS = st.recursive(
    st.one_of(arrays(), st.none()),
    lambda inner: st.one_of(
        st.tuples(inner, inner),
        st.lists(inner, min_size=1, max_size=2),
        st.dictionaries(st.sampled_from("abc"), inner, min_size=1, max_size=2),
        st.builds(Named, inner, inner),
        st.builds(Fields, inner, inner),
    ),
    max_leaves=4,
)


class Summing(torch.nn.Module):
    """Adds up whatever it is given, each array with a weight of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor([0.5, -0.3]))

    def forward(self, nest: Any) -> dict[str, Any]:
        total = self.scale.sum()
        for i, one in enumerate(leaves(nest)):
            total = total + (1 + i) * (one * self.scale[0]).sum() + self.scale[1] ** 2
        return {"total": total, "nothing": None, "nest": [nest, (total,)]}


def summing(params: Any, nest: Any) -> dict[str, Any]:
    total = params["scale"].sum()
    for i, one in enumerate(leaves(nest)):
        total = total + (1 + i) * (one * params["scale"][0]).sum() + params["scale"][1] ** 2
    return {"total": total, "nothing": None, "nest": [nest, (total,)]}


def loss(outputs: Any, targets: Any) -> Any:
    return outputs["total"] ** 2 * (1 + sum(one.sum() for one in leaves(targets)))


@settings(max_examples=8, deadline=None, derandomize=True)
@given(NESTS, NESTS)
def test_inputs_targets_and_outputs_are_any_nest(inputs: Any, targets: Any) -> None:
    if not leaves(inputs):
        inputs = np.ones((2, 2))
    ours = JaxProgram(summing, {"scale": np.ones(2)}, loss, names={"scale": "scale"})
    pair = compare_programs(ours, TorchProgram(Summing(), loss), [((inputs,), targets)])
    pair.comparison.check()
    found = [name for name in pair.comparison.deviations if name.startswith("inputs/")]
    assert len(found) == len(leaves(inputs)) + len(leaves(targets))
    wrong = JaxProgram(
        lambda params, nest: summing(params, nest) | {"total": summing(params, nest)["total"] + 1},
        {"scale": np.ones(2)}, loss, names={"scale": "scale"},
    )  # fmt: skip
    pair = compare_programs(wrong, TorchProgram(Summing(), loss), [((inputs,), targets)])
    assert pair.comparison.difference is not None
    assert pair.comparison.difference.name == "logits/outputs.total"


def test_a_dict_of_inputs_has_the_keyword_arguments() -> None:
    class Scaled(Plain):
        def forward(self, x, scale):  # pyright: ignore[reportIncompatibleMethodOverride]
            return super().forward(x) * scale

    data = [({"scale": np.full((6, 1), 0.5), "x": x}, y) for x, y in plain_batches()]
    pair = compare_plain(
        Scaled(), lambda p, x, scale: (x @ p["kernel"] + p["bias"]) * scale, data=data
    )
    pair.comparison.check()
    assert {"inputs/x", "inputs/scale", "inputs/targets"} <= {*pair.comparison.deviations}


def test_data_loaders_and_generators() -> None:
    data = plain_batches()
    expected = compare_plain(data=data)
    rows = [(x, y) for batch in data for x, y in zip(*batch, strict=True)]
    loader = torch.utils.data.DataLoader(rows, batch_size=6)  # pyright: ignore[reportArgumentType]
    for batches in (loader, (batch for batch in data), iter(data)):
        pair = compare_plain(data=batches)
        pair.comparison.check()
        assert pair.losses is not None
        assert expected.losses is not None
        np.testing.assert_array_equal(pair.losses[0], expected.losses[0])


def endless() -> Iterator[Any]:
    while True:
        yield plain_batches(1)[0]


def test_an_endless_generator_needs_a_number_of_steps() -> None:
    with pytest.raises(InvalidInput, match="steps: expected how many of more than 1000 batches"):
        compare_plain(data=endless())
    ours = JaxProgram(
        lambda p, x: x @ p["kernel"] + p["bias"],
        {"kernel": np.ones((FEATURES, CLASSES)), "bias": np.ones(CLASSES)},
        lambda o, _: jnp.square(o).mean(), names=PLAIN,
    )  # fmt: skip
    theirs = TorchProgram(Plain(), lambda o, _: o.square().mean())
    pair = compare_programs(ours, theirs, endless(), steps=3)
    assert pair.comparison.steps == [1, 2, 3]
    pair.comparison.check()


def test_a_batch_of_three_parts_says_how_it_is_written() -> None:
    x, y = plain_batches(1)[0]
    with pytest.raises(InvalidInput, match=r"got 3 parts; .*: \(\(x, lengths\), targets\)$"):
        compare_plain(data=[(x, y, y)])


def test_a_packed_sequence_is_padded_with_its_lengths_on_the_other_side() -> None:
    sequences = [torch.tensor(RNG.normal(size=(n, FEATURES))) for n in (2, 4, 1)]
    packed = torch.nn.utils.rnn.pack_sequence(sequences, enforce_sorted=False)
    padded, lengths = Packed(*packed).padded()
    expected, counts = torch.nn.utils.rnn.pad_packed_sequence(packed, batch_first=True)
    np.testing.assert_array_equal(padded, expected.numpy())
    np.testing.assert_array_equal(lengths, counts.numpy())

    class Rows(Plain):
        def forward(self, x):  # pyright: ignore[reportIncompatibleMethodOverride]
            assert isinstance(x, torch.nn.utils.rnn.PackedSequence)
            return x._replace(data=super().forward(x.data))

    def ours(params: Any, packed: Any) -> Any:
        padded, lengths = packed
        within = jnp.arange(padded.shape[1])[None] < lengths[:, None]
        return (padded @ params["kernel"] + params["bias"]) * within[..., None], lengths

    pair = compare_plain(
        Rows(), ours, data=[((packed,), None)],
        losses=(lambda o, _: o.data.square().mean(), lambda o, _: (o[0] ** 2).sum() / 28),
    )  # fmt: skip
    pair.comparison.check()
    assert {"inputs/0.0", "inputs/0.1", "logits/outputs.0"} <= {*pair.comparison.deviations}
