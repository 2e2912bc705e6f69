"""What is known of a batch from its arrays, and where a tensor differs in words that hold."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from shared.parity.both import Both
from shared.parity.comparison import Comparison
from shared.parity.facts import Facts, Pattern
from shared.parity.patterns import patterns
from shared.parity.where import facts_of, pattern, rhythm
from shared.protocol.nests import Packed
from shared.protocol.program import Example, Start, Update

B, T, I, O = 4, 8, 3, 5


def real(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(0.5, 2.0, shape)


def whole(*shape: int) -> np.ndarray:
    return np.arange(1, 1 + int(np.prod(shape))).reshape(shape) % 3


LENGTHS = np.array([8, 3, 5, 8])
EXAMPLES: dict[str, tuple[Any, Any, tuple]] = {
    # inputs, targets, (batch, steps, lengths)
    "batch first, classes": (real(B, T, I), whole(B), (B, T, None)),
    "time first, classes": (real(T, B, I), whole(B), (B, T, None)),
    "time first, lengths": ((real(T, B, I), LENGTHS), whole(T, B), (B, T, [8, 3, 5, 8])),
    "lengths as targets": (whole(T, B), [whole(T, B), LENGTHS], (B, T, [8, 3, 5, 8])),
    "first size shared": (real(B, T, I), real(B, O), (B, T, None)),
    "tokens": (whole(B, T), whole(B), (B, T, None)),
    "features": (real(B, I), whole(B), (B, None, None)),
    "two inputs": ((real(B, I), whole(B, T)), real(B, T, O), (B, T, None)),
    "numbers": (real(B), real(B), (B, None, None)),
    "nothing tells": (real(T, B, I), real(T, B, O), (None, None, None)),
    "tokens alone": (whole(T, B), whole(T, B), (None, None, None)),
    "one array": (real(T, B, I), None, (None, None, None)),
    "no axis of the inputs": (real(T, B, I), whole(7), (None, None, None)),
    "an input of no axis": ((real(T, B, I), real(7)), None, (None, None, None)),
    "only the last axis": (real(T, B, I), whole(I), (None, None, None)),
    "two of one axis": ((real(T, B, I), real(T)), whole(B), (None, None, None)),
    "two of one axis, and shared": ((real(B, T, I), real(T), real(B)), real(B, O), (B, T, None)),
    "contradicted": ((real(B, T, I), real(T)), real(B, O), (None, None, None)),
    "packed": (Packed(real(6, 4), np.array([4, 2]), None, None), whole(4), (None, None, None)),
    "a number": (np.array(1.5), np.array(2.5), (None, None, None)),
    "as many as steps": (real(B, B, I), whole(B), (B, B, None)),
}


def known(example: Example) -> Facts:
    program: Any = SimpleNamespace(name="torch", update=lambda: Update((), ()))
    return facts_of(Both(program, program), Start({}), example)


@pytest.mark.parametrize("case", EXAMPLES)
def test_what_arrays_tell_of_batch_and_time(case: str) -> None:
    inputs, targets, expected = EXAMPLES[case]
    facts = known(Example(inputs, targets))
    assert (facts.batch, facts.steps, facts.lengths) == expected


def test_the_batch_with_fewer_examples_is_told_of() -> None:
    """The batches have 4, 4 and 3 sequences; with the time first, the arrays show it by classes."""

    def told(wrong: list[int], sizes: list[int]) -> list[str]:
        comparison = Comparison("jax", "torch")
        for step in range(1, 7):
            ours = np.array([2.0 if step in wrong else 1.0])
            comparison.add(step, {"loss/loss": ours}, {"loss/loss": np.array([1.0])})
        return rhythm(comparison, [Example(real(T, n, I), whole(n)) for n in sizes])

    few = "the first batch with fewer examples than others"
    assert told([3, 4, 5, 6], [4, 4, 3]) == [f"from step 3 on, {few}"]
    assert told([3, 6], [4, 4, 3]) == ["only at batches with fewer examples than others"]
    assert told([3, 6], [4, 4, 4]) == ["only at the last batch of each epoch"]
    assert told([2, 3, 4, 5, 6], [4, 4, 3]) == []


def test_sequences_are_not_called_time_steps() -> None:
    """Of (T, B) = (4, 8), six sequences differ."""
    b = real(4, 8, 6)
    a = b.copy()
    hit = [0, 1, 3, 4, 6, 7]
    a[:, hit] += np.random.default_rng(1).uniform(0.5, 1.0, (4, 6, 6))
    traces = {"logits/outputs": a}, {"logits/outputs": b}
    inputs, none, classes = real(4, 8, 3), real(4, 8, 6), whole(8)
    told = [
        pattern("logits/outputs", *traces, known(Example(inputs, targets)), 1e-9)
        for targets in (none, classes)
    ]
    assert told == [["only at 0-1, 3-4, 6-7 of axis 1"], ["only examples 0-1, 3-4, 6-7 of 8"]]


def test_a_sum_for_a_mean_is_told_by_the_outputs() -> None:
    outputs = {"logits/outputs": real(4, 2)}
    mine, theirs = ({**outputs, "loss/loss": np.array(loss)} for loss in (8 * 0.37, 0.37))
    told = pattern("loss/loss", mine, theirs, Facts(hidden=8), 1e-9)
    assert told == ["jax is 8 times torch: 8 is the number of elements of the outputs"]


def of(name: str, a: Any, b: Any, facts: Facts) -> list[Pattern]:
    """Patterns of two sides, of which an element differs if it does by more than rounding."""
    a, b = np.asarray(a), np.asarray(b)
    return patterns(name, a, b, np.abs(a - b) > 1e-9, facts)


LOSSES: dict[str, tuple] = {
    "elements": (
        8, Facts(hidden=8, outputs=[(4, 2)]), ": 8 is the number of elements of the outputs",
    ),
    "an axis": (
        1 / 4, Facts(outputs=[(4, 3)]), ": 1/4, where 4 is the size of axis 0 of the outputs",
    ),
    "axes": (
        15, Facts(outputs=[(3, 5, 2)]), ": 15 is the product of axes 0 and 1 of the outputs",
    ),
    "several": (
        6, Facts(outputs=[(7,), (2, 3)]),
        ": 6 is the number of elements of the outputs of shape [2, 3]",
    ),
    "named once": (4, Facts(batch=4, outputs=[(4, 2)]), ": 4 is the batch size"),
    "or twice": (2, Facts(steps=2), ": 2 is the number of time steps, or simply twice"),
    "or half": (
        0.5, Facts(steps=2), ": 1/2, where 2 is the number of time steps, or simply half",
    ),
    "one number": (
        3, Facts(batch=3, accumulate=3, classes=3),
        ": 3 is the batch size, or the number of classes",
    ),
    "one divisor": (
        1 / 3, Facts(batch=3, accumulate=3),
        ": 1/3, where 3 is the batch size, or the number of accumulated batches",
    ),
    "twice": (2, Facts(hidden=4), ""),
    "half": (0.5, Facts(hidden=2, layers=2, features=2), ""),
}  # fmt: skip


@pytest.mark.parametrize("case", LOSSES)
def test_a_factor_of_a_loss_is_what_a_reduction_brings_about(case: str) -> None:
    factor, facts, told = LOSSES[case]
    (found,) = of("loss/loss", factor * 1.37, 1.37, facts)
    assert found.about == f"jax is {factor:.6g} times torch{told}"
    assert 1 <= len(found.fields["of"]) <= 2
    for other in (Facts(hidden=8), Facts(hidden=64, features=64, layers=8), Facts()):
        assert not of("loss/loss", 8 * 1.37, 1.37, other)


def test_a_factor_of_other_tensors_than_a_loss() -> None:
    b, facts = real(4, 16), Facts(hidden=8, outputs=[(4, 2)])

    def names(name: str, factor: float) -> list[str]:
        return of(name, factor * b, b, facts)[0].fields["of"]

    told = names("gradients/head.weight", 8)
    assert told == ["8 is the number of elements of the outputs", "8 is the hidden size"]
    assert names("logits/outputs", 8) == ["8 is the hidden size"]
    # The square root of 4, the size of an axis, says nothing more.
    assert names("logits/outputs", 2) == ["twice"]


def test_axes_are_named_only_where_their_sizes_tell() -> None:
    def about(shape: tuple[int, ...], where: Any, facts: Facts) -> str:
        a, b = real(*shape), real(*shape)
        a[where] += real(*shape)[::-1][where] ** 2
        (found,) = of("logits/outputs", a, b, facts)
        return found.about

    columns, middle = np.s_[:, 1:], np.s_[:, 1:3]
    assert about((8, 3), columns, Facts()) == "only at 1-2 of axis 1"
    assert about((8, 3), columns, Facts(batch=8)) == "only features 1-2 of 3"
    for facts in (Facts(batch=5, steps=5), Facts(batch=5, steps=7), Facts(batch=7, steps=5)):
        assert about((5, 5, 2), middle, facts) == "only at 1-2 of axis 1"
        assert about((5, 5, 2), np.s_[1:3], facts) == "only at 1-2 of axis 0"
    alike = Facts(batch=5, steps=5)
    assert about((5, 3, 2), np.s_[1:3], alike) == "only at 1-2 of axis 0"
    last = np.s_[..., 1:3]
    assert about((3, 2, 5), last, Facts(batch=3, steps=5)) == "only features 1-2 of 5"
