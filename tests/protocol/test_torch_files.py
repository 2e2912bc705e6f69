"""Files of torch.save as people have them: weights are found beside anything, and nothing runs."""

import argparse
import datetime
import os
import pathlib
import pickle
import sys
import types
import uuid
import warnings
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from rnn_torch.files import read_torch
from shared.errors import InvalidInput
from shared.protocol.weight_files import read_layer
from tests.support.convert_cases import check_tensors

LAYER = nn.LSTM(3, 4)
STATE = LAYER.state_dict()
EXPECTED = {name: tensor.numpy() for name, tensor in STATE.items()}


def saved(path: Path, content: Any, **options: Any) -> Path:
    torch.save(content, path, **options)
    return path


class Foreign:
    """An object whose class is pickled under another name, such as one of a package that is not
    installed."""

    def __init__(self, module: str, name: str, base: type = object):
        made = type(name, (base,), {})
        made.__module__ = module
        self.module, self.made = types.ModuleType(module), made
        setattr(self.module, name, made)

    def save(self, path: Path, make: Callable[[type], Any], monkeypatch: Any) -> Path:
        with monkeypatch.context() as patched:
            parts = self.module.__name__.split(".")
            for count in range(1, len(parts)):
                patched.setitem(sys.modules, ".".join(parts[:count]), types.ModuleType("package"))
            patched.setitem(sys.modules, self.module.__name__, self.module)
            return saved(path, make(self.made))


BESIDE: dict[str, Any] = {
    "a Namespace": argparse.Namespace(lr=0.1, path=pathlib.PurePosixPath("a")),
    "a SimpleNamespace": types.SimpleNamespace(lr=0.1),
    "NumPy's numbers": [np.float64(0.9), np.int64(3), np.bool_(True), np.float32(1)],
    "NumPy's arrays": {"loss": np.arange(3.0), "names": np.array(["a"]), "big": np.ones(2, ">f4")},
    "a state of random numbers": np.random.default_rng(0).bit_generator.state,
    "NumPy's older state": ("MT19937", np.arange(624, dtype=np.uint32), 624, 0, 0.0),
    "paths": [pathlib.PosixPath("a/b"), pathlib.PurePosixPath("a"), pathlib.PureWindowsPath("a")],
    "times": [
        datetime.datetime(2026, 1, 2, 3, tzinfo=datetime.UTC), datetime.date(2026, 1, 2),
        datetime.timedelta(3), datetime.time(3),
    ],
    "collections": [
        defaultdict(list, {"a": [1]}), defaultdict(float), Counter("aab"), deque([1, 2], 3),
        OrderedDict(a=1), {1, 2}, frozenset([1]), range(3), slice(1, 2), bytearray(b"a"), b"a", 1j,
    ],
    "numbers": [Decimal("1.5"), Fraction(1, 2), uuid.UUID(int=3), 1 << 80],
    "types": [int, float, torch.float32, torch.device("cpu"), torch.Size([1])],
    "an optimizer's state": torch.optim.AdamW(LAYER.parameters()).state_dict(),
    "a schedule's state": torch.optim.lr_scheduler.StepLR(
        torch.optim.SGD(LAYER.parameters(), 0.1), 3
    ).state_dict(),
}  # fmt: skip


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("kind", BESIDE)
def test_what_lies_beside_the_weights_is_let_in(kind: str, old: bool, tmp_path: Path) -> None:
    content = {"epoch": 3, "beside": BESIDE[kind], "state_dict": STATE}
    allowed = set(torch.serialization.get_safe_globals())
    path = saved(tmp_path / "a.ckpt", content, _use_new_zipfile_serialization=not old)
    found = read_layer(path)
    check_tensors(found.tensors, EXPECTED)
    assert found.prefix == "state_dict."
    assert set(torch.serialization.get_safe_globals()) == allowed


ELSEWHERE = {
    "Lightning": ("pytorch_lightning.utilities.parsing", "AttributeDict", dict),
    "the newer Lightning": ("lightning.fabric.utilities.data", "AttributeDict", dict),
    "OmegaConf": ("omegaconf.dictconfig", "DictConfig", object),
    "a path of Windows": ("pathlib", "WindowsPath", object),
}


