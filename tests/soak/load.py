"""Submits the orders of `plan.orders`, and cancels some, through every outage; knows what it was told of each."""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from uuid import UUID

from django.db import DatabaseError, InterfaceError, connections

from jobs import job_manager
from jobs.models import Job
from tests.soak.plan import PACE, Order

MOST_WAITING = 250  # unfinished jobs beyond which a handful is passed over: the end must be near when it is asked for


@dataclass
class Told:
    """What the submitter knows. Each order carries a token, so that one that nobody answered for is found as well."""

    orders: dict[str, Order] = field(default_factory=dict)  # by token, all that were tried
    promised: dict[str, UUID] = field(default_factory=dict)  # by token, what was answered for: must be there
    asked: set[UUID] = field(default_factory=set)  # to be cancelled
    counts: Counter[str] = field(default_factory=Counter)
    cancels: Counter[str] = field(default_factory=Counter)  # by answer


def submit(handfuls: Iterable[list[Order]], over: threading.Event) -> Told:
    """One handful after the other until `over` is set."""
    told = Told()
    tokens = map("soak-{}".format, itertools.count(1))
    cancels: list[tuple[float, UUID]] = []
    for handful in handfuls:
        if over.wait(PACE):
            return told
        if _is_crowded():
            continue
        for order in handful:
            job_id = _submit_one(order, next(tokens), told)
            if job_id and order.cancel_after is not None:
                cancels.append((time.monotonic() + order.cancel_after, job_id))
        for at, job_id in [one for one in cancels if one[0] <= time.monotonic()]:
            cancels.remove((at, job_id))
            _cancel(job_id, told)
    return told


def _is_crowded() -> bool:
    try:
        return len(Job.objects.unfinished()[: MOST_WAITING + 1]) > MOST_WAITING
    except (DatabaseError, InterfaceError):
        connections.close_all()
        return False  # the orders find out themselves that it is away


def _submit_one(order: Order, token: str, told: Told) -> UUID | None:
    options = {**order.options, "external_id": token, "session_id": order.kind}
    told.orders[token] = order
    try:
        if order.key:
            answer = job_manager.run_job(order.key, order.task, order.args, **options)
            if not answer.created:
                told.counts["keys taken"] += 1
                return None
            job = answer.job
        else:
            job = job_manager.submit(order.task, order.args, **options)
    except (DatabaseError, InterfaceError):
        connections.close_all()
        told.counts["refused"] += 1
        return None
    told.promised[token] = job.id
    return job.id


def _cancel(job_id: UUID, told: Told) -> None:
    """Ask for it; the answer may be lost with the connection, so what was asked counts before it is."""
    told.asked.add(job_id)
    try:
        told.cancels[job_manager.cancel_job(job_id, reason="the soak", actor="soak")] += 1
    except (DatabaseError, InterfaceError):
        connections.close_all()
