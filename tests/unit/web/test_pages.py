"""The pages: who sees and does what, what they show, and that nothing a job says becomes markup."""

from __future__ import annotations

import base64
import re
from importlib import import_module
from typing import Any, cast
from uuid import uuid4

import pytest
from django.contrib.messages import get_messages
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import get_resolver, reverse

from jobs import job, job_manager
from jobs.control import pools
from jobs.execution import termination
from jobs.execution.context import JobPaused
from jobs.maintenance import counters
from jobs.models import Attempt, Job, Pool, transitions
from jobs.monitoring import counting
from jobs.monitoring.explain import worker_command
from jobs.states import JobState
from jobs.web.pages import listing
from tests.app import people, stages

pytestmark = pytest.mark.django_db

PNG = b"\x89PNG\r\n\x1a\n" + b"the rest of the file" * 9
LIST = "/jobs/"


@job(name="views.nothing")
def nothing(*_: Any, **__: Any) -> None: ...


@job(name="views.other")
def other() -> None: ...


@pytest.fixture
def row() -> Job:
    return job_manager.submit(nothing, owner=people.OWNER)


@pytest.fixture
def admin_client() -> Client:
    return people.client("superuser")


def url(name: str, row: Job | str) -> str:
    return reverse(f"jobs:job-{name}", args=[row.id if isinstance(row, Job) else row])


def page(browser: Client, address: str) -> str:
    response = browser.get(address)
    assert response.status_code == 200
    return response.content.decode()


def listed(browser: Client, query: str = "") -> list[Job]:
    found: list[Job] = browser.get(LIST + query).context["page"].jobs
    return found


def test_failures_that_are_alike_are_one_click_away(admin_client: Client) -> None:
    alike, other = (
        {"error_fingerprint": "a" * 16, "error_type": "X"},
        {"error_fingerprint": "b" * 16, "error_type": "X"},
    )
    rows = [stages.put(job_manager.submit(nothing, owner=people.OWNER), "failed", **alike) for _ in range(2)]
    stages.put(job_manager.submit(nothing), "failed", **alike)
    odd = stages.put(job_manager.submit(nothing), "failed", **other)
    link = f"?fingerprint={'a' * 16}"
    shown = page(admin_client, url("detail", rows[0]))
    assert link in shown
    assert "3 jobs failed like this one" in shown
    assert len(listed(admin_client, link)) == 3
    assert "failed like this one" not in page(admin_client, url("detail", odd))
    owner = people.client(people.OWNER)
    assert "2 jobs failed like this one" in page(owner, url("detail", rows[0]))
    assert set(listed(owner, link)) == set(rows)


def test_failures_of_a_category_are_one_click_away(admin_client: Client) -> None:
    rows = [
        stages.put(job_manager.submit(nothing), "failed", error_type="X", error_category=category)
        for category in ("transient", "user", "transient")
    ]
    link = "?category=transient"
    assert link in page(admin_client, url("detail", rows[0]))
    assert listed(admin_client, link) == [rows[2], rows[0]]
    assert "Error category" in page(admin_client, LIST + link)
    assert listed(admin_client, "?category=none") == []


def test_what_bounds_an_attempt_and_why_it_ended_is_told(admin_client: Client) -> None:
    row = job_manager.submit(nothing, timeout=300, grace=5, memory_mb=64)
    claimed = stages.claim(row)
    job_manager.cancel_job(row.id, reason="it hangs", force=True)
    shown = page(admin_client, url("detail", row))
    for text in ("Time-out", "5 min 00 s", "Grace", "Memory declared", "stopped by force"):
        assert text in shown
    termination.end_attempt(
        (row.id, claimed.row["attempt_id"]), termination.Termination("cancel", "stopped by force: pid 7"), "here"
    )
    transitions.note(row.id, "cleanup", data={"error": "OSError: no disk <b>"})
    shown = page(admin_client, url("detail", row))
    for text in ("“it hangs”", "stopped by force: pid 7", "OSError: no disk &lt;b&gt;"):
        assert text in shown


