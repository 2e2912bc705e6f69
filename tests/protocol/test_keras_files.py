"""Layers in files of Keras: torch's layer computes what Keras itself does, and the other way round.

Keras takes its backend from the environment when it is imported, here torch.
"""

import json
import os
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import h5py
import numpy as np
import pytest
import torch

from shared.errors import InvalidInput
from shared.protocol.state_dict import FoundLayer, find_layer
from shared.protocol.weight_files import read_content, read_layer, write_layer
from tests.support.convert_cases import check_same, outputs_of
from tests.support.pairwise import each_by_default

with patch.dict(os.environ, {"KERAS_BACKEND": "torch"}):
    keras: Any = pytest.importorskip("keras")
# What Keras itself does with torch's tensors.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

X = np.random.default_rng(0).standard_normal((2, 5, 3)).astype(np.float32)
LAYERS: dict[str, Callable[[], Any]] = {
    "LSTM": lambda: keras.layers.LSTM(4, return_sequences=True),
    "LSTM without bias": lambda: keras.layers.LSTM(4, return_sequences=True, use_bias=False),
    "GRU": lambda: keras.layers.GRU(4, return_sequences=True),
    "GRU without bias": lambda: keras.layers.GRU(4, return_sequences=True, use_bias=False),
    "SimpleRNN": lambda: keras.layers.SimpleRNN(4, return_sequences=True),
    "RNN of a cell": lambda: keras.layers.RNN(keras.layers.LSTMCell(4), return_sequences=True),
    "Bidirectional": lambda: keras.layers.Bidirectional(keras.layers.GRU(4, return_sequences=True)),
    "Bidirectional LSTM": lambda: keras.layers.Bidirectional(
        keras.layers.LSTM(4, return_sequences=True)
    ),
}
RELU: dict[str, Callable[[], Any]] = {
    "SimpleRNN relu": lambda: keras.layers.SimpleRNN(4, return_sequences=True, activation="relu"),
}


def model_of(*layers: Any) -> Any:
    """A model with values of which none is zero, biases among them."""
    model = keras.Sequential([keras.Input((5, 3)), *layers])
    rng = np.random.default_rng(1)
    model.set_weights([rng.uniform(0.1, 0.7, w.shape) for w in model.get_weights()])
    return model


def predicted(model: Any) -> np.ndarray:
    return keras.ops.convert_to_numpy(model(X, training=False))


@pytest.mark.parametrize(("layer", "suffix"), each_by_default(LAYERS, [".keras", ".weights.h5"]))
def test_a_layer_of_keras_becomes_one_of_torch(layer: str, suffix: str, tmp_path: Path) -> None:
    model = model_of(LAYERS[layer]())
    file = tmp_path / f"model{suffix}"
    (model.save if suffix == ".keras" else model.save_weights)(file)
    found = read_layer(file, one_bias=True)
    check_same(outputs_of(found, X), predicted(model))
    assert found.config.bidirectional == layer.startswith("Bidirectional")
    assert found.config.bias == ("without" not in layer)
    if suffix == ".keras":
        assert (found.assumed, found.told) == ((), ("nonlinearity", "batch_first"))
        assert found.config.batch_first
    else:
        assert "activation tanh" in found.assumed
    if "GRU" not in layer and layer != "Bidirectional" and found.config.bias:
        with pytest.raises(InvalidInput, match=r"vars/2: a single bias, .*--one-bias"):
            read_layer(file)
    else:
        assert read_layer(file).config == found.config


def test_the_activation_comes_from_the_config(tmp_path: Path) -> None:
    model = model_of(RELU["SimpleRNN relu"]())
    model.save(tmp_path / "m.keras")
    found = read_layer(tmp_path / "m.keras", one_bias=True)
    assert found.config.nonlinearity == "relu"
    check_same(outputs_of(found, X), predicted(model))


