"""Cases for recurrent layers, run by torch.nn, by both packages, and compared by name."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import torch
from flax import nnx
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

import rnn_jax.layers
import rnn_torch.layers
from shared.protocol import LayerConfig
from shared.protocol.layer import STATES

TIME, BATCH, INPUTS, HIDDEN, PROJECTED = 5, 4, 3, 4, 2
LENGTHS = {
    "all": None,
    "ragged": [5, 4, 2, 2],
    "unsorted": [3, 5, 2, 4],
    "one of length 1": [4, 1, 2, 3],  # and none that reaches the end of the padding
}

Tensors = dict[str, np.ndarray]


class Case(NamedTuple):
    config: LayerConfig
    tensors: Tensors
    """Weights by torch's names, "x", "h_0", "c_0" in float64, nowhere zero, not even in padding."""
    cotangents: Tensors
    """Factors of "output", "h_n" and "c_n" in the scalar that is differentiated."""
    lengths: list[int] | None


def make_case(
    config: LayerConfig,
    lengths: list[int] | None = None,
    *,
    time: int = TIME,
    batch: int = BATCH,
    seed: int = 0,
) -> Case:
    rng = np.random.default_rng([seed, config.num_layers, config.hidden_size, time, batch])
    shapes: dict[str, tuple[int, ...]] = config.shapes()
    leading = (batch, time) if config.batch_first else (time, batch)
    states = dict(zip(STATES[config.cell], config.state_shapes(batch), strict=True))
    shapes |= {"x": (*leading, config.input_size)}
    shapes |= {f"{name}_0": shape for name, shape in states.items()}
    tensors = {name: rng.uniform(-0.7, 0.7, shape) for name, shape in shapes.items()}
    outputs = {"output": (*leading, config.directions * config.output_size)}
    outputs |= {f"{name}_n": shape for name, shape in states.items()}
    cotangents = {name: rng.standard_normal(shape) for name, shape in outputs.items()}
    return Case(config, tensors, cotangents, lengths)


def weights_of(case: Case) -> Tensors:
    return {name: array for name, array in case.tensors.items() if name in case.config.shapes()}


def state_of(case: Case, tensors: dict[str, Any]) -> Any:
    """h_0, or (h_0, c_0)."""
    parts = [tensors[f"{name}_0"] for name in STATES[case.config.cell]]
    return tuple(parts) if len(parts) > 1 else parts[0]


def named(case: Case, output: Any, state: Any) -> dict[str, Any]:
    parts = state if isinstance(state, tuple) else (state,)
    names = [f"{name}_n" for name in STATES[case.config.cell]]
    return {"output": output} | dict(zip(names, parts, strict=True))


def torch_native(config: LayerConfig) -> torch.nn.RNNBase:
    kind = {"rnn": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[config.cell]
    return kind(**config.arguments(), dtype=torch.float64)


def torch_handcrafted(config: LayerConfig) -> torch.nn.Module:
    return rnn_torch.layers.make(config, dtype=torch.float64)


def jax_layer(case: Case) -> Any:
    layer = rnn_jax.layers.make(case.config, param_dtype=jnp.float64, rngs=nnx.Rngs(0))
    layer.load_state_dict(weights_of(case))
    return layer


def run_torch(case: Case, layer: torch.nn.Module) -> tuple[Tensors, Tensors]:
    """Outputs by name, and the gradient of Σ cotangent · output for every tensor."""
    config, lengths = case.config, case.lengths
    tensors = {name: torch.tensor(a, requires_grad=True) for name, a in case.tensors.items()}
    weights = {name: tensors[name] for name in config.shapes()}
    x: Any = tensors["x"]
    if lengths is not None:
        x = pack_padded_sequence(
            x,
            torch.tensor(lengths),
            batch_first=config.batch_first,
            enforce_sorted=lengths == sorted(lengths, reverse=True),
        )
    output, state = torch.func.functional_call(layer, weights, (x, state_of(case, tensors)))
    if lengths is not None:
        assert isinstance(output, PackedSequence)
        steps = case.tensors["x"].shape[1 if config.batch_first else 0]
        output, found = pad_packed_sequence(
            output, batch_first=config.batch_first, total_length=steps
        )
        assert found.tolist() == lengths
    outputs = named(case, output, state)
    terms = [(outputs[name] * torch.tensor(case.cotangents[name])).sum() for name in outputs]
    torch.stack(terms).sum().backward()
    gradients = {name: _numpy(tensor.grad) for name, tensor in tensors.items()}
    return {name: _numpy(tensor) for name, tensor in outputs.items()}, gradients


@nnx.jit
def _jax_gradients(
    layer: Any, x: Any, state: Any, lengths: Any, cotangents: list[Any]
) -> tuple[Any, Any]:
    def scalar(layer: Any, x: Any, state: Any) -> tuple[Any, Any]:
        output, final = layer(x, state, lengths=lengths)
        outputs = [output, *(final if isinstance(final, tuple) else (final,))]
        terms = [jnp.sum(o * c) for o, c in zip(outputs, cotangents, strict=True)]
        return jnp.sum(jnp.stack(terms)), (output, final)

    return nnx.grad(scalar, argnums=(0, 1, 2), has_aux=True)(layer, x, state)


def run_jax(case: Case, layer: Any) -> tuple[Tensors, Tensors]:
    """As `run_torch`, under nnx.jit."""
    lengths = None if case.lengths is None else jnp.asarray(case.lengths)
    state = state_of(case, {name: jnp.asarray(a) for name, a in case.tensors.items()})
    gradients, (output, final) = _jax_gradients(
        layer, jnp.asarray(case.tensors["x"]), state, lengths, list(case.cotangents.values())
    )
    weights, x, initial = gradients
    found = {name: weights[name][...] for name in case.config.shapes()} | {"x": x}
    parts = initial if isinstance(initial, tuple) else (initial,)
    found |= {f"{name}_0": part for name, part in zip(STATES[case.config.cell], parts, strict=True)}
    outputs = named(case, output, final)
    return _arrays(outputs), _arrays(found)


def _numpy(tensor: Any) -> np.ndarray:
    return tensor.detach().numpy()


def _arrays(tensors: dict[str, Any]) -> Tensors:
    return {name: np.asarray(array) for name, array in tensors.items()}
