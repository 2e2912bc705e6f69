"""What `trace` shows of a training step, and how it is kept in files."""

import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from shared.config import Config
from shared.config.choices import constants
from shared.config.settings import Cell, NetworkConfig, Nonlinearity
from shared.parity import lockstep
from shared.parity.trace_files import read_trace, steps_in, write_trace
from shared.protocol.trace import PHASES, Trace, ordered, phase_of, split_steps
from shared.runs.checkpoint import flatten
from tests.support import reference
from tests.support.compare_arrays import check_all_close, check_close
from tests.support.pairwise import slow_but
from tests.support.traces import OPTIMIZATIONS, STEPS, last_value, refused, start, take, text, words

STEP = 1e-10
HIDDEN = 3
BACKENDS = ("jax", "torch")


def network(
    cell: Cell, nonlinearity: Nonlinearity, layers: int = 1, bidirectional: bool = False, **options
) -> NetworkConfig:
    dropout = 0.3 if layers > 1 else 0.0
    defaults = {"hidden_size": HIDDEN, "num_layers": layers, "dropout": dropout}
    return NetworkConfig(cell, nonlinearity, bidirectional=bidirectional, **(defaults | options))


def every_case() -> dict[str, Config]:
    """Each cell in one and two layers, in one and in both directions. Lengths in the words and last
    values, masks between two layers, carried state in the text; the optimizers take turns."""
    turns = itertools.cycle(OPTIMIZATIONS)
    cases = {}
    stacked: list[tuple[Cell, Nonlinearity, list[tuple[int, bool]]]] = [
        ("rnn", "tanh", [(1, False)]),
        ("rnn", "relu", [(1, True), (2, True)]),
        ("lstm", "tanh", [(1, True), (2, True)]),
        ("gru", "tanh", [(1, True), (2, True)]),
    ]
    for cell, nonlinearity, stacks in stacked:
        for stack in stacks:
            name = f"words {cell if cell != 'rnn' else nonlinearity} {stack[0]}x{1 + stack[1]}"
            cases[name] = words(network(cell, nonlinearity, *stack), next(turns))
    for cell in ("rnn", "lstm", "gru"):
        carried = network(cell, "tanh", 2, embedding_size=2)
        cases[f"text {cell} 2x1"] = text(carried, next(turns))
    cases["last-value lstm 1x1"] = last_value(network("lstm", "tanh"))
    cases["last-value gru 1x1"] = last_value(network("gru", "tanh"), "momentum")
    return cases


CASES = every_case()
FEW = ("words lstm 2x2", "text gru 2x1")


USUAL = ("words tanh 1x1", "words relu 2x2", "words lstm 2x2", "words gru 1x2", "text gru 2x1",
         "text lstm 2x1", "last-value lstm 1x1", "last-value gru 1x1")  # fmt: skip


@pytest.fixture(params=slow_but(CASES, USUAL))
def case(request) -> Config:
    return CASES[request.param]


@pytest.fixture(params=[f"{backend}/handcrafted" for backend in BACKENDS])
def contender(request) -> str:
    return request.param


def layers_of(config: Config) -> tuple[int, int]:
    """L and D."""
    return config.network.num_layers, 2 if config.network.bidirectional else 1


# What it shows ------------------------------------------------------------------------------------


def test_both_backends_show_the_same_tensors_in_the_same_order(case: Config) -> None:
    mine, theirs = (take(case, f"{backend}/handcrafted").trace for backend in BACKENDS)
    assert list(mine) == list(theirs) == ordered(mine)
    for name in mine:
        assert mine[name].shape == theirs[name].shape, name
        assert mine[name].dtype == theirs[name].dtype, name


def test_the_order_of_the_phases_is_that_in_which_a_step_computes() -> None:
    """Written out once more: by it the first of several differences is chosen."""
    assert PHASES == (
        "inputs", "before", "embedded", "layers", "logits", "loss", "gradients", "norm", "clipped",
        "moments", "weights",
    )  # fmt: skip


def test_every_phase_is_there_in_the_order_of_a_step(case: Config, contender: str) -> None:
    phases = list(dict.fromkeys(map(phase_of, take(case, contender).trace)))
    optimization = case.optimization
    without_moments = optimization.optimizer == "sgd" and not optimization.momentum
    assert phases == [phase for phase in PHASES if phase != "moments" or not without_moments]


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


# Whether it is right ------------------------------------------------------------------------------


