"""What a score is, by plain NumPy, and how it is shown."""

import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from shared.inference import evaluation
from shared.protocol.backend import Evaluation
from shared.protocol.dataset import Signature, Split
from shared.protocol.windows import Windows
from shared.runs import predictions
from shared.runs.scores import (
    derived,
    in_unit,
    long_name,
    lower_is_better,
    named,
    parts,
    perplexity,
    shown,
    to_show,
)
from shared.tasks.task import Column, Measured, Scale, Series, Task

CLASSES = Signature(2, 2, tokens=True, per_step=True, loss="cross_entropy")
VALUES = Signature(1, 1, tokens=False, per_step=False, loss="mse")


def task(signature: Signature, test: Split, **options: Any) -> Task:
    return Task("made", signature, train=test, valid=test, test=test, **options)


def forecast(difference: bool) -> tuple[Task, np.ndarray, np.ndarray, np.ndarray]:
    """A series with a mean of 10 and a deviation of 2; the values before, the values themselves and
    what is predicted of them, in their unit."""
    draw = np.random.default_rng(3)
    before, true, predicted = draw.normal(10, 2, (3, 50))
    scaled = (np.stack([draw.normal(10, 2, 50), before], axis=1)[..., None] - 10) / 2
    targets = ((true - before) / 2 if difference else (true - 10) / 2)[:, None]
    goal = Column("height", unit="m")
    series = Series([goal], 1, 2, 1, None, None, None, [], {"": [Scale(10.0, 2.0)]}, difference)
    return task(VALUES, Split(scaled, targets), series=series), before, true, predicted


@pytest.mark.parametrize("difference", [False, True])
def test_rmse_and_r2_of_the_validation_follow_from_its_loss(difference: bool) -> None:
    made, _, true, predicted = forecast(difference)
    off = predicted - true
    loss, mae = np.square(off / 2).mean(), np.abs(off / 2).mean()
    found = derived(made, "valid", Evaluation(float(loss), float(mae)))
    assert found == {
        "loss": loss,
        "mae": mae,
        "rmse": pytest.approx(math.sqrt(np.square(off).mean()), rel=1e-12),
        "r2": pytest.approx(1 - np.square(off).mean() / true.var(), rel=1e-12),
    }
    assert list(derived(made, "test", Evaluation(float(loss), float(mae)))) == ["loss", "mae"]


@pytest.mark.parametrize(
    "change",
    [
        {"columns": [Column("height", log=True)]},
        {"scales": {"a": [Scale(0.0, 1.0)], "b": [Scale(0.0, 2.0)]}},
        {"horizon": 2},
        {"columns": [Column("height"), Column("width")], "targets": 2},
    ],
    ids=["logarithm", "groups", "horizon", "targets"],
)
def test_no_error_in_a_unit_is_told_where_it_does_not_follow_from_the_loss(change: Any) -> None:
    made, *_ = forecast(False)
    assert made.series is not None
    other = replace(made, series=replace(made.series, **change))
    assert list(derived(other, "valid", Evaluation(0.5, 0.5))) == ["loss", "mae"]


def test_the_parts_of_a_series_have_variances_of_their_own() -> None:
    made, *_ = forecast(False)
    wide = Split(made.test.inputs, made.test.targets[:] * 3)
    other = Task("made", VALUES, made.train, wide, made.test, series=made.series)
    first, second = (derived(one, "valid", Evaluation(0.5, 0.5))["r2"] for one in (made, other))
    assert 1 - second == pytest.approx((1 - first) / 9)


@pytest.mark.parametrize("difference", [False, True])
def test_windows_of_a_table_have_the_scores_of_the_arrays_they_stand_for(difference: bool) -> None:
    made, *_ = forecast(difference)
    rows = np.random.default_rng(1).normal(size=(52, 1))
    starts = np.arange(50)
    windows = Split(
        Windows(rows, starts, 2), Windows(rows, starts + 2, 1, flat=True, relative=difference)
    )
    arrays = Split(*(np.asarray(part) for part in windows[:2]))
    first, second = (
        derived(replace(made, valid=split), "valid", Evaluation(0.5, 0.5))
        for split in (windows, arrays)
    )
    assert first == second
    assert 1 - first["r2"] == pytest.approx(0.5 / rows[2:].var())


