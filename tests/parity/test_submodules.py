"""Submodules of a port are paired with those of its original."""

import numpy as np

from shared.parity.submodules import pairs, paths
from shared.protocol.program import Call


def named(*paths: str, **kinds: str) -> dict[str, str]:
    return {path: kinds.get(path, "") for path in paths}


def test_modules_with_the_same_tensors_belong_together() -> None:
    places = {
        "encoder.rnn.weight": ["enc.cell.inp.kernel"],
        "encoder.rnn.bias": ["enc.cell.inp.bias"],
        "encoder.norm.weight": ["enc.ln.scale"],
        "head.weight": ["out.kernel"],
        "head.unused": [],
    }
    mine = named("enc.ln", "enc.cell.inp", "enc", "out", "")
    their = named("encoder.norm", "encoder.rnn", "encoder", "head", "")
    assert pairs(places, mine, their) == {
        "encoder.norm": "enc.ln", "encoder.rnn": "enc.cell.inp", "encoder": "enc", "head": "out",
        "": "",
    }  # fmt: skip
    # One in another: the outer with the outer.
    both = {"wrap.inner.weight": ["block.dense.kernel"], "x.weight": ["y.kernel"]}
    two = pairs(both, named("block.dense", "block"), named("wrap.inner", "wrap"))
    assert two == {"wrap": "block", "wrap.inner": "block.dense"}
    # One side has more of them: only those of the same name, and the models.
    assert pairs(both, named("block.dense"), named("wrap.inner", "wrap")) == {}
    one = {"wrap.dense.weight": ["dense.kernel"]}
    assert pairs(one, named("dense", ""), named("wrap.dense", "wrap", "")) == {
        "wrap.dense": "dense", "": "",
    }  # fmt: skip
    twice = {"wrap.d.d.weight": ["block.d.kernel"], "x.weight": ["y.kernel"]}
    assert pairs(twice, named("block.d", "block"), named("wrap.d.d", "wrap.d", "wrap")) == {}


def test_parts_of_an_array_and_tied_tensors() -> None:
    fused = {f"attn.{n}.weight": ["attn.qkv.kernel"] for n in "qkv"} | {
        "attn.out.weight": ["attn.out.kernel"]
    }
    mine = named("attn.qkv", "attn.out", "attn")
    their = named("attn.q", "attn.k", "attn.v", "attn.out", "attn")
    assert pairs(fused, mine, their) == {"attn.out": "attn.out", "attn": "attn"}
    blocks = {"rnn.weight": ["r.i.kernel", "r.f.kernel"], "rnn.bias": ["r.i.bias"]}
    assert pairs(blocks, named("r.i", "r.f", "r"), named("rnn")) == {"rnn": "r"}
    tied = {"embed.weight": ["table.embedding"], "head.weight": ["table.embedding"]}
    two = named("embed", "head")
    assert pairs(tied, named("table"), two, {"head.weight": "embed.weight"}) == {"embed": "table"}
    assert pairs(tied, named("table"), two) == {}
    # A module that has more than the original's.
    more = {"a.weight": ["both.kernel"], "b.weight": ["both.other"]}
    assert pairs(more, named("both"), named("a", "b")) == {}


def test_modules_without_tensors() -> None:
    places = {"a.weight": ["x.kernel"], "b.weight": ["y.kernel"], "n.mean": ["n.mean"]}
    their = {"drop1": "Dropout", "a": "", "act": "ReLU", "drop2": "Dropout1d", "b": "", "n": ""}
    mine = {"d.0": "Dropout", "x": "", "d.1": "Dropout", "y": "", "act": "", "n": ""}
    found = pairs(places, mine, their)
    assert found == {
        "a": "x", "b": "y", "n": "n", "act": "act", "drop1": "d.0", "drop2": "d.1",
    }  # fmt: skip
    # Two between the same neighbours, or of another kind.
    assert "drop1" not in pairs(places, {"d.2": "Dropout"} | mine, their)
    assert "drop1" not in pairs(places, mine | {"d.0": "GELU"}, their)


def test_the_paths_of_linen() -> None:
    calls = [
        Call("Dropout_0", 1, {}, {"outputs": np.ones(1)}),
        Call("cell", 1, {}, {}),
        Call("Dense_0", 1, {}, {"outputs": np.ones(1)}),
    ]
    mine = paths(calls)
    assert mine == {"Dropout_0": "Dropout", "Dense_0": "Dense"}
    assert paths(calls, {"Dense_0": "Mine"})["Dense_0"] == "Mine"
    their = {"drop": "Dropout", "dense": "Linear"}
    places = {"dense.weight": ["params.Dense_0.kernel"], "dense.bias": ["params.Dense_0.bias"]}
    assert pairs(places, mine, their) == {"drop": "Dropout_0", "dense": "Dense_0"}
