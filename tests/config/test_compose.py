"""compose.yaml, checked as far as that goes without an engine."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

import tocsin
from tocsin.paths import HOUSE
from tocsin.settings import Ports, Settings
from tocsin.stack.addresses import CONTAINERS, IN_CONTAINERS, native_addresses
from tocsin.stack.configs import HOST_PROFILE
from tocsin.stack.native import Found, python_services
from tocsin.stack.otlp import DISTRO, otlp_environment
from tocsin.stack.pins import PINS
from tocsin.stack.programs import OTLP_RECEIVER, Program
from tocsin.stack.servers import DEMO_CACHE_FLAGS, DEMO_REDIS_FLAGS, GRAFANA_ENVIRONMENT, server_services
from tocsin.stack.service import Layout

COMPOSE: dict[str, Any] = yaml.safe_load((HOUSE / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = sorted(name for name, service in SERVICES.items() if "build" in service)
THEIRS = sorted(set(SERVICES) - set(OURS))
RENDERED_BY_INIT = {"prometheus", "alertmanager", "collector", "loki", "tempo"}
PIPELINES = frozenset({"logs", "traces", "metrics"})

each = pytest.mark.parametrize("name", sorted(SERVICES))
settings = Settings.model_validate({"schema": 1, "profile": "demo"})


def _native() -> dict[str, list[str]]:
    """Return the command lines of the native stack with every program there is, by service."""
    names = (
        "prometheus",
        "alertmanager",
        "loki",
        "tempo",
        "otelcol-contrib",
        "redis-server",
        "prometheus-node-exporter",
    )
    programs = {name: Program(name, Path(name), "", "pinned", frozenset({OTLP_RECEIVER})) for name in names}
    layout = Layout(Path("/data"))
    services = server_services(settings, layout, programs) + python_services(settings, layout, Found(programs, {}))
    return {service.name: list(service.argv) for service in services}


def _flags(arguments: list[str]) -> dict[str, str]:
    return dict((*argument.partition("=")[::2],) for argument in arguments if argument.startswith("-"))


def test_it_follows_the_compose_schema() -> None:
    """The file is valid by the schema of the compose specification: no misspelt key."""
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run([*command, HOUSE / "compose.yaml"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_part_has_its_service() -> None:
    """Whatever the configuration names as a host is a service here, and the other way round."""
    hosts = {address.partition(":")[0] for address in CONTAINERS.values()}
    assert hosts | {"init", "gate"} == set(SERVICES)


@pytest.mark.parametrize("name", THEIRS)
def test_images_are_those_of_the_pin_table(name: str) -> None:
    """Every image of others stands at exactly the tag of the pin table."""
    part = {"demo-redis": "redis", "demo-cache": "redis"}.get(name, name)
    assert SERVICES[name]["image"] == PINS[part].reference


def test_no_tag_floats() -> None:
    """Every tag is an exact version, never `latest` or a bare major."""
    images = {service["image"] for service in SERVICES.values()}
    assert all(re.fullmatch(r"[^:]+:v?\d+\.\d+\.\d+(-\w+)?", image) for image in images), images
    assert {SERVICES[name]["image"] for name in OURS} == {f"tocsin:{tocsin.__version__}"}


@each
def test_ports_are_published_on_loopback_only(name: str) -> None:
    """Each published port is bound to 127.0.0.1 and is the one that tocsin.yaml's `ports:` has by default."""
    numbers = set(Ports().model_dump().values())
    for port in SERVICES[name].get("ports", ()):
        host, published, target = port.split(":")
        assert host == "127.0.0.1"
        assert int(published) in numbers
        assert f"{name}:{target}" in CONTAINERS.values()


def test_published_ports_mean_the_same_as_in_the_native_stack() -> None:
    """An address that people know from one mode leads to the same part in the other."""
    native = {address.rpartition(":")[2]: name for name, address in native_addresses(settings).reach.items()}
    for name, service in SERVICES.items():
        for port in service.get("ports", ()):
            _, published, target = port.split(":")
            assert CONTAINERS[native[published]] == f"{name}:{target}"


@each
def test_containers_are_hardened(name: str) -> None:
    """Each runs as a user, on a read-only root, without capabilities, with bounded memory and logs."""
    service = SERVICES[name]
    assert service["user"] == "10001:10001"
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert "privileged" not in service
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert re.fullmatch(r"\d+[MG]", service["deploy"]["resources"]["limits"]["memory"])
    assert service["logging"] == {"driver": "json-file", "options": {"max-size": "5m", "max-file": "2"}}


