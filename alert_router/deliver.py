"""One attempt: from a leased job to what came of it. Knows sizes and error classes, but no provider and no ledger."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random

from alert_router.ledger import Job, Outcome
from alert_router.notifiers.base import SEND_SECONDS, Notifier, Outgoing, Receipt
from alert_router.page import Event, Page, Site, make_page
from alert_router.retry import next_backoff
from alert_router.text import SIZES
from tocsin.errors import DeliveryError, Permanent, RateLimited, TooLarge, Transient

_log = logging.getLogger(__name__)

REPEATED = "Sent again: an earlier try may have arrived, its answer never did."
INFERRED = "Alertmanager does not have these alerts any more and never said that they ended; taken as resolved."


@dataclass(frozen=True)
class Surroundings:
    """What an attempt needs beside the job: where links lead, the time, and chance."""

    site: Site
    clock: Callable[[], float]
    random: Random


def page_for(job: Job, place: Site) -> Page:
    """Return the content of a job's message."""
    page = make_page(job.snapshot, place, _event(job), episode=job.episode, generation=job.generation)
    notes = [INFERRED] if job.inferred else []
    notes += [REPEATED] if job.uncertain and job.thread is None else []
    return replace(page, note=" ".join(notes)) if notes else page


def _event(job: Job) -> Event:
    if job.snapshot.status == "resolved":
        return "resolved" if job.thread is not None else "fired_and_resolved"
    if job.thread is None:
        return "fired"
    return "reminder" if job.kind == "reminder" else "updated"


async def attempt(job: Job, notifier: Notifier, around: Surroundings) -> Outcome:
    """Send one job's message; every way it can end becomes an outcome."""
    try:
        async with asyncio.timeout(SEND_SECONDS):
            receipt = await send_fitting(notifier, _outgoing(job, around))
    except DeliveryError as error:
        return _failure(error, job, around)
    except TimeoutError:
        return _failure(Transient("timeout", f"no answer within {SEND_SECONDS:.0f} s"), job, around)
    except Exception:  # noqa: BLE001  # a bug in a notifier must not cost the page: tried again, and the log has it
        _log.exception("router.delivery.bug", extra={"destination": job.dest, "group": job.snapshot.group_id})
        return _failure(Transient("server_error", "an error of the router itself; see its log"), job, around)
    return Outcome("delivered", around.clock(), receipt.detail, thread=receipt.thread)


async def send_fitting(notifier: Notifier, message: Outgoing) -> Receipt:
    """Send a message in the largest size that the provider takes. Raises Permanent when even one line is refused."""
    refusals: list[str] = []
    for size in SIZES:
        try:
            receipt = await notifier.send(replace(message, size=size))
        except TooLarge as error:
            refusals.append(str(error))
            continue
        if refusals:
            return replace(receipt, detail=f"{receipt.detail} ({size} size, because: {refusals[0]})")
        return receipt
    raise Permanent("too_large", f"even one line is refused: {refusals[-1]}")


def _outgoing(job: Job, around: Surroundings) -> Outgoing:
    return Outgoing(page_for(job, around.site), recipient=job.recipient, thread=job.thread, uncertain=job.uncertain)


def _failure(error: DeliveryError, job: Job, around: Surroundings) -> Outcome:
    now = around.clock()
    if isinstance(error, RateLimited):
        return Outcome("rate_limited", now, str(error), error.reason, retry_at=error.not_before, backoff=job.backoff)
    if isinstance(error, Transient):
        wait = next_backoff(job.backoff, around.random)
        # After a timeout or a cut connection the provider may have taken the message all the same.
        uncertain = error.reason in ("timeout", "network")
        return Outcome(
            "transient", now, str(error), error.reason, retry_at=now + wait, backoff=wait, uncertain=uncertain
        )
    return Outcome("permanent", now, str(error), error.reason)
