"""The page of one job: its state, history, arguments and result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any
from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from jobs.core.db.clock import DbNow
from jobs.execution.context import FALLBACK_OF
from jobs.models import Attempt, Job, JobEvent, JobLog
from jobs.monitoring import formatting
from jobs.monitoring.counting import CEILING, Bounded, bounded
from jobs.monitoring.explain import Why, explain
from jobs.states import EDGES, MEANINGS, WAITING, JobState
from jobs.web.access import is_refresh, may, page, person, visible_jobs
from jobs.web.argument_previews import HEADS
from jobs.web.pages.pictures import picture_type

EVENTS, ATTEMPTS, LINES, REMARKS = 200, 50, 200, 50  # shown of each, the newest


@page
@require_safe
def job_detail(request: HttpRequest, job_id: UUID) -> HttpResponse:
    """One job, with its history and its values; secrets are masked."""
    job = visible_jobs(request).annotate(read_at=DbNow(), **HEADS).filter(pk=job_id).first()
    if job is None:
        raise Http404("There is no such job.")
    read_at: datetime = job.read_at  # type: ignore[attr-defined]  # annotated above
    context = {
        "job": job,
        "now": read_at,
        "meaning": MEANINGS[JobState(job.state)],
        **_history(job, read_at),
        **_permissions(request, job),
        "alike": _alike(request, job),
        "fallback_of": _id(job.metadata.get(FALLBACK_OF)),
        "values": _values(job),
        "facts": _facts(job),
        "picture_type": picture_type(job),
        "why": _why(request, job, read_at),
        "is_refresh": is_refresh(request),
    }
    return render(request, "jobs/job_detail.html", context)


def _history(job: Job, now: datetime) -> dict[str, Any]:
    """What happened to the job so far: events, attempts, errors, log."""
    events = list(job.events.order_by("-seq")[:EVENTS])[::-1]
    attempts = list(job.attempts.order_by("-run", "-number")[:ATTEMPTS])
    return {
        "steps": _steps(events),
        "phases": _phases(events, job.finished_at or now),
        "attempts": attempts,
        "error": _last_error(job, attempts),
        "fallback_job": _fallback_job(events),
        "lines": _lines(job),
        "remarks": job.diagnostics[-REMARKS:],
    }


def _permissions(request: HttpRequest, job: Job) -> dict[str, bool]:
    """Which actions the page offers."""
    return {
        "may_cancel": not job.is_final and may(request, "cancel_job", job),
        "may_retry": job.state in EDGES["requeue"].sources and may(request, "retry_job", job),
        "may_pause": _may_be_paused(job) and may(request, "pause_job", job),
        "may_resume": _may_be_resumed(job) and may(request, "pause_job", job),
        "is_staff": person(request).is_staff,
    }


def _may_be_paused(job: Job) -> bool:
    is_asked = job.pause_requested_at is not None or job.cancel_requested_at is not None
    return job.state in WAITING or (job.state == JobState.RUNNING and not is_asked and not job.at_most_once)


def _may_be_resumed(job: Job) -> bool:
    is_asked = job.state == JobState.RUNNING and job.pause_requested_at is not None
    return job.state == JobState.PAUSED or is_asked


@dataclass(frozen=True)
class Step:
    """An event, and the seconds since the one before it (None for the first shown)."""

    event: JobEvent
    gap: float | None


@dataclass(frozen=True)
class Phase:
    """A time in one state. `x` and `width` are thousandths of the whole bar."""

    state: str
    seconds: float
    x: float
    width: float


def _steps(events: Sequence[JobEvent]) -> list[Step]:
    gaps = [None, *((b.at - a.at).total_seconds() for a, b in pairwise(events))]
    return [Step(event, gap) for event, gap in zip(events, gaps, strict=False)]


def _phases(events: Sequence[JobEvent], end: datetime) -> list[Phase]:
    """How long the job was in each state, from its events. The last phase lasts until `end`."""
    moves = [event for event in events if event.from_state != event.to_state]
    ends = [*(event.at for event in moves[1:]), end]
    stays = [
        (move.to_state, max(0.0, (until - move.at).total_seconds())) for move, until in zip(moves, ends, strict=True)
    ]
    whole = sum(seconds for _, seconds in stays)
    phases: list[Phase] = []
    x = 0.0
    for state, seconds in stays if whole else ():
        width = 1000 * seconds / whole
        phases.append(Phase(state, seconds, round(x, 2), round(width, 2)))
        x += width
    return [phase for phase in phases if phase.width >= 0.5]


@dataclass(frozen=True)
class LastError:
    """The newest error, with its traceback if one was stored."""

    category: str
    type: str
    message: str
    traceback: str


def _last_error(job: Job, attempts: Sequence[Attempt]) -> LastError | None:
    """The error of a failed job, or of the last attempt of an unfinished one. Others are shown with their attempts."""
    if job.state in {JobState.COMPLETED, JobState.CANCELLED}:
        return None
    failed = next((attempt for attempt in attempts if attempt.error_type and attempt.run == job.run), None)
    if job.error_type or job.error_message:
        return LastError(
            job.error_category, job.error_type, job.error_message, failed.error_traceback if failed else ""
        )
    if failed is None:
        return None
    return LastError(failed.error_category, failed.error_type, failed.error_message, failed.error_traceback)


def _alike(request: HttpRequest, job: Job) -> Bounded | None:
    """How many jobs with the same error fingerprint this user may see, this one included."""
    if not job.error_fingerprint:
        return None
    return bounded(visible_jobs(request).alike(job.error_fingerprint)[: CEILING + 1].count())


def _fallback_job(events: Sequence[JobEvent]) -> UUID | None:
    """The fallback that was submitted last in place of this job."""
    fallbacks = [event.data.get("job") for event in events if event.name == "fallback"]
    return _id(fallbacks[-1]) if fallbacks else None


def _id(text: object) -> UUID | None:
    """An id from text that may be malformed."""
    try:
        return UUID(str(text))
    except ValueError:
        return None


@dataclass(frozen=True)
class Lines:
    """The end of the job's log."""

    lines: Sequence[JobLog]
    has_more: bool


