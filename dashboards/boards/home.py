"""Home: where trouble is."""

from __future__ import annotations

from dashboards.boards.limits import line, single_line
from dashboards.kit import Board, Drawing, Links, ModernPanel, Query, Row, alerts_table, history, series, stat
from dashboards.kit.panels import UP_OR_DOWN, Scale, counted
from tocsin import facts
from tocsin import signals as s
from tocsin.settings import Settings
from tocsin.thresholds import resolve

_TARGET = 'target=~"$target"'
_SERVICE = 'service=~"$service"'
_RULES_RUN = f'0 * count({s.ALERTS}{{alertname="Watchdog"}})'


def board(settings: Settings) -> Board:
    """Return the board with this configuration's thresholds."""
    links = Links(settings.external_url)
    return Board(
        "home",
        "Home",
        "Where is trouble?",
        (
            Row(4, tuple((tile, 4) for tile in _tiles(settings, links))),
            Row(8, ((_alerts(links), 24),)),
            Row(7, ((_targets(links), 12), (_services(links), 12)), "What can be read?"),
            Row(9, ((_latency(links), 12), (_requests(links), 12)), "Are requests served?"),
            Row(9, ((_burn(links), 12), (_budget(links), 12)), "What may we still spend?"),
            Row(9, ((_breakers(links), 12), (_cache_hits(links), 12)), "Do the dependencies hold?"),
            Row(
                8,
                (
                    (_undelivered(links), 8),
                    (_dead_letters(links), 8),
                    (_heartbeat(links), 8),
                    (_deliveries(links), 12),
                    (_parts(links), 12),
                ),
                "Does a page arrive?",
            ),
            Row(
                8,
                (
                    (_disk(links), 8),
                    (_disk_free(settings, links), 4),
                    (_settings(links), 4),
                    (_collectors(links), 8),
                ),
                "Can we trust the rest?",
                collapsed=True,
            ),
        ),
    )


def _tiles(settings: Settings, links: Links) -> list[ModernPanel]:
    return [
        _firing(links, "critical"),
        _firing(links, "warning"),
        stat(
            Drawing("tile-slo", "SLOs burning", "How many objectives lose their budget?", links, "ErrorBudgetBurn"),
            Query(
                f'count(max by (slo, service) ({s.ALERTS}{{alertstate="firing",burn_rate!=""}}))\n'
                f"or 0 * count({facts.SLO_OBJECTIVE})",
                "objectives",
            ),
            counted(),
        ),
        stat(
            Drawing(
                "tile-queues",
                "Queues in trouble",
                "How many queues are in trouble?",
                links,
                "QueueNearCapacity",
                "queues",
            ),
            Query(_queues_in_trouble(settings), "queues"),
            counted(),
        ),
        stat(
            Drawing("tile-breakers", "Breakers open", "Which dependency is cut off?", links, "BreakerOpenTooLong"),
            Query(
                f"count({facts.BREAKER_OPEN}{{{_TARGET}}} > 0)\nor 0 * count({facts.BREAKER_OPEN}{{{_TARGET}}})",
                "breakers",
            ),
            counted(),
        ),
        stat(
            Drawing("tile-targets", "Targets down", "What can not be read?", links, "TargetDown"),
            Query(
                f"count({facts.TARGET_READABLE}{{{_TARGET}}} == 0)\nor 0 * count({facts.TARGET_READABLE}{{{_TARGET}}})",
                "targets",
            ),
            counted(),
        ),
    ]


def _firing(links: Links, severity: str) -> ModernPanel:
    # Zero only while the watchdog fires: without it no rule is being judged, and nothing is known.
    expr = f'count({s.ALERTS}{{alertstate="firing",severity="{severity}"}})\nor {_RULES_RUN}'
    what = Drawing(f"tile-{severity}", f"Firing {severity}", f"How many {severity} alerts fire now?", links)
    return stat(what, Query(expr, "alerts"), counted("red" if severity == "critical" else "orange"))


