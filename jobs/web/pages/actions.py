"""Requests by form: cancel, retry, pause and resume. The answer is a message on the job's page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from uuid import UUID

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from jobs.control import cancellation, pausing, retries
from jobs.control.answers import Answer
from jobs.control.requests import ask_one
from jobs.exceptions import JobNotFound
from jobs.models import Job
from jobs.web.access import may, page, visible_job, who_and_why

ANSWERS: dict[str, tuple[int, str]] = {
    Answer.CANCELLED: (messages.SUCCESS, "Cancelled."),
    Answer.REQUESTED: (
        messages.SUCCESS,
        "Asked to stop: the job ends at its next progress report or check, or is stopped after its grace period.",
    ),
    Answer.ALREADY_FINAL: (messages.INFO, "Nothing to cancel: the job had already ended."),
    Answer.REQUEUED: (messages.SUCCESS, "Queued again, as a new run. The history stays."),
    Answer.KEY_TAKEN: (messages.ERROR, "Not retried: another unfinished job holds the same key."),
    Answer.NOT_FINAL: (messages.ERROR, "Not retried: only a failed or cancelled job can run again."),
}

PAUSE_ANSWERS: dict[str, tuple[int, str]] = {
    Answer.PAUSED: (messages.SUCCESS, "Paused."),
    Answer.REQUESTED: (messages.SUCCESS, "Asked to pause: the job pauses at its next checkpoint, if it has one."),
    Answer.NOT_POSSIBLE: (
        messages.ERROR,
        "Not paused: the job has ended, is about to be cancelled, or runs at most once.",
    ),
    Answer.RESUMED: (messages.SUCCESS, "Resumed."),
    Answer.NOT_PAUSED: (messages.INFO, "Nothing to resume: the job was not paused."),
}


@page
@require_POST
def job_cancel(request: HttpRequest, job_id: UUID) -> HttpResponse:
    """Cancel: a waiting job at once; a running job is asked to stop."""
    job = _allowed(request, "cancel_job", job_id)
    (actor, reason), force = who_and_why(request), "force" in request.POST
    return _answered(
        request, job, lambda: ask_one(cancellation.cancel, job.id, reason=reason, actor=actor, force=force)
    )


@page
@require_POST
def job_pause(request: HttpRequest, job_id: UUID) -> HttpResponse:
    """Pause: a waiting job at once, a running job at its next checkpoint."""
    job = _allowed(request, "pause_job", job_id)
    actor, reason = who_and_why(request)
    return _answered(request, job, lambda: ask_one(pausing.pause, job.id, reason=reason, actor=actor), PAUSE_ANSWERS)


@page
@require_POST
def job_resume(request: HttpRequest, job_id: UUID) -> HttpResponse:
    """Resume a paused job."""
    job = _allowed(request, "pause_job", job_id)
    actor, reason = who_and_why(request)
    return _answered(request, job, lambda: ask_one(pausing.resume, job.id, reason=reason, actor=actor), PAUSE_ANSWERS)


@page
@require_POST
def job_retry(request: HttpRequest, job_id: UUID) -> HttpResponse:
    """Run a failed or cancelled job again."""
    job = _allowed(request, "retry_job", job_id)
    actor, reason = who_and_why(request)
    return _answered(request, job, lambda: ask_one(retries.retry, job.id, reason=reason, actor=actor))


def _allowed(request: HttpRequest, permission: str, job_id: UUID) -> Job:
    """The job, if the user has this permission for it: 404 if they may not see it, 403 if they may only see it."""
    job = visible_job(request, job_id)
    if not may(request, permission, job):
        raise PermissionDenied(f"You may see this job, but not {permission.removesuffix('_job')} it.")
    return job


def _answered(
    request: HttpRequest, job: Job, ask: Callable[[], str], answers: Mapping[str, tuple[int, str]] = ANSWERS
) -> HttpResponse:
    try:
        level, text = answers[ask()]
    except JobNotFound as error:  # deleted a moment ago
        raise Http404(str(error)) from error
    messages.add_message(request, level, text, fail_silently=True)
    return redirect("jobs:job-detail", job_id=job.id)
