"""The committed configuration, and another that uses what it does not: thresholds by target, several SLOs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import alert_rules
from tocsin.cli.tables import tables
from tocsin.paths import HOUSE
from tocsin.settings import Settings, load
from tocsin.stack.render import produced_signals

OVERRIDES = """\
schema: 1
external_url: https://tocsin.example.com
targets:
  - {name: a, kind: bullmq, url: "redis://127.0.0.1:1/0"}
  - {name: b, kind: redis, url: "redis://127.0.0.1:1/0"}
  - {name: c, kind: breaker-json, url: "http://127.0.0.1:1/h", service: shop, breakers: {x: {path: x}}}
scrape: [{name: shop, url: "http://127.0.0.1:1/metrics"}]
thresholds:
  queue_fill_ratio: {default: 0.7, targets: {a: 0.9, b: 0.93333, c: 0.9}}
  queue_wait_seconds: {targets: {a: 17}}
  queue_stalled_seconds: {targets: {a: 40}}
  queue_failure_ratio: {targets: {a: 0.5}}
  queue_failure_minimum: {targets: {a: 30}}
  cache_hit_ratio: {targets: {b: 0.95}}
  breaker_open_seconds: {targets: {c: 30}}
  target_down_seconds: {targets: {a: 0, b: 120}}
  partly_read_seconds: {targets: {a: 200}}
slos: [slos.yaml]
"""

SLOS = """\
version: prometheus/v1
service: shop
labels: {owner: team-shop}
slos:
  - name: availability
    objective: 99
    labels: {tier_of_service: gold}
    sli: &sli
      events:
        error_query: sum(rate(shop_requests_total{code=~"5.."}[{{.window}}]))
        total_query: sum(rate(shop_requests_total[{{ .window }}]))
    alerting:
      name: ShopBurns
      labels: {routing: shop}
      annotations: {chat: "#shop"}
      page_alert: {labels: {severity: info}}
  - name: strict
    objective: 99.99
    sli:
      events:
        error_query: sum(increase(shop_orders_total{ok="no"}[{{.window}}]))
        total_query: sum(increase(shop_orders_total{}[{{.window}}]))
    tocsin: {period: 7d, guard: {page: 0, ticket: 3}}
  - name: loose
    objective: 80
    sli: *sli
    tocsin: {period: 90d}
"""


def house_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """The committed ``tocsin.yaml``, as it is without any environment."""
    return load(HOUSE / "tocsin.yaml", tables(), environ or {})


def other_settings(folder: Path, *, more: str = "") -> Settings:
    """A configuration that uses what the committed one does not, written to ``folder``."""
    (folder / "tocsin.yaml").write_text(OVERRIDES + more)
    (folder / "slos.yaml").write_text(SLOS)
    return load(folder / "tocsin.yaml", tables(), {})


def rendered_rules(settings: Settings) -> dict[str, str]:
    """Everything that Prometheus loads for a configuration, with its tests."""
    return alert_rules.render(settings, produced_signals(settings))
