"""The only writer of Job.state: moves jobs along a named edge by compare-and-set and records the event beside it.

Zero moved rows is an answer ("someone else was first"), never an error. What others want to know of a move they learn
through `HOOKS`, after the commit; this module neither logs nor counts nor notifies.
"""

from __future__ import annotations

import functools
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction

from jobs import signals
from jobs.conf import settings
from jobs.models import Attempt, Job
from jobs.querysets.dialect import dialect, prepare, read
from jobs.querysets.statements import after_commit, execute, execute_many, query
from jobs.states import EDGES, FINAL, Edge, JobState

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sql:
    """An SQL expression with its parameters, where a column is not simply set to a value."""

    text: str
    params: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Moved:
    """One job that took an edge. `row` holds the columns that came back; `job` is the model instance of them."""

    edge: str
    from_state: str
    to_state: str
    actor: str
    row: dict[str, Any] = field(repr=False)

    @property
    def id(self) -> UUID:
        return self.row["id"]  # type: ignore[no-any-return]

    @property
    def attempt_id(self) -> UUID | None:
        return self.row["attempt_id"]  # type: ignore[no-any-return]

    @property
    def at(self) -> datetime:
        return self.row["updated_at"]  # type: ignore[no-any-return]

    @functools.cached_property
    def job(self) -> Job:
        """The row as written; a column that did not come back is read when it is touched."""
        came = [column for column in ALL_COLUMNS if column in self.row]  # `from_db` goes by the order of the fields
        names = [ATTNAMES[column] for column in came]
        return Job.from_db(settings.DATABASE, names, [self.row[column] for column in came])


Hook = Callable[[Sequence[Moved]], None]
HOOKS: list[Hook] = []

ATTNAMES = {str(item.column): item.attname for item in Job._meta.concrete_fields}
ALL_COLUMNS = tuple(ATTNAMES)
LIGHT_COLUMNS = (
    "id", "state", "task", "pool", "manager", "key", "run", "attempt", "attempt_id", "event_seq",
    "started_at", "updated_at",
)  # fmt: skip

FRESH_LIVE = {"progress": Sql("0"), "stage": Sql("''"), "message": Sql("''"), "sub_progress": Sql("NULL")}
_ANSWERED = {"release_count": Sql("0"), "unknown_since": Sql("NULL")}
_ENDED = {"finished_at": Sql("{now}"), "active_key": Sql("NULL")}
_WAITS_AGAIN = {**FRESH_LIVE, "queued_at": Sql("NULL"), "published_at": Sql("NULL"), "started_at": Sql("NULL")}
_IMPLIED: dict[str, dict[str, Sql]] = {
    "admit": {"attempt_id": Sql("{uuid}"), "queued_at": Sql("{now}"), "published_at": Sql("NULL")},
    "release": {"queued_at": Sql("NULL"), "published_at": Sql("NULL"), "release_count": Sql("release_count + 1")},
    "claim": {"started_at": Sql("{now}"), "attempt": Sql("attempt + 1"), **_ANSWERED},
    "complete": {"progress": Sql("100"), **_ENDED},
    "fail": _ENDED,
    "cancel": _ENDED,
    "retry": {"retry_count": Sql("retry_count + 1"), **_WAITS_AGAIN},
    "snooze": _WAITS_AGAIN,
    "interrupt": _WAITS_AGAIN,
    "rescue": {"rescue_count": Sql("rescue_count + 1"), **_WAITS_AGAIN},
    "pause": {"queued_at": Sql("NULL"), "published_at": Sql("NULL"), "pause_requested_at": Sql("NULL")},
    "resume": {"eligible_at": Sql("{now}"), "reason": Sql("''"), "paused_by": Sql("''")},
    "requeue": {
        "run": Sql("run + 1"), "attempt": Sql("0"), "retry_count": Sql("0"), "rescue_count": Sql("0"),
        **_ANSWERED, "finished_at": Sql("NULL"), "result": Sql("NULL"), "result_error": Sql("''"),
        "error_category": Sql("''"), "error_type": Sql("''"), "error_message": Sql("''"), "reason": Sql("''"),
        "cancel_requested_at": Sql("NULL"), "cancel_requested_by": Sql("''"), "pause_requested_at": Sql("NULL"),
        "eligible_at": Sql("{now}"), **_WAITS_AGAIN,
    },
}  # fmt: skip
BACK_TO_WAITING = frozenset({"retry", "snooze", "interrupt", "rescue"})
_NOBODY_ASKED = " AND cancel_requested_at IS NULL AND pause_requested_at IS NULL"


