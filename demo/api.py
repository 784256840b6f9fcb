"""The demo's API: products through a cache, orders through a circuit breaker into a queue."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import random
from collections.abc import AsyncIterator
from typing import Annotated, Any

import redis.asyncio
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request, Response
from pydantic import BaseModel, Field
from redis.exceptions import RedisError

from demo import faults
from demo.breaker import Breaker, Refused
from demo.config import CAPACITY, FILL, PRODUCTS, QUEUE, Addresses
from demo.faults import FAULTS, Switch
from demo.metrics import MeasureRequests, exposition, registry
from demo.orders import Orders

_log = logging.getLogger("demo.api")

_CACHE_SECONDS = 600
_DATABASE_SECONDS = 0.02
_ROUTES = (
    ("GET", "/products/{product_id}", (200, 404, 500)),
    ("POST", "/orders", (202, 429, 500, 503)),
)


class Order(BaseModel):
    """What a customer sends."""

    product: int = Field(ge=1, le=PRODUCTS)
    quantity: int = Field(default=1, ge=1, le=10)


class PaymentsAwayError(Exception):
    """The payment provider did not answer."""


class Platform:
    """The connections and the state behind the pages; opened at start-up, not at import."""

    def __init__(self, where: Addresses) -> None:
        self.where = where
        self.switch = Switch(where.redis_url, queue=QUEUE)
        self.orders = Orders(where.redis_url)
        self.cache: redis.asyncio.Redis = redis.asyncio.from_url(where.cache_url, socket_timeout=2.0)
        self.breaker = Breaker()
        self._chance = random.Random()  # noqa: S311  # chance of faults, not of secrets

    async def trouble(self) -> None:
        """Do to a request what the faults say. Raises HTTPException 500."""
        if self.switch.on("api-slow"):
            await asyncio.sleep(self._chance.uniform(0.8, 1.4))
        if self.switch.on("api-errors") and self._chance.random() < 0.6:
            _log.error("demo.request.failed", extra={"why": "the fault api-errors is on"})
            raise HTTPException(500, "something broke")

    async def product(self, number: int) -> dict[str, Any]:
        """Read a product through the cache."""
        # A cold cache is one whose keys nobody has written yet: a release that changed them does just that.
        key = f"product:{self._chance.getrandbits(64)}" if self.switch.on("cache-cold") else f"product:{number}"
        found = await self.cache.get(key)
        if found is not None:
            return dict(json.loads(found))
        await asyncio.sleep(_DATABASE_SECONDS)
        made = {"id": number, "name": f"Product {number}", "price_cents": 100 * number}
        if not self.switch.on("cache-cold"):
            # Spread out, or everything that was stored together would go together.
            await self.cache.set(key, json.dumps(made), ex=_CACHE_SECONDS + self._chance.randint(0, 60))
        return made

    async def pay(self) -> str:
        """Take a payment now, or say that it is taken later: an order is never lost to a payment provider."""
        try:
            await self.breaker.call(self._payment_provider)
        except (Refused, PaymentsAwayError):
            return "deferred"
        return "taken"

    async def react(self) -> None:
        """Keep the queue full while the worker is stopped."""
        missing = FILL - self.switch.waiting
        if self.switch.on("worker-stopped") and missing > 0:
            await self.orders.flood(missing)

    async def close(self) -> None:
        """Close all connections."""
        await self.switch.close()
        await self.orders.close()
        await self.cache.aclose()

    async def _payment_provider(self) -> None:
        await asyncio.sleep(0.005)
        if self.switch.on("breaker-open"):
            raise PaymentsAwayError


def _platform(request: Request) -> Platform:
    platform: Platform = request.app.state.platform
    return platform


Here = Annotated[Platform, Depends(_platform)]

business = APIRouter()
"""What customers ask."""

machines = APIRouter()
"""What health checks, scrapers and the fault switch ask."""


@business.get("/products/{product_id}")
async def product(product_id: int, platform: Here) -> dict[str, Any]:
    """Tell about one product."""
    await platform.trouble()
    if not 1 <= product_id <= PRODUCTS:
        raise HTTPException(404, "no such product")
    return await platform.product(product_id)


@business.post("/orders", status_code=202)
async def order(wanted: Order, platform: Here) -> dict[str, str]:
    """Take an order into the queue."""
    await platform.trouble()
    if platform.switch.waiting >= CAPACITY:
        raise HTTPException(429, "too many orders are waiting; try again later")
    payment = await platform.pay()
    try:
        number = await platform.orders.place(wanted.product, wanted.quantity, payment)
    except (RedisError, OSError):
        _log.exception("demo.order.lost")
        raise HTTPException(503, "orders cannot be taken right now") from None
    return {"order": number, "payment": payment}


@machines.get("/health")
async def health(platform: Here) -> dict[str, Any]:
    """Tell the state of the circuit breakers."""
    return {"status": "ok", "breakers": {"payments": {"state": platform.breaker.state}}}


@machines.get("/metrics")
async def metrics(request: Request) -> Response:
    """Tell Prometheus."""
    body, content_type = exposition(request.app.state.registry, request.headers.get("accept", ""))
    return Response(body, headers={"content-type": content_type})


@machines.get("/-/healthy")
async def healthy() -> dict[str, str]:
    """Say that the process is alive."""
    return {"status": "ok"}


@machines.get("/-/faults")
async def list_faults(platform: Here) -> dict[str, Any]:
    """List the faults and which of them are on."""
    await platform.switch.look()
    return {"faults": FAULTS, "active": sorted(platform.switch.active)}


@machines.post("/-/faults/{name}")
async def break_(name: str, platform: Here) -> dict[str, str]:
    """Put one fault on."""
    try:
        await faults.set_fault(platform.where.redis_url, name)
    except KeyError:
        raise HTTPException(404, f"no such fault; known: {', '.join(FAULTS)}") from None
    await platform.switch.look()
    return {name: FAULTS[name]}


@machines.delete("/-/faults")
async def heal(platform: Here) -> dict[str, str]:
    """Take every fault off."""
    await faults.clear(platform.where.redis_url)
    await platform.switch.look()
    return {"status": "healed"}


def make_app(where: Addresses) -> MeasureRequests:
    """Make the API. Nothing is connected before it starts."""

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        platform = app.state.platform = Platform(where)
        following = asyncio.create_task(platform.switch.follow(platform.react))
        yield
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        await platform.close()

    app = FastAPI(title="Demo shop", lifespan=lifespan, openapi_url=None)
    app.state.registry = registry()
    app.include_router(business)
    app.include_router(machines)
    return MeasureRequests(app, registry=app.state.registry, known=_ROUTES)
