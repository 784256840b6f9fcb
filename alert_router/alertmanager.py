"""Alertmanager's API v2: silences, and which alerts it has."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from alert_router.outbound import Answer, HttpClient
from tocsin.errors import StackError, Transient


@dataclass(frozen=True)
class Matcher:
    """One label test of a silence, as Alertmanager has it."""

    name: str
    value: str
    regex: bool = False
    equal: bool = True

    def __str__(self) -> str:
        sign = {(True, False): "=", (False, False): "!=", (True, True): "=~", (False, True): "!~"}
        return f'{self.name}{sign[self.equal, self.regex]}"{self.value}"'

    def holds(self, labels: Mapping[str, str]) -> bool:
        """Whether the labels pass this test."""
        value = labels.get(self.name, "")
        found = bool(re.fullmatch(self.value, value)) if self.regex else value == self.value
        return found == self.equal


@dataclass(frozen=True)
class Silence:
    """Muting by people, with an end. Times are unix seconds; ``state`` is pending, active or expired."""

    id: str
    matchers: tuple[Matcher, ...]
    starts: float
    ends: float
    created_by: str
    comment: str
    state: str

    def mutes(self, labels: Mapping[str, str]) -> bool:
        """Whether it is active and an alert with these labels is muted by it."""
        return self.state == "active" and all(matcher.holds(labels) for matcher in self.matchers)


_MATCHER = re.compile(r"""\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*(=~|!~|!=|=)\s*(?:"([^"]*)"|(.*?))\s*""")


def parse_matcher(text: str) -> Matcher:
    """Read ``name=value``, ``name!=value``, ``name=~regex`` or ``name!~regex``. Raises StackError with the form."""
    match = _MATCHER.fullmatch(text)
    if match is None:
        msg = f"{text!r} is not a matcher"
        raise StackError(msg, fix="write name=value, name!=value, name=~regex or name!~regex")
    name, sign, quoted, bare = match.groups()
    return Matcher(name, quoted if quoted is not None else bare, regex="~" in sign, equal="!" not in sign)


class Alertmanager:
    """A client of one Alertmanager. All calls raise StackError when it does not answer or refuses."""

    def __init__(self, base: str, http: HttpClient) -> None:
        self._base = f"{base}/api/v2"
        self._http = http

    async def add_silence(
        self, matchers: Sequence[Matcher], length: timedelta, *, created_by: str, comment: str, now: float
    ) -> Silence:
        """Mute what the matchers match for a length of time; returns the silence with its id."""
        starts = datetime.fromtimestamp(now, UTC)
        body = {
            "matchers": [{"name": m.name, "value": m.value, "isRegex": m.regex, "isEqual": m.equal} for m in matchers],
            "startsAt": starts.isoformat(),
            "endsAt": (starts + length).isoformat(),
            "createdBy": created_by,
            "comment": comment,
        }
        answer = await self._ask("POST", "/silences", json=body)
        ends = now + length.total_seconds()
        return Silence(str(answer["silenceID"]), tuple(matchers), now, ends, created_by, comment, "active")

    async def silences(self) -> list[Silence]:
        """Silences that are not expired, the one that ends first at the front."""
        found = [_silence(raw) for raw in await self._ask("GET", "/silences")]
        return sorted((one for one in found if one.state != "expired"), key=lambda one: one.ends)

    async def expire_silence(self, ident: str) -> None:
        """End a silence now."""
        if not re.fullmatch(r"[0-9a-fA-F-]{1,64}", ident):
            msg = f"{ident[:80]!r} is not the id of a silence"
            raise StackError(msg, fix="take an id from `tocsin silence list`")
        await self._ask("DELETE", f"/silence/{ident}")

    async def fingerprints(self) -> frozenset[str]:
        """Fingerprints of all alerts that it has, muted ones too."""
        params = {"active": "true", "silenced": "true", "inhibited": "true", "unprocessed": "true"}
        return frozenset(str(raw["fingerprint"]) for raw in await self._ask("GET", "/alerts", params=params))

    async def started(self) -> float:
        """When it was started (unix seconds)."""
        status = await self._ask("GET", "/status")
        return datetime.fromisoformat(status["uptime"]).timestamp()

    async def _ask(
        self, method: str, path: str, *, json: object = None, params: Mapping[str, str] | None = None
    ) -> Any:  # noqa: ANN401  # JSON of another program: each caller takes it apart
        fix = "see `tocsin status`; the router keeps delivering meanwhile"
        try:
            answer = await self._http.request(method, f"{self._base}{path}", json=json, params=params)
        except Transient as error:
            msg = f"Alertmanager does not answer: {error}"
            raise StackError(msg, fix=fix) from None
        if answer.status >= 300:
            msg = f"Alertmanager refuses ({answer.status}): {_reason(answer)}"
            raise StackError(msg, fix=fix)
        return answer.json


def _reason(answer: Answer) -> str:
    said = answer.json if isinstance(answer.json, str) else answer.text
    return " ".join(said.split())[:300] or "no reason given"


def _silence(raw: Mapping[str, Any]) -> Silence:
    return Silence(
        str(raw["id"]),
        tuple(Matcher(m["name"], m["value"], m["isRegex"], m.get("isEqual", True)) for m in raw["matchers"]),
        datetime.fromisoformat(raw["startsAt"]).timestamp(),
        datetime.fromisoformat(raw["endsAt"]).timestamp(),
        str(raw.get("createdBy", "")),
        str(raw.get("comment", "")),
        str(raw["status"]["state"]),
    )