def test_a_step_starts_from_its_batch_and_from_the_step_before(
    case: Config, contender: str
) -> None:
    taken = take(case, contender)
    _, side = start(case, contender)
    batch = side.batches.take(0, STEPS)
    # In a text, the third starts from zero after a second that did not.
    assert list(batch.reset) == [True, not case.bptt, True]
    fields = {"inputs", "targets", "weights", "lengths", "masks"}
    given = {name: array for name, array in batch._asdict().items() if name in fields}
    rates = lockstep.rates(case, side, 0, STEPS)
    given = {n: a for n, a in given.items() if a is not None} | {"learning_rate": rates}
    assert {f"inputs/{name}" for name in given} == set(phase(taken.trace, "inputs", "inputs/"))
    for name, array in given.items():
        np.testing.assert_array_equal(taken.trace[f"inputs/{name}"], array, err_msg=name)

    steps = split_steps(taken.trace)
    for i, step in enumerate(steps):
        weights = side.start.weights if i == 0 else phase(steps[i - 1], "weights")
        before = phase(step, "before")
        carry = {name: before.pop(name) for name in list(before) if name.startswith("carry.")}
        assert before.keys() == weights.keys()
        for name, array in weights.items():
            np.testing.assert_array_equal(before[name], array, err_msg=f"step {i + 1}: {name}")
        for name, array in carry.items():
            expected = np.zeros_like(array)
            if not batch.reset[i]:
                layers = range(case.network.num_layers)
                states = [steps[i - 1][f"layers/{k}.state{name[-2:]}"] for k in layers]
                expected = np.concatenate(states)
                assert expected.all()
            np.testing.assert_array_equal(array, expected, err_msg=f"step {i + 1}: {name}")
    for name, array in taken.snapshot.weights.items():
        np.testing.assert_array_equal(array, steps[-1][f"weights/{name}"], err_msg=name)
    for name, array in taken.snapshot.moments.items():
        np.testing.assert_array_equal(array, steps[-1][f"moments/{name}"], err_msg=name)


def test_every_value_is_that_of_the_reference_in_numpy(case: Config, contender: str) -> None:
    """From the second step on: there are moments, and in a text there is a carried state."""
    steps = split_steps(take(case, contender).trace)
    expected: Trace = {}
    for i in range(1, STEPS):
        expected = in_numpy(case, steps[i])
        if i == 1:
            expected |= gradients_in_numpy(case, steps[i])
        expected |= update_in_numpy(case, steps[i], steps[i - 1], i + 1)
        for name, array in expected.items():
            check_close(
                steps[i][name], np.asarray(array), relative=STEP, what=f"step {i + 1}: {name}",
                allow_zero=name == "loss/metric",
            )  # fmt: skip
    left = {name for name in steps[1] if phase_of(name) not in ("inputs", "before")}
    assert left == expected.keys() | {name for name in left if name.startswith("gradients/")}


def phase(trace: Trace, name: str, prefix: str = "") -> Trace:
    return {prefix + n.partition("/")[2]: a for n, a in trace.items() if phase_of(n) == name}


def forward_in_numpy(config: Config, step: Trace, weights: Trace) -> dict[str, np.ndarray]:
    """Everything up to the loss. Each sequence is computed alone and without padding."""
    layers, directions = layers_of(config)
    inputs, targets = step["inputs/inputs"], step["inputs/targets"]
    count, time = inputs.shape[:2]
    lengths = step.get("inputs/lengths", np.full(count, time))
    if config.network.embedding_size is not None:
        embedded = weights["embedding.weight"][inputs]
    elif inputs.ndim == 2:
        embedded = np.eye(weights["head.weight"].shape[0])[inputs]
    else:
        embedded = inputs
    rnn = {n.removeprefix("rnn."): a for n, a in weights.items() if n.startswith("rnn.")}
    parts = [step[f"before/carry.{n}"] for n in "hc" if f"before/carry.{n}" in step]
    found: dict[str, np.ndarray] = {"embedded/embedded": embedded}
    for k in range(layers):
        outputs = np.zeros((count, time, directions * HIDDEN), complex)
        finals = []
        for row, length in enumerate(lengths):
            masks = step.get("inputs/masks")
            output, final = reference.recurrent(
                config.network.cell,
                rnn,
                embedded[row : row + 1, :length],
                tuple(part[:, row : row + 1] for part in parts),
                nonlinearity=config.network.nonlinearity,
                num_layers=k + 1,
                bidirectional=config.network.bidirectional,
                masks=None if masks is None else masks[:, row : row + 1, :length],
            )
            outputs[row, :length] = output[0]
            finals.append([part[k * directions :] for part in final])
        found[f"layers/{k}.outputs"] = outputs
        for name, rows in zip("hc", zip(*finals, strict=True), strict=False):
            found[f"layers/{k}.state.{name}"] = np.concatenate(rows, axis=1)
    outputs = found[f"layers/{layers - 1}.outputs"]
    if targets.ndim == 1:
        outputs = np.stack([row[length - 1] for row, length in zip(outputs, lengths, strict=True)])
    logits = outputs @ weights["head.weight"].T + weights["head.bias"]
    real = step["inputs/weights"] == 1
    assert (step["inputs/weights"][~real] == 0).all()
    found["logits/logits"] = logits
    found["loss/loss"] = reference.cross_entropy(logits[real], targets[real])
    found["loss/metric"] = np.mean(np.real(logits[real]).argmax(-1) == targets[real])
    return found


