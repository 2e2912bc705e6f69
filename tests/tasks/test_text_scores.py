"""Edit distances against the textbook's recursion, and the scores that are made of them."""

import functools
import importlib.util

import numpy as np
import pytest

from shared.tasks import text_scores
from shared.tasks.pair_baselines import similar
from shared.tasks.text_scores import bleu, distances, edit_rate, exact, nearest


def levenshtein(one: str, other: str) -> int:
    @functools.cache
    def of(i: int, j: int) -> int:
        if not i or not j:
            return i + j
        replaced = of(i - 1, j - 1) + (one[i - 1] != other[j - 1])
        return min(of(i - 1, j) + 1, of(i, j - 1) + 1, replaced)

    return of(len(one), len(other))


def drawn(count: int, longest: int, seed: int) -> list[str]:
    draw = np.random.default_rng(seed)
    letters = ["a", "b", "c", "é", "😀", "\0"]
    return ["".join(draw.choice(letters, draw.integers(0, longest))) for _ in range(count)]


@pytest.mark.parametrize("cells", [1, 60, 10**6])
def test_distances_are_those_of_the_recursion(cells: int, monkeypatch) -> None:
    monkeypatch.setattr(text_scores, "CELLS", cells)
    ones, others = drawn(60, 12, 1), drawn(60, 9, 2)
    expected = [levenshtein(*pair) for pair in zip(ones, others, strict=True)]
    np.testing.assert_array_equal(distances(ones, others), expected)
    assert len(set(expected)) > 5


@pytest.mark.parametrize(
    ("one", "other", "distance"),
    [("kitten", "sitting", 3), ("", "abc", 3), ("abc", "", 3), ("", "", 0), ("flaw", "lawn", 2)],
)
def test_distances_of_words(one: str, other: str, distance: int) -> None:
    assert distances([one], [other]).tolist() == [distance]


def test_the_edit_rate_is_that_of_all_characters_together() -> None:
    assert edit_rate(["abc", "x"], ["ab!", "yyyyyyy"]) == 8 / 10
    assert edit_rate(["aaaaaa"], ["a"]) == 5.0
    assert exact(["abc", "x", "y"], ["abc", "X", "y"]) == 2 / 3


def test_of_several_references_the_nearest_counts() -> None:
    answers, references = ["abc", "q", "same"], [["xyz", "ab!", "abx"], ["r"], ["one", "same"]]
    assert nearest(answers, references) == ["ab!", "r", "same"]


def test_bleu_is_that_of_sacrebleu_where_it_is_installed() -> None:
    answers, references = ["the cat sat on a mat"], ["the cat sat on the mat"]
    if importlib.util.find_spec("sacrebleu") is None:
        assert bleu(answers, references) is None
        assert set(text_scores.text_scores(answers, references)) == {"exact", "edit_rate"}
        return
    # Of n-grams 5/6, 3/5, 2/4 and 1/3 are in the reference; both are of one length.
    expected = 100 * (5 / 6 * 3 / 5 * 2 / 4 * 1 / 3) ** 0.25
    assert bleu(answers, references) == pytest.approx(expected, rel=1e-9)


def test_the_most_similar_text_has_the_largest_share_of_common_trigrams() -> None:
    known, questions = drawn(40, 15, 3), drawn(30, 15, 4)

    def trigrams(text: str) -> set[str]:
        whole = f"\0\0{text}\0\0"
        return {whole[i : i + 3] for i in range(len(whole) - 2)}

    for question, row in zip(questions, similar(known, questions), strict=True):
        own = trigrams(question)
        shares = [2 * len(own & trigrams(k)) / (len(own) + len(trigrams(k))) for k in known]
        assert row == int(np.argmax(shares))
    assert similar(known, known[:9]).tolist() == [known.index(text) for text in known[:9]]
