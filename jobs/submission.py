"""The way in: validate, normalise, insert; one job or many, inside the caller's own transaction.

A job that was rolled back never happened; a wrong call is refused before anything is written. The insert and its event
are one statement (two on SQLite). Admission follows the commit.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Any
from uuid import UUID

from celery import Signature, current_app
from django.db import OperationalError, connections, transaction
from django.db.models.base import ModelState

from jobs import admission, conflicts, encoding, pools, transitions, waking
from jobs.calls import Call, JobLike, Row, encoded, unwrapped
from jobs.conf import settings
from jobs.exceptions import InvalidOption, KeyBusy, UnknownTask, shown
from jobs.keys import active_key, key_text
from jobs.limits import Facts, declaring
from jobs.limits.declaring import Standing
from jobs.limits.lanes import COLUMNS
from jobs.models import Job, Policy
from jobs.options import JobOptions, task_name
from jobs.partitions import name_of
from jobs.querysets.dialect import PAYLOAD, Dialect, dialect, prepare, read
from jobs.querysets.statements import after_commit, query
from jobs.transitions import Moved

CHUNK = 1000  # jobs per statement
KEY_WAIT = 2  # seconds that a key held by another's open transaction is waited for


def submit(manager: str, task: JobLike | str, calls: Iterable[Call], options: Mapping[str, Any]) -> list[Job]:
    """Insert one job per call, all alike but for their arguments; all of them, or on any bad call none."""
    known, name, chosen = _resolve(task, options)
    draft = _Draft(manager, name, chosen, known.options if known else None)
    rows = [encoded(known, call, chosen) for call in calls]
    draft.check()
    with transaction.atomic(using=draft.using) if len(rows) > CHUNK or draft.standing else _NoTransaction():
        made = [_insert(draft, chunk) for chunk in _chunks(draft, rows)]
    _have_admitted(draft, made)
    return [job for part in made for job in part.jobs]


def submit_keyed(
    manager: str, key: object, task: JobLike | str | Callable[[], Any], call: Call, options: Mapping[str, Any]
) -> tuple[Job, bool]:
    """The key's unfinished job and False, or a new one and True. A factory is only called when no job holds the key."""
    held = holder(manager, key)
    if held is not None:
        return held, False
    if not isinstance(task, (JobLike, str)):
        task, call = _from_factory(task)
    known, name, chosen = _resolve(task, options)
    draft = _Draft(manager, name, chosen, known.options if known else None, key_text(key), active_key(manager, key))
    row = encoded(known, call, chosen)
    draft.check()
    for _ in range(10):
        made = _insert_keyed(draft, row, key)
        if made.jobs:
            _have_admitted(draft, [made])
            return made.jobs[0], True
        held = holder(manager, key)
        if held is not None:
            return held, False
    raise KeyBusy(key)


def holder(manager: str, key: object) -> Job | None:
    """The unfinished job that holds a key, if any."""
    key_text(key)
    return Job.objects.using(settings.DATABASE).with_key(active_key(manager, key)).first()


