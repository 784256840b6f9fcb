"""PgBouncer's facts without a pooler: limits under every name, sums that only grow, clients by what they do."""

from __future__ import annotations

import pytest

from exporters.pgbouncer.read import Limits, Sum, clients, number


@pytest.mark.parametrize(
    ("database", "user", "expected"),
    [
        ({"pool_size": "20", "reserve_pool": "5", "max_connections": "0"}, {}, 25),
        ({"pool_size": "20", "reserve_pool_size": "5", "max_connections": "0"}, {}, 25),
        ({"pool_size": "20", "reserve_pool_size": "5", "max_connections": "10"}, {}, 10),
        ({"pool_size": "20", "reserve_pool_size": "0"}, {"pool_size": "3"}, 3),
        ({"pool_size": "20", "reserve_pool_size": "0"}, {"pool_size": None}, 20),
        ({"pool_size": "20"}, {}, None),
        ({"reserve_pool": "20"}, {}, None),
    ],
)
def test_the_limit_of_a_pool(database: dict[str, str], user: dict[str, str | None], expected: int | None) -> None:
    """Size and reserve under either name, within the database's limit; what cannot be known is unknown."""
    limits = Limits([{"name": "app", **database}], [{"name": "web", **user}])
    assert limits.of("app", "web") == expected
    assert limits.of("elsewhere", "web") is None


def test_a_sum_over_databases_only_grows() -> None:
    """A database that starts anew, leaves or comes adds what it did and takes nothing back."""
    total = Sum()
    assert total.add({}) is None
    assert total.add({"a": 5, "b": 5}) == 10
    assert total.add({"a": 7}) == 12
    assert total.add({"a": 1, "b": 2}) == 15


def test_a_client_that_waits_for_nothing_is_idle() -> None:
    """PgBouncer calls it active; logins in progress are what is left of all clients."""
    pools = [{"cl_active": "10", "cl_waiting": "2", "sv_active": "4"}, {"cl_active": "1", "sv_active": "0"}]
    assert clients(pools, {"used_clients": "14"}) == {"active": 4, "idle": 7, "waiting": 2, "other": 1}
    assert "other" not in clients(pools, {})
    assert number({"a": None, "b": "x", "c": "3"}, "a", "b", "c") == 3
