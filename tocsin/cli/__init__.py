"""The command line: one parser, one function per command, loaded only when it is called.

Exit codes everywhere: 0 ok, 1 findings (or the thing did not work), 2 wrong usage.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import tocsin
from tocsin.cli.slo_commands import add_tools
from tocsin.cli.slo_generate import add_generate
from tocsin.errors import ConfigError, StackError, TocsinError

if TYPE_CHECKING:
    _Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001  # has no public name

_EPILOG = """\
exit codes: 0 ok, 1 findings, 2 wrong usage
start here: `tocsin up`, then open the printed inbox address, then `tocsin break worker-stopped`
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    arguments = parser().parse_args(argv)
    run: Callable[[argparse.Namespace], int] = getattr(
        importlib.import_module(f"tocsin.cli.{arguments.module}"), arguments.function
    )
    try:
        return run(arguments)
    except ConfigError as error:
        errors = sum(problem.level == "error" for problem in error.problems)
        print(f"{error}\n{errors} error{'' if errors == 1 else 's'}; nothing was changed", file=sys.stderr)
    except StackError as error:
        print(f"{error}\n    fix: {error.fix}", file=sys.stderr)
    except TocsinError as error:
        print(error, file=sys.stderr)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
    except BrokenPipeError:
        sys.stderr.close()
    return 1


