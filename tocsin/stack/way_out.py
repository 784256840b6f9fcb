"""Alertmanager's configuration, with the last way out: what says that the router is down must leave without it.

The last way out goes to those destinations of the settings that Alertmanager can speak to by itself.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from tocsin.settings import DestinationSettings, Secret, Settings, format_duration
from tocsin.stack.addresses import Addresses
from tocsin.stack.derive import read_base, relocate, write_yaml
from tocsin.stack.service import Layout

_BASE = "alertmanager/alertmanager.yml"
_RECEIVER = "last-way-out"
_SUMMARY = "{{ .CommonLabels.alertname }}: {{ .CommonAnnotations.summary }}"
_TEXT = (
    "{{ range .Alerts }}{{ .Annotations.description }} ({{ .Annotations.value }})\n{{ end }}"
    "Sent by Alertmanager itself, because the alert router does not deliver."
)

SecretFile = Callable[[str, Secret], str]
"""Name of a field and its secret → the file that Alertmanager reads it from."""


def alertmanager_yml(settings: Settings, layout: Layout, where: Addresses) -> str:
    """Return alertmanager.yml for one stack. Secrets are named by their files, see ``write_secret_files``."""
    tree = relocate(yaml.safe_load(read_base(_BASE)), where)
    times = settings.intervals
    tree["route"] |= {
        "group_wait": format_duration(times.group_wait),
        "group_interval": format_duration(times.group_interval),
        "repeat_interval": format_duration(times.repeat),
    }
    for receiver in tree["receivers"]:
        for webhook in receiver["webhook_configs"]:
            webhook["http_config"]["authorization"]["credentials_file"] = str(layout.router_token)
    native = _native_configs(settings, layout)
    if native:
        receiver = next(receiver for receiver in tree["receivers"] if receiver["name"] == _RECEIVER)
        receiver |= native
    else:
        tree["route"]["routes"] = [route for route in tree["route"]["routes"] if route["receiver"] != _RECEIVER]
        tree["receivers"] = [receiver for receiver in tree["receivers"] if receiver["name"] != _RECEIVER]
    return write_yaml(tree, _BASE)


def write_secret_files(settings: Settings, layout: Layout) -> None:
    """Write the secrets that came from the environment into files that only this user may read.

    Alertmanager reads secrets from files only; those that have a file already stay where they are.
    """
    wanted: dict[Path, str] = {}

    def note(name: str, field: str, secret: Secret) -> str:
        path = _secret_path(layout, name, field, secret)
        if secret.path is None:
            wanted[path] = secret.get()
        return str(path)

    for name, destination in way_out(settings).items():
        _native(destination, lambda field, secret, name=name: note(name, field, secret))  # type: ignore[misc]
    for path, value in wanted.items():
        write_private(path, value)


def write_private(path: Path, value: str) -> None:
    """Write a file of mode 600 in one step; a file that holds the value already is left alone."""
    with contextlib.suppress(OSError):
        if path.read_text(encoding="utf-8") == value:
            return
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    part = path.with_name(path.name + ".part")
    part.unlink(missing_ok=True)
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(value)
    part.replace(path)


def way_out(settings: Settings) -> dict[str, DestinationSettings]:
    """Return the destinations of the last way out: those that critical pages go to, else all that Alertmanager knows."""
    able = {name: item for name, item in settings.destinations.items() if item.kind in _KINDS}
    critical = next((route for route in settings.routes if route.match.holds({"severity": "critical"})), None)
    told = {name: able[name] for name in critical.to if name in able} if critical else {}
    return told or able


def _native_configs(settings: Settings, layout: Layout) -> dict[str, list[dict[str, Any]]]:
    out: dict[str, list[dict[str, Any]]] = {}
    for name, destination in way_out(settings).items():

        def path(field: str, secret: Secret, name: str = name) -> str:
            return str(_secret_path(layout, name, field, secret))

        key, config = _native(destination, path)
        out.setdefault(key, []).append(config)
    return out


def _secret_path(layout: Layout, name: str, field: str, secret: Secret) -> Path:
    return secret.path.absolute() if secret.path else layout.secrets / f"destination-{name}-{field}"


def _native(destination: DestinationSettings, secret_file: SecretFile) -> tuple[str, dict[str, Any]]:
    return _KINDS[destination.kind](destination, secret_file)


def _slack(settings: Any, secret_file: SecretFile) -> tuple[str, dict[str, Any]]:  # noqa: ANN401  # see _KINDS
    credentials = secret_file("token", settings.token)
    return "slack_configs", {
        # With a bot token the address is that of the method, and the token goes into the header.
        "api_url": f"{settings.api_url.rstrip('/')}/chat.postMessage",
        "http_config": {"authorization": {"credentials_file": credentials}, "follow_redirects": False},
        "channel": settings.channel,
        "send_resolved": True,
        "title": _SUMMARY,
        "text": _TEXT,
    }


def _pagerduty(settings: Any, secret_file: SecretFile) -> tuple[str, dict[str, Any]]:  # noqa: ANN401  # see _KINDS
    return "pagerduty_configs", {
        "routing_key_file": secret_file("routing_key", settings.routing_key),
        "url": settings.events_url,
        "send_resolved": True,
        "description": _SUMMARY,
        "severity": "critical",
    }


def _email(settings: Any, secret_file: SecretFile) -> tuple[str, dict[str, Any]]:  # noqa: ANN401  # see _KINDS
    config = {
        "to": ", ".join(settings.to),
        "from": settings.sender,
        "smarthost": f"{settings.host}:{settings.port}",
        "require_tls": settings.tls == "starttls",  # on port 465 Alertmanager speaks TLS from the start
        "send_resolved": True,
        "headers": {"Subject": _SUMMARY},
        "text": _TEXT,
        "html": "",
    }
    if settings.user and settings.password is not None:
        config |= {"auth_username": settings.user, "auth_password_file": secret_file("password", settings.password)}
    return "email_configs", config


_KINDS: dict[str, Callable[[Any, SecretFile], tuple[str, dict[str, Any]]]] = {
    "slack": _slack,
    "pagerduty": _pagerduty,
    "email": _email,
}
"""Destinations that Alertmanager can speak to by itself; each function takes the settings type of that kind."""
