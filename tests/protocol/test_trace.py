"""Tensors that `trace` shows of a training step: names, order, shapes and dtypes, with the step
left as it is."""

from dataclasses import replace

import numpy as np
import pytest

from shared.config import Config
from shared.config.settings import Cell
from shared.parity import lockstep
from shared.protocol.trace import PHASES_OF_A_RUN, ordered, phase_of
from shared.runs.checkpoint import flatten
from tests.support.compare_arrays import check_all_close, check_close
from tests.support.trace_cases import BACKENDS, CASES, FEW, HIDDEN, STEP, layers_of, network
from tests.support.traces import STEPS, start, take, text, words

# What it shows ------------------------------------------------------------------------------------


def test_both_backends_show_the_same_tensors_in_the_same_order(case: Config) -> None:
    mine, theirs = (take(case, f"{backend}/handcrafted").trace for backend in BACKENDS)
    assert list(mine) == list(theirs) == ordered(mine)
    for name in mine:
        assert mine[name].shape == theirs[name].shape, name
        assert mine[name].dtype == theirs[name].dtype, name


def test_the_order_of_the_phases_is_that_in_which_a_step_computes() -> None:
    """Written out once more: by it the first of several differences is chosen."""
    assert PHASES_OF_A_RUN == (
        "inputs", "before", "embedded", "layers", "logits", "loss", "gradients", "norm", "clipped",
        "moments", "weights",
    )  # fmt: skip


def test_every_phase_is_there_in_the_order_of_a_step(case: Config, contender: str) -> None:
    phases = list(dict.fromkeys(map(phase_of, take(case, contender).trace)))
    optimization = case.optimization
    without_moments = optimization.optimizer == "sgd" and not optimization.momentum
    assert phases == [
        phase for phase in PHASES_OF_A_RUN if phase != "moments" or not without_moments
    ]


def test_shapes_and_dtypes_are_those_of_the_description(case: Config, contender: str) -> None:
    taken = take(case, contender)
    task, side = start(case, contender)
    (layers, directions), signature = layers_of(case), task.signature
    batch, time = side.batches.batch_size, side.batches.steps
    tokens, per_step = signature.tokens, signature.per_step
    features = case.network.embedding_size or signature.input_size
    states = ("h", "c") if case.network.cell == "lstm" else ("h",)
    target_shape = (batch, time) if per_step else (batch,)

    expected = {
        "inputs/inputs": (batch, time) if tokens else (batch, time, features),
        "inputs/targets": target_shape,
        "inputs/weights": target_shape,
        "inputs/learning_rate": (),
        "embedded/embedded": (batch, time, features),
        "logits/logits": (*target_shape, signature.output_size),
        "loss/loss": (),
        "loss/metric": (),
        "norm/norm": (),
    }
    if side.batches.split.lengths is not None:
        expected["inputs/lengths"] = (batch,)
    if case.network.dropout:
        expected["inputs/masks"] = (layers - 1, batch, time, directions * HIDDEN)
    for k in range(layers):
        expected[f"layers/{k}.outputs"] = (batch, time, directions * HIDDEN)
        for state in states:
            expected[f"layers/{k}.state.{state}"] = (directions, batch, HIDDEN)
    for state in states:
        expected[f"before/carry.{state}"] = (layers * directions, batch, HIDDEN)
    for name, weight in side.start.weights.items():
        moments = [key.split(".")[0] for key in taken.snapshot.moments if key.endswith(f".{name}")]
        places = ["before/", "gradients/", "clipped/", "weights/"]
        for place in places + [f"moments/{moment}." for moment in moments]:
            expected[place + name] = weight.shape
    assert {name: array.shape[1:] for name, array in taken.trace.items()} == expected
    whole = {"inputs/targets", "inputs/lengths"} | ({"inputs/inputs"} if tokens else set())
    for name, array in taken.trace.items():
        assert len(array) == STEPS, name
        assert array.dtype == ("int32" if name in whole else "float64"), name


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_float32_run_shows_float32(backend: str) -> None:
    """Also where the process computes in float64 otherwise, as these tests do."""
    config = replace(CASES["text gru 2x1"], precision="float32")
    kinds = {array.dtype.name for array in take(config, f"{backend}/handcrafted").trace.values()}
    assert kinds == {"float32", "int32"}


