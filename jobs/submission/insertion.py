"""The insert: jobs, their first events and the wake-up of a feeder in one statement (two on SQLite and MariaDB).

Returns model instances as the rows were written. It decides nothing about what is inserted.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import IntegrityError, connections, transaction
from django.db.models.base import ModelState

from jobs.admission import wakeup
from jobs.core import encoding
from jobs.core.conf import settings
from jobs.core.db.deadlock_retry import retry_on_deadlock
from jobs.core.db.dialects import PAYLOAD, Dialect, dialect
from jobs.core.db.statements import after_commit, execute, query
from jobs.core.db.values import prepare, read
from jobs.models import Job, transitions
from jobs.models.transitions import Moved, Sql
from jobs.submission import conflicts
from jobs.submission.batch import Batch
from jobs.submission.calls import Row

CHUNK = 1000  # jobs per statement
CHUNK_SIZE = 2 * 2**20  # characters of arguments per statement; escaped twice they may be four times as long
DUPLICATE = 1062  # MariaDB
KEY_WAIT = 2  # seconds to wait for another open transaction that has inserted the same key


@retry_on_deadlock
def insert(batch: Batch, rows: Sequence[Row]) -> list[Inserted]:
    """Insert all or none: many by one statement; under a conflict rule each job is decided and inserted by itself."""
    chunks = _one_by_one(batch, rows) if batch.conflict_rule else list(_chunks(rows))
    is_one = isinstance(chunks, list) and len(chunks) == 1
    with nullcontext() if is_one else transaction.atomic(using=batch.using):
        return [_insert(batch, chunk) for chunk in chunks]


@dataclass(frozen=True)
class Inserted:
    """What one statement has inserted, and whether the caller must admit it; None if it woke no feeder."""

    jobs: list[Job]
    is_left_to_caller: bool | None


def _one_by_one(batch: Batch, rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    """Rows one by one, each after its conflict is decided."""
    conflicts.lock(batch.task, (row.partition for row in rows))
    for row in rows:
        conflicts.settle(batch.conflict_rule, batch.task, row.partition, row.id)  # type: ignore[arg-type]  # not None here
        yield [row]


def _chunks(rows: Sequence[Row]) -> Iterator[list[Row]]:
    """Rows in statements of limited size: MariaDB accepts 16 MiB at once by default."""
    chunk: list[Row] = []
    size = 0
    for row in rows:
        size += len(row.args) + len(row.kwargs)
        if chunk and (len(chunk) == CHUNK or size > CHUNK_SIZE):
            yield chunk
            chunk, size = [], len(row.args) + len(row.kwargs)
        chunk.append(row)
    if chunk:
        yield chunk


def _insert(batch: Batch, rows: Sequence[Row]) -> Inserted:
    """One statement for jobs, events and the wake-up (two on SQLite and MariaDB). It omits rows whose key is taken."""
    db = dialect(batch.using)
    names = tuple(batch.columns)
    when, when_params = _moment(batch.options.run_after, db)
    wakes = db.notifies and batch.options.start and not when_params and wakeup.own_feeder.wake is None
    given = tuple(_given(batch.using, name, value) for name, value in batch.columns.items())
    texts = tuple(text for text, _ in given)
    sql = _insert_sql(
        db, names, texts, _returned_columns(batch), when, batch.options.start, batch.active_key is not None, wakes
    )
    params = [*(value for _, values in given for value in values), batch.options.priority, *when_params]
    params += db.payload([(*row, batch.lane(row.partition)) for row in rows])
    if db.writes_in_cte:
        waking_params = wakeup.wake_params(batch.pool) if wakes else []
        returned = query(batch.using, sql, [*params, batch.options.owner, *waking_params])
    else:
        with transaction.atomic(using=batch.using):
            returned = _returned(batch, sql, params)
            if returned:
                execute(batch.using, _events_sql(db), [batch.options.owner, db.id_list(row.id for row in rows)])
    is_left = any(row[-1] for row in returned) if wakes else None
    return Inserted(_jobs(batch, rows, returned), is_left)


_RETURNED = ("id", "state", "created_at", "eligible_at", "rank", "run_after")
_EVENT = "job_id, seq, name, from_state, to_state, at, actor, data"


def _returned(batch: Batch, sql: str, params: Sequence[Any]) -> list[tuple[Any, ...]]:
    """The inserted rows: none if the key is taken, which MariaDB reports as an error."""
    try:
        return query(batch.using, sql, params)
    except IntegrityError as error:
        if batch.active_key is None or error.args[:1] != (DUPLICATE,):
            raise
        return []


def _events_sql(db: Dialect) -> str:
    return (
        f"INSERT INTO jobs_jobevent ({_EVENT}) SELECT id, 1, 'create', '', state, created_at, %s, '{{}}'"
        f" FROM jobs_job WHERE {db.id_in('id')}"
    )


@functools.cache
def _insert_sql(
    db: Dialect,
    names: tuple[str, ...],
    texts: tuple[str, ...],
    returned: tuple[str, ...],
    when: str,
    start: bool,
    keyed: bool,
    wakes: bool,
) -> str:
    eligible = "CASE WHEN v.run_after > {now} THEN v.run_after ELSE {now} END"
    state = "CASE WHEN v.run_after > {now} THEN 'scheduled' ELSE 'pending' END" if start else "'paused'"
    head_start = "(SELECT head_start FROM jobs_priority WHERE name = %s)"
    given = "".join(f", {text}" for text in texts)
    columns = "".join(f", {name}" for name in names)
    insert = (
        f"INSERT INTO jobs_job ({', '.join(PAYLOAD)}{columns}, run_after, state, created_at, updated_at, eligible_at,"
        f" rank) SELECT {', '.join(f'v.{name}' for name in PAYLOAD)}{given}, v.run_after, {state}, {{now}}, {{now}},"
        f" {eligible},"
        f" {db.epoch(eligible)} - {head_start} FROM ({db.payload_rows(when)}) v WHERE TRUE"
        f"{' ' + db.on_conflict_nothing('active_key') if keyed else ''} RETURNING {', '.join(returned)}"
    )
    if not db.writes_in_cte:
        return db.with_lock_timeout(insert, KEY_WAIT) if keyed else insert
    event = (
        f"INSERT INTO jobs_jobevent ({_EVENT}) SELECT id, 1, 'create', '', state, created_at, %s, '{{}}' FROM inserted"
    )
    woken = f", {wakeup.wake_sql(db)}" if wakes else ""
    return f"WITH inserted AS ({insert}), event AS ({event}) SELECT *{woken} FROM inserted"


def _given(using: str, name: str, value: Any) -> tuple[str, tuple[Any, ...]]:
    """A column's value as SQL with its parameters."""
    if isinstance(value, Sql):
        return value.text, value.params
    return f"%s{_cast(using, name)}", (prepare(using, Job, name, value),)


