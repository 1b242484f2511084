"""What all requests of people share: ids, actor and reason, answers, and the state that a job returns to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from django.db import transaction

from jobs.control.answers import MISSING, Answer, Answers
from jobs.core import encoding
from jobs.core.conf import settings
from jobs.core.db.deadlock_retry import retry_on_deadlock
from jobs.core.db.dialects import dialect
from jobs.exceptions import JobNotFound
from jobs.models import Job, transitions
from jobs.models.transitions import Sql

RELEASE_BATCH = 500
_LATER = "run_after > {now}"
ELIGIBLE_AT = f"CASE WHEN {_LATER} THEN run_after ELSE {{now}} END"
RESUMED_STATE = f"CASE WHEN {_LATER} THEN 'scheduled' ELSE 'pending' END"
"""SQL: the state a job returns to when a person lets it go. (Later: `blocked`, if it has unmet dependencies.)"""


def rank_at(eligible: str) -> Sql:
    """The rank of a job that becomes eligible at a moment (SQL)."""
    moment = dialect(settings.DATABASE).epoch(eligible)
    return Sql(f"{moment} - (SELECT head_start FROM jobs_priority WHERE name = priority)")


def clean_actor(actor: str) -> str:
    """The actor's name as it can be stored."""
    return encoding.clean_text(actor, 200)


def reason_data(reason: str) -> dict[str, str]:
    """The reason as the data of an event; empty if there is none."""
    return {"reason": encoding.clean_text(reason, 10_000)} if reason else {}


def id_of(job_id: UUID | str) -> UUID:
    """The id as a UUID; JobNotFound for a text that is none."""
    if isinstance(job_id, UUID):
        return job_id
    try:
        return UUID(job_id)
    except (ValueError, AttributeError, TypeError):
        raise JobNotFound(job_id) from None


def log_suffix(actor: str, reason: str) -> str:
    """Actor and reason for the end of a log line; empty if neither is given."""
    return (f" by {actor}" if actor else "") + (f": {reason}" if reason else "")


def release_queued(condition: str, value: str, *, actor: str, why: str) -> int:
    """Put the queued jobs of a pool or task back to pending, except locked ones; returns how many."""
    select = f"SELECT id FROM jobs_job WHERE {condition} AND state = 'queued' ORDER BY id LIMIT %s"
    queued = dialect(settings.DATABASE).pick_skip_locked(select)
    sets, total = {"release_count": Sql("release_count")}, 0  # this release is not a lost message: do not count it
    while True:
        params, data = [value, RELEASE_BATCH], {"why": why}
        moved = transitions.move("release", queued, params, sets=sets, actor=actor, data=data)
        total += len(moved)
        if len(moved) < RELEASE_BATCH:
            return total


def in_order(where: str) -> str:
    """The condition, with its rows locked in the order of ids, so that two requests for many jobs do not deadlock."""
    db = dialect(settings.DATABASE)  # a move of several statements locks in that order anyway
    if not db.writes_in_cte:
        return where
    return f"id = ANY(ARRAY(SELECT id FROM jobs_job WHERE {where} ORDER BY id{db.for_update}))"


@dataclass(frozen=True)
class RequestState:
    """What a request needs to know of a job: its state, and what was requested before."""

    state: str
    is_to_be_paused: bool
    is_to_be_cancelled: bool
    runs_once: bool


@retry_on_deadlock
def answer_all(
    ids: Sequence[UUID],
    act: Callable[[Sequence[UUID]], Mapping[UUID, str]],
    otherwise: Callable[[RequestState], str | None],
) -> Answers:
    """Answer for each of these jobs, in one transaction: first by `act`, which returns the jobs that it changed.

    `otherwise` answers for the others by their state. It returns None if the request is possible in that state: the
    job has come into it a moment ago, and `act` is called again for it.
    """
    answers: dict[UUID, str] = {}
    with transaction.atomic(using=settings.DATABASE):
        while left := [job_id for job_id in ids if job_id not in answers]:
            answers |= act(left)
            others = request_states([job_id for job_id in left if job_id not in answers])
            unchanged = ((job_id, otherwise(job) if job else MISSING) for job_id, job in others.items())
            answers |= {job_id: answer for job_id, answer in unchanged if answer is not None}
    return answers


def ask_one(request: Callable[..., Answers], job_id: UUID, *args: object, **options: object) -> Answer:
    """Make a request for a single job; JobNotFound."""
    answer = request([job_id], *args, **options)[job_id]
    if answer == MISSING:
        raise JobNotFound(job_id)
    return Answer(answer)


def request_states(ids: Sequence[UUID]) -> dict[UUID, RequestState | None]:
    """The present state of each of these jobs; None for an id without a job."""
    if not ids:
        return {}
    jobs = Job.objects.using(settings.DATABASE).filter(pk__in=ids)
    columns = jobs.values_list("pk", "state", "pause_requested_at", "cancel_requested_at", "at_most_once")
    states = {
        job_id: RequestState(state, pause is not None, cancel is not None, runs_once)
        for job_id, state, pause, cancel, runs_once in columns
    }
    return {job_id: states.get(job_id) for job_id in ids}
