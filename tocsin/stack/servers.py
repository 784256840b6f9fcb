"""The other programs of the native stack as services: command line, readiness and what makes them read anew.

Everything binds loopback and keeps its data under the stack's one data directory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tocsin.settings import Settings
from tocsin.stack.addresses import native_addresses
from tocsin.stack.configs import collector_pipelines
from tocsin.stack.private import grafana_password
from tocsin.stack.programs import OTLP_RECEIVER, Program, grafana_home
from tocsin.stack.service import Layout, Service

PROGRAM_PARTS: dict[str, str] = {
    "prometheus-node-exporter": "node-exporter",
    "otelcol-contrib": "collector",
    "loki": "loki",
    "tempo": "tempo",
    "grafana": "grafana",
}
"""Optional part by its program."""

RESEND_DELAY = "--rules.alert.resend-delay=5s"
"""An alert that fires before Alertmanager is known comes back only after this long (by default a minute). It is also a
quarter of the time that an alert outlives a Prometheus that was killed, so not as short as can be."""


def parts_of(programs: Mapping[str, Program]) -> frozenset[str]:
    """Return the optional parts that these programs (by name) make possible.

    A Collector without any backend has nothing to do and is left out.
    """
    parts = frozenset(part for name, part in PROGRAM_PARTS.items() if name in programs)
    if "collector" in parts and not pipelines_of(programs):
        parts -= {"collector"}
    return parts


def pipelines_of(programs: Mapping[str, Program]) -> frozenset[str]:
    """Return the Collector's pipelines (logs, traces, metrics) that have a backend; none without a Collector."""
    if "otelcol-contrib" not in programs:
        return frozenset()
    parts = frozenset(part for name, part in PROGRAM_PARTS.items() if name in programs)
    return collector_pipelines(parts, features_of(programs))


def features_of(programs: Mapping[str, Program]) -> frozenset[str]:
    """Return what the Prometheus among these programs can do."""
    return programs["prometheus"].features if "prometheus" in programs else frozenset()


def server_services(settings: Settings, layout: Layout, programs: Mapping[str, Program]) -> list[Service]:
    """Return one service per program that was found (by its name in ``programs.NAMES``), in starting order.

    Redis is started for the demo only: what the stack itself needs has no Redis.
    """
    parts = parts_of(programs)
    makers: dict[str, Callable[[Settings, Layout, Program], Service]] = {
        "prometheus": _prometheus,
        "alertmanager": _alertmanager,
        "prometheus-node-exporter": _node_exporter,
        "loki": _loki,
        "tempo": _tempo,
        "otelcol-contrib": _collector,
        "grafana": _grafana,
    }
    wanted = [name for name in makers if name in programs and PROGRAM_PARTS.get(name, name) in parts | _ALWAYS]
    services = [makers[name](settings, layout, programs[name]) for name in wanted]
    if settings.profile == "demo" and "redis-server" in programs:
        services += _demo_redis(settings, layout, programs["redis-server"])
    return services


_ALWAYS = frozenset({"prometheus", "alertmanager"})


def _prometheus(settings: Settings, layout: Layout, program: Program) -> Service:
    where, kept = native_addresses(settings), settings.retention.metrics
    argv = [
        str(program.path),
        f"--config.file={layout.rendered / 'prometheus' / 'prometheus.yml'}",
        f"--storage.tsdb.path={layout.store('prometheus')}",
        f"--storage.tsdb.retention.time={kept.days}d",
        f"--storage.tsdb.retention.size={kept.size}B",
        f"--web.listen-address={where.reach['prometheus']}",
        "--web.enable-lifecycle",  # POST /-/reload; loopback only
        "--web.enable-remote-write-receiver",  # Tempo's generator writes span metrics here
        "--enable-feature=exemplar-storage",
        RESEND_DELAY,
        "--log.level=warn",
    ]
    if OTLP_RECEIVER in program.features:
        argv.append("--web.enable-otlp-receiver")
    url = where.url("prometheus")
    return Service(
        "prometheus",
        tuple(argv),
        settings.ports.prometheus,
        ready_url=f"{url}/-/ready",
        watches=("prometheus/", "rules/"),
        reload_url=f"{url}/-/reload",
    )


def _alertmanager(settings: Settings, layout: Layout, program: Program) -> Service:
    where = native_addresses(settings)
    url = where.url("alertmanager")
    argv = (
        str(program.path),
        f"--config.file={layout.rendered / 'alertmanager' / 'alertmanager.yml'}",
        f"--storage.path={layout.store('alertmanager')}",
        "--data.retention=120h",  # silences and the notification log; longer than any repeat interval
        f"--web.listen-address={where.reach['alertmanager']}",
        "--cluster.listen-address=",  # alone: with gossip the first notification is 2.5 s later
        "--log.level=warn",
    )
    return Service(
        "alertmanager",
        argv,
        settings.ports.alertmanager,
        ready_url=f"{url}/-/ready",
        watches=("alertmanager/",),
        reload_url=f"{url}/-/reload",
    )


