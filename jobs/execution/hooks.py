"""What a task does when one of its jobs ends: `on_cancel`, then `cleanup`, once for each run of the job that was begun.

The claim arms them with a row beside its own write. The process of the body runs them itself as a rule; where it is
dead, or another ended the job, the steward asks a worker of the job's pool. Whoever runs them takes the row first, for
HOOK_TIMEOUT at most. One that raises is recorded, and changes nothing of how the job ended.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import transaction
from uuid_utils.compat import uuid7

from jobs.core import encoding
from jobs.core.conf import settings
from jobs.core.db.dialects import DbNow, dialect, prepare, read
from jobs.core.db.statements import execute, query
from jobs.core.hostname import HOSTNAME
from jobs.execution import context
from jobs.execution.body import call_body
from jobs.execution.context import JobContext, JobPaused, JobSnoozed
from jobs.execution.progress import write_lines
from jobs.models import Hook, Job, JobEvent, transitions
from jobs.states import FINAL, JobState

logger = logging.getLogger(__name__)

HookFunction = Callable[[JobContext], object]
MAX_TAKES = 3  # processes that may die over them before they are given up
SCAN_BATCH = 500  # rows looked at in one go
ENDED = f"(j.state IN ({', '.join(repr(str(state)) for state in sorted(FINAL))}) OR j.run > jobs_hook.run)"


@dataclass(eq=False)
class Hooks:
    """The functions that a task has registered; each gets the job's context."""

    on_cancel: HookFunction | None = None
    cleanup: HookFunction | None = None

    def __bool__(self) -> bool:
        return self.on_cancel is not None or self.cleanup is not None


NO_HOOKS = Hooks()


@dataclass(frozen=True)
class ClaimedHooks:
    """The row of a run's hooks, taken by this process."""

    id: UUID
    job_id: UUID
    run: int
    takes: int
    on_cancel_done: bool


def note_pending(job_id: UUID, run: int) -> None:
    """Note, in the claim's transaction, that this run has hooks; a later attempt finds them noted."""
    using = settings.DATABASE
    unless_there = dialect(using).on_conflict_update(("job_id", "run"), "run")
    columns, defaults = "id, job_id, run, on_cancel_done, takes, rings", "%s, %s, %s, FALSE, 0, 0"
    sql = f"INSERT INTO jobs_hook ({columns}) VALUES ({defaults}) {unless_there}"
    execute(using, sql, [_id(uuid7()), _id(job_id), run])


def before_cancel(
    hooks: Hooks, job: JobContext, row: dict[str, Any], fence: str, params: Sequence[Any], worker: UUID | None
) -> None:
    """Run `on_cancel` in the process of a body that has stopped, while the attempt still stands at the fence."""
    if hooks.on_cancel is None:
        return
    stands = f"EXISTS (SELECT 1 FROM jobs_job WHERE {fence} AND COALESCE(state, '') = 'running')"
    claimed = _take(row["id"], row["run"], worker, stands, params)
    if claimed is not None and not claimed.on_cancel_done:
        job.reason = _reason(row["id"])
        _run_on_cancel(hooks.on_cancel, claimed, job)
        sql = "UPDATE jobs_hook SET taken_at = NULL WHERE id = %s AND takes = %s"
        execute(settings.DATABASE, sql, [_id(claimed.id), claimed.takes])


def after_end(hooks: Hooks, job: JobContext, row: dict[str, Any], worker: UUID | None) -> None:
    """Run what is left in the process of a body, if its attempt was the job's last."""
    if not hooks:
        return
    mine = f"EXISTS (SELECT 1 FROM jobs_job j WHERE j.id = jobs_hook.job_id AND j.attempt_id = %s AND {ENDED})"
    claimed = _take(row["id"], row["run"], worker, mine, [_id(row["attempt_id"])])
    if claimed is not None:
        _run_rest(hooks, claimed, job)


def before_run(hooks: Hooks, row: dict[str, Any], worker: UUID | None) -> None:
    """Run what an earlier run of the job has left, before its next one begins: a cleanup must not meet the body."""
    if hooks and row["run"] > 1:
        for run in Hook.objects.using(settings.DATABASE).filter(job_id=row["id"], run__lt=row["run"]):
            run_remaining(run.job_id, run.id, hooks, worker)


def run_remaining(job_id: UUID, hook_id: UUID, hooks: Hooks, worker: UUID | None) -> bool:
    """Run what is left of the hooks of a run that has ended; False when there is nothing left, or another is at it."""
    using = settings.DATABASE
    row = Hook.objects.using(using).filter(pk=hook_id).first()
    job = Job.objects.using(using).annotate(read_at=DbNow()).filter(pk=job_id).first()
    if row is None or job is None:
        return False
    ended = f"EXISTS (SELECT 1 FROM jobs_job j WHERE j.id = jobs_hook.job_id AND {ENDED})"
    claimed = _take(job_id, row.run, worker, ended)
    if claimed is None:
        return False
    _run_rest(hooks, claimed, JobContext.of_job(vars(job), started_at=job.read_at))  # type: ignore[attr-defined]  # annotated above
    return True


