"""Writes the output of running bodies to the database and reads whether they should stop.

One thread per process, with its own connection: a body may hold a transaction open, and its progress must neither wait
for that transaction nor be rolled back with it. The first change is written at once, further ones at most twice a
second; of several values the last one is written.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any
from uuid import UUID

from django.db import Error, InterfaceError, OperationalError, connections

from jobs.core.conf import settings
from jobs.core.db.dialects import dialect
from jobs.core.db.statements import change, execute_many, query
from jobs.core.db.values import prepare, read
from jobs.execution.fence import RUNNING, SAME_ATTEMPT
from jobs.models import Job, JobLog

logger = logging.getLogger(__name__)

WRITE_EVERY = 0.5  # seconds
ASK_EVERY = 1.0
Line = tuple[str, str, str]  # time, level, text
Rows = Sequence[tuple[Any, ...]]
FENCE = f"{SAME_ATTEMPT} AND {RUNNING}"
_NOTHING: Mapping[str, Any] = MappingProxyType({})
LINGER = 30.0  # seconds after which an idle flusher closes its connection and ends


class Outbox:
    """The output of a body that is not written yet, and whether the body should stop or pause. Thread-safe."""

    def __init__(self) -> None:
        self.writing = threading.Lock()  # held from `take` to the end of the write: the finishing write waits for it
        self._lock = threading.Lock()
        self._columns: dict[str, Any] = {}
        self._lines: list[Line] = []
        self.is_watched = False
        self.stop_reason: str | None = None
        self.is_pause_requested = False
        self.deadline: float | None = None  # by the monotonic clock
        self._on_stop: list[Callable[[], object]] = []

    @property
    def is_dirty(self) -> bool:
        """Whether output waits to be written."""
        return bool(self._columns or self._lines)

    @property
    def is_late(self) -> bool:
        """Whether the job is over its time-out."""
        return self.deadline is not None and time.monotonic() >= self.deadline

    @property
    def should_stop(self) -> bool:
        """Whether the body should stop, on request or because it is over its time-out."""
        return self.stop_reason is not None or self.is_late

    def on_stop(self, act: Callable[[], object]) -> None:
        """Have `act` called once, when the body should stop."""
        with self._lock:
            self._on_stop.append(act)

    def clear_callbacks(self) -> None:
        """Call none of the callbacks any more: the body has ended."""
        with self._lock:
            self._on_stop = []

    def run_callbacks(self) -> None:
        """Run the callbacks, each once."""
        with self._lock:
            acts, self._on_stop = self._on_stop, []
        for act in acts:
            try:
                act()
            except Exception:
                logger.exception("on_abort: %r failed", act)

    def update(self, **columns: Any) -> None:
        """Set columns to be written."""
        with self._lock:
            self._columns.update(columns)

    def add_line(self, line: Line) -> None:
        """Add a log line to be written."""
        with self._lock:
            self._lines.append(line)

    def take(self) -> tuple[dict[str, Any], list[Line]]:
        """Take out the columns and lines that are to be written."""
        with self._lock:
            columns, lines = self._columns, self._lines
            self._columns, self._lines = {}, []
        return columns, lines

    def put_back(self, columns: dict[str, Any], lines: list[Line]) -> None:
        """Undo a `take` whose write failed; newer values stay."""
        with self._lock:
            self._columns = {**columns, **self._columns}
            self._lines = lines + self._lines


class Flusher:
    """The thread and the outboxes that it writes. A forked child starts with an empty flusher."""

    def __init__(self) -> None:
        self._forget()
        os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        self._watched: dict[UUID, tuple[UUID, Outbox, float]] = {}
        self._thread: threading.Thread | None = None
        self._wake = threading.Condition()
        self._stopping = False
        self.inline = False
        self.is_interrupting = False

    def interrupt(self) -> None:
        """Interrupt every body of this process at its next check: the worker shuts down and cannot kill them."""
        self.is_interrupting = True

    def watch(self, job_id: UUID | None, attempt_id: UUID, outbox: Outbox) -> None:
        """Write this outbox from now on, and read whether its job should stop."""
        if job_id is None:
            return
        outbox.is_watched = True
        if self.inline:
            outbox.is_watched = False
            _exchange(job_id, attempt_id, outbox)
            return
        with self._wake:
            self._watched[attempt_id] = (job_id, outbox, 0.0)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="jobs-flusher", daemon=True)
                self._thread.start()
            self._wake.notify()

    def forget(self, attempt_id: UUID) -> None:
        """Stop writing the outbox of an attempt: the finishing write takes what is left in it."""
        with self._wake:
            self._watched.pop(attempt_id, None)

    def stop(self) -> None:
        """End the thread, which closes its connection; the next body starts another."""
        with self._wake:
            thread, self._stopping = self._thread, True
            self._wake.notify()
        if thread is not None:
            thread.join()
        self._stopping = False

    def _run(self) -> None:
        idle_since = time.monotonic()
        try:
            while True:
                if self._flush_due():
                    idle_since = time.monotonic()
                with self._wake:
                    if self._stopping or (not self._watched and time.monotonic() - idle_since >= LINGER):
                        self._thread = None  # under the lock, so that the next `watch` starts another thread
                        return
                    self._wake.wait(WRITE_EVERY / 5 if self._watched else LINGER)
        finally:
            with self._wake:
                if self._thread is threading.current_thread():
                    self._thread = None
            connections[settings.DATABASE].close()

    def _flush_due(self) -> bool:
        with self._wake:
            watched = list(self._watched.items())
        now, quiet = time.monotonic(), {}
        for attempt_id, (job_id, outbox, last) in watched:
            if not outbox.is_dirty and now - last >= ASK_EVERY:
                quiet[attempt_id] = job_id, outbox
            elif outbox.is_dirty and now - last >= WRITE_EVERY:
                self._guarded({attempt_id: (job_id, outbox)}, _exchange, job_id, attempt_id, outbox)
        if quiet:
            self._guarded(quiet, _ask, quiet)
        for _, (_, outbox, _) in watched:
            if outbox.should_stop or self.is_interrupting:
                outbox.run_callbacks()
        return bool(watched)

    def _guarded(self, outboxes: Mapping[UUID, tuple[UUID, Outbox]], act: Callable[..., None], *args: Any) -> None:
        names = ", ".join(str(job_id) for job_id, _ in outboxes.values())
        try:
            act(*args)
        except Error as error:
            logger.warning("progress of job %s not written: %s", names, error)
            connections[settings.DATABASE].close()
        except Exception:  # the thread also serves other bodies
            logger.exception("progress of job %s not written", names)
        with self._wake:
            for attempt_id in outboxes.keys() & self._watched.keys():
                self._watched[attempt_id] = (*outboxes[attempt_id], time.monotonic())


flusher = Flusher()


def write_lines(job_id: UUID, attempt_id: UUID, lines: Sequence[Line]) -> None:
    """Insert log lines."""
    using = settings.DATABASE
    table = JobLog._meta.db_table
    sql = f"INSERT INTO {table} (job_id, attempt_id, at, level, text) VALUES (%s, %s, %s, %s, %s)"
    ids = [prepare(using, JobLog, "job_id", job_id), prepare(using, JobLog, "attempt_id", attempt_id)]
    execute_many(using, sql, [(*ids, prepare(using, JobLog, "at", at), level, text) for at, level, text in lines])


def store_checkpoint(job_id: UUID, attempt_id: UUID, outbox: Outbox, checkpoint: str) -> None:
    """Write an encoded checkpoint at once, on this thread's connection, with the output before it.

    Reconnects once if the connection is dead: a body may not have used it for hours.
    """
    connection, extra = connections[settings.DATABASE], {"checkpoint": checkpoint}
    try:
        _exchange(job_id, attempt_id, outbox, extra)
    except (OperationalError, InterfaceError):
        if connection.in_atomic_block:
            raise
        connection.close()
        _exchange(job_id, attempt_id, outbox, extra)


def _exchange(job_id: UUID, attempt_id: UUID, outbox: Outbox, extra: Mapping[str, Any] = _NOTHING) -> None:
    """Write an outbox and extra (prepared) columns; read whether the job should stop or pause."""
    with outbox.writing:
        columns, lines = outbox.take()
        try:
            rows = _write(job_id, attempt_id, columns, extra)
            if lines and rows:
                write_lines(job_id, attempt_id, lines)
        except Error:
            outbox.put_back(columns, lines)
            raise
        outbox.stop_reason = _stop_reason(rows)
        outbox.is_pause_requested = any(row[-1] is not None for row in rows)


def _ask(outboxes: Mapping[UUID, tuple[UUID, Outbox]]) -> None:
    """Read in one statement which of the jobs should stop. For jobs without output to write."""
    using = settings.DATABASE
    db = dialect(using)
    columns = ("attempt_id", "cancel_requested_at", "reason")
    sql = f"SELECT {', '.join(columns)} FROM jobs_job WHERE {db.id_in('id')} AND {RUNNING}"
    requests: dict[UUID, list[tuple[Any, ...]]] = {}
    for row in query(using, sql, [db.id_list(job_id for job_id, _ in outboxes.values())]):
        requests[read(using, Job, columns, row)["attempt_id"]] = [row[1:]]
    for attempt_id, (_, outbox) in outboxes.items():
        outbox.stop_reason = _stop_reason(requests.get(attempt_id, []))


def _write(job_id: UUID, attempt_id: UUID, columns: Mapping[str, Any], extra: Mapping[str, Any]) -> Rows:
    """Write and read in one statement, under the fence of the attempt."""
    using = settings.DATABASE
    ids = [prepare(using, Job, "id", job_id), prepare(using, Job, "attempt_id", attempt_id)]
    # the columns themselves: SQLite 3.40 returns 1 for every `IS NOT NULL` in a RETURNING
    requests = "cancel_requested_at, reason, pause_requested_at"
    values = {**{name: prepare(using, Job, name, value) for name, value in columns.items()}, **extra}
    if values:
        sets = "".join(f"{name} = %s, " for name in values)
        return change(using, f"{sets}updated_at = {{now}}", list(values.values()), ids[0], FENCE, ids[1:], requests)
    return query(using, f"SELECT {requests} FROM jobs_job WHERE id = %s{FENCE}", ids)


def _stop_reason(rows: Rows) -> str | None:
    if not rows:
        return "this attempt no longer counts: the job was given to another worker, or ended"
    requested_at, reason = rows[0][:2]
    return None if requested_at is None else str(reason or "cancelled")
