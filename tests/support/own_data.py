"""Small files as a user would bring them, one for each task on a user's own data."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from shared.config.data import Data
from shared.config.own_data import ForecastData, LabelsData, PairsData, SequencesData


def sales(folder: Path) -> ForecastData:
    """Two shops over 60 days, with a price, the weather as a category, and holidays known ahead;
    three days are predicted at once, on the scale of a logarithm."""
    draw = np.random.default_rng(1)
    lines = ["date,shop,sales,price,weather,holiday"]
    days = np.datetime64("2024-01-01") + np.arange(60)
    for i, day in enumerate(days):
        for shop, level in (("north", 40), ("south", 90)):
            holiday = int(i % 11 == 4)
            price = draw.uniform(1, 3)
            weather = ("sun", "rain", "snow")[draw.integers(3)]
            sold = level * (1 + 0.3 * np.sin(i / 7 * 2 * np.pi)) - 9 * price + 20 * holiday
            lines.append(f"{day},{shop},{sold + draw.normal():.2f},{price:.2f},{weather},{holiday}")
    (folder / "sales.csv").write_text("\n".join(lines) + "\n")
    return ForecastData(
        path=(str(folder / "sales.csv"),),
        target=("sales",),
        features=("price", "weather"),
        known_ahead=("holiday",),
        calendar=("weekday", "season"),
        time="date",
        group=("shop",),
        window=8,
        horizon=3,
        season=7,
        log=("sales",),
        split=(0.6, 0.2, 0.2),
    )


def gestures(folder: Path) -> SequencesData:
    """Forty sequences of 3 to 9 steps, of two classes, one of which is rarer and counts more."""
    draw = np.random.default_rng(2)
    lines = ["id,step,x,y,kind"]
    for number in range(40):
        kind = "wave" if number % 4 == 0 else "push"
        for step in range(draw.integers(3, 10)):
            x = draw.normal() + (np.sin(step) if kind == "wave" else 0.2 * step)
            lines.append(f"{number},{step},{x:.4f},{draw.normal():.4f},{kind}")
    (folder / "gestures.csv").write_text("\n".join(lines) + "\n")
    return SequencesData(
        path=(str(folder / "gestures.csv"),),
        sequence=("id",),
        step="step",
        target=("kind",),
        class_weights="balanced",
    )


def reviews(folder: Path) -> LabelsData:
    """Sixty texts of 2 to 9 words."""
    draw = np.random.default_rng(3)
    words = {"good": ["fine", "great", "kind"], "bad": ["dull", "poor", "late"]}
    common = ["the", "meal", "was", "and", "service", "very"]
    lines = []
    for number in range(60):
        label = "good" if number % 3 else "bad"
        chosen = draw.choice([*common, *words[label]], draw.integers(1, 9)).tolist()
        text = " ".join([*chosen, words[label][draw.integers(3)]])
        lines.append(json.dumps({"text": f"{text} {number}", "label": label}))
    (folder / "reviews.jsonl").write_text("\n".join(lines) + "\n")
    return LabelsData(path=(str(folder / "reviews.jsonl"),), class_weights="balanced")


def plurals(folder: Path) -> PairsData:
    """Sixty made-up words, each with its last letter doubled and an ending."""
    draw = np.random.default_rng(4)
    lines = ["source\ttarget"]
    for _ in range(60):
        word = "".join(draw.choice(list("abcdeg"), draw.integers(2, 7)))
        lines.append(f"{word}\t{word}{word[-1]}s")
    (folder / "plurals.tsv").write_text("\n".join(lines) + "\n")
    return PairsData(path=(str(folder / "plurals.tsv"),), split=(0.6, 0.2, 0.2))


MADE: dict[str, Callable[[Path], Data]] = {
    "forecast": sales,
    "sequences": gestures,
    "labels": reviews,
    "pairs": plurals,
}
"""Function for each task: a folder → the data's options, with its file written there."""
