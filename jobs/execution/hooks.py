"""Runs the hooks of a task when a job ends: `on_cancel`, then `cleanup`, once for each run that was started.

The first claim of a run inserts a row for them. As a rule the process of the body runs the hooks; if it died, or the
job was ended from outside, the steward asks a worker of the job's pool. A process claims the row before it runs them,
for HOOK_TIMEOUT at most. A hook that raises is logged and recorded; it does not change how the job ended.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import BooleanField, Exists, F, OuterRef, Q, QuerySet
from django.db.models.expressions import Combinable, RawSQL
from uuid_utils.compat import uuid7

from jobs.core import encoding
from jobs.core.conf import settings
from jobs.core.db.clock import DbNow
from jobs.core.db.dialects import dialect
from jobs.core.db.statements import execute
from jobs.core.db.values import prepare
from jobs.core.hostname import HOSTNAME
from jobs.execution import context
from jobs.execution.body import call_body
from jobs.execution.context import JobContext, JobPaused, JobSnoozed
from jobs.execution.fence import RUNNING
from jobs.execution.progress import write_lines
from jobs.models import Hook, Job, JobEvent, Worker, transitions
from jobs.models.expressions import Later
from jobs.states import FINAL, JobState

logger = logging.getLogger(__name__)

HookFunction = Callable[[JobContext], object]
MAX_TAKES = 3  # processes that may die while they run the hooks of one run
SCAN_BATCH = 500  # rows


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
    """The hooks of one run, claimed by this process; `claims` is the fence of that claim."""

    id: UUID
    job_id: UUID
    run: int
    claims: int
    on_cancel_done: bool


def note_pending(job_id: UUID, run: int) -> None:
    """Note, in the claim's transaction, that this run has hooks; a later attempt of the run finds the note."""
    using = settings.DATABASE
    unless_there = dialect(using).on_conflict_update(("job_id", "run"), "run")
    columns, defaults = "id, job_id, run, on_cancel_done, takes, rings", "%s, %s, %s, FALSE, 0, 0"
    sql = f"INSERT INTO jobs_hook ({columns}) VALUES ({defaults}) {unless_there}"
    execute(using, sql, [prepare(using, Hook, "id", uuid7()), prepare(using, Hook, "job_id", job_id), run])


def before_cancel(
    hooks: Hooks, job: JobContext, row: dict[str, Any], fence: str, params: Sequence[Any], worker: UUID | None
) -> None:
    """Run `on_cancel` in the process of a body that has stopped, while the fence still matches the running job."""
    if hooks.on_cancel is None:
        return
    sql = f"EXISTS (SELECT 1 FROM jobs_job WHERE {fence} AND {RUNNING})"
    matches = RawSQL(sql, params, output_field=BooleanField())  # noqa: S611 - the fence is our own text
    claimed = _claim(row["id"], row["run"], worker, matches)
    if claimed is not None and not claimed.on_cancel_done:
        job.reason = _reason(row["id"])
        _run_on_cancel(hooks.on_cancel, claimed, job)
        _row_of(claimed).update(claimed_at=None)


def after_end(hooks: Hooks, job: JobContext, row: dict[str, Any], worker: UUID | None) -> None:
    """Run the remaining hooks in the process of a body whose attempt was the job's last."""
    if not hooks:
        return
    claimed = _claim(row["id"], row["run"], worker, _has_ended(attempt_id=row["attempt_id"]))
    if claimed is not None:
        _run_rest(hooks, claimed, job)


def before_run(hooks: Hooks, row: dict[str, Any], worker: UUID | None) -> None:
    """Run the remaining hooks of earlier runs before the next one starts: a cleanup must not overlap the body."""
    if hooks and row["run"] > 1:
        for earlier in Hook.objects.using(settings.DATABASE).filter(job_id=row["id"], run__lt=row["run"]):
            run_remaining(earlier.job_id, earlier.id, hooks, worker)


def run_remaining(job_id: UUID, hook_id: UUID, hooks: Hooks, worker: UUID | None) -> bool:
    """Run the remaining hooks of a run that has ended; False when there are none, or another process runs them."""
    using = settings.DATABASE
    row = Hook.objects.using(using).filter(pk=hook_id).first()
    job = Job.objects.using(using).annotate(read_at=DbNow()).filter(pk=job_id).first()
    if row is None or job is None:
        return False
    claimed = _claim(job_id, row.run, worker, _has_ended())
    if claimed is None:
        return False
    columns = vars(job)
    _run_rest(hooks, claimed, JobContext.of_job(columns, started_at=columns["read_at"]))
    return True


