"""Alertmanager's configuration, with the last way out: what says that the router is down must leave without it.

The last way out goes to those destinations of the settings that Alertmanager can speak to by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import yaml

from tocsin.settings import DestinationSettings, Secret, Settings, format_duration
from tocsin.stack.addresses import Addresses
from tocsin.stack.derive import read_base, relocate, write_yaml
from tocsin.stack.service import Layout

if TYPE_CHECKING:  # the notifiers' own libraries are not needed to write a file
    from alert_router.notifiers.email import EmailSettings
    from alert_router.notifiers.pagerduty import PagerDutySettings
    from alert_router.notifiers.slack import SlackSettings

_BASE = "alertmanager/alertmanager.yml"
_RECEIVER = "last-way-out"
_SUMMARY = "{{ .CommonLabels.alertname }}: {{ .CommonAnnotations.summary }}"
_TEXT = (
    "{{ range .Alerts }}{{ .Annotations.description }} ({{ .Annotations.value }})\n{{ end }}"
    "Sent by Alertmanager itself, because the alert router does not deliver."
)

SecretFile = Callable[[str, Secret], str]
"""Name of a field and its secret → the file that Alertmanager reads it from."""
NativeConfig = tuple[str, dict[str, Any]]
"""Key of a receiver, such as ``slack_configs``, and one entry under it."""


def alertmanager_yml(settings: Settings, layout: Layout, where: Addresses) -> str:
    """Return alertmanager.yml for one stack. Secrets are named by their files."""
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
    native = _native_configs(settings, lambda name, field, secret: _secret_path(layout, name, field, secret))
    if native:
        receiver = next(receiver for receiver in tree["receivers"] if receiver["name"] == _RECEIVER)
        receiver |= native
    else:
        tree["route"]["routes"] = [route for route in tree["route"]["routes"] if route["receiver"] != _RECEIVER]
        tree["receivers"] = [receiver for receiver in tree["receivers"] if receiver["name"] != _RECEIVER]
    return write_yaml(tree, _BASE)


def secrets_from_environment(settings: Settings, layout: Layout) -> dict[Path, str]:
    """Return what must be written to files (see ``private``) because Alertmanager reads secrets from files only.

    Secrets that have a file already stay where they are.
    """
    from_environment: dict[Path, str] = {}

    def note(name: str, field: str, secret: Secret) -> Path:
        path = _secret_path(layout, name, field, secret)
        if secret.path is None:
            from_environment[path] = secret.get()
        return path

    _native_configs(settings, note)
    return from_environment


def way_out(settings: Settings) -> dict[str, DestinationSettings]:
    """Return the destinations of the last way out: those that critical pages go to, else all that it can speak to."""
    able = {name: item for name, item in settings.destinations.items() if _speaks(item)}
    critical = next((route for route in settings.routes if route.match.holds({"severity": "critical"})), None)
    told = {name: able[name] for name in critical.to if name in able} if critical else {}
    return told or able


def _speaks(destination: DestinationSettings) -> bool:
    """Say whether Alertmanager can reach it; TLS from the first byte it speaks on port 465 only."""
    if destination.kind == "email":
        email = cast("EmailSettings", destination)
        return email.tls != "tls" or email.real_port == 465
    return destination.kind in _KINDS


def _native_configs(
    settings: Settings, secret_path: Callable[[str, str, Secret], Path]
) -> dict[str, list[dict[str, Any]]]:
    """Return the receiver's entries; ``secret_path`` takes destination, field and secret."""
    out: dict[str, list[dict[str, Any]]] = {}
    for name, destination in way_out(settings).items():

        def secret_file(field: str, secret: Secret, name: str = name) -> str:
            return str(secret_path(name, field, secret))

        key, config = _KINDS[destination.kind](destination, secret_file)
        out.setdefault(key, []).append(config)
    return out


def _secret_path(layout: Layout, name: str, field: str, secret: Secret) -> Path:
    return secret.path.absolute() if secret.path else layout.secrets / f"destination-{name}-{field}"


def _slack(settings: SlackSettings, secret_file: SecretFile) -> NativeConfig:
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


def _pagerduty(settings: PagerDutySettings, secret_file: SecretFile) -> NativeConfig:
    return "pagerduty_configs", {
        "routing_key_file": secret_file("routing_key", settings.routing_key),
        "url": settings.events_url,
        "send_resolved": True,
        "description": _SUMMARY,
        "severity": "critical",
    }


def _email(settings: EmailSettings, secret_file: SecretFile) -> NativeConfig:
    config = {
        "to": ", ".join(settings.to),
        "from": settings.sender,
        "smarthost": f"{settings.host}:{settings.real_port}",
        "require_tls": settings.tls == "starttls",  # on port 465 Alertmanager speaks TLS from the start
        "send_resolved": True,
        "headers": {"Subject": _SUMMARY},
        "text": _TEXT,
        "html": "",
    }
    if settings.user and settings.password is not None:
        config |= {"auth_username": settings.user, "auth_password_file": secret_file("password", settings.password)}
    return "email_configs", config


_KINDS: dict[str, Callable[[Any, SecretFile], NativeConfig]] = {
    "slack": _slack,
    "pagerduty": _pagerduty,
    "email": _email,
}
"""Destinations that Alertmanager can speak to by itself; each function takes the settings type of that kind."""