def due(beyond: UUID, settled: float) -> tuple[list[Hook], UUID | None]:
    """Hooks that wait to be run, with their jobs, among the next SCAN_BATCH rows after an id; and the last id scanned.

    The id is None at the end of the table. The job must have ended `settled` seconds ago: as a rule the process of its
    body runs the hooks itself, right after the end.
    """
    using = settings.DATABASE
    db = dialect(using)
    rows = Hook.objects.using(using)
    ids = list(rows.filter(pk__gt=beyond).order_by("pk").values_list("pk", flat=True)[:SCAN_BATCH])
    sql = (
        "SELECT jobs_hook.id FROM jobs_hook JOIN jobs_job j ON j.id = jobs_hook.job_id"
        f" WHERE {db.id_in('jobs_hook.id')} AND {ENDED} AND {_free(using)}"
        f" AND (j.finished_at IS NULL OR j.finished_at <= {db.later('{now}')})"
    )
    found = query(using, sql, [db.id_list(ids), -settings.HOOK_TIMEOUT, -settled]) if ids else []
    have_work = rows.select_related("job").filter(pk__in=[read(using, Hook, ("id",), row)["id"] for row in found])
    return list(have_work.order_by("pk")), ids[-1] if len(ids) == SCAN_BATCH else None


def discard(row: Hook) -> None:
    """Forget hooks that nobody has survived."""
    gone = execute(settings.DATABASE, "DELETE FROM jobs_hook WHERE id = %s AND takes = %s", [_id(row.id), row.takes])
    if gone:
        data = {"error": f"given up: {row.takes} processes have ended over the hooks"}
        transitions.note(row.job_id, "cleanup", actor=HOSTNAME, data=data)


def _run_rest(hooks: Hooks, claimed: ClaimedHooks, job: JobContext) -> None:
    job.outcome, job.reason = _outcome(claimed), _reason(claimed.job_id)
    if hooks.on_cancel is not None and job.outcome == JobState.CANCELLED and not claimed.on_cancel_done:
        _run_on_cancel(hooks.on_cancel, claimed, job)
    if hooks.cleanup is not None:
        _call("cleanup", hooks.cleanup, claimed, job)
    execute(settings.DATABASE, "DELETE FROM jobs_hook WHERE id = %s AND takes = %s", [_id(claimed.id), claimed.takes])


def _run_on_cancel(act: HookFunction, claimed: ClaimedHooks, job: JobContext) -> None:
    _call("on_cancel", act, claimed, job)
    sql = "UPDATE jobs_hook SET on_cancel_done = TRUE WHERE id = %s AND takes = %s"
    execute(settings.DATABASE, sql, [_id(claimed.id), claimed.takes])


def _call(name: str, act: HookFunction, claimed: ClaimedHooks, job: JobContext) -> None:
    """Call one hook. What it raises is kept beside the job's history; an exit that kills this process is let through.

    Then nobody notes that it was done, and another process does it again.
    """
    data: dict[str, str] = {}
    token, job.hook = context.bind(job), name
    try:
        call_body(act, job)
    except (Exception, JobSnoozed, JobPaused) as error:
        logger.exception("hook %s of job %s failed", name, claimed.job_id)
        kind, message, _ = encoding.describe_error(error)
        data = {"error": encoding.clean_text(f"{kind}: {message}", 1000)}
    finally:
        context.unbind(token)
        job.end()
    _, lines = job.outbox.take() if job.outcome else ({}, [])
    if lines and job.attempt_id is not None:
        write_lines(claimed.job_id, job.attempt_id, lines)
    transitions.note(claimed.job_id, name, actor=HOSTNAME, data=data)


def _take(job_id: UUID, run: int, worker: UUID | None, when: str, params: Sequence[Any] = ()) -> ClaimedHooks | None:
    """Take the row of a run's hooks where nobody living is at it."""
    using = settings.DATABASE
    sql = (
        "UPDATE jobs_hook SET taken_at = {now}, takes = takes + 1, worker_id = %s"
        f" WHERE job_id = %s AND run = %s AND {_free(using)} AND {when}"
    )
    me = None if worker is None else prepare(using, Hook, "worker_id", worker)
    with transaction.atomic(using=using):
        if not execute(using, sql, [me, _id(job_id), run, -settings.HOOK_TIMEOUT, *params]):
            return None
        row = Hook.objects.using(using).get(job_id=job_id, run=run)
    return ClaimedHooks(row.id, job_id, run, row.takes, row.on_cancel_done)


def _free(using: str) -> str:
    """SQL: nobody living is at it. One parameter: minus HOOK_TIMEOUT.

    Taken before the job's end means by the process of the body, for `on_cancel`: it has died of that, or of a kill.
    """
    ended = "SELECT 1 FROM jobs_job f WHERE f.id = jobs_hook.job_id AND f.finished_at > taken_at"
    fenced = "SELECT 1 FROM jobs_worker w WHERE w.boot_id = jobs_hook.worker_id AND w.fenced_at IS NOT NULL"
    silent = f"taken_at < {dialect(using).later('{now}')}"
    return f"(taken_at IS NULL OR {silent} OR EXISTS ({ended}) OR EXISTS ({fenced}))"


def _outcome(claimed: ClaimedHooks) -> str:
    """The state at which the run ended: each run has one such event."""
    ends = JobEvent.objects.using(settings.DATABASE).filter(job_id=claimed.job_id, to_state__in=FINAL)
    moves = ends.exclude(from_state__in=FINAL).order_by("seq").values_list("to_state", flat=True)
    return next(iter(moves[claimed.run - 1 : claimed.run]), "")


def _reason(job_id: UUID) -> str:
    found = Job.objects.using(settings.DATABASE).filter(pk=job_id).values_list("reason", flat=True).first()
    return found or ""


def _id(value: UUID) -> Any:
    return prepare(settings.DATABASE, Job, "id", value)