@pytest.mark.parametrize("kind", ELSEWHERE)
def test_objects_of_packages_that_are_not_installed(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, name, base = ELSEWHERE[kind]

    def content(made: type) -> Any:
        one = made()
        if base is dict:
            one["lr"] = 0.1
        else:
            one.lr = 0.1  # pyright: ignore[reportAttributeAccessIssue]
        return {"hyper_parameters": one, "state_dict": STATE}

    path = Foreign(module, name, base).save(tmp_path / "a.ckpt", content, monkeypatch)
    check_tensors(read_layer(path).tensors, EXPECTED)


class Code:
    def __reduce__(self) -> Any:
        return os.system, ("touch ran",)


class Config:
    lr = 0.1


REFUSED: dict[str, tuple[Any, list[str]]] = {
    "a class of the user's": (
        {"state_dict": STATE, "config": Config()},
        ["would run tests.protocol.test_torch_files.Config", 'torch.save(content["state_dict"]'],
    ),
    "code": ({"net": STATE, "x": Code()}, ["would run posix.system", 'content["net"]']),
    "a partial": ({"model": STATE, "f": partial(print)}, ["would run functools.partial"]),
    "getattr": ({"model": STATE, "f": [].append}, ["would run getattr"]),
    "a whole layer": (
        LAYER,
        ["a whole module (torch.nn.modules.rnn.LSTM)", "torch.save(content.state_dict()"],
    ),
    "a module in a dict": (
        {"model": LAYER, "epoch": 3},
        ["with a whole module in it", 'torch.save(content["model"].state_dict()'],
    ),
    "a module under a name of its own": (
        {"mine": LAYER},
        ["with a whole module in it", "isinstance(m, torch.nn.Module)).state_dict()"],
    ),
    "an object among the tensors": (
        dict(STATE) | {"config": Config()},
        ["test_torch_files.Config", "if isinstance(t, torch.Tensor)}"],
    ),
    "a module beside a state dict": (
        {"hparams": {"activation": nn.Tanh()}, "state_dict": STATE},
        ["with a whole module in it", 'torch.save(content["state_dict"], "weights.pt")'],
    ),
}


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("kind", REFUSED)
def test_what_could_run_is_refused_by_its_name(
    kind: str, old: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    content, said = REFUSED[kind]
    path = saved(Path("a.pt"), content, _use_new_zipfile_serialization=not old)
    with pytest.raises(InvalidInput) as refusal:
        read_layer(path)
    for part in ["a.pt: expected a state dict", "if you trust the file", *said]:
        assert part in str(refusal.value), part
    assert "\n" not in str(refusal.value)
    assert [file.name for file in tmp_path.iterdir()] == ["a.pt"]


def test_the_two_lines_of_a_refusal_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    contents = {kind: content for kind, (content, _) in REFUSED.items() if "module" in kind}
    kinds = ("a class of the user's", "a whole layer", "an object among the tensors")
    contents |= {kind: REFUSED[kind][0] for kind in kinds}
    for content in contents.values():
        path = saved(Path("a.pt"), content)
        with pytest.raises(InvalidInput) as refusal:
            read_layer(path)
        first, second = str(refusal.value).partition("alone: ")[2].split("; ")
        exec(f"import torch\n{first}\n{second}", {})
        check_tensors(read_layer("weights.pt").tensors, EXPECTED)


def test_an_archive_of_torchscript_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.trace(nn.Linear(3, 4), torch.ones(1, 3)).save(path)  # pyright: ignore
    with pytest.raises(InvalidInput, match=r"got a TorchScript archive; .*torch\.jit\.load"):
        read_layer(path)


def test_other_pickles_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    path.write_bytes(pickle.dumps({"weight_ih_l0": np.ones(3)}))
    with pytest.raises(InvalidInput, match="got a plain pickle, which could run code"):
        read_layer(path)
    with pytest.raises(InvalidInput, match="got one of another pickle protocol"):
        read_layer(saved(tmp_path / "b.pt", STATE, pickle_protocol=4))


def test_weights_may_be_arrays_of_numpy_and_lie_in_lists(tmp_path: Path) -> None:
    content = {"members": [EXPECTED, {"step": 3}], "best": defaultdict(dict, {"loss": {}})}
    found = read_layer(saved(tmp_path / "a.pt", content))
    assert found.prefix == "members.0."
    check_tensors(found.tensors, EXPECTED)
    objects = dict(EXPECTED, weight_ih_l0=np.array([[None] * 3] * 16))
    with pytest.raises(InvalidInput, match="weight_ih_l0: expected plain values, got another arr"):
        read_layer(saved(tmp_path / "b.pt", objects))


def test_equal_candidates_are_listed_and_an_optimizer_is_none(tmp_path: Path) -> None:
    moments = {f"exp_avg.{name}": tensor for name, tensor in STATE.items()}
    kept = {name: {"exp_avg": tensor} for name, tensor in STATE.items()}
    one = {"model": STATE, "optimizer": {"state": kept} | STATE, "optim": moments, **moments}
    found = read_layer(saved(tmp_path / "a.pt", one))
    assert found.prefix == "model."
    two = one | {"ema": {f"module.{name}": tensor for name, tensor in STATE.items()}}
    saved(tmp_path / "b.pt", two)
    with pytest.raises(InvalidInput, match=r"one of 'model\.', 'ema\.module\.': there are several"):
        read_layer(tmp_path / "b.pt")
    for prefix in ("ema.module.", "ema.module", "module"):
        assert read_layer(tmp_path / "b.pt", prefix).prefix == "ema.module."
    named = read_layer(tmp_path / "b.pt", "optim.exp_avg.")
    assert named.prefix == "optim.exp_avg."


def test_only_what_is_recurrent_is_read(tmp_path: Path) -> None:
    odd = torch.ones(2).to(torch.float8_e4m3fn)
    content = {"a": odd, "rnn": STATE, "g.weight_g": odd, "x": torch.ones(2).to_sparse()}
    tensors, others = read_torch(saved(tmp_path / "a.pt", content))
    assert others == ["a", "g.weight_g", "x"]
    check_tensors(tensors, {f"rnn.{name}": array for name, array in EXPECTED.items()})
