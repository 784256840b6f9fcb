"""Finds the stack's programs on this machine. Each candidate is asked what it is: a name on the PATH proves nothing.

Debian's ``loki``, for one, is a genetics program, and a Tempo of the line before 3 refuses our configuration.
"""

from __future__ import annotations

import functools
import re
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tocsin.stack.pins import PINS

Generation = Literal["debian", "pinned", "other"]
"""``debian`` is the line that Debian 12 packages, ``pinned`` the version that compose pins (or one that tells none)."""

OTLP_RECEIVER = "otlp-receiver"
"""Feature of a Prometheus that takes metrics by OTLP; Debian builds leave it out even where upstream has it."""

_CACHE = Path(".cache/tocsin/bin")
_ASK_SECONDS = 30.0
"""Only a program that hangs takes this long; a large one read from a cold disk takes several seconds."""


@dataclass(frozen=True)
class Program:
    """A program that is what its name says. ``version`` is empty when the build does not tell it."""

    name: str
    path: Path
    version: str
    generation: Generation
    features: frozenset[str] = frozenset()

    @property
    def major(self) -> int:
        """First number of the version; 0 when the build does not tell it."""
        return int(self.version.partition(".")[0] or 0)


@dataclass(frozen=True)
class _Spec:
    """How to recognise one program: its file names, its answer to ``--version``, and where it comes from."""

    files: tuple[str, ...]
    answer: str
    minimum: tuple[int, ...]
    part: str
    debian: str | None = None
    help_must_have: str = ""
    features: Mapping[str, str] = field(default_factory=dict)
    """Feature by the text in ``--help`` that shows it."""


_SPECS: dict[str, _Spec] = {
    "prometheus": _Spec(
        ("prometheus",),
        r"^prometheus, version (\S*) ",
        (2, 42),
        "prometheus",
        "prometheus",
        features={OTLP_RECEIVER: "web.enable-otlp-receiver"},
    ),
    "promtool": _Spec(("promtool",), r"^promtool, version (\S*) ", (2, 42), "prometheus", "prometheus"),
    "alertmanager": _Spec(
        ("alertmanager", "prometheus-alertmanager"),
        r"^alertmanager, version (\S*) ",
        (0, 25),
        "alertmanager",
        "prometheus-alertmanager",
    ),
    "amtool": _Spec(("amtool",), r"^amtool, version (\S*) ", (0, 25), "alertmanager", "prometheus-alertmanager"),
    "redis-server": _Spec(("redis-server",), r"^Redis server v=(\S+)", (5,), "redis", "redis-server"),
    "prometheus-node-exporter": _Spec(
        ("prometheus-node-exporter", "node_exporter"),
        r"^node_exporter, version (\S*) ",
        (1,),
        "node-exporter",
        "prometheus-node-exporter",
    ),
    "otelcol-contrib": _Spec(
        ("otelcol-contrib",), r"^otelcol\S* version v?(\S+)", (0, 145), "collector", help_must_have="validate"
    ),
    # Their help names what our configuration needs: the pattern ingester of Loki 3, the live store of Tempo 3.
    "loki": _Spec(("loki",), r"^loki, version (\S*) ", (3,), "loki", help_must_have="-pattern-ingester.enabled"),
    "tempo": _Spec(("tempo",), r"^tempo, version (\S*) ", (3,), "tempo", help_must_have="-live-store."),
    "grafana": _Spec(("grafana",), r"^grafana version (\S+)", (12,), "grafana"),
}

NAMES: tuple[str, ...] = tuple(_SPECS)
"""Every program that can be looked for."""

DEBIAN_PACKAGES: dict[str, str] = {name: spec.debian for name, spec in _SPECS.items() if spec.debian}
"""Debian package by program, for what Debian packages."""


@dataclass(frozen=True)
class Search:
    """What was found under one name: usable programs in order of preference, and why others were passed over."""

    programs: tuple[Program, ...]
    refused: tuple[str, ...]


