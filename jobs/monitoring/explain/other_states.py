"""Why a job that is not pending is where it is: one function per state, each yields at least one reason."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from jobs.admission import publishing, queries
from jobs.admission.limits.blockers import NO_WORKER
from jobs.control.pausing import NOT_STARTED
from jobs.core.conf import settings
from jobs.models import Attempt, Job, JobEvent, Worker
from jobs.monitoring.explain.answer import Reason
from jobs.monitoring.explain.wording import because, by, clipped, name, when, worker_command
from jobs.monitoring.formatting import duration
from jobs.states import NOT_RUNNING


def scheduled(job: Job, now: datetime) -> Iterator[Reason]:
    """Not before a moment: a delay, a retry's back-off or a snooze."""
    due = job.run_after or now
    if due <= now:
        sentence = f"It was due {when(due, now)}: the steward makes it pending in its next round."
        yield Reason("due", sentence, blocks=False, until=due)
        return
    last = _last_event(job)
    edge = last.name if last is not None else ""
    if edge == "retry":
        number = f"attempt {job.retry_count + 1} of {job.max_retries + 1}"
        sentence = f"The last attempt failed{_error(job)}: {number} comes {when(due, now)}."
    elif edge == "snooze":
        sentence = f"Snoozed by its own code: it runs again {when(due, now)}. This uses no retry."
    else:
        edge, sentence = "delay", f"It was submitted to run later: {when(due, now)}."
    yield Reason(edge, sentence, until=due, since=last.at if last is not None else None)


def blocked(job: Job, _: datetime) -> Iterator[Reason]:
    """Waits for other jobs."""
    yield Reason("dependencies", "It waits for other jobs to end.")


def queued(job: Job, now: datetime) -> Iterator[Reason]:
    """Admitted: its message waits for a worker, or was not sent."""
    is_served = queries.live_slots(job.pool) > 0
    if not is_served:
        sentence = f"No worker serves pool {name(job.pool)} just now."
        yield Reason(NO_WORKER, sentence, pool=job.pool, command=worker_command([job.pool]))
    if job.published_at is None:
        yield _unsent(job, now)
    else:
        sentence = f"Its message was sent {when(job.published_at, now)}: it waits for a free process of a worker."
        yield Reason("sent", sentence, is_served, job.pool, since=job.published_at)
    if job.release_count:
        times = "once" if job.release_count == 1 else f"{job.release_count} times"
        yield Reason("unanswered", f"No worker answered its message, {times} in a row: it is sent again.", blocks=False)
    if job.unknown_since is not None:
        yield _unknown(job, job.unknown_since, now)


def running(job: Job, now: datetime) -> Iterator[Reason]:
    """It runs; whether a person asked it to stop, and whether its worker still sends heartbeats."""
    attempt = (
        Attempt.objects.using(settings.DATABASE)
        .select_related("worker")
        .filter(job_id=job.pk, finished_at=None)
        .first()
    )
    host = attempt.hostname if attempt is not None else ""
    process = f" in process {attempt.pid}" if attempt is not None and attempt.pid else ""
    since = "" if job.started_at is None else f" since {duration((now - job.started_at).total_seconds())}"
    yield Reason("runs", f"It runs on {name(host or '?')}{process}{since}.", blocks=False, since=job.started_at)
    worker = attempt.worker if attempt is not None else None
    if job.cancel_requested_at is not None:
        yield _asked_to_stop(job, worker, job.cancel_requested_at, now)
    elif job.pause_requested_at is not None:
        who, asked = job.paused_by, when(job.pause_requested_at, now)
        sentence = f"It was asked to pause{by(who)} {asked}{because(job.reason)}, which it does at its next checkpoint."
        yield Reason(
            "pause_requested", sentence, blocks=False, since=job.pause_requested_at, person=who, text=job.reason
        )
    if worker is not None and worker.beat_at < now - timedelta(seconds=settings.STALE_AFTER):
        last_beat = when(worker.beat_at, now)
        sentence = f"The last heartbeat of its worker came {last_beat}: if it is dead, the steward rescues the job."
        yield Reason("worker_silent", sentence, blocks=False, since=worker.beat_at)


