"""The pictures of the idea show what both frameworks compute, and can be read."""

import subprocess
from collections import Counter
from collections.abc import Callable
from functools import cache, partial
from itertools import combinations
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

import rnn_jax.gradients
import rnn_torch.gradients
from docs.lessons import reading, vanishing
from docs.lessons.network_plots import number
from docs.lessons.reading import Reading, hello_shapes, read, train_hello
from docs.lessons.state_plots import NAMED, draw_states, told_apart
from docs.lessons.vanishing import over_distance
from scripts.figures import Name, draw
from shared.inference.trained import Trained
from shared.protocol import LayerConfig
from tests.support.compare_arrays import check_close

Framework = Literal["jax", "torch"]
SIZES = [3, 8]
MARGIN = 5
"""Pixels between a text and the edge of its picture."""
IMAGES = Path(__file__).parents[3] / "docs" / "images"


@cache
def trained(backend: Framework, hidden_size: int) -> Trained:
    return train_hello(backend, hidden_size)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures of networks that are trained once, and of a single seed."""

    def once(backend: Framework, hidden_size: int = 8) -> Trained:
        return trained(backend, hidden_size)

    monkeypatch.setattr(reading, "train_hello", once)
    few = partial(over_distance, farthest=NAMED, seeds=[0])
    monkeypatch.setattr(vanishing, "over_distance", few)


def texts(figure: Figure) -> list[Text]:
    """All that is drawn, those of the axes included."""
    canvas = figure.canvas
    assert isinstance(canvas, FigureCanvasAgg)
    canvas.draw()
    shown = (one for one in figure.findobj(Text) if isinstance(one, Text))
    return [one for one in shown if one.get_visible() and one.get_text().strip()]


def weights(config: LayerConfig) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {name: rng.uniform(-0.6, 0.6, shape) for name, shape in config.shapes().items()}


LAYERS = [
    LayerConfig("rnn", 3, 5),
    LayerConfig("rnn", 3, 5, nonlinearity="relu", batch_first=True),
    LayerConfig("lstm", 3, 5, num_layers=2),
    LayerConfig("lstm", 3, 5, proj_size=2),
    LayerConfig("gru", 3, 5, batch_first=True),
]


@pytest.mark.parametrize("config", LAYERS, ids=["tanh", "relu", "deep", "projected", "gru"])
def test_gradients_are_the_same_in_both_frameworks(config: LayerConfig) -> None:
    inputs = np.random.default_rng(1).standard_normal((12, 3))
    found, expected = (
        one.gradient_norms(config, weights(config), inputs)
        for one in (rnn_jax.gradients, rnn_torch.gradients)
    )
    assert found.shape == (12,)
    check_close(found, expected, relative=1e-10, what=str(config), elementwise=True)


def test_gradients_of_an_elman_network_are_products_of_its_jacobians() -> None:
    config = LayerConfig("rnn", 3, 5)
    u, w, b, b2 = weights(config).values()
    inputs = np.random.default_rng(1).standard_normal((12, 3))
    states, h = [], np.zeros(5)
    for x in inputs:
        h = np.tanh(u @ x + b + w @ h + b2)
        states.append(h)
    expected, product = [], np.eye(5)
    for h in reversed(states):
        product = product @ np.diag(1 - h**2)
        expected.insert(0, np.linalg.norm(product @ u))
        product = product @ w
    found = rnn_torch.gradients.gradient_norms(config, weights(config), inputs)
    check_close(found, np.array(expected), relative=1e-10, what="tanh", elementwise=True)


def test_the_lesson_of_the_gradients_is_true_of_every_seed() -> None:
    shares = over_distance(rnn_torch.gradients.gradient_norms, NAMED)
    assert {values.shape for values in shares.values()} == {(10, NAMED + 1)}
    assert all((values[:, 0] == 1).all() for values in shares.values())
    left = {name: values[:, NAMED] for name, values in shares.items()}
    plain = "LSTM", "GRU", "Elman, tanh", "Elman, ReLU"
    assert all(left[name].max() < 1e-9 for name in plain)
    for gated in ("LSTM", "GRU"):
        for elman in ("Elman, tanh", "Elman, ReLU"):
            assert (left[elman] < left[gated]).all()
    assert (left["LSTM, forget bias 1"] > left["LSTM"]).all()
    assert (left["LSTM, forget bias 3"] > left["LSTM, forget bias 1"]).all()


@pytest.mark.parametrize("hidden_size", SIZES)
def test_a_word_is_read_the_same_in_both_frameworks(hidden_size: int) -> None:
    ours, theirs = (read(trained(name, hidden_size)) for name in get_args(Framework))
    check_close(ours.states, theirs.states, relative=1e-9, what="states")
    check_close(ours.probabilities, theirs.probabilities, relative=1e-9, what="probabilities")
    assert ours[:3] == theirs[:3]
    assert ours.predicted == ours.targets == tuple("elloh")


def test_a_reading_is_what_the_equations_give() -> None:
    network = trained("jax", 3)
    found, w = read(network), network.backend.export(network.state).weights
    h = np.zeros(3)
    for t, letter in enumerate("hello"):
        column = w["rnn.weight_ih_l0"][:, "ehlo".index(letter)]
        h = np.tanh(column + w["rnn.bias_ih_l0"] + w["rnn.weight_hh_l0"] @ h + w["rnn.bias_hh_l0"])
        odds = np.exp(w["head.weight"] @ h + w["head.bias"])
        check_close(found.states[t + 1], h, relative=1e-10, what=f"h_{t + 1}")
        check_close(found.probabilities[t], odds / odds.sum(), relative=1e-10, what=f"p_{t + 1}")
    assert not found.states[0].any()
    assert found.steps == 1000


def test_the_shapes_are_those_of_a_trained_network() -> None:
    network = trained("torch", 8)
    held = network.backend.export(network.state).weights
    assert hello_shapes() == {name: array.shape for name, array in held.items()}


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("name", get_args(Name))
def test_both_frameworks_draw_the_same(name: Name) -> None:
    ours, theirs = ([text.get_text() for text in texts(draw(name, b))] for b in get_args(Framework))
    assert ours == theirs
    assert len(ours) > 15


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(("name", "hidden_size"), [("unrolled", 3), ("hidden-states", 8)])
def test_every_number_of_the_states_is_drawn(name: Name, hidden_size: int) -> None:
    drawn = Counter(text.get_text() for text in texts(draw(name, "jax")))
    states = read(trained("jax", hidden_size)).states
    assert Counter(map(number, states.flat)) <= drawn


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("name", get_args(Name))
def test_texts_neither_overlap_nor_leave_the_picture(name: Name) -> None:
    figure = draw(name, "torch")
    boxes = {text: text.get_window_extent() for text in texts(figure)}
    for text, box in boxes.items():
        assert min(box.x0, box.y0) >= MARGIN, text
        assert figure.bbox.x1 - box.x1 >= MARGIN, text
        assert figure.bbox.y1 - box.y1 >= MARGIN, text
    for (one, box), (other, second) in combinations(boxes.items(), 2):
        assert not box.overlaps(second), (one, other)


def test_a_letter_is_told_apart_only_where_the_network_does_so() -> None:
    word, right = tuple("hello"), tuple("elloh")

    def predicting(letters: str) -> Reading:
        shares = np.array([[float(v == letter) for v in "ehlo"] for letter in letters])
        return Reading(word, right, tuple("ehlo"), np.eye(6, 4), shares, 1)

    assert told_apart(predicting("elloh")) == (3, 4)
    assert told_apart(predicting("elooh")) is None
    assert told_apart(predicting("eleoh")) is None
    said = [text.get_text() for text in texts(draw_states(predicting("elloh")))]
    # h_3 and h_4 here are rows of the unit matrix: units differ by 1, which is not more than 1.
    assert any("framed: 0 of 4 units" in text for text in said)
    said = [text.get_text() for text in texts(draw_states(predicting("elooh")))]
    assert not any("framed" in text for text in said)


def test_minus_zero_is_drawn_as_zero() -> None:
    assert [number(value) for value in (-0.001, 0.0, -0.256, 1.0)] == [
        "0.00", "0.00", "−0.26", "1.00",
    ]  # fmt: skip


def test_the_script_writes_what_is_asked_for(
    tmp_path: Path, call: Callable[..., subprocess.CompletedProcess]
) -> None:
    finished = call("figures.py", "--only", "network", "--backend", "torch", "--out", "new/X")
    assert (finished.returncode, finished.stderr) == (0, "")
    assert finished.stdout == "wrote new/X/network.png\n"
    (file,) = (path for path in tmp_path.rglob("*") if path.is_file())
    assert file.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--only", "folded"], "folded"),
        (["--backend", "numpy"], "numpy"),
        (["--out", "file"], "--out file: expected a folder, got a file"),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str],
    expected: str,
    tmp_path: Path,
    call: Callable[..., subprocess.CompletedProcess],
) -> None:
    (tmp_path / "file").touch()
    finished = call("figures.py", *arguments)
    assert (finished.returncode, finished.stdout) == (2, "")
    assert finished.stderr.count("\n") == 1
    assert expected in finished.stderr


@pytest.mark.parametrize("name", get_args(Name))
def test_the_pictures_are_committed_and_small(name: Name) -> None:
    assert 10_000 < (IMAGES / f"{name}.png").stat().st_size < 200_000
