"""The proof of parity for data in memory is that of the command line."""

import pytest

from shared.errors import InvalidInput
from shared.notebook import Problem, prove, sequences, task
from tests.notebook.test_tasks import stepwise


def test_a_series_in_memory_is_proved(series: Problem) -> None:
    found = prove(series, steps=3, hidden_size=3)
    assert found.comparison.equal
    assert found.comparison.precisions == {"float64"}
    assert found.comparison.steps == [1, 2, 3]
    assert found.verdicts[0].startswith("proved in float64: equal within 1e-09: 3 steps, ")


def test_sequences_of_unequal_lengths_are_proved_with_weights_of_classes() -> None:
    inputs, names = stepwise()
    problem = sequences(inputs, ["odd", *names[1:-1], "odd"], class_weights="balanced")
    assert problem.data.train.lengths is not None
    assert problem.data.train.weights is not None
    assert prove(problem, steps=3, hidden_size=3, batch_size=8).comparison.equal


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "float32"}, "^prove: expected contenders, in float64, got the option prec"),
        ({"backend": "jax"}, "^prove: expected contenders, in float64, got the option backend$"),
        ({"steps": 0}, "^steps: expected a positive number, got 0$"),
        ({"steps": 9, "epochs": 2}, "^--steps: expected at most the 2 steps of the run"),
        ({"contenders": ("jax/handcrafted", "tf")}, "^contenders: expected two of .*, got tf$"),
        ({"tolerance": 2.0}, r"^tolerance: expected a number in \[0, 1\), got 2.0$"),
        ({"hidden": 3}, r"^prove: got an unknown option hidden; did you mean hidden_size\?$"),
    ],
)
def test_what_cannot_be_proved_is_refused(options: dict, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        prove(task("hello"), **options)
