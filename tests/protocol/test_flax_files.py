"""Cells of linen and nnx in files: torch's layer computes what Flax's own does."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest
from flax import linen, nnx, serialization

from shared.errors import InvalidInput
from shared.protocol.state_dict import find_layer
from shared.protocol.weight_files import read_content, read_layer, write_layer
from tests.support.convert_cases import check_same, outputs_of
from tests.support.pairwise import each_by_default

X: Any = np.random.default_rng(0).standard_normal((2, 5, 3))
SINGLE: Any = X.astype(np.float32)
LINEN: dict[str, Any] = {
    "LSTMCell": linen.LSTMCell,
    "OptimizedLSTMCell": linen.OptimizedLSTMCell,
    "GRUCell": linen.GRUCell,
    "SimpleCell": linen.SimpleCell,
}
NNX: dict[str, Any] = {
    "LSTMCell": nnx.LSTMCell,
    "OptimizedLSTMCell": nnx.OptimizedLSTMCell,
    "GRUCell": nnx.GRUCell,
    "SimpleCell": nnx.SimpleCell,
}
Save = Callable[[Path, Any], None]


def save_msgpack(path: Path, tree: Any) -> None:
    path.write_bytes(serialization.to_bytes(tree))


def save_orbax(path: Path, tree: Any) -> None:
    with ocp.PyTreeCheckpointer() as writer:
        writer.save(path, tree)


FILES: dict[str, Save] = {"msgpack": save_msgpack, "orbax": save_orbax}


def filled(tree: Any, dtype: Any = np.float64, seed: int = 1) -> Any:
    """The same tree with values of which none is zero, biases among them."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: jnp.asarray(rng.uniform(0.1, 0.7, leaf.shape), dtype), tree)


def shapes(layer: linen.Module, x: Any = X) -> Any:
    """Of its variables, for which nothing is compiled."""
    return jax.eval_shape(layer.init, jax.random.key(0), x)


def linen_layer(cell: str) -> tuple[Any, Any]:
    """An RNN of linen, and its variables."""
    layer = linen.RNN(LINEN[cell](4, dtype=jnp.float64, param_dtype=jnp.float64))
    return layer, filled(shapes(layer))


def in_both_directions(cell: str) -> tuple[Any, Any]:
    layer = linen.Bidirectional(linen_layer(cell)[0], linen_layer(cell)[0])
    return layer, filled(shapes(layer))


@pytest.mark.parametrize(("cell", "file"), each_by_default(LINEN, FILES))
def test_a_cell_of_linen_becomes_a_layer_of_torch(cell: str, file: str, tmp_path: Path) -> None:
    layer, variables = linen_layer(cell)
    FILES[file](tmp_path / "weights", variables)
    found = read_layer(tmp_path / "weights", one_bias=True)
    check_same(outputs_of(found, X), np.asarray(layer.apply(variables, X)))
    assert (found.prefix, found.cell) == ("params.cell.", False)
    assert found.assumed[:2] == ("activation_fn tanh", "gate_fn sigmoid")
    leaves: Any = jax.tree.leaves_with_path(variables)
    assert set(found.sources) == {".".join(step.key for step in path) for path, _ in leaves}
    with pytest.raises(
        InvalidInput,
        match=r"a single bias, .* one_bias=True .* it becomes bias_ih",
    ):
        read_layer(tmp_path / "weights")


@pytest.mark.parametrize(("cell", "file"), each_by_default(NNX, FILES))
def test_a_cell_of_nnx_becomes_a_layer_of_torch(cell: str, file: str, tmp_path: Path) -> None:
    options: dict[str, Any] = {"param_dtype": jnp.float64, "rngs": nnx.Rngs(0)}
    options |= {"dtype": jnp.float64}
    layer = nnx.RNN(NNX[cell](3, 4, **options))
    nnx.update(layer, filled(nnx.state(layer, nnx.Param)))
    state = nnx.state(layer, nnx.Param)
    FILES[file](tmp_path / "pure", nnx.to_pure_dict(state))
    found = read_layer(tmp_path / "pure", one_bias=True)
    check_same(outputs_of(found, X), np.asarray(layer(X)))
    if file == "orbax":  # where the arrays are below "value"
        save_orbax(tmp_path / "state", state)
        assert read_layer(tmp_path / "state", one_bias=True).prefix == "cell."


def test_the_gates_that_have_two_biases_keep_them(tmp_path: Path) -> None:
    """Linen's GRU has b_hn: with all other biases zero, nothing has to be accepted."""
    layer, variables = linen_layer("GRUCell")
    cell = variables["params"]["cell"]
    for gate in ("ir", "iz"):
        cell[gate]["bias"] = jnp.zeros(4)
    save_msgpack(tmp_path / "a", variables)
    found = read_layer(tmp_path / "a")
    check_same(outputs_of(found, X), np.asarray(layer.apply(variables, X)))
    assert np.array_equal(found.tensors["bias_hh_l0"][8:], cell["hn"]["bias"])


def test_both_directions_become_one_layer(tmp_path: Path) -> None:
    layer, variables = in_both_directions("GRUCell")
    save_msgpack(tmp_path / "a", {"model": {"encoder": variables["params"]}})
    found = read_layer(tmp_path / "a", one_bias=True)
    assert (found.prefix, found.config.bidirectional) == ("model.encoder.", True)
    check_same(outputs_of(found, X), np.asarray(layer.apply(variables, X)))
    assert len(found.sources) == 20
    half = read_layer(tmp_path / "a", "backward_rnn.cell", one_bias=True)
    assert not half.config.bidirectional
    assert half.prefix == "model.encoder.backward_rnn.cell."


