"""The table of notifiers. A new one is one line here, one module and its templates."""

from __future__ import annotations

from collections.abc import Mapping

from alert_router.notifiers.base import NotifierKind
from alert_router.notifiers.email import EMAIL_KIND
from alert_router.notifiers.inbox import INBOX_KIND
from alert_router.notifiers.pagerduty import PAGERDUTY_KIND
from alert_router.notifiers.slack import SLACK_KIND

NOTIFIERS: Mapping[str, NotifierKind] = {
    kind.kind: kind
    for kind in (
        INBOX_KIND,
        SLACK_KIND,
        EMAIL_KIND,
        PAGERDUTY_KIND,
    )
}
"""Kind → notifier."""
