"""What a network must not be used for, as far as it follows from its run."""

from statistics import mean

import numpy as np

from shared.report.forecast_plots import step_name
from shared.runs.predictions import Predictions, counted
from shared.runs.schema import Schema
from shared.runs.scores import in_unit, lower_is_better, shown
from shared.runs.summary import Reference, Summary
from shared.tasks.forecast_times import of_numbers
from shared.tasks.parts import IN_TRAINING, TESTED, UNTESTED
from shared.tasks.task import Series

FEW = 100
"""Fewest examples of the test part by which a score is taken without a warning."""
SEEN = 0.5
"""Share of a class that is found, below which the class is named."""
CLASSES = 10
"""Classes that are named."""
UNKNOWN = {"<unk>", "\N{REPLACEMENT CHARACTER}"}
"""Tokens that stand for whatever the vocabulary lacks."""


def against_baselines(summary: Summary) -> str:
    """Tells whether the network is better than the best predictor without one."""
    score, best = summary.score, best_baseline(summary)
    value = shown(score, summary.test[score], summary.unit)
    if best is None:
        return f"There is no baseline with a score like its {value}: nothing says how good that is."
    reference = shown(score, best.scores[score], summary.unit)
    if not is_ahead(summary, best):
        return (
            f"**It is no better than a predictor without a network**: {value}, against {reference} "
            f"of {best.name}. Use that instead."
        )
    return (
        f"It is better than every baseline: {value}, against {reference} of the best one, "
        f"{best.name}."
    )


def best_baseline(summary: Summary) -> Reference | None:
    """Returns the baseline with the best score of those that say how good the network is."""
    score = summary.score
    known = [one for one in summary.baselines if score in one.scores]
    better = min if lower_is_better(score) else max
    return better(known, key=lambda one: one.scores[score]) if known else None


def is_ahead(summary: Summary, best: Reference) -> bool:
    """Tells whether the network's score is better than that of a baseline, by as much as shows."""
    own, other = summary.test[summary.score], best.scores[summary.score]
    ahead = own < other if lower_is_better(summary.score) else own > other
    return ahead and in_unit(summary.score, own) != in_unit(summary.score, other)


def limits(schema: Schema, summary: Summary, found: Predictions) -> list[str]:
    """Returns sentences about what the network cannot do, or was not tested for."""
    told = [*_of_scores(summary, found)]
    if schema.series is not None:
        told += _of_series(schema, summary)
    elif schema.measured is not None:
        told += _of_sequences(schema, summary)
    elif schema.tokens:
        told += _of_texts(schema, summary)
    if schema.classes:
        told += _of_classes(schema, found)
    return [
        *told,
        "Nothing was measured of data from another source, of how its errors differ between groups "
        "of people, or of inputs that are made to mislead it.",
    ]


def _of_scores(summary: Summary, found: Predictions) -> list[str]:
    told = []
    if not summary.held_out:
        told.append(
            "Its score is on the very sequence that it was trained on, and says nothing of others."
        )
    best = best_baseline(summary)
    if best is not None and not is_ahead(summary, best):
        told.append(f"It is no replacement for {best.name}, which is at least as good.")
    count, what = len(found["targets"]) if found else FEW, "examples"
    if len(found.get("answers", ())):
        count, what = len(found["answers"]), "different sources"
    if summary.held_out and count < FEW:
        told.append(
            f"The test part has {count} {what} only: on others its scores may be quite different."
        )
    return told


def _of_series(schema: Schema, summary: Summary) -> list[str]:
    series = schema.series
    assert series is not None
    rows = "row" if series.horizon == 1 else f"{series.horizon} rows"
    step = f", of a table in {_steps(series)}" if series.step else ""
    told = [
        f"It predicts the next {rows}{step}. Further ahead, or with other steps, it was never "
        "tested."
    ]
    if series.groups:
        told.append(
            f"It knows {len(series.scales):,} series, each by its own mean and spread, and refuses "
            "others."
        )
    if UNTESTED in summary.about:
        told.append(
            f"Only {summary.about[TESTED]} series have forecasts in the test part. Its scores say "
            f"nothing of {summary.about[UNTESTED]}."
        )
    told += [
        f"In training, {name.removesuffix(' in training')} went from {values}. Values outside of "
        "that it has never had to predict."
        for name, values in summary.about.items()
        if name.endswith(" in training")
    ]
    if "to" in summary.about:
        told.append(
            f"Its data ends at {summary.about['to']}. If what drives the series changes after "
            "that, its scores no longer hold."
        )
    mase = summary.test.get("mase", 0.0)
    if mase >= 1:
        told.append(
            f"Its absolute error is {mase:.2f} times that of the naive forecast in the training "
            "part."
        )
    return told + _of_horizon(summary, series.horizon)


