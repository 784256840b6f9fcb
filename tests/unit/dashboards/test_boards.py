"""The boards: their shape holds, their expressions parse, and what they read exists."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import yaml

import dashboards
from alert_rules import catalogue
from dashboards.kit.check import Judge, expressions, filled, panels
from tests.house import house_settings, other_settings, rendered_rules
from tests.promql import known_series, parse_error, selectors
from tests.servers import Generation
from tocsin import facts, signals
from tocsin.links import BOARDS, panel_id
from tocsin.paths import HOUSE

JUDGE = Judge(frozenset(path.stem for path in (HOUSE / "docs" / "runbooks").glob("*.md")), parse_error)

UNSHOWN = {
    "messaging_queue_wait_seconds": "quantiles of one queue belong to the board One queue",
    "messaging_process_duration_seconds": "quantiles of one queue belong to the board One queue",
    "messaging_queue_capacity_messages": "drawn as the fill ratio",
    "messaging_queue_capacity_bytes": "belongs to the board One queue",
    "messaging_queue_size_bytes": "belongs to the board One queue",
    "messaging_queue_redelivered_total": "belongs to the board One queue",
    "messaging_broker_alarm": "belongs to the board Brokers",
    "messaging_broker_dead_lettered_total": "belongs to the board Brokers",
    "messaging_queue_oldest_ready_timestamp_seconds": "drawn as an age",
    "messaging_queue_last_finished_timestamp_seconds": "drawn as an age",
    "cache_memory_bytes": "belongs to the board Cache",
    "cache_memory_max_bytes": "belongs to the board Cache",
    "cache_evictions_total": "belongs to the board Cache",
    "cache_expirations_total": "belongs to the board Cache",
    "cache_items": "belongs to the board Cache",
    "cache_connections": "belongs to the board Cache",
    "cache_connections_max": "belongs to the board Cache",
    "cache_rejected_connections_total": "belongs to the board Cache",
    "cache_replica_link_up": "belongs to the board Cache",
    "cache_requests_total": "drawn as the hit ratio",
    "cache_cluster_ok": "belongs to the board Cache",
    "cache_cluster_slots": "belongs to the board Cache",
    "cache_cluster_node_up": "belongs to the board Cache",
    "cache_cluster_node_primary": "belongs to the board Cache",
    "cache_cluster_node_memory_bytes": "belongs to the board Cache",
    "cache_cluster_node_memory_max_bytes": "belongs to the board Cache",
    "cache_sentinel_master_up": "belongs to the board Cache",
    "cache_sentinel_replicas": "belongs to the board Cache",
    "cache_sentinel_sentinels": "belongs to the board Cache",
    "cache_sentinel_quorum_ok": "belongs to the board Cache",
    "cache_sentinel_master_changes_total": "belongs to the board Cache",
    "db_server_connections": "belongs to the board Databases",
    "db_server_connections_max": "belongs to the board Databases",
    "db_server_queries_total": "belongs to the board Databases",
    "db_server_query_seconds_total": "belongs to the board Databases",
    "db_server_slow_queries_total": "belongs to the board Databases",
    "db_server_transactions_total": "belongs to the board Databases",
    "db_server_deadlocks_total": "belongs to the board Databases",
    "db_server_lock_waiters": "belongs to the board Databases",
    "db_server_longest_transaction_seconds": "belongs to the board Databases",
    "db_server_longest_query_seconds": "belongs to the board Databases",
    "db_server_replication_lag_seconds": "belongs to the board Databases",
    "db_server_size_bytes": "belongs to the board Databases",
    "db_server_block_reads_total": "belongs to the board Databases",
    "db_server_statement_calls_total": "belongs to the board Databases",
    "db_server_statement_seconds_total": "belongs to the board Databases",
    "db_client_connections": "belongs to the board Databases",
    "db_client_connections_max": "belongs to the board Databases",
    "db_client_connections_pending_requests": "belongs to the board Databases",
    "db_pool_longest_wait_seconds": "belongs to the board Databases",
    "db_pool_wait_seconds_total": "belongs to the board Databases",
    "circuit_breaker_state": "drawn as the time open",
    "circuit_breaker_opened_timestamp_seconds": "drawn as the time open",
    "circuit_breaker_transitions_total": "belongs to the board Breakers",
    "circuit_breaker_failure_ratio": "belongs to the board Breakers",
    "circuit_breaker_observed_info": "an explanation, read beside a transition",
    "tocsin_target_up": "drawn as the recorded readable state",
    "tocsin_exporter_targets": "belongs to the board Stack",
    "tocsin_exporter_config_timestamp_seconds": "belongs to the board Stack",
    "tocsin_collector_duration_seconds": "belongs to the board Stack",
    "tocsin_data_timestamp_seconds": "belongs to the board Stack",
    "tocsin_scrape_errors_total": "told in the alert's value",
    "tocsin_target_info": "a version, for tables of other boards",
    "tocsin_router_accepted_total": "belongs to the board Alert delivery",
    "tocsin_router_delivery_seconds": "belongs to the board Alert delivery",
    "tocsin_router_dead_letters": "drawn as new ones in an hour",
    "tocsin_router_oldest_undelivered_timestamp_seconds": "drawn as an age",
    "tocsin_router_heartbeat_timestamp_seconds": "drawn as an age",
    "tocsin_data_disk_free_bytes": "drawn as a ratio and a forecast",
    "tocsin_data_disk_size_bytes": "drawn as a ratio",
}
"""Signals that no panel reads as they are, each with its reason."""


@pytest.fixture(scope="module", params=["committed", "overrides"])
def boards(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    settings = house_settings() if request.param == "committed" else other_settings(tmp_path_factory.mktemp("home"))
    return dashboards.render(settings)


def test_the_shape_of_every_board_holds(boards: dict[str, str]) -> None:
    """No check of shape, links, variables, thresholds or syntax finds anything."""
    assert [str(finding) for finding in dashboards.check(boards, JUDGE)] == []


def test_promtool_parses_every_expression(boards: dict[str, str], generation: Generation, tmp_path: Path) -> None:
    """Prometheus' own parser of each generation takes every query, annotation and variable."""
    every = [filled(expr) for text in boards.values() for _, expr in expressions(json.loads(text))]
    rules = [{"record": f"x:{i}", "expr": expr} for i, expr in enumerate(every)]
    (tmp_path / "all.yml").write_text(yaml.safe_dump({"groups": [{"name": "all", "rules": rules}]}))
    done = subprocess.run(
        [generation.promtool.path, "check", "rules", tmp_path / "all.yml"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(every)} rules found" in done.stdout


def test_every_series_and_label_on_a_board_exists(boards: dict[str, str]) -> None:
    """A panel reads only signals and recorded series, and matches only labels that they have."""
    known = known_series()
    for name, text in boards.items():
        for where, expr in expressions(json.loads(text)):
            for selector in selectors(filled(expr)):
                assert selector.name in known, (name, where, selector.name)
                labels = known[selector.name]
                used = {matcher.name for matcher in selector.matchers.matchers}
                assert labels is None or used <= labels, (name, where, str(selector))


def test_every_signal_is_on_a_panel_or_listed_with_a_reason() -> None:
    """Nothing is measured for nobody: a signal is drawn, or the list says where it will be."""
    read = {
        (selector.name or "").removesuffix("_count").removesuffix("_bucket").removesuffix("_sum")
        for text in dashboards.render(house_settings()).values()
        for _, expr in expressions(json.loads(text))
        for selector in selectors(filled(expr))
    }
    assert set(signals.all_signals()) - read == set(UNSHOWN)


def test_every_recorded_fact_is_on_a_panel() -> None:
    """A fact that no panel draws would leave its alert without a picture."""
    drawn = "\n".join(dashboards.render(house_settings()).values())
    helpers = {facts.QUEUE_READY, facts.QUEUE_FINISHED_5M, facts.CACHE_LOOKUPS_5M, facts.HTTP_REQUESTS_5M}
    missing = {name for name, fact in facts.all_facts().items() if name not in drawn and fact not in helpers}
    assert missing == set()


def test_an_alert_and_its_panel_read_the_same_series() -> None:
    """The panel that an alert leads to shows the very series that the alert judged."""
    boards = [json.loads(text) for text in dashboards.render(house_settings()).values()]
    by_id = {(board["uid"], panel["id"]): panel for board in boards for panel in panels(board)}
    for alert in catalogue(house_settings()):
        if alert.name in ("Watchdog", "SLIAbsent"):  # a constant, and a thing that is not there
            continue
        board, key = alert.panel
        panel = by_id[BOARDS[board], panel_id(board, key)]
        drawn = {selector.name for target in panel["targets"] for selector in selectors(filled(target["expr"]))}
        judged = {selector.name for selector in selectors(alert.expr)}
        if alert.explained_by:
            # SLO alerts judge raw windows; the panel shows what people read of them.
            judged = {facts.SLO_REMAINING if alert.name == "ErrorBudgetExhausted" else facts.SLO_BURN}
        assert drawn & judged, alert.name


def test_a_board_is_small_enough_to_build_often(boards: dict[str, str]) -> None:
    """Files stay readable in a review: under 100 kB each."""
    assert all(len(text) < 100_000 for text in boards.values())


def test_recorded_names_on_boards_are_recorded_in_this_configuration() -> None:
    """With the demo's sources, every recorded series on a board has its rule in the loaded files."""
    recorded = "\n".join(text for name, text in rendered_rules(house_settings()).items() if name.endswith(".rules.yml"))
    for text in dashboards.render(house_settings()).values():
        for _, expr in expressions(json.loads(text)):
            for selector in selectors(filled(expr)):
                if ":" in (selector.name or ""):
                    assert f"record: {selector.name}\n" in recorded, selector.name
