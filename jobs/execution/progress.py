"""Carries what running bodies say to the database, and brings back whether they were asked to stop.

One small thread per process, started by the first body that says or asks something, with a connection of its own: a
body may hold a transaction open, and what it says must neither wait for that nor be undone with it. The first change
after a pause is written at once, further ones at most twice a second, and the last value wins.
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
from jobs.core.db.dialects import dialect, prepare, read
from jobs.core.db.statements import change, execute_many, query
from jobs.execution.fence import RUNNING, SAME_ATTEMPT
from jobs.models import Job, JobLog

logger = logging.getLogger(__name__)

WRITE_EVERY = 0.5  # seconds
ASK_EVERY = 1.0
Line = tuple[str, str, str]  # time, level, text
FENCE = f"{SAME_ATTEMPT} AND {RUNNING}"
_NOTHING: Mapping[str, Any] = MappingProxyType({})
LINGER = 30.0  # an idle flusher ends, and closes its connection, after so long


class Outbox:
    """What a body has said and not yet written; what came back is whether to stop or pause. Used by several threads."""

    def __init__(self) -> None:
        self.writing = threading.Lock()  # held from `take` to the end of the write: who finishes the job waits for it
        self._lock = threading.Lock()
        self._said: dict[str, Any] = {}
        self._lines: list[Line] = []
        self.is_watched = False
        self.stop_reason: str | None = None
        self.is_pause_requested = False
        self.deadline: float | None = None  # by the monotonic clock
        self._on_stop: list[Callable[[], object]] = []

    @property
    def is_dirty(self) -> bool:
        """Whether something waits to be written."""
        return bool(self._said or self._lines)

    @property
    def is_late(self) -> bool:
        """Whether the job is over its time-out."""
        return self.deadline is not None and time.monotonic() >= self.deadline

    @property
    def should_stop(self) -> bool:
        """Whether the body was asked to stop, or has used up its time."""
        return self.stop_reason is not None or self.is_late

    def on_stop(self, act: Callable[[], object]) -> None:
        """Have `act` called once, when the body should stop."""
        with self._lock:
            self._on_stop.append(act)

    def clear_callbacks(self) -> None:
        """The body has ended: nobody is to be called any more."""
        with self._lock:
            self._on_stop = []

    def run_callbacks(self) -> None:
        """Call whoever wanted to be; each once."""
        with self._lock:
            acts, self._on_stop = self._on_stop, []
        for act in acts:
            try:
                act()
            except Exception:
                logger.exception("on_abort: %r failed", act)

    def update(self, **columns: Any) -> None:
        """New values of columns; the last one wins."""
        with self._lock:
            self._said.update(columns)

    def add_line(self, line: Line) -> None:
        """A log line; every one is kept."""
        with self._lock:
            self._lines.append(line)

    def take(self) -> tuple[dict[str, Any], list[Line]]:
        """Columns and lines said since the last call; they count as written from now on."""
        with self._lock:
            said, lines = self._said, self._lines
            self._said, self._lines = {}, []
        return said, lines

    def put_back(self, said: dict[str, Any], lines: list[Line]) -> None:
        """Undo a `take` whose write did not happen; what was said since wins."""
        with self._lock:
            self._said = {**said, **self._said}
            self._lines = lines + self._lines


class Flusher:
    """The thread and what it watches. Survives a fork by starting anew in the child."""

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
        """The worker ends and cannot stop its bodies: each is told at its next look. For the rest of this process."""
        self.is_interrupting = True

    def watch(self, job_id: UUID | None, attempt_id: UUID, outbox: Outbox) -> None:
        """Write this outbox from now on, and ask whether its job should stop."""
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
        """The body has ended; what is left in the outbox goes with the finishing write."""
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
                        self._thread = None  # while holding the lock: who comes now starts another thread
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
                self._attend({attempt_id: (job_id, outbox)}, _exchange, job_id, attempt_id, outbox)
        if quiet:
            self._attend(quiet, _ask, quiet)
        for _, (_, outbox, _) in watched:
            if outbox.should_stop or self.is_interrupting:
                outbox.run_callbacks()
        return bool(watched)

    def _attend(self, outboxes: Mapping[UUID, tuple[UUID, Outbox]], act: Callable[..., None], *args: Any) -> None:
        names = ", ".join(str(job_id) for job_id, _ in outboxes.values())
        try:
            act(*args)
        except Error as error:
            logger.warning("progress of job %s not written: %s", names, error)
            connections[settings.DATABASE].close()
        except Exception:  # the thread serves other bodies as well, and brings them the request to stop
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
    """Write a checkpoint (encoded) at once, on this thread's own connection, with whatever was said before it.

    Reconnects once if the connection is dead: a body may not have used it for hours.
    """
    connection, also = connections[settings.DATABASE], {"checkpoint": checkpoint}
    try:
        _exchange(job_id, attempt_id, outbox, also)
    except (OperationalError, InterfaceError):
        if connection.in_atomic_block:
            raise
        connection.close()
        _exchange(job_id, attempt_id, outbox, also)


def _exchange(job_id: UUID, attempt_id: UUID, outbox: Outbox, also: Mapping[str, Any] = _NOTHING) -> None:
    """Write what was said, and columns as the database takes them; read whether the job should stop, or pause."""
    with outbox.writing:
        said, lines = outbox.take()
        try:
            rows = _write(job_id, attempt_id, said, also)
            if lines and rows:
                write_lines(job_id, attempt_id, lines)
        except Error:
            outbox.put_back(said, lines)
            raise
        outbox.stop_reason = _stop_reason(rows)
        outbox.is_pause_requested = any(row[-1] is not None for row in rows)


def _ask(outboxes: Mapping[UUID, tuple[UUID, Outbox]]) -> None:
    """Read whether any of the jobs should stop that have nothing to say, in one statement."""
    using = settings.DATABASE
    db = dialect(using)
    columns = ("attempt_id", "cancel_requested_at", "reason")
    sql = f"SELECT {', '.join(columns)} FROM jobs_job WHERE {db.id_in('id')} AND {RUNNING}"
    found: dict[UUID, list[tuple[Any, ...]]] = {}
    for row in query(using, sql, [db.id_list(job_id for job_id, _ in outboxes.values())]):
        found[read(using, Job, columns, row)["attempt_id"]] = [row[1:]]
    for attempt_id, (_, outbox) in outboxes.items():
        outbox.stop_reason = _stop_reason(found.get(attempt_id, []))


def _write(job_id: UUID, attempt_id: UUID, said: dict[str, Any], also: Mapping[str, Any]) -> Sequence[tuple[Any, ...]]:
    """One statement for both; fenced like every write of an attempt."""
    using = settings.DATABASE
    ids = [prepare(using, Job, "id", job_id), prepare(using, Job, "attempt_id", attempt_id)]
    # SQLite 3.40 answers `IS NOT NULL` with 1 in any RETURNING
    asked = "cancel_requested_at, reason, pause_requested_at"
    values = {**{name: prepare(using, Job, name, value) for name, value in said.items()}, **also}
    if values:
        columns = "".join(f"{name} = %s, " for name in values)
        return change(using, f"{columns}updated_at = {{now}}", list(values.values()), ids[0], FENCE, ids[1:], asked)
    return query(using, f"SELECT {asked} FROM jobs_job WHERE id = %s{FENCE}", ids)


def _stop_reason(rows: Sequence[tuple[Any, ...]]) -> str | None:
    if not rows:
        return "this attempt no longer counts: the job was given to another worker, or ended"
    requested_at, reason = rows[0][:2]
    return None if requested_at is None else str(reason or "cancelled")
