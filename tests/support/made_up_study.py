"""Studies that nobody made, for tests of what is concluded from them."""

from collections.abc import Mapping, Sequence

from shared.runs.study import Combination, Look, Study, Trial


def made_up(
    scores: Sequence[Sequence[float] | str],
    *,
    by: str = "loss",
    space: Mapping[str, Sequence[str]] | None = None,
    values: Sequence[Mapping[str, str]] | None = None,
    looks: Sequence[Look] = (),
) -> Study:
    """A study with these scores in validation.

    Args:
        scores: of each combination its score from each seed, or why it failed.
        values: of each combination; by default its number as hidden size.
    """
    seeds = len(next(one for one in scores if not isinstance(one, str)))
    combinations: list[Combination] = []
    for number, found in enumerate(scores, start=1):
        folders = [f"trials/{number:03d}-{seed}" for seed in range(seeds)]
        if isinstance(found, str):
            trials = [Trial(seed, folder, "failed", found) for seed, folder in enumerate(folders)]
        else:
            trials = [
                Trial(seed, folder, "done", valid={by: found[seed]})
                for seed, folder in enumerate(folders)
            ]
        own = values[number - 1] if values else {"hidden-size": str(number)}
        combinations.append(Combination(number, {**own}, trials))
    usual = {"hidden-size": [str(one.number) for one in combinations]}
    named = {name: [*words] for name, words in (space or usual).items()}
    return Study({}, named, None, 0, False, [*range(seeds)], by, combinations, [*looks])