@each
def test_no_secret_stands_in_the_file(name: str) -> None:
    """Passwords and tokens come from files of a volume or of secrets/, or from .env; none has a default here."""
    for key, value in SERVICES[name].get("environment", {}).items():
        if re.search(r"PASSWORD|TOKEN|SECRET|KEY", key):
            assert key.endswith("__FILE"), key
            assert str(value).startswith("/data/secrets/"), value


@each
def test_nobody_reaches_the_engine(name: str) -> None:
    """No container gets the engine's socket: that is root on the host."""
    assert not [mount for mount in SERVICES[name].get("volumes", ()) if "docker.sock" in mount["source"]]


@each
def test_bind_mounts_exist_and_are_read_only(name: str) -> None:
    """Each bind mount is there on a fresh clone, and no container may write to it."""
    for mount in SERVICES[name].get("volumes", ()):
        if mount["type"] == "bind":
            assert (HOUSE / mount["source"]).exists(), mount
            assert mount["read_only"] is True, mount


@pytest.mark.parametrize("name", sorted(set(SERVICES) - {"init", "node-exporter"}))
def test_a_service_sees_only_its_own_files(name: str) -> None:
    """Beside the settings and the secrets folder, no service but init mounts anything of the checkout."""
    mounts = {m["source"] for m in SERVICES[name].get("volumes", ()) if m["type"] == "bind"}
    assert mounts <= {"./tocsin.yaml", "./secrets"}


def test_volumes_belong_to_the_user_of_all() -> None:
    """Init mounts every volume from our image, others never let their image give it an owner; so 10001 owns them."""
    made = {m["source"] for m in SERVICES["init"]["volumes"] if m["type"] == "volume"}
    assert made == set(COMPOSE["volumes"])
    for name in THEIRS:
        for mount in SERVICES[name].get("volumes", ()):
            if mount["type"] == "volume":
                assert mount["volume"] == {"nocopy": True}, (name, mount)


def test_volumes_are_folders_of_our_image() -> None:
    """The Dockerfile makes a folder, owned by 10001, for each place where a volume is mounted."""
    made = set(re.findall(r"[\w/-]+", re.search(r"for folder in ([^;]+);", _dockerfile())[1]))  # type: ignore[index]
    wanted = {
        mount["target"].removeprefix("/data/")
        for name in OURS
        for mount in SERVICES[name].get("volumes", ())
        if mount["type"] == "volume"
    }
    covered = {folder for one in made for folder in (one, *map(str, Path(one).parents))}
    assert wanted <= covered


def _dockerfile() -> str:
    return (HOUSE / "Dockerfile").read_text().replace("\\\n", " ")


def test_grafana_sees_no_secret_but_its_own() -> None:
    """The router's token and the destinations' secrets are out of Grafana's reach."""
    sources = {mount["source"] for mount in SERVICES["grafana"]["volumes"]}
    assert not sources & {"secrets", "./secrets"}


@pytest.mark.parametrize("name", sorted({"exporter", "router", "gate", "grafana"} | RENDERED_BY_INIT))
def test_everything_waits_for_init(name: str) -> None:
    """Nothing that reads rendered files or secrets starts before init has written them."""
    assert SERVICES[name]["depends_on"]["init"] == {"condition": "service_completed_successfully"}


def test_senders_of_telemetry_end_before_the_collector() -> None:
    """Compose stops dependents first, so the last spans and logs of each service still find the Collector."""
    senders = {name for name, service in SERVICES.items() if DISTRO in service.get("command", ())}
    assert senders == {"exporter", "router", "demo-api", "demo-worker"}
    assert all(SERVICES[name]["depends_on"]["collector"] == {"condition": "service_started"} for name in senders)


def test_init_ends_and_gate_stays() -> None:
    """Init runs once; gate keeps running, since `up --wait` counts a service that ended as failed."""
    assert SERVICES["init"]["restart"] == "no"
    assert SERVICES["gate"]["restart"] == "unless-stopped"
    assert SERVICES["gate"]["command"][-1].endswith("exec sleep infinity")
    assert SERVICES["gate"]["healthcheck"]["test"] == ["CMD", "tocsin", "status"]


def test_init_mounts_what_it_renders_from() -> None:
    """An edit in a configuration folder takes effect without a new image."""
    mounted = {m["source"]: m["target"] for m in SERVICES["init"]["volumes"] if m["type"] == "bind"}
    folders = {f"./{name}" for name in (*RENDERED_BY_INIT, "dashboards/provisioning")}
    assert folders | {"./tocsin.yaml", "./secrets"} <= set(mounted)
    assert all(target == f"/app/{source.removeprefix('./')}" for source, target in mounted.items())


