"""Layers of torch for the tests of scripts/convert.py and of files, and how they are compared."""

import subprocess
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from rnn_torch.exchange import to_tensor
from shared.protocol.state_dict import FoundLayer

STACKED: dict[str, Any] = {"num_layers": 2, "bidirectional": True}
Convert = Callable[..., subprocess.CompletedProcess]


def lstm(**options: Any) -> nn.LSTM:
    torch.manual_seed(0)
    return nn.LSTM(3, 4, **(STACKED | options))


def torch_twin(found: FoundLayer) -> Any:
    """The layer or cell of torch.nn with the arguments and values that were found."""
    config = found.config
    arguments = config.cell_arguments() if found.cell else config.arguments()
    arguments = {name: value for name, value in arguments.items() if value or name != "proj_size"}
    dtype = to_tensor(next(iter(found.tensors.values()))).dtype
    module = getattr(nn, config.name + "Cell" * found.cell)(**arguments, dtype=dtype)
    module.load_state_dict({name: to_tensor(a) for name, a in found.tensors.items()})
    return module.eval()


def outputs_of(found: FoundLayer, x: np.ndarray) -> np.ndarray:
    """Outputs of torch's layer, batch first."""
    module = torch_twin(found)
    module.batch_first = True
    with torch.no_grad():
        return module(torch.from_numpy(x))[0].numpy()


def check_same(actual: np.ndarray, expected: np.ndarray) -> None:
    """Within 1e-12 in float64 and 1e-6 in float32."""
    assert actual.shape == expected.shape
    assert actual.dtype == expected.dtype
    assert expected.any()
    tolerance = {"float64": 1e-12, "float32": 1e-6}[expected.dtype.name]
    assert np.abs(actual - expected).max() <= tolerance


def check_tensors(actual: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """The same names in the same order, every bit the same, and no tensor zero."""
    assert list(actual) == list(expected)
    for name, array in expected.items():
        assert np.asarray(array).any(), name
        assert np.asarray(actual[name]).dtype == np.asarray(array).dtype, name
        assert np.asarray(actual[name]).tobytes() == np.asarray(array).tobytes(), name
