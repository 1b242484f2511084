"""Inserting a job with a run key: at most one unfinished job holds a key, also under concurrent inserts."""

from __future__ import annotations

from django.db import OperationalError, transaction

from jobs.core.db.deadlock_retry import retry_on_deadlock
from jobs.core.db.dialects import dialect
from jobs.core.db.statements import query
from jobs.exceptions import KeyBusy
from jobs.models import Job
from jobs.submission import conflicts
from jobs.submission.batch import Batch
from jobs.submission.calls import Row
from jobs.submission.insertion import KEY_WAIT, Inserted, insert

LOCK_WAIT_TIMEOUT = 1205  # MariaDB


def insert_keyed(batch: Batch, row: Row, key: object) -> Inserted:
    """Insert unless an unfinished job holds the key; never aborts the caller's transaction.

    If the key is taken nothing is written: the conflict policy has cancelled no job for one that was not inserted.
    """
    try:
        return _insert_whole(batch, row)
    except OperationalError as error:
        if _is_held(error):
            raise KeyBusy(key) from error
        raise


@retry_on_deadlock
def _insert_whole(batch: Batch, row: Row) -> Inserted:
    with transaction.atomic(using=batch.using):
        with _key_wait(batch.using):
            inserted = _insert_if_free(batch, row)
        if not inserted.jobs:
            transaction.set_rollback(True, using=batch.using)
        return inserted


def _insert_if_free(batch: Batch, row: Row) -> Inserted:
    """The key is looked up before the conflict policy acts: its holder is the answer, however full the partition is."""
    if batch.conflict_rule is not None:
        conflicts.lock(batch.task, [row.partition])
        if Job.objects.using(batch.using).with_key(str(batch.active_key)).exists():
            return Inserted([], is_left_to_caller=False)
    (inserted,) = insert(batch, [row])
    return inserted


class _key_wait:  # noqa: N801 - reads as a function where it is used
    """On PostgreSQL, limit the wait for another open transaction with the same key. (MariaDB: `with_lock_timeout`.)"""

    def __init__(self, using: str) -> None:
        self.using = using

    def __enter__(self) -> None:
        if dialect(self.using).sets_locally:
            sql = "SELECT current_setting('lock_timeout'), set_config('lock_timeout', %s, true)"
            self.before = query(self.using, sql, [f"{KEY_WAIT}s"])[0][0]

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None and dialect(self.using).sets_locally:
            query(self.using, "SELECT set_config('lock_timeout', %s, true)", [self.before])


def _is_held(error: OperationalError) -> bool:
    """Whether another open transaction holds the key: a lock time-out, or a deadlock of two such transactions.

    On MariaDB a deadlock rolls back the caller's whole transaction, so the error must reach the caller.
    """
    is_late = error.args[:1] == (LOCK_WAIT_TIMEOUT,)
    return is_late or getattr(error.__cause__, "sqlstate", "") in {"55P03", "40P01"} or "locked" in str(error)