def in_numpy(config: Config, step: Trace) -> Trace:
    return {n: np.real(a) for n, a in forward_in_numpy(config, step, before(step)).items()}


def before(step: Trace) -> Trace:
    return {n: a for n, a in phase(step, "before").items() if not n.startswith("carry.")}


def gradients_in_numpy(config: Config, step: Trace) -> Trace:
    def loss(weights: Trace) -> np.ndarray:
        return forward_in_numpy(config, step, weights)["loss/loss"]

    found = reference.gradients(loss, before(step))
    return {f"gradients/{name}": array for name, array in found.items()}


def update_in_numpy(config: Config, step: Trace, previous: Trace, number: int) -> Trace:
    """What follows the gradients, from the step's own."""
    optimization = config.optimization
    gradients = phase(step, "gradients")
    found = {"norm/norm": np.sqrt(sum((g**2).sum() for g in gradients.values()))}
    clipped = gradients
    if optimization.clip_norm is not None:
        assert found["norm/norm"] > optimization.clip_norm  # or clipping would do nothing
        clipped = reference.clip(gradients, optimization.clip_norm)
    moments: dict[str, Trace] = {}
    for key, array in phase(previous, "moments").items():
        moment, name = key.split(".", 1)
        moments.setdefault(name, {})[moment] = array
    weights = reference.update(
        optimization.optimizer, before(step), clipped, moments, number,
        **constants(optimization), rate=optimization.learning_rate,
    )  # fmt: skip
    found |= {f"clipped/{name}": array for name, array in clipped.items()}
    found |= {f"weights/{name}": array for name, array in weights.items()}
    for name, remembered in moments.items():
        found |= {f"moments/{moment}.{name}": array for moment, array in remembered.items()}
    return found


def test_without_clipping_the_clipped_gradients_are_the_gradients(contender: str) -> None:
    trace = take(last_value(network("gru", "tanh"), "momentum"), contender).trace
    gradients, clipped = phase(trace, "gradients"), phase(trace, "clipped")
    assert gradients.keys() == clipped.keys()
    for name in gradients:
        np.testing.assert_array_equal(clipped[name], gradients[name], err_msg=name)


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


# Files --------------------------------------------------------------------------------------------


def test_a_written_trace_reads_back_with_its_order_shapes_and_dtypes(tmp_path: Path) -> None:
    trace = {
        "weights/b": np.arange(6.0).reshape(2, 3).T,  # not contiguous
        "loss/loss": np.float64(0.25),
        "inputs/none": np.zeros((0, 3), np.float32),
        "inputs/targets": np.array([[1, 2]], np.int32),
        "inputs/reset": np.array([True, False]),
        "embedded/half": np.array([1.5, -2], np.float16),
        "embedded/brain": np.array([1.5, -2], ml_dtypes.bfloat16),
        "a": np.array(3, np.int64),
    }
    write_trace(tmp_path, 7, trace)
    found = read_trace(tmp_path / "step-000007.safetensors")
    assert list(found) == list(trace)
    for name, array in trace.items():
        assert found[name].shape == array.shape, name
        assert found[name].dtype == array.dtype, name
        np.testing.assert_array_equal(found[name], array, err_msg=name)


def test_a_trace_of_a_backend_comes_back_from_its_files(tmp_path: Path) -> None:
    """With scalars as scalars: whoever writes their own files has no reason for another shape."""
    steps = split_steps(take(CASES["text gru 2x1"], "torch/handcrafted").trace)
    for number, step in enumerate(steps, start=1):
        write_trace(tmp_path, number, step)
    files = steps_in(tmp_path)
    assert list(files) == [1, 2, 3]
    for step, file in zip(steps, files.values(), strict=True):
        found = read_trace(file)
        assert list(found) == list(step)
        for name in step:
            assert found[name].shape == np.shape(step[name]), name
            assert found[name].dtype == step[name].dtype, name
            np.testing.assert_array_equal(found[name], step[name], err_msg=name)


