"""Queues: one set of rules for every broker, because every source speaks the same queue model."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import timedelta

from alert_rules import human
from alert_rules.model import NO_HOLD, Alert, Case, Expected, Term, bound, held, selector, with_cases
from tocsin import facts
from tocsin import signals as s
from tocsin.settings import Settings
from tocsin.thresholds import Resolved, resolve

_LABELS = facts.QUEUE_FILL.labels
_WHICH = "{{ $labels.messaging_destination_name }} on {{ $labels.target }}"
_MINUTE = timedelta(minutes=1)
_CAPACITY = 100_000


def alerts(settings: Settings) -> tuple[Alert, ...]:
    """Return the queue alerts with their cases."""
    return (_near_capacity(settings), _wait_too_long(settings), _stalled(settings), _failures(settings))


def _near_capacity(settings: Settings) -> Alert:
    fact, limit = facts.QUEUE_FILL, resolve("queue_fill_ratio", settings)
    hold = NO_HOLD if settings.profile == "demo" else _MINUTE
    alert = Alert(
        name="QueueNearCapacity",
        severity="critical",
        signals=fact.sources,
        labels=_LABELS,
        expr=held(Term(fact, ">", limit)),
        query=selector(fact.name, _LABELS),
        panel=("queues", "fill"),
        summary=f"Queue {_WHICH} is {{{{ $value | humanizePercentage }}}} full",
        description="Messages ready, in flight or scheduled are near the most that the queue may hold. "
        "At 100% producers are refused or messages are lost.",
        value="{{ $value | humanizePercentage }}",
        bound=bound(limit),
        hold=hold,
        limit=limit,
    )
    at = hold + 2 * _MINUTE
    cases = []
    for target, most in _limits(limit):
        over, under = math.floor(most * _CAPACITY) + 1, math.floor(most * _CAPACITY)
        fires = (Expected(_queue(target), human.percent(over / _CAPACITY)),)
        cases += [
            Case(f"fires one message above {human.percent(most)}", _filled(target, over), at, fires),
            Case(f"quiet at exactly {human.percent(most)}", _filled(target, under), at),
        ]
    return with_cases(alert, *cases, *_dark(limit, hold))


def _wait_too_long(settings: Settings) -> Alert:
    fact, limit = facts.QUEUE_WAIT_AGE, resolve("queue_wait_seconds", settings)
    alert = Alert(
        name="QueueWaitTooLong",
        severity="critical",
        signals=fact.sources,
        labels=_LABELS,
        expr=held(Term(fact, ">", limit)),
        query=selector(fact.name, _LABELS),
        panel=("queues", "oldest"),
        summary=f"A message in queue {_WHICH} has waited {{{{ $value | humanizeDuration }}}}",
        description="The oldest message that is ready to be worked on has waited too long, on a paused queue as well. "
        "Workers are too few, too slow, or gone.",
        value="{{ $value | humanizeDuration }}",
        bound=bound(limit),
        limit=limit,
    )
    cases = []
    for target, most in _limits(limit):
        now = _after(most)
        waiting = {_messages(target, "ready"): "1x9999", _oldest(target): f"{now - most - 1:g}x9999"}
        shorter = {_messages(target, "ready"): "1x9999", _oldest(target): f"{now - most:g}x9999"}
        empty = {_messages(target, "ready"): "0x9999"}
        at = timedelta(seconds=now)
        cases += [
            Case("fires one second too late", waiting, at, (Expected(_queue(target), human.duration(most + 1)),)),
            Case("quiet at exactly the limit", shorter, at),
            Case("quiet while the queue is empty", empty, at),
        ]
    return with_cases(alert, *cases)


def _stalled(settings: Settings) -> Alert:
    fact, limit = facts.QUEUE_STALLED, resolve("queue_stalled_seconds", settings)
    alert = Alert(
        name="QueueStalled",
        severity="critical",
        signals=fact.sources,
        labels=_LABELS,
        expr=held(Term(fact, ">", limit)),
        query=selector(fact.name, _LABELS),
        panel=("queues", "stalled"),
        summary=f"Queue {_WHICH} has finished nothing for {{{{ $value | humanizeDuration }}}} while messages wait",
        description="Messages wait and none was finished, well or badly. The workers are stopped, stuck, "
        "or cannot reach the broker. A queue that a person paused is left out.",
        value="{{ $value | humanizeDuration }}",
        bound=bound(limit),
        limit=limit,
    )
    return with_cases(alert, *(case for target, most in _limits(limit) for case in _stalled_cases(target, most)))


def _stalled_cases(target: str, most: float) -> Iterator[Case]:
    now = _after(most)
    at = timedelta(seconds=now)
    started, recent = f"{now - most - 1:g}x9999", f"{now - most:g}x9999"
    ready = {_messages(target, "ready"): "5x9999"}
    paused = f"{s.QUEUE_PAUSED}{_braces(target)}"
    fires = (Expected(_queue(target), human.duration(most + 1)),)
    yield Case(
        "fires when nothing was finished for a second too long",
        {**ready, _oldest(target): "1x9999", _finished_at(target): started},
        at,
        fires,
    )
    yield Case("fires when no finish is known at all", {**ready, _oldest(target): started}, at, fires)
    yield Case(
        "quiet when a message was finished at exactly the limit",
        {**ready, _oldest(target): "1x9999", _finished_at(target): recent},
        at,
    )
    yield Case(
        "quiet for the first message after a quiet night",
        {**ready, _oldest(target): f"{now - 20:g}x9999", _finished_at(target): "1x9999"},
        at,
    )
    yield Case(
        "quiet while a person has paused the queue",
        {**ready, _oldest(target): "1x9999", _finished_at(target): started, paused: "1x9999"},
        at,
    )
    yield Case(
        "quiet when nothing waits",
        {_messages(target, "ready"): "0x9999", _finished_at(target): started},
        at,
    )


def _failures(settings: Settings) -> Alert:
    fact, limit = facts.QUEUE_FAILURES, resolve("queue_failure_ratio", settings)
    least = resolve("queue_failure_minimum", settings)
    alert = Alert(
        name="QueueFailureRatioHigh",
        severity="warning",
        signals=fact.sources,
        labels=_LABELS,
        # Half a job less: increase() extrapolates, ten jobs may read 9.9.
        expr=held(Term(fact, ">", limit), Term(facts.QUEUE_FINISHED_5M, ">=", least, slack=0.5)),
        query=selector(fact.name, _LABELS),
        panel=("queues", "failures"),
        summary=f"{{{{ $value | humanizePercentage }}}} of the jobs of queue {_WHICH} fail",
        description="Share of the jobs finished in the last 5 minutes that failed. "
        "A queue that finished fewer jobs than the minimum is not judged.",
        value="{{ $value | humanizePercentage }}",
        bound=bound(limit),
        hold=_MINUTE,
        limit=limit,
    )
    at = timedelta(minutes=10)
    cases = []
    for target, most in _limits(limit):
        good = 1000 * (1 - most)
        bad = 1000 * most
        few = max(round(least.targets.get(target, least.default)) - 2, 1)
        cases += [
            Case(
                f"fires just above {human.percent(most)}",
                _outcomes(target, good, bad + 2),
                at,
                (Expected(_queue(target), human.percent((bad + 2) / (good + bad + 2))),),
            ),
            Case(f"quiet just below {human.percent(most)}", _outcomes(target, good + 2, bad), at),
            Case("quiet when all of very few jobs fail", _burst(target, few), at),
            Case("quiet for a queue that never failed", _outcomes(target, 1000, None), at),
        ]
    return with_cases(alert, *cases)


def _limits(limit: Resolved) -> list[tuple[str, float]]:
    """Yield a plain target with the default limit, then every target that has its own."""
    return [("any", limit.default), *sorted(limit.targets.items())]


def _after(seconds: float) -> float:
    """A moment on the 15 s grid, later than the limit, so that no series starts before time zero."""
    return math.ceil((seconds + 180) / 15) * 15


def _queue(target: str) -> dict[str, str]:
    # A quote and a backslash in the name: the queue's owner chose it, and every link must survive it.
    return {"target": target, "messaging_system": "bullmq", "messaging_destination_name": 'mail "x"\\1'}


def _braces(target: str, **more: str) -> str:
    labels = {**_queue(target), "instance": target, "job": "exporter-targets", **more}
    return "{" + ",".join(f"{name}={_quoted(value)}" for name, value in labels.items()) + "}"


def _quoted(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _messages(target: str, state: str) -> str:
    return f"{s.QUEUE_MESSAGES}{_braces(target, state=state)}"


def _oldest(target: str) -> str:
    return f"{s.QUEUE_OLDEST_READY}{_braces(target)}"


def _finished_at(target: str) -> str:
    return f"{s.QUEUE_LAST_FINISHED}{_braces(target)}"


def _filled(target: str, backlog: int) -> dict[str, str]:
    """A backlog spread over the states that count, and much in the states that do not."""
    spread = {"ready": backlog - 20, "in_flight": 10, "scheduled": 10, "blocked": 5000, "retained_completed": 90000}
    series = {_messages(target, state): f"{count}x9999" for state, count in spread.items()}
    return {**series, f"{s.QUEUE_CAPACITY}{_braces(target)}": f"{_CAPACITY}x9999"}


def _dark(limit: Resolved, hold: timedelta) -> list[Case]:
    """The broker dies while its queue is full: the page stays until the queue has been seen to be better."""
    target, full = "any", math.floor(limit.default * _CAPACITY) + 1
    up = f'{s.TARGET_UP}{{target="any",instance="any",job="exporter-targets"}}'
    ready, capacity = _messages(target, "ready"), f"{s.QUEUE_CAPACITY}{_braces(target)}"
    seen = int((hold + _MINUTE).total_seconds() // 15)
    gone = {ready: f"{full}x{seen} stale", capacity: f"{_CAPACITY}x9999", up: f"1x{seen} 0x9999"}
    back = {
        ready: f"{full}x{seen} stale _x20 10x9999",
        capacity: f"{_CAPACITY}x9999",
        up: f"1x{seen} 0x21 1x9999",
    }
    return [
        Case(
            "keeps firing while its target cannot be read",
            gone,
            hold + 5 * _MINUTE,
            (Expected(_queue(target), human.percent(full / _CAPACITY)),),
        ),
        Case("ends when the target is back and better", back, hold + 10 * _MINUTE),
    ]


def _outcomes(target: str, good: float, bad: float | None) -> dict[str, str]:
    series = {f"{s.QUEUE_FINISHED}{_braces(target, outcome='success')}": f"0+{good:g}x9999"}
    if bad is not None:
        series[f"{s.QUEUE_FINISHED}{_braces(target, outcome='failure')}"] = f"0+{bad:g}x9999"
    return series


def _burst(target: str, count: int) -> dict[str, str]:
    """So many failures at once, early enough to have passed the hold and late enough to be in the window."""
    failed = f"{s.QUEUE_FINISHED}{_braces(target, outcome='failure')}"
    return {
        f"{s.QUEUE_FINISHED}{_braces(target, outcome='success')}": "0x9999",
        failed: f"0x30 {count}x9999",
    }