def measured(per_step: bool, lengths: np.ndarray | None) -> tuple[Task, dict[str, np.ndarray]]:
    """Numbers of sequences, the first with a logarithm, or at each of their steps."""
    columns = [Column("mass", unit="kg", log=True), Column("speed")]
    scales = [Scale(1.0, 0.5), Scale(-3.0, 2.0)]
    signature = Signature(1, 2, tokens=False, per_step=per_step, loss="mse")
    shape = (20, 3, 2) if per_step else (20, 2)
    targets, predicted = np.random.default_rng(2).normal(size=(2, *shape))
    made = task(
        signature, Split(np.zeros((20, 3, 1)), targets, lengths),
        measured=Measured([Column("x")], [Scale(0.0, 1.0)], columns, scales, [], None),
    )  # fmt: skip
    found = {"predicted": predicted, "targets": targets}
    return made, found if lengths is None else found | {"lengths": lengths}


@pytest.mark.parametrize("per_step", [False, True])
def test_numbers_of_sequences_are_scored_in_their_units(per_step: bool) -> None:
    lengths = np.random.default_rng(3).integers(1, 4, 20).astype(np.int32)
    made, found = measured(per_step, lengths)
    counts = np.arange(3) < lengths[:, None] if per_step else ...
    mass, speed = (
        (function(scale * found["predicted"][counts][..., i] + mean),
         function(scale * found["targets"][counts][..., i] + mean))
        for i, (function, mean, scale) in enumerate([(np.expm1, 1, 0.5), (np.asarray, -3, 2)])
    )  # fmt: skip
    scores = predictions.scores(made, found)
    assert scores["rmse.mass"] == pytest.approx(np.sqrt(np.square(mass[0] - mass[1]).mean()))
    assert scores["mae_units.speed"] == pytest.approx(np.abs(speed[0] - speed[1]).mean())
    r2 = [1 - np.square(own[0] - own[1]).mean() / own[1].var() for own in (mass, speed)]
    assert scores["r2"] == pytest.approx(np.mean(r2))


def test_a_single_number_has_its_unit_at_validation() -> None:
    made, _ = measured(False, None)
    assert made.measured is not None
    for which, expected in ((0, []), (1, [2 * math.sqrt(0.5)])):
        alone = replace(
            made.measured, targets=made.measured.targets[which : which + 1],
            target_scales=made.measured.target_scales[which : which + 1],
        )  # fmt: skip
        found = derived(replace(made, measured=alone), "valid", Evaluation(0.5, 0.25))
        assert [v for k, v in found.items() if k == "rmse"] == pytest.approx(expected)


def test_classes_that_a_user_brings_are_scored_by_balance_too() -> None:
    targets, predicted = np.array([0, 0, 0, 1]), np.array([0, 0, 0, 0])
    one = Signature(2, 2, tokens=True, per_step=False, loss="cross_entropy")
    made = task(one, Split(np.zeros((4, 3), np.int32), targets), classes=("ham", "spam"),
                vocabulary=("a", "b"))  # fmt: skip
    found = {"predicted": predicted, "targets": targets, "probability": np.array([0, 1, 2, 3]) / 9}
    assert predictions.scores(made, found) == {
        "accuracy": 0.75, "balanced_accuracy": 0.5, "macro_f1": pytest.approx(3 / 7),
        "roc_auc": 1.0,
    }  # fmt: skip
    assert predictions.scores(replace(made, vocabulary=()), found) == {}


def test_classes_of_steps_are_scored_where_they_count() -> None:
    columns = Measured([Column("x")], [Scale(0.0, 1.0)], [], [], [], None)
    made = task(CLASSES, Split(TARGETS, TARGETS), measured=columns)
    found = {"predicted": PREDICTED, "targets": TARGETS, "lengths": LENGTHS}
    counts = np.arange(4) < LENGTHS[:, None]
    right = (PREDICTED == TARGETS)[counts]
    scores = predictions.scores(made, found)
    recall = [right[TARGETS[counts] == one].mean() for one in (0, 1)]
    assert scores["balanced_accuracy"] == pytest.approx(np.mean(recall))
    assert scores["accuracy"] == right.mean()
    assert scores["exact"] == 2 / 4


