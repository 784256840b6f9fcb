"""``python -m demo api|worker --listen HOST:PORT``, ``python -m demo break FAULT``, ``python -m demo heal``."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence

from demo.config import Addresses, addresses
from tocsin.telemetry import setup_logging


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 ok, 1 the demo does not answer or refuses, 2 usage."""
    arguments = _parser().parse_args(argv)
    where = addresses()
    if arguments.command == "api":
        return _api(where, arguments.listen)
    if arguments.command == "worker":
        return _worker(where, arguments.listen)
    if arguments.command == "break":
        path = f"/-/faults/{arguments.fault}" if arguments.fault else "/-/faults"
        return _ask(where, "POST" if arguments.fault else "GET", path)
    return _ask(where, "DELETE", "/-/faults")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="demo", description=sys.modules["demo"].__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, port, about in (("api", 18080, "the shop's API"), ("worker", 18081, "the worker and its customers")):
        command = commands.add_parser(name, help=f"run {about}")
        command.add_argument("--listen", metavar="HOST:PORT", default=f"127.0.0.1:{port}")
    break_ = commands.add_parser("break", help="put a fault on, or list them")
    break_.add_argument("fault", nargs="?", metavar="FAULT")
    commands.add_parser("heal", help="take every fault off")
    return parser


def _api(where: Addresses, listen: str) -> int:
    # Each process imports its own half only: that is where the demo's memory goes.
    from demo.api import make_app  # noqa: PLC0415  # see above
    from demo.serving import serve  # noqa: PLC0415  # see above

    setup_logging("demo-api")
    asyncio.run(serve(make_app(where), listen, lifespan="on"))
    return 0


def _worker(where: Addresses, listen: str) -> int:
    from demo.worker import work  # noqa: PLC0415  # see _api

    setup_logging("demo-worker")
    asyncio.run(work(where, listen))
    return 0


def _ask(where: Addresses, method: str, path: str) -> int:
    request = urllib.request.Request(f"http://{where.api}{path}", method=method)  # always http
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310  # always http
            print(json.dumps(json.load(answer), indent=2, ensure_ascii=False))
    except urllib.error.HTTPError as error:
        print(json.load(error).get("detail", error.reason), file=sys.stderr)
        return 1
    except OSError as error:
        print(f"the demo does not answer at {where.api}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
