"""The loop: steps, and between them evaluations and checkpoints; of one run, or of several at once.

    states = take_steps(records, states, interruption)

Several runs differ in their seed alone: their states stand in a list, and one call of the backend
takes the steps of all.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from shared.config.interval import Every
from shared.protocol import Batch
from shared.protocol.backend import Metrics, State
from shared.system.signals import Interrupted, Interruption
from shared.training import anomaly, calls
from shared.training.anomaly import Anomaly
from shared.training.calls import Call
from shared.training.clock import Due
from shared.training.record import Record


def take_steps(
    records: Sequence[Record], states: Sequence[State], interruption: Interruption
) -> list[State]:
    """Takes all steps of one or more runs, from where they stand to their last one.

    Args:
        records: those of runs at the same step, with the same number of steps to take.
        states: those of the backend, one for each run.

    Returns:
        The states after the last step.

    Raises:
        Interrupted: a signal has come; there is a checkpoint of the last step that was taken.
        TrainingDiverged: something is not finite; the last good checkpoint stays.
    """
    first = records[0]
    step, period = first.position.snapshot.step, first.config.eval_every * first.batches.per_epoch
    every = Every.of(first.config.checkpoint_every)
    most = calls.most_steps(first.config, first.task.signature, first.batches)
    while step < first.total:
        begin = step - step % period
        end = min(begin + period, first.total)
        plan = calls.calls(begin, end, most, every.steps, step, first.batches.alike)
        states = _take_calls(records, states, plan, Due(every, begin), interruption)
        step = end
        for record, state in zip(records, states, strict=True):
            record.evaluate(state, step)
        _agree(first, False, interruption)
        _check_interrupted(interruption)
    return list(states)


def _take_calls(
    records: Sequence[Record],
    states: Sequence[State],
    plan: Iterable[Call],
    due: Due,
    interruption: Interruption,
) -> Sequence[State]:
    """Takes the steps between two evaluations, and writes the checkpoints that are due."""
    pending: tuple[Call, Sequence[Metrics], Anomaly | None] | None = None
    _start_clocks(records)
    for call in plan:
        # The device may still be at the call before: prepare first, then wait for it.
        batches = [record.batches.take(call.start, call.steps) for record in records]
        rates = records[0].rates(call.start, call.steps)
        if pending is not None:
            _read(records, *pending)
            if _agree(records[0], due.after(call.start), interruption):
                for record, state in zip(records, states, strict=True):
                    record.save(state, call.start)
                due.written()
                _check_interrupted(interruption)
                _start_clocks(records)
        states, metrics, found = _advance(records[0], states, batches, rates)
        pending = call, metrics, found
    if pending is not None:
        _read(records, *pending)
    return states


def _advance(
    record: Record,
    states: Sequence[State],
    batches: Sequence[Batch[np.ndarray]],
    rates: np.ndarray,
) -> tuple[Sequence[State], Sequence[Metrics], Anomaly | None]:
    """Makes one call of the backend. With `--detect-anomaly`, which takes one run at a time, it
    takes one step after the other and looks at all that each computes."""
    if not record.config.detect_anomaly:
        return *record.backend.advance(states, batches, rates), None
    (state,), (batch,) = states, batches
    state, metrics, found = anomaly.advance(record.backend, state, batch, rates)
    return [state], [metrics], found


def _read(
    records: Sequence[Record], call: Call, metrics: Sequence[Metrics], found: Anomaly | None
) -> None:
    for record, own in zip(records, metrics, strict=True):
        record.read(call, own, found)


def _agree(record: Record, due: bool, interruption: Interruption) -> bool:
    """Tells whether a checkpoint is to be written now: it is due, or a signal came. In a team, the
    first process knows what is due, and a signal to one is one to all."""
    team = record.backend.team
    if team.several:
        found = team.gather((due, interruption.received))
        due = found[0][0]
        received = [number for _, number in found if number is not None]
        interruption.received = received[0] if received else None
    return due or interruption.received is not None


def _start_clocks(records: Sequence[Record]) -> None:
    for record in records:
        record.timing.start()


def _check_interrupted(interruption: Interruption) -> None:
    if interruption.received is not None:
        raise Interrupted(interruption.received)