def _steps(series: Series) -> str:
    """Names the steps of a series in time, or those of its numbers."""
    assert series.step is not None
    if of_numbers(series.step):
        return f"steps of {series.step} in column {series.time}"
    return step_name(series)


def _of_horizon(summary: Summary, horizon: int) -> list[str]:
    """Compares the error at the horizon's end with that at its beginning."""
    for kind in ("rmse", "mase"):
        ends = [summary.test.get(f"{kind}_{step}") for step in (1, horizon)]
        if horizon > 1 and None not in ends:
            first, last = (shown(kind, end, summary.unit) for end in ends if end is not None)
            return [
                f"Its error depends on how far ahead it predicts: {first} at the first step, "
                f"{last} at step {horizon}."
            ]
    return []


def _of_sequences(schema: Schema, summary: Summary) -> list[str]:
    measured = schema.measured
    assert measured is not None
    told = [
        "Its features must be in the units of its training data: it cannot notice that they are "
        "in others."
    ]
    if IN_TRAINING in summary.about:
        told.append(
            f"Of the test part's sequences, {summary.about[IN_TRAINING]} stand in the training "
            "part, too: on new ones its scores may be worse."
        )
    if schema.longest is not None:
        told.append(f"It was trained on sequences of at most {schema.longest:,} steps.")
    categories = [column.name for column in measured.features if column.kind == "category"]
    if categories:
        told.append(f"It refuses new values of {', '.join(categories)}.")
    return told


def _of_texts(schema: Schema, summary: Summary) -> list[str]:
    kind = "words" if schema.unit == "word" else "characters"
    others = "are one unknown token to it" if UNKNOWN & {*schema.vocabulary} else "it refuses"
    told = [
        f"Its vocabulary has {len(schema.vocabulary):,} tokens, all from the training part. Other "
        f"{kind} {others}."
    ]
    if "unknown" in summary.test:
        told.append(f"Of the test part, {in_unit('unknown', summary.test['unknown'])} are unknown.")
    if schema.streams:
        told.append("What it writes is likely text, not true statements.")
    elif schema.longest is not None:
        told.append(f"It was trained on at most {schema.longest:,} {kind} at once.")
    if schema.between is not None and "exact" in summary.test:
        wrong = in_unit("exact", 1 - summary.test["exact"])
        told.append(
            f"Of its answers to the test part, {wrong} are not exactly right: check them before "
            "you use them."
        )
        if UNKNOWN & {*schema.vocabulary}:
            told.append(
                "Its accuracy is no score of the answers: it is that of single tokens, each after "
                "the right ones, where one unknown token is as right as another."
            )
    return told


def _of_classes(schema: Schema, found: Predictions) -> list[str]:
    names = ", ".join(schema.classes[:CLASSES])
    more = f" and {len(schema.classes) - CLASSES} more" if len(schema.classes) > CLASSES else ""
    told = [f"It knows {names}{more}. Whatever is none of these gets one of these names, too."]
    if not found:
        return told
    which = counted(found) if found["targets"].ndim == 2 else ...
    targets, predicted = found["targets"][which], found["predicted"][which]
    recall = {
        schema.classes[one]: (mean((predicted == one)[targets == one].tolist()), own)
        for one, own in zip(*np.unique(targets, return_counts=True), strict=True)
    }
    missed = [
        f"{name} ({in_unit('accuracy', share)} of {own} found)"
        for name, (share, own) in recall.items()
        if share < SEEN
    ]
    if missed:
        more = f" and {len(missed) - CLASSES} more" if len(missed) > CLASSES else ""
        told.append(f"It misses most of these: {', '.join(missed[:CLASSES])}{more}.")
    return told
