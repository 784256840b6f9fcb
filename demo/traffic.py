"""Customers: a small steady stream of requests against the API."""

from __future__ import annotations

import asyncio
import concurrent.futures
import http.client
import json
import logging
import random

from demo.config import PRODUCTS

_log = logging.getLogger("demo.traffic")

_PER_SECOND = 5
_ORDER_EACH = 5
"""Every so many requests is an order, the others look at products."""
_AT_ONCE = 8
_TIMEOUT_SECONDS = 5.0


async def traffic(api: str) -> None:
    """Send requests to HOST:PORT until cancelled. An API that is away or slow is no reason to stop."""
    with concurrent.futures.ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="customer") as pool:
        loop = asyncio.get_running_loop()
        running: set[asyncio.Future[None]] = set()
        number = 0
        while True:
            # Customers do not wait for each other: a slow answer must not thin out the traffic.
            if len(running) < _AT_ONCE:
                number += 1
                future = loop.run_in_executor(pool, _request, api, number % _ORDER_EACH == 0)
                running.add(future)
                future.add_done_callback(running.discard)
            await asyncio.sleep(1 / _PER_SECOND)


def _request(api: str, order: bool) -> None:  # noqa: FBT001  # an executor passes by position
    product = random.randint(1, PRODUCTS)  # noqa: S311  # which product does not matter
    connection = http.client.HTTPConnection(api, timeout=_TIMEOUT_SECONDS)
    try:
        if order:
            body = json.dumps({"product": product, "quantity": 1})
            connection.request("POST", "/orders", body, {"Content-Type": "application/json"})
        else:
            connection.request("GET", f"/products/{product}")
        connection.getresponse().read()
    except (OSError, http.client.HTTPException) as error:
        _log.debug("demo.traffic.failed", extra={"error": type(error).__name__})
    finally:
        connection.close()