def _node_exporter(settings: Settings, _layout: Layout, program: Program) -> Service:
    where = native_addresses(settings)
    argv = (str(program.path), f"--web.listen-address={where.reach['node_exporter']}", "--log.level=warn")
    return Service(
        "node-exporter", argv, settings.ports.node_exporter, ready_url=f"{where.url('node_exporter')}/metrics"
    )


SMALL_HEAP: dict[str, str] = {"GOGC": "40"}
"""For the backends of a local stack: collect at 1.4 times the live heap, not 2. Memory is dearer here than cycles."""


def _loki(settings: Settings, layout: Layout, program: Program) -> Service:
    argv = (str(program.path), f"-config.file={layout.rendered / 'loki' / 'loki.yaml'}")
    ready = f"{native_addresses(settings).url('loki')}/ready"
    grpc = (settings.ports.loki_grpc,)
    return Service("loki", argv, settings.ports.loki, ready_url=ready, watches=("loki/",), more_ports=grpc)


def _tempo(settings: Settings, layout: Layout, program: Program) -> Service:
    argv = (str(program.path), f"-config.file={layout.rendered / 'tempo' / 'tempo.yaml'}")
    ready = f"{native_addresses(settings).url('tempo')}/ready"
    more = (settings.ports.tempo_grpc, settings.ports.tempo_otlp)
    # Tempo may hang on SIGTERM after a query; it has flushed by then, so the SIGKILL after 10 s loses nothing.
    return Service("tempo", argv, settings.ports.tempo, ready, watches=("tempo/",), stop_seconds=10.0, more_ports=more)


def _collector(settings: Settings, layout: Layout, program: Program) -> Service:
    argv = (str(program.path), "--config", str(layout.rendered / "collector" / "collector.yaml"))
    ready = f"{native_addresses(settings).url('collector_health')}/"
    ports = settings.ports
    more = (ports.collector_grpc, ports.collector_health, ports.collector_metrics)
    return Service("collector", argv, ports.collector_http, ready, watches=("collector/",), more_ports=more)


def _grafana(settings: Settings, layout: Layout, program: Program) -> Service:
    home = grafana_home(program.path)
    data = layout.store("grafana")
    argv = (str(program.path), "server", "--homepath", str(home))
    env = {
        "GF_SERVER_HTTP_ADDR": "127.0.0.1",
        "GF_SERVER_HTTP_PORT": str(settings.ports.grafana),
        "GF_PATHS_DATA": str(data),
        "GF_PATHS_LOGS": str(data / "log"),
        "GF_PATHS_PLUGINS": str(data / "plugins"),
        "GF_PATHS_PROVISIONING": str(layout.rendered / "grafana" / "provisioning"),
        # The image's start script knows ..._PASSWORD__FILE; the program itself knows this form.
        "GF_SECURITY_ADMIN_PASSWORD": f"$__file{{{grafana_password(layout)}}}",
        "GF_LOG_MODE": "console",
        **GRAFANA_ENVIRONMENT,
    }
    ready = f"{native_addresses(settings).url('grafana')}/api/health"
    return Service("grafana", argv, settings.ports.grafana, ready_url=ready, env=env, watches=("grafana/",))


GRAFANA_ENVIRONMENT: dict[str, str] = {
    "GF_AUTH_ANONYMOUS_ENABLED": "false",
    "GF_USERS_ALLOW_SIGN_UP": "false",
    "GF_ANALYTICS_REPORTING_ENABLED": "false",
    "GF_ANALYTICS_CHECK_FOR_UPDATES": "false",
    "GF_ANALYTICS_CHECK_FOR_PLUGIN_UPDATES": "false",
    "GF_SECURITY_DISABLE_GRAVATAR": "true",
    "GF_NEWS_NEWS_FEED_ENABLED": "false",
    "GF_PLUGINS_PREINSTALL_DISABLED": "true",
    "GF_DASHBOARDS_MIN_REFRESH_INTERVAL": "1s",
}
"""What Grafana is told in every stack: nobody without the password, nothing sent home, nothing fetched."""


def _demo_redis(settings: Settings, layout: Layout, program: Program) -> list[Service]:
    out = []
    for name, port, extra in (
        ("demo-redis", settings.ports.demo_redis, DEMO_REDIS_FLAGS),
        ("demo-cache", settings.ports.demo_cache, DEMO_CACHE_FLAGS),
    ):
        folder = ("--dir", str(layout.data))  # must exist at the start; nothing is written to it
        argv = (str(program.path), "--port", str(port), "--bind", "127.0.0.1", *folder, *extra)
        out.append(Service(name, argv, port))
    return out


_NOTHING_ON_DISK = ("--save", "", "--appendonly", "no")
DEMO_REDIS_FLAGS: tuple[str, ...] = (*_NOTHING_ON_DISK, "--maxmemory-policy", "noeviction")
"""A queue must never lose a job to memory pressure."""
DEMO_CACHE_FLAGS: tuple[str, ...] = (*_NOTHING_ON_DISK, "--maxmemory", "32mb", "--maxmemory-policy", "allkeys-lru")
"""A cache forgets what is used least."""
