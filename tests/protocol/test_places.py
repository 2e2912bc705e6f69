"""Tests of shared/protocol/places.py, NumPy being the referee."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import InvalidInput
from shared.protocol.places import from_part, part_shape, read_place, to_part

SHAPES = {
    "head.kernel": (3, 4),
    "conv.kernel": (5, 6, 3, 4),
    "query.kernel": (6, 2, 3),
    "flat.kernel": (12, 5),
    "slope": (),
    "w": (10, 8),
    "T": (2, 2),
    "odd.T": (3, 4),
    "lstm/~/linear.w": (4, 4),
}
X = np.arange(360.0).reshape(4, 3, 5, 6)
HEADS = np.arange(36.0).reshape(6, 6)
FLAT = np.arange(60.0).reshape(5, 12)
PLACES = {
    "as it is": ("head.kernel", X[0, :, 0, :4], X[0, :, 0, :4]),
    "transposed": ("head.kernel.T", X[:, :, 0, 0], X[:, :, 0, 0].T),
    "letters": ("conv.kernel OIHW->HWIO", X, X.transpose(2, 3, 1, 0)),
    "words": ("conv.kernel o i h w -> h w i o", X, X.transpose(2, 3, 1, 0)),
    "heads": ("query.kernel (h d) i->i h d", HEADS, HEADS.reshape(2, 3, 6).transpose(2, 0, 1)),
    "channels last": (
        "flat.kernel o (c=3 s)->(s c) o",
        FLAT,
        FLAT.reshape(5, 3, 4).transpose(2, 1, 0).reshape(12, 5),
    ),
    "an axis of one": ("slope 1->", np.array([7.0]), np.array(7.0)),
    "a part": ("w[:4, 6:]", X[0, 0, :4, 3:5], X[0, 0, :4, 3:5]),
    "a part, transposed": ("w[:2, 0:5].T", X[0, 0, :5, :2], X[0, 0, :5, :2].T),
    "from the end": ("head.kernel[::-1]", X[0, :, 0, :4], X[0, :, 0, :4]),
    "axes of a part": ("head.kernel[::-1, ::-1] ab->ba", X[:, :, 0, 0], X[:, :, 0, 0].T),
    "a parameter called T": ("T", HEADS[:2, :2], HEADS[:2, :2]),
    "a path that ends in T": ("odd.T", X[0, :, 0, :4], X[0, :, 0, :4]),
    "slashes": ("lstm/~/linear.w.T", HEADS[:4, :4], HEADS[:4, :4].T),
}


@pytest.mark.parametrize("case", PLACES)
def test_a_tensor_goes_to_its_place_and_back(case: str) -> None:
    text, tensor, expected = PLACES[case]
    part = read_place(text, SHAPES)
    shape = part_shape(part, SHAPES[part.path])
    np.testing.assert_array_equal(to_part(part, tensor, shape), expected)
    np.testing.assert_array_equal(from_part(part, expected), tensor)


def test_a_part_is_cut_as_numpy_cuts_it() -> None:
    array = np.zeros((10, 8))
    part = read_place("w[2:4, ::-2]", SHAPES)
    array[part.cut] = [[1, 2, 3, 4], [5, 6, 7, 8]]
    np.testing.assert_array_equal(array[2, 7::-2], [1, 2, 3, 4])
    assert np.count_nonzero(array) == 8


BAD = {
    "no such array": ("kernel",
                      "expected one of head.kernel, conv.kernel, query.kernel, flat.kernel, "
                      "slope, w, T, odd.T, lstm/~/linear.w, got kernel"),
    "both": ("head.kernel.T ab->ba", "head.kernel.T ab->ba: expected .T or axes by name, got both"),
    "an axis missing": ("head.kernel ab->a",
                        "head.kernel ab->a: expected the same axes on both sides of ->, each once"),
    "an axis twice": ("head.kernel aa->aa",
                      "head.kernel aa->aa: expected the same axes on both sides of ->, each once"),
    "parentheses": ("head.kernel (a b->a b",
                    "head.kernel (a b->a b: expected axes with matching parentheses, got (a b"),
    "no name": ("head.kernel a 2->a 2",
                "head.kernel a 2->a 2: expected names of axes, as h or h=4, got 2"),
    "no size": ("head.kernel a=x b->a b",
                "head.kernel a=x b->a b: expected names of axes, as h or h=4, got a=x"),
    "too many axes": ("w[:, :, :]", "w[:, :, :]: expected at most 2 axes, got [:, :, :]"),
    "a single index": ("w[3]", "w[3]: expected parts as [0:4, 2:], got [3]"),
    "no number": ("w[-:2]", "w[-:2]: expected whole numbers, as in [0:4, 2:], got [-:2]"),
    "beyond": ("w[0:11]", "w[0:11]: expected a part of the 10 elements of axis 0, got [0:11]"),
    "nothing": ("w[4:4]", "w[4:4]: expected a part of the 10 elements of axis 0, got [4:4]"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_place_is_refused(case: str) -> None:
    text, message = BAD[case]
    with pytest.raises(InvalidInput) as error:
        read_place(text, SHAPES)
    assert str(error.value) == message


MISFITS = {
    "transposed": ("head.kernel.T", (3, 4),
                   "expected shape (3, 4) for head.kernel, got (4, 3) after transposing"),
    "other axes": ("conv.kernel OIHW->HWIO", (4, 3),
                   "expected a tensor of 4 axes for conv.kernel O I H W->H W I O, got (4, 3)"),
    "another rank": ("head.kernel abc->abc", (1, 3, 4),
                     "expected an array of 3 axes for head.kernel a b c->a b c, got (3, 4)"),
    "heads that do not divide": (
        "query.kernel (h d) i->i h d", (7, 6),
        "expected 6 elements in axis (h d) of query.kernel (h d) i->i h d, got 7"),
    "a size that nothing tells": (
        "flat.kernel o (c s)->(s c) o", (5, 12),
        "flat.kernel o (c s)->(s c) o: expected the size of axis c, as in c=4, got none"),
    "a part": ("w[:4, 6:]", (2, 4), "expected shape (4, 2) for w[…], got (2, 4)"),
}  # fmt: skip


@pytest.mark.parametrize("case", MISFITS)
def test_a_tensor_that_does_not_fit_is_refused(case: str) -> None:
    text, shape, message = MISFITS[case]
    part = read_place(text, SHAPES)
    with pytest.raises(InvalidInput) as error:
        to_part(part, np.ones(shape), part_shape(part, SHAPES[part.path]))
    assert str(error.value) == message


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(st.data())
def test_any_order_of_axes_and_any_grouping_come_back(data: st.DataObject) -> None:
    names = [f"a{i}" for i in range(data.draw(st.integers(1, 5)))]
    sizes = {name: data.draw(st.integers(1, 3)) for name in names}

    def groups(order: list[str]) -> list[list[str]]:
        ends = [0, *sorted(data.draw(st.sets(st.integers(1, len(order))))), len(order)]
        return [order[a:b] for a, b in pairwise(ends) if a < b]

    theirs, ours = groups(names), groups(data.draw(st.permutations(names)))

    def written(side: list[list[str]]) -> str:
        return " ".join(f"({' '.join(f'{n}={sizes[n]}' for n in group)})" for group in side)

    shape = [int(np.prod([sizes[n] for n in group])) for group in ours]
    tensor = np.arange(np.prod(list(sizes.values()))).reshape(
        [int(np.prod([sizes[n] for n in group])) for group in theirs]
    )
    part = read_place(f"x.y {written(theirs)}->{written(ours)}", {"x.y": tuple(shape)})
    values = to_part(part, tensor, tuple(shape))
    split = tensor.reshape([sizes[n] for n in names])
    order = [names.index(n) for group in ours for n in group]
    np.testing.assert_array_equal(values, split.transpose(order).reshape(shape))
    np.testing.assert_array_equal(from_part(part, values), tensor)
