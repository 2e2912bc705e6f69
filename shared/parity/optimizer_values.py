"""Constants of an optimizer that a port may have another value of: which, and where to begin to
look."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from shared.parity.clipping import Clipping
from shared.parity.courses import Course, Part, Run
from shared.parity.fitting import fitted, is_short, rounded
from shared.parity.optimizer_changes import ADAPTIVE, CLIPPED, Change

EPSILONS = (1e-3, 1e-5, 1e-6, 1e-7, 1e-8, 1e-10, 1e-16)
DECAYS = (1e-4, 1e-2, 5e-4, 0.1)
COUNTER_BETAS = (0.1, 0.01, 1e-3, 0.05, 0.02, 0.5)
"""1 - 0.9, 1 - 0.99, …"""
PARTS = (0.99, 0.7, 0.4, 0.15)
"""Shares of a gradient's norm at which it may be clipped."""


class Value(NamedTuple):
    """A constant, as what a number makes of a course."""

    name: str
    about: str
    """With {} for the number."""
    of: Callable[[Course, float], Course]
    starts: Sequence[float]
    """Positive numbers."""
    counter: bool = False
    """Whether it is 1 minus the number, as for betas."""

    def shown(self, number: float) -> float:
        return 1 - number if self.counter else number

    def at(self, number: float, cost: int = 0) -> Change:
        about = self.about.format(f"{self.shown(number):.6g}")
        return Change(self.name, about, lambda course: self.of(course, number), cost=cost)

    def fitted(self, course: Course, run: Run, parts: Sequence[Part]) -> list[Change]:
        """Returns the change to the number that explains these parts best, as it was found and, if
        it is close to one, to the short number."""
        number = fitted(lambda x: self.of(course, x), self.starts, run, parts)
        short = rounded(self.shown(number))
        short = 1 - short if self.counter else short
        shorts = [self.at(short, cost=1)] if short > 0 and is_short(self.shown(short)) else []
        return [*shorts, self.at(number, cost=2)]


def values(course: Course, run: Run) -> Iterator[Value]:
    """Yields the constants of torch's course, and those that it has at zero."""
    rule = course.rules[0]
    if rule.kind in ADAPTIVE or rule.kind == "adamax":
        yield _constant("epsilon-value", "eps", rule.eps, EPSILONS, "epsilon")
    if rule.kind in ("adam", "nadam", "radam", "adamax"):
        for beta in ("beta1", "beta2"):
            yield _constant("betas", beta, getattr(rule, beta), COUNTER_BETAS, beta, True)
    if rule.kind in ("rmsprop", "adadelta"):
        yield _constant("alpha", "alpha", rule.alpha, COUNTER_BETAS, "alpha", True)
    if rule.kind in ("sgd", "rmsprop"):
        yield _constant("momentum", "momentum", rule.momentum, COUNTER_BETAS, "momentum", True)
    if rule.kind in ("adagrad", "rmsprop"):
        about = "the first value of the accumulator"
        yield _constant("initial-accumulator", "initial", rule.initial, (0.1, 1.0, 0.01), about)
    yield from _decays(course)
    yield from _limits(course, run)


def _constant(
    name: str, field: str, own: float, starts: Sequence[float], about: str, counter: bool = False
) -> Value:
    def change(course: Course, number: float) -> Course:
        return course.changed(**{field: 1 - number if counter else number})

    own_number = 1 - own if counter else own
    nearby = [own_number] if own_number > 0 else []
    return Value(name, f"{about} is {{}}, not {own:g}", change, [*nearby, *starts], counter)


def _decays(course: Course) -> Iterator[Value]:
    decaying = [rule.decay for rule in course.rules if rule.decay]

    def change(course: Course, number: float) -> Course:
        rules = (replace(r, decay=number) if r.decay else r for r in course.rules)
        return replace(course, rules=tuple(rules))

    if decaying:
        about = f"weight decay is {{}}, not {decaying[0]:g}"
        yield Value("decay-value", about, change, (*DECAYS, decaying[0]))
        return
    forms = {
        "coupled": "added to the gradient",
        "decoupled": "decoupled from the gradient",
        "unscaled": "decoupled from the gradient, without the learning rate",
    }
    for form, about in forms.items():
        yield Value(
            "decay-added",
            f"weight decay of {{}}, {about}, where torch has none",
            lambda course, number, form=form: course.changed(decay=number, decay_form=form),
            DECAYS,
        )


def _limits(course: Course, run: Run) -> Iterator[Value]:
    own = course.clipping
    kinds = ("norm", "tensor", "value") if own.kind == "none" else (own.kind,)
    spans = [(course.window(t), t) for t in range(run.steps)]
    norms = [run.norms(first, t, course) for first, t in spans if first is not None]
    for kind in kinds:
        # What optax divides by is the norm itself; torch's epsilon only where torch clips, too.
        clipping = replace(own, kind=kind) if own.kind != "none" else Clipping(kind)
        if kind == "norm":
            sizes = [clipping.norm("", found) for found in norms]
        elif kind == "tensor":
            sizes = [clipping.norm(name, found) for found in norms for name in found]
        else:
            sizes = [norm.largest for found in norms for norm in found.values()]
        sizes = [size for size in sizes if size > 0]
        if not sizes:
            continue
        starts = sorted({p * s for p in PARTS for s in (min(sizes), float(np.median(sizes)),
                                                        max(sizes))})  # fmt: skip
        name = "clipping-added" if own.kind == "none" else "clip-limit"
        torchs = "where torch does not clip" if own.kind == "none" else f"not at {own.limit:g}"
        for epsilon in {clipping.epsilon, 0.0}:
            yield Value(
                name,
                f"clipping at {{}} {CLIPPED[kind]}, {torchs}",
                _clipping_at(replace(clipping, epsilon=epsilon)),
                starts,
            )


def _clipping_at(form: Clipping) -> Callable[[Course, float], Course]:
    return lambda course, limit: replace(course, clipping=replace(form, limit=limit))
