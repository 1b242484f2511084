"""The admin of jobs: read-only, bounded on big tables, and its actions ask once more and count exactly."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.contrib.messages import get_messages
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from jobs import job, job_manager
from jobs.models import Attempt, Job, JobLog, Limit, Pool, Priority, TaskPause, Worker
from jobs.monitoring import counting, search
from jobs.web.admin import JobAdmin, actions
from jobs.web.admin.base import ReadOnlyAdmin
from tests.app import people, stages

pytestmark = pytest.mark.django_db

JOBS = "/admin/jobs/job/"
VIEW = ("view_job", "view_attempt", "view_pool", "view_limit", "view_priority", "view_worker", "view_lease")


@job(name="admin.nothing")
def nothing(*_: Any, **__: Any) -> None: ...


@job(name="admin.other")
def other() -> None: ...


@pytest.fixture
def row() -> Job:
    return job_manager.submit(nothing, owner=people.OWNER)


@pytest.fixture
def admin_client() -> Client:
    return people.client("superuser")


def change(row: Any) -> str:
    return reverse(f"admin:jobs_{row._meta.model_name}_change", args=[row.pk])


def listed(browser: Client, query: str = "") -> list[Job]:
    response = browser.get(JOBS + query)
    assert response.status_code == 200
    found: list[Job] = list(response.context["cl"].result_list)
    return found


def act(browser: Client, name: str, rows: list[Job], **fields: str) -> Any:
    return browser.post(JOBS, {"action": name, "_selected_action": [str(row.pk) for row in rows], **fields})


def told(response: Any) -> list[str]:
    return [str(message) for message in get_messages(response.wsgi_request)]


# --- who sees and changes what ---------------------------------------------------------------------------------------

CHANGEABLE = {Pool, Limit, Priority}
OWN = {TaskPause}  # which has a test of its own
OURS = [model for model in admin.site._registry if model._meta.app_label == "jobs" and model not in OWN]


@pytest.mark.parametrize("role", ["anonymous", "owner", "other", "staff"])
def test_without_the_permission_nothing_is_seen(role: str, row: Job) -> None:
    browser = people.client(role)
    for address in (JOBS, change(row)):
        assert browser.get(address).status_code == (403 if role == "staff" else 302)
        assert browser.post(address).status_code == (403 if role == "staff" else 302)


@pytest.mark.parametrize("model", OURS, ids=lambda model: model.__name__)
def test_every_list_and_page_can_be_read_with_the_view_permission(model: Any, row: Job) -> None:
    claimed = stages.claim(row, stages.start_worker())
    assert claimed is not None
    browser = people.client("staff", *VIEW)
    assert browser.get(reverse(f"admin:jobs_{model._meta.model_name}_changelist")).status_code == 200
    one = model.objects.first()
    assert one is not None
    response = browser.get(change(one))
    assert response.status_code == 200
    assert 'name="_save"' not in response.content.decode()


def test_the_page_of_a_job_tells_what_bounds_it(admin_client: Client) -> None:
    row = job_manager.submit(nothing, timeout=321, grace=12, memory_mb=654, expires=60)
    shown = admin_client.get(change(row)).content.decode()
    for text in ("Bounds of an attempt", "321", "654", "Cancel force", "Expires at"):
        assert text in shown


@pytest.mark.parametrize(
    "model", [model for model in OURS if model not in CHANGEABLE], ids=lambda model: model.__name__
)
def test_nobody_adds_or_deletes_or_rewrites(model: Any, row: Job, admin_client: Client) -> None:
    stages.claim(row, stages.start_worker())
    one = model.objects.first()
    before = model.objects.values().get(pk=one.pk)
    assert admin_client.get(reverse(f"admin:jobs_{model._meta.model_name}_add")).status_code == 403
    assert admin_client.post(reverse(f"admin:jobs_{model._meta.model_name}_delete", args=[one.pk])).status_code == 403
    forged = {field.name: "7" for field in model._meta.fields}
    assert admin_client.post(change(one), forged).status_code == 403
    assert model.objects.values().get(pk=one.pk) == before
    assert isinstance(admin.site._registry[model], ReadOnlyAdmin)


# --- the list --------------------------------------------------------------------------------------------------------


def test_each_filter_finds_what_it_names(admin_client: Client) -> None:
    failed = stages.put(job_manager.submit(nothing, priority="high"), "failed", error_category="disk")
    waiting = job_manager.run_job("castle", other, external_id="ticket-7").job
    for query, found in {
        "": [waiting, failed],
        "?state=failed": [failed],
        "?state=nonsense": [],
        "?error_category=disk": [failed],
        "?error_category=user": [],
        "?error_category=nonsense": [],
        "?task=admin.other": [waiting],
        "?task=admin.unheard_of": [],
        "?task=a%00b": [],
        "?priority=high": [failed],
        "?priority=high&state=pending": [],
        "?pool=default": [waiting, failed],
        "?pool=a%00b": [],
        "?q=castle": [waiting],
        "?q=ticket-7": [waiting],
        f"?q={failed.id}": [failed],
        "?q=cast": [],
        "?q=a%EF%BF%BDb": [],
    }.items():
        assert listed(admin_client, query) == found, query


@pytest.mark.parametrize("query", ["?task__contains=a", "?owner=x", "?error_message__regex=.", "?id__gt=0", "?o=3.4"])
def test_no_condition_of_ones_own_reaches_the_table(query: str, row: Job, admin_client: Client) -> None:
    with CaptureQueriesContext(connection) as captured:
        response = admin_client.get(JOBS + query)
    assert response.status_code == 400 or query == "?o=3.4"
    for statement in captured.captured_queries:
        assert "LIKE" not in statement["sql"]
        order = re.search(r'FROM "jobs_job".* ORDER BY ([^)]*?)( LIMIT|$)', statement["sql"])
        assert order is None or order[1] in {'"jobs_job"."id" DESC', "1 DESC"}
    assert response.status_code == 400 or [row] == list(response.context["cl"].result_list)


def test_a_filter_without_an_index_looks_at_the_newest_only(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search.within_newest, "__defaults__", (2,))
    made = job_manager.submit_many(nothing, [((), {})] * 4, priority="high")
    assert listed(admin_client, "?priority=high") == made[:1:-1]


def test_the_list_counts_to_a_ceiling(admin_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.web.admin.base.CEILING", 3)
    job_manager.submit_many(nothing, [((), {})] * 5)
    response = admin_client.get(JOBS)
    assert response.context["cl"].result_count == 3
    assert re.search(r"\b3\+\s+jobs", response.content.decode())
    counting_ones = [sql for sql in _sql(admin_client, JOBS) if "COUNT(" in sql]
    assert counting_ones
    assert all("LIMIT 4)" in sql for sql in counting_ones)


def test_the_list_costs_the_same_however_long_it_is(row: Job, admin_client: Client) -> None:
    few = len(_sql(admin_client, JOBS))
    job_manager.submit_many(nothing, [((), {})] * 49)
    assert len(_sql(admin_client, JOBS)) == few
    assert few <= 12


def test_the_list_leaves_the_large_columns_alone(row: Job, admin_client: Client) -> None:
    for statement in _sql(admin_client, JOBS):
        assert '"jobs_job"."result"' not in statement
        assert '"jobs_job"."args"' not in statement.replace('SUBSTR("jobs_job"."args", 1, 300)', "")


def _sql(browser: Client, address: str) -> list[str]:
    with CaptureQueriesContext(connection) as captured:
        assert browser.get(address).status_code == 200
    return [statement["sql"] for statement in captured.captured_queries]


# --- one job ---------------------------------------------------------------------------------------------------------


def test_nothing_a_job_says_becomes_markup(admin_client: Client) -> None:
    row = people.hostile_job()
    attempt = Attempt.objects.get(job=row)
    pages = [admin_client.get(address) for address in (JOBS, change(row), change(attempt), "/admin/jobs/attempt/")]
    pages.append(act(admin_client, "cancel_selected", [row]))
    pages.append(admin_client.get(JOBS, {"q": people.MARK, "task": people.MARK}))
    for response in pages:
        assert response.status_code == 200
        assert people.is_harmless(response.content.decode())


def test_a_job_shows_its_history_and_masks_its_secrets(admin_client: Client) -> None:
    row = job_manager.submit(nothing, ["visible"], {"api_key": "hunter2"}, metadata={"password": "hunter2"})

    def body(*_: Any, **__: Any) -> None:
        raise ValueError("the third row has no date")

    stages.perform(row, body)
    JobLog.objects.create(job=row, at=row.created_at, text="row three read")
    shown = admin_client.get(change(row)).content.decode()
    for text in ("visible", "the third row has no date", "row three read", "Traceback", "claim", f"/jobs/{row.id}/"):
        assert text in shown
    assert "hunter2" not in shown
    assert shown.count("••••••") == 2


def test_a_search_for_attempts_is_by_id(row: Job, admin_client: Client) -> None:
    claimed = stages.claim(row)
    stages.claim(job_manager.submit(nothing))
    for word, number in {str(row.id): 1, str(claimed.row["attempt_id"]): 1, "": 2, "hostname": 0}.items():
        response = admin_client.get("/admin/jobs/attempt/", {"q": word})
        assert len(response.context["cl"].result_list) == number


def test_attempts_keep_the_order_of_their_index(row: Job, admin_client: Client) -> None:
    stages.claim(row)
    for query in ("", "?o=4", "?o=-6.3"):
        ordered = [sql for sql in _sql(admin_client, "/admin/jobs/attempt/" + query) if "ORDER BY" in sql]
        orders = {sql.partition("ORDER BY ")[2] for sql in ordered if 'FROM "jobs_attempt"' in sql}
        assert orders == {'"jobs_attempt"."job_id" DESC, "jobs_attempt"."run" DESC, "jobs_attempt"."number" DESC'}


# --- cancel and retry ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["cancel", "retry", "pause", "resume"])
@pytest.mark.parametrize("may", [False, True])
def test_an_action_needs_its_permission(verb: str, may: bool, row: Job) -> None:
    state = {"retry": "failed", "resume": "paused"}.get(verb, "pending")
    stages.put(row, state)
    needed = "pause" if verb == "resume" else verb
    others = {"cancel_job", "retry_job", "pause_job"} - {f"{needed}_job"}
    browser = people.client("staff", "view_job", *([f"{needed}_job"] if may else others))
    offered = dict(browser.get(JOBS).context["action_form"].fields["action"].choices)
    assert (f"{verb}_selected" in offered) == may
    act(browser, f"{verb}_selected", [row], confirmed="yes")
    assert (stages.fresh(row).state != state) == may


def test_an_action_asks_once_more(row: Job, admin_client: Client) -> None:
    response = act(admin_client, "cancel_selected", [row])
    assert "Cancel 1 job?" in response.content.decode()
    assert f'value="{row.id}"' in response.content.decode()
    assert stages.fresh(row).state == "pending"
    response = act(admin_client, "cancel_selected", [row], confirmed="yes", reason="no longer needed")
    assert response.status_code == 302
    after = stages.fresh(row)
    assert (after.state, after.reason, after.cancel_requested_by) == ("cancelled", "no longer needed", "superuser")


def test_pause_and_resume_ask_once_more_and_count(admin_client: Client) -> None:
    rows = [job_manager.submit(nothing) for _ in range(3)]
    stages.put(rows[1], "running")
    stages.put(rows[2], "failed")
    assert "pause at once" in act(admin_client, "pause_selected", rows).content.decode()
    response = act(admin_client, "pause_selected", rows, confirmed="yes", reason="maintenance")
    refused = "1 not paused: they have ended, are about to be cancelled, or run at most once"
    assert told(response) == [f"{refused}, 1 paused, 1 running: paused at their next checkpoint."]
    assert (stages.fresh(rows[0]).reason, stages.fresh(rows[0]).paused_by) == ("maintenance", "superuser")
    resumed = act(admin_client, "resume_selected", rows[:2], confirmed="yes", reason="it is over")
    assert told(resumed)[-1] == "2 resumed."
    assert rows[0].events.get(name="resume").data["reason"] == "it is over"


def test_a_task_is_paused_by_adding_it_and_resumed_by_an_action(row: Job) -> None:
    add, tasks = reverse("admin:jobs_taskpause_add"), reverse("admin:jobs_taskpause_changelist")
    assert people.client("staff", "view_job").get(add).status_code == 403
    browser = people.client("operator", "pause_task")
    assert "There is no task" in browser.post(add, {"task": "admin.nothnig"}).content.decode()
    assert browser.post(add, {"task": "admin.nothing", "pause_reason": "maintenance"}).status_code == 302
    pause = TaskPause.objects.get()
    assert (pause.paused_by, pause.pause_reason) == ("operator", "maintenance")
    page = browser.get(tasks).content.decode()
    assert "maintenance" in page
    assert browser.get(change(pause)).status_code == 200
    assert browser.post(reverse("admin:jobs_taskpause_delete", args=[pause.pk])).status_code == 403
    response = browser.post(tasks, {"action": "resume_selected", "_selected_action": [pause.pk]})
    assert told(response) == ["Resumed: admin.nothing."]
    assert not TaskPause.objects.exists()


def test_cancel_counts_every_answer(admin_client: Client) -> None:
    rows = job_manager.submit_many(nothing, [((), {})] * 6)
    stages.put(rows[0], "running")
    stages.put(rows[1], "completed")
    stages.put(rows[2], "failed")
    response = act(admin_client, "cancel_selected", rows, confirmed="yes")
    assert told(response) == ["2 had already ended, 3 cancelled, 1 asked to stop."]
    assert [stages.fresh(row).state for row in rows] == ["running", "completed", "failed", *["cancelled"] * 3]


def test_retry_counts_every_answer(admin_client: Client) -> None:
    """Of two failed jobs with one key only the older can run again."""
    rows = [stages.put(job_manager.run_job("castle", nothing).job, "failed") for _ in range(2)]
    rows += [stages.put(job_manager.submit(nothing), state) for state in ("cancelled", "completed", "pending")]
    assert 'id="reason"' in act(admin_client, "retry_selected", rows).content.decode()
    response = act(admin_client, "retry_selected", rows, confirmed="yes", reason="the disk is back")
    assert told(response) == [
        "1 not retried: their key is taken, 2 not retried: neither failed nor cancelled, 2 queued again."
    ]
    assert [stages.fresh(row).state for row in rows] == ["pending", "failed", "pending", "completed", "pending"]
    assert rows[0].events.get(name="requeue").data["reason"] == "the disk is back"


def test_another_priority_counts_every_answer(admin_client: Client) -> None:
    rows = job_manager.submit_many(nothing, [((), {})] * 5)
    for at, state in enumerate(("running", "completed", "scheduled")):
        stages.put(rows[at], state)
    asked = act(admin_client, "change_priority_of_selected", rows).content.decode()
    assert '<option value="critical">' in asked
    response = act(admin_client, "change_priority_of_selected", rows, confirmed="yes", priority="high")
    assert told(response) == ["3 given that priority, 2 not changed: they run, or have ended."]
    assert [stages.fresh(row).priority for row in rows] == ["medium", "medium", "high", "high", "high"]
    assert stages.fresh(rows[3]).rank == rows[3].rank - 3600
    event = rows[3].events.latest("seq")
    assert (event.name, event.actor, event.data) == ("priority", "superuser", {"priority": "high"})


@pytest.mark.parametrize("word", ["", "urgent", people.MARK])
def test_a_priority_that_is_none_changes_nothing(word: str, row: Job, admin_client: Client) -> None:
    (said,) = told(act(admin_client, "change_priority_of_selected", [row], confirmed="yes", priority=word))
    assert "is no priority" in said
    assert stages.fresh(row).priority == "medium"


def test_who_may_change_a_priority(row: Job) -> None:
    for permissions, after in ((["view_job", "cancel_job"], "medium"), (["view_job", "change_job"], "low")):
        browser = people.client("staff", *permissions)
        act(browser, "change_priority_of_selected", [row], confirmed="yes", priority="low")
        assert stages.fresh(row).priority == after
        User.objects.all().delete()


def test_all_that_a_filter_finds_can_be_selected(admin_client: Client) -> None:
    rows = job_manager.submit_many(nothing, [((), {})] * 3)
    stages.put(rows[0], "failed")
    page = admin_client.post(
        JOBS + "?state=pending", {"action": "cancel_selected", "select_across": "1", "_selected_action": [rows[2].pk]}
    )
    assert "Cancel 2 jobs?" in page.content.decode()


def test_too_many_at_once_are_refused_with_advice(admin_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actions, "MOST", 2)
    rows = job_manager.submit_many(nothing, [((), {})] * 3)
    (message,) = told(act(admin_client, "cancel_selected", rows, confirmed="yes"))
    assert "jobs_cancel" in message
    assert Job.objects.filter(state="pending").count() == 3


def test_the_largest_selection_fits_what_django_reads_of_a_form(admin_client: Client) -> None:
    rows = job_manager.submit_many(nothing, [((), {})] * actions.MOST)
    assert told(act(admin_client, "cancel_selected", rows, confirmed="yes", reason="x")) == ["500 cancelled."]


def test_an_action_needs_its_csrf_token(row: Job) -> None:
    browser = people.client("superuser", enforce_csrf_checks=True)
    assert act(browser, "cancel_selected", [row], confirmed="yes").status_code == 403
    assert stages.fresh(row).state == "pending"


def test_the_classes_can_be_taken_by_another_site() -> None:
    site = admin.AdminSite(name="second")
    site.register(Job, JobAdmin)
    assert isinstance(site._registry[Job], JobAdmin)
    assert counting.CEILING == 10_000
    assert Worker in admin.site._registry
