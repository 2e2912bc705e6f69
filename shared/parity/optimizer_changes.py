"""What a port's optimizer may do in another way than torch's, one thing at a time.

Numbers that are found from the data are in `shared/parity/optimizer_values.py`.
"""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

from shared.parity.courses import Course, Run
from shared.protocol.update_rule import UpdateRule

CLIPPED = {
    "norm": "by the norm of all gradients", "largest": "by the largest magnitude of all gradients",
    "tensor": "each tensor by its own norm", "value": "each element by its value",
}  # fmt: skip
EPSILONS = {
    "outside": ("outside", "added outside of the root"),
    "inside": ("inside", "added under the root"),
    "both": ("inside", "added under the root as well as outside"),
    "hat": ("hat", "added before the bias correction (epsilon-hat)"),
    "inside-hat": ("inside", "added under the root, before the bias correction"),
}
CORRECTIONS = {
    "none": "no moment is divided by its bias correction",
    "first": "only the first moment is divided by its bias correction",
    "second": "only the second moment is divided by its bias correction",
    "both": "both moments are divided by their bias corrections",
}
ADAPTIVE = ("adam", "nadam", "radam", "adagrad", "rmsprop", "adadelta")
MOST_BATCHES = 8
"""Largest number of batches that a port is supposed to accumulate unasked."""


class Change(NamedTuple):
    """Torch's course with one thing changed."""

    name: str
    about: str
    of: Callable[[Course], Course]
    whole: bool = False
    """Whether it can be followed in whole tensors only."""
    cost: int = 0
    """How much is supposed: 0 for a switch, 1 for a short number that was found from the data, such
    as 0.01, or what may come to the same as a switch, 2 for any other number, 3 for one a step. Of
    several explanations the cheapest are the causes."""


def changes(course: Course, run: Run) -> Iterator[Change]:
    """Yields what may be changed in torch's course; `run` is the port's."""
    first = course.rules[0]
    yield from _of_denominators(first)
    yield from _of_momentum(first, course)
    yield from _of_decay(course, run)
    yield from _of_clipping(course)
    yield from _of_accumulation(course, run)
    yield from _of_parameters(course, run)
    if first.maximize:
        yield _set("maximize", "the loss is minimized, not maximized", maximize=False)
    else:
        yield _set(
            "maximize", "gradients have the other sign: the loss is maximized", maximize=True
        )
    if first.rate_decay:
        yield _set("rate-decay", f"lr_decay is 0, not {first.rate_decay:g}", rate_decay=0.0)


def _set(name: str, about: str, **values: Any) -> Change:
    return Change(name, about, lambda course: course.changed(**values))


def _of_denominators(rule: UpdateRule) -> Iterator[Change]:
    if rule.kind in ADAPTIVE and rule.eps:
        own = EPSILONS[rule.epsilon][1]
        for form, (name, about) in EPSILONS.items():
            if form != rule.epsilon:
                said = f"epsilon, {rule.eps:g}, is {about}; torch's is {own}"
                yield _set(f"epsilon-{name}", said, epsilon=form)
        yield _set("epsilon-value", f"epsilon is 0, not {rule.eps:g}", eps=0.0)
    forms = {
        "adam": ("none", "first", "second"), "radam": ("second",), "nadam": ("none",),
        "adamax": ("none",), "rmsprop": ("second",),
    }.get(rule.kind, ())  # fmt: skip
    for form in forms:
        yield _set("bias-correction", CORRECTIONS[form], correction=form)
    if rule.kind == "adam":
        about = "amsgrad's maximum is taken of the corrected second moment"
        corrected = _set("amsgrad", about, amsgrad=True, corrected_maximum=True)
        if rule.amsgrad:
            yield _set("amsgrad", "amsgrad is off, in torch it is on", amsgrad=False)
            yield corrected
        else:
            yield _set("amsgrad", "amsgrad is on, in torch it is off", amsgrad=True)
            yield corrected._replace(about=f"amsgrad is on, in torch it is off; {about}")
    if rule.kind == "rmsprop":
        switched = "on, in torch it is off" if not rule.centered else "off, in torch it is on"
        yield _set("centered", f"centered is {switched}", centered=not rule.centered)
    if rule.initial:
        about = f"the accumulator begins at 0, not at {rule.initial:g}"
        yield _set("initial-accumulator", about, initial=0.0)