def paused(job: Job, now: datetime) -> Iterator[Reason]:
    """Held by a person."""
    last = _last_event(job)
    since = last.at if last is not None else None
    ago = "" if since is None else f" {when(since, now)}"
    if job.reason == NOT_STARTED:
        sentence = f"It was submitted{ago} with start=False, and was not started: call `job_manager.start_job`."
        yield Reason("not_started", sentence, since=since)
        return
    who = job.paused_by or (last.actor if last is not None else "")
    sentence = f"It was paused{by(who)}{ago}{because(job.reason)}."
    yield Reason("paused", sentence, since=since, person=who, text=job.reason)


def final(job: Job, now: datetime) -> Iterator[Reason]:
    """It waits for nothing."""
    ago = "" if job.finished_at is None else f" {when(job.finished_at, now)}"
    why = because(job.error_message if job.state == "failed" else job.reason)
    yield Reason(job.state, f"It has ended: {job.state}{ago}{why}.", blocks=False, since=job.finished_at)


def _asked_to_stop(job: Job, worker: Worker | None, at: datetime, now: datetime) -> Reason:
    """The person who asked, and what happens when the body does not stop by itself."""
    who, until = job.cancel_requested_by, None
    sentence = f"It was asked to stop{by(who)} {when(at, now)}{because(job.reason)}, and has not stopped yet"
    if worker is None or not worker.can_stop:
        sentence += ": its worker cannot stop the code from outside. It stops at its next `check()`, or ends by itself."
    elif job.cancel_force:
        sentence += ": its worker stops its process now."
    else:
        until = at + timedelta(seconds=settings.GRACE if job.grace is None else job.grace)
        sentence += (
            f": its worker stops its process {when(until, now)}." if until > now else ": its worker stops it now."
        )
    return Reason("cancel_requested", sentence, since=at, until=until, person=who, text=job.reason)


def expiring(job: Job, now: datetime) -> Iterator[Reason]:
    """Until when the job may start; for jobs that are not running."""
    end = job.expires_at
    if end is None or job.state not in NOT_RUNNING:
        return
    if end > now:
        yield Reason("expires", f"Unless it starts before, it fails {when(end, now)}.", blocks=False, until=end)
    else:
        sentence = f"It expired {when(end, now)}: it does not start any more, and the steward fails it."
        yield Reason("expired", sentence, since=end)


def _unsent(job: Job, now: datetime) -> Reason:
    since = "" if job.queued_at is None else f" {when(job.queued_at, now)}"
    if publishing.breaker.is_open:
        sentence = f"It was admitted{since}, but the broker does not answer this process: its message is sent later."
        return Reason("broker_away", sentence, since=job.queued_at)
    sentence = f"It was admitted{since}, but its message is not sent yet: the steward sends it again."
    return Reason("unsent", sentence, since=job.queued_at)


def _unknown(job: Job, since: datetime, now: datetime) -> Reason:
    end = since + timedelta(seconds=settings.UNKNOWN_TASK_AFTER)
    sentence = f"A worker reported {when(since, now)} that it does not know task {name(job.task)}"
    return Reason(
        "unknown_task",
        f"{sentence}: unless another worker knows it, the job fails {when(end, now)}.",
        since=since,
        until=end,
    )


def _last_event(job: Job) -> JobEvent | None:
    """The event that brought the job into its state."""
    events = JobEvent.objects.using(settings.DATABASE).filter(job_id=job.pk, to_state=job.state)
    return events.exclude(from_state=job.state).order_by("-seq").first()


def _error(job: Job) -> str:
    attempts = Attempt.objects.using(settings.DATABASE).filter(job_id=job.pk).order_by("-run", "-number")
    last = attempts.values_list("error_type", "error_message").first()
    return f" ({clipped(': '.join(filter(None, last)))})" if last and last[0] else ""
