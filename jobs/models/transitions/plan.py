"""One move, from its description to the database: a single statement on PostgreSQL, a short transaction elsewhere."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction
from django.dispatch import Signal

from jobs import signals
from jobs.core.conf import settings
from jobs.core.db.dialects import dialect
from jobs.core.db.statements import execute, execute_many, query, resolve_pick
from jobs.core.db.values import prepare, read
from jobs.models import Attempt, Job
from jobs.models.transitions.effects import EFFECTS, Sql
from jobs.models.transitions.sql import BY_ID, Texts, closing_columns, one_statement, standing_at, update_job
from jobs.states import EDGES, Edge, JobState

ATTNAMES = {str(item.column): item.attname for item in Job._meta.concrete_fields}
ALL_COLUMNS = tuple(ATTNAMES)
LIGHT_COLUMNS = (
    "id",
    "state",
    "task",
    "pool",
    "manager",
    "key",
    "run",
    "attempt",
    "attempt_id",
    "event_seq",
    "started_at",
    "updated_at",
)

EVENT_COLUMNS = "job_id, seq, name, from_state, to_state, at, actor, data"


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


@dataclass(frozen=True)
class Plan:
    """One move, ready to be spelled for a database."""

    edge_name: str
    sources: tuple[JobState, ...]
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
        if listened_to(self.edge_name):
            return ALL_COLUMNS
        return tuple(dict.fromkeys((*LIGHT_COLUMNS, *self.returning)))

    @functools.cached_property
    def assignments(self) -> dict[str, Sql]:
        return {**EFFECTS.get(self.edge_name, {}), **_as_sql(self.using, Job, self.sets)}

    @functools.cached_property
    def attempt_sql(self) -> dict[str, Sql]:
        return _as_sql(self.using, Attempt, self.attempt)

    def in_one_statement(self) -> list[Moved]:
        """PostgreSQL: update, event and attempt as one statement."""
        sql = one_statement(
            self.edge_name,
            self.sources,
            self.where,
            self.to,
            _texts(self.assignments),
            _texts(self.attempt_sql),
            self.columns,
            dialect(self.using),
        )
        sets, attempt = _flat(self.assignments), _flat(self.attempt_sql)
        first = (*sets, *self.params) if len(self.sources) == 1 else (*self.params, *sets)
        rows = query(self.using, sql, (*first, self.actor, json.dumps(self.data), *attempt))
        return [self._moved(row[:-1], row[-1]) for row in rows]

    def in_one_transaction(self) -> list[Moved]:
        """SQLite: the same as a few statements; BEGIN IMMEDIATE keeps everybody else out. MariaDB: row locks do."""
        with transaction.atomic(using=self.using):
            moved = self._returned() if dialect(self.using).updates_return else self._read_back()
            if moved:
                self._write_events(moved)
                self._write_attempts(moved)
        return moved

    def _returned(self) -> list[Moved]:
        before = self._sources()
        sql = f"{self._update(self.where)} RETURNING {', '.join(self.columns)}"
        rows = query(self.using, sql, (*_flat(self.assignments), *self.params))
        return [self._moved(row, before.get(row[0], self.sources[0])) for row in rows]

    def _read_back(self) -> list[Moved]:
        """Compare and set, then read what was set: no other transaction can change it before the commit.

        Of many, those that stand at a source are locked first, so that it is known which ones moved and from where.
        """
        db, before = dialect(self.using), {}
        if len(self.sources) == 1 and self.where.startswith(BY_ID):
            where, params, ids = self.where, self.params, [self.params[0]]
        else:
            before = self._locked()
            where, params, ids = db.id_in("id"), (list(before),), list(before)
        update = db.simultaneous_assignment(self._update(where))
        if not ids or not execute(self.using, update, (*_flat(self.assignments), *params)):
            return []
        rows = query(self.using, f"SELECT {', '.join(self.columns)} FROM jobs_job WHERE {db.id_in('id')}", [ids])
        return [self._moved(row, before.get(row[0], self.sources[0])) for row in rows]

    def _update(self, where: str) -> str:
        texts = _texts(self.assignments)
        return update_job(self.edge_name, self.sources, where, self.to, texts, dialect(self.using))

    def _write_events(self, moved: Sequence[Moved]) -> None:
        data = json.dumps(self.data)
        rows = [self._event_row(one, data) for one in moved]
        slots = "%s, %s, %s, %s, %s, {now}, %s, %s, %s"
        execute_many(self.using, f"INSERT INTO jobs_jobevent ({EVENT_COLUMNS}, attempt_id) VALUES ({slots})", rows)

    def _sources(self) -> dict[Any, str]:
        if len(self.sources) == 1:
            return {}
        where = f"({self.where}) AND {standing_at(self.sources)}"
        return dict(query(self.using, f"SELECT id, state FROM jobs_job WHERE {where}", self.params))

    def _locked(self) -> dict[Any, str]:
        """Id and state of what will move, locked in the order of ids; of a pick, in its own."""
        where, params = resolve_pick(self.using, self.where, self.params)
        if where != self.where and len(self.sources) == 1:
            return dict.fromkeys(params[0], self.sources[0])
        standing = f"({where}) AND {standing_at(self.sources)} ORDER BY id FOR UPDATE"
        return dict(query(self.using, f"SELECT id, state FROM jobs_job WHERE {standing}", params))

    def _event_row(self, one: Moved, data: str) -> tuple[Any, ...]:
        ids = id_param(self.using, one.id), id_param(self.using, one.attempt_id)
        return ids[0], one.row["event_seq"], one.edge, one.from_state, one.to_state, one.actor, data, ids[1]

    def _write_attempts(self, moved: Sequence[Moved]) -> None:
        names, texts, values = list(self.attempt_sql), _texts(self.attempt_sql), _flat(self.attempt_sql)
        ids = [id_param(self.using, one.attempt_id) for one in moved]
        if self.edge_name == "claim":
            columns = ", ".join([*names, "id", "job_id", "run", "number", "started_at"])
            slots = ", ".join([*(text for _, text in texts), "%s", "%s", "%s", "%s", "{now}"])
            sql = f"INSERT INTO jobs_attempt ({columns}) VALUES ({slots})"
            rows = [
                (*values, attempt_id, id_param(self.using, one.id), one.row["run"], one.row["attempt"])
                for attempt_id, one in zip(ids, moved, strict=True)
            ]
            execute_many(self.using, sql, rows)
        elif self.edge.outcome:
            slots = ", ".join(["%s"] * len(ids))
            sql = f"UPDATE jobs_attempt SET {closing_columns(self.edge, texts)} WHERE id IN ({slots}) AND outcome = ''"
            execute(self.using, sql, (*values, *ids))

    def _moved(self, row: Sequence[Any], from_state: str) -> Moved:
        values = read(self.using, Job, self.columns, row)
        return Moved(self.edge_name, from_state, values["state"], self.actor, values)


def listened_to(edge_name: str) -> list[Signal]:
    """The signals of an edge that have receivers. Few have: so this is checked first."""
    both = (signals.BY_EDGE.get(edge_name), signals.job_transitioned)
    return [signal for signal in both if signal is not None and signal.receivers and signal.has_listeners(Job)]


def id_param(using: str, value: UUID | None) -> Any:
    return prepare(using, Job, "id", value)


def _texts(assignments: Mapping[str, Sql]) -> Texts:
    return tuple((name, sql.text) for name, sql in assignments.items())


def _flat(assignments: Mapping[str, Sql]) -> tuple[Any, ...]:
    return tuple(value for sql in assignments.values() for value in sql.params)


def _as_sql(using: str, model: Any, values: Mapping[str, Any]) -> dict[str, Sql]:
    return {
        name: value if isinstance(value, Sql) else Sql("%s", (prepare(using, model, name, value),))
        for name, value in values.items()
    }
