"""What every request of a person has in common: the job that it means, who asks, and where a job goes next."""

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
from jobs.models import Job
from jobs.models.transitions import Sql

_LATER = "run_after > {now}"
ELIGIBLE_AT = f"CASE WHEN {_LATER} THEN run_after ELSE {{now}} END"
WHERE_IT_BELONGS = f"CASE WHEN {_LATER} THEN 'scheduled' ELSE 'pending' END"
"""SQL: the state of a job that waits for nobody's word any more. What waits for other jobs will stand here first."""


def rank_at(eligible: str) -> Sql:
    """The rank of a job that becomes eligible at a moment (SQL)."""
    moment = dialect(settings.DATABASE).epoch(eligible)
    return Sql(f"{moment} - (SELECT head_start FROM jobs_priority WHERE name = priority)")


def clean_actor(actor: str) -> str:
    """Who asks, as it can be stored."""
    return encoding.clean_text(actor, 200)


def because(reason: str) -> dict[str, str]:
    """The reason as the data of an event; nothing where nobody gave one."""
    return {"reason": encoding.clean_text(reason, 10_000)} if reason else {}


def id_of(job_id: UUID | str) -> UUID:
    """The id that is meant; JobNotFound for what is none."""
    if isinstance(job_id, UUID):
        return job_id
    try:
        return UUID(job_id)
    except (ValueError, AttributeError, TypeError):
        raise JobNotFound(job_id) from None


def in_order(where: str) -> str:
    """The same condition, its rows locked in the order of ids: two that ask for many do not block each other."""
    db = dialect(settings.DATABASE)  # where a move is not one statement it locks in that order anyway
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
    """An answer for each of these jobs, in one transaction: what `act` says of those that it could do it to.

    `otherwise` answers for where a job stands; None: it can be done there, and the job came there only just now, so it
    is asked once more.
    """
    answers: dict[UUID, str] = {}
    with transaction.atomic(using=settings.DATABASE):
        while left := [job_id for job_id in ids if job_id not in answers]:
            answers |= act(left)
            found = request_states([job_id for job_id in left if job_id not in answers])
            told = ((job_id, otherwise(job) if job else MISSING) for job_id, job in found.items())
            answers |= {job_id: word for job_id, word in told if word is not None}
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
