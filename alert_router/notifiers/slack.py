"""Slack by a bot token: one message per episode, edited by every change, with a reply in its thread."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from alert_router.notifiers.base import NotifierKind, Outgoing, Receipt, Tools, retry_after
from alert_router.page import Page
from alert_router.text import cut, mrkdwn
from tocsin.errors import DeliveryError, Permanent, RateLimited, TooLarge, Transient
from tocsin.settings import DestinationSettings, HttpBase, Secret

if TYPE_CHECKING:
    from slack_sdk.web.async_client import AsyncWebClient
    from slack_sdk.web.async_slack_response import AsyncSlackResponse

SECTION_CHARACTERS = 2900
"""Slack takes 3,000 per section; escaping may add a few."""
BLOCKS = 45
BLOCK_CHARACTERS_IN_ALL = 12_000
"""Undocumented limit of about 13.2 k over all blocks."""
POST_SECONDS = 1.05
"""About one message per second and channel."""
RATE_LIMIT_SECONDS = 30.0

_COLOURS = {"critical": "#d92d20", "warning": "#e8850c", "info": "#2e6fd8"}
_RESOLVED_COLOUR = "#2e9e5b"
_GONE = {"message_not_found", "cant_update_message", "edit_window_closed", "is_inactive", "thread_not_found"}
_AUTH = {
    "invalid_auth", "not_authed", "account_inactive", "token_revoked", "token_expired", "no_permission",
    "missing_scope", "org_login_required", "ekm_access_denied", "not_allowed_token_type", "access_denied",
}  # fmt: skip
_NOT_FOUND = {"channel_not_found", "not_in_channel", "is_archived", "team_access_not_granted", "restricted_action"}
_TOO_LARGE = {
    "msg_too_long", "msg_blocks_too_long", "invalid_blocks", "invalid_blocks_format", "invalid_attachments",
    "too_many_attachments", "no_text", "metadata_too_large",
}  # fmt: skip
_TRANSIENT = {"internal_error", "fatal_error", "service_unavailable", "request_timeout", "team_added_to_org", ""}
"""An answer without a name of an error comes from something between us and Slack."""
_RATE_LIMITED = {"ratelimited", "rate_limited", "message_limit_exceeded"}


class SlackSettings(DestinationSettings):
    """A Slack channel, written to by an app with the scope chat:write that was invited to it."""

    kind: Literal["slack"]
    channel: str = Field(min_length=1, description="Name with # or id of the channel.")
    token: Secret = Field(description="The app's bot token (xoxb-…).")
    api_url: Annotated[HttpBase, Field(description="Base of Slack's Web API.")] = "https://slack.com/api"


class Pacer:
    """Keeps calls a given time apart, from the end of one to the start of the next (seconds), one at a time."""

    def __init__(
        self,
        gap: float,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._gap = gap
        self._monotonic = monotonic
        self._sleep = sleep
        self._next = 0.0
        self._turn = asyncio.Lock()

    @contextlib.asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for the next free moment, and take it."""
        async with self._turn:
            wait = self._next - self._monotonic()
            if wait > 0:
                await self._sleep(wait)
            try:
                yield
            finally:
                self._next = self._monotonic() + self._gap


