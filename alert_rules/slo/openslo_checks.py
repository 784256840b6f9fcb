"""What OpenSLO's own validator refuses and types cannot say, and the parts of OpenSLO that Tocsin does not take."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from alert_rules.slo import openslo_types as o
from tocsin.errors import Problem
from tocsin.settings.document import Document, KeyPath

_DAYS = {"M": 30, "Q": 90, "Y": 365}


def slo_problems(document: Document, slo: o.Slo) -> Iterator[Problem]:
    """Return everything that is wrong in one SLO document that has the right shape."""
    spec = slo.spec
    if spec.budgeting_method != "Occurrences":
        fix = "write `budgetingMethod: Occurrences`: every event counts the same"
        yield document.problem(("spec", "budgetingMethod"), f"{spec.budgeting_method} are not computed here", fix)
    composite = any(each.indicator or each.indicator_ref for each in spec.objectives)
    if composite:
        fix = "write one SLO for each indicator"
        yield document.problem(("spec", "objectives"), "composite SLOs are not computed here", fix)
    elif not spec.indicator and not spec.indicator_ref:
        yield document.problem(("spec",), "has no indicator", "add `indicator` or `indicatorRef`")
    if spec.indicator and spec.indicator_ref:
        yield document.problem(("spec", "indicatorRef"), "stands beside `indicator`", "keep one of the two")
    if spec.indicator:
        yield from indicator_problems(document, spec.indicator.spec, ("spec", "indicator", "spec"))
    ratio = spec.indicator is None or spec.indicator.spec.ratio_metric is not None
    for i, objective in enumerate(spec.objectives):
        yield from _objective(document, objective, i, ratio=ratio)
    yield from _time_window(document, spec.time_window[0])
    for i, policy in enumerate(spec.alert_policies):
        yield from _policy(document, policy, ("spec", "alertPolicies", i))


def indicator_problems(document: Document, sli: o.SliSpec, path: KeyPath) -> Iterator[Problem]:
    """Return what is wrong in an indicator: exactly one metric, and of a ratio exactly one form."""
    if (sli.threshold_metric is None) == (sli.ratio_metric is None):
        yield document.problem(path, "needs exactly one of ratioMetric and thresholdMetric", "write `ratioMetric`")
    elif sli.threshold_metric:
        fix = "count good and all events in a `ratioMetric`, for example requests faster than the threshold"
        yield document.problem((*path, "thresholdMetric"), "thresholdMetric is not computed here", fix)
    ratio, at = sli.ratio_metric, (*path, "ratioMetric")
    if ratio is None:
        return
    if (ratio.total is None) == (ratio.raw is None):
        yield document.problem(at, "needs exactly one of `total` and `raw`", "write `total` with `good` or `bad`")
    elif ratio.total and (ratio.good is None) == (ratio.bad is None):
        yield document.problem(at, "needs exactly one of `good` and `bad` beside `total`", "keep one of the two")
    elif ratio.raw and (ratio.good or ratio.bad):
        yield document.problem((*at, "raw"), "`raw` stands alone", "leave out `good` and `bad`")
    if ratio.raw and ratio.raw_type is None:
        yield document.problem(at, "`raw` needs `rawType`", "write `rawType: success` or `rawType: failure`")


def _objective(document: Document, objective: o.Objective, i: int, *, ratio: bool) -> Iterator[Problem]:
    path: KeyPath = ("spec", "objectives", i)
    target, percent = objective.target, objective.target_percent
    if (target is None) == (percent is None):
        yield document.problem(path, "needs exactly one of `target` and `targetPercent`", "write `target: 0.999`")
    elif target is not None and not 0 < target < 1:
        yield document.problem((*path, "target"), "must lie between 0 and 1", "write for example 0.999")
    elif percent is not None and not 0 < percent < 100:
        yield document.problem((*path, "targetPercent"), "must lie between 0 and 100", "write for example 99.9")
    for key, value in (("op", objective.op), ("value", objective.value)):
        if ratio and value is not None:
            fix = "leave it out: it belongs to a thresholdMetric"
            yield document.problem((*path, key), f"`{key}` means nothing for a ratio", fix)
    if objective.composite_weight is not None:
        zero = objective.composite_weight <= 0
        message = "must be more than 0" if zero else "weighs an objective of a composite SLO, and this is none"
        yield document.problem((*path, "compositeWeight"), message, "leave it out")
    for key, slice_ in (
        ("timeSliceTarget", objective.time_slice_target),
        ("timeSliceWindow", objective.time_slice_window),
    ):
        if slice_ is not None:
            yield document.problem((*path, key), "belongs to time slices, which are not computed here", "leave it out")


def _time_window(document: Document, window: o.TimeWindow) -> Iterator[Problem]:
    path: KeyPath = ("spec", "timeWindow", 0)
    if window.is_rolling and window.calendar:
        yield document.problem((*path, "calendar"), "stands in a rolling window", "leave it out")
    elif not window.is_rolling:
        fix = "write `isRolling: true` and a duration in days, such as 30d"
        what = "calendar windows are not computed here" if window.calendar else "is neither rolling nor has a calendar"
        yield document.problem(path, what, fix)
    unit, count = window.duration[-1], int(window.duration[:-1])
    if unit in _DAYS:
        message = f"{window.duration} has no fixed length"
        yield document.problem((*path, "duration"), message, f"write {_known(count * _DAYS[unit])}d")
    elif unit == "m":
        message = f"{window.duration} is {count} minute{'' if count == 1 else 's'}, a slip for {count}M most likely"
        yield document.problem((*path, "duration"), message, f"write {_known(count * 30)}d")
    elif count == 0:
        yield document.problem((*path, "duration"), "must be more than 0", "write for example 30d")


def _known(days: int) -> int:
    return min((7, 28, 30, 90), key=lambda each: abs(each - days))


def _policy(document: Document, policy: o.PolicyUse, path: KeyPath) -> Iterator[Problem]:
    inline = any((policy.kind, policy.metadata, policy.spec))
    if bool(policy.alert_policy_ref) == inline:
        yield document.problem(path, "needs either alertPolicyRef or a policy written out", "keep one of the two")
        return
    yield from _whole(document, path, inline=inline, kind=policy.kind, rest=(policy.metadata, policy.spec))
    if policy.spec is None:
        return
    uses: list[tuple[KeyPath, str | None, str | None, tuple[object, object]]] = [
        ((*path, "spec", "conditions", i), use.condition_ref, use.kind, (use.metadata, use.spec))
        for i, use in enumerate(policy.spec.conditions)
    ]
    uses += [
        ((*path, "spec", "notificationTargets", i), each.target_ref, each.kind, (each.metadata, each.spec))
        for i, each in enumerate(policy.spec.notification_targets)
    ]
    for at, ref, kind, rest in uses:
        written = any((kind, *rest))
        if bool(ref) == written:
            yield document.problem(at, "needs either a reference or the object written out", "keep one of the two")
        else:
            yield from _whole(document, at, inline=written, kind=kind, rest=rest)


def _whole(
    document: Document, path: KeyPath, *, inline: bool, kind: str | None, rest: tuple[object, object]
) -> Iterator[Problem]:
    if inline and not (kind and all(rest)):
        yield document.problem(path, "is not whole", "write kind, metadata and spec")


def policies(document: Document, slo: o.Slo) -> Iterator[Problem]:
    """Say that alert policies are read and not used: one look-back cannot express two windows."""
    if slo.spec.alert_policies:
        message = "alert policies are checked but not used: one look-back cannot say what two windows say"
        fix = "Tocsin's own window pairs alert; route them by their labels `tier` and `severity`"
        yield replace(document.problem(("spec", "alertPolicies"), message, fix), level="info")
