"""Actions on the selected jobs: cancel, pause, resume, retry, priority. Each asks first, then reports exact counts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.response import TemplateResponse

from jobs.control import bulk, cancellation, pausing, priorities, retries
from jobs.control.answers import Answers
from jobs.core.conf import settings
from jobs.exceptions import shown
from jobs.models import Job, Priority
from jobs.web.access import who_and_why

MOST = 500  # jobs per action: the form holds their ids, and Django accepts at most 1,000 fields
LISTED = 20
ADVICE = {
    verb: f"Narrow the filter, or use the command jobs_{verb}, which works in batches."
    for verb in ("cancel", "pause", "resume", "retry")
}


@admin.action(description="Cancel selected jobs", permissions=["cancel"])
def cancel_selected(model_admin: Any, request: HttpRequest, queryset: QuerySet[Job]) -> TemplateResponse | None:
    """Cancel: waiting jobs at once; running jobs are asked to stop."""
    (actor, reason), force = who_and_why(request), "force" in request.POST

    def act(ids: Sequence[UUID]) -> Answers:
        return cancellation.cancel(ids, reason=reason, actor=actor, force=force)

    # Newest first: a cancelled running (old) job frees a slot, which a job that is cancelled next must not get.
    return _confirmed(model_admin, request, queryset.order_by("-id"), "cancel", act)


@admin.action(description="Retry selected jobs", permissions=["retry"])
def retry_selected(model_admin: Any, request: HttpRequest, queryset: QuerySet[Job]) -> TemplateResponse | None:
    """Run failed and cancelled jobs again, oldest first."""
    actor, reason = who_and_why(request)

    def act(ids: Sequence[UUID]) -> Answers:
        return retries.retry(ids, reason=reason, actor=actor)

    return _confirmed(model_admin, request, queryset.order_by("id"), "retry", act)


@admin.action(description="Pause selected jobs", permissions=["pause"])
def pause_selected(model_admin: Any, request: HttpRequest, queryset: QuerySet[Job]) -> TemplateResponse | None:
    """Pause: waiting jobs at once, running jobs at their next checkpoint."""
    actor, reason = who_and_why(request)

    def act(ids: Sequence[UUID]) -> Answers:
        return pausing.pause(ids, reason=reason, actor=actor)

    return _confirmed(model_admin, request, queryset.order_by("-id"), "pause", act)


@admin.action(description="Resume selected jobs", permissions=["pause"])
def resume_selected(model_admin: Any, request: HttpRequest, queryset: QuerySet[Job]) -> TemplateResponse | None:
    """Resume paused jobs, oldest first."""
    actor, reason = who_and_why(request)

    def act(ids: Sequence[UUID]) -> Answers:
        return pausing.resume(ids, reason=reason, actor=actor)

    return _confirmed(model_admin, request, queryset.order_by("id"), "resume", act)


@admin.action(description="Change priority of selected jobs", permissions=["prioritise"])
def change_priority_of_selected(
    model_admin: Any, request: HttpRequest, queryset: QuerySet[Job]
) -> TemplateResponse | None:
    """Change the priority of the waiting jobs; asks for it first."""
    priority = request.POST.get("priority", "")
    actor = request.user.get_username()

    def act(ids: Sequence[UUID]) -> Answers:
        return priorities.set_priority(ids, priority, actor=actor)

    if request.POST.get("confirmed") == "yes" and priority not in settings.PRIORITY_HEAD_START:
        model_admin.message_user(request, f"{shown(priority)} is no priority. Nothing was changed.", messages.ERROR)
        return None
    return _confirmed(model_admin, request, queryset.order_by("id"), "change priority of", act)


def _confirmed(
    model_admin: Any, request: HttpRequest, jobs: QuerySet[Job], verb: str, act: Callable[[Sequence[UUID]], Answers]
) -> TemplateResponse | None:
    """Ask for confirmation; on the second post act, and report the answers."""
    ids = list(jobs.values_list("pk", flat=True)[: MOST + 1])
    if len(ids) > MOST:
        advice = ADVICE.get(verb, "Narrow the filter.")
        model_admin.message_user(request, f"More than {MOST:,} jobs are selected. {advice}", messages.ERROR)
        return None
    if request.POST.get("confirmed") != "yes":
        return _question(model_admin, request, verb, ids)
    answers = act(ids)
    _report(model_admin, request, answers, bulk.PAUSE_WORDS if verb in ("pause", "resume") else bulk.WORDS)
    return None


def _question(model_admin: Any, request: HttpRequest, verb: str, ids: Sequence[UUID]) -> TemplateResponse:
    listed = model_admin.get_queryset(request).filter(pk__in=ids[:LISTED]).only("task", "key", "state").order_by("-id")
    context = {
        **model_admin.admin_site.each_context(request),
        "title": f"{verb.capitalize()} {len(ids):,} {'job' if len(ids) == 1 else 'jobs'}?",
        "opts": model_admin.opts,
        "media": model_admin.media,
        "verb": verb,
        "action": request.POST["action"],
        "priorities": Priority.objects.using(settings.DATABASE).order_by("head_start"),
        "ids": ids,
        "checkbox_name": ACTION_CHECKBOX_NAME,
        "jobs": listed,
        "more": max(0, len(ids) - LISTED),
    }
    return TemplateResponse(request, "admin/jobs/job/confirm.html", context)


def _report(model_admin: Any, request: HttpRequest, answers: Answers, labels: Mapping[str, str]) -> None:
    counts = bulk.counted(answers)
    text = ", ".join(f"{count:,} {labels[answer]}" for answer, count in sorted(counts.items()))
    level = messages.WARNING if bulk.REFUSED & counts.keys() else messages.SUCCESS
    model_admin.message_user(request, f"{text}." if text else "No jobs.", level)