class SlackNotifier:
    """Posts, edits and replies through slack_sdk; its own retries are off, because the ledger retries."""

    def __init__(self, settings: SlackSettings, tools: Tools, client: AsyncWebClient) -> None:
        self._settings = settings
        self._tools = tools
        self._client = client
        self._pacer = Pacer(POST_SECONDS, sleep=tools.sleep)

    async def send(self, message: Outgoing) -> Receipt:
        """Post the episode's message, or edit it and reply in its thread."""
        body = self._body(message)
        if message.thread is None:
            return await self._post(body, "posted")
        channel, ts = message.thread["channel"], message.thread["ts"]
        try:
            await self._call("chat.update", channel=channel, ts=ts, **body)
        except _MessageGoneError:
            # Somebody deleted it, or it is too old to edit: the news is worth a new message.
            return await self._post(body, "the old message is gone; posted anew")
        async with self._pacer.turn():
            await self._call("chat.postMessage", channel=channel, thread_ts=ts, text=_reply(message.page))
        return Receipt(dict(message.thread), f"edited the message {ts} in {channel} and replied in its thread")

    async def probe(self) -> str:
        """Ask Slack who the token is; the channel can only be tried by posting."""
        answer = await self._call("auth.test")
        return f"the token is {answer.get('user', 'a bot')} of {answer.get('team', 'a workspace')}"

    async def aclose(self) -> None:
        """Close the connections."""
        if self._client.session is not None:
            await self._client.session.close()

    async def _post(self, body: dict[str, Any], what: str) -> Receipt:
        async with self._pacer.turn():
            answer = await self._call("chat.postMessage", channel=self._settings.channel, unfurl_links=False, **body)
        # Edits need the channel's id, which only the answer tells.
        channel, ts = str(answer["channel"]), str(answer["ts"])
        return Receipt({"channel": channel, "ts": ts}, f"{what} as {ts} in {channel}")

    def _body(self, message: Outgoing) -> dict[str, Any]:
        page = message.page
        title = _title(page)
        if message.size == "line":
            return {
                "text": mrkdwn(self._tools.renderer.message("slack.{size}.txt.j2", page, "line")),
                "attachments": [],
            }
        text = self._tools.renderer.message("slack.{size}.txt.j2", page, message.size)
        colour = _RESOLVED_COLOUR if page.status == "resolved" else _COLOURS[page.severity]
        blocks = [{"type": "section", "text": {"type": "mrkdwn", "text": part}} for part in _sections(text)]
        attachment = {"color": colour, "fallback": cut(page.summary, 300), "blocks": blocks}
        return {"text": title, "attachments": [attachment]}

    async def _call(self, method: str, **arguments: object) -> AsyncSlackResponse:
        from slack_sdk.errors import SlackApiError  # noqa: PLC0415  # 13 MB that only Slack users need

        try:
            self._client.token = self._settings.token.get()
        except OSError as error:
            raise Permanent("auth", f"the token's file cannot be read: {error.strerror}") from None
        try:
            return await self._client.api_call(method, json=arguments)
        except SlackApiError as error:
            # For a body that is no JSON the SDK hands over aiohttp's own response, which has other names.
            status = getattr(error.response, "status_code", getattr(error.response, "status", 0))
            data = getattr(error.response, "data", None)
            name = str(data.get("error", "")) if isinstance(data, dict) else ""
            raise self._refusal(int(status), name, error.response.headers) from None
        except Exception as error:  # noqa: BLE001  # the one edge where the SDK's and aiohttp's errors become ours
            raise _translated(error) from None

    def _refusal(self, status: int, name: str, headers: Mapping[str, str]) -> DeliveryError:
        shown = cut(name, 60) or str(status)
        found: DeliveryError = Permanent("rejected", f"Slack refuses the message: {shown}")
        if status == 429 or name in _RATE_LIMITED:
            wait = retry_after(headers, now=self._tools.clock())
            not_before = self._tools.clock() + (RATE_LIMIT_SECONDS if wait is None else wait)
            found = RateLimited("Slack asks to wait (429)", not_before=not_before)
        elif name in _GONE:
            found = _MessageGoneError("not_found", f"Slack: {shown}")
        elif name in _AUTH:
            found = Permanent("auth", f"Slack refuses the token: {shown}")
        elif name in _NOT_FOUND:
            hint = "invite the app to the channel, or correct its name"
            found = Permanent("not_found", f"Slack cannot post to {self._settings.channel}: {shown}; {hint}")
        elif name in _TOO_LARGE or status == 413:
            found = TooLarge(f"Slack refuses the message: {shown}")
        elif status in (401, 403):
            found = Permanent("auth", f"Slack answered {status}")
        elif status == 404:
            found = Permanent("not_found", "nothing answers at the API address (404)")
        elif status >= 500 or name in _TRANSIENT:
            found = Transient("server_error", f"Slack answered {status} {shown if name else ''}".rstrip())
        return found


def _translated(error: Exception) -> Exception:
    """Turn what the SDK and aiohttp raise into ours; their texts name host and port, never the token."""
    import aiohttp  # noqa: PLC0415  # only Slack users need it
    from slack_sdk.errors import SlackClientError  # noqa: PLC0415  # only Slack users need it

    if isinstance(error, TimeoutError):
        return Transient("timeout", "Slack did not answer in time")
    if isinstance(error, aiohttp.ClientSSLError):
        return Transient("tls", f"no secure connection to Slack ({type(error).__name__})")
    if isinstance(error, aiohttp.ClientError | OSError):
        return Transient("network", f"no connection to Slack ({type(error).__name__})")
    if isinstance(error, SlackClientError | ValueError):
        return Transient("server_error", f"no answer of Slack's ({type(error).__name__})")
    return error


class _MessageGoneError(Permanent):
    """The message that should be edited is not there any more."""


def _title(page: Page) -> str:
    if page.status == "resolved":
        return cut(f":white_check_mark: *RESOLVED* after {page.lasted} · {mrkdwn(page.summary)}", SECTION_CHARACTERS)
    sign = {"critical": ":red_circle:", "warning": ":large_orange_circle:"}.get(page.severity, ":large_blue_circle:")
    return cut(f"{sign} *{page.tag}* · {mrkdwn(page.summary)}", SECTION_CHARACTERS)


def _reply(page: Page) -> str:
    value = f" · {mrkdwn(page.value)}" if page.value and page.status == "firing" else ""
    sign = ":white_check_mark: " if page.status == "resolved" else ""
    return cut(f"{sign}{page.state_text[:1].upper()}{page.state_text[1:]}{value}", SECTION_CHARACTERS)


def _sections(text: str) -> list[str]:
    """Blank lines end a section; what is over Slack's limits is cut, visibly."""
    parts = [cut(part.strip(), SECTION_CHARACTERS) for part in text.split("\n\n") if part.strip()]
    out: list[str] = []
    left = BLOCK_CHARACTERS_IN_ALL
    for part in parts[:BLOCKS]:
        if left < 200:
            break
        out.append(cut(part, left))
        left -= len(part)
    return out


def _open(_name: str, settings: SlackSettings, tools: Tools) -> SlackNotifier:
    from aiohttp import ClientSession, ClientTimeout  # noqa: PLC0415  # see below
    from slack_sdk.web.async_client import AsyncWebClient  # noqa: PLC0415  # 13 MB that only Slack users need

    # One session for all calls: without it each call opens its own connection.
    session = ClientSession(timeout=ClientTimeout(total=15))
    client = AsyncWebClient(base_url=f"{settings.api_url}/", session=session, timeout=15, retry_handlers=[])
    return SlackNotifier(settings, tools, client)


SLACK_KIND = NotifierKind("slack", SlackSettings, _open)