def move(
    edge_name: str,
    where: str,
    params: Sequence[Any] = (),
    *,
    to: str | None = None,
    sets: Mapping[str, Any] | None = None,
    attempt: Mapping[str, Any] | None = None,
    actor: str = "",
    data: Mapping[str, Any] | None = None,
    returning: tuple[str, ...] = (),
) -> list[Moved]:
    """Move every job that matches `where` and stands at a source of the edge; returns those that moved.

    `where` is SQL over the job's columns; one that names no id says the state itself, so that an index serves it.
    `to` is an SQL expression for the new state of an edge with several targets.
    `sets` gives further columns, `attempt` the columns of the attempt that the edge opens (claim) or closes. The event
    row is part of the same transaction; hooks run after the commit.
    """
    plan = _Plan(edge_name, where, tuple(params), to, sets or {}, attempt or {}, actor, data or {}, returning)
    moved = plan.in_one_statement() if dialect(plan.using).writes_in_cte else plan.in_one_transaction()
    if moved:
        after_commit(announce, moved)
    return moved


def give_back(edge_name: str, where: str, params: Sequence[Any] = (), **options: Any) -> list[Moved]:
    """Take an edge from running to a waiting state, unless a person asked otherwise: then cancel, or pause, instead."""
    moved = move(edge_name, where + _NOBODY_ASKED, params, **options)
    carried = {name: value for name, value in options.items() if name in {"attempt", "actor", "data"}}
    moved += move("cancel", f"{where} AND cancel_requested_at IS NOT NULL AND state = 'running'", params, **carried)
    moved += move("pause", f"{where} AND pause_requested_at IS NOT NULL AND state = 'running'", params, **carried)
    return moved


def note(job_id: UUID, name: str, *, actor: str = "", data: Mapping[str, Any] | None = None) -> bool:
    """Write an event that moves nothing (`stale`, `drift`, …); False when the job is gone."""
    using = settings.DATABASE
    with transaction.atomic(using=using):
        rows = query(
            using,
            "UPDATE jobs_job SET event_seq = event_seq + 1 WHERE id = %s RETURNING event_seq, state",
            [_id(using, job_id)],
        )
        for seq, state in rows:
            values = (_id(using, job_id), seq, name, state, state, actor, json.dumps(data or {}))
            execute(using, f"INSERT INTO jobs_jobevent ({_NOTE}) VALUES (%s, %s, %s, %s, %s, {{now}}, %s, %s)", values)
    return bool(rows)


def announce(moved: Sequence[Moved]) -> None:
    """Tell the hooks; one that raises is logged and stops no other."""
    for hook in HOOKS:
        try:
            hook(moved)
        except Exception:
            logger.exception("hook %r failed on %s", hook, moved[0].edge)


def send_signals(moved: Sequence[Moved]) -> None:
    """The hook that turns moves into Django signals; a receiver that raises is logged."""
    for one in moved:
        for signal in (signals.BY_EDGE.get(one.edge), signals.job_transitioned):
            if signal is not None and signal.has_listeners(Job):
                signal.send_robust(
                    Job, job=one.job, attempt=one.attempt_id, from_state=one.from_state, to_state=one.to_state,
                    actor=one.actor, at=one.at,
                )  # fmt: skip


HOOKS.append(send_signals)