def due(after: UUID, settled: float) -> tuple[list[Hook], UUID | None]:
    """Hooks that wait to be run, with their jobs, among the next SCAN_BATCH rows after an id; and the last id scanned.

    The id is None at the end of the table. The job must have ended `settled` seconds ago: as a rule the process of its
    body runs the hooks itself, right after the end.
    """
    hooks = Hook.objects.using(settings.DATABASE).order_by("pk")
    ids = list(hooks.filter(pk__gt=after).values_list("pk", flat=True)[:SCAN_BATCH])
    is_settled = Q(job__finished_at=None) | Q(job__finished_at__lte=Later(DbNow(), -settled))
    waiting = hooks.select_related("job").filter(_has_ended(), _is_free(), is_settled, pk__in=ids)
    return list(waiting), ids[-1] if len(ids) == SCAN_BATCH else None


def discard(row: Hook) -> None:
    """Delete hooks that MAX_TAKES processes have died over."""
    if Hook.objects.using(settings.DATABASE).filter(pk=row.pk, claims=row.claims).delete()[0]:
        data = {"error": f"given up: {row.claims} processes have ended over the hooks"}
        transitions.note(row.job_id, "cleanup", actor=HOSTNAME, data=data)


def _run_rest(hooks: Hooks, claimed: ClaimedHooks, job: JobContext) -> None:
    job.outcome, job.reason = _outcome(claimed), _reason(claimed.job_id)
    if hooks.on_cancel is not None and job.outcome == JobState.CANCELLED and not claimed.on_cancel_done:
        _run_on_cancel(hooks.on_cancel, claimed, job)
    if hooks.cleanup is not None:
        _call("cleanup", hooks.cleanup, claimed, job)
    _row_of(claimed).delete()


def _run_on_cancel(hook: HookFunction, claimed: ClaimedHooks, job: JobContext) -> None:
    _call("on_cancel", hook, claimed, job)
    _row_of(claimed).update(on_cancel_done=True)


def _call(name: str, hook: HookFunction, claimed: ClaimedHooks, job: JobContext) -> None:
    """Call one hook and note it in the job's history, with its error if it raised.

    An exit that kills this process is let through: the hook is not noted as done, and another process runs it again.
    """
    data: dict[str, str] = {}
    token, job.hook = context.bind(job), name
    try:
        call_body(hook, job)
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


def _claim(job_id: UUID, run: int, worker: UUID | None, condition: Combinable | Exists) -> ClaimedHooks | None:
    """Claim the hooks of a run under a condition, unless a living process runs them.

    All conditions stand in the UPDATE itself, as subqueries of the row: of two processes one gets the row.
    """
    using = settings.DATABASE
    hooks = Hook.objects.using(using).filter(job_id=job_id, run=run)
    with transaction.atomic(using=using):
        free = hooks.filter(_is_free(), condition)
        if not free.update(claimed_at=DbNow(), claims=F("claims") + 1, worker_id=worker):
            return None
        row = hooks.get()
    return ClaimedHooks(row.id, job_id, run, row.claims, row.on_cancel_done)


def _is_free() -> Q:
    """Whether no living process runs the hooks.

    A claim older than the job's end is that of the body's process for `on_cancel`. It has died since: it would have
    released the row before it ended the job.
    """
    ended_since = Job.objects.filter(pk=OuterRef("job_id"), finished_at__gt=OuterRef("claimed_at"))
    fenced = Worker.objects.filter(boot_id=OuterRef("worker_id"), fenced_at__isnull=False)
    timed_out = Q(claimed_at__lt=Later(DbNow(), -settings.HOOK_TIMEOUT))
    return Q(claimed_at=None) | timed_out | Q(Exists(ended_since)) | Q(Exists(fenced))


def _has_ended(**job: Any) -> Exists:
    """Whether the run of a row has ended, and its job matches these lookups."""
    ended = Q(state__in=FINAL) | Q(run__gt=OuterRef("run"))
    return Exists(Job.objects.filter(ended, pk=OuterRef("job_id"), **job))


def _row_of(claimed: ClaimedHooks) -> QuerySet[Hook]:
    return Hook.objects.using(settings.DATABASE).filter(pk=claimed.id, claims=claimed.claims)


def _outcome(claimed: ClaimedHooks) -> str:
    """The state at which the run ended: each run has one such event."""
    ends = JobEvent.objects.using(settings.DATABASE).filter(job_id=claimed.job_id, to_state__in=FINAL)
    states = ends.exclude(from_state__in=FINAL).order_by("seq").values_list("to_state", flat=True)
    return next(iter(states[claimed.run - 1 : claimed.run]), "")


def _reason(job_id: UUID) -> str:
    reasons = Job.objects.using(settings.DATABASE).filter(pk=job_id).values_list("reason", flat=True)
    return reasons.first() or ""
