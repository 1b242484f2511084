"""`self.job` inside a running body: what it may ask and say. Saying touches memory; a flusher writes.

Nothing here moves a job: a body that must stop is told so by an exception, and `execution` takes the edge.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NoReturn
from uuid import UUID, uuid4

from django.db import connections

from jobs.core import encoding
from jobs.core.conf import settings
from jobs.exceptions import JobAborted, JobFailed, JobTimedOut
from jobs.execution.progress import Outbox, flusher, store_checkpoint
from jobs.execution.resources import meter, tmpdirs

DIAGNOSTICS_KEPT = 200
_FAR_AWAY = 10**9  # seconds
_FROM_JOB = ("id", "key", "attempt", "args", "kwargs", "metadata", "owner", "attempt_id")
FALLBACK_OF, FALLBACK_CHAIN, FALLBACK_ERROR = "fallback_of", "fallback_chain", "fallback_error"  # in the metadata


class JobSnoozed(BaseException):
    """Raised by `snooze()`: ends this attempt; the job comes back after `seconds` and no retry is used."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"snoozed for {seconds} s")
        self.seconds = seconds


class JobPaused(BaseException):
    """Raised by `checkpoint()` when a pause is requested: ends this attempt; the job waits until it is resumed."""


class JobInterrupted(BaseException):
    """Raised inside a body whose worker is shut down and cannot stop it otherwise: no attempt is used."""


