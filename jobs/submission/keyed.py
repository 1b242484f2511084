"""The insert of a job with a key: at most one unfinished job holds it, whoever else inserts at the same moment."""

from __future__ import annotations

from django.db import OperationalError, transaction

from jobs.core.db.deadlock_retry import retry_on_deadlock
from jobs.core.db.dialects import dialect
from jobs.core.db.statements import query
from jobs.exceptions import KeyBusy
from jobs.models import Job
from jobs.submission import conflicts
from jobs.submission.batch import Draft
from jobs.submission.calls import Row
from jobs.submission.insertion import KEY_WAIT, Made, insert

LOCK_WAIT_TIMEOUT = 1205  # MariaDB


def insert_keyed(draft: Draft, row: Row, key: object) -> Made:
    """Insert unless an unfinished job holds the key; never aborts the caller's transaction.

    Who finds the key taken leaves nothing behind, no job of the partition cancelled for a newcomer that never came.
    """
    try:
        return _insert_whole(draft, row)
    except OperationalError as error:
        if _is_held(error):
            raise KeyBusy(key) from error
        raise


@retry_on_deadlock
def _insert_whole(draft: Draft, row: Row) -> Made:
    with transaction.atomic(using=draft.using):
        with _key_wait(draft.using):
            made = _insert_if_free(draft, row)
        if not made.jobs:
            transaction.set_rollback(True, using=draft.using)
        return made


def _insert_if_free(draft: Draft, row: Row) -> Made:
    """The key comes before the conflict policy: its holder is the answer, however full the partition is."""
    if draft.standing is not None:
        conflicts.lock(draft.task, [row.partition])
        if Job.objects.using(draft.using).with_key(str(draft.active_key)).exists():
            return Made([], is_left_to_caller=False)
    (made,) = insert(draft, [row])
    return made


class _key_wait:  # noqa: N801 - reads as a function where it is used
    """Bound, on PostgreSQL, how long others' open transactions on the same key are waited for: see `impatient` too."""

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
    """Whether others' open transactions were in the way: a lock time-out, or two that wait for each other's keys.

    On MariaDB the latter ends the caller's whole transaction, who must be told so.
    """
    is_late = error.args[:1] == (LOCK_WAIT_TIMEOUT,)
    return is_late or getattr(error.__cause__, "sqlstate", "") in {"55P03", "40P01"} or "locked" in str(error)
