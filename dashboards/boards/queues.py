"""Queues: which one fills, and are the workers draining it."""

from __future__ import annotations

from dashboards.boards.limits import crossed, line, worst
from dashboards.kit import Board, Drawing, Links, ModernPanel, Query, Row, series, stat, table
from dashboards.kit.panels import Column, Scale, counted, limited
from tocsin import facts
from tocsin import signals as s
from tocsin.settings import Settings
from tocsin.thresholds import resolve

_WHERE = 'target=~"$target"'
_NAME = "{{messaging_destination_name}} ({{target}})"
_BY = "by (target, messaging_destination_name)"


def board(settings: Settings) -> Board:
    """Return the board with this configuration's thresholds."""
    links = Links(settings.external_url)
    return Board(
        "queues",
        "Queues",
        "Which queue fills?",
        (
            Row(4, tuple((tile, 4) for tile in _tiles(settings, links))),
            Row(8, ((_overview(settings, links), 24),)),
            Row(9, ((_fill(links), 12), (_oldest(links), 12)), "Which queue is in trouble?"),
            Row(9, ((_rates(links), 12), (_drain(links), 12)), "Are we draining?"),
            Row(9, ((_states(links), 12), (_failures(links), 12)), "What is in them, and does it succeed?"),
            Row(9, ((_stalled(links), 12), (_workers(links), 12)), "Who works?"),
            Row(8, ((_paused(links), 12), (_missed(links), 12)), "Can these numbers be trusted?", collapsed=True),
        ),
    )


def _tiles(settings: Settings, links: Links) -> list[ModernPanel]:
    near = resolve("queue_fill_ratio", settings)
    stall = resolve("queue_stalled_seconds", settings)
    oldest, oldest_scale = worst(facts.QUEUE_WAIT_AGE, "queue_wait_seconds", settings, unit="s", where=_WHERE)
    failing, failing_scale = worst(
        facts.QUEUE_FAILURES, "queue_failure_ratio", settings, unit="percentunit", where=_WHERE
    )
    return [
        stat(
            Drawing("tile-near", "Near capacity", "How many queues are near capacity?", links, "QueueNearCapacity"),
            Query(crossed(facts.QUEUE_FILL, ">", near, where=_WHERE, all_of=facts.QUEUE_FILL), "queues"),
            counted(),
        ),
        stat(
            Drawing("tile-oldest", "Oldest waiting", "How long has a message waited?", links, "QueueWaitTooLong"),
            oldest,
            oldest_scale,
        ),
        stat(
            Drawing("tile-rate", "Finished per second", "Does work get done?", links, "QueueStalled"),
            Query(f"sum(rate({s.QUEUE_FINISHED}{{{_WHERE}}}[$__rate_interval]))", "finished"),
            Scale("cps", ((None, "text"), (0, "blue")), low=0),
        ),
        stat(
            Drawing("tile-failing", "Failing", "Which share of the jobs fails?", links, "QueueFailureRatioHigh"),
            failing,
            failing_scale,
        ),
        stat(
            Drawing("tile-workers", "Workers busy", "Are all workers busy?", links, "QueueWaitTooLong"),
            Query(
                f"sum({s.QUEUE_WORKER_SLOTS_BUSY}{{{_WHERE}}}) / (sum({s.QUEUE_WORKER_SLOTS}{{{_WHERE}}}) > 0)", "busy"
            ),
            Scale("percentunit", ((None, "green"), (0.95, "yellow")), low=0, high=1),
        ),
        stat(
            Drawing("tile-stalled", "Stalled", "How many queues wait and finish nothing?", links, "QueueStalled"),
            Query(crossed(facts.QUEUE_STALLED, ">", stall, where=_WHERE, all_of=facts.QUEUE_BACKLOG), "queues"),
            counted(),
        ),
    ]


def _overview(settings: Settings, links: Links) -> ModernPanel:
    fill = resolve("queue_fill_ratio", settings)
    wait = resolve("queue_wait_seconds", settings)
    paused = Scale("none", texts={"0": ("no", "text"), "1": ("paused", "yellow")})
    full = Scale("percentunit", ((None, "green"), (fill.default, "red")), low=0, high=1)
    # One label set for all columns, so that they merge into one row per queue.
    columns = (
        Column(f"max {_BY} ({facts.QUEUE_FILL}{{{_WHERE}}})", "Fill", full, gauge=True),
        Column(f"sum {_BY} ({facts.QUEUE_BACKLOG}{{{_WHERE}}})", "Backlog", Scale("short")),
        Column(f"max {_BY} ({facts.QUEUE_WAIT_AGE}{{{_WHERE}}})", "Oldest", limited("s", wait.default)),
        Column(f"sum {_BY} (rate({s.QUEUE_FINISHED}{{{_WHERE}}}[5m]))", "Finished/s", Scale("cps")),
        Column(f"max {_BY} ({facts.QUEUE_FAILURES}{{{_WHERE}}})", "Failing", Scale("percentunit", low=0, high=1)),
        Column(f"max {_BY} ({s.QUEUE_PAUSED}{{{_WHERE}}})", "Paused", paused),
    )
    return table(
        Drawing("overview", "All queues", "How is each queue?", links, "QueueNearCapacity"),
        {"messaging_destination_name": "Queue", "target": "Target"},
        columns,
        opens=links.inbox(),
    )


