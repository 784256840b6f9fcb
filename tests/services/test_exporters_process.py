"""The exporter as its own process, scraped by real Prometheus servers through /discover."""

from __future__ import annotations

import json
import os
import signal
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tests.conftest import Keep
from tests.servers import (
    Generation,
    Server,
    eventually,
    free_port,
    get,
    get_json,
    need,
    post,
    start,
    start_prometheus,
    start_redis,
)

_CANARY = "hunter2-canary"
_BREAKERS = "service: api, breakers: {payments: {path: breakers.payments.state}}"


@pytest.fixture(scope="module")
def health() -> Iterator[int]:
    """A health page with one open breaker; returns its port."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = b'{"breakers": {"payments": {"state": "open"}}}'
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def redis(keep_module: Keep, tmp_path_factory: pytest.TempPathFactory) -> Server:
    return keep_module(start_redis(need("redis-server"), tmp_path_factory.mktemp("redis")))


@pytest.fixture
def frozen(keep: Keep, tmp_path: Path) -> Iterator[Server]:
    """A Redis that accepts connections and answers nothing."""
    server = keep(start_redis(need("redis-server"), tmp_path / "frozen"))
    os.kill(server.process.pid, signal.SIGSTOP)
    yield server
    os.kill(server.process.pid, signal.SIGCONT)


def _config(folder: Path, *targets: str) -> Path:
    path = folder / "tocsin.yaml"
    path.write_text("schema: 1\ntargets:\n" + "".join(f"  - {target}\n" for target in targets))
    return path


def _targets(redis: Server, health: int) -> list[str]:
    return [
        f"{{name: jobs, kind: bullmq, url: 'redis://127.0.0.1:{redis.port}/0', capacity: {{default: 10}}}}",
        f"{{name: cache, kind: redis, url: 'redis://127.0.0.1:{redis.port}/0'}}",
        f"{{name: brk, kind: breaker-json, url: 'http://127.0.0.1:{health}/health', {_BREAKERS}}}",
    ]


def _exporter(config: Path, folder: Path, *more: str) -> Server:
    port = free_port()
    argv: list[str | Path] = [sys.executable, "-m", "tocsin", "exporter", "--config", config]
    return start(
        "exporter", [*argv, "--listen", f"127.0.0.1:{port}", *more], folder=folder, port=port, ready="/-/ready"
    )


_SCRAPE = """
global: {{scrape_interval: 1s}}
scrape_configs:
  - job_name: exporter-targets
    honor_labels: true
    http_sd_configs: [{{url: "{url}/discover", refresh_interval: 1s}}]
  - job_name: exporter
    metrics_path: /-/metrics
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
"""


def _series(prometheus: Server, match: str) -> list[dict[str, str]]:
    found: list[dict[str, str]] = get_json(f"{prometheus.url}/api/v1/series?match[]={match}")["data"]
    return found


def test_prometheus_scrapes_what_is_discovered(
    generation: Generation, keep: Keep, redis: Server, health: int, frozen: Server, tmp_path: Path
) -> None:
    """Each target is its own instance; no series has an exported_ label; a frozen target costs the others nothing."""
    hung = f"{{name: hung, kind: redis, url: 'redis://127.0.0.1:{frozen.port}/0'}}"
    exporter = keep(_exporter(_config(tmp_path, *_targets(redis, health), hung), tmp_path))
    config = _SCRAPE.format(url=exporter.url, port=exporter.port)
    prometheus = keep(start_prometheus(generation.prometheus, tmp_path / "prometheus", config))
    ups = eventually(lambda: _all_up(prometheus, 4))
    assert ups == {"jobs": "1", "cache": "1", "brk": "1", "hung": "0"}
    every = _series(prometheus, '{job=~".%2B"}')
    assert not [name for labels in every for name in labels if name.startswith("exported_")]
    scraped = {labels["instance"] for labels in every if labels["job"] == "exporter-targets"}
    assert scraped == {"jobs", "cache", "brk", "hung"}
    assert all(labels["target"] == labels["instance"] for labels in every if labels["job"] == "exporter-targets")
    assert _series(prometheus, 'circuit_breaker_state{state="open",target="brk"}')
    scrapes = get_json(f"{prometheus.url}/api/v1/targets")["data"]["activeTargets"]
    assert {scrape["health"] for scrape in scrapes} == {"up"}


def _all_up(prometheus: Server, count: int) -> dict[str, str] | None:
    found = get_json(f"{prometheus.url}/api/v1/query?query=tocsin_target_up")["data"]["result"]
    return {each["metric"]["target"]: each["value"][1] for each in found} if len(found) == count else None


def test_every_page_is_clean(keep: Keep, redis: Server, health: int, tmp_path: Path) -> None:
    """Promtool has nothing to say about any page, in the process as it runs."""
    exporter = keep(_exporter(_config(tmp_path, *_targets(redis, health)), tmp_path))
    argv = [need("promtool").path, "check", "metrics"]
    for path in ("/metrics", "/-/metrics", "/probe?target=jobs", "/probe?target=brk"):
        done = subprocess.run(argv, input=get(exporter.url + path), capture_output=True, check=False)
        assert (path, done.returncode, done.stdout + done.stderr) == (path, 0, b"")


def test_no_secret_is_in_any_output(keep: Keep, redis: Server, health: int, tmp_path: Path) -> None:
    """Canary secrets are in no page, no log line and no error, whether they are right or wrong."""
    (tmp_path / "secret").write_text(f"{_CANARY}-file\n")
    _, cache, breaker = _targets(redis, health)
    targets = [
        cache.replace("}", ", password_file: secret}"),
        breaker.replace("service: api", "service: api, token_file: secret"),
    ]
    exporter = keep(_exporter(_config(tmp_path, *targets), tmp_path))
    paths = ("/", "/metrics", "/-/metrics", "/discover", "/probe?target=cache", "/probe?target=brk")
    pages = b"".join(get(exporter.url + path) for path in paths)
    assert b'tocsin_target_up{target="cache"} 0.0' in pages
    assert b'tocsin_scrape_errors_total{reason="auth",target="cache"}' in pages
    exporter.stop()
    assert _CANARY.encode() not in pages + exporter.log.read_bytes()


def test_a_secret_that_changes_is_read_again(keep: Keep, tmp_path: Path) -> None:
    """A rotated password needs no restart and no reload."""
    (tmp_path / "secret").write_text("wrong")
    server = keep(start_redis(need("redis-server"), tmp_path / "redis", "--requirepass", "right"))
    target = f"{{name: cache, kind: redis, url: 'redis://127.0.0.1:{server.port}/0', password_file: secret}}"
    exporter = keep(_exporter(_config(tmp_path, target), tmp_path))
    assert b'tocsin_target_up{target="cache"} 0.0' in get(f"{exporter.url}/metrics")
    (tmp_path / "secret").write_text("right")
    assert b'tocsin_target_up{target="cache"} 1.0' in get(f"{exporter.url}/metrics")


@pytest.mark.parametrize("way", ["post", "sighup"])
def test_a_new_configuration_is_taken_and_a_bad_one_refused(
    keep: Keep, redis: Server, health: int, tmp_path: Path, way: str
) -> None:
    """Both ways of reloading add targets without losing counters; a broken file leaves the old ones running."""
    targets = _targets(redis, health)
    exporter = keep(_exporter(_config(tmp_path, targets[0]), tmp_path))

    def reload() -> None:
        if way == "sighup":
            os.kill(exporter.process.pid, signal.SIGHUP)
        else:
            post(f"{exporter.url}/-/reload")

    _config(tmp_path, *targets)
    reload()
    eventually(lambda: _names(exporter) == ["jobs", "cache", "brk"])
    (tmp_path / "tocsin.yaml").write_text("schema: 1\ntargets: [{name: x, kind: nope}]\n")
    if way == "post":
        with pytest.raises(OSError, match="the old configuration stays"):
            reload()
    else:
        reload()
    eventually(lambda: b"tocsin_exporter_config_ok 0.0" in get(f"{exporter.url}/-/metrics"))
    assert _names(exporter) == ["jobs", "cache", "brk"]


def _names(exporter: Server) -> list[str]:
    return [group["labels"]["target"] for group in get_json(f"{exporter.url}/discover")]


def test_shards_share_the_targets(keep: Keep, redis: Server, health: int, tmp_path: Path) -> None:
    """Two processes with --shard hold every target once, and send a visitor to the right one."""
    config = _config(tmp_path, *_targets(redis, health))
    shards = [keep(_exporter(config, tmp_path / str(i), "--shard", f"{i}/2")) for i in range(2)]
    mine = [_names(shard) for shard in shards]
    assert sorted(mine[0] + mine[1]) == ["brk", "cache", "jobs"]
    stranger = next(name for name in ("brk", "cache", "jobs") if name not in mine[0])
    with pytest.raises(OSError, match="belongs to shard 1/2"):
        get(f"{shards[0].url}/probe?target={stranger}")


def test_token_and_tls_guard_the_listener(generation: Generation, keep: Keep, redis: Server, tmp_path: Path) -> None:
    """With a certificate and a token, a real Prometheus that knows both gets in, and nobody else; so does the table."""
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=127.0.0.1"),
            *("-addext", "subjectAltName=IP:127.0.0.1", "-keyout", tmp_path / "key.pem"),
            *("-out", tmp_path / "cert.pem"),
        ],
        check=True,
        capture_output=True,
    )
    (tmp_path / "token").write_text(_CANARY)
    config = _config(tmp_path, f"{{name: cache, kind: redis, url: 'redis://127.0.0.1:{redis.port}/0'}}")
    port = free_port()
    argv: list[str | Path] = [sys.executable, "-m", "tocsin", "exporter", "--config", config]
    argv += ["--listen", f"127.0.0.1:{port}", "--token-file", tmp_path / "token"]
    argv += ["--certificate", tmp_path / "cert.pem", "--key", tmp_path / "key.pem"]
    exporter = keep(start("exporter", argv, folder=tmp_path, port=port, ready=None))
    with pytest.raises(OSError, match=r"(?i)ssl|reset|disconnect|remote end"):
        get(f"http://127.0.0.1:{port}/metrics")
    trusted = ssl.create_default_context(cafile=tmp_path / "cert.pem")
    with pytest.raises(urllib.error.HTTPError, match="401") as refused:
        urllib.request.urlopen(f"https://127.0.0.1:{port}/metrics", context=trusted, timeout=10)
    refused.value.close()
    access = (
        f"scheme: https\n    authorization: {{credentials_file: {tmp_path / 'token'}}}\n"
        f"    tls_config: {{ca_file: {tmp_path / 'cert.pem'}}}"
    )
    prometheus = keep(
        start_prometheus(
            generation.prometheus,
            tmp_path / "prometheus",
            "global: {scrape_interval: 1s}\nscrape_configs:\n  - job_name: exporter\n    honor_labels: true\n"
            f"    {access}\n    static_configs: [{{targets: ['127.0.0.1:{port}']}}]\n",
        )
    )
    assert eventually(lambda: _all_up(prometheus, 1)) == {"cache": "1"}
    ask = [sys.executable, "-m", "tocsin", "targets", "--config", config, "--exporter", f"https://127.0.0.1:{port}"]
    done = subprocess.run(
        [*ask, "--token-file", tmp_path / "token"],
        env={**os.environ, "SSL_CERT_FILE": str(tmp_path / "cert.pem")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout.split()[9:12] == ["up", "cache", "redis"]) == (0, True), (
        done.stdout + done.stderr
    )
    exporter.stop()
    assert _CANARY.encode() not in exporter.log.read_bytes()


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--certificate", "cert.pem"], "needs its key"),
        (["--certificate", "cert.pem", "--key", "tocsin.yaml"], "cannot be used"),
        (["--token-file", "nowhere"], "cannot be read"),
    ],
)
def test_a_listener_that_cannot_be_guarded_does_not_start(tmp_path: Path, flags: list[str], says: str) -> None:
    """A missing key, token or a wrong certificate is one message and exit code 1, never an open listener."""
    config = _config(tmp_path, "{name: cache, kind: redis, url: 'redis://127.0.0.1:1/0'}")
    argv = [sys.executable, "-m", "tocsin", "exporter", "--config", config, "--listen", f"127.0.0.1:{free_port()}"]
    done = subprocess.run([*argv, *flags], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=30)
    assert (done.returncode, says in done.stderr, "Traceback" in done.stderr) == (1, True, False), done.stderr


def test_it_ends_cleanly_and_logs_json(keep: Keep, redis: Server, health: int, tmp_path: Path) -> None:
    """SIGTERM ends the process with exit code 0; each log line is JSON."""
    exporter = keep(_exporter(_config(tmp_path, *_targets(redis, health)), tmp_path))
    get(f"{exporter.url}/metrics")
    exporter.stop()
    assert exporter.process.returncode == 0
    lines: list[dict[str, Any]] = [json.loads(line) for line in exporter.log.read_text().splitlines()]
    assert [line["message"] for line in lines] == ["exporter.started", "exporter.stopped"]


def test_a_taken_port_is_one_clear_message(keep: Keep, redis: Server, tmp_path: Path) -> None:
    """The second exporter on a port says so, says what to do, and ends with 1."""
    config = _config(tmp_path, f"{{name: cache, kind: redis, url: 'redis://127.0.0.1:{redis.port}/0'}}")
    first = keep(_exporter(config, tmp_path))
    argv = [sys.executable, "-m", "tocsin", "exporter", "--config", config, "--listen", f"127.0.0.1:{first.port}"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 1
    assert f"cannot listen on 127.0.0.1:{first.port}: Address already in use" in done.stderr
    assert "Traceback" not in done.stderr
