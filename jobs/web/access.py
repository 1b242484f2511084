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
    """Every view of ours goes through this: signed in, CSRF checked, outside ATOMIC_REQUESTS, with a strict CSP.

    Out of a transaction, because a reader must not hold one open, and what a request moves is admitted on its commit.
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
    """The name of who is signed in, and the reason that their form gives, which is kept with what they do."""
    reason = request.POST.get("reason", "").strip()
    return request.user.get_username(), clean_text(reason, MAX_REASON)


def visible_jobs(request: HttpRequest) -> JobQuerySet:
    """What this person may see: staff all jobs, others their own."""
    return Job.objects.using(settings.DATABASE).visible_to(person(request))


def visible_job(request: HttpRequest, job_id: UUID) -> Job:
    """One job; a foreign one is as missing as one that does not exist (404)."""
    job = visible_jobs(request).filter(pk=job_id).first()
    if job is None:
        raise Http404("There is no such job.")
    return job


def may(request: HttpRequest, what: str, job: Job) -> bool:
    """Whether this person may `cancel_job` or `retry_job` this job: its owner, or staff with that permission."""
    user = person(request)
    if job.owner and job.owner == user.get_username():
        return True
    return user.is_staff and user.has_perm(f"{Job._meta.app_label}.{what}")


def is_refresh(request: HttpRequest) -> bool:
    """Whether the page's own script asks, to refresh what is shown: messages wait for the person."""
    return "X-Jobs-Refresh" in request.headers


def _policy() -> str:
    """Content-Security-Policy: everything from here, and style sheets and scripts from where the static files are."""
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
