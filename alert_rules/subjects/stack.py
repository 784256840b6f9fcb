"""The stack watches itself: its parts, its disk, its settings."""

from __future__ import annotations

from datetime import timedelta

from alert_rules import human
from alert_rules.model import Alert, Case, Expected, bound, selector, with_cases
from tocsin import facts
from tocsin import signals as s
from tocsin.settings import Settings
from tocsin.thresholds import resolve

_MINUTE = timedelta(minutes=1)
_DAY = 86400
_SIZE = 100_000_000_000
_UP = s.UP.name


def alerts(settings: Settings) -> tuple[Alert, ...]:
    """Return the alerts about the stack itself with their cases."""
    return (
        _part_down(settings, "ExporterDown", "exporter", _EXPORTER),
        _part_down(settings, "RouterDown", "router", _ROUTER),
        _other_part_down(settings),
        _disk_full(settings),
        _disk_low(settings),
        _settings_refused(),
    )


_EXPORTER = (
    "The exporter does not answer: no target is watched",
    "Prometheus cannot read the exporter. Until it is back, nothing new is known about any target.",
)
_ROUTER = (
    "The alert router does not answer: pages do not leave",
    "Prometheus cannot read the router. Alertmanager keeps the alerts and tries again.",
)


def _part_down(settings: Settings, name: str, job: str, texts: tuple[str, str]) -> Alert:
    limit = resolve("target_down_seconds", settings)
    hold = timedelta(seconds=limit.default)
    at = hold + 3 * _MINUTE
    alert = Alert(
        name=name,
        severity="critical",
        signals=(),
        labels=("job",),
        expr=f'{facts.PART_UP}{{job="{job}"}} == 0',
        query=selector(facts.PART_UP.name, ("job",)),
        panel=("home", "parts"),
        summary=texts[0],
        description=texts[1],
        value="no answer",
        bound="1",
        hold=hold,
        limit=limit,
    )
    series = f'{_UP}{{job="{job}",instance="x"}}'
    early = max(round(hold.total_seconds() / 15) - 1, 0)
    fires = (Expected({"job": job}, "no answer"),)
    return with_cases(
        alert,
        Case("fires when it does not answer", {series: "1x8 0x9999"}, at, fires),
        Case("fires when it was never there", {f'{_UP}{{job="other",instance="x"}}': "1x9999"}, at, fires),
        Case("quiet after a short restart", {series: f"1x8 0x{early} 1x9999"}, at),
    )


def _other_part_down(settings: Settings) -> Alert:
    limit = resolve("target_down_seconds", settings)
    hold = timedelta(seconds=limit.default)
    at = hold + 3 * _MINUTE
    alert = Alert(
        name="StackPartDown",
        severity="warning",
        signals=(),
        labels=("job",),
        expr=f'{facts.PART_UP}{{job!~"exporter|router"}} == 0',
        query=selector(facts.PART_UP.name, ("job",)),
        panel=("home", "parts"),
        summary="{{ $labels.job }} of the stack does not answer",
        description="Prometheus cannot read this part of the stack. What it carries (logs, traces, host metrics, "
        "notifications) is missing since then.",
        value="no answer",
        bound="1",
        hold=hold,
        limit=limit,
    )
    series = f'{_UP}{{job="loki",instance="x"}}'
    early = max(round(hold.total_seconds() / 15) - 1, 0)
    fires = (Expected({"job": "loki"}, "no answer"),)
    return with_cases(
        alert,
        Case("fires when it does not answer", {series: "1x8 0x9999"}, at, fires),
        Case("quiet after a short restart", {series: f"1x8 0x{early} 1x9999"}, at),
        Case("quiet for what this stack does not run", {f'{_UP}{{job="loki",instance="x"}}': "1x9999"}, at),
    )


