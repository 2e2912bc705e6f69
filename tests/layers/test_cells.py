"""Every layer against the NumPy reference: outputs, final state and all gradients."""

import itertools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx

import rnn_jax.layers
import rnn_torch.layers
import rnn_torch.native
from rnn_jax.native import Native, from_weights, to_weights
from shared.config.settings import Cell, NetworkConfig, Nonlinearity
from shared.protocol.layer import STATES
from shared.protocol.weights import layer_config
from tests.support import reference
from tests.support.compare_arrays import check_all_close
from tests.support.pairwise import slow_but

CELLS = [("rnn", "tanh"), ("rnn", "relu"), ("lstm", "tanh"), ("gru", "tanh")]
SHAPES = {"one layer": (1, False), "two layers": (2, False), "both directions": (2, True)}
TOLERANCE = {"float64": 1e-10, "float32": 1e-5}
BATCH, TIME, INPUTS, HIDDEN = 3, 4, 2, 4

Tensors = dict[str, np.ndarray]


class Case(NamedTuple):
    network: NetworkConfig
    tensors: Tensors
    """Weights by torch's names, "x", "h0", "c0", all in float64 and none of them zero."""
    cotangents: Tensors
    """Factors of "output", "h" and "c" in the scalar that is differentiated."""
    masks: np.ndarray | None


def make(
    cell: Cell, nonlinearity: Nonlinearity, num_layers: int = 1, bidirectional: bool = False
) -> Case:
    rng = np.random.default_rng([HIDDEN, num_layers])
    directions = 1 + bidirectional
    network = NetworkConfig(
        cell, nonlinearity, HIDDEN, num_layers=num_layers, bidirectional=bidirectional
    )
    shapes = dict(layer_config(network, INPUTS).shapes())
    state = (num_layers * directions, BATCH, HIDDEN)
    shapes |= {"x": (BATCH, TIME, INPUTS)} | {f"{name}0": state for name in STATES[cell]}
    tensors = {name: rng.uniform(-0.7, 0.7, shape) for name, shape in shapes.items()}
    outputs = {"output": (BATCH, TIME, directions * HIDDEN)} | dict.fromkeys(STATES[cell], state)
    cotangents = {name: rng.standard_normal(shape) for name, shape in outputs.items()}
    masks = None
    if num_layers > 1:
        masks = rng.integers(0, 2, (num_layers - 1, BATCH, TIME, directions * HIDDEN)) / 0.5
    return Case(network, tensors, cotangents, masks)


def split(case: Case, tensors: dict[str, Any]) -> tuple[dict[str, Any], Any, tuple]:
    """Weights, inputs and initial state."""
    state = tuple(tensors[f"{name}0"] for name in STATES[case.network.cell])
    weights = {name: tensors[name] for name in tensors if "_l" in name}
    return weights, tensors["x"], state


def named(case: Case, output: Any, state: Any) -> dict[str, Any]:
    state = state if isinstance(state, tuple) else (state,)
    return {"output": output} | dict(zip(STATES[case.network.cell], state, strict=True))


def run_reference(case: Case) -> tuple[Tensors, Tensors]:
    """Outputs by name, and the gradient of Σ cotangent · output for every tensor."""

    def forward(tensors: Tensors) -> Tensors:
        weights, x, state = split(case, tensors)
        options = {
            "nonlinearity": case.network.nonlinearity,
            "num_layers": case.network.num_layers,
            "bidirectional": case.network.bidirectional,
            "masks": case.masks,
        }
        outputs, final = reference.recurrent(case.network.cell, weights, x, state, **options)
        return named(case, outputs, final)

    def scalar(tensors: Tensors) -> np.ndarray:
        outputs = forward(tensors)
        return np.asarray(sum((outputs[name] * case.cotangents[name]).sum() for name in outputs))

    return forward(case.tensors), reference.gradients(scalar, case.tensors)


