"""The checker of the invariants finds what is wrong: a history that is sound passes, each way to break it is named."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from django.db.models import F
from django.db.models.functions import Now

from jobs import job_manager
from jobs.execution import attempt, back_to_queue, claims
from jobs.models import Attempt, Hook, Job, JobEvent, Worker, transitions
from tests.app import ledger, stages
from tests.app.jobs import probe
from tests.invariants import EFFECT, check_invariants, peak_in_flight

pytestmark = pytest.mark.django_db


def admitted() -> Job:
    job = job_manager.submit(probe)
    transitions.move("admit", "id = %s", [job.id.hex])
    return job_manager.get_job(job.id)


def fence_of(job: Job) -> tuple[UUID, UUID]:
    assert job.attempt_id
    return job.id, job.attempt_id


def completed() -> Job:
    job = admitted()
    assert attempt.perform(*fence_of(job), probe.run, None)
    return job_manager.get_job(job.id)


def running() -> Job:
    job = admitted()
    assert claims.claim(*fence_of(job), None)
    return job_manager.get_job(job.id)


def worker(**more: object) -> Worker:
    columns = {"hostname": "here", "pid": 1, "started_at": Now(), "beat_at": Now(), **more}
    return Worker.objects.create(boot_id=uuid4(), **columns)


def test_a_sound_history_passes() -> None:
    worker(pools=["default"])
    assert completed().state == "completed"
    running()
    admitted()
    job_manager.submit(probe, run_after=60)
    job_manager.submit(probe, start=False)
    check_invariants(limit=2)


def test_requeue_begins_a_new_count() -> None:
    job = running()
    transitions.move("fail", "id = %s", [job.id.hex])
    job_manager.retry_job(job.id)
    transitions.move("admit", "id = %s", [job.id.hex])
    assert attempt.perform(*fence_of(job_manager.get_job(job.id)), probe.run, None)
    check_invariants(limit=1)


def test_a_pause_in_place_of_a_retry_counts_as_one() -> None:
    job = running()
    job_manager.pause_job(job.id, reason="maintenance")
    back_to_queue.return_to_queue("retry", "id = %s", [job.id.hex])
    check_invariants()
    JobEvent.objects.filter(name="pause").update(data={})
    with pytest.raises(AssertionError) as told:
        check_invariants()
    for wrong in ("I2: attempt", "I6: retry_count is 1, counted 0", "I6: error_count is 1, counted 0"):
        assert wrong in str(told.value)


def _edit(model: type[Job | JobEvent | Attempt], **columns: object) -> Callable[[], object]:
    return lambda: model._base_manager.update(**columns)


def _an_event(**columns: object) -> Callable[[], object]:
    def insert() -> None:
        Job.objects.update(event_seq=F("event_seq") + 1)
        job = Job.objects.get()
        values = {"from_state": job.state, "to_state": job.state, "seq": job.event_seq, "at": Now()}
        JobEvent.objects.create(job=job, **{**values, **columns})

    return insert


def _another_attempt() -> None:
    job = Job.objects.get()
    Attempt.objects.create(id=uuid4(), job=job, number=2, started_at=Now())


@pytest.mark.parametrize(
    ("break_it", "told"),
    [
        (_edit(Attempt, outcome="failed"), "I2"),
        (_edit(Attempt, id=uuid4()), "I2"),
        (_an_event(name="fail", from_state="completed", to_state="failed"), "I2"),
        (lambda: JobEvent.objects.filter(name="claim").delete(), "I3: event numbers have gaps"),
        (_an_event(name="cancel", from_state="completed", to_state="cancelled"), "is no edge"),
        (_an_event(name="stale", from_state="running"), "starts from 'running'"),
        (_an_event(name="stale", to_state="running"), "the events end at 'running'"),
        (_edit(Job, event_seq=9), "do not end at 9"),
        (lambda: Job.objects.all()._raw_delete("default"), "I3: events or attempts of jobs that are not there"),
        (_another_attempt, "I4: open attempts"),
        (_edit(Attempt, finished_at=None), "I4: open attempts"),
        (_edit(Job, attempt=2), "I6: attempt is 2"),
        (_edit(Job, retry_count=1), "I6: retry_count is 1"),
        (_edit(Job, rescue_count=1), "I6: rescue_count is 1"),
        (_edit(Job, error_count=1), "I6: error_count is 1"),
        (_edit(Job, run=2), "I6: run is 2"),
        (_edit(Attempt, number=2), "numbered"),
        (_an_event(name="fallback"), "I8: 1 fallbacks for 0 failures"),
    ],
)
def test_what_breaks_a_finished_job_is_named(break_it: Callable[[], object], told: str) -> None:
    completed()
    check_invariants()
    break_it()
    with pytest.raises(AssertionError, match=told):
        check_invariants()


def test_an_attempt_that_began_before_the_last_one_ended_is_named() -> None:
    job = running()
    transitions.move("rescue", "id = %s", [job.id.hex])
    transitions.move("admit", "id = %s", [job.id.hex])
    assert attempt.perform(*fence_of(job_manager.get_job(job.id)), probe.run, None)
    check_invariants()
    Attempt.objects.filter(number=1).update(finished_at=Now() + timedelta(seconds=5))
    with pytest.raises(AssertionError, match="I4: attempt 2 began before"):
        check_invariants()


def test_what_may_run_once_and_ran_twice_is_named() -> None:
    job = running()
    transitions.move("rescue", "id = %s", [job.id.hex])
    transitions.move("admit", "id = %s", [job.id.hex])
    assert attempt.perform(*fence_of(job_manager.get_job(job.id)), probe.run, None)
    Job.objects.update(at_most_once=True)
    with pytest.raises(AssertionError, match="I8: it may run once"):
        check_invariants()


def test_a_key_that_is_held_too_long_or_let_go_too_early_is_named() -> None:
    job_manager.run_job("castle", probe)
    check_invariants()
    Job.objects.update(active_key=None)
    with pytest.raises(AssertionError, match="I6: active_key is None"):
        check_invariants()


LONG_AGO = Now() - timedelta(seconds=60)


def _scheduled_and_forgotten() -> None:
    job_manager.submit(probe, run_after=60)
    Job.objects.update(run_after=LONG_AGO)


def _pending_and_forgotten() -> None:
    job_manager.submit(probe)
    JobEvent.objects.update(at=LONG_AGO)


def _queued_and_forgotten() -> None:
    admitted()
    JobEvent.objects.update(at=LONG_AGO)


def _running_and_forgotten() -> None:
    running()
    Attempt.objects.update(worker=worker(fenced_at=LONG_AGO))


def _silent_and_forgotten() -> None:
    running()
    Attempt.objects.update(worker=worker(beat_at=Now() - timedelta(seconds=600)))


def _asked_to_stop_and_forgotten() -> None:
    job_manager.cancel_job(running().id)
    Attempt.objects.update(worker=worker(can_stop=True, draining_at=Now()), started_at=LONG_AGO)
    Job.objects.update(cancel_requested_at=LONG_AGO)


def _hooks_left_behind() -> None:
    Hook.objects.create(id=uuid4(), job=completed(), run=1)
    JobEvent.objects.update(at=LONG_AGO)


def _paused_without_a_word() -> None:
    job_manager.submit(probe, start=False)
    Job.objects.update(reason="")


def _failed_without_its_fallback() -> None:
    stages.put(job_manager.submit(probe), "failed", fallback="other", fallback_due=True, error_count=1)
    Job.objects.update(event_seq=2)
    job = Job.objects.get()
    JobEvent.objects.create(job=job, name="fail", from_state="pending", to_state="failed", seq=2, at=LONG_AGO)


def _expired_and_forgotten() -> None:
    job_manager.submit(probe, expires=60)
    Job.objects.update(expires_at=LONG_AGO)


FORGOTTEN = [
    (_failed_without_its_fallback, "I1: failed at"),
    (_expired_and_forgotten, "I1: expired at"),
    (_scheduled_and_forgotten, "I1: due since"),
    (_pending_and_forgotten, "I1: pending since"),
    (_queued_and_forgotten, "I1: queued since"),
    (_running_and_forgotten, "I1: running on a worker that was declared dead"),
    (_silent_and_forgotten, "I1: running on a worker that is silent since"),
    (_hooks_left_behind, "I1: run 1 ended, and its hooks were not run"),
    (_paused_without_a_word, "I1: paused, and nothing says why"),
]


@pytest.mark.parametrize(("forget", "told"), FORGOTTEN)
def test_a_job_that_nobody_moves_is_named_where_somebody_could(forget: Callable[[], None], told: str) -> None:
    forget()
    check_invariants()  # nobody lives, nobody is to blame
    worker(pools=["default"])
    with pytest.raises(AssertionError, match=told):
        check_invariants()


@pytest.mark.parametrize(
    ("busy", "is_left"),
    [
        ({}, True),
        ({"claimed_at": Now()}, False),
        ({"requested_at": Now(), "requests": 1}, False),
        (
            {
                "claimed_at": Now() - timedelta(seconds=600),
                "requested_at": Now() - timedelta(seconds=600),
                "requests": 1,
            },
            True,
        ),
    ],
)
def test_hooks_that_somebody_is_at_are_not_forgotten(busy: dict[str, object], is_left: bool) -> None:
    _hooks_left_behind()
    Hook.objects.update(**busy)
    worker(pools=["another"])
    check_invariants()  # nobody there knows the task
    worker(pools=["default"])
    assert ("its hooks were not run" in _violations()) == is_left


def test_the_hooks_of_what_runs_are_not_forgotten() -> None:
    Hook.objects.create(id=uuid4(), job=running(), run=1)
    JobEvent.objects.update(at=LONG_AGO)
    worker(pools=["default"])
    check_invariants()


@pytest.mark.parametrize(
    ("columns", "is_named"),
    [
        ({}, True),
        ({"worker__can_stop": False}, False),
        ({"worker__beat_at": Now() - timedelta(seconds=100)}, False),
        ({"job__grace": 100}, False),
        ({"attempt__started_at": Now()}, False),
    ],
    ids=["prefork", "threads", "not heard", "its grace", "just begun"],
)
def test_what_should_have_been_stopped_by_now_is_named(columns: dict[str, object], is_named: bool) -> None:
    _asked_to_stop_and_forgotten()
    for name, value in columns.items():
        model, column = name.split("__")
        {"worker": Worker, "job": Job, "attempt": Attempt}[model]._base_manager.update(**{column: value})
    worker(pools=["default"])
    assert ("I1: asked to stop at" in _violations()) == is_named


def _violations() -> str:
    try:
        check_invariants()
    except AssertionError as error:
        return str(error)
    return ""


def test_more_in_flight_than_the_limit_is_named() -> None:
    admitted()
    completed()
    assert peak_in_flight() == peak_in_flight(pool="default") == 2
    assert peak_in_flight(pool="another") == 0
    check_invariants(limit=2)
    with pytest.raises(AssertionError, match="I5: 2 in flight at once, the limit is 1"):
        check_invariants(limit=1)


def test_an_effect_without_its_attempt_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ledger.VARIABLE, str(tmp_path / "ledger"))
    job = completed()
    ledger.note(EFFECT, job=str(job.id))
    check_invariants(effects=tmp_path / "ledger")
    ledger.note(EFFECT, job=str(job.id))
    with pytest.raises(AssertionError, match="2 effects in 1 attempts"):
        check_invariants(effects=tmp_path / "ledger")