@dataclass(frozen=True)
class _Plan:
    """One move, ready to be spelled for a database."""

    edge_name: str
    where: str
    params: tuple[Any, ...]
    to: str | None
    sets: Mapping[str, Any]
    attempt: Mapping[str, Any]
    actor: str
    data: Mapping[str, Any]
    returning: tuple[str, ...]

    @property
    def using(self) -> str:
        return settings.DATABASE

    @property
    def edge(self) -> Edge:
        return EDGES[self.edge_name]

    @functools.cached_property
    def columns(self) -> tuple[str, ...]:
        if _listened_to(self.edge_name):
            return ALL_COLUMNS
        return tuple(dict.fromkeys((*LIGHT_COLUMNS, *self.returning)))

    @functools.cached_property
    def assignments(self) -> dict[str, Sql]:
        return {**_IMPLIED.get(self.edge_name, {}), **_as_sql(self.using, Job, self.sets)}

    @functools.cached_property
    def attempt_sql(self) -> dict[str, Sql]:
        return _as_sql(self.using, Attempt, self.attempt)

    def in_one_statement(self) -> list[Moved]:
        """PostgreSQL: update, event and attempt as one statement."""
        sql = _one_statement(
            self.edge_name, self.where, self.to, _texts(self.assignments), _texts(self.attempt_sql), self.columns,
            dialect(self.using),
        )  # fmt: skip
        sets, attempt = _flat(self.assignments), _flat(self.attempt_sql)
        first = (*sets, *self.params) if len(self.edge.sources) == 1 else (*self.params, *sets)
        rows = query(self.using, sql, (*first, self.actor, json.dumps(self.data), *attempt))
        return [self._moved(row[:-1], row[-1]) for row in rows]

    def in_one_transaction(self) -> list[Moved]:
        """SQLite: the same as a few statements; BEGIN IMMEDIATE keeps everybody else out."""
        with transaction.atomic(using=self.using):
            before = self._sources()
            update = _update(self.edge_name, self.where, self.to, _texts(self.assignments), dialect(self.using))
            sql = f"{update} RETURNING {', '.join(self.columns)}"
            rows = query(self.using, sql, (*_flat(self.assignments), *self.params))
            moved = [self._moved(row, before.get(row[0], self.edge.sources[0])) for row in rows]
            if moved:
                self._write_events(moved)
                self._write_attempts(moved)
        return moved

    def _write_events(self, moved: Sequence[Moved]) -> None:
        data = json.dumps(self.data)
        rows = [self._event_row(one, data) for one in moved]
        slots = "%s, %s, %s, %s, %s, {now}, %s, %s, %s"
        execute_many(self.using, f"INSERT INTO jobs_jobevent ({_NOTE}, attempt_id) VALUES ({slots})", rows)

    def _sources(self) -> dict[Any, str]:
        if len(self.edge.sources) == 1:
            return {}
        where = f"({self.where}) AND {_standing_at(self.edge)}"
        return dict(query(self.using, f"SELECT id, state FROM jobs_job WHERE {where}", self.params))

    def _event_row(self, one: Moved, data: str) -> tuple[Any, ...]:
        ids = _id(self.using, one.id), _id(self.using, one.attempt_id)
        return ids[0], one.row["event_seq"], one.edge, one.from_state, one.to_state, one.actor, data, ids[1]

    def _write_attempts(self, moved: Sequence[Moved]) -> None:
        names, texts, values = list(self.attempt_sql), _texts(self.attempt_sql), _flat(self.attempt_sql)
        ids = [_id(self.using, one.attempt_id) for one in moved]
        if self.edge_name == "claim":
            columns = ", ".join([*names, "id", "job_id", "run", "number", "started_at"])
            slots = ", ".join([*(text for _, text in texts), "%s", "%s", "%s", "%s", "{now}"])
            sql = f"INSERT INTO jobs_attempt ({columns}) VALUES ({slots})"
            rows = [
                (*values, attempt_id, _id(self.using, one.id), one.row["run"], one.row["attempt"])
                for attempt_id, one in zip(ids, moved, strict=True)
            ]
            execute_many(self.using, sql, rows)
        elif self.edge.outcome:
            slots = ", ".join(["%s"] * len(ids))
            sql = f"UPDATE jobs_attempt SET {_closing(self.edge, texts)} WHERE id IN ({slots}) AND outcome = ''"
            execute(self.using, sql, (*values, *ids))

    def _moved(self, row: Sequence[Any], from_state: str) -> Moved:
        values = read(self.using, Job, self.columns, row)
        return Moved(self.edge_name, from_state, values["state"], self.actor, values)


def _listened_to(edge_name: str) -> bool:
    signal = signals.BY_EDGE.get(edge_name)
    return signals.job_transitioned.has_listeners(Job) or (signal is not None and signal.has_listeners(Job))