def _of_momentum(rule: UpdateRule, course: Course) -> Iterator[Change]:
    endless = float("inf")
    if rule.kind == "adam":
        about = "NAdam's momentum (Dozat 2016), where torch's is Adam's"
        yield _set("nadam", about, kind="nadam", momentum_decay=endless)
        about = f"{about}, with torch's momentum decay of 0.004"
        yield _set("nadam", about, kind="nadam", momentum_decay=4e-3)
    if rule.kind in ("nadam", "radam"):
        yield _set("adam", f"Adam, where torch's is {rule.source}", kind="adam")
    if rule.kind == "nadam":
        about = (
            f"the momentum is {rule.beta1:g} at every step, without the warm-up of torch's NAdam"
        )
        yield _set("nadam-momentum", about, momentum_decay=endless)
    for beta in ("beta1", "beta2"):
        if rule.kind in ("adam", "nadam", "adamax") and getattr(rule, beta):
            yield _set("betas", f"{beta} is 0, not {getattr(rule, beta):g}", **{beta: 0.0})
    if not rule.momentum:
        return
    missing: dict[str, Any] = {"momentum": 0.0, "nesterov": False}
    yield _set("momentum-missing", f"there is no momentum, torch's is {rule.momentum:g}", **missing)
    switched = "on, in torch it is off" if not rule.nesterov else "off, in torch it is on"
    yield _set("nesterov", f"Nesterov's momentum is {switched}", nesterov=not rule.nesterov)
    about = "the momentum is an average, weighted with 1 - momentum, not a sum"
    yield _set("dampening", about, dampening=rule.momentum)
    if rule.dampening:
        yield _set("dampening", f"dampening is 0, not {rule.dampening:g}", dampening=0.0)
        about = f"dampening, {rule.dampening:g}, counts at the first step, too"
        yield _set("dampening", about, zero_buffer=True)
    if any(dict(rates) != dict(course.rates[0]) for rates in course.rates):
        about = "the momentum holds updates, with the learning rates of their steps, not gradients"
        yield _set("rate-in-momentum", about, rate_in_momentum=True)


def _of_decay(course: Course, run: Run) -> Iterator[Change]:
    decaying = [rule for rule in course.rules if rule.decay]
    if not decaying:
        return
    form, most = decaying[0].decay_form, decaying[0].decay
    yield _set("decay-missing", f"there is no weight decay, torch's is {most:g}", decay=0.0)
    forms = {
        "coupled": "added to the gradient",
        "decoupled": "decoupled from the gradient, times the learning rate",
        "unscaled": "decoupled from the gradient, without the learning rate",
    }
    for other, about in forms.items():
        if other != form:
            name = "decay-coupled" if other == "coupled" else "decay-decoupled"
            said = f"weight decay, {most:g}, is {about}; torch's is {forms[form]}"
            yield _set(name, said, decay_form=other)
    free = [name for rule in course.rules if not rule.decay for name in rule.names]
    if free:
        about = f"weight decay, {most:g}, also of what torch does not decay: {_list(free)}"
        yield _set("decay-groups", about, decay=most)
    flat = [n for rule in decaying for n in rule.names if run.ranks[n] < 2]
    if flat and any(run.ranks[n] > 1 for rule in decaying for n in rule.names):
        about = f"no weight decay of {_list(flat)}, which torch decays"
        yield Change("decay-groups", about, lambda c: _split(c, set(flat)))


def _split(course: Course, flat: set[str]) -> Course:
    rules = []
    for rule in course.rules:
        kept = tuple(name for name in rule.names if name not in flat)
        free = tuple(name for name in rule.names if name in flat)
        rules += [replace(rule, names=kept), replace(rule, names=free, decay=0.0)]
    return replace(course, rules=tuple(rules))