@dataclass
class JobContext:
    """What `self.job` is. Times are the database's clock: the claim's, carried on by a monotonic one.

    `args`, `kwargs`, `metadata` are the job's own, `owner` a string; `attempt` counts from 1 in each run.
    `resume_data` is what the last checkpoint of this run kept, None where there was none. In a hook, whose name is
    `hook`, `reason` says why the job was cancelled, `outcome` is the state it ended at, and nobody asks to stop any
    more. A detached one (a direct call of the function, outside any job)
    has no id and remembers what it is told without writing it.
    """

    id: UUID | None = None
    key: str | None = None
    attempt: int = 0
    args: list[Any] = field(default_factory=list)
    kwargs: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    owner: str = ""
    attempt_id: UUID | None = None
    started_at: datetime | None = None
    resume_data: Any = None
    reason: str = ""
    outcome: str = ""
    hook: str = ""
    in_transaction: bool = False
    timeout: float | None = None
    outbox: Outbox = field(default_factory=Outbox)
    diagnostics: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=DIAGNOSTICS_KEPT))
    _begun: float = field(default_factory=time.monotonic)
    _meter: meter.Meter | None = None
    _directory: tmpdirs.TempDir | None = None
    _used: meter.Columns | None = None
    _has_ended: bool = False

    @classmethod
    def of_job(cls, row: Mapping[str, Any], **options: Any) -> JobContext:
        """The context of an attempt, from its job's columns."""
        return cls(**{name: row[name] for name in _FROM_JOB}, resume_data=row["checkpoint"], **options)

    def __post_init__(self) -> None:
        if self.timeout is not None:
            self.outbox.deadline = self._begun + self.timeout

    def progress(
        self,
        percent: float,
        message: str | None = None,
        stage: str | None = None,
        sub_progress: float | None = None,
        **diagnostics: Any,
    ) -> None:
        """Say how far the job is: `percent` 0-100 of the whole, `sub_progress` 0-100 of the stage.

        Cheap enough for a hot loop: it writes to memory, and at most twice a second to the database. Further keywords
        become a diagnostic entry. Raises what `check` raises.
        """
        said: dict[str, Any] = {"progress": _percent("percent", percent)}
        if message is not None:
            said["message"] = encoding.clean_text(message, 1000)
        if stage is not None:
            said["stage"] = encoding.clean_text(stage, 200)
        if sub_progress is not None:
            said["sub_progress"] = _percent("sub_progress", sub_progress)
        if diagnostics:
            stored = encoding.check_json(diagnostics, field="diagnostics")
            self.diagnostics.append({"at": self._now(), "level": "info", **stored})
            said["diagnostics"] = list(self.diagnostics)
        self.outbox.update(**said)
        self.check()

    def set_state(self, state: Any) -> None:
        """Say what the job's own state is: any JSON, shown as `handle.state`; InvalidPayload for what is none."""
        encoding.dumps(state, field="state")
        self.outbox.update(live_state=state)
        self._watch()

    def check(self) -> None:
        """Raise JobAborted when the job's cancellation was requested, or when this attempt no longer counts.

        Raises JobTimedOut when it is over its time-out.
        """
        self._watch()
        if not self.hook:
            self._stop_if_told()

    @property
    def error(self) -> dict[str, Any] | None:
        """In a fallback: what the job in whose place it runs has failed of; else None.

        Its category, type, message (1,000 characters), fingerprint and number of attempts.
        """
        return self.metadata.get(FALLBACK_ERROR)

    @property
    def aborted(self) -> bool:
        """Whether the job should stop, without raising: it was asked to, is over its time-out, or its worker ends.

        In a hook it never is: nobody asks that to stop.
        """
        self._watch()
        return not self.hook and (self.outbox.should_stop or flusher.is_interrupting)

    def on_abort(self, act: Callable[[], object]) -> None:
        """Call `act()` once, as soon as the job should stop: to close a socket, or to end a process, that it waits for.

        It is called in another thread than the body's, within about a second, or here where the job should stop
        already; what it raises is logged. The exception comes in the body, at its next `check()` or `progress()`.
        """
        if self.hook:
            return
        self.outbox.on_stop(act)
        if self.aborted:
            self.outbox.run_callbacks()

    def checkpoint(self, data: Any) -> None:
        """Keep what the next attempt needs to go on from here: it finds it as `resume_data`.

        Stored when this returns, by one small write (JSON as arguments are, `MAX_PAYLOAD` at most); the last one wins.
        With a pause requested it does not return: the attempt ends, its slot is free, and the job goes on from here
        once it is resumed. Raises what `check` raises, after the data is stored, and JobFailed inside a transaction of
        the body's own, which could take it back.
        """
        stored = encoding.dumps(data, field="checkpoint")
        if self.id is None or self.attempt_id is None or self.hook:
            self.resume_data = encoding.loads(stored)
            return
        if connections[settings.DATABASE].in_atomic_block and not self.in_transaction:
            raise JobFailed(
                "checkpoint() inside a transaction, which may be rolled back: leave the atomic block first."
            )
        store_checkpoint(self.id, self.attempt_id, self.outbox, stored)
        self.resume_data = encoding.loads(stored)
        self._stop_if_told()
        if self.outbox.is_pause_requested:
            raise JobPaused

    def log(self, line: str, level: str = "info") -> None:
        """Add a line to the job's log, shown on its page."""
        self.outbox.add_line((self._now(), encoding.clean_text(str(level), 10), encoding.clean_text(str(line), 10_000)))
        self._watch()

    def snooze(self, seconds: float) -> NoReturn:
        """End this attempt now and run the job again after so many seconds, without using a retry. Never returns."""
        raise JobSnoozed(seconds_within_reach("seconds", seconds))

    def update_metadata(self, **pairs: Any) -> None:
        """Add to the job's metadata; written with the next flush."""
        stored = encoding.check_json({**self.metadata, **pairs}, field="metadata")  # the body may have written to it
        self.metadata.update(pairs)
        self.outbox.update(metadata=stored)
        self._watch()

    def _stop_if_told(self) -> None:
        if self.outbox.stop_reason is not None:
            raise JobAborted(self.outbox.stop_reason)
        if self.outbox.is_late:
            raise JobTimedOut(self.timeout or 0, time.monotonic() - self._begun)
        if flusher.is_interrupting:
            raise JobInterrupted

    @property
    def tmpdir(self) -> Path:
        """A directory of this attempt's own, made at the first use and gone when the body has ended, however it ended.

        What it takes on its disk is measured, and held against the job's `disk_mb`. A hook that runs after the end has
        one that is gone with the hook; for anybody else there is none any more, and JobFailed says so.
        """
        with _making:
            if self._has_ended and not self.hook:
                raise JobFailed("tmpdir after the end of the attempt: its directory is gone.")
            if self._directory is None:
                self._directory = tmpdirs.make(self.attempt_id or uuid4())
                if self.attempt_id is None:  # a stand-in is nobody's to close
                    weakref.finalize(self, tmpdirs.remove, self._directory)
        return self._directory.path

    def begin(self) -> None:
        """The body is about to run: measure what it uses."""
        if self.attempt_id is not None:
            self._meter = meter.start(self.attempt_id)

    def end(self) -> meter.Columns:
        """The body has ended, or a hook: its directory goes; what the body used, as columns of the attempt.

        Again: the same answer.
        """
        with _making:
            directory, self._directory, self._has_ended = self._directory, None, True
        if self._used is None:
            disk = None if directory is None else tmpdirs.size(directory.path)
            self._used = {} if self._meter is None else self._meter.stop(disk)
        if directory is not None:
            tmpdirs.remove(directory)
        return self._used

    def _watch(self) -> None:
        if self.attempt_id is not None and not self.outbox.is_watched and not self.hook:
            flusher.watch(self.id, self.attempt_id, self.outbox)

    def _now(self) -> str:
        elapsed = timedelta(seconds=time.monotonic() - self._begun)
        return (self.started_at + elapsed).isoformat() if self.started_at else ""


_making = threading.Lock()  # a body's threads may ask for its directory at once
_current: ContextVar[JobContext | None] = ContextVar("current_job", default=None)


def current() -> JobContext | None:
    """The job whose body runs here, if one does."""
    return _current.get()


def bind(job: JobContext | None) -> Any:
    """Make a job the current one; the token given back ends that with `unbind`."""
    return _current.set(job)


def unbind(token: Any) -> None:
    """Undo `bind`."""
    _current.reset(token)


def seconds_within_reach(name: str, value: float) -> float:
    """A time to wait that a database can add to its clock; ValueError for any other, a negative one is 0."""
    if not value < _FAR_AWAY:  # NaN compares false and is refused with the rest
        raise ValueError(f"{name} must be a number of seconds below {_FAR_AWAY:,}, not {value!r}")
    return max(0.0, float(value))


def _percent(name: str, value: float) -> float:
    if not 0 <= value <= 100:  # NaN compares false and is refused with the rest
        raise ValueError(f"{name} must be from 0 to 100, not {value!r}")
    return float(value)
