"""Limits and head starts in the admin: checked before they are written, and in force on the commit."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.admin.utils import quote
from django.contrib.messages import get_messages
from django.test import Client
from django.urls import reverse

from jobs import job, job_manager
from jobs.admission.limits import declared as declaring
from jobs.models import Limit, Pool, Priority, Rate
from tests.app import people, stages

pytestmark = pytest.mark.django_db

LIMITS = "/admin/jobs/limit/"
FORM = {
    "name": "two",
    "kind": "concurrency",
    "pool": "",
    "task": "",
    "partition_by": "",
    "partition": "",
    "size": "2",
    "period": "1",
    "burst": "1",
    "weight": "1",
    "policy": "wait",
}
TASK = "admin_limits.nothing"


@job(name=TASK)
def nothing(customer: str = "") -> None: ...


@job(name="admin_limits.declared", max_concurrent=2, partition_by="customer", rate="1/h")
def declared(customer: str) -> None: ...


@pytest.fixture
def admin_client() -> Client:
    return people.client("superuser")


@pytest.fixture(autouse=True)
def forgotten() -> None:
    declaring.forget()


def add(browser: Client, **fields: str) -> Any:
    return browser.post(f"{LIMITS}add/", {**FORM, **fields})


def edit(browser: Client, which: str, /, **fields: str) -> Any:
    return browser.post(reverse("admin:jobs_limit_change", args=[quote(which)]), {**FORM, **fields})


def errors(response: Any) -> dict[str, Any]:
    assert response.status_code == 200
    found: dict[str, Any] = response.context["adminform"].form.errors
    return found


# --- what may be written ---------------------------------------------------------------------------------------------


def test_a_limit_is_made_changed_and_deleted(admin_client: Client) -> None:
    Pool.objects.create(name="gpu")
    assert add(admin_client, pool="gpu", task=TASK, partition_by="customer").status_code == 302
    row = Limit.objects.get(name="two")
    assert (row.pool, row.task, row.partition_by, row.size, row.declared) == ("gpu", TASK, "customer", 2, None)
    assert edit(admin_client, "two", pool="", task="x", size="", weight="2.5", name="three").status_code == 302
    row = Limit.objects.get(name="two")
    assert (row.pool, row.task, row.partition_by, row.size, row.weight) == ("", "x", "", None, 2.5)
    admin_client.post(f"{LIMITS}two/delete/", {"post": "yes"})
    assert not Limit.objects.filter(name="two").exists()


@pytest.mark.parametrize(
    ("fields", "column", "said"),
    [
        ({"name": ""}, "name", "required"),
        ({"name": "a conflict"}, "name", "conflict policies"),
        ({"name": "system"}, "name", "already exists"),
        ({"name": "x" * 251}, "name", "250"),
        ({"size": "-1"}, "size", "-1.0 must be a number from 0"),
        ({"size": "1.5"}, "size", "1.5 must be a whole number of jobs"),
        ({"size": "inf"}, "size", "Enter a number"),
        ({"kind": "rate", "period": "0"}, "period", "above 0"),
        ({"kind": "rate", "period": "-1"}, "period", "above 0"),
        ({"kind": "rate", "burst": "0"}, "burst", "at least 1"),
        ({"weight": "0"}, "weight", "above 0"),
        ({"kind": "weekly"}, "kind", "weekly"),
        ({"policy": "refuse"}, "policy", "only a task’s own limit"),
        ({"policy": "refuse", "task": TASK}, "policy", "only a task’s own limit"),
        ({"name": TASK, "task": TASK, "kind": "rate", "policy": "refuse"}, "policy", "only a task’s own limit"),
        ({"pool": "gpo", "task": TASK}, "pool", "gpo"),
        ({"partition": "acme"}, "partition", "say partition_by as well"),
        ({}, "__all__", "“system” limits the same"),
        ({"task": TASK}, "__all__", "“other” limits the same"),
    ],
)
def test_what_is_wrong_is_refused_and_nothing_is_written(
    fields: dict[str, str], column: str, said: str, admin_client: Client
) -> None:
    Limit.objects.create(name="other", task=TASK, size=1)
    before = list(Limit.objects.values())
    assert said in str(errors(add(admin_client, **fields))[column])
    assert list(Limit.objects.values()) == before


def test_a_tasks_own_limit_has_a_policy(admin_client: Client) -> None:
    assert add(admin_client, name=TASK, task=TASK, partition_by="customer", policy="refuse").status_code == 302
    assert Limit.objects.get(name=TASK).policy == "refuse"


def test_a_change_may_not_make_two_of_one(admin_client: Client) -> None:
    Limit.objects.create(name="other", task="other", size=1)
    Limit.objects.create(name="two", task=TASK, size=1)
    assert "“other”" in str(errors(edit(admin_client, "two", task="other"))["__all__"])
    assert edit(admin_client, "two", task="other", kind="rate").status_code == 302


def test_two_that_were_one_already_can_be_changed(admin_client: Client) -> None:
    """The code may declare what a person has made before."""
    for name in ("two", "other"):
        Limit.objects.create(name=name, task=TASK, size=1)
    assert edit(admin_client, "two", task=TASK, size="5").status_code == 302


def test_the_system_wide_limit_stays_what_it_is(admin_client: Client) -> None:
    forged = {"name": "x", "task": TASK, "kind": "rate", "partition_by": "x", "partition": "y", "policy": "refuse"}
    assert edit(admin_client, "system", **forged, size="7").status_code == 302
    row = Limit.objects.get(name="system")
    assert (row.size, row.task, row.kind, row.partition, row.policy) == (7, "", "concurrency", "", "wait")
    assert admin_client.post(f"{LIMITS}system/delete/", {"post": "yes"}).status_code == 403
    chosen = {"action": "delete_selected", "_selected_action": ["system"], "post": "yes"}
    assert "MAX_CONCURRENT" in admin_client.post(LIMITS, chosen).content.decode()
    assert Limit.objects.filter(name="system").exists()


def test_what_the_code_declares_stays_what_it_is_for(admin_client: Client) -> None:
    job_manager.submit(declared, ["acme"])
    name = "admin_limits.declared"
    assert edit(admin_client, name, size="5", task="x", partition_by="", weight="3").status_code == 302
    row = Limit.objects.get(name=name)
    assert (row.size, row.weight, row.task, row.partition_by) == (5, 3, name, "customer")
    declaring.forget()
    job_manager.submit(declared, ["acme"])
    assert Limit.objects.get(name=name).size == 5
    response = admin_client.post(reverse("admin:jobs_limit_delete", args=[quote(name)]), {"post": "yes"})
    assert "comes back" in str([str(message) for message in get_messages(response.wsgi_request)])


def test_a_limit_needs_its_permission() -> None:
    browser = people.client("staff", "view_limit", "view_priority")
    assert (add(browser).status_code, edit(browser, "system", size="7").status_code) == (403, 403)
    assert browser.post(f"{LIMITS}system/delete/", {"post": "yes"}).status_code == 403
    assert browser.post("/admin/jobs/priority/low/change/", {"head_start": "1"}).status_code == 403


# --- what is shown ---------------------------------------------------------------------------------------------------


def test_the_list_says_what_is_in_flight(admin_client: Client) -> None:
    stages.start_worker()
    rows = [job_manager.submit(declared, [name]) for name in ("acme", "acme", "<b>zen</b>")]
    assert len(stages.admit()) == 2  # one start an hour for each
    Limit.objects.create(name="never", kind="rate", task=TASK, size=0)
    shown = admin_client.get(LIMITS).content.decode()
    for text in ("1 / 2", "acme", "&lt;b&gt;zen", "for each customer", "1/h", "next in", "never"):
        assert text in shown, text
    assert stages.fresh(rows[1]).state == "pending"
    uses = {row.name: row.use for row in admin_client.get(LIMITS).context["cl"].result_list}
    assert [share.used for share in uses["admin_limits.declared"].shares] == [1, 1]
    assert uses["system"].used == 2


# --- in force on the commit ------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_wider_changed_or_deleted_admits_on_the_commit(admin_client: Client, sent: list[Any]) -> None:
    Limit.objects.filter(name="system").update(size=100)
    stages.start_worker()
    add(admin_client, task=TASK, size="1")
    job_manager.submit_many(nothing, [((), {})] * 9)
    for task, size, admitted in ((TASK, "3", 3), (TASK, "2", 3), ("x", "2", 9)):
        edit(admin_client, "two", task=task, size=size)
        assert len(sent) == admitted
    edit(admin_client, "two", task=TASK, size="0")
    job_manager.submit(nothing)
    assert len(sent) == 9
    admin_client.post(f"{LIMITS}two/delete/", {"post": "yes"})
    assert len(sent) == 10


@pytest.mark.django_db(transaction=True)
def test_a_new_limit_holds_at_once(admin_client: Client, sent: list[Any]) -> None:
    stages.start_worker()
    add(admin_client, pool="default", partition_by="customer", size="1")
    job_manager.submit_many(nothing, [((name,), {}) for name in "aab"], partition_by="customer")
    assert len(sent) == 2


@pytest.mark.django_db(transaction=True)
def test_a_wider_rate_does_not_wait_for_the_old_one(admin_client: Client, sent: list[Any], clock: stages.Clock) -> None:
    """Its next start was due in a day. By the new figures it is due in ten seconds."""
    stages.start_worker()
    add(admin_client, kind="rate", task=TASK, size="1", period="86400")
    job_manager.submit_many(nothing, [((), {})] * 3)
    assert len(sent) == 1
    edit(admin_client, "two", kind="rate", task=TASK, size="6", period="60")
    assert len(sent) == 1
    assert Rate.objects.get().tat == pytest.approx(clock.moment.timestamp() + 10)
    clock.forward(10.01)
    stages.admit()
    edit(admin_client, "two", kind="rate", task=TASK, size="6", period="60", burst="2")
    assert len(sent) == 2


@pytest.mark.django_db(transaction=True)
def test_a_head_start_ranks_what_waits_anew(admin_client: Client, sent: list[Any]) -> None:
    Limit.objects.update(size=0)
    stages.start_worker()
    medium, high = job_manager.submit(nothing), job_manager.submit(nothing, priority="high")
    held = stages.put(job_manager.submit(nothing, priority="high"), "paused")
    assert high.rank < medium.rank
    assert admin_client.post("/admin/jobs/priority/high/change/", {"head_start": "-60"}).status_code == 302
    assert stages.fresh(high).rank == pytest.approx(high.rank + 3660)
    assert stages.fresh(held).rank == pytest.approx(held.rank + 3660)
    assert stages.fresh(medium).rank == medium.rank
    edit(admin_client, "system", size="1")
    assert [message.pairs[0][0] for message in sent] == [medium.id]


@pytest.mark.parametrize(("name", "value"), [("critical", "7200"), ("high", "950000000")])
def test_critical_jobs_stay_the_first(name: str, value: str, admin_client: Client) -> None:
    before = Priority.objects.get(name=name).head_start
    assert "above all others" in str(
        errors(admin_client.post(f"/admin/jobs/priority/{name}/change/", {"head_start": value}))
    )
    assert Priority.objects.get(name=name).head_start == before


@pytest.mark.parametrize("value", ["", "x", "nan", "inf", "1e11"])
def test_a_head_start_that_is_none(value: str, admin_client: Client) -> None:
    assert "head_start" in errors(admin_client.post("/admin/jobs/priority/high/change/", {"head_start": value}))
    assert Priority.objects.get(name="high").head_start == 3600
    assert admin_client.get("/admin/jobs/priority/add/").status_code == 403
    assert admin_client.post("/admin/jobs/priority/high/delete/", {"post": "yes"}).status_code == 403
