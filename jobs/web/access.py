"""Permissions, and what every page promises: a login, CSRF protection, no transaction, no inline script."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec
from urllib.parse import urlsplit
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import AbstractUser
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.templatetags.static import static
from django.utils.cache import add_never_cache_headers
from django.views.decorators.csrf import csrf_protect

from jobs.core.conf import settings
from jobs.core.encoding import clean_text
from jobs.models import Job
from jobs.models.querysets import JobQuerySet

MAX_REASON = 500  # characters
P = ParamSpec("P")
View = Callable[Concatenate[HttpRequest, P], HttpResponse]


def page(view: View[P]) -> View[P]:
    """Decorates every view: signed in, CSRF checked, outside ATOMIC_REQUESTS, with a strict CSP.

    Outside a transaction, because a page must not hold one open, and jobs are admitted when a request commits.
    """

    @functools.wraps(view)
    def guarded(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        response = view(request, *args, **kwargs)
        response.headers.setdefault("Content-Security-Policy", _policy())
        if "Cache-Control" not in response.headers:
            add_never_cache_headers(response)
        return response

    return transaction.non_atomic_requests(csrf_protect(login_required(guarded)))


def person(request: HttpRequest) -> AbstractUser:
    """The person who is signed in. Only behind `page`."""
    assert request.user.is_authenticated  # noqa: S101 - login_required saw to it
    return request.user


def who_and_why(request: HttpRequest) -> tuple[str, str]:
    """The user's name, and the reason from the form; both are kept in the history."""
    reason = request.POST.get("reason", "").strip()
    return request.user.get_username(), clean_text(reason, MAX_REASON)


def visible_jobs(request: HttpRequest) -> JobQuerySet:
    """The jobs that this user may see: staff all, others their own."""
    return Job.objects.using(settings.DATABASE).visible_to(person(request))


def visible_job(request: HttpRequest, job_id: UUID) -> Job:
    """One job; 404 if it does not exist or this user may not see it."""
    job = visible_jobs(request).filter(pk=job_id).first()
    if job is None:
        raise Http404("There is no such job.")
    return job


def may(request: HttpRequest, permission: str, job: Job) -> bool:
    """Whether this user may `cancel_job` or `retry_job`, say, this job: its owner, or staff with that permission."""
    user = person(request)
    if job.owner and job.owner == user.get_username():
        return True
    return user.is_staff and user.has_perm(f"{Job._meta.app_label}.{permission}")


def is_refresh(request: HttpRequest) -> bool:
    """Whether the page's script asks, to refresh the page. Messages are then kept for the user's next request."""
    return "X-Jobs-Refresh" in request.headers


def _policy() -> str:
    """Content-Security-Policy: everything from this host; scripts, styles and images also from the static host."""
    parts = urlsplit(static("jobs/jobs.css"))
    home = f"'self' {parts.scheme or 'https'}://{parts.netloc}" if parts.netloc else "'self'"
    rules: dict[str, Any] = {
        "default-src": "'none'",
        "script-src": home,
        "style-src": home,
        "img-src": home,
        "font-src": home,
        "connect-src": "'self'",
        "form-action": "'self'",
        "base-uri": "'none'",
        "frame-ancestors": "'self'",
    }
    return "; ".join(f"{name} {value}" for name, value in rules.items())