def run_jax(case: Case, dtype: str) -> tuple[Tensors, Tensors]:
    network = case.network
    config = layer_config(network, INPUTS)
    layer = rnn_jax.layers.make(config, param_dtype=dtype, rngs=nnx.Rngs(0))
    graph, _ = nnx.split(layer)
    masks = None if case.masks is None else jnp.asarray(case.masks, dtype)
    cotangents = {name: jnp.asarray(array, dtype) for name, array in case.cotangents.items()}

    def scalar(tensors: dict[str, jax.Array]) -> tuple[jax.Array, dict[str, jax.Array]]:
        weights, x, state = split(case, tensors)
        params = nnx.State({name: nnx.Param(array) for name, array in weights.items()})
        hx: Any = state if network.cell == "lstm" else state[0]
        outputs = named(case, *nnx.merge(graph, params)(x, hx, masks=masks))
        terms = [jnp.sum(outputs[name] * cotangents[name]) for name in outputs]
        return sum(terms, start=jnp.zeros((), dtype)), outputs

    tensors = {name: jnp.asarray(array, dtype) for name, array in case.tensors.items()}
    gradients, outputs = jax.jit(jax.grad(scalar, has_aux=True))(tensors)
    return _numpy(outputs), _numpy(gradients)


def run_torch(case: Case, dtype: str, native: bool = False) -> tuple[Tensors, Tensors]:
    network = case.network
    floats = getattr(torch, dtype)
    make = rnn_torch.native.make if native else rnn_torch.layers.make
    layer = make(layer_config(network, INPUTS), device=torch.device("cpu"), dtype=floats)
    tensors = {
        name: torch.tensor(array, dtype=floats, requires_grad=True)
        for name, array in case.tensors.items()
    }
    weights, x, state = split(case, tensors)
    hx = state if network.cell == "lstm" else state[0]
    masks = None if case.masks is None else torch.tensor(case.masks, dtype=floats)
    options = {} if native else {"masks": masks}
    output, final = torch.func.functional_call(layer, weights, (x, hx), options)
    outputs = named(case, output, final)
    terms = [
        (outputs[name] * torch.tensor(case.cotangents[name], dtype=floats)).sum()
        for name in outputs
    ]
    sum(terms, start=torch.zeros((), dtype=floats)).backward()
    gradients = {name: tensor.grad for name, tensor in tensors.items()}
    return _numpy(outputs), _numpy(gradients)


def run_flax(case: Case, dtype: str) -> tuple[Tensors, Tensors]:
    """Gradients without those of bias_hh: Flax's single bias is bias_ih."""
    network = case.network
    layer = Native(layer_config(network, INPUTS), param_dtype=jnp.dtype(dtype), rngs=nnx.Rngs(0))
    graph, state = nnx.split(layer)
    paths = [path for path, _ in nnx.to_flat_state(state)]
    weights, _, _ = split(case, case.tensors)
    params = from_weights(network, {f"rnn.{name}": array for name, array in weights.items()})
    masks = None if case.masks is None else jnp.asarray(case.masks, dtype)
    others = {name: array for name, array in case.tensors.items() if name not in weights}

    def scalar(tensors: dict[str, jax.Array]) -> tuple[jax.Array, dict[str, jax.Array]]:
        flat = [(path, nnx.Param(tensors["rnn." + ".".join(map(str, path))])) for path in paths]
        _, x, before = split(case, tensors)
        merged = nnx.merge(graph, nnx.from_flat_state(flat))
        hx = before if network.cell == "lstm" else before[0]
        output, final = merged.run(x, hx, masks=masks)
        outputs = named(case, output, final if network.cell == "lstm" else final[0])
        terms = [
            jnp.sum(outputs[name] * jnp.asarray(case.cotangents[name], dtype)) for name in outputs
        ]
        return sum(terms, start=jnp.zeros((), dtype)), outputs

    tensors = {name: jnp.asarray(array, dtype) for name, array in (params | others).items()}
    gradients, outputs = jax.jit(jax.grad(scalar, has_aux=True))(tensors)
    flat = to_weights(network, {name: np.asarray(gradients[name]) for name in params})
    renamed = {
        name.removeprefix("rnn."): array
        for name, array in flat.items()
        if not name.startswith("rnn.bias_hh")
    }
    return _numpy(outputs), renamed | {name: np.asarray(gradients[name]) for name in others}


