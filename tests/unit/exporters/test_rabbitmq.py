"""Pages and lists of several RabbitMQ versions and nodes → queues, without a broker."""

from __future__ import annotations

import pytest

from exporters.rabbitmq import cluster as api
from exporters.rabbitmq.cluster import Cluster, Dear, Policies, QueueFacts
from exporters.rabbitmq.page import Labels, NodePage, node_details, node_page
from exporters.rabbitmq.settings import RabbitmqSettings
from exporters.rabbitmq.shape import Increases, Queue, Shaper, label_of, owners_of
from tocsin.errors import TargetError

_IDENTITY = (
    "# TYPE rabbitmq_build_info untyped\n"
    'rabbitmq_build_info{rabbitmq_version="4.1.0",erlang_version="27"} 1\n'
    "# TYPE rabbitmq_identity_info untyped\n"
    'rabbitmq_identity_info{rabbitmq_node="rabbit@NAME",rabbitmq_cluster="c"} 1\n'
)


def _text(node: str, **families: dict[str, float | str]) -> bytes:
    lines = []
    for family, values in families.items():
        lines += [f"# TYPE rabbitmq_detailed_queue_{family} gauge", f"# HELP rabbitmq_detailed_queue_{family} x"]
        lines += [f'rabbitmq_detailed_queue_{family}{{vhost="/",queue="{q}"}} {v}' for q, v in values.items()]
    return ("\n".join(lines) + "\n" + _IDENTITY.replace("NAME", node)).encode()


def _page(node: str, **families: dict[str, float | str]) -> NodePage:
    return node_page(_text(node, **families), Labels())


def _settings(**more: object) -> RabbitmqSettings:
    plain = {"name": "broker", "kind": "rabbitmq", "url": "http://h:15672", "nodes": ["http://h:15692"], **more}
    return RabbitmqSettings.model_validate(plain)


def _cluster(**queues: QueueFacts) -> Cluster:
    return Cluster({("/", name): facts for name, facts in queues.items()})


def _row(name: str, *, kind: str = "classic", policy: str | None = None, **arguments: object) -> api.Row:
    named = {name.replace("_", "-"): value for name, value in arguments.items()}
    return {"vhost": "/", "name": name, "type": kind, "policy": policy, "arguments": named, "exclusive": False}


def _policy(name: str, pattern: str, definition: dict[str, object], *, priority: int = 0, to: str = "all") -> api.Row:
    return {
        "vhost": "/",
        "name": name,
        "pattern": pattern,
        "definition": definition,
        "priority": priority,
        "apply-to": to,
    }


def test_a_version_without_a_family_leaves_its_facts_out() -> None:
    """3.10 has no delivery metrics: counters are absent, not 0; 4.x tells acknowledgements and redeliveries."""
    old = Shaper(_settings()).shape([_page("a", messages_ready={"q": 1})], None, None, whole=True)
    assert (old.queues[0].finished, old.queues[0].redelivered, old.queues[0].in_flight) == (None, None, None)
    new = _page(
        "a",
        messages_ready={"q": 1},
        messages_unacked={"q": 2},
        messages_acked_total={"q": 5},
        messages_delivered_total={"q": 3},
        messages_redelivered_total={"q": 4},
    )
    queue = Shaper(_settings()).shape([new], None, None, whole=True).queues[0]
    assert (queue.finished, queue.redelivered, queue.in_flight) == (8, 4, 2)
    assert new.version == "4.1.0"


def test_escaped_names_and_numbers_that_are_none() -> None:
    """Quotes, backslashes and new lines come back as they are; NaN is the broker's word for unknown."""
    page = _page("a", messages_ready={'a\\"b\\\\c\\nd': 1, "e": "NaN"})
    assert page.ready == {("/", 'a"b\\c\nd'): 1.0}


@pytest.mark.parametrize("body", [b"", b"<html>", b"# TYPE up gauge\nup 1\n"])
def test_another_page_is_refused(body: bytes) -> None:
    """Whatever is not a RabbitMQ page says so, rather than being an empty broker."""
    with pytest.raises(TargetError, match="not the metrics page"):
        node_page(body, Labels())
    with pytest.raises(TargetError, match="not a number"):
        _page("a", messages_ready={"q": "many"})


def test_the_leader_speaks_for_its_queue() -> None:
    """A former leader goes on telling old numbers: the one that the cluster names is believed, in any order."""
    old, new = _page("a", messages_ready={"q": 9}), _page("b", messages_ready={"q": 2})
    known = {("/", "q"): QueueFacts(leader="rabbit@b")}
    for pages in ([old, new], [new, old]):
        assert owners_of(pages, known)["/", "q"].ready["/", "q"] == 2


def test_a_leader_change_makes_no_new_series() -> None:
    """The queue moves to another node: same name, and its counters go on."""
    shaper = Shaper(_settings())
    first = [_page("a", messages_ready={"q": 1}, messages_redelivered_total={"q": 7}), _page("b")]
    second = [_page("a"), _page("b", messages_ready={"q": 1}, messages_redelivered_total={"q": 2})]
    one = shaper.shape(first, None, None, whole=True).queues[0]
    two = shaper.shape(second, None, None, whole=True).queues[0]
    assert (one.name, one.redelivered) == (two.name, 7)
    assert two.redelivered == 9