@pytest.mark.parametrize(
    ("cell", "both", "suffix"),
    each_by_default(
        ["OptimizedLSTMCell", "GRUCell", "SimpleCell"], [False, True], [".msgpack", ".orbax"]
    ),
)
def test_what_is_written_is_linens_tree(cell: str, both: bool, suffix: str, tmp_path: Path) -> None:
    """And what it holds comes back with the same bits."""
    layer, variables = (in_both_directions if both else linen_layer)(cell)
    save_msgpack(tmp_path / "given", variables)
    found = read_layer(tmp_path / "given", one_bias=True)
    target = tmp_path / f"written{suffix}"
    write_layer(target, found, "params" if both else "params.cell")
    if suffix == ".msgpack":
        written: Any = serialization.msgpack_restore(target.read_bytes())
    else:
        written = ocp.PyTreeCheckpointer().restore(target)
    assert jax.tree.structure(written) == jax.tree.structure(variables)
    for one, other in zip(jax.tree.leaves(written), jax.tree.leaves(variables), strict=True):
        assert np.asarray(one).tobytes() == np.asarray(other).tobytes()
    check_same(np.asarray(layer.apply(written, X)), np.asarray(layer.apply(variables, X)))


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "MGUCell": (
        lambda: filled(shapes(linen.RNN(linen.MGUCell(4)), SINGLE)),
        "Flax's MGUCell",
    ),
    "ConvLSTMCell": (
        lambda: filled(shapes(linen.RNN(linen.ConvLSTMCell(4, (3,))), SINGLE[..., None])),
        "Flax's ConvLSTMCell",
    ),
    "a gate missing": (
        lambda: without(linen_layer("LSTMCell")[1], "ho"),
        "missing params.cell.ho.kernel",
    ),
    "another shape": (
        lambda: changed(linen_layer("GRUCell")[1], "hz", jnp.ones((4, 5))),
        r"params.cell.hz.kernel: expected shape \(4, 4\), got \(4, 5\)",
    ),
    "two dtypes": (
        lambda: changed(linen_layer("LSTMCell")[1], "hf", jnp.ones((4, 4), jnp.float32)),
        r"one dtype, got float32 \(params.cell.hf.kernel\)",
    ),
    "stacked by scan": (
        lambda: jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), linen_layer("SimpleCell")[1]),
        "found none",
    ),
}


def without(variables: Any, gate: str) -> Any:
    del variables["params"]["cell"][gate]
    return variables


def changed(variables: Any, gate: str, kernel: Any) -> Any:
    variables["params"]["cell"][gate]["kernel"] = kernel
    return variables


@pytest.mark.parametrize("case", REFUSED)
def test_a_tree_without_a_counterpart_is_refused_by_name(case: str, tmp_path: Path) -> None:
    make, said = REFUSED[case]
    save_msgpack(tmp_path / "a.msgpack", make())
    with pytest.raises(InvalidInput, match=said) as refusal:
        read_layer(tmp_path / "a.msgpack")
    assert str(refusal.value).startswith(f"{tmp_path / 'a.msgpack'}: ")


def test_an_optimizers_state_is_never_taken_for_weights(tmp_path: Path) -> None:
    _, variables = linen_layer("LSTMCell")
    kept = {"0": {"mu": filled(variables, seed=2), "nu": filled(variables, seed=3)}}
    save_msgpack(tmp_path / "a", {"params": variables["params"], "opt_state": kept, "step": 3})
    found = read_layer(tmp_path / "a", one_bias=True)
    assert found.prefix == "params.cell."
    save_msgpack(tmp_path / "b", {"opt_state": kept})
    with pytest.raises(InvalidInput, match=r"only what an optimizer keeps: 'opt_state.0.mu"):
        read_layer(tmp_path / "b", one_bias=True)


def test_names_with_slashes_are_found_too() -> None:
    _, variables = linen_layer("GRUCell")
    flat = {
        "/".join(k.key for k in p): np.asarray(a) for p, a in jax.tree.leaves_with_path(variables)
    }
    found = find_layer(flat, "cell", one_bias=True)
    assert found.prefix == "params/cell/"


@pytest.mark.parametrize("file", FILES)
def test_cells_in_lists_beside_anything(file: str, tmp_path: Path) -> None:
    _, variables = linen_layer("GRUCell")
    cell = variables["params"]["cell"]
    tree = {"layers": [{"empty": {}, "scale": np.ones(2)}, {"rnn": [cell]}], "step": 3}
    FILES[file](tmp_path / "a", tree)
    found = read_layer(tmp_path / "a", one_bias=True)
    assert found.prefix == "layers.1.rnn.0."
    assert np.array_equal(found.tensors["weight_ih_l0"][:4], cell["ir"]["kernel"].T)
    assert read_content(tmp_path / "a").others == ["layers.0.scale", "step"]


def test_two_biases_do_not_fit_into_one(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    shapes = {"weight_ih_l0": (16, 3), "weight_hh_l0": (16, 4), "bias_ih_l0": 16, "bias_hh_l0": 16}
    found = find_layer({name: rng.standard_normal(shape) for name, shape in shapes.items()})
    with pytest.raises(InvalidInput, match="bias_hh_l0: the format has a single bias"):
        write_layer(tmp_path / "a.msgpack", found)
    assert list(tmp_path.iterdir()) == []
    write_layer(tmp_path / "a.msgpack", found, one_bias=True)
    back = read_layer(tmp_path / "a.msgpack", one_bias=True)
    check_same(outputs_of(back, X), outputs_of(found, X))
    assert not back.tensors["bias_hh_l0"].any()
    write_layer(tmp_path / "b.msgpack", back)
    again = read_layer(tmp_path / "b.msgpack", one_bias=True).tensors
    for name, array in back.tensors.items():
        assert again[name].tobytes() == array.tobytes(), name