def _returned_columns(batch: Batch) -> tuple[str, ...]:
    """The columns whose values only the database knows."""
    return (*_RETURNED, *(name for name, value in batch.columns.items() if isinstance(value, Sql)))


@functools.cache
def _cast(using: str, name: str) -> str:
    """The type that PostgreSQL needs for a parameter inside a SELECT."""
    if not dialect(using).writes_in_cte:
        return ""
    field = next(field for field in Job._meta.concrete_fields if field.column == name)
    kind = str(field.db_type(connections[using]))
    return f"::{'text' if kind.startswith('varchar') else kind}"


def _moment(run_after: datetime | timedelta | float | None, db: Dialect) -> tuple[str, list[Any]]:
    """`run_after` as SQL and its parameter."""
    if run_after is None:
        return db.no_moment, []
    if isinstance(run_after, datetime):
        return db.moment, [prepare(settings.DATABASE, Job, "run_after", run_after)]
    seconds = run_after.total_seconds() if isinstance(run_after, timedelta) else run_after
    return db.later("{now}"), [seconds]


def _jobs(batch: Batch, rows: Sequence[Row], returned: Sequence[Sequence[Any]]) -> list[Job]:
    """Model instances as the rows were written."""
    payload = {row.id: row for row in rows}
    values = [read(batch.using, Job, _returned_columns(batch), row) for row in returned]
    jobs = [_as_written(batch, row, payload[row["id"]]) for row in values]
    if jobs:
        moved = [Moved("create", "", job.state, batch.options.owner, dict(vars(job))) for job in jobs]
        after_commit(transitions.announce, moved)
    return sorted(jobs, key=lambda job: job.id)


def _as_written(batch: Batch, returned: dict[str, Any], row: Row) -> Job:
    """The instance without `Model.__init__`, which computes the default of each of seventy fields: 0.1 ms."""
    job = Job.__new__(Job)
    vars(job).update({**_defaults(), **batch.columns, **returned, "updated_at": returned["created_at"]})
    vars(job).update((name, copy.copy(vars(job)[name])) for name in _MUTABLE)
    job.args, job.kwargs = encoding.loads(row.args), encoding.loads(row.kwargs)
    job.partition, job.lane = row.partition, batch.lane(row.partition)
    job._state = ModelState()
    job._state.adding, job._state.db = False, batch.using
    return job


@functools.cache
def _defaults() -> dict[str, Any]:
    return {field.attname: field.get_default() for field in Job._meta.concrete_fields}


_MUTABLE = ("metadata", "tags", "diagnostics", "resources", "retry_policy")
