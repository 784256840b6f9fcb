"""``tocsin break`` and ``tocsin heal``: the switch on the demo platform."""

from __future__ import annotations

import argparse
import difflib
import json
from typing import Any

from tocsin.cli.tables import load_settings
from tocsin.errors import StackError
from tocsin.settings import Settings
from tocsin.stack.ask import ask, reason


def break_(arguments: argparse.Namespace) -> int:
    """Put one fault on, or list what can be broken."""
    settings = load_settings(arguments.config)
    faults: dict[str, str] = _call(settings, "GET", "/-/faults")["faults"]
    if arguments.fault is None:
        _list(faults)
        return 0
    if arguments.fault not in faults:
        close = difflib.get_close_matches(arguments.fault, faults, n=1)
        fix = f"did you mean {close[0]!r}?" if close else f"choose one of {', '.join(faults)}"
        raise StackError(f"there is no fault {arguments.fault!r}", fix=fix)
    _call(settings, "POST", f"/-/faults/{arguments.fault}")
    print(f"{arguments.fault}: {faults[arguments.fault]}")
    print(f"watch it arrive: {settings.external_url}/ — then `make heal`")
    return 0


def heal(arguments: argparse.Namespace) -> int:
    """Take every fault off."""
    settings = load_settings(arguments.config)
    _call(settings, "DELETE", "/-/faults")
    print(f"healed: the pages resolve by themselves, see {settings.external_url}/")
    return 0


def _list(faults: dict[str, str]) -> None:
    print("what can be broken (`make break FAULT=NAME`):")
    width = max(map(len, faults))
    for name, about in faults.items():
        print(f"  {name:<{width}}  {about}")


def _call(settings: Settings, method: str, path: str) -> Any:  # noqa: ANN401  # the demo's JSON
    url = f"http://127.0.0.1:{settings.ports.demo_api}{path}"
    try:
        code, body = ask(url, method=method, timeout=10)
    except OSError as error:
        why = reason(error)
    else:
        if code == 200:
            return json.loads(body)
        why = f"status {code}"
    raise StackError(
        f"the demo does not answer at {url}: {why}",
        fix="start it with `make up`; it runs only with `profile: demo` in the settings",
    )
