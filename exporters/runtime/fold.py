"""Bounded cardinality: members beyond the cap fold into one series ``_other``, stably and counted.

Pinned members stay first, then those that were exported before, then the largest: the set never re-ranks itself from
scrape to scrape, which would be churn.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from exporters.model import OTHER, Family, Fold, Folding, Histogram, Row, Value

_Counters = dict[tuple[str, tuple[str, ...]], Value]
"""Counter values by family name and labels."""


@dataclass(frozen=True)
class Folded:
    """Families within the cap, and how many members went into ``_other``."""

    families: Sequence[Family]
    members: int = 0
    names: Sequence[str] = ()
    """The families that were folded."""


@dataclass
class Folder:
    """Folds the families of one target. Remembers which members it kept and how far the folded counters were."""

    folding: Folding
    cap: int
    pinned: Collection[str] = ()
    _kept: dict[str, None] = field(default_factory=dict)
    _last: _Counters = field(default_factory=dict)
    _totals: _Counters = field(default_factory=dict)

    def fold(self, families: Sequence[Family]) -> Folded:
        """Return the families with every member beyond the cap folded. The common case changes nothing."""
        sizes = self._members(families)
        if len(sizes) <= self.cap and OTHER not in sizes and not self._totals:
            self._kept = dict.fromkeys(sizes)
            return Folded(families)
        self._kept = dict.fromkeys(self._choose(sizes))
        folded = sizes.keys() - self._kept.keys()
        before, self._last = self._last, {}
        out = [self._fold_family(family, folded, before) for family in families]
        names = [f.signal.name for f in families if _index(f, self.folding.label) is not None]
        return Folded([family for family in out if family.rows], len(folded), names)

    def _members(self, families: Sequence[Family]) -> dict[str, float]:
        """Members with their sizes: what the first family that names them says, added up."""
        sizes: dict[str, float] = {}
        for family in families:
            where = _index(family, self.folding.label)
            if where is None:
                continue
            first = not sizes
            for labels, value in family.rows:
                if first and not isinstance(value, Histogram):
                    sizes[labels[where]] = sizes.get(labels[where], 0) + value
                else:
                    sizes.setdefault(labels[where], 0)
        return sizes

    def _choose(self, sizes: Mapping[str, float]) -> list[str]:
        candidates = sizes.keys() - {OTHER}
        pinned = [name for name in sorted(candidates) if name in self.pinned]
        known = [name for name in self._kept if name in candidates and name not in self.pinned]
        rest = sorted(candidates - set(pinned) - set(known), key=lambda name: (-sizes[name], name))
        return [*pinned, *known, *rest][: self.cap]

    def _fold_family(self, family: Family, folded: Collection[str], last: _Counters) -> Family:
        where = _index(family, self.folding.label)
        if where is None:
            return family
        keep: list[Row] = []
        gone: dict[tuple[str, ...], list[Row]] = {}
        for row in family.rows:
            labels = row[0]
            if labels[where] in folded:
                gone.setdefault((*labels[:where], OTHER, *labels[where + 1 :]), []).append(row)
            else:
                keep.append(row)
        if family.signal.kind == "gauge":
            keep.extend(self._gauges(family, gone, len(folded)))
        else:
            keep.extend(self._counters(family, gone, last))
        return Family(family.signal, keep)

    def _gauges(self, family: Family, gone: Mapping[tuple[str, ...], Sequence[Row]], members: int) -> Iterable[Row]:
        rule = self.folding.rules.get(family.signal.name, "sum")
        for labels, rows in gone.items():
            value = _fold_gauges(rule, [v for _, v in rows if not isinstance(v, Histogram)], members)
            if value is not None:
                yield labels, value

    def _counters(
        self, family: Family, gone: Mapping[tuple[str, ...], Sequence[Row]], last: _Counters
    ) -> Iterable[Row]:
        name = family.signal.name
        for labels, rows in gone.items():
            total = self._totals.get((name, labels), _zero(rows[0][1]))
            for row_labels, value in rows:
                # What a member had counted before we folded it is not an increase of the folded series.
                total = _add_increase(total, last.get((name, row_labels), value), value)
                self._last[name, row_labels] = value
            self._totals[name, labels] = total
        # A folded counter stays although its members left: a counter that vanishes and comes back is a reset.
        return [(labels, total) for (of, labels), total in self._totals.items() if of == name]


def _index(family: Family, label: str) -> int | None:
    return family.signal.labels.index(label) if label in family.signal.labels else None


def _fold_gauges(rule: Fold, values: Sequence[float], members: int) -> float | None:
    if not values or rule == "leave_out" or (rule == "sum_if_all" and len(values) < members):
        return None
    return min(values) if rule == "min" else max(values) if rule == "max" else sum(values)


def _zero(like: Value) -> Value:
    return Histogram((0,) * len(like.counts), 0.0) if isinstance(like, Histogram) else 0


def _add_increase(total: Value, before: Value, now: Value) -> Value:
    """Add how far a counter went; one that went back has started anew and counts as it stands."""
    if isinstance(total, Histogram) and isinstance(before, Histogram) and isinstance(now, Histogram):
        if sum(now.counts) < sum(before.counts):
            before = Histogram((0,) * len(now.counts), 0.0)
        counts = tuple(t + n - b for t, b, n in zip(total.counts, before.counts, now.counts, strict=True))
        return Histogram(counts, total.sum + now.sum - before.sum)
    if isinstance(total, Histogram) or isinstance(before, Histogram) or isinstance(now, Histogram):
        return total
    return total + (now if now < before else now - before)
