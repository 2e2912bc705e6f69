"""Values of a trace: those of a reference in NumPy, each step beginning where the last ended."""

import numpy as np

from shared.config import Config
from shared.config.choices import constants
from shared.parity import lockstep
from shared.protocol.trace import Trace, phase_of, split_steps
from tests.support import reference
from tests.support.compare_arrays import check_close
from tests.support.trace_cases import HIDDEN, STEP, layers_of, network
from tests.support.traces import STEPS, last_value, start, take


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