@pytest.mark.parametrize("name", FEW)
def test_a_call_of_several_steps_shows_what_calls_of_one_show(name: str, contender: str) -> None:
    whole = take(CASES[name], contender)
    single = take(CASES[name], contender, (1,) * STEPS)
    assert list(single.trace) == list(whole.trace)
    for step in range(STEPS):
        for tensor, array in whole.trace.items():
            # XLA may order the sums of another program in another way.
            check_close(
                single.trace[tensor][step], array[step], relative=1e-13, what=tensor,
                allow_zero=True,
            )  # fmt: skip


@pytest.mark.parametrize("name", FEW)
def test_tracing_takes_the_same_steps_as_advancing(name: str, contender: str) -> None:
    config = CASES[name]
    traced = take(config, contender)
    _, side = start(config, contender)
    state = side.backend.init(side.start)
    rates = lockstep.rates(config, side, 0, STEPS)
    (state,), (metrics,) = side.backend.advance([state], [side.batches.take(0, STEPS)], rates)
    advanced = side.backend.export(state)
    assert advanced.step == traced.snapshot.step == STEPS
    mine = flatten(advanced) | {"loss": np.asarray(metrics.loss)}
    mine |= {"metric": np.asarray(metrics.metric)}
    theirs = flatten(traced.snapshot) | {"loss": traced.trace["loss/loss"]}
    theirs |= {"metric": traced.trace["loss/metric"]}
    assert mine.keys() == theirs.keys()
    # In PyTorch the very same operations. XLA fuses those of a program that shows less in another
    # way, which moves last digits.
    relative = 0.0 if contender.startswith("torch") else 1e-14
    check_all_close(mine, theirs, relative=relative, allow_zero=True)


@pytest.mark.parametrize("name", ["text lstm 2x1"])
def test_advancing_goes_on_where_tracing_ended(name: str, contender: str) -> None:
    config = CASES[name]
    _, side = start(config, contender)
    state = side.backend.init(side.start)
    rates = lockstep.rates(config, side, 0, STEPS)
    state, _ = side.backend.trace(state, side.batches.take(0, 1), rates[:1])
    (state,), (metrics,) = side.backend.advance([state], [side.batches.take(1, 2)], rates[1:])
    expected = take(config, contender).trace["loss/loss"][1:]
    check_close(np.asarray(metrics.loss), expected, relative=1e-13, what="loss", elementwise=True)


# Native layers ------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", ["words", "text"])
def test_of_torchs_native_layers_only_the_last_ones_outputs_are_seen(config: str) -> None:
    """Without dropout, whose masks torch.nn draws itself."""
    make = {"words": words, "text": text}[config]
    plain = make(network("lstm", "tanh", 2, config == "words", dropout=0.0))
    native = take(plain, "torch/native").trace
    handcrafted = take(plain, "torch/handcrafted").trace
    assert list(native) == [name for name in handcrafted if name != "layers/0.outputs"]
    check_all_close(
        native, {name: handcrafted[name] for name in native}, relative=STEP, allow_zero=True
    )


@pytest.mark.parametrize(
    ("cell", "layers", "bidirectional"), [("lstm", 1, True), ("gru", 2, False)]
)
def test_jaxs_native_layers_show_canonical_names_and_shapes(
    cell: Cell, layers: int, bidirectional: bool
) -> None:
    config = words(network(cell, "tanh", layers, bidirectional))
    native = take(config, "jax/native").trace
    handcrafted = take(config, "torch/handcrafted").trace
    assert list(native) == list(handcrafted)
    for name in native:
        assert native[name].shape == handcrafted[name].shape, name
        assert native[name].dtype == handcrafted[name].dtype, name
    # Until the first update only what a single bias cannot hold differs, which of an LSTM is
    # nothing that the network computes.
    same = [
        "inputs/inputs",
        "embedded/embedded",
        "before/rnn.weight_hh_l0",
        "before/head.bias",
    ]
    if cell == "lstm":
        same += [
            "layers/0.state.c",
            "loss/loss",
            "gradients/rnn.weight_ih_l0_reverse",
        ]
    for name in same:
        check_close(native[name][0], handcrafted[name][0], relative=STEP, what=name)
    suffixes = ("", "_reverse") if bidirectional else ("",)
    for ending in [f"l{k}{suffix}" for k in range(layers) for suffix in suffixes]:
        for place in ("gradients/", "clipped/", "moments/exp_avg_sq."):
            ih, hh = (native[f"{place}rnn.bias_{kind}_{ending}"] for kind in ("ih", "hh"))
            rows = slice(2 * HIDDEN if cell == "gru" else None)  # it has no b_hn
            check_close(hh[:, rows], ih[:, rows], relative=0.0, what=f"{place}{ending}")