def _numpy(tensors: Any) -> Tensors:
    return {
        name: tensor.detach().numpy() if isinstance(tensor, torch.Tensor) else np.asarray(tensor)
        for name, tensor in tensors.items()
    }


def check(actual: tuple[Tensors, Tensors], expected: tuple[Tensors, Tensors], dtype: str) -> None:
    for mine, theirs in zip(actual, expected, strict=True):
        rounded = {name: array.astype(dtype) for name, array in theirs.items()}
        check_all_close(mine, rounded, relative=TOLERANCE[dtype])


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("cell", "nonlinearity"), CELLS)
def test_handcrafted_layers_are_the_reference(
    cell: Cell, nonlinearity: Nonlinearity, shape: str
) -> None:
    case = make(cell, nonlinearity, *SHAPES[shape])
    expected = run_reference(case)
    for dtype in TOLERANCE:
        check(run_jax(case, dtype), expected, dtype)
        check(run_torch(case, dtype), expected, dtype)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("cell", "nonlinearity"), CELLS)
def test_torch_native_layers_are_the_reference(
    cell: Cell, nonlinearity: Nonlinearity, shape: str
) -> None:
    case = make(cell, nonlinearity, *SHAPES[shape])._replace(masks=None)
    expected = run_reference(case)
    for dtype in TOLERANCE:
        check(run_torch(case, dtype, native=True), expected, dtype)


@pytest.mark.parametrize(
    ("cell", "nonlinearity", "shape"),
    slow_but(
        [(*cell, shape) for cell in CELLS for shape in SHAPES],
        [(*cell, shape) for cell, shape in zip(CELLS, itertools.cycle(SHAPES), strict=False)],
    ),
)
def test_flax_native_layers_are_the_reference_where_they_can_hold_it(
    cell: Cell, nonlinearity: Nonlinearity, shape: str
) -> None:
    """With b_hn = 0, which Flax's GRU lacks; the gradient of its single bias is that of b_ih."""
    case = make(cell, nonlinearity, *SHAPES[shape])
    if cell == "gru":
        for name, array in case.tensors.items():
            if name.startswith("bias_hh"):
                array[2 * HIDDEN :] = 0
    outputs, gradients = run_reference(case)
    held = {name: array for name, array in gradients.items() if not name.startswith("bias_hh")}
    for dtype in TOLERANCE:
        check(run_flax(case, dtype), (outputs, held), dtype)


def test_flax_gru_loses_b_hn() -> None:
    """The gap that `gaps` reports is there: with b_hn ≠ 0 the outputs differ."""
    case = make("gru", "tanh")
    outputs, _ = run_reference(case)
    mine, _ = run_flax(case, "float64")
    with pytest.raises(AssertionError, match="output"):
        check_all_close(mine, outputs, relative=1e-3)


def test_the_cases_notice_every_gate_and_bias() -> None:
    """Swapping any two gates, or leaving out any bias, moves the output by more than 1e-3."""
    gated: list[tuple[Cell, int]] = [("lstm", 4), ("gru", 3)]
    for cell, gates in gated:
        case = make(cell, "tanh")
        outputs, _ = run_reference(case)
        for name in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"):
            for first in range(gates):
                for second in range(first):
                    order = list(range(gates))
                    order[first], order[second] = order[second], order[first]
                    blocks = np.split(case.tensors[name], gates)
                    swapped = np.concatenate([blocks[k] for k in order])
                    changed = case._replace(tensors=case.tensors | {name: swapped})
                    check_differs(changed, outputs)
            if name.startswith("bias"):
                dropped = case.tensors | {name: np.zeros_like(case.tensors[name])}
                check_differs(case._replace(tensors=dropped), outputs)


def check_differs(case: Case, expected: Tensors) -> None:
    with pytest.raises(AssertionError, match="output"):
        check_all_close(run_torch(case, "float64")[0], expected, relative=1e-3)