def _disk_full(settings: Settings) -> Alert:
    fact, limit = facts.DISK_FULL_IN, resolve("disk_full_days", settings)
    seconds = limit.default * _DAY
    alert = Alert(
        name="StackDiskFull",
        severity="warning",
        signals=(s.DISK_FREE, s.DISK_SIZE),
        labels=(),
        # Half free is far from full whatever the slope of six hours says.
        expr=f"{fact} < {facts.number(seconds)}\nand {facts.DISK_FREE_RATIO} < 0.5",
        query=fact.name,
        panel=("home", "disk"),
        summary="The stack's disk is full in {{ $value | humanizeDuration }} at this rate",
        description="Extended from the last 6 hours. When it is full, Prometheus stops storing and the router must "
        "refuse alerts, because it only accepts what is on disk.",
        value="{{ $value | humanizeDuration }}",
        bound=facts.number(seconds),
        hold=timedelta(minutes=15),
        limit=limit,
    )
    return with_cases(alert, *_disk_cases(seconds))


def _disk_cases(seconds: float) -> list[Case]:
    free, size = f'{s.DISK_FREE}{{job="router"}}', {f'{s.DISK_SIZE}{{job="router"}}': f"{_SIZE}x9999"}
    step, at = timedelta(minutes=5), timedelta(hours=7)
    start, left = int(_SIZE * 0.45), int(_SIZE * 0.4)

    def falling(to_full: float, *, begin: int = start) -> str:
        """Free space that lasts ``to_full`` seconds more at the time of judgement."""
        slope = begin / (to_full + at.total_seconds()) * 300
        return f"{begin}-{slope:.6f}x9999"

    soon = seconds * 0.99
    fires = (Expected({}, human.duration(round(soon))),)
    return [
        Case("fires when the line ends before the limit", {free: falling(soon), **size}, at, fires, step=step),
        Case("quiet when it ends just after", {free: falling(seconds * 1.01), **size}, at, step=step),
        Case("quiet on a steady disk", {free: f"{left}x9999", **size}, at, step=step),
        Case(
            "quiet in the first hours, which prove nothing",
            {free: f"{left}-5000000x9999", **size},
            timedelta(hours=2),
            step=step,
        ),
        Case(
            "quiet while more than half is free",
            {free: f"{int(_SIZE * 0.9)}-{_SIZE // 4_000}x9999", **size},
            at,
            step=step,
        ),
    ]


def _disk_low(settings: Settings) -> Alert:
    fact, limit = facts.DISK_FREE_RATIO, resolve("disk_free_ratio", settings)
    size = {f'{s.DISK_SIZE}{{job="router"}}': "10000x9999"}
    free, at = f'{s.DISK_FREE}{{job="router"}}', timedelta(minutes=5)
    under = limit.default * 10000 - 1
    alert = Alert(
        name="StackDiskLow",
        severity="critical",
        signals=fact.sources,
        labels=(),
        expr=f"{fact} < {facts.number(limit.default)}",
        query=fact.name,
        panel=("home", "disk-free"),
        summary="Only {{ $value | humanizePercentage }} of the stack's disk is free",
        description="When it is full, Prometheus stops storing and the router must refuse alerts, "
        "because it only accepts what is on disk.",
        value="{{ $value | humanizePercentage }}",
        bound=bound(limit),
        hold=_MINUTE,
        limit=limit,
    )
    fires = (Expected({}, human.percent(under / 10000)),)
    return with_cases(
        alert,
        Case("fires just below the limit", {free: f"{under:g}x9999", **size}, at, fires),
        Case("quiet at exactly the limit", {free: f"{limit.default * 10000:g}x9999", **size}, at),
    )


def _settings_refused() -> Alert:
    ok, query = f'{s.EXPORTER_CONFIG_OK}{{job="exporter"}}', f"min({s.EXPORTER_CONFIG_OK})"
    at = timedelta(minutes=5)
    alert = Alert(
        name="SettingsRefused",
        severity="warning",
        signals=(s.EXPORTER_CONFIG_OK,),
        labels=(),
        expr=f"{query} == 0",
        query=query,
        panel=("home", "settings"),
        summary="The exporter refused the last settings and runs on with the ones before",
        description="The settings on disk have an error. What was changed in them is not watched, and a restart of "
        "the exporter would fail.",
        value="refused",
        bound="1",
        hold=_MINUTE,
    )
    return with_cases(
        alert,
        Case("fires while an older configuration runs", {ok: "1x4 0x9999"}, at, (Expected({}, "refused"),)),
        Case("quiet when the next reload is taken", {ok: "1x4 0x4 1x9999"}, at),
    )
