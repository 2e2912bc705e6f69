"""Tests of shared/protocol/mapping.py: a state dict into a port, and back."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx
from torch import nn

from shared.errors import InvalidInput
from shared.protocol.bound_mapping import digest
from shared.protocol.mapping import WeightMap
from shared.system.randomness import generator


class Port(nnx.Module):
    def __init__(self, rngs: nnx.Rngs):
        self.conv = nnx.Conv(2, 4, (3, 2), rngs=rngs)
        self.norm = nnx.BatchNorm(4, rngs=rngs)
        self.drop = nnx.Dropout(0.5, rngs=rngs)
        self.head = nnx.Linear(4, 3, rngs=rngs)


def theirs() -> nn.ModuleDict:
    torch.manual_seed(0)
    made = nn.ModuleDict(
        {"conv": nn.Conv2d(2, 4, (3, 2)), "norm": nn.BatchNorm2d(4), "head": nn.Linear(4, 3)}
    )
    with torch.no_grad():
        for tensor in made.state_dict().values():
            if tensor.is_floating_point():
                tensor.uniform_(0.5, 1.5)
        made["norm"].num_batches_tracked.fill_(7)  # pyright: ignore[reportCallIssue]
    return made


NAMES = WeightMap(
    {
        "conv.weight": "conv.kernel OIHW->HWIO",
        "conv.bias": "conv.bias",
        "norm.weight": "norm.scale",
        "norm.bias": "norm.bias",
        "norm.running_mean": "norm.mean",
        "norm.running_var": "norm.var",
        "head.weight": "head.kernel.T",
        "head.bias": "head.bias",
    }
)


def port() -> Port:
    return Port(nnx.Rngs(3))


def values(model: nnx.Module) -> dict[str, np.ndarray]:
    flat = nnx.to_flat_state(nnx.state(model))
    return {".".join(map(str, path)): np.asarray(v[...]) for path, v in flat if "rngs" not in path}


def changed(**places: Any) -> WeightMap:
    dotted = {name.replace("_", "."): place for name, place in places.items()}
    return replace(NAMES, places={**NAMES.places, **dotted})


def test_a_port_gets_every_tensor_and_buffer_and_gives_it_back_bit_for_bit() -> None:
    module, ours = theirs(), port()
    state = module.state_dict()
    assert NAMES.load(ours, state) is ours
    np.testing.assert_array_equal(
        ours.conv.kernel[...], state["conv.weight"].numpy().transpose(2, 3, 1, 0)
    )
    np.testing.assert_array_equal(ours.head.kernel[...], state["head.weight"].numpy().T)
    np.testing.assert_array_equal(ours.norm.var[...], state["norm.running_var"].numpy())
    back = NAMES.state_dict(ours)
    assert back.keys() == state.keys() - {"norm.num_batches_tracked"}
    for name, tensor in back.items():
        assert torch.equal(tensor, state[name]), name


def test_a_counter_comes_back_from_the_modules_own_state_dict() -> None:
    module, ours = theirs(), port()
    names = replace(NAMES, constants={"norm.num_batches_tracked": ""})
    names.load(ours, module.state_dict())
    with pytest.raises(InvalidInput, match=r"norm.num_batches_tracked has no place in the port"):
        names.state_dict(ours)
    found = names.state_dict(ours, like=module.state_dict())
    module.load_state_dict(found)
    assert found["norm.num_batches_tracked"] == 7


def test_a_pytree_stays_and_a_new_one_has_the_values() -> None:
    params = {"a": {"w": jnp.ones((2, 3)), "n": 4}, "b": [jnp.ones(3, jnp.float16)]}
    names = WeightMap({"x.weight": "a.w.T", "x.bias": "b.0"})
    weight, bias = np.arange(6.0).reshape(3, 2) + 1, np.array([1.5, 2.5, 3.5])
    found = names.load(params, {"x.weight": weight, "x.bias": bias})
    np.testing.assert_array_equal(found["a"]["w"], weight.T)
    np.testing.assert_array_equal(found["b"][0], bias.astype(np.float16))
    assert found["a"]["n"] == 4
    assert found["b"][0].dtype == jnp.float16
    assert float(params["a"]["w"].sum()) == 6
    assert torch.equal(names.state_dict(found)["x.weight"], torch.tensor(weight).float())


def test_fused_kernels_hold_several_tensors_in_parts() -> None:
    rng = generator(0, "fused")
    weights = {
        "weight_ih_l0": rng.standard_normal((8, 3)),
        "weight_hh_l0": rng.standard_normal((8, 2)),
        "bias_ih_l0": rng.standard_normal(8),
        "bias_hh_l0": np.zeros(8),
    }
    order = {"i": "0:2", "f": "4:6", "g": "2:4", "o": "6:8"}  # the port's gates: i g f o
    names = WeightMap(
        {
            "weight_ih_l0": [f"w[0:3, {cut}].T" for cut in order.values()],
            "weight_hh_l0": [f"w[3:5, {cut}].T" for cut in order.values()],
            "bias_ih_l0": [f"b[{cut}]" for cut in order.values()],
            "bias_hh_l0": None,
        }
    )
    params = {"w": np.ones((5, 8)), "b": np.ones(8)}
    found = names.load(params, weights)
    reordered = np.r_[0:2, 4:6, 2:4, 6:8]
    expected = np.concatenate([weights["weight_ih_l0"], weights["weight_hh_l0"]], 1)[reordered].T
    np.testing.assert_array_equal(found["w"], expected)
    back = names.state_dict(found, like=weights)
    for name, array in weights.items():
        np.testing.assert_array_equal(back[name], array, err_msg=name)


def test_blocks_may_have_other_heights_and_one_may_be_without_a_twin() -> None:
    params = {"a": np.ones((1, 2)), "b": np.ones((2, 3))}
    names = WeightMap({"x": ["a", None, "b.T"]})
    tensor = np.array([[1.0, 2], [0, 0], [0, 0], [3, 4], [5, 6], [7, 8]])
    found = names.load(params, {"x": tensor})
    np.testing.assert_array_equal(found["a"], [[1, 2]])
    np.testing.assert_array_equal(found["b"], [[3, 5, 7], [4, 6, 8]])
    np.testing.assert_array_equal(names.state_dict(found, like={"x": tensor})["x"], tensor)
    with pytest.raises(InvalidInput, match="x: has no twin in the port for block 2 of 3"):
        names.load(params, {"x": tensor + 1})


def test_a_prefix_is_stripped_and_put_back() -> None:
    module, ours = nn.DataParallel(theirs()), port()
    with pytest.raises(InvalidInput, match=r"got none \(with prefix='module.' it is there\)"):
        NAMES.load(ours, module.state_dict())
    names = replace(NAMES, prefix="module.")
    names.load(ours, module.state_dict())
    found = names.state_dict(ours)
    assert torch.equal(found["module.conv.weight"], module.state_dict()["module.conv.weight"])
    with pytest.raises(InvalidInput, match="expected a name that begins with module"):
        names.load(ours, theirs().state_dict())


def test_tied_tensors_have_one_place() -> None:
    names = WeightMap({"embedding.weight": "embedding", "head.weight": "embedding"})
    params = {"embedding": np.ones((3, 2))}
    tied = np.arange(6.0).reshape(3, 2)
    for weights in ({"embedding.weight": tied, "head.weight": tied}, {"head.weight": tied}):
        np.testing.assert_array_equal(names.load(params, weights)["embedding"], tied)
    back = names.state_dict(params)
    assert torch.equal(back["embedding.weight"], back["head.weight"])
    with pytest.raises(InvalidInput, match=r"embedding.weight, head.weight: expected the same val"):
        names.load(params, {"embedding.weight": tied, "head.weight": tied + 1})


def test_tied_tensors_do_not_go_to_two_places() -> None:
    names = WeightMap({"embedding.weight": "embedding", "head.weight": "kernel.T"})
    module = nn.ModuleDict({"embedding": nn.Embedding(3, 2), "head": nn.Linear(2, 3, bias=False)})
    module["head"].weight = module["embedding"].weight
    params = {"embedding": np.ones((3, 2)), "kernel": np.ones((2, 3))}
    for state in (module.state_dict(), {n: t.numpy() for n, t in module.state_dict().items()}):
        with pytest.raises(InvalidInput, match="expected one place for what is one tensor"):
            names.load(params, state)


def test_a_variable_with_two_places_may_be_named_by_either() -> None:
    class Shared(nnx.Module):
        def __init__(self) -> None:
            self.second = nnx.Linear(2, 2, use_bias=False, rngs=nnx.Rngs(0))
            self.first = self.second.kernel

    ours, tensor = Shared(), np.arange(4.0).reshape(2, 2)
    WeightMap({"weight": "second.kernel.T"}).load(ours, {"weight": tensor})
    np.testing.assert_array_equal(ours.first[...], tensor.T)
    assert ours.first is ours.second.kernel


def test_a_wrapped_weight_is_computed() -> None:
    torch.manual_seed(1)
    head: Any = nn.utils.parametrizations.weight_norm(nn.Linear(4, 3))
    names = WeightMap({"head.weight": "kernel.T", "head.bias": "bias"})
    with torch.no_grad():
        head.parametrizations.weight.original0.mul_(3)
    params = {"kernel": np.ones((4, 3)), "bias": np.ones(3)}
    found = names.load(params, nn.ModuleDict({"head": head}).state_dict())
    weight = head.weight.detach().numpy()
    np.testing.assert_allclose(found["kernel"].T, weight, rtol=1e-6)


def test_a_constant_of_other_values_is_refused() -> None:
    fixed = np.arange(3.0)
    names = WeightMap({"x": "x"}, constants={"position": digest(fixed)})
    params = {"x": np.ones(2)}
    names.load(params, {"x": np.full(2, 3.0), "position": fixed.astype(np.float32)})
    with pytest.raises(InvalidInput, match="position: expected the buffer that the port"):
        names.load(params, {"x": np.full(2, 3.0), "position": fixed + 1})


def without(name: str) -> Mapping[str, Any]:
    return {key: tensor for key, tensor in theirs().state_dict().items() if key != name}


BAD: dict[str, tuple[WeightMap, Mapping[str, Any], str]] = {
    "a missing tensor": (
        NAMES, without("head.bias"), "names: expected head.bias among torch's tensors, got none "
        "(did you mean head.weight?)"),
    "an unknown tensor": (
        NAMES, theirs().state_dict() | {"more": torch.ones(2)},
        "names: expected a place for more (None if there is none)"),
    "another shape": (
        NAMES, theirs().state_dict() | {"head.bias": torch.ones(4)},
        "names: head.bias: expected shape (3,) for head.bias, got (4,)"),
    "too large": (
        NAMES, theirs().state_dict() | {"head.bias": torch.full((3,), 1e300, dtype=torch.float64)},
        "head.bias: expected values within the range of float32, got 1e+300"),
    "no tensor": (
        NAMES, theirs().state_dict() | {"head.bias": [1, 2, 3]},
        "head.bias: expected an array, got list; of a checkpoint, pass the state dict alone"),
    "no place": (
        changed(head_bias="head.bais"), theirs().state_dict(),
        "names: head.bias: expected one of conv.bias, conv.kernel, head.bias, head.kernel, "
        "norm.bias, norm.mean, norm.scale, norm.var, got head.bais"),
    "taken": (
        changed(head_bias="conv.bias[:3]"), theirs().state_dict(),
        "names: head.bias: conv.bias has a twin already"),
    "not all of it": (
        changed(head_bias="head.bias[:2]"), theirs().state_dict(),
        "names: expected a twin for all of head.bias, got some"),
    "a parameter without a twin": (
        changed(head_bias=None), theirs().state_dict(),
        "names: expected a twin for head.bias, got none"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_a_refusal_names_the_tensor_and_leaves_the_port_as_it_was(case: str) -> None:
    names, state, message = BAD[case]
    ours = port()
    before = values(ours)
    with pytest.raises(InvalidInput) as error:
        names.load(ours, state)
    assert str(error.value) == message
    for name, array in values(ours).items():
        np.testing.assert_array_equal(array, before[name], err_msg=name)


def test_the_table_shows_places_and_reasons() -> None:
    names = WeightMap(
        {"a.weight": "b.T", "c": ["d", None], "e": None}, {"f": ""}, reasons={"a.weight": "why"}
    )
    assert str(names).splitlines() == [
        "a.weight  b.T        why",
        "c         [d, None]",
        "e         None",
        "f         –",
    ]