@dataclass(frozen=True)
class _Draft:
    """What the jobs of one submission share."""

    manager: str
    task: str
    options: JobOptions
    declared: JobOptions | None = None
    key: str | None = None
    active_key: str | None = None

    @property
    def using(self) -> str:
        return settings.DATABASE

    @functools.cached_property
    def pool(self) -> str:
        return pools.known(self.options.pool or str(current_app.conf.task_default_queue), _declared_pools)

    @functools.cached_property
    def columns(self) -> dict[str, Any]:
        """The columns that differ from the row's defaults, as Python values."""
        options = self.options
        retry = settings.RETRY
        values = {
            "task": self.task, "pool": self.pool, "priority": options.priority, "manager": self.manager,
            "key": self.key, "key_hash": self.active_key, "active_key": self.active_key,
            "metadata": dict(options.metadata), "tags": list(options.tags), "owner": options.owner,
            "operation_type": options.operation_type, "external_id": options.external_id,
            "project_id": options.project_id, "session_id": options.session_id, "batch_id": options.batch_id,
            "estimated_duration": options.estimated_duration, "retry_delay": options.retry_delay,
            "max_retries": retry.max_retries if options.max_retries is None else options.max_retries,
            "reason": "" if options.start else "not started",
            **{name: getattr(self.facts, name) for name in COLUMNS if name not in {"task", "partition"}},
        }  # fmt: skip
        return {name: value for name, value in values.items() if value not in _LEFT_OUT.get(name, ("", None, {}, []))}

    @functools.cached_property
    def facts(self) -> Facts:
        """What admission will decide by; the partition differs from call to call."""
        options = self.options
        timeouts = settings.TIMEOUT
        by_kind = timeouts.operations.get(options.operation_type, timeouts.default)
        own = self.declared is None or options.max_concurrent != self.declared.max_concurrent
        return Facts(
            task=self.task, partition_by=name_of(options.partition_by, self.task), access=options.access,
            memory_mb=options.memory_mb, cpu_weight=options.cpu_weight, disk_mb=options.disk_mb,
            resources=dict(options.resources), max_concurrent=options.max_concurrent if own else None,
            rate=(options.rate or "") if self.declared is None or options.rate != self.declared.rate else "",
            timeout=by_kind if options.timeout is None else options.timeout,
        )  # fmt: skip

    @functools.cached_property
    def standing(self) -> Standing | None:
        """What becomes of a newcomer, where its task has a word to say about it."""
        conflict = self.options.conflict
        if conflict is None and (self.declared is None or self.declared.max_concurrent is None):
            return None
        found = declaring.standing(self.task, conflict or Policy.WAIT)
        return None if found.policy == Policy.WAIT else found

    def check(self) -> None:
        """Write what the task declares, and refuse needs that the whole pool cannot meet."""
        if self.declared is not None:
            declaring.declare(self.task, self.pool, self.declared)
        if self.facts.rate:
            declaring.declare_rate(self.task, self.facts.partition_by)
        declaring.refuse_impossible(self.pool, self.facts.needs)

    def lane(self, partition: str) -> UUID:
        """The lane of a call."""
        return (self.facts._replace(partition=partition) if partition else self.facts).lane


def _declared_pools() -> set[str]:
    return {task.options.pool for task in current_app.tasks.values() if isinstance(task, JobLike) and task.options.pool}


# Values that are the column's default already. An empty key is a key, and no delay is a delay.
_LEFT_OUT: dict[str, tuple[Any, ...]] = {"max_retries": (0,), "key": (None,)}


def _resolve(task: JobLike | str, options: Mapping[str, Any]) -> tuple[JobLike | None, str, JobOptions]:
    """The task if this process knows it, its name, and its declared options with the caller's on top."""
    known = current_app.tasks.get(task) if isinstance(task, str) else unwrapped(task)
    if isinstance(known, JobLike):
        chosen = known.options.at_submit(options)
        name = known.name
    elif known is not None or not isinstance(task, str):
        raise InvalidOption(f"task: {shown(task)} is no job. Pass a function with @job, or its name.", option="task")
    elif settings.STRICT_TASKS:
        raise UnknownTask(task, current_app.tasks)
    else:
        known, chosen, name = None, JobOptions().but(options), task_name(task)
    encoding.check_json(chosen.metadata, field="metadata")
    return known, name, chosen


def _from_factory(factory: object) -> tuple[JobLike | str, Call]:
    signature: object = factory() if callable(factory) else factory
    if not isinstance(signature, Signature):
        advice = "Pass a job, its name, or a callable that returns a signature as task.s(…)."
        raise InvalidOption(f"task: {shown(signature)} is no job and no signature. {advice}", option="task")
    return signature["task"], (tuple(signature["args"]), dict(signature["kwargs"]))


