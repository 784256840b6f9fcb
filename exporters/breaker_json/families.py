"""Breakers of a health page → families. An unknown state gives no state at all."""

from __future__ import annotations

from collections.abc import Sequence

from exporters.breaker_json.read import BreakerSnapshot
from exporters.model import Family, label_text
from tocsin import signals
from tocsin.signals import BREAKER_STATES

SIGNALS = (
    signals.BREAKER_STATE,
    signals.BREAKER_OPENED,
    signals.BREAKER_TRANSITIONS,
    signals.BREAKER_FAILURE_RATIO,
    signals.BREAKER_OBSERVED,
)
"""All that this source can produce."""


def families(snapshot: BreakerSnapshot) -> Sequence[Family]:
    """Shape the breakers into families."""
    service = label_text(snapshot.service)
    known = [breaker for breaker in snapshot.breakers if breaker.state is not None]
    return [
        Family(
            signals.BREAKER_STATE,
            [((b.name, service, state), int(b.state == state)) for b in known for state in BREAKER_STATES],
        ),
        Family(signals.BREAKER_OPENED, [((b.name, service), b.since) for b in known if b.since is not None]),
        Family(
            signals.BREAKER_TRANSITIONS,
            [((b.name, service, to), count) for b in snapshot.breakers for to, count in b.transitions.items()],
        ),
        Family(
            signals.BREAKER_FAILURE_RATIO,
            [((b.name, service), b.failure_ratio) for b in known if b.failure_ratio is not None],
        ),
        # Seen by polling: a trip that opens and closes between two scrapes is missed.
        Family(signals.BREAKER_OBSERVED, [((b.name, service, "poll"), 1) for b in snapshot.breakers]),
    ]