def parser() -> argparse.ArgumentParser:
    """Return the whole command line."""
    whole = argparse.ArgumentParser(
        prog="tocsin",
        description="Watch queues, databases, caches and breakers, and bring the right page to the right person.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    whole.add_argument("--version", action="version", version=f"tocsin {tocsin.__version__}")
    commands = whole.add_subparsers(metavar="COMMAND", required=True)
    _settings_commands(commands)
    _stack_commands(commands)
    _serving_commands(commands)
    _telling_commands(commands)
    _slo_commands(commands)
    _demo_commands(commands)
    return whole


def _add(commands: _Commands, name: str, where: str, about: str, more: str = "") -> argparse.ArgumentParser:
    """Add a command whose code is ``module:function`` under tocsin.cli; all commands take --config."""
    module, _, function = where.partition(":")
    command = commands.add_parser(name, help=about, description=f"{about[:1].upper()}{about[1:]}. {more}".strip())
    command.set_defaults(module=module, function=function)
    command.add_argument(
        "--config",
        type=Path,
        default=Path(os.environ.get("TOCSIN_CONFIG", "tocsin.yaml")),
        metavar="FILE",
        help="the settings file (default: tocsin.yaml, or TOCSIN_CONFIG)",
    )
    return command


def _format(command: argparse.ArgumentParser) -> None:
    command.add_argument("--format", choices=("text", "json"), default="text", help="json is for programs")


def _settings_commands(commands: _Commands) -> None:
    command = _add(commands, "check", "check:check", "find everything that is wrong in the settings file")
    command.add_argument(
        "--connect", action="store_true", help="also try every target and every destination (no message is sent)"
    )
    command.add_argument(
        "--timeout", type=float, default=5.0, metavar="SECONDS", help="per connection (default: %(default)g)"
    )
    _format(command)
    command = _add(commands, "init", "init:init", "write a commented settings file to start from")
    command.add_argument("--force", action="store_true", help="replace an existing file")
    command = _add(
        commands,
        "render",
        "render:render",
        "write the rules, dashboards and server configuration that follow from the settings",
        "For the committed demo settings these are the generated/ folders, for any other file .tocsin/rendered/.",
    )
    command.add_argument("--check", action="store_true", help="write nothing; exit 1 when a file is not up to date")


def _stack_commands(commands: _Commands) -> None:
    command = _add(
        commands,
        "up",
        "up:up",
        "start the whole stack and return when it is healthy",
        "Runs again on a running stack, it applies what changed in the settings.",
    )
    command.add_argument(
        "--mode", choices=("auto", "compose", "native"), default="auto", help="containers or processes"
    )
    command.add_argument("--wait", type=float, default=90.0, metavar="SECONDS", help="give up after this long")
    _add(commands, "down", "up:down", "stop the stack, leave no process behind, keep the data")
    _add(commands, "reload", "up:reload", "apply what changed in the settings to the running stack")
    command = _add(commands, "clean", "up:clean", "delete the stack's data directory (asks first)")
    command.add_argument("--yes", action="store_true", help="do not ask")
    command = _add(commands, "status", "status:status", "tell the health of each part of the stack")
    command.add_argument(
        "--wait",
        nargs="?",
        type=float,
        const=60.0,
        default=0.0,
        metavar="SECONDS",
        help="wait until all is healthy, at most this long (default: 60)",
    )
    _format(command)


def _serving_commands(commands: _Commands) -> None:
    command = _add(commands, "exporter", "serve:exporter", "serve the metrics of all targets to Prometheus")
    command.add_argument("--listen", metavar="HOST:PORT", help="default: 127.0.0.1 and the port in the settings")
    command.add_argument("--shard", metavar="I/N", help="serve only every N-th target, counted from 0")
    command.add_argument(
        "--token-file", type=Path, metavar="FILE", help="ask everybody for this bearer token (read again on change)"
    )
    command.add_argument("--certificate", type=Path, metavar="PEM", help="speak TLS with this certificate")
    command.add_argument("--key", type=Path, metavar="PEM", help="the key that belongs to the certificate")
    command = _add(
        commands,
        "targets",
        "targets:targets",
        "tell how every target is: up, why not, duration, samples, folded, last error",
        "Asks the running exporter; nothing is read for it.",
    )
    command.add_argument("--exporter", metavar="URL", help="an exporter elsewhere (default: the one of the settings)")
    command.add_argument("--token-file", type=Path, metavar="FILE", help="the exporter's bearer token")
    _format(command)
    command = _add(commands, "router", "serve:router", "take Alertmanager's webhooks and deliver them")
    command.add_argument("--listen", metavar="HOST:PORT", help="default: 127.0.0.1 and the port in the settings")


def _telling_commands(commands: _Commands) -> None:
    command = _add(
        commands,
        "send-test",
        "telling:send_test",
        "send one real test message to a destination and print what came back",
    )
    command.add_argument("destination", metavar="DESTINATION", help="a name from the settings, or `inbox`")
    command = _add(commands, "why", "telling:why", "tell the story of a page: who was told what, when, and why")
    command.add_argument("group", metavar="GROUP", help="the id on the page (or its beginning), or an alert's name")
    _format(command)
    silence = _add(commands, "silence", "telling:silence_list", "add, list or end silences")
    actions = silence.add_subparsers(metavar="ACTION", required=True)
    command = _add(actions, "add", "telling:silence_add", "silence the alerts that match")
    command.add_argument(
        "matchers", nargs="+", metavar="LABEL=VALUE", help="also LABEL=~REGEX, LABEL!=VALUE, LABEL!~REGEX"
    )
    command.add_argument("--for", dest="duration", default="1h", metavar="DURATION", help="default: %(default)s")
    command.add_argument("--comment", default="silenced from the command line", help="why")
    command.add_argument("--by", default=None, help="who (default: the user running this)")
    _format(_add(actions, "list", "telling:silence_list", "list the silences that hold"))
    command = _add(actions, "expire", "telling:silence_expire", "end a silence now")
    command.add_argument("id", metavar="ID", help="as printed by `silence list`; the beginning is enough")
    command = _add(commands, "explain", "telling:explain", "say what an alert means and when it fires")
    command.add_argument("alert", metavar="ALERT", nargs="?", help="an alert's name; without one all are listed")


def _slo_commands(commands: _Commands) -> None:
    slo = _add(commands, "slo", "slo:generate", "write, check, replay and explain SLOs")
    actions = slo.add_subparsers(metavar="ACTION", required=True)

    def add(name: str, where: str, about: str, more: str = "") -> argparse.ArgumentParser:
        return _add(actions, name, where, about, more)

    add_generate(add)
    add_tools(add)


def _demo_commands(commands: _Commands) -> None:
    command = _add(commands, "break", "demo:break_", "put a fault on the demo platform")
    command.add_argument("fault", metavar="FAULT", nargs="?", help="without one, the faults are listed")
    _add(commands, "heal", "demo:heal", "take every fault off the demo platform")
