"""Who meets the pages and the admin in tests, from nobody to the superuser, and a job that says dangerous things."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import Permission, User
from django.test import Client

from jobs import job_manager
from jobs.models import Attempt, Job, JobEvent, JobLog, transitions
from tests.app import stages

ROLES = ("anonymous", "owner", "other", "staff", "operator", "superuser")
OWNER = "owner"


def person(role: str, *permissions: str) -> User:
    """A user of that role; `operator` is staff who may cancel, retry, pause. Further permissions by codename."""
    user = User.objects.create_user(role, is_staff=role in {"staff", "operator"}, is_superuser=role == "superuser")
    if role == "superuser":
        user.is_staff = True
        user.save()
    if role == "operator":
        permissions = (*permissions, "view_job", "cancel_job", "retry_job", "pause_job")
    user.user_permissions.set(Permission.objects.filter(content_type__app_label="jobs", codename__in=permissions))
    return user


def client(role: str, *permissions: str, **options: Any) -> Client:
    """A browser in which somebody of that role is signed in."""
    browser = Client(**options)
    if role != "anonymous":
        browser.force_login(person(role, *permissions))
    return browser


MARK = "<script>alert('x')</script>\"'><img src=x onerror=alert(1)>"


def hostile_job(state: str = "failed") -> Job:
    """A job that says the marker wherever a job can say something."""
    made = job_manager.submit(
        f"evil.{MARK}",
        [MARK],
        {MARK: MARK},
        owner=OWNER,
        tags=[MARK],
        metadata={MARK: MARK},
        external_id=MARK,
        project_id=MARK,
        session_id=MARK,
        batch_id=MARK,
    )
    claimed = stages.claim(made)
    where = "id = %s AND attempt_id = %s"
    error = {"error_type": MARK, "error_message": MARK, "error_category": MARK[:20]}
    transitions.move(
        "fail",
        where,
        claimed.fence,
        sets={**error, "result": {MARK: MARK}},
        attempt={**error, "error_traceback": MARK},
        actor=MARK,
        data={"reason": MARK, MARK: MARK},
    )
    Attempt.objects.filter(job=made).update(hostname=MARK)
    JobLog.objects.create(job=made, at=made.created_at, level=MARK[:10], text=MARK)
    JobEvent.objects.filter(job=made, seq=1).update(name=MARK, actor=MARK)
    said: dict[str, Any] = {
        "key": MARK,
        "message": MARK,
        "stage": MARK,
        "reason": MARK,
        "result_error": MARK,
        "live_state": {MARK: MARK},
    }
    said |= {"diagnostics": [{MARK: MARK}], "manager": MARK, "operation_type": MARK[:50], "partition": MARK}
    return stages.put(made, state, cancel_requested_by=MARK, cancel_requested_at=made.created_at, progress=40, **said)


def is_harmless(page: str) -> bool:
    """Whether nothing of the marker came through as markup."""
    return MARK not in page and "<script>alert" not in page and "<img src=x" not in page