def test_a_failed_job_and_what_runs_in_its_place_name_each_other(admin_client: Client) -> None:
    failed = stages.put(job_manager.submit(nothing), "failed", error_type="X", fallback="views.other")
    made = job_manager.submit(other, metadata={"fallback_of": str(failed.id)}, expires=60)
    transitions.note(failed.id, "fallback", data={"job": str(made.id)})
    assert url("detail", made) in page(admin_client, url("detail", failed))
    shown = page(admin_client, url("detail", made))
    assert url("detail", failed) in shown
    assert "Expires" in shown
    odd = job_manager.submit(other, metadata={"fallback_of": ["no id"]})  # anybody may write metadata
    assert "In place of" not in page(admin_client, url("detail", odd))


# --- who may see and do what -----------------------------------------------------------------------------------------


def test_every_view_has_its_login_its_csrf_check_and_no_transaction() -> None:
    patterns: list[Any] = get_resolver("jobs.urls").url_patterns
    assert {pattern.name for pattern in patterns} == {
        "job-list",
        "job-detail",
        "job-image",
        "job-cancel",
        "job-retry",
        "job-pause",
        "job-resume",
        "pool-list",
    }
    for pattern in patterns:
        assert "default" in pattern.callback._non_atomic_requests
        assert not getattr(pattern.callback, "csrf_exempt", False)


@pytest.mark.parametrize("role", people.ROLES)
def test_the_list_shows_staff_all_jobs_and_others_their_own(role: str, row: Job) -> None:
    foreign = job_manager.submit(nothing, owner="somebody else")
    nobodys = job_manager.submit(nothing)
    browser = people.client(role)
    response = browser.get(LIST)
    if role == "anonymous":
        assert response.status_code == 302
        assert response["Location"] == f"/accounts/login/?next={LIST}"
        return
    expected = {"owner": {row.id}, "other": set()}.get(role, {row.id, foreign.id, nobodys.id})
    assert {shown.id for shown in response.context["page"].jobs} == expected
    assert response.context["tabs"][0].count.number == len(expected)


SEEN = {"anonymous": 302, "owner": 200, "other": 404, "staff": 200, "operator": 200, "superuser": 200}
DONE = {"anonymous": 302, "owner": 302, "other": 404, "staff": 403, "operator": 302, "superuser": 302}
MAY = ("owner", "operator", "superuser")


@pytest.mark.parametrize("role", people.ROLES)
def test_who_sees_a_job(role: str, row: Job) -> None:
    response = people.client(role).get(url("detail", row))
    assert response.status_code == SEEN[role]
    if role != "anonymous" and SEEN[role] == 200:
        assert response.context["may_cancel"] == (role in MAY)
        assert (url("cancel", row) in response.content.decode()) == (role in MAY)


@pytest.mark.parametrize("role", people.ROLES)
def test_who_sees_a_picture(role: str, row: Job) -> None:
    stages.put(row, "completed", result={"type": "image/png", "base64": base64.b64encode(PNG).decode()})
    assert people.client(role).get(url("image", row)).status_code == SEEN[role]


@pytest.mark.parametrize("role", people.ROLES)
def test_who_cancels_a_job(role: str, row: Job) -> None:
    response = people.client(role).post(url("cancel", row), {"reason": "no longer needed"})
    assert response.status_code == DONE[role]
    after = stages.fresh(row)
    assert after.state == ("cancelled" if role in MAY else "pending")
    if role in MAY:
        assert response["Location"] == url("detail", row)
        assert (after.reason, after.cancel_requested_by) == ("no longer needed", role)
        assert after.events.get(name="cancel").actor == role


@pytest.mark.parametrize("role", people.ROLES)
def test_who_retries_a_job(role: str, row: Job) -> None:
    stages.put(row, "failed")
    browser = people.client(role)
    assert ('id="retry-reason"' in str(browser.get(url("detail", row)).content)) == (role in MAY)
    response = browser.post(url("retry", row), {"reason": "the disk is back"})
    assert response.status_code == DONE[role]
    assert stages.fresh(row).state == ("pending" if role in MAY else "failed")
    if role in MAY:
        requeued = row.events.get(name="requeue")
        assert (requeued.actor, requeued.data["reason"]) == (role, "the disk is back")


@pytest.mark.parametrize("role", people.ROLES)
def test_who_pauses_and_resumes_a_job(role: str, row: Job) -> None:
    browser = people.client(role)
    assert browser.post(url("pause", row), {"reason": "maintenance"}).status_code == DONE[role]
    after = stages.fresh(row)
    assert after.state == ("paused" if role in MAY else "pending")
    if role in MAY:
        assert (after.reason, after.paused_by) == ("maintenance", role)
        assert url("resume", row) in page(browser, url("detail", row))
    assert browser.post(url("resume", row), {"reason": "it is over"}).status_code == DONE[role]
    assert stages.fresh(row).state == "pending"
    if role in MAY:
        resumed = row.events.get(name="resume")
        assert (resumed.actor, resumed.data["reason"]) == (role, "it is over")