def _insert_keyed(draft: _Draft, row: Row, key: object) -> _Made:
    """Insert unless an unfinished job holds the key; never aborts the caller's transaction."""
    try:
        with transaction.atomic(using=draft.using), _key_wait(draft.using):
            (chunk,) = _chunks(draft, [row])
            return _insert(draft, chunk)
    except OperationalError as error:
        if _is_held(error):
            raise KeyBusy(key) from error
        raise


class _key_wait:  # noqa: N801 - reads as a function where it is used
    """Bound, on PostgreSQL, how long an insert waits for another's open transaction on the same key."""

    def __init__(self, using: str) -> None:
        self.using = using

    def __enter__(self) -> None:
        if dialect(self.using).for_update:
            sql = "SELECT current_setting('lock_timeout'), set_config('lock_timeout', %s, true)"
            self.before = query(self.using, sql, [f"{KEY_WAIT}s"])[0][0]

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None and dialect(self.using).for_update:
            query(self.using, "SELECT set_config('lock_timeout', %s, true)", [self.before])


def _is_held(error: OperationalError) -> bool:
    """Whether others' open transactions were in the way: a lock time-out, or two that wait for each other's keys."""
    return getattr(error.__cause__, "sqlstate", "") in {"55P03", "40P01"} or "locked" in str(error)


class _NoTransaction:
    """Autocommit: a single statement is its own transaction."""

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


@dataclass(frozen=True)
class _Made:
    """What one statement has inserted, and whether the caller must admit it; None where no feeder was asked yet."""

    jobs: list[Job]
    is_left_to_caller: bool | None


def _have_admitted(draft: _Draft, made: Sequence[_Made]) -> None:
    left = [part.is_left_to_caller for part in made if part.jobs and part.jobs[0].state == "pending"]
    if None in left:
        admission.admit_on_commit(draft.pool)
    elif any(left):
        after_commit(admission.admit, draft.pool)


def _insert(draft: _Draft, rows: Sequence[Row]) -> _Made:
    """One statement for jobs, events and waking a feeder (two on SQLite); rows whose key is taken do not come back."""
    words = dialect(draft.using)
    names = tuple(draft.columns)
    when, when_params = _moment(draft.options.run_after, words)
    wakes = words.notifies and draft.options.start and not when_params and admission.bell is None
    sql = _insert_sql(
        words, names, _casts(draft.using, names), when, draft.options.start, draft.active_key is not None, wakes
    )
    values = [prepare(draft.using, Job, name, value) for name, value in draft.columns.items()]
    params = [*values, draft.options.priority, *when_params]
    params += words.payload([(*row, draft.lane(row.partition)) for row in rows])
    if words.writes_in_cte:
        waking_params = waking.wake_params(draft.pool) if wakes else []
        returned = query(draft.using, sql, [*params, draft.options.owner, *waking_params])
    else:
        with transaction.atomic(using=draft.using):
            returned = query(draft.using, sql, params)
            if returned:
                query(draft.using, _EVENTS_SQLITE, [draft.options.owner, words.ids(row[0] for row in rows)])
    is_left = any(row[-1] for row in returned) if wakes else None
    return _Made(_jobs(draft, rows, returned), is_left)


_RETURNED = ("id", "state", "created_at", "eligible_at", "rank", "run_after")
_EVENT = "job_id, seq, name, from_state, to_state, at, actor, data"
_EVENTS_SQLITE = (
    f"INSERT INTO jobs_jobevent ({_EVENT}) SELECT id, 1, 'create', '', state, created_at, %s, '{{}}'"
    " FROM jobs_job WHERE id IN (SELECT value FROM json_each(%s)) RETURNING id"
)