@pytest.mark.parametrize("unknown", [False, True])
def test_answers_are_scored_by_their_edits(unknown: bool) -> None:
    """And where a token may be unknown, what is exactly right is counted of the answers."""
    sources = np.array([[1, 0, 1, 1], [0, 0, 1, 0]])
    part = Split(sources, sources, weights=np.arange(4) >= [[2], [2]])
    made = task(CLASSES, part, vocabulary=("<unk>", "a") if unknown else ("a", "b"))
    found = {"predicted": TARGETS, "targets": TARGETS}
    found |= {"answers": np.array(["abc", "xyz"]), "references": np.array(["abx", "xyz"])}
    scores = predictions.scores(made, found)
    assert scores["edit_rate"] == pytest.approx(1 / 6)
    assert scores["exact"] == (0.5 if unknown else 1.0)


@pytest.mark.parametrize("margin", [-1000.0, -2.0, 0.0, 1e-3, 700.0])
def test_two_classes_have_the_probability_of_their_softmax(margin: float) -> None:
    """A backend whose logits are its inputs."""

    def predict(_state, inputs: np.ndarray, _lengths: object):
        return inputs[:, 0], ()

    inputs = np.array([[[0.5, 0.5 + margin]]])
    one = Signature(2, 2, tokens=False, per_step=False, loss="cross_entropy")
    made = task(one, Split(inputs, np.array([1])), classes=("no", "yes"))
    found = evaluation.predict(made, cast(Any, SimpleNamespace(predict=predict)), None)
    expected = 1 / (1 + math.exp(-margin)) if margin > -700 else 0.0
    assert found["probability"].tolist() == [pytest.approx(expected, abs=1e-15)]
    assert found["predicted"].tolist() == [int(margin > 0)]


@pytest.mark.parametrize("part", ["valid", "test"])
def test_bits_are_counted_for_each_character_of_the_text(part: str) -> None:
    """Sixty tokens that stand for 240 and 300 characters."""
    tokens = np.zeros((1, 60), np.int32)
    made = task(
        CLASSES, Split(tokens, tokens), streams=True, characters={"valid": 240, "test": 300}
    )
    shares = np.random.default_rng(1).uniform(0.1, 0.9, 60)
    found = derived(made, part, Evaluation(float(-np.log(shares).mean()), 0.25))
    characters = 240 if part == "valid" else 300
    bits = -np.log2(shares).sum() / characters
    assert found["bits_per_character"] == pytest.approx(bits, rel=1e-12)
    assert found["perplexity"] == pytest.approx(np.prod(shares) ** (-1 / 60), rel=1e-12)
    assert found["accuracy"] == 0.25
    # All of them are token 0, which stands for whatever is not in the vocabulary.
    assert list(found) == ["loss", "accuracy", "bits_per_character", "perplexity", "unknown"]
    assert found["unknown"] == 1.0


def test_unknown_tokens_are_counted_if_there_are_any() -> None:
    tokens = np.array([[0, 3, 1, 0, 2, 5, 4, 1]], np.int32)
    part = Split(tokens, tokens)
    counted = derived(
        task(CLASSES, part, streams=True, characters={"test": 9}), "test", Evaluation(1.0, 0.5)
    )
    assert counted["unknown"] == 0.25
    part = Split(tokens, tokens.clip(min=1))
    none = derived(
        task(CLASSES, part, streams=True, characters={"test": 9}), "test", Evaluation(1.0, 0.5)
    )
    assert "unknown" not in none