def test_what_runs_at_most_once_is_not_offered_a_pause_while_it_runs(admin_client: Client) -> None:
    row = job_manager.submit(nothing, at_most_once=True)
    assert url("pause", row) in page(admin_client, url("detail", row))
    stages.claim(row)
    assert url("pause", row) not in page(admin_client, url("detail", row))


def test_a_paused_job_says_by_whom_and_why(row: Job, admin_client: Client) -> None:
    claimed = stages.claim(row)
    admin_client.post(url("pause", row), {"reason": "new <b>disks</b>"})
    asked = page(admin_client, url("detail", row))
    assert "asked to pause by superuser" in asked
    assert "Requests to this job" in asked
    assert url("pause", row) not in asked
    assert "pausing" in page(admin_client, LIST)
    with pytest.raises(JobPaused):
        claimed.context.checkpoint({"tile": 41})
    paused = page(admin_client, url("detail", row))
    assert "Checkpoint" in paused
    assert "new &lt;b&gt;disks&lt;/b&gt;" in paused


@pytest.mark.parametrize("name", ["detail", "image", "cancel", "retry", "pause", "resume"])
def test_a_foreign_job_is_as_missing_as_one_that_is_not_there(name: str, row: Job) -> None:
    browser = people.client("other")
    ask = browser.get if name in {"detail", "image"} else browser.post
    foreign, missing = ask(url(name, row)), ask(url(name, str(uuid4())))
    assert foreign.status_code == missing.status_code == 404
    assert foreign.content == missing.content


@pytest.mark.parametrize("name", ["cancel", "retry", "pause", "resume"])
def test_reading_changes_nothing(name: str, row: Job, admin_client: Client) -> None:
    before = Job.objects.values().get(pk=row.pk)
    assert admin_client.get(url(name, row)).status_code == 405
    assert admin_client.head(url(name, row)).status_code == 405
    for address in (LIST, url("detail", row)):
        assert admin_client.get(address).status_code == 200
        assert admin_client.post(address).status_code == 405
    assert Job.objects.values().get(pk=row.pk) == before


@pytest.mark.parametrize("name", ["cancel", "retry"])
def test_a_post_needs_its_csrf_token(name: str, row: Job) -> None:
    browser = people.client("superuser", enforce_csrf_checks=True)
    if name == "retry":
        stages.put(row, "failed")
    assert browser.post(url(name, row)).status_code == 403
    token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page(browser, url("detail", row)))
    assert token is not None
    assert browser.post(url(name, row), {"csrfmiddlewaretoken": token[1]}).status_code == 302
    assert stages.fresh(row).state == ("cancelled" if name == "cancel" else "pending")


def test_the_token_is_asked_for_where_the_host_has_no_middleware_for_it(row: Job, settings: Any) -> None:
    settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if "Csrf" not in name]
    browser = people.client("superuser", enforce_csrf_checks=True)
    assert browser.post(url("cancel", row)).status_code == 403
    assert stages.fresh(row).state == "pending"


# --- cancel and retry ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "name", "said"),
    [
        ("pending", "cancel", "Cancelled."),
        ("running", "cancel", "Asked to stop"),
        ("completed", "cancel", "Nothing to cancel"),
        ("failed", "retry", "Queued again"),
        ("pending", "pause", "Paused."),
        ("running", "pause", "Asked to pause"),
        ("failed", "pause", "Not paused"),
        ("paused", "resume", "Resumed."),
        ("pending", "resume", "Nothing to resume"),
        ("completed", "retry", "only a failed or cancelled job"),
    ],
)
def test_the_answer_is_told(state: str, name: str, said: str, row: Job, admin_client: Client) -> None:
    stages.put(row, state)
    response = admin_client.post(url(name, row))
    assert [str(message) for message in get_messages(response.wsgi_request) if said in str(message)]


def test_a_retry_whose_key_is_taken_is_refused(admin_client: Client) -> None:
    first = job_manager.run_job("castle", nothing).job
    stages.put(first, "failed")
    assert job_manager.run_job("castle", nothing).created
    admin_client.post(url("retry", first))
    assert stages.fresh(first).state == "failed"
    assert "holds the same key" in page(admin_client, url("detail", first))


