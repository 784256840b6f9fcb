"""The one HTTP client: the only module that imports httpx, so that another library is one file's change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import httpx

from tocsin.errors import Transient

DEFAULT_TIMEOUT = 10.0


@dataclass(frozen=True)
class Answer:
    """What a server said."""

    status: int
    headers: Mapping[str, str]
    text: str
    json: Any
    """The parsed body, or None when it is not JSON."""


class HttpClient:
    """A small HTTP client with pooled connections. ``transport`` is the seam for tests."""

    def __init__(self, *, timeout: float = DEFAULT_TIMEOUT, transport: httpx.AsyncBaseTransport | None = None) -> None:
        # A proxy from the environment is for the outside, never for the stack's own parts on this machine.
        direct = dict.fromkeys(("all://127.0.0.1", "all://localhost", "all://[::1]"), transport)
        # Redirects are never followed: they would carry credentials elsewhere.
        self._client = httpx.AsyncClient(timeout=timeout, transport=transport, mounts=direct, follow_redirects=False)

    async def request(
        self,
        method: str,
        url: str,
        *,
        json: object = None,
        params: Mapping[str, str | int | float] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send one request and read the whole answer, whatever its status. Raises Transient when there is none."""
        try:
            response = await self._client.request(
                method, url, json=json, params=cast("dict[str, str]", params), headers=headers
            )
        except httpx.TimeoutException as error:
            raise Transient("timeout", f"no answer in time ({type(error).__name__})") from None
        except httpx.HTTPError as error:
            secure = "SSL" in str(error) or "certificate" in str(error)
            raise Transient(
                "tls" if secure else "network", f"no connection ({type(error).__name__}: {_plain(error)})"
            ) from None
        return Answer(response.status_code, response.headers, response.text, _json(response))

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()


def _plain(error: Exception) -> str:
    return str(error).splitlines()[0][:200] if str(error) else "no detail"


def _json(response: httpx.Response) -> object:
    try:
        return response.json()
    except ValueError:
        return None