@functools.cache
def _insert_sql(
    words: Dialect, names: tuple[str, ...], casts: tuple[str, ...], when: str, start: bool, keyed: bool, wakes: bool
) -> str:
    eligible = "CASE WHEN v.run_after > {now} THEN v.run_after ELSE {now} END"
    state = "CASE WHEN v.run_after > {now} THEN 'scheduled' ELSE 'pending' END" if start else "'paused'"
    head_start = "(SELECT head_start FROM jobs_priority WHERE name = %s)"
    given = "".join(f", %s{cast}" for cast in casts)
    columns = "".join(f", {name}" for name in names)
    insert = (
        f"INSERT INTO jobs_job ({', '.join(PAYLOAD)}{columns}, run_after, state, created_at, updated_at, eligible_at,"
        f" rank) SELECT {', '.join(f'v.{name}' for name in PAYLOAD)}{given}, v.run_after, {state}, {{now}}, {{now}},"
        f" {eligible},"
        f" {words.epoch(eligible)} - {head_start} FROM ({words.payload_rows(when)}) v WHERE TRUE"
        f"{' ON CONFLICT (active_key) DO NOTHING' if keyed else ''} RETURNING {', '.join(_RETURNED)}"
    )
    if not words.writes_in_cte:
        return insert
    event = f"INSERT INTO jobs_jobevent ({_EVENT}) SELECT id, 1, 'create', '', state, created_at, %s, '{{}}' FROM made"
    woken = f", {waking.wake_sql(words)}" if wakes else ""
    return f"WITH made AS ({insert}), event AS ({event}) SELECT *{woken} FROM made"


@functools.cache
def _casts(using: str, names: tuple[str, ...]) -> tuple[str, ...]:
    """What PostgreSQL needs to be told of a parameter's type inside a SELECT."""
    if not dialect(using).writes_in_cte:
        return ("",) * len(names)
    types = {field.column: str(field.db_type(connections[using])) for field in Job._meta.concrete_fields}
    return tuple(f"::{'text' if types[name].startswith('varchar') else types[name]}" for name in names)


def _moment(run_after: datetime | timedelta | float | None, words: Dialect) -> tuple[str, list[Any]]:
    """`run_after` as SQL and its parameter."""
    if run_after is None:
        return words.no_moment, []
    if isinstance(run_after, datetime):
        return words.moment, [prepare(settings.DATABASE, Job, "run_after", run_after)]
    seconds = run_after.total_seconds() if isinstance(run_after, timedelta) else run_after
    return words.later("{now}"), [seconds]


def _jobs(draft: _Draft, rows: Sequence[Row], returned: Sequence[Sequence[Any]]) -> list[Job]:
    """Model instances as the rows were written."""
    payload = {row.id: row for row in rows}
    values = [read(draft.using, Job, _RETURNED, row) for row in returned]
    made = [_as_written(draft, one, payload[one["id"]]) for one in values]
    if made:
        moved = [Moved("create", "", job.state, draft.options.owner, dict(vars(job))) for job in made]
        after_commit(transitions.announce, moved)
    return sorted(made, key=lambda job: job.id)


def _as_written(draft: _Draft, returned: dict[str, Any], row: Row) -> Job:
    """The instance without `Model.__init__`, which asks each of seventy fields for its default: 0.1 ms."""
    job = Job.__new__(Job)
    vars(job).update(_defaults(), **draft.columns, **returned, updated_at=returned["created_at"])
    vars(job).update((name, copy.copy(vars(job)[name])) for name in _MUTABLE)
    job.args, job.kwargs = encoding.loads(row.args), encoding.loads(row.kwargs)
    job.partition, job.lane = row.partition, draft.lane(row.partition)
    job._state = ModelState()
    job._state.adding, job._state.db = False, draft.using
    return job


@functools.cache
def _defaults() -> dict[str, Any]:
    return {field.attname: field.get_default() for field in Job._meta.concrete_fields}


_MUTABLE = ("metadata", "tags", "diagnostics", "resources")


def _chunks(draft: _Draft, rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    """Rows for one statement each; newcomers that may be in each other's way one by one, each settled before."""
    for row in rows if draft.standing else ():
        conflicts.settle(draft.standing, draft.task, row.partition, row.id)  # type: ignore[arg-type]  # it is one here
        yield [row]
    iterator = iter(() if draft.standing else rows)
    while chunk := list(islice(iterator, CHUNK)):
        yield chunk
