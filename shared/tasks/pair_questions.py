"""Sources of a test part that a network answers for its scores."""

from collections.abc import Sequence

import numpy as np

from shared.system.randomness import generator
from shared.tasks.task import Questions
from shared.tasks.vocabulary import Ragged, spaced

ASKED = 1000
"""Most sources that are answered."""


def drawn(
    sources: Sequence[str],
    targets: Sequence[str],
    tokens: Ragged,
    test: np.ndarray,
    between: int,
    reverse: bool,
) -> Questions:
    """Draws at most `ASKED` of the different sources of the test part, in its order.

    Sources are the same if their texts are, not if the vocabulary lacks what they differ in.

    Args:
        sources, targets: of all pairs.
        tokens: of the sources.
        test: rows of the pairs in the test part.
        between: the token that follows a source.
        reverse: read a source from its end.
    """
    rows: dict[str, list[int]] = {}
    numbers: list[int] = test.tolist()
    for row in numbers:
        rows.setdefault(sources[row], []).append(row)
    every = [*rows.items()]
    order: list[int] = generator(0, "asked").permutation(len(every)).tolist()
    asked = [every[place] for place in sorted(order[:ASKED])]
    read = [tokens.text(own[0])[:: -1 if reverse else 1] for _, own in asked]
    return Questions(
        sources=[source for source, _ in asked],
        references=[[*dict.fromkeys(targets[row] for row in own)] for _, own in asked],
        prompts=[np.append(source, np.int32(between)) for source in read],
    )


def facts(questions: Questions, different: int) -> dict[str, str]:
    """Tells for a run's card how many sources are answered, if not all of them.

    Args:
        different: number of different sources of the test part.
    """
    count = len(questions.sources)
    if count == different:
        return {}
    told = f"{spaced(different)}, of which {spaced(count)} are answered for the scores"
    return {"different sources of the test part": told}
