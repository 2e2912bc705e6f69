"""Gaps of a proof: each once, in order, in plain lines, and in few words."""

from shared.protocol.gaps import Gap, joined, ranges, summary


def described(gaps: list[Gap]) -> list[str]:
    return [gap.described for gap in gaps]


def test_gaps_are_joined_once_and_in_order() -> None:
    dead = [Gap("no-gradient", f"old.{name}") for name in ("weight", "bias")]
    rows = Gap("rows-not-read", "embedding.weight", 3, 9)
    by_gradient = Gap("rows-not-read", "embedding.weight", 4, 9)
    said = joined(
        [Gap("never-called", "old", 2), rows], [by_gradient, *dead, Gap("no-gradient", "older")]
    )
    assert described(said) == [
        "older never had a gradient",
        "old was never called",
        "embedding.weight: 3 of 9 rows were read by no batch",
    ]
    # A weight that another module reads is not one that nobody exercised.
    assert joined([Gap("never-called", "old", 2)], dead[:1]) == dead[:1]
    assert joined([Gap("never-called", "act", 0)], []) == [Gap("never-called", "act", 0)]
    still = Gap("no-gradients", count=2, of=2)
    assert joined([Gap("never-called", "old", 2)], [still])[1].name == "old"


def test_the_short_form_names_few_and_counts_the_rest() -> None:
    names = [Gap("no-gradient", f"w{i}") for i in range(7)]
    aside = Gap("one-length", "rnn", 5)
    assert summary([*names[:5], aside]) == "not exercised: w0, w1, w2, w3, w4"
    assert summary(names) == "not exercised: w0, w1, w2, w3, w4 and 2 more"
    assert summary([aside]) == ""
    assert aside.described == "rnn: every sequence had 5 steps"


def test_ranges() -> None:
    assert ranges([9, 3, 7, 8, 3]) == "3, 7-9"
    assert ranges([0]) == "0"
    assert ranges([0, 2, 4, 6, 7, 10, 11, 13]) == "0, 2, 4, 6-7 and 3 more"