def _queues_in_trouble(settings: Settings) -> str:
    pairs = (
        (facts.QUEUE_FILL, "queue_fill_ratio"),
        (facts.QUEUE_WAIT_AGE, "queue_wait_seconds"),
        (facts.QUEUE_STALLED, "queue_stalled_seconds"),
    )
    beyond = "\nor ".join(facts.against(fact, ">", resolve(name, settings), where=_TARGET) for fact, name in pairs)
    return f"count(\n{beyond}\n)\nor 0 * count({facts.QUEUE_BACKLOG}{{{_TARGET}}})"


def _alerts(links: Links) -> ModernPanel:
    return alerts_table(
        Drawing("alerts", "Firing alerts", "What fires now?", links),
        Query(
            "sum by (severity, alertname, target, service, messaging_destination_name, breaker, slo, job) "
            f'({s.ALERTS}{{alertstate="firing",alertname!="Watchdog"}})'
        ),
    )


def _targets(links: Links) -> ModernPanel:
    return history(
        Drawing("targets", "Targets", "Which target could be read, and when not?", links, "TargetDown"),
        Query(f"{facts.TARGET_READABLE}{{{_TARGET}}}", "{{target}}"),
        Scale("none", ((None, "red"), (1, "green")), texts=UP_OR_DOWN),
    )


def _services(links: Links) -> ModernPanel:
    return history(
        Drawing("services", "Services", "Which service answered, and when not?", links, "ServiceDown"),
        Query(f"{facts.SERVICE_UP}{{{_SERVICE}}}", "{{service}}"),
        Scale("none", ((None, "red"), (1, "green")), texts=UP_OR_DOWN),
    )


def _latency(links: Links) -> ModernPanel:
    return series(
        Drawing("latency", "Latency, 95 of 100", "How long do requests take?", links, "HttpLatencyHigh"),
        (Query(f"{facts.HTTP_P95}{{{_SERVICE}}}", "{{service}}"), single_line("http_p95_seconds")),
        Scale("s", low=0),
    )


def _requests(links: Links) -> ModernPanel:
    name = f"{s.HTTP_SERVER_DURATION}_count"
    error = f'{_SERVICE},http_response_status_code=~"5.."'
    return series(
        Drawing("requests", "Requests and errors", "How many requests come, how many fail?", links, "ErrorBudgetBurn"),
        (
            Query(f"sum by (service) (rate({name}{{{_SERVICE}}}[$__rate_interval]))", "all {{service}}"),
            Query(f"sum by (service) (rate({name}{{{error}}}[$__rate_interval]))", "errors {{service}}"),
        ),
        Scale("cps", low=0),
    )


def _burn(links: Links) -> ModernPanel:
    return series(
        Drawing(
            "slo-burn",
            "Burn rate",
            "How fast is the error budget spent? 1 spends it exactly in its period.",
            links,
            "ErrorBudgetBurn",
        ),
        (
            Query(f"{facts.SLO_BURN}{{{_SERVICE}}}", "{{service}} {{slo}}"),
            Query(f'max by (window_long) ({facts.SLO_BURN_FACTOR}{{tier="page",{_SERVICE}}})', "limit {{window_long}}"),
        ),
        Scale("none", low=0),
    )


def _budget(links: Links) -> ModernPanel:
    return series(
        Drawing("slo-budget", "Error budget left", "What may still be spent?", links, "ErrorBudgetBurn"),
        (Query(f"{facts.SLO_REMAINING}{{{_SERVICE}}}", "{{service}} {{slo}}"),),
        Scale("percentunit", high=1),
    )


def _breakers(links: Links) -> ModernPanel:
    return series(
        Drawing("breakers", "Breakers open for", "Which breaker is open, and how long?", links, "BreakerOpenTooLong"),
        (Query(f"{facts.BREAKER_OPEN}{{{_TARGET}}}", "{{breaker}} of {{service}}"), line("breaker_open_seconds")),
        Scale("s", low=0),
    )


