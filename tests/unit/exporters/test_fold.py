"""Cardinality is bounded by folding, stably and counted."""

from __future__ import annotations

from exporters.model import OTHER, Family, Folding, Histogram, Value
from exporters.runtime.fold import Folder
from tocsin.signals import Signal

_SIZE = Signal("x_messages", "gauge", "messages", ("queue", "state"), "Messages.")
_LIMIT = Signal("x_limit", "gauge", "messages", ("queue",), "Limit.")
_OLDEST = Signal("x_oldest", "gauge", "unix seconds", ("queue",), "Oldest.")
_PAUSED = Signal("x_paused", "gauge", "boolean", ("queue",), "Paused.")
_DONE = Signal("x_done_total", "counter", "messages", ("queue",), "Done.")
_WAIT = Signal("x_wait_seconds", "histogram", "seconds", ("queue",), "Wait.", (1.0,))

_FOLDING = Folding(
    "queue",
    cap=lambda _: 2,
    pinned=lambda _: (),
    rules={"x_limit": "sum_if_all", "x_oldest": "min", "x_paused": "leave_out"},
)


def _sizes(**queues: int) -> Family:
    return Family(_SIZE, [((name, "ready"), size) for name, size in queues.items()])


def _one(signal: Signal, **queues: Value) -> Family:
    return Family(signal, [((name,), value) for name, value in queues.items()])


def _folder(*pinned: str) -> Folder:
    return Folder(_FOLDING, 2, pinned)


def _values(families: object, signal: Signal) -> dict[str, Value]:
    assert isinstance(families, list)
    return {labels[0]: value for family in families if family.signal is signal for labels, value in family.rows}


def test_nothing_changes_within_the_cap() -> None:
    """The common case hands the very same families on."""
    families = [_sizes(a=1, b=2)]
    folded = _folder().fold(families)
    assert folded.families is families
    assert folded.members == 0


def test_the_largest_stay_and_the_rest_adds_up() -> None:
    """Beyond the cap the largest queues keep their series, the others are one sum and a number."""
    folded = _folder().fold([_sizes(a=1, b=9, c=5, d=2)])
    assert _values(folded.families, _SIZE) == {"b": 9, "c": 5, OTHER: 3}
    assert folded.members == 2
    assert folded.names == ["x_messages"]


def test_pinned_queues_stay_whatever_their_size() -> None:
    """A queue that the settings name is kept before larger ones."""
    folded = _folder("d").fold([_sizes(a=1, b=9, c=5, d=0)])
    assert set(_values(folded.families, _SIZE)) == {"b", "d", OTHER}


def test_the_choice_does_not_follow_the_sizes() -> None:
    """Who was exported before stays, however large another one grows: re-ranking at each scrape is churn."""
    folder = _folder()
    folder.fold([_sizes(a=1, b=9, c=5)])
    folded = folder.fold([_sizes(a=999, b=0, c=0)])
    assert set(_values(folded.families, _SIZE)) == {"b", "c", OTHER}


def test_a_free_place_goes_to_the_largest_of_the_rest() -> None:
    """When a kept queue is gone, the largest folded one takes its place."""
    folder = _folder()
    folder.fold([_sizes(a=1, b=9, c=5, d=3)])
    folded = folder.fold([_sizes(a=1, b=9, d=3)])
    assert set(_values(folded.families, _SIZE)) == {"b", "d", OTHER}


def test_folded_counters_add_up_increases_only() -> None:
    """A folded counter starts at 0, grows by its members' growth, survives their leaving and never goes back."""
    folder = _folder()
    sizes = _sizes(a=9, b=9, c=0, d=0)
    first = folder.fold([sizes, _one(_DONE, a=1, b=1, c=100, d=50)])
    assert _values(first.families, _DONE)[OTHER] == 0
    second = folder.fold([sizes, _one(_DONE, a=1, b=1, c=107, d=51)])
    assert _values(second.families, _DONE)[OTHER] == 8
    gone = folder.fold([_sizes(a=9, b=9, d=0), _one(_DONE, a=1, b=1, d=53)])
    assert _values(gone.families, _DONE)[OTHER] == 10
    restarted = folder.fold([_sizes(a=9, b=9, d=0), _one(_DONE, a=1, b=1, d=2)])
    assert _values(restarted.families, _DONE)[OTHER] == 12


def test_folded_histograms_add_up_increases_only() -> None:
    """Histograms fold like counters, bucket by bucket."""
    folder = _folder()
    sizes = _sizes(a=9, b=9, c=0)
    before = {"a": Histogram((0, 0), 0.0), "b": Histogram((0, 0), 0.0), "c": Histogram((5, 5), 50.0)}
    folder.fold([sizes, _one(_WAIT, **before)])
    after = before | {"c": Histogram((6, 7), 58.0)}
    folded = folder.fold([sizes, _one(_WAIT, **after)])
    assert _values(folded.families, _WAIT)[OTHER] == Histogram((1, 2), 8.0)


def test_limits_sum_only_when_every_member_has_one() -> None:
    """A sum of some limits would be a limit that does not exist."""
    sizes = _sizes(a=9, b=9, c=0, d=0)
    whole = _folder().fold([sizes, _one(_LIMIT, a=10, b=10, c=3, d=4)])
    assert _values(whole.families, _LIMIT)[OTHER] == 7
    part = _folder().fold([sizes, _one(_LIMIT, a=10, b=10, c=3)])
    assert OTHER not in _values(part.families, _LIMIT)


def test_oldest_takes_the_minimum_and_states_do_not_fold() -> None:
    """The oldest of many is the oldest; whether many queues are paused is no yes or no."""
    sizes = _sizes(a=9, b=9, c=0, d=0)
    paused = _one(_PAUSED, a=0, b=0, c=1, d=0)
    folded = _folder().fold([sizes, _one(_OLDEST, a=5, b=6, c=3, d=4), paused])
    assert _values(folded.families, _OLDEST)[OTHER] == 3
    assert OTHER not in _values(folded.families, _PAUSED)


def test_a_member_called_other_is_never_confused_with_the_fold() -> None:
    """A queue that is really called _other goes into the fold instead of beside it."""
    folded = _folder().fold([_sizes(a=1, **{OTHER: 5})])
    assert _values(folded.families, _SIZE) == {"a": 1, OTHER: 5}
    assert folded.members == 1