@pytest.mark.parametrize("layer", [n for n in LAYERS if n != "RNN of a cell"])
def test_keras_loads_what_is_written(layer: str, tmp_path: Path) -> None:
    """Into a model of that one layer, and with the same bits."""
    given = model_of(LAYERS[layer]())
    given.save_weights(tmp_path / "given.weights.h5")
    found = read_layer(tmp_path / "given.weights.h5", one_bias=True)
    write_layer(tmp_path / "written.weights.h5", found)
    model = model_of(LAYERS[layer]())
    model.set_weights([0 * array for array in model.get_weights()])
    model.load_weights(tmp_path / "written.weights.h5")
    for one, other in zip(model.get_weights(), given.get_weights(), strict=True):
        assert other.any()
        assert one.tobytes() == other.tobytes()
    check_same(predicted(model), outputs_of(found, X))


def test_layers_are_found_under_their_places(tmp_path: Path) -> None:
    """Also in a model in a model, in a stack of cells, and beside an optimizer's state."""
    inner = keras.Sequential([keras.Input((5, 4)), keras.layers.GRU(4, return_sequences=True)])
    cells = [keras.layers.LSTMCell(4), keras.layers.GRUCell(4)]
    stack = keras.layers.RNN(cells, return_sequences=True, go_backwards=False)
    first = keras.layers.LSTM(4, return_sequences=True, dropout=0.1, stateful=False)
    model = model_of(first, inner, stack, keras.layers.Flatten(), keras.layers.Dense(2))
    model.compile("adam", "mse")
    model.train_on_batch(X, np.ones((2, 2)))
    for name, save in (("m.keras", model.save), ("m.weights.h5", model.save_weights)):
        save(tmp_path / name)
        content = read_content(tmp_path / name)
        assert any(place.startswith("optimizer/") for place in content.others)
        with pytest.raises(InvalidInput, match="one of 'layers/lstm/', 'layers/rnn/cell/cells/"):
            read_layer(tmp_path / name)
        found = read_layer(tmp_path / name, "layers/lstm", one_bias=True)
        assert found.not_carried_over == (("dropout=0.1",) if name == "m.keras" else ())
        nested = read_layer(tmp_path / name, "sequential/layers/gru")
        check_same(
            outputs_of(nested, outputs_of(found, X)), predicted(keras.Sequential(model.layers[:2]))
        )
        cell = read_layer(tmp_path / name, "gru_cell")
        assert (cell.config.cell, cell.told != ()) == ("gru", name == "m.keras")


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "another activation": (
        lambda: keras.layers.LSTM(4, activation="relu"),
        r"layers/lstm/: expected activation='tanh', which torch's layer has, got 'relu'",
    ),
    "another gate": (
        lambda: keras.layers.GRU(4, recurrent_activation="hard_sigmoid"),
        "recurrent_activation='sigmoid'",
    ),
    "backwards": (lambda: keras.layers.GRU(4, go_backwards=True), "expected go_backwards=False"),
    "backwards, of cells": (
        lambda: keras.layers.RNN([keras.layers.GRUCell(4)], go_backwards=True),
        "expected go_backwards=False",
    ),
    "reset before": (
        lambda: keras.layers.GRU(4, reset_after=False),
        r"expected a GRU with reset_after=True, whose bias is \(2, 12\), got \(12,\)",
    ),
    "reset before, without bias": (
        lambda: keras.layers.GRU(4, reset_after=False, use_bias=False),
        "expected reset_after=True",
    ),
    "added directions": (
        lambda: keras.layers.Bidirectional(keras.layers.GRU(4), merge_mode="sum"),
        "expected merge_mode='concat', got 'sum'",
    ),
    "a convolution": (
        lambda: keras.Sequential(
            [keras.layers.Reshape((5, 3, 1)), keras.layers.ConvLSTM1D(2, 3)]
        ),
        "expected kernels of 2 axes, .* ConvLSTM",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_torch_has_no_layer_for_is_refused_by_name(case: str, tmp_path: Path) -> None:
    make, said = REFUSED[case]
    model_of(make()).save(tmp_path / "m.keras")
    with pytest.raises(InvalidInput, match=said):
        read_layer(tmp_path / "m.keras", one_bias=True)


def layer(**options: Any) -> FoundLayer:
    torch.manual_seed(0)
    module = torch.nn.LSTM(3, 4, **options)
    return find_layer({name: t.numpy() for name, t in module.state_dict().items()})


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"proj_size": 2}, "weight_hr_l0: Keras's LSTM has no projection"),
        ({"num_layers": 2}, "weight_ih_l1: expected a single layer, .*--layer 0"),
        ({}, "bias_hh_l0: the format has a single bias"),
    ],
)
def test_what_keras_cannot_hold_is_not_written(
    options: dict[str, Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises(InvalidInput, match=said):
        write_layer(tmp_path / "m.weights.h5", layer(**options))
    assert list(tmp_path.iterdir()) == []


def test_bfloat16_as_keras_writes_it(tmp_path: Path) -> None:
    options = {"dtype": "bfloat16", "recurrent_initializer": "glorot_uniform"}
    given = keras.Sequential([keras.Input((5, 3)), keras.layers.GRU(4, **options)])
    given.save_weights(tmp_path / "a.weights.h5")
    found = read_layer(tmp_path / "a.weights.h5")
    assert {array.dtype.name for array in found.tensors.values()} == {"bfloat16"}
    write_layer(tmp_path / "b.weights.h5", found)
    back = read_layer(tmp_path / "b.weights.h5")
    for name, array in found.tensors.items():
        assert array.any() or name.startswith("bias")
        assert array.tobytes() == back.tensors[name].tobytes()


def test_damaged_and_older_files(tmp_path: Path) -> None:
    model_of(LAYERS["GRU"]()).save(tmp_path / "whole.keras")
    with zipfile.ZipFile(tmp_path / "whole.keras") as archive:
        config, weights = archive.read("config.json"), archive.read("model.weights.h5")
    contents = {"a.keras": (config[:-9], weights), "b.keras": (config, weights[:900])}
    for name, (first, second) in contents.items():
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.writestr("config.json", first)
            archive.writestr("model.weights.h5", second)
        with pytest.raises(InvalidInput, match=rf"{name}: expected a .*(keras|h5) file, got"):
            read_layer(tmp_path / name)
    with h5py.File(tmp_path / "old.h5", "w") as file:
        file.attrs["layer_names"] = ["lstm"]
    with pytest.raises(InvalidInput, match=r"got a whole model .*save_weights"):
        read_layer(tmp_path / "old.h5")
    with h5py.File(tmp_path / "link.h5", "w") as file:
        file.create_dataset("layers/gru/cell/vars/0", (3, 1 << 28), "f4", chunks=(1, 1 << 20))
    with pytest.raises(InvalidInput, match="expected an array that is stored in the file"):
        read_layer(tmp_path / "link.h5")


def test_without_h5py_a_line_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model_of(LAYERS["GRU"]()).save(tmp_path / "m.keras")
    monkeypatch.setitem(sys.modules, "h5py", None)
    said = r'h5py, .*: pip install "rnn-parity\[keras\]"'
    with pytest.raises(InvalidInput, match=said):
        read_layer(tmp_path / "m.keras")
    with pytest.raises(InvalidInput, match=said):
        write_layer(tmp_path / "out.weights.h5", layer(bias=False))
    assert not (tmp_path / "out.weights.h5").exists()


def test_a_config_runs_nothing(tmp_path: Path) -> None:
    """A Lambda layer's code, and a class of another module, are text here."""
    model_of(LAYERS["GRU"]()).save(tmp_path / "m.keras")
    with zipfile.ZipFile(tmp_path / "m.keras") as archive:
        config, weights = json.loads(archive.read("config.json")), archive.read("model.weights.h5")
    code = {
        "module": "os",
        "class_name": "system",
        "config": {"name": "x", "function": "touch ran"},
    }
    config["config"]["layers"].append(code)
    with zipfile.ZipFile(tmp_path / "m.keras", "w") as archive:
        archive.writestr("config.json", json.dumps(config))
        archive.writestr("model.weights.h5", weights)
    assert read_layer(tmp_path / "m.keras").config.cell == "gru"
    assert [path.name for path in tmp_path.iterdir()] == ["m.keras"]