def test_a_refresh_leaves_the_message_for_the_person(row: Job, admin_client: Client) -> None:
    admin_client.post(url("cancel", row))
    refreshed = admin_client.get(url("detail", row), headers={"X-Jobs-Refresh": "1"})
    assert "Cancelled." not in refreshed.content.decode()
    assert "Cancelled." in page(admin_client, url("detail", row))


def test_a_reason_that_no_database_holds_is_mended(row: Job, admin_client: Client) -> None:
    admin_client.post(url("cancel", row), {"reason": "a\0b" + "c" * 2000})
    reason = stages.fresh(row).reason
    assert reason.startswith("a\ufffdb")
    assert len(reason) <= 500


# --- what is shown ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", list(JobState))
def test_nothing_a_job_says_becomes_markup(state: str, admin_client: Client) -> None:
    row = people.hostile_job(state)
    query = f"?task={row.task}&key={row.key}&owner={row.owner}&q={people.MARK}"
    for address in (LIST, url("detail", row), LIST + query, LIST + "?state=" + people.MARK):
        assert people.is_harmless(page(admin_client, address))
    assert "alert(1)" in page(admin_client, url("detail", row))


@pytest.mark.parametrize("role", ["owner", "superuser"])
def test_the_pages_have_no_inline_script_or_style_and_say_so(role: str) -> None:
    row = people.hostile_job()
    stages.put(row, "running", result={"type": "image/png", "base64": base64.b64encode(PNG).decode()})
    browser = people.client(role)
    for address in (LIST, LIST + "?state=paused", url("detail", row)):
        response = browser.get(address)
        policy = response["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        markup = re.sub(r'"[^"]*"', '""', response.content.decode())  # without the values of attributes
        assert not re.findall(r"<script(?![^>]*\bsrc=)|<style\b|<[^>]*\s(?:style|on\w+)=", markup)
        assert response["Cache-Control"] == "max-age=0, no-cache, no-store, must-revalidate, private"


def test_secrets_are_masked(admin_client: Client) -> None:
    row = job_manager.submit("views.nothing", kwargs={"api_key": "hunter2", "n": 1}, metadata={"password": "hunter2"})
    stages.put(row, "completed", result={"deep": [{"token": "hunter2"}]}, live_state={"secret": "hunter2"})
    shown = page(admin_client, url("detail", row))
    assert "hunter2" not in shown
    assert shown.count("••••••") == 4 + 2  # title and headline show the beginning of the arguments


def test_the_page_of_a_job_tells_its_story(admin_client: Client) -> None:
    row = job_manager.submit(nothing, max_retries=1)

    def body(*_: Any) -> None:
        raise ValueError("the third row has no date")

    stages.perform(row, body)
    shown = page(admin_client, url("detail", row))
    assert "The last attempt failed" in shown
    assert "the third row has no date" in shown
    assert "Traceback (most recent call last)" in shown
    Attempt.objects.filter(job=row).update(cpu_seconds=1.2, average_cpu=85, peak_memory_mb=212.4, performance_score=92)
    assert "1.2 s of CPU, 85 % of a core · 212 MB of memory · score 92" in page(admin_client, url("detail", row))
    events = [step.event.name for step in admin_client.get(url("detail", row)).context["steps"]]
    assert events == stages.edges(row) == ["create", "admit", "claim", "retry"]


def test_the_phases_fill_the_whole(clock: stages.Clock, admin_client: Client) -> None:
    row = job_manager.submit(nothing)
    clock.forward(30)
    claimed = stages.claim(row)
    clock.forward(10)
    assert claimed is not None
    phases = admin_client.get(url("detail", row)).context["phases"]
    assert [(phase.state, phase.seconds, phase.x, phase.width) for phase in phases] == [
        ("pending", 30, 0, 750),
        ("running", 10, 750, 250),
    ]


@pytest.mark.parametrize(
    ("result", "kind"),
    [
        ({"type": "image/png", "base64": base64.b64encode(PNG).decode()}, "image/png"),
        ({"image_png": base64.b64encode(PNG).decode(), "size": 3}, "image/png"),
        ({"type": "image/png", "base64": PNG}, "image/png"),
        ({"type": "image/gif", "base64": base64.b64encode(b"GIF89a and so on").decode()}, "image/gif"),
    ],
)
def test_a_result_that_is_a_picture_is_shown(result: Any, kind: str, row: Job, admin_client: Client) -> None:
    stages.put(row, "completed", result=result)
    assert f'src="{url("image", row)}"' in page(admin_client, url("detail", row))
    response = admin_client.get(url("image", row))
    assert response["Content-Type"] == kind
    assert response.content == (PNG if kind == "image/png" else b"GIF89a and so on")
    assert response["X-Content-Type-Options"] == "nosniff"
    assert response["Content-Security-Policy"] == "default-src 'none'; sandbox"
    assert response["Cache-Control"] == "private, no-cache"


@pytest.mark.parametrize(
    "result",
    [
        None,
        7,
        {"type": "image/svg+xml", "base64": base64.b64encode(b"<svg onload=alert(1)>").decode()},
        {"type": "text/html", "base64": base64.b64encode(PNG).decode()},
        {"type": "image/png", "base64": base64.b64encode(b"<html>").decode()},
        {"type": "image/png", "base64": "not base64 at all, and with ümlauts"},
        {"type": "image/png", "base64": base64.b64encode(PNG).decode()[:-3]},
        {"type": "image/png", "base64": ["list"]},
        {"image_png": None},
    ],
)
def test_a_result_that_is_no_picture_is_not_served_as_one(result: Any, row: Job, admin_client: Client) -> None:
    stages.put(row, "completed", result=result)
    assert admin_client.get(url("image", row)).status_code == 404
    assert admin_client.get(url("detail", row)).status_code == 200


# --- the list --------------------------------------------------------------------------------------------------------


def test_each_filter_finds_what_it_names(admin_client: Client) -> None:
    failed = stages.put(job_manager.submit(nothing), "failed")
    keyed = job_manager.run_job("castle " + "x" * 300, other).job
    job_manager.run_job("castle " + "x" * 300 + "y", other)
    owned = job_manager.submit(nothing, owner="ada", external_id="ticket-7")
    for query, found in {
        "?state=failed": [failed],
        "?state=paused": [],
        "?task=views.nothing": [owned, failed],
        f"?key={keyed.key}": [keyed],
        f"?key={keyed.key}&state=failed": [],
        "?owner=ada": [owned],
        "?q=ticket-7": [owned],
        f"?q={keyed.key}": [keyed],
        f"?q={owned.id}": [owned],
        f"?q={owned.id.hex}": [owned],
        "?q=ticket": [],
        "?q=a%00b": [],
        "?task=a%00b": [],
    }.items():
        assert listed(admin_client, query) == found, query


def test_a_search_does_not_reach_beyond_what_one_may_see(row: Job) -> None:
    browser = people.client("other")
    assert listed(browser, f"?q={row.id}") == []
    assert listed(browser, f"?owner={people.OWNER}") == []


def test_the_tabs_count_within_the_filter(admin_client: Client) -> None:
    stages.put(job_manager.submit(nothing), "failed")
    job_manager.submit(other)
    for query, expected in {"": ("2", "1", "1"), "?task=views.other": ("1", "1", "0")}.items():
        tabs = {tab.state: str(tab.count) for tab in admin_client.get(LIST + query).context["tabs"]}
        assert (tabs[""], tabs["pending"], tabs["failed"]) == expected


@pytest.mark.parametrize("query", ["", "?task=views.nothing"])
def test_counts_stop_at_a_ceiling(query: str, admin_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "CEILING", 3)
    job_manager.submit_many(nothing, [((), {})] * 5)
    tabs = {tab.state: str(tab.count) for tab in admin_client.get(LIST + query).context["tabs"]}
    assert (tabs[""], tabs["pending"], tabs["failed"]) == ("3+", "3+", "0")


def test_pages_show_every_job_once_in_either_direction(admin_client: Client) -> None:
    made = [row.id for row in job_manager.submit_many(nothing, [((), {})] * (2 * listing.PAGE + 7))][::-1]
    seen: list[Any] = []
    pages: list[list[Any]] = []
    query = "?state=pending"
    response: Any = None
    while query:
        response = admin_client.get(LIST + query)
        pages.append([row.id for row in response.context["page"].jobs])
        seen += pages[-1]
        query = response.context["older"]
    assert seen == made
    back = admin_client.get(LIST + response.context["newer"])
    assert [row.id for row in back.context["page"].jobs] == pages[-2]
    assert admin_client.get(LIST + back.context["newer"]).context["newer"] == ""


def test_an_id_that_is_none_turns_no_page(row: Job, admin_client: Client) -> None:
    assert listed(admin_client, "?after=nonsense&before=%00") == [row]


def test_a_page_costs_the_same_whatever_it_shows(admin_client: Client) -> None:
    row = stages.put(people.hostile_job(), "pending")
    few = [_statements(admin_client, address) for address in (LIST, url("detail", row))]
    job_manager.submit_many(nothing, [((), {})] * 60)
    for _ in range(5):
        stages.claim(row)
        stages.put(row, "pending")
    assert [_statements(admin_client, address) for address in (LIST, url("detail", row))] == few
    assert max(few) <= 12


def test_what_is_not_there_is_said_on_a_page_like_the_others(row: Job) -> None:
    browser = people.client("other")
    answers = [browser.get(address) for address in (url("detail", row), "/nowhere/")]
    assert [answer.status_code for answer in answers] == [404, 404]
    for answer in answers:
        assert "There is no such page or job, or it is none of yours." in answer.content.decode()
        assert 'href="/jobs/"' in answer.content.decode()


def test_a_job_without_a_key_is_known_by_its_arguments(admin_client: Client) -> None:
    row = job_manager.submit(nothing, ["<b>json</b>"], {"password": "hunter2", "text": "x" * 5000})
    job_manager.run_job("its own name", nothing, ["not shown"])
    named = Job.objects.get(key="its own name")
    for address in (LIST, url("detail", row)):
        assert '<bdi class="args">&lt;b&gt;json&lt;/b&gt;, password=••••••, text=xxx' in page(admin_client, address)
    assert page(admin_client, LIST).count('class="args"') == 1
    assert 'class="args"' not in page(admin_client, url("detail", named))
    assert {"args", "kwargs"} <= listed(admin_client)[0].get_deferred_fields()


def _statements(browser: Client, address: str) -> int:
    """With nothing known of any lane: the first look at one reads a job of it."""
    cast(Any, import_module("jobs.admission.limits.snapshot"))._facts.clear()
    with CaptureQueriesContext(connection) as captured:
        assert browser.get(address).status_code == 200
    return len(captured)


def test_an_empty_list_teaches(admin_client: Client) -> None:
    shown = page(admin_client, LIST)
    assert "job_manager.submit(greet" in shown
    assert "manage.py jobs_submit" in shown
    assert "celery -A jobcenter worker -Q default -c 4" in shown
    assert "No job matches the filters." in page(admin_client, "/jobs/?state=failed")
    assert "Did you mean &#x27;failed&#x27;?" in page(admin_client, "/jobs/?state=faild")


def test_the_pages_say_when_nobody_works(row: Job, admin_client: Client) -> None:
    command = "celery -A jobcenter worker -Q default -c 4"
    assert command in page(admin_client, LIST)
    assert command in page(admin_client, url("detail", row))
    stages.start_worker(pools=["elsewhere"])
    assert command in page(admin_client, LIST)
    stages.start_worker()
    assert command not in page(admin_client, LIST)
    assert command not in page(admin_client, url("detail", row))


def test_the_owner_is_not_told_how_to_start_a_worker(row: Job) -> None:
    shown = page(people.client("owner"), url("detail", row))
    assert "No worker serves pool “default” just now." in shown
    assert "celery -A" not in shown + page(people.client("other"), LIST)


@pytest.mark.parametrize("role", ["owner", "staff"])
def test_the_page_says_why_a_job_waits_and_links_to_whom_one_may_see(role: str, row: Job) -> None:
    stages.start_worker()
    own = job_manager.run_job("my own", nothing, owner=people.OWNER).job
    foreign = job_manager.run_job("foreign key", nothing, owner="somebody else").job
    for held in (own, foreign):
        stages.queue(held)
    Pool.objects.update(max_concurrent=2)
    shown = page(people.client(role), url("detail", row))
    assert "Pool “default” may have 2 jobs in flight at once, and 2 are." in shown
    assert url("detail", own) in shown
    assert (str(foreign.id) in shown) == ("foreign key" in shown) == (role == "staff")
    assert ("and 1 more" in shown) == (role == "owner")


def test_where_all_holders_are_foreign_only_their_number_is_told(row: Job) -> None:
    stages.start_worker()
    foreign = job_manager.submit(other)
    stages.queue(foreign)
    Pool.objects.update(max_concurrent=1)
    shown = page(people.client("owner"), url("detail", row))
    assert "held by 1 job<" in shown
    assert str(foreign.id) not in shown
    assert "views.other" not in shown


@pytest.mark.parametrize("state", list(JobState))
def test_only_what_is_unfinished_and_does_not_run_waits(state: str, row: Job, admin_client: Client) -> None:
    stages.put(row, state)
    waits = state not in {"running", "completed", "failed", "cancelled"}
    assert ("Why it waits" in page(admin_client, url("detail", row))) == waits


def test_the_reasons_are_part_of_what_the_page_refreshes(row: Job, admin_client: Client) -> None:
    shown = page(admin_client, url("detail", row))
    assert shown.index('data-region="job"') < shown.index("Why it waits") < shown.index("</main>")


def test_what_people_say_of_a_pool_becomes_no_markup(row: Job, admin_client: Client) -> None:
    job_manager.pause_pool("default", people.MARK, actor=people.MARK)
    foreign = job_manager.run_job(people.MARK, f"evil.{people.MARK}").job
    stages.queue(foreign)
    Pool.objects.update(max_concurrent=1)
    shown = page(admin_client, url("detail", row))
    assert "was paused by &lt;script&gt;" in shown
    assert people.MARK not in shown


def test_why_costs_the_page_few_statements(row: Job, admin_client: Client) -> None:
    stages.claim(running := job_manager.submit(nothing))
    without = _statements(admin_client, url("detail", running))
    stages.queue(job_manager.submit(other))
    Pool.objects.update(max_concurrent=1)
    job_manager.pause_pool("default")
    assert _statements(admin_client, url("detail", row)) <= without + 5  # one for the facts of lanes not met before


def test_a_pool_in_a_command_is_quoted() -> None:
    assert worker_command(["a b", "c"]) == "celery -A jobcenter worker -Q 'a b,c' -c 4"


# --- pools -----------------------------------------------------------------------------------------------------------

POOLS = "/jobs/pools/"


@pytest.mark.parametrize("role", people.ROLES)
def test_the_pools_are_for_staff(role: str) -> None:
    expected = {"anonymous": 302, "owner": 403, "other": 403}
    browser = people.client(role)
    assert browser.get(POOLS).status_code == expected.get(role, 200)
    if role != "anonymous":
        assert (POOLS in page(browser, LIST)) == (role not in expected)


def test_the_pools_say_how_full_they_are(admin_client: Client) -> None:
    Pool.objects.filter(name="default").update(max_concurrent=4, max_memory_mb=2048)
    Pool.objects.create(name="gpu & co")
    stages.start_worker(slots=3)
    rows = job_manager.submit_many(nothing, [((), {})] * 3, memory_mb=512)
    job_manager.submit(nothing, pool="gpu & co")
    stages.claim(rows[0])
    pools.pause("default", reason="disk full", actor="ada")
    text = page(admin_client, POOLS)
    for said in (
        "<b>1</b> / 4",
        "<b>512</b> / 2,048",
        "3 live slots",
        "Paused by ada just now: disk full",
        "/admin/jobs/pool/default/change/",
        "/admin/jobs/pool/gpu%20_26%20co/change/",
        "Jobs wait, and no worker serves this pool",
        "worker -Q &#x27;gpu &amp; co&#x27;",
    ):
        assert said in text, said


def test_the_pools_say_what_was_pruned_and_repaired(admin_client: Client) -> None:
    assert "Nothing was repaired so far." in admin_client.get(POOLS).content.decode()
    counters.repaired("unsent", 2)
    counters.pruned({"completed": 1200})
    text = admin_client.get(POOLS).content.decode()
    assert "Repaired so far: 2 unsent." in text
    assert "Last pruned: 1,200 completed, " in text


def test_without_pools_the_page_teaches(admin_client: Client) -> None:
    Pool.objects.all().delete()
    text = page(admin_client, POOLS)
    assert "No pools." in text
    assert "manage.py migrate" in text


def test_each_pool_is_looked_at_once(admin_client: Client) -> None:
    Pool.objects.create(name="gpu")
    with CaptureQueriesContext(connection) as captured:
        page(admin_client, POOLS)
    looks = [one["sql"] for one in captured.captured_queries if "WITH RECURSIVE" in one["sql"]]
    assert len(looks) == 2
    assert len(captured) <= 8
