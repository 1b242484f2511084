"""Failures on real workers: what is tried again, what comes in its place, what is begun once or never."""

from __future__ import annotations

import time

import pytest

from jobs import job_manager
from jobs.models import Job, Pool, transitions
from jobs.workflows import fallbacks
from tests.app.failing import be_exact, give_up, make_do, once
from tests.app.jobs import hold, ignore_requests, whoami
from tests.integration.actors import settle_fallbacks
from tests.integration.crowd import crowd
from tests.integration.house import House, outcomes, story
from tests.services import Stack
from tests.services.processes import wait_until


def _in_place_of(house: House, job: Job) -> Job:
    """The job that was submitted in place of one that failed, at its end."""
    wait_until(lambda: Job.objects.filter(metadata__fallback_of=str(job.id)).exists(), 10, "the fallback")
    return house.done(Job.objects.get(metadata__fallback_of=str(job.id)))


def test_a_fallback_gets_arguments_and_error_when_all_attempts_have_failed(house: House) -> None:
    job = house.done(job_manager.submit(give_up, ["castle"], {"size": 3}))
    assert (job.state, job.error_category, outcomes(job)) == ("failed", "transient", ["retried", "failed"])
    made = _in_place_of(house, job)
    assert (made.task, made.state) == (make_do.name, "completed")
    assert (made.result["args"], made.result["kwargs"]) == (["castle"], {"size": 3})
    assert made.result["error"]["message"] == "attempt 2 on host 10.0.0.2 failed"
    assert Job.objects.filter(metadata__fallback_of=str(job.id)).count() == 1
    assert story(job)[-2:] == ["fail", "fallback"]


def test_four_that_would_submit_the_same_fallbacks_submit_each_once(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = job_manager.submit_many(give_up, [([], {})] * 200)
    monkeypatch.setattr(fallbacks, "_settle", lambda _: False)  # whoever failed them has died
    transitions.move("fail", "state = 'pending'")
    monkeypatch.undo()
    crowd(4, settle_fallbacks)
    made = Job.objects.filter(task=make_do.name).values_list("metadata", flat=True)
    assert sorted(one["fallback_of"] for one in made) == sorted(str(job.id) for job in failed)


def test_failures_that_are_alike_are_counted(house: House) -> None:
    one, other = house.run(give_up), house.run(give_up)
    odd = house.run(be_exact, ["wrong"])
    assert one.error_fingerprint == other.error_fingerprint != odd.error_fingerprint
    counts = {group.fingerprint: group.count for group in job_manager.error_groups(limit=1000)}
    assert counts[one.error_fingerprint] >= 2
    assert {error["fingerprint"] for error in one.errors} == {one.error_fingerprint}


def test_only_what_the_task_names_is_tried_again(house: House) -> None:
    job = house.run(be_exact, ["away", "away"])
    assert (job.state, job.result, job.retry_count) == ("completed", 3, 2)
    wrong = house.run(be_exact, ["away", "wrong"])
    assert (wrong.state, wrong.error_category, wrong.retry_count) == ("failed", "user", 1)


def test_a_pool_gives_its_policy_to_whoever_says_none(house: House) -> None:
    Pool.objects.update(max_retries=1, retry_delay=0.3, retry_jitter=False)
    try:
        job = house.run("tests.app.jobs.leave", 3)
    finally:
        Pool.objects.update(max_retries=None, retry_delay=None, retry_jitter=None)
    assert (job.state, job.max_retries, outcomes(job)) == ("failed", 1, ["retried", "failed"])
    first, second = job.attempts.order_by("number")
    assert first.finished_at
    assert 0.3 <= (second.started_at - first.finished_at).total_seconds() < 3


def test_what_is_not_started_in_time_never_is(house: House) -> None:
    gates = [house.gate(), house.gate()]
    for gate in gates:  # both processes are taken
        house.in_body(hold, gate)
    late = house.submit(whoami, expires=0.6)
    also = house.submit(whoami, run_after=3600, expires=0.6)
    for job in (late, also):
        done = house.done(job)
        assert (done.state, done.error_category, house.effects(job)) == ("failed", "expired", [])
        assert done.finished_at is not None
        assert 0 <= (done.finished_at - done.expires_at).total_seconds() < 3
    house.open_gates()
    assert house.run(whoami, expires=30).state == "completed"


@pytest.mark.parametrize(("how", "category"), [("die", "lost"), ("snooze", "lost"), ("raise", "transient")])
def test_what_may_run_once_runs_once(house: House, how: str, category: str) -> None:
    job = house.run(once, how)
    assert (job.state, job.error_category, job.attempt) == ("failed", category, 1)
    assert _in_place_of(house, job).state == "completed"
    time.sleep(0.5)  # whoever would run it again would do so by now
    assert len(house.effects(job)) == 1


def test_stopping_a_running_job_with_an_error(house: House) -> None:
    job = house.in_body(hold, house.gate(), max_retries=3)
    handle = job_manager.handle(job.id)
    assert handle.stop(ValueError("wrong file"), wait=True, timeout=15) == "REQUESTED"
    done = handle.job
    assert (done.state, done.error_category, done.error_type, done.error_message, done.retry_count) == (
        "failed",
        "stopped",
        "ValueError",
        "wrong file",
        0,
    )
    assert handle.stop(ValueError("again")) == "ALREADY_FINAL"
    assert outcomes(job) == ["failed"]


def test_stopping_frees_the_key_once_the_code_has_stopped(house: House) -> None:
    gate = house.gate()
    job = job_manager.run_job("judging", ignore_requests, [str(gate)]).job
    wait_until(lambda: house.effects(job), 15, "the body")
    job_manager.stop(job.id, "no more of this")
    time.sleep(1)
    running = job_manager.get_running_job("judging")
    assert running is not None
    assert running.id == job.id
    house.open_gates()
    done = running.wait(15)
    assert done.state == "completed"  # it came to its end before it looked: that wins
    assert job_manager.get_running_job("judging") is None