def _of_clipping(course: Course) -> Iterator[Change]:
    own = course.clipping
    if own.kind == "none":
        return

    def clipping(name: str, about: str, cost: int = 0, **values: Any) -> Change:
        def of(course: Course) -> Course:
            return replace(course, clipping=replace(course.clipping, **values))

        return Change(name, about, of, values.get("place") in ("direction", "update"), cost)

    yield clipping("clipping-missing", f"no clipping, torch clips at {own.limit:g}", kind="none")
    if own.kind != "value":
        other = 0.0 if own.epsilon else 1e-6
        about = f"clipping divides by the norm + {other:g}, torch by the norm + {own.epsilon:g}"
        yield clipping("clip-epsilon", about, epsilon=other)
    for kind, about in CLIPPED.items():
        if kind != own.kind:
            said = f"clipping at {own.limit:g} {about}, torch's {CLIPPED[own.kind]}"
            name = {"value": "clip-value", "tensor": "clip-tensor"}.get(kind, "clip-norm")
            for epsilon in (0.0, 1e-6) if kind != "value" else (0.0,):
                yield clipping(name, said, kind=kind, epsilon=epsilon)
    places = {}
    if course.accumulate > 1:
        places["batch"] = "each batch's gradient, before the mean is taken,"
    if any(rule.decay and rule.decay_form == "coupled" for rule in course.rules):
        places["decayed"] = "the gradient with weight decay"
    places |= {"direction": "the update, before the learning rate,", "update": "the update"}
    for place, about in places.items():
        for epsilon in {own.epsilon, 0.0}:
            yield clipping(
                "clip-place", f"{about} is clipped, at {own.limit:g}; torch clips the gradient",
                cost=1, place=place, epsilon=epsilon,
            )  # fmt: skip


def _of_accumulation(course: Course, run: Run) -> Iterator[Change]:
    own = course.accumulate

    def accumulating(name: str, about: str, **values: Any) -> Change:
        return Change(name, about, lambda c: replace(c, **values))

    kept = {False: "", True: ", kept in float32 in between"}
    if own == 1:
        for count in range(2, min(MOST_BATCHES, run.steps) + 1):
            for summed, single in itertools.product((False, True), repeat=2):
                joint = f"{'sum' if summed else 'mean'} of their gradients{kept[single]}"
                yield accumulating(
                    "accumulation",
                    f"{count} batches make an update, by the {joint}; in torch each does",
                    accumulate=count,
                    summed=summed,
                    single=single,
                )
        return
    about = "what has been accumulated is kept in float32, as optax.MultiSteps does by default"
    yield accumulating("accumulation-float32", about, single=True)
    for single in (False, True):
        about = f"gradients of {own} batches are added up{kept[single]}, torch takes their mean"
        yield accumulating("accumulation-sum", about, summed=True, single=single)
    about = f"each batch makes an update, in torch {own} do together"
    yield accumulating("accumulation-missing", about, accumulate=1)
    for shift in range(1, own):
        about = f"{own} batches make an update, the first {own - shift} the first one"
        yield accumulating("accumulation-shifted", about, shift=shift)


def _of_parameters(course: Course, run: Run) -> Iterator[Change]:
    moving = {n for n in run.names if any(run.moves(n, step) for step in range(run.steps))}
    held = {name for rule in course.rules for name in rule.names}
    frozen = [name for name in run.names if name in moving and name not in held]
    if frozen:
        about = f"torch's optimizer does not hold {_list(frozen)}, the port trains what it does not"
        yield Change("frozen-trained", about, lambda c: _holding(c, frozen))
    quiet = {name for name in held - moving for t in range(run.steps) if not run.is_zero(name, t)}
    if not moving:
        about = (
            "the port makes no update in these steps: it accumulates batches, its learning rate is "
            "zero there, or nothing is trained"
        )
        yield Change("no-update", about, lambda c: replace(c, still=frozenset(run.names)))
    elif quiet:
        names = [name for name in run.names if name in quiet]
        about = f"the port leaves {_list(names)} as it is, torch trains what it holds"
        yield Change("untrained", about, lambda c: replace(c, still=c.still | quiet))
    trained = sorted({name for step, name in course.skipped if not run.is_zero(name, step)})
    if trained:
        about = f"torch has {_list(trained)} frozen at some steps, the port trains it"
        yield Change("frozen-trained", about, lambda c: replace(c, skipped=frozenset()))
    elif course.skipped:
        names = sorted({name for _, name in course.skipped})
        about = (
            f"what has no gradient at a step is updated as if it were zero; torch leaves it as it "
            f"is: {_list(names)}"
        )
        yield Change("no-gradient", about, lambda c: replace(c, skipped=frozenset()))


def _holding(course: Course, names: list[str]) -> Course:
    first = next(rule for rule in course.rules if rule.names)
    rates = [{**dict.fromkeys(names, r[first.names[0]]), **r} for r in course.rates]
    held = replace(first, names=(*first.names, *names))
    rules = tuple(held if rule is first else rule for rule in course.rules)
    skipped = frozenset(one for one in course.skipped if one[1] not in names)
    return replace(course, rules=rules, rates=rates, skipped=skipped)


def _list(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
