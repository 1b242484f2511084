"""The only writer of Job.state: moves jobs along a named edge by compare-and-set and records the event beside it.

Zero moved rows is an answer ("someone else was first"), never an error. What others want to know of a move they learn
through `HOOKS`, after the commit; this package neither logs nor counts nor notifies.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

from django.db import transaction

from jobs.core.conf import settings
from jobs.core.db.deadlock_retry import retry_on_deadlock
from jobs.core.db.dialects import dialect
from jobs.core.db.statements import after_commit, execute, execute_many, query
from jobs.core.db.values import read
from jobs.models import Job
from jobs.models.transitions.effects import BACK_TO_WAITING, COUNTED, FRESH_LIVE, Sql
from jobs.models.transitions.plan import (
    ALL_COLUMNS,
    ATTNAMES,
    EVENT_COLUMNS,
    LIGHT_COLUMNS,
    Moved,
    Plan,
    id_param,
    listened_to,
)
from jobs.models.transitions.sql import BY_ID
from jobs.states import EDGES, JobState

__all__ = [
    "ALL_COLUMNS",
    "ATTNAMES",
    "BACK_TO_WAITING",
    "COUNTED",
    "FRESH_LIVE",
    "HOOKS",
    "LIGHT_COLUMNS",
    "Hook",
    "Moved",
    "Sql",
    "announce",
    "ask",
    "move",
    "note",
    "send_signals",
]

logger = logging.getLogger(__name__)

Hook = Callable[[Sequence[Moved]], None]
HOOKS: list[Hook] = []


def move(
    edge_name: str,
    where: str,
    params: Sequence[Any] = (),
    *,
    source: str | None = None,
    to: str | None = None,
    sets: Mapping[str, Any] | None = None,
    attempt: Mapping[str, Any] | None = None,
    actor: str = "",
    data: Mapping[str, Any] | None = None,
    returning: tuple[str, ...] = (),
) -> list[Moved]:
    """Move every job that matches `where` and stands at a source of the edge; returns those that moved.

    `where` is SQL over the job's columns; one that means a single job begins with `id = %s`, one that names no id says
    the state itself, so that an index serves it.
    `source` is the one that `where` demands, for an edge that has several: that spares the database a look at the row.
    `to` is an SQL expression for the new state of an edge with several targets.
    `sets` gives further columns, `attempt` the columns of the attempt that the edge opens (claim) or closes. The event
    row is part of the same transaction; hooks run after the commit.
    """
    sources = EDGES[edge_name].sources if source is None else (JobState(source),)
    plan = Plan(edge_name, sources, where, tuple(params), to, sets or {}, attempt or {}, actor, data or {}, returning)
    moved = _taken(plan)
    if moved:
        after_commit(announce, moved)
    return moved


@retry_on_deadlock
def _taken(plan: Plan) -> list[Moved]:
    return plan.in_one_statement() if dialect(plan.using).writes_in_cte else plan.in_one_transaction()


def note(job_id: UUID, name: str, *, actor: str = "", data: Mapping[str, Any] | None = None) -> bool:
    """Write an event that moves nothing (`stale`, `drift`, …); False when the job is gone."""
    return bool(ask("", [], "id = %s", [id_param(settings.DATABASE, job_id)], name, actor=actor, data=data))


@retry_on_deadlock
def ask(
    change: str,
    values: Sequence[Any],
    where: str,
    params: Sequence[Any],
    name: str,
    *,
    actor: str = "",
    data: Mapping[str, Any] | None = None,
) -> list[UUID]:
    """Change columns that move nothing (SQL that ends in a comma, with its values), with an event; returns whose."""
    using = settings.DATABASE
    with transaction.atomic(using=using):
        rows = _asked(f"UPDATE jobs_job SET {change} event_seq = event_seq + 1", values, where, params)
        events = [(job_id, seq, name, state, state, actor, json.dumps(data or {})) for job_id, seq, state in rows]
        if events:
            insert = f"INSERT INTO jobs_jobevent ({EVENT_COLUMNS}) VALUES (%s, %s, %s, %s, %s, {{now}}, %s, %s)"
            execute_many(using, insert, events)
    return [read(using, Job, ("id",), row)["id"] for row in rows]


def _asked(update: str, values: Sequence[Any], where: str, params: Sequence[Any]) -> Sequence[tuple[Any, ...]]:
    """Id, event number and state of what was changed, in the order of ids: two may ask for many at once."""
    using, answer = settings.DATABASE, "id, event_seq, state"
    db = dialect(using)
    if db.updates_return and where.startswith(BY_ID):
        return query(using, f"{update} WHERE {where} RETURNING {answer}", [*values, *params])
    locked = query(using, f"SELECT id FROM jobs_job WHERE {where} ORDER BY id{db.for_update}", params)
    ids = db.id_list(read(using, Job, ("id",), row)["id"] for row in locked)
    if locked:
        execute(using, f"{update} WHERE {db.id_in('id')}", [*values, ids])
    return query(using, f"SELECT {answer} FROM jobs_job WHERE {db.id_in('id')}", [ids]) if locked else []


def announce(moved: Sequence[Moved]) -> None:
    """Tell the hooks; one that raises is logged and stops no other."""
    for hook in HOOKS:
        try:
            hook(moved)
        except Exception:
            logger.exception("hook %r failed on %s", hook, moved[0].edge)


def send_signals(moved: Sequence[Moved]) -> None:
    """The hook that turns moves into Django signals; a receiver that raises is logged."""
    listened = {one.edge: listened_to(one.edge) for one in moved}
    for one in moved:
        for signal in listened[one.edge]:
            signal.send_robust(
                Job,
                job=one.job,
                attempt=one.attempt_id,
                from_state=one.from_state,
                to_state=one.to_state,
                actor=one.actor,
                at=one.at,
            )


HOOKS.append(send_signals)