def test_counters_of_nodes_only_grow() -> None:
    """A restarted node counts as it stands, a missing one changes nothing, a late one brings no history."""
    key = ("/", "q")
    counts = Increases()
    assert counts.add([("a", {key: 5.0})], whole=True)[key] == 5
    assert counts.add([("a", {key: 2.0})], whole=True)[key] == 7
    assert counts.add([], whole=False)[key] == 7
    assert counts.add([("a", {key: 3.0}), ("b", {key: 100.0})], whole=True)[key] == 8
    assert counts.add([("a", {key: 3.0}), ("b", {key: 101.0})], whole=True)[key] == 9
    assert key not in counts.add([("a", {}), ("b", {})], whole=True), "a deleted queue is remembered for ever"


def test_the_lowest_limit_holds() -> None:
    """Argument, policy and operator policy each may limit; the broker enforces the lowest, and so do the settings."""
    policies = Policies(
        [_policy("p", "^o", {"max-length": 80})],
        [
            _policy("low", "^o", {"max-length": 10}, priority=0),
            _policy("high", "^orders", {"max-length": 60, "max-length-bytes": 9}, priority=5),
            _policy("other", ".*", {"max-length": 1}, priority=9, to="quorum_queues"),
        ],
    )
    rows = [_row("orders", policy="p", x_max_length=100), _row("oats", policy="p"), _row("x", x_max_length="odd")]
    facts = api.facts(rows, policies, ())
    assert facts["/", "orders"].capacity == 60
    assert facts["/", "orders"].capacity_bytes == 9
    assert facts["/", "oats"].capacity == 10
    assert facts["/", "x"].capacity is None
    shaped = Shaper(_settings(capacity={"default": 70, "oats": 3})).shape(
        [_page("a", messages_ready={"orders": 1, "oats": 1})], Cluster(facts), None, whole=True
    )
    assert [queue.capacity for queue in shaped.queues] == [60, 3]


def test_a_pattern_that_cannot_be_read_is_told() -> None:
    """RabbitMQ's patterns are Perl's: one that Python refuses costs its own limits and is named."""
    policies = Policies([], [_policy("odd", "(?|a)", {"max-length": 1})])
    assert "odd" in policies.problem
    assert api.facts([_row("a")], policies, ())["/", "a"].capacity is None


def test_the_end_of_the_road_is_a_dead_letter_queue_a_retry_step_is_not() -> None:
    """Work → retry (waits, goes back) → work is a loop of work; only what passes nothing on holds dead letters."""
    rows = [
        _row("work", x_dead_letter_exchange="", x_dead_letter_routing_key="retry"),
        _row("retry", x_dead_letter_exchange="", x_dead_letter_routing_key="work"),
        _row("mail", policy="dlx"),
        _row("graves"),
        _row("plain"),
    ]
    policies = Policies([_policy("dlx", "mail", {"dead-letter-exchange": "fan"})], [])
    assert api.dead_letter_exchanges(rows, policies) == {("/", "fan")}
    facts = api.facts(rows, policies, {("/", "graves")})
    assert [name for (_, name), fact in facts.items() if fact.dead_letter] == ["graves"]


def test_ephemeral_and_unknown_queues_are_held_back() -> None:
    """What has no lasting name, or was not looked at yet, adds up in one row and brings the next look forward."""
    cluster = _cluster(kept=QueueFacts(), mine=QueueFacts(ephemeral=True))
    page = _page("a", messages_ready={"kept": 1, "mine": 2, "new": 4}, consumers={"mine": 1})
    shaped = Shaper(_settings()).shape([page], cluster, None, whole=True)
    assert [queue.name for queue in shaped.queues] == ["kept"]
    assert shaped.other == Queue("_other", 6, 0, consumers=1)
    assert shaped.unknown
    assert shaped.invisible == 0


def test_without_the_management_api_every_queue_still_counts() -> None:
    """No look succeeded yet: only names that the broker makes up are held back."""
    page = _page("a", messages_ready={"kept": 1, "amq.gen-JzTY20BRgKO": 2})
    shaped = Shaper(_settings()).shape([page], None, None, whole=True)
    assert [queue.name for queue in shaped.queues] == ["kept"]
    assert not shaped.unknown


def test_labels_of_virtual_hosts_never_meet() -> None:
    """Queues of different virtual hosts have different labels, whatever slashes their names hold."""
    keys = [("/", "a"), ("/", "a/b"), ("a", "b"), ("a/b", "c"), ("a", "b/c"), ("%2F", "a/b")]
    assert len({label_of(key) for key in keys}) == len(keys)
    assert label_of(("/", "orders")) == "orders"


def test_dead_letters_are_counted_by_reason_and_fate() -> None:
    """Strategies fold into two fates: routed to a dead-letter exchange, or dropped because there is none."""
    whole = "".join(
        f'rabbitmq_global_messages_dead_lettered_{reason}_total{{queue_type="x",dead_letter_strategy="{how}"}} {n}\n'
        for reason, how, n in (
            ("expired", "disabled", 2),
            ("expired", "at_most_once", 3),
            ("expired", "at_least_once", 4),
            ("confirmed", "at_least_once", 9),
        )
    )
    details = node_details(_text("a", head_message_timestamp={"q": "NaN"}), whole.encode(), Labels())
    assert details.dead_lettered == {("expired", "dropped"): 2, ("expired", "routed"): 7}
    assert details.oldest == {}
    shaped = Shaper(_settings()).shape(
        [_page("a", messages_ready={"q": 1})], None, Dear(_cluster(), {"n": details}), whole=True
    )
    assert shaped.dead_lettered == (("expired", "dropped", 2), ("expired", "routed", 7))