def find(name: str, environ: Mapping[str, str]) -> Program | None:
    """Return the first usable program of that name, or None. Raises KeyError for a name not in NAMES."""
    return next(iter(search(name, environ).programs), None)


def search(name: str, environ: Mapping[str, str]) -> Search:
    """Look in TOCSIN_BIN_DIR, then ``~/.cache/tocsin/bin``, then the PATH; answers are kept for this process."""
    folders = tuple(str(folder) for folder in _folders(environ))
    return _search(name, folders)


def where_to_get(name: str) -> str:
    """Say in one sentence how to get a program that is absent."""
    spec = _SPECS[name]
    pin = PINS[spec.part]
    put = f"put {spec.files[0]} {pin.version} from {pin.downloads} into ~/.cache/tocsin/bin or TOCSIN_BIN_DIR"
    if spec.debian:
        return f"on Debian: apt-get install --no-install-recommends {spec.debian}; elsewhere {put}"
    return put


def forget() -> None:
    """Look again at the next call, for whoever has just installed something."""
    _search.cache_clear()


def _folders(environ: Mapping[str, str]) -> Iterator[Path]:
    if chosen := environ.get("TOCSIN_BIN_DIR"):
        yield Path(chosen).absolute()
    if home := environ.get("HOME"):
        yield Path(home) / _CACHE
    for folder in environ.get("PATH", "").split(":"):
        if folder.startswith("/"):
            yield Path(folder)


@functools.cache
def _search(name: str, folders: tuple[str, ...]) -> Search:
    programs: dict[Path, Program] = {}
    refused: list[str] = []
    spec = _SPECS[name]
    for path in (Path(folder, file) for folder in folders for file in spec.files):
        if not path.is_file() or path.resolve() in programs:
            continue
        judged = _judge(name, spec, path)
        if isinstance(judged, Program):
            programs[path.resolve()] = judged
        else:
            refused.append(judged)
    return Search(tuple(programs.values()), tuple(refused))


def _judge(name: str, spec: _Spec, path: Path) -> Program | str:
    """Return the program, or the reason why this file is not it."""
    answer = re.search(spec.answer, _ask(path, "--version"), re.MULTILINE)
    if answer is None:
        return f"{path} does not say that it is {spec.files[0]}"
    version = answer[1]
    if version and _numbers(version) < spec.minimum:
        return f"{path} is {version}, older than {'.'.join(map(str, spec.minimum))}"
    help_text = _ask(path, "--help") if spec.help_must_have or spec.features else ""
    if spec.help_must_have not in help_text:
        return f"{path} is of a release that does not know what our configuration needs ({spec.help_must_have})"
    if name == "grafana" and grafana_home(path) is None:
        return f"{path} has no conf/defaults.ini beside it: unpack the whole archive and link bin/grafana"
    features = frozenset(feature for feature, text in spec.features.items() if text in help_text)
    return Program(name, path, version, _generation(spec, version), features)


def grafana_home(path: Path) -> Path | None:
    """Return the folder with Grafana's own pages and defaults, which the program cannot run without."""
    for home in (path.resolve().parent.parent, Path("/usr/share/grafana")):
        if (home / "conf" / "defaults.ini").is_file():
            return home
    return None


def _generation(spec: _Spec, version: str) -> Generation:
    if version in ("", PINS[spec.part].version):
        return "pinned"
    debian_lines = {"prometheus": (2,), "alertmanager": (0, 25)}
    line = debian_lines.get(spec.part)
    return "debian" if line and _numbers(version)[: len(line)] == line else "other"


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])


def _ask(path: Path, argument: str) -> str:
    """Return all that a program prints; empty when it cannot be run or does not end."""
    with tempfile.TemporaryDirectory() as nowhere:  # an unknown program may write into its working folder
        try:
            done = subprocess.run(
                [path, argument],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=_ASK_SECONDS,
                cwd=nowhere,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return ""
    return done.stdout.decode("utf-8", "replace")
