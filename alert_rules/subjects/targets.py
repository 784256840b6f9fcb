"""Targets: whether what is watched can be read at all. Without this, silence would look like health."""

from __future__ import annotations

from datetime import timedelta

from alert_rules.model import Alert, Case, Expected, selector, with_cases
from tocsin import facts
from tocsin import signals as s
from tocsin.settings import Settings
from tocsin.thresholds import Resolved, resolve

_MINUTE = timedelta(minutes=1)
_ERRORS = s.SCRAPE_ERRORS.name


def alerts(settings: Settings) -> tuple[Alert, ...]:
    """Return the target alerts with their cases."""
    return (_down(settings), _partly_read(settings))


def readable(settings: Settings) -> str:
    """Return the expression that gives each configured target a sample, always: 0 when nothing at all is known."""
    # absent(x) - 1 is 0 with the target's label, exactly where no series of this target exists.
    missing = [f'or (absent({s.TARGET_UP}{{target="{target.name}"}}) - 1)' for target in settings.targets]
    return "\n".join([facts.TARGET_READABLE.expr, *missing])


def _down(settings: Settings) -> Alert:
    limit = resolve("target_down_seconds", settings)
    clauses = "\nor ".join(_unreadable_for(matchers, seconds) for matchers, seconds in facts.by_limit(limit))
    alert = Alert(
        name="TargetDown",
        severity="critical",
        signals=(s.TARGET_UP,),
        labels=("target",),
        # With the exporter itself away every target looks down: that is one page (ExporterDown), not one per target.
        expr=f'(\n{clauses}\n)\nunless on () {facts.PART_UP}{{job="exporter"}} == 0',
        query=selector(facts.TARGET_READABLE.name, ("target",)),
        panel=("home", "targets"),
        summary="Target {{ $labels.target }} cannot be read",
        description="Nothing is known about this target since then: its other alerts keep their last state, "
        "and new trouble there would not be seen.",
        value=_reason(),
        bound="1",
        limit=limit,
    )
    return with_cases(alert, *_down_cases(settings, limit))


def _unreadable_for(matchers: str, seconds: float) -> str:
    series = f"{facts.TARGET_READABLE}{{{matchers}}}" if matchers else facts.TARGET_READABLE.name
    if seconds < 1:
        return f"{series} == 0"
    span = f"{round(seconds)}s"
    # The second half asks for a past as long as the limit: a target added a moment ago is not down yet.
    return f"max_over_time({series}[{span}]) == 0 and {series} offset {span}"


def _reason() -> str:
    """A template for the commonest reason of the last 10 minutes; the exporter counts failed reads by reason."""
    by_reason = f'printf "topk(1, sum by (reason) (increase({_ERRORS}{{target=%q}}[10m])) > 0)" $labels.target'
    return f'not readable{{{{ with query ({by_reason}) }}}}: {{{{ . | first | label "reason" }}}}{{{{ end }}}}'


def _down_cases(settings: Settings, limit: Resolved) -> list[Case]:
    cases = []
    names = {"any": limit.default, **limit.targets}
    others = [target.name for target in settings.targets]
    for target, seconds in names.items():
        steps = round(seconds / 15)
        healthy = {_up(other): "1x9999" for other in (*others, *names) if other != target}
        end = timedelta(seconds=15 * (10 + steps + 2))
        errors = f'{_ERRORS}{{target="{target}",reason="refused",job="exporter-targets",instance="{target}"}}'
        down = {**healthy, _up(target): "1x9 0x9999", errors: "0x9 1+1x9999"}
        dark = {**healthy, _scrape(target): "1x9 0x9999"}
        exporter_down = {**down, f'{s.UP}{{job="exporter",instance="x"}}': "0x9999"}
        blink = {**healthy, _up(target): f"1x9 0x{max(steps - 2, 0)} 1x9999" if steps > 1 else "1x9999"}
        reason, plain = "not readable: refused", "not readable"
        up = {f'{s.UP}{{job="exporter",instance="x"}}': "1x9999"}
        cases += [
            Case("fires with the reason", down | up, end, (Expected({"target": target}, reason),)),
            Case("fires when the target's scrape fails", dark | up, end, (Expected({"target": target}, plain),)),
            Case("quiet just before the limit", blink | up, end),
            Case("quiet while the exporter itself is down", exporter_down, end),
        ]
    for missing in others[:1]:
        seconds = limit.targets.get(missing, limit.default)
        healthy = {_up(other): "1x9999" for other in others if other != missing}
        up = {f'{s.UP}{{job="exporter",instance="x"}}': "1x9999"}
        late = timedelta(seconds=15 * (round(seconds / 15) + 3))
        fires = (Expected({"target": missing}, "not readable"),)
        cases.append(Case("fires for a configured target without any series", healthy | up, late, fires))
    return cases


def _up(target: str) -> str:
    return f'{s.TARGET_UP}{{target="{target}",instance="{target}",job="exporter-targets"}}'


def _scrape(target: str) -> str:
    return f'{s.UP}{{target="{target}",instance="{target}",job="exporter-targets"}}'


def _partly_read(settings: Settings) -> Alert:
    limit = resolve("partly_read_seconds", settings)
    query = f"min by (target, collector) ({s.COLLECTOR_SUCCESS})"
    clauses = "\nor ".join(
        f"max by (target, collector) (max_over_time({s.COLLECTOR_SUCCESS}{{{matchers}}}[{round(seconds)}s])) == 0"
        f"\nand max by (target, collector) ({s.COLLECTOR_SUCCESS}{{{matchers}}} offset {round(seconds)}s) == 0"
        for matchers, seconds in facts.by_limit(limit)
    )
    alert = Alert(
        name="TargetPartlyRead",
        severity="warning",
        signals=(s.COLLECTOR_SUCCESS, s.TARGET_UP),
        labels=("target", "collector"),
        # A target that is down altogether is TargetDown's business.
        expr=f"(\n{clauses}\n)\nand on (target) {facts.TARGET_READABLE} == 1",
        query=query,
        panel=("home", "collectors"),
        summary="Part {{ $labels.collector }} of target {{ $labels.target }} cannot be read",
        description="The target answers, but this part of what is asked of it fails, so its series are missing: "
        "alerts on them cannot fire.",
        value="{{ $labels.collector }} fails",
        bound="1",
        limit=limit,
    )
    cases = []
    for target, seconds in [("any", limit.default), *sorted(limit.targets.items())]:
        steps = round(seconds / 15)
        at = timedelta(seconds=15 * (10 + steps + 2))
        labels = f'target="{target}",instance="{target}",job="exporter-targets",collector="queues"'
        failing = {f"{s.COLLECTOR_SUCCESS}{{{labels}}}": "1x9 0x9999"}
        blink = {f"{s.COLLECTOR_SUCCESS}{{{labels}}}": f"1x9 0x{max(steps - 2, 0)} 1x9999"}
        fires = (Expected({"target": target, "collector": "queues"}, "queues fails"),)
        cases += [
            Case("fires after the limit", {**failing, _up(target): "1x9999"}, at, fires),
            Case("quiet just before the limit", {**blink, _up(target): "1x9999"}, at),
            Case("quiet while the whole target is down", {**failing, _up(target): "0x9999"}, at),
        ]
    return with_cases(alert, *cases)
