"""What a person changes in the admin holds from the next admission on, beside a worker at work."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import pytest
from django.contrib.admin.utils import quote
from django.contrib.auth.models import User
from django.db import connections, transaction
from django.test import Client
from django.urls import reverse

from jobs import Job, job_manager
from jobs.control import limits
from jobs.core.conf import settings
from jobs.models import Limit, Pool, Priority
from tests.app.jobs import hold, nap
from tests.integration.house import House, fresh, in_flight
from tests.services.processes import wait_until

WITHIN = 5.0  # seconds on a busy machine; measured: 0.1
FORM = {
    "kind": "concurrency",
    "pool": "",
    "task": "",
    "partition_by": "",
    "partition": "",
    "size": "",
    "period": "1",
    "burst": "1",
    "weight": "1",
    "policy": "wait",
}


@pytest.fixture
def browser(house: House) -> Client:
    """A superuser at the admin."""
    user, _ = User.objects.get_or_create(username="root", is_superuser=True, is_staff=True)
    client = Client()
    client.force_login(user)
    return client


def change(browser: Client, model: str, name: str, **fields: Any) -> None:
    response = browser.post(reverse(f"admin:jobs_{model}_change", args=[quote(name)]), fields)
    assert response.status_code == 302, response.context["errors"]


def soon(what: Callable[[], bool]) -> None:
    """It comes without anybody's further doing, before the steward could have had to help twice."""
    begin = time.monotonic()
    wait_until(what, WITHIN, "the change to hold")
    print(f"held after {time.monotonic() - begin:.2f} s")  # noqa: T201  # pytest shows it with a failure


def test_a_limit_is_made_widened_and_deleted(house: House, browser: Client) -> None:
    add = reverse("admin:jobs_limit_add")
    form = {**FORM, "task": hold.name}
    assert browser.post(add, {**form, "name": "one at a time", "size": "1"}).status_code == 302
    try:
        first, second, third = (house.submit(hold, str(house.gate())) for _ in range(3))
        house.until(first, "running")
        assert in_flight() == 1
        change(browser, "limit", "one at a time", **form | {"size": "2"})
        soon(lambda: fresh(second).state == "running")
        assert fresh(third).state == "pending"
    finally:
        browser.post(reverse("admin:jobs_limit_delete", args=[quote("one at a time")]), {"post": "yes"})
    soon(lambda: fresh(third).state == "queued")
    assert not Limit.objects.filter(name="one at a time").exists()


CLOSED = {"a maximum": {"size": "0"}, "a rate": {"kind": "rate", "size": "1", "period": "3600"}}
OPEN = {"a maximum": {"size": "1"}, "a rate": {"size": "20", "period": "1"}}


@pytest.mark.parametrize("what", CLOSED)
def test_a_change_holds_within_a_second(house: House, browser: Client, what: str) -> None:
    """And a tick, where the wake-up is lost. The median is judged: a busy machine stalls at times."""
    seconds = []
    for number in range(5):
        name = f"{what} {number}"
        form = {**FORM, "task": nap.name, **CLOSED[what]}
        assert browser.post(reverse("admin:jobs_limit_add"), {**form, "name": name}).status_code == 302
        try:
            if what == "a rate":
                house.run(nap)  # the one of this hour
            seconds.append(_seconds_until_open(house, lambda: change(browser, "limit", name, **form | OPEN[what])))  # noqa: B023
        finally:
            Limit.objects.filter(name=name).delete()
    assert median(seconds) <= 1.0 + settings.TICK, seconds


def _seconds_until_open(house: House, widen: Callable[[], None]) -> float:
    job = house.submit(nap)
    begin = time.monotonic()
    assert fresh(job).state == "pending"
    widen()
    wait_until(lambda: fresh(job).state != "pending", WITHIN, "the change to hold")
    took = time.monotonic() - begin
    house.done(job)
    return took


def test_a_pool_is_widened_paused_and_resumed(house: House, browser: Client) -> None:
    sizes = {"max_concurrent": "1", "max_memory_mb": "", "max_cpu_weight": "", "max_disk_mb": "", "resources": "{}"}
    change(browser, "pool", "default", **sizes)
    first, second = (house.submit(hold, str(house.gate())) for _ in range(2))
    house.until(first, "running")
    assert fresh(second).state == "pending"
    change(browser, "pool", "default", **sizes | {"max_concurrent": ""})
    soon(lambda: fresh(second).state == "running")

    chosen = {"_selected_action": ["default"], "confirmed": "yes", "reason": "a test"}
    pools = reverse("admin:jobs_pool_changelist")
    browser.post(pools, {"action": "pause_selected", **chosen})
    third = house.submit(nap)
    house.open_gates()
    house.done(first), house.done(second)
    assert fresh(third).state == "pending"
    assert Pool.objects.values_list("paused_by", "pause_reason").get(name="default") == ("root", "a test")
    browser.post(pools, {"action": "resume_selected", **chosen})
    soon(lambda: fresh(third).is_final)


def test_a_head_start_overtakes_what_waits(house: House, browser: Client) -> None:
    Limit.objects.filter(name="system").update(size=0)
    before = Priority.objects.get(name="low").head_start
    waiting = [house.submit(nap, priority=word) for word in ("medium", "low")]
    change(browser, "priority", "low", head_start="600")
    try:
        assert fresh(waiting[1]).rank < fresh(waiting[0]).rank
        change(browser, "limit", "system", size="1", weight="1")
        claimed = [house.done(job) for job in waiting]
        assert _started(claimed[1]) < _started(claimed[0])
    finally:
        change(browser, "priority", "low", head_start=str(before))
    assert job_manager.get_job(waiting[0].id).state == "completed"


def _started(job: Job) -> Any:
    return job.started_at


def test_a_limit_is_not_changed_beside_an_admission(house: House) -> None:
    """It waits for the pool's lock: else what was admitted by the old rows could come on top of the new ones."""
    for pool in ("default", ""):
        limit = Limit.objects.create(name="beside", pool=pool, task="nobody", size=1)
        done = threading.Event()
        writer = threading.Thread(target=_change, args=(limit, done))
        with transaction.atomic():
            list(Pool.objects.select_for_update().filter(name="default"))
            writer.start()
            assert not done.wait(0.5)
        assert done.wait(WITHIN)
        writer.join()
        limit.delete()


def _change(limit: Limit, done: threading.Event) -> None:
    try:
        limits.change_limit(limit, ["weight"])
        done.set()
    finally:
        connections.close_all()
