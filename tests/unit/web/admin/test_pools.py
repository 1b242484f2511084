"""Pools in the admin: what is taken of them is shown, sizes hold at once, and who closes one is recorded."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.test import Client

from jobs import job, job_manager
from jobs.admission import pools as known_pools
from jobs.control import pools
from jobs.models import Job, Limit, Pool
from tests.app import people, stages
from tests.unit.web.admin.test_jobs import told

pytestmark = pytest.mark.django_db

POOLS = "/admin/jobs/pool/"
DEFAULT = f"{POOLS}default/change/"
FORM = {
    "max_concurrent": "",
    "max_memory_mb": "",
    "max_cpu_weight": "",
    "max_disk_mb": "",
    "resources": "{}",
    "max_retries": "",
    "retry_jitter": "unknown",
}


@job(name="admin_pools.hungry", memory_mb=512, resources={"gpu": 1})
def hungry() -> None: ...


@job(name="admin_pools.nothing")
def nothing() -> None: ...


@pytest.fixture
def admin_client() -> Client:
    return people.client("superuser")


def act(browser: Client, name: str, *names: str, **fields: str) -> Any:
    return browser.post(POOLS, {"action": f"{name}_selected", "_selected_action": list(names), **fields})


# --- what is shown ---------------------------------------------------------------------------------------------------


def test_the_list_says_how_full_each_pool_is(admin_client: Client) -> None:
    Pool.objects.filter(name="default").update(max_concurrent=4, max_memory_mb=2048, resources={"gpu": 2})
    stages.start_worker(slots=3)
    rows = job_manager.submit_many(hungry, [((), {})] * 3)
    stages.claim(rows[0])
    pools.pause("default", reason="disk <b>full</b>", actor="ada")
    shown = admin_client.get(POOLS).content.decode()
    for text in ("1 / 4", 'value="25"', "512 / 2,048", "1 / 2", "Memory (MB)", "paused by ada", "&lt;b&gt;full"):
        assert text in shown
    (row,) = admin_client.get(POOLS).context["cl"].result_list
    assert (row.use.in_flight.used, row.use.waiting.number.number, row.use.slots) == (1, 2, 3)


def test_the_page_of_a_pool_says_the_same(admin_client: Client) -> None:
    Pool.objects.filter(name="default").update(max_concurrent=4)
    stages.claim(job_manager.submit(nothing))
    shown = admin_client.get(DEFAULT).content.decode()
    assert "1 / 4" in shown
    assert 'value="pause_selected"' in shown
    assert 'value="resume_selected"' not in shown


# --- sizes -----------------------------------------------------------------------------------------------------------


def test_sizes_are_changed_and_nothing_else(admin_client: Client) -> None:
    form = {**FORM, "max_concurrent": "3", "max_memory_mb": "64", "max_cpu_weight": "1.5", "resources": '{"gpu": 2}'}
    assert admin_client.post(DEFAULT, {**form, "name": "x", "paused_by": "x", "draining_at": "x"}).status_code == 302
    pool = Pool.objects.get()
    assert (pool.name, pool.max_concurrent, pool.max_memory_mb, pool.max_cpu_weight) == ("default", 3, 64, 1.5)
    assert (pool.max_disk_mb, pool.resources, pool.paused_by, pool.draining_at) == (None, {"gpu": 2}, "", None)


def test_a_pools_retries_are_changed(admin_client: Client) -> None:
    said = {
        "max_retries": "3",
        "retry_delay": "0.5",
        "retry_multiplier": "1.5",
        "retry_cap": "60",
        "retry_jitter": "false",
        "retry_deadline": "3600",
    }
    assert admin_client.post(DEFAULT, {**FORM, **said}).status_code == 302
    assert Pool.objects.values(*said).get() == {
        "max_retries": 3,
        "retry_delay": 0.5,
        "retry_multiplier": 1.5,
        "retry_cap": 60,
        "retry_jitter": False,
        "retry_deadline": 3600,
    }
    assert admin_client.post(DEFAULT, FORM).status_code == 302
    assert set(Pool.objects.values(*said).get().values()) == {None}


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("max_concurrent", "-1", "-1 must be a number from 0 to"),
        ("max_concurrent", "many", "whole number"),
        ("max_memory_mb", "1e999", "whole number"),
        ("max_memory_mb", str(2**31), ""),
        ("max_cpu_weight", "-0.5", "-0.5 must be a number"),
        ("max_cpu_weight", "nan", "Enter a number"),
        ("max_retries", "-1", "-1 must be a whole number from 0"),
        ("max_retries", "10001", "whole number from 0 to 10,000"),
        ("retry_delay", "-1", "-1.0 must be a number"),
        ("retry_cap", "-1", "-1.0 must be a number"),
        ("retry_multiplier", "0.5", "0.5 must be a number from 1"),
        ("retry_deadline", "0", "0.0 must be a number above 0"),
        ("resources", "[1]", "must be a dict"),
        ("resources", "{", "valid JSON"),
        ("resources", '{"gpu": -1}', "'gpu' is -1; it must be a number from 0"),
        ("resources", '{"gpu": "2"}', "'gpu' is '2'"),
        ("resources", '{"gpu": null}', "'gpu' is None"),
        ("resources", '{"gpu": true}', "'gpu' is True"),
        ("resources", '{"gpu": NaN}', "'gpu' is nan"),
        ("resources", '{"memory_mb": 1}', "'memory_mb' is no name"),
        ("resources", '{"": 1}', "is no name"),
        ("resources", r'{"a\u0000": 1}', "without NUL"),
    ],
)
def test_a_wrong_size_is_refused_and_nothing_is_written(
    column: str, value: str, said: str, admin_client: Client
) -> None:
    before = Pool.objects.values().get()
    response = admin_client.post(DEFAULT, {**FORM, "max_disk_mb": "7", column: value})
    assert response.status_code == 200
    assert said in str(response.context["adminform"].form.errors.get_json_data()[column])
    assert Pool.objects.values().get() == before


def test_a_change_does_not_undo_what_happened_meanwhile() -> None:
    """Only the columns are written: a pool that was paused while the form was open stays paused."""
    model_admin: Any = admin.site._registry[Pool]
    pool = Pool.objects.get(name="default")
    Pool.objects.update(paused_by="ada")
    pool.max_concurrent = 4
    form = type("Form", (), {"changed_data": ["max_concurrent"]})()
    model_admin.save_model(None, pool, form, change=True)
    assert Pool.objects.values_list("max_concurrent", "paused_by").get(name="default") == (4, "ada")


@pytest.mark.django_db(transaction=True)
def test_a_wider_pool_admits_on_the_commit(admin_client: Client, sent: list[Any]) -> None:
    Pool.objects.update(max_concurrent=1)
    stages.start_worker(slots=10)
    rows = job_manager.submit_many(nothing, [((), {})] * 4)
    assert len(sent) == 1
    admin_client.post(DEFAULT, {**FORM, "max_concurrent": "3"})
    assert len(sent) == 3
    admin_client.post(DEFAULT, {**FORM, "max_concurrent": "0"})
    assert [stages.fresh(row).state for row in rows] == ["queued"] * 3 + ["pending"]


# --- to pause, drain, resume -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("verb", "column"), [("pause", "paused_at"), ("drain", "draining_at")])
def test_a_pool_is_closed_with_person_and_reason(verb: str, column: str, admin_client: Client) -> None:
    queued = job_manager.submit(nothing)
    stages.queue(queued)
    asked = act(admin_client, verb, "default").content.decode()
    assert f"{verb.capitalize()} default?" in asked
    assert 'name="reason"' in asked
    assert getattr(Pool.objects.get(), column) is None
    response = act(admin_client, verb, "default", confirmed="yes", reason=" new disks ")
    pool = Pool.objects.get()
    assert getattr(pool, column) is not None
    assert (pool.paused_by, pool.pause_reason) == ("superuser", "new disks")
    assert stages.fresh(queued).state == "pending"
    assert told(response) == [f"{'Paused' if verb == 'pause' else 'Draining'}: default."]
    assert "new disks" in LogEntry.objects.get().change_message
    assert told(act(admin_client, verb, "default", confirmed="yes"))[-1].startswith("Already ")
    assert Pool.objects.get().pause_reason == "new disks"


@pytest.mark.django_db(transaction=True)
def test_a_pool_that_goes_on_admits_at_once(admin_client: Client, sent: list[Any]) -> None:
    pools.pause("default", actor="ada")
    stages.start_worker()
    job_manager.submit(nothing)
    assert not sent
    assert told(act(admin_client, "resume", "default")) == ["Resumed: default."]
    assert len(sent) == 1
    assert told(act(admin_client, "resume", "default"))[-1] == "Not paused: default."
    assert LogEntry.objects.count() == 1


def test_the_actions_need_their_permission() -> None:
    for permissions, is_paused in ((["view_pool", "change_pool"], False), (["view_pool", "pause_pool"], True)):
        browser = people.client("staff", *permissions)
        assert ('value="pause_selected"' in browser.get(DEFAULT).content.decode()) == is_paused
        for verb in ("pause", "drain"):
            act(browser, verb, "default", confirmed="yes")
        assert (Pool.objects.get().paused_at is not None) == is_paused
        User.objects.all().delete()
    act(people.client("staff", "view_pool", "change_pool"), "resume", "default")
    assert Pool.objects.get().paused_at is not None


def test_to_change_a_size_needs_the_permission_to_change() -> None:
    assert people.client("staff", "view_pool", "pause_pool").post(DEFAULT, FORM).status_code == 403


# --- to create and delete --------------------------------------------------------------------------------------------


def test_a_pool_is_made(admin_client: Client) -> None:
    assert admin_client.post(f"{POOLS}add/", {**FORM, "name": "gpu", "max_concurrent": "2"}).status_code == 302
    assert Pool.objects.get(name="gpu").max_concurrent == 2
    assert job_manager.submit(nothing, pool="gpu").pool == "gpu"


@pytest.mark.parametrize("name", ["", " ", "a,b", "x" * 101, "a\0b", "default"])
def test_a_name_that_no_pool_can_have(name: str, admin_client: Client) -> None:
    response = admin_client.post(f"{POOLS}add/", {**FORM, "name": name})
    assert response.status_code == 200
    assert "name" in response.context["adminform"].form.errors
    assert Pool.objects.count() == 1


def _delete(browser: Client, name: str) -> str:
    return browser.post(f"{POOLS}{name}/delete/", {"post": "yes"}, follow=True).content.decode()


@pytest.mark.parametrize("state", ["scheduled", "pending", "queued", "running", "paused"])
def test_a_pool_with_unfinished_jobs_is_not_deleted(state: str, admin_client: Client) -> None:
    Pool.objects.create(name="gpu")
    row = job_manager.submit(nothing, pool="gpu")
    stages.put(row, state, queued_at=row.created_at)
    assert "unfinished jobs" in _delete(admin_client, "gpu")
    act_all = {"action": "delete_selected", "_selected_action": ["gpu"], "post": "yes"}
    assert "unfinished jobs" in admin_client.post(POOLS, act_all).content.decode()
    assert Pool.objects.filter(name="gpu").exists()
    stages.put(row, "completed")
    _delete(admin_client, "gpu")
    assert not Pool.objects.filter(name="gpu").exists()


def test_a_pool_that_is_in_use_otherwise_is_not_deleted(admin_client: Client) -> None:
    assert "name none" in _delete(admin_client, "default")
    Pool.objects.create(name="gpu")
    limit = Limit.objects.create(name="two", pool="gpu", size=2)
    assert "two" in _delete(admin_client, "gpu")
    limit.delete()
    stages.start_worker(pools=["gpu"])
    assert "live worker" in _delete(admin_client, "gpu")
    assert Pool.objects.count() == 2


def test_what_is_in_the_way_at_the_last_moment_counts() -> None:
    model_admin: Any = admin.site._registry[Pool]
    with pytest.raises(Exception, match="name none"):
        model_admin.delete_model(None, Pool.objects.get())
    assert Pool.objects.exists()


def test_nothing_a_pool_says_becomes_markup(admin_client: Client) -> None:
    name = people.MARK[:100].replace(",", "")
    Pool.objects.create(name=name, resources={people.MARK: 1}, paused_by=people.MARK, pause_reason=people.MARK)
    Pool.objects.update(paused_at=job_manager.submit(nothing).created_at)
    pages = [admin_client.get(POOLS), act(admin_client, "pause", name), admin_client.get("/jobs/pools/")]
    for response in pages:
        assert response.status_code == 200
        assert people.is_harmless(response.content.decode())


# --- pools that come back --------------------------------------------------------------------------------------------


def test_a_pool_in_which_jobs_wait_comes_back() -> None:
    """Its submit was not committed when the pool was deleted, or another process remembered the pool."""
    for name in ("a", "b", "c"):
        Pool.objects.create(name=name)
        job_manager.submit(nothing, pool=name)
    assert known_pools.restore() == []
    Pool.objects.filter(name__in=["a", "c"]).delete()
    assert known_pools.restore() == ["a", "c"]
    assert Job.objects.filter(pool__in=Pool.objects.values("name")).count() == 3