def _lines(job: Job) -> Lines:
    newest = list(job.logs.order_by("-id")[: LINES + 1])
    return Lines(newest[:LINES][::-1], len(newest) > LINES)


def _values(job: Job) -> list[tuple[str, Any]]:
    """Titles and values of arguments, metadata and live data, without empty ones."""
    shown: list[tuple[str, Any]] = [("Arguments", job.args), ("Keyword arguments", job.kwargs)]
    shown += [("Metadata", job.metadata), ("Live state", job.live_state), ("Checkpoint", job.checkpoint)]
    return [(title, value) for title, value in shown if value not in (None, [], {})]


def _facts(job: Job) -> list[tuple[str, Any]]:
    """Short facts for the side panel, without empty ones."""
    names = (
        "pool",
        "priority",
        "manager",
        "owner",
        "operation_type",
        "external_id",
        "project_id",
        "session_id",
        "batch_id",
        "partition",
        "estimated_duration",
    )
    facts = [(name.replace("_", " ").capitalize(), getattr(job, name)) for name in names]
    facts += [("Tags", ", ".join(map(str, job.tags))), ("Run", job.run if job.run > 1 else None)]
    facts += [("Rescues", job.rescue_count or None), ("Fallback", job.fallback)]
    facts += [("Runs", "at most once" if job.at_most_once else None)]
    facts += formatting.bounds(job)
    return [(title, value) for title, value in facts if value not in (None, "")]


def _why(request: HttpRequest, job: Job, now: datetime) -> Why | None:
    """Why an unfinished job does not run. Holders that this person may not see are only counted."""
    if job.is_final or (job.state == JobState.RUNNING and job.pause_requested_at is None):
        return None
    why = explain(job, now)
    if not why.holder_ids or person(request).is_staff:
        return why
    return why.seen_by(set(visible_jobs(request).filter(pk__in=why.holder_ids).values_list("pk", flat=True)))
