"""The examples of docs/waiting.md are what `jobs_why` prints: each is made anew here, and compared but for the ids."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.core.management import call_command
from django.test import override_settings

from jobs import job, job_manager
from jobs.models import Job, Pool
from jobs.monitoring.explain.remarks import CROWDED, NO_RESERVATION, RESERVATION, TURN
from jobs.monitoring.explain.sentences import _SENTENCES, IMPOSSIBLE
from tests.app import stages
from tests.app.stages import Clock

pytestmark = pytest.mark.django_db

PAGE = Path(__file__).resolve().parents[3] / "docs" / "waiting.md"
ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")


@job(name="video.render", max_retries=3, retry_delay=5)
def render() -> None: ...


@job(name="crm.sync", partition_by="customer", max_concurrent=1)
def sync(customer: str) -> None: ...


@job(name="mail.send", rate="2/m")
def send() -> None: ...


@pytest.fixture(autouse=True)
def _calm(clock: Clock) -> Iterator[None]:
    with override_settings(JOBS={"STALE_AFTER": 10**9, "LOOK_AHEAD": 0, "RETRY": {"jitter": False}}):
        yield


def a_pool_is_paused(clock: Clock) -> Job:
    stages.start_worker()
    row = job_manager.submit(render)
    job_manager.pause_pool("default", "the disk is being replaced", actor="ada")
    clock.forward(300)
    return row


def a_partition_is_at_its_limit(clock: Clock) -> Job:
    stages.start_worker()
    stages.claim(job_manager.run_job("nightly", sync, ["acme"]).job)
    clock.forward(40)
    return job_manager.submit(sync, ["acme"])


def a_budget_is_short(clock: Clock) -> Job:
    stages.start_worker()
    Pool.objects.update(max_memory_mb=16_000)
    for _ in range(2):
        stages.claim(job_manager.submit(render, memory_mb=6_000, timeout=900))
    row = job_manager.submit(render, memory_mb=8_000)
    clock.forward(120)
    return row


def a_rate_spaces_starts_out(clock: Clock) -> Job:
    stages.start_worker()
    job_manager.submit(send)
    stages.admit()
    clock.forward(10)
    return job_manager.submit(send)


def nobody_serves_the_pool(_: Clock) -> Job:
    Pool.objects.create(name="gpu", max_concurrent=0)
    stages.start_worker()
    return job_manager.submit(render, pool="gpu")


def a_retry_waits(clock: Clock) -> Job:
    row = job_manager.submit(render)

    def body() -> None:
        raise TimeoutError("the camera did not answer")

    stages.perform(row, body)
    clock.forward(2)
    return row


def its_turn_comes_later(clock: Clock) -> Job:
    stages.start_worker(slots=2)
    for _ in range(3):
        job_manager.submit(render)
        clock.forward(1)
    job_manager.submit(sync, ["acme"], priority="high")
    return job_manager.submit(render)


EXAMPLES = [
    a_pool_is_paused,
    a_partition_is_at_its_limit,
    a_budget_is_short,
    a_rate_spaces_starts_out,
    nobody_serves_the_pool,
    a_retry_waits,
    its_turn_comes_later,
]


def printed(row: Job) -> str:
    out = io.StringIO()
    call_command("jobs_why", str(row.id), stdout=out)
    return f"$ manage.py jobs_why {row.id}\n{out.getvalue()}"


@pytest.mark.parametrize("make", EXAMPLES, ids=lambda make: make.__name__)
def test_the_page_shows_what_the_command_prints(make: Callable[[Clock], Job], clock: Clock) -> None:
    said = ID.sub("(id)", printed(make(clock)))
    assert f"```\n{said}```" in ID.sub("(id)", PAGE.read_text())


@pytest.mark.parametrize("kind", [*_SENTENCES, IMPOSSIBLE, TURN, CROWDED, RESERVATION, NO_RESERVATION])
def test_every_kind_stands_in_the_table(kind: str) -> None:
    assert f"`{kind}`" in PAGE.read_text().partition("## Kinds")[2]


def test_every_example_of_the_page_is_made_here() -> None:
    assert PAGE.read_text().count("$ manage.py jobs_why") == len(EXAMPLES)