@functools.cache
def _one_statement(
    edge_name: str, where: str, to: str | None, sets: _Texts, attempt: _Texts, columns: tuple[str, ...], words: Any
) -> str:
    edge = EDGES[edge_name]
    names = ", ".join(f"j.{column}" for column in columns)
    if len(edge.sources) == 1:
        update = _update(edge_name, where, to, sets, words, alias="j")
        head = f"WITH moved AS ({update} RETURNING {names}, '{edge.sources[0]}' AS from_state)"
    else:
        standing = f"({where}) AND {_standing_at(edge)}"
        old = f"SELECT id, state AS from_state FROM jobs_job WHERE {standing} ORDER BY id FOR UPDATE"
        update = f"UPDATE jobs_job j SET {_setting(edge, to, sets, words)} FROM old WHERE j.id = old.id"
        head = f"WITH old AS ({old}), moved AS ({update} RETURNING {names}, old.from_state)"
    event = (
        "event AS (INSERT INTO jobs_jobevent (job_id, seq, name, from_state, to_state, at, attempt_id, actor, data)"
        f" SELECT id, event_seq, '{edge_name}', from_state, state, updated_at, attempt_id, %s, %s::jsonb FROM moved)"
    )
    parts = [head, event, *_attempt_cte(edge, attempt)]
    return f"{', '.join(parts)} SELECT {', '.join(columns)}, from_state FROM moved"


def _attempt_cte(edge: Edge, attempt: _Texts) -> list[str]:
    if edge.name == "claim":
        names = ", ".join(["id", "job_id", "run", "number", "started_at", *(name for name, _ in attempt)])
        given = (f"{text}::{_ATTEMPT_TYPES[name]}" for name, text in attempt)  # a bare parameter here would be text
        values = ", ".join(["attempt_id", "id", "run", "attempt", "updated_at", *given])
        return [f"opened AS (INSERT INTO jobs_attempt ({names}) SELECT {values} FROM moved)"]
    if edge.outcome:
        closing = _closing(edge, attempt)
        return [
            f"closed AS (UPDATE jobs_attempt a SET {closing} FROM moved"
            " WHERE a.id = moved.attempt_id AND a.outcome = '')"
        ]
    return []


def _closing(edge: Edge, attempt: _Texts) -> str:
    return ", ".join(
        ["finished_at = {now}", f"outcome = '{edge.outcome}'", *(f"{name} = {text}" for name, text in attempt)]
    )


def _update(edge_name: str, where: str, to: str | None, sets: _Texts, words: Any, alias: str = "") -> str:
    edge = EDGES[edge_name]
    guard = _standing_at(edge)
    return f"UPDATE jobs_job {alias} SET {_setting(edge, to, sets, words)} WHERE ({where}) AND {guard}"


def _setting(edge: Edge, to: str | None, sets: _Texts, words: Any) -> str:
    state = to if to is not None else f"'{edge.target}'"
    columns = [f"{name} = {text.replace('{uuid}', words.new_uuid)}" for name, text in sets]
    return ", ".join([f"state = {state}", "event_seq = event_seq + 1", "updated_at = {now}", *columns])


def _standing_at(edge: Edge) -> str:
    """The guard. COALESCE keeps it from every index: the row is found by what `where` says, which is its id as a rule.

    With statistics that are behind, PostgreSQL took the index on the state for the cheapest way to one row, and read
    every queued job to find it.
    """
    return f"COALESCE(state, '') IN ({', '.join(repr(str(source)) for source in edge.sources)})"


def _id(using: str, value: UUID | None) -> Any:
    return prepare(using, Job, "id", value)


_ATTEMPT_TYPES = {"worker_id": "uuid", "hostname": "text", "pid": "int"}
_NOTE = "job_id, seq, name, from_state, to_state, at, actor, data"
_Texts = tuple[tuple[str, str], ...]


def _texts(assignments: Mapping[str, Sql]) -> _Texts:
    return tuple((name, sql.text) for name, sql in assignments.items())


def _flat(assignments: Mapping[str, Sql]) -> tuple[Any, ...]:
    return tuple(value for sql in assignments.values() for value in sql.params)


def _as_sql(using: str, model: Any, values: Mapping[str, Any]) -> dict[str, Sql]:
    return {
        name: value if isinstance(value, Sql) else Sql("%s", (prepare(using, model, name, value),))
        for name, value in values.items()
    }


assert set(_IMPLIED) <= set(EDGES)  # noqa: S101 - a typo here would silently set nothing
assert all(JobState(target) in FINAL for name in ("complete", "fail", "cancel") for target in EDGES[name].targets)  # noqa: S101