def test_a_series_shows_no_scaled_error_beside_that_in_its_unit() -> None:
    assert to_show({"loss": 0.3, "mae": 0.4, "rmse": 2.7, "r2": 0.8, "step": 5}) == [
        "loss", "rmse", "r2"
    ]  # fmt: skip
    assert to_show({"loss": 0.3, "mae": 0.4, "step": 5}) == ["loss", "mae"]
    several = {"loss": 0.3, "mae": 0.4, "rmse.a": 1.0, "rmse.b": 2.0, "mase": 0.9, "mase_1": 0.8}
    assert to_show(several) == ["loss", "rmse.a", "rmse.b", "mase"]
    assert to_show({"mae": 0.4, "mae_units": 2.0, "rmse_12": 1.0}) == ["mae_units"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [("rmse_3", True), ("mase_12", True), ("rmse.a_b.c", True), ("mae_units", True),
     ("edit_rate", True), ("r2", False), ("balanced_accuracy", False), ("bleu", False)],
)  # fmt: skip
def test_errors_are_better_where_they_are_lower(name: str, expected: bool) -> None:
    assert lower_is_better(name) is expected


def test_the_name_of_a_score_has_parts() -> None:
    assert parts("rmse_3") == ("rmse", "3", "")
    assert parts("rmse.price_2") == ("rmse", "", "price_2")
    assert parts("mae_units.price") == ("mae_units", "", "price")
    assert parts("accuracy_longer") == ("accuracy_longer", "", "")


def test_a_perplexity_beyond_all_numbers_is_still_one() -> None:
    assert perplexity(2.0) == pytest.approx(math.e**2)
    assert math.isfinite(perplexity(1e9))
    assert perplexity(1e9) == perplexity(701)


def test_what_is_neither_text_nor_series_has_a_loss_and_a_metric() -> None:
    numbers = Split(np.zeros((2, 3, 1)), np.zeros((2, 1)))
    assert derived(task(VALUES, numbers), "test", Evaluation(0.5, 0.25)) == {
        "loss": 0.5, "mae": 0.25,
    }  # fmt: skip
    tokens = np.zeros((1, 3), np.int32)
    assert named(task(CLASSES, Split(tokens, tokens)), Evaluation(0.5, 0.25)) == {
        "loss": 0.5, "accuracy": 0.25,
    }  # fmt: skip


TARGETS = np.array([[1, 0, 1, 1], [0, 0, 1, 0], [1, 1, 0, 0], [0, 1, 1, 1]])
PREDICTED = np.array([[1, 0, 1, 1], [0, 0, 1, 1], [0, 1, 0, 0], [0, 1, 1, 0]])
EVERY = np.ones((4, 4), bool)
LENGTHS = np.array([4, 3, 4, 4])
LATER = np.arange(4) >= np.array([0, 0, 1, 1])[:, None]


@pytest.mark.parametrize(
    ("more", "exact"),
    [
        ({}, 1 / 4),
        ({"lengths": LENGTHS}, 2 / 4),
        ({"weights": LATER}, 2 / 4),
        ({"lengths": LENGTHS, "weights": LATER}, 3 / 4),
        ({"weights": ~EVERY}, 4 / 4),
    ],
    ids=["all", "lengths", "weights", "both", "nothing counts"],
)
def test_a_sequence_is_exactly_right_where_all_that_counts_is(more: dict, exact: float) -> None:
    made = task(CLASSES, Split(TARGETS, TARGETS))
    found = {"predicted": PREDICTED, "targets": TARGETS, **more}
    assert predictions.scores(made, found) == {"exact": exact}


def test_longer_sequences_are_scored_target_by_target() -> None:
    made = task(CLASSES, Split(TARGETS, TARGETS))
    found = {"predicted": TARGETS, "targets": TARGETS}
    found |= {"longer_predicted": PREDICTED, "longer_targets": TARGETS}
    scores = predictions.scores(made, found)
    assert scores == {"exact": 1.0, "accuracy_longer": 13 / 16}
    shorter = found | {"longer_lengths": LENGTHS}
    counted = np.arange(4) < LENGTHS[:, None]
    right = ((PREDICTED == TARGETS) & counted).sum() / counted.sum()
    assert predictions.scores(made, shorter)["accuracy_longer"] == pytest.approx(right)