def _fill(links: Links) -> ModernPanel:
    return series(
        Drawing("fill", "Fill", "How full is each queue, against its limit?", links, "QueueNearCapacity"),
        (Query(f"{facts.QUEUE_FILL}{{{_WHERE}}}", _NAME), line("queue_fill_ratio")),
        Scale("percentunit", low=0),
    )


def _oldest(links: Links) -> ModernPanel:
    return series(
        Drawing("oldest", "Oldest waiting message", "How long do messages wait?", links, "QueueWaitTooLong"),
        (Query(f"{facts.QUEUE_WAIT_AGE}{{{_WHERE}}}", _NAME), line("queue_wait_seconds")),
        Scale("s", low=0),
    )


def _rates(links: Links) -> ModernPanel:
    return series(
        Drawing("rates", "In and out", "Do messages leave as fast as they come?", links, "QueueNearCapacity"),
        (
            Query(f"sum {_BY} (rate({s.QUEUE_ENQUEUED}{{{_WHERE}}}[$__rate_interval]))", f"in {_NAME}"),
            Query(f"sum {_BY} (rate({s.QUEUE_FINISHED}{{{_WHERE}}}[$__rate_interval]))", f"out {_NAME}"),
        ),
        Scale("cps", low=0),
    )


def _drain(links: Links) -> ModernPanel:
    surplus = (
        f"sum {_BY} (rate({s.QUEUE_FINISHED}{{{_WHERE}}}[5m])) - sum {_BY} (rate({s.QUEUE_ENQUEUED}{{{_WHERE}}}[5m]))"
    )
    return series(
        Drawing(
            "drain",
            "Time to drain",
            "When is the backlog gone at this rate? Nothing is drawn while it grows.",
            links,
            "QueueWaitTooLong",
        ),
        (Query(f"sum {_BY} ({facts.QUEUE_BACKLOG}{{{_WHERE}}})\n/ ({surplus} > 0)", _NAME),),
        Scale("s", low=0),
    )


def _states(links: Links) -> ModernPanel:
    return series(
        Drawing("states", "Messages by state", "What are the messages doing?", links, "QueueNearCapacity"),
        (Query(f"sum by (state) ({s.QUEUE_MESSAGES}{{{_WHERE}}})", "{{state}}"),),
        Scale("short", low=0),
    )


def _failures(links: Links) -> ModernPanel:
    return series(
        Drawing("failures", "Share of jobs that fail", "Do jobs succeed?", links, "QueueFailureRatioHigh"),
        (Query(f"{facts.QUEUE_FAILURES}{{{_WHERE}}}", _NAME), line("queue_failure_ratio")),
        Scale("percentunit", low=0),
    )


def _stalled(links: Links) -> ModernPanel:
    return series(
        Drawing("stalled", "Nothing finished for", "Since when has nothing been finished?", links, "QueueStalled"),
        (Query(f"{facts.QUEUE_STALLED}{{{_WHERE}}}", _NAME), line("queue_stalled_seconds")),
        Scale("s", low=0),
    )


def _workers(links: Links) -> ModernPanel:
    return series(
        Drawing("workers", "Workers", "How many workers are there, and how many are busy?", links, "QueueStalled"),
        (
            Query(f"sum {_BY} ({s.QUEUE_CONSUMERS}{{{_WHERE}}})", f"connected {_NAME}"),
            Query(f"sum {_BY} ({s.QUEUE_WORKER_SLOTS}{{{_WHERE}}})", f"slots {_NAME}"),
            Query(f"sum {_BY} ({s.QUEUE_WORKER_SLOTS_BUSY}{{{_WHERE}}})", f"busy {_NAME}"),
        ),
        Scale("short", low=0),
    )


def _paused(links: Links) -> ModernPanel:
    return series(
        Drawing("paused", "Paused queues", "Which queues did somebody pause?", links, "QueueStalled"),
        (Query(f"{s.QUEUE_PAUSED}{{{_WHERE}}}", _NAME),),
        Scale("bool_yes_no", low=0, high=1),
    )


def _missed(links: Links) -> ModernPanel:
    return series(
        Drawing("missed", "Gaps in the event stream", "Are the counters complete?", links, "TargetPartlyRead"),
        (
            Query(f"increase({s.EVENTS_MISSED}{{{_WHERE}}}[$__rate_interval])", _NAME),
            Query(f"{s.SERIES_FOLDED}{{{_WHERE}}}", "folded into _other: {{family}} ({{target}})"),
        ),
        Scale("short", low=0),
    )