def _cache_hits(links: Links) -> ModernPanel:
    return series(
        Drawing("cache-hits", "Cache hits", "Do the caches help?", links, "CacheHitRatioLow"),
        (Query(f"{facts.CACHE_HITS}{{{_TARGET}}}", "{{target}}"), line("cache_hit_ratio")),
        Scale("percentunit", low=0, high=1),
    )


def _undelivered(links: Links) -> ModernPanel:
    return series(
        Drawing("undelivered", "Oldest undelivered page", "Does a page wait?", links, "RouterDeliveryStuck"),
        (Query(f"{facts.UNDELIVERED_AGE}", "oldest"), single_line("delivery_stuck_seconds")),
        Scale("s", low=0),
    )


def _dead_letters(links: Links) -> ModernPanel:
    return series(
        Drawing("dead-letters", "New dead letters", "Was a message given up in the last hour?", links, "DeadLetters"),
        (Query(f"{facts.NEW_DEAD_LETTERS}", "last hour"),),
        Scale("short", low=0),
    )


def _heartbeat(links: Links) -> ModernPanel:
    return series(
        Drawing("heartbeat", "Heartbeat age", "Does the chain from rule to router work?", links, "WatchdogMissing"),
        (Query(f"{facts.HEARTBEAT_AGE}", "{{source}}"), single_line("heartbeat_seconds")),
        Scale("s", low=0),
    )


def _deliveries(links: Links) -> ModernPanel:
    return series(
        Drawing("deliveries", "Deliveries", "Which destination takes its messages?", links, "RouterDeliveryStuck"),
        (
            Query(
                f"sum by (destination, outcome) (increase({s.ROUTER_DELIVERIES}[$__rate_interval]))",
                "{{destination}} {{outcome}}",
            ),
        ),
        Scale("short", low=0),
    )


def _parts(links: Links) -> ModernPanel:
    return history(
        Drawing("parts", "Parts of the stack", "Which part of the stack answered?", links, "StackPartDown"),
        Query(f"{facts.PART_UP}", "{{job}}"),
        Scale("none", ((None, "red"), (1, "green")), texts=UP_OR_DOWN),
    )


def _disk(links: Links) -> ModernPanel:
    return series(
        Drawing("disk", "Disk full in", "When is the stack's disk full at this rate?", links, "StackDiskFull"),
        (
            Query(f"{facts.DISK_FULL_IN}", "full in"),
            Query(f'{facts.THRESHOLD_SERIES}{{threshold="disk_full_days",target=""}} * 86400', "limit"),
        ),
        Scale("dtdurations", low=0),
    )


def _disk_free(settings: Settings, links: Links) -> ModernPanel:
    limit = resolve("disk_free_ratio", settings).default
    free = Scale("percentunit", ((None, "red"), (limit, "green")), low=0, high=1)
    return stat(
        Drawing("disk-free", "Disk free", "How much of the stack's disk is free?", links, "StackDiskLow"),
        Query(f"{facts.DISK_FREE_RATIO}", "free"),
        free,
    )


def _settings(links: Links) -> ModernPanel:
    return stat(
        Drawing("settings", "Settings", "Were the last settings taken?", links, "SettingsRefused"),
        Query(f"min({s.EXPORTER_CONFIG_OK})", "settings"),
        Scale("none", ((None, "red"), (1, "green")), texts={"0": ("refused", "red"), "1": ("taken", "green")}),
    )


def _collectors(links: Links) -> ModernPanel:
    query = f"min by (target, collector) ({s.COLLECTOR_SUCCESS}{{{_TARGET}}})"
    return history(
        Drawing("collectors", "Parts of each read", "Was each part of each target read?", links, "TargetPartlyRead"),
        Query(query, "{{target}} {{collector}}"),
        Scale("none", ((None, "red"), (1, "green")), texts=UP_OR_DOWN),
    )