def test_files_of_another_program_come_in_the_order_of_a_step(tmp_path: Path) -> None:
    """Phases in their order, numbers by their value; phases that nobody knows come last."""
    names = [
        "inputs/x", "layers/l2.h", "layers/l10.h", "loss", "gradients/rnn.weight_l9",
        "gradients/rnn.weight_l10", "weights/w", "attention/a", "zebra/z",
    ]  # fmt: skip
    tensors = {name: np.full(2, i, np.float32) for i, name in enumerate(names)}
    shuffled = np.random.default_rng(0).permutation(names)
    save_file({name: tensors[name] for name in shuffled}, tmp_path / "step-1.safetensors")
    found = read_trace(steps_in(tmp_path)[1])
    assert list(found) == names
    for name in names:
        np.testing.assert_array_equal(found[name], tensors[name])


def test_a_file_may_say_its_own_order(tmp_path: Path) -> None:
    order = ["weights/w", "a", "inputs/x"]
    save_file(
        {name: np.ones(1) for name in sorted(order)},
        tmp_path / "file",
        {"order": json.dumps(order), "format": "none of ours"},
    )
    assert list(read_trace(tmp_path / "file")) == order


def test_steps_come_by_their_number_and_other_files_are_left_alone(tmp_path: Path) -> None:
    for name in ("step-10", "step-000009", "step-2"):
        save_file({"a": np.ones(1)}, tmp_path / f"{name}.safetensors")
    (tmp_path / "README").write_text("notes")
    (tmp_path / "step-4.safetensors.tmp").write_text("half a file")
    found = steps_in(tmp_path)
    assert [(step, file.name) for step, file in found.items()] == [
        (2, "step-2.safetensors"), (9, "step-000009.safetensors"), (10, "step-10.safetensors"),
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["step-x", "xstep-3", "Step-000003", "step000003"])
def test_a_trace_of_another_name_is_refused(tmp_path: Path, name: str) -> None:
    """In both folders misspelt alike, a step would be left out without a word."""
    for file in ("step-000002", name):
        save_file({"a": np.ones(1)}, tmp_path / f"{file}.safetensors")
    refused(lambda: steps_in(tmp_path), f"{tmp_path}: expected ", f"got {name}.safetensors")


def whole(file: Path) -> bytes:
    save_file({"inputs/x": np.ones(3), "loss/loss": np.ones(())}, file)
    return file.read_bytes()


def header(tensors: Any) -> bytes:
    text = json.dumps(tensors).encode()
    return len(text).to_bytes(8, "little") + text


DAMAGED = {
    "empty": lambda file: file.write_bytes(b""),
    "cut in its numbers": lambda file: file.write_bytes(whole(file)[:-5]),
    "cut in its header": lambda file: file.write_bytes(whole(file)[:40]),
    "cut in its length": lambda file: file.write_bytes(whole(file)[:4]),
    "longer than it says": lambda file: file.write_bytes(whole(file) + b"more"),
    "text": lambda file: file.write_text("step,loss\n1,0.5\n" * 20),
    "NumPy's": lambda file: file.write_bytes(b"\x93NUMPY\x01\x00" + bytes(200)),
    "a folder": lambda file: file.mkdir(),
    "missing": lambda file: None,
    "without tensors": lambda file: save_file({}, file),
    "without header": lambda file: file.write_bytes(header([])),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_what_is_no_trace_is_named_in_one_line(tmp_path: Path, damage: str) -> None:
    file = tmp_path / "step-000001.safetensors"
    DAMAGED[damage](file)
    refused(lambda: read_trace(file), str(file))


@pytest.mark.parametrize("kind", ["complex64", "float8_e4m3fn"])
def test_numbers_that_are_not_real_or_not_known_are_named(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "step-000001.safetensors"
    dtype = np.dtype(kind) if kind == "complex64" else np.dtype(getattr(ml_dtypes, kind))
    save_file({"inputs/x": np.ones(2), "layers/h": np.ones(2, dtype)}, file)
    refused(lambda: read_trace(file), f"{file}: ", "layers/h")


@pytest.mark.parametrize(
    "order",
    ['["a"]', '["a", "b", "b"]', '["a", "c"]', "{", "3", "null", '[["a"], "b"]', "[" * 9999],
)
def test_an_order_that_does_not_list_every_tensor_once_is_refused(
    tmp_path: Path, order: str
) -> None:
    file = tmp_path / "step-000001.safetensors"
    save_file({"a": np.ones(1), "b": np.ones(1)}, file, {"order": order})
    refused(lambda: read_trace(file), str(file), "'order'")


def test_two_files_of_one_step_are_refused(tmp_path: Path) -> None:
    for name in ("step-1", "step-000001"):
        save_file({"a": np.ones(1)}, tmp_path / f"{name}.safetensors")
    refused(lambda: steps_in(tmp_path), str(tmp_path), "step 1", "two")


def test_a_folder_that_is_missing_or_has_no_trace_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path, tmp_path / "nowhere", tmp_path / "file"):
        refused(lambda path=path: steps_in(path), f"{path}: ", "got no")