@pytest.mark.parametrize("name", ["exporter", "router", "demo-api", "demo-worker"])
def test_python_services_start_as_the_native_ones_do(name: str) -> None:
    """The same command line starts a Python service in a container and as a process, but for address and file."""
    native = _native()[name]
    assert Path(native[0]).name == DISTRO
    native = ["python", *native[2:]]
    if "--config" in native:  # in a container the settings stand where tocsin looks by itself
        at = native.index("--config")
        native[at : at + 2] = []
    if native[:3] == ["python", "-m", "tocsin"]:
        native[:3] = ["tocsin"]
    here = SERVICES[name]["command"]
    assert here[0] == DISTRO
    assert here[1:-1] == native[:-1]
    assert here[-1] == f"0.0.0.0:{CONTAINERS[name.replace('-', '_')].rpartition(':')[2]}"


@pytest.mark.parametrize("name", ["exporter", "router", "demo-api", "demo-worker"])
def test_telemetry_of_python_services_is_that_of_the_native_ones(name: str) -> None:
    """The variables of OpenTelemetry are exactly those that the native stack sets."""
    here = {key: value for key, value in SERVICES[name]["environment"].items() if key.startswith("OTEL_")}
    assert here == otlp_environment(name, f"http://{CONTAINERS['collector_http']}", PIPELINES)


@pytest.mark.parametrize("name", ["exporter", "router", "gate", "init"])
def test_our_services_know_where_they_are(name: str) -> None:
    """Each of our services knows that it runs in a container, and the addresses are those of the services."""
    environment = SERVICES[name]["environment"]
    assert environment[IN_CONTAINERS]
    for key, value in environment.items():
        if match := re.fullmatch(r"TOCSIN_(\w+)_URL", key):
            if name == "router" and match[1] == "GRAFANA":
                assert value == f"http://127.0.0.1:{Ports().grafana}", "the address that people use"
                continue
            part = {"COLLECTOR": "collector_http"}.get(match[1], match[1].lower())
            assert value == f"http://{CONTAINERS[part]}"


def test_the_demo_has_one_address_everywhere() -> None:
    """Whoever reads tocsin.yaml sees the demo at the same addresses."""
    keys = {"DEMO_REDIS", "DEMO_CACHE", "DEMO_API", "DEMO_WORKER"}
    for name in ("init", "exporter", "router", "gate", "demo-api", "demo-worker"):
        assert {key: SERVICES[name]["environment"][key] for key in keys} == {
            key: CONTAINERS[key.lower()] for key in keys
        }


@pytest.mark.parametrize("name", ["prometheus", "alertmanager", "loki", "tempo", "collector", "node-exporter"])
def test_servers_start_as_the_native_ones_do(name: str) -> None:
    """The servers' flags are those of the native stack, but for addresses, folders and what the file says here."""
    differ = {"--web.listen-address", "--web.external-url", "--config.file", "-config.file", "--config"}
    differ |= {"--storage.tsdb.path", "--storage.path", "--path.rootfs"}
    differ |= {"--storage.tsdb.retention.time", "--storage.tsdb.retention.size"}  # in the file, for containers
    native = {key: value for key, value in _flags(_native()[name]).items() if key not in differ}
    here = {key: value for key, value in _flags(SERVICES[name]["command"]).items() if key not in differ}
    assert here == native


def test_redis_and_grafana_are_told_the_same_as_the_native_ones() -> None:
    """The demo's two Redis and Grafana behave the same in both modes."""
    for name, flags in (("demo-redis", DEMO_REDIS_FLAGS), ("demo-cache", DEMO_CACHE_FLAGS)):
        assert SERVICES[name]["command"] == ["redis-server", "--protected-mode", "no", *flags]
    assert GRAFANA_ENVIRONMENT.items() <= SERVICES["grafana"]["environment"].items()


def test_host_metrics_are_asked_for() -> None:
    """The node exporter, which sees the host, starts only with its profile; everything else starts by itself."""
    assert {name: service["profiles"] for name, service in SERVICES.items() if "profiles" in service} == {
        "node-exporter": [HOST_PROFILE]
    }


@each
def test_health_is_asked_soon_and_honestly(name: str) -> None:
    """A probe starts at once, bounded in time, without a shell; what has no probe of its own is asked by gate."""
    probe = SERVICES[name].get("healthcheck")
    if probe is None:
        assert name in {"init", "collector", "grafana", "node-exporter"}
        return
    assert probe["test"][0] == "CMD"
    assert "start_interval" in probe
    assert "timeout" in probe
    assert not {"curl", "wget", "true"} & set(probe["test"]), "not in every image, or cannot fail"