def test_only_classes_at_every_step_can_be_exactly_right() -> None:
    found = {"predicted": np.zeros((2, 1)), "targets": np.zeros((2, 1))}
    assert predictions.scores(task(VALUES, Split(np.zeros((2, 3, 1)), np.zeros(2))), found) == {}
    one = Signature(2, 2, tokens=False, per_step=False, loss="cross_entropy")
    assert predictions.scores(task(one, Split(np.zeros((2, 3, 2)), np.zeros(2))), found) == {}
    assert predictions.scores(task(CLASSES, Split(TARGETS, TARGETS)), {}) == {}


@pytest.mark.parametrize("count", [1, 511, 512, 513, 1100])
def test_every_sequence_is_predicted_once_whatever_the_size_of_a_call(count: int) -> None:
    """A backend that answers with what it reads, in calls of one shape."""
    shapes = []

    def predict(_state, inputs: np.ndarray, lengths: np.ndarray):
        shapes.append(inputs.shape)
        np.testing.assert_array_equal(lengths, inputs[:, 0, 0])
        return inputs[:, 0], ()

    inputs = np.arange(float(count))[:, None, None]
    backend = cast(Any, SimpleNamespace(predict=predict))
    made = task(VALUES, Split(inputs, inputs[:, 0]))
    found = evaluation.outputs(made, backend, None, inputs, inputs[:, 0, 0])
    np.testing.assert_array_equal(found, inputs[:, 0])
    assert len(set(shapes)) == 1


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("accuracy", 0.98349, "98.3 %"),
        ("exact", 1.0, "100.0 %"),
        ("accuracy_longer", 0.5, "50.0 %"),
        ("loss", 0.12345, "0.1235"),
        ("mae", 2.0, "2.0000"),
        ("rmse", 2.68149, "2.681"),
        ("r2", -0.41259, "-0.413"),
        ("bits_per_character", 2.0004, "2.000"),
        ("perplexity", 123.456, "123.5"),
        ("rmse_3", 2.68149, "2.681"),
        ("mase", 0.98765, "0.988"),
        ("balanced_accuracy", 0.5, "50.0 %"),
        ("macro_f1", 0.51234, "0.512"),
        ("edit_rate", 0.0213, "2.1 %"),
        ("bleu", 31.26, "31.3"),
    ],
)
def test_a_value_is_shown_in_its_unit(name: str, value: float, expected: str) -> None:
    assert in_unit(name, value) == expected


@pytest.mark.parametrize(
    ("name", "unit", "long", "sentence"),
    [
        ("accuracy", "", "accuracy", "accuracy 50.0 %"),
        ("rmse", "°C", "RMSE, °C", "RMSE 0.500 °C"),
        ("rmse", "", "RMSE", "RMSE 0.500"),
        ("mae", "°C", "mae", "mae 0.5000"),
        ("rmse_3", "°C", "RMSE at step 3, °C", "RMSE at step 3 0.500 °C"),
        ("mae_units", "°C", "MAE, °C", "MAE 0.500 °C"),
        ("rmse.price", "", "RMSE of price", "RMSE of price 0.500"),
        ("mase_2", "°C", "MASE at step 2", "MASE at step 2 0.500"),
        ("edit_rate", "", "edits", "edits 50.0 %"),
        ("roc_auc", "", "ROC AUC", "ROC AUC 0.500"),
        ("r2", "°C", "R²", "R² 0.500"),
        ("bits_per_character", "", "bits per character", "bits per character 0.500"),
        ("exact", "", "exactly right", "exactly right 50.0 %"),
        ("unknown", "", "unknown tokens", "unknown tokens 50.0 %"),
        ("accuracy_longer", "", "accuracy on longer sequences",
         "accuracy on longer sequences 50.0 %"),
    ],
)  # fmt: skip
def test_a_score_is_named_as_a_reader_expects(
    name: str, unit: str, long: str, sentence: str
) -> None:
    assert long_name(name, unit) == long
    assert shown(name, 0.5, unit) == sentence
