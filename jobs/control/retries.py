"""Running failed and cancelled jobs again, as a person asks for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction

from jobs.admission import passes
from jobs.control.answers import Answer, Answers
from jobs.control.requests import RequestState, answer_all, clean_actor, in_order, rank_at, reason_data
from jobs.core.conf import settings
from jobs.core.db.dialects import dialect
from jobs.models import Job, transitions
from jobs.models.transitions import Sql
from jobs.states import EDGES

_CAN_RETRY = "state IN ('failed', 'cancelled')"


def retry(ids: Sequence[UUID], *, reason: str = "", actor: str = "") -> Answers:
    """REQUEUED what failed or was cancelled, KEY_TAKEN where another unfinished job holds its key; else NOT_FINAL.

    It is a new run: attempts are counted from the beginning, history stays. Of several jobs with one key the first
    takes it.
    """
    event = {"actor": clean_actor(actor), "data": reason_data(reason)}

    def act(left: Sequence[UUID]) -> Answers:
        db = dialect(settings.DATABASE)
        where = in_order(f"{db.id_in('id')} AND key_hash IS NULL AND {_CAN_RETRY}")
        requeued = _requeue(where, left, {}, event)
        others = [job_id for job_id in left if job_id not in requeued]
        return {**dict.fromkeys(requeued, Answer.REQUEUED), **_retry_keyed(others, event)}

    return answer_all(ids, act, when_retrying)


def when_retrying(job: RequestState) -> Answer | None:
    """The answer for a job in this state, if nothing is to be done."""
    return None if job.state in EDGES["requeue"].sources else Answer.NOT_FINAL


def _retry_keyed(ids: Sequence[UUID], event: Mapping[str, Any]) -> Answers:
    """Jobs with a run key, one by one: each takes its key, or finds it taken."""
    if not ids:
        return {}
    keyed = Job.objects.using(settings.DATABASE).filter(pk__in=ids, key_hash__isnull=False)
    can_retry = set(keyed.filter(state__in=EDGES["requeue"].sources).values_list("pk", flat=True))
    answers = {job_id: _retry_one(job_id, event) for job_id in ids if job_id in can_retry}
    return {job_id: answer for job_id, answer in answers.items() if answer is not None}


def _retry_one(job_id: UUID, event: Mapping[str, Any]) -> Answer | None:
    """None when the job was retried or deleted a moment ago."""
    where = f"{dialect(settings.DATABASE).id_in('id')} AND {_CAN_RETRY}"
    try:
        with transaction.atomic(using=settings.DATABASE):
            return Answer.REQUEUED if _requeue(where, [job_id], {"active_key": Sql("key_hash")}, event) else None
    except IntegrityError:
        return Answer.KEY_TAKEN


def _requeue(where: str, ids: Sequence[UUID], sets: Mapping[str, Any], event: Mapping[str, Any]) -> set[UUID]:
    db = dialect(settings.DATABASE)
    sets = {"rank": rank_at("{now}"), "run_after": Sql("NULL"), **sets}
    moved = transitions.move("requeue", where, [db.id_list(ids)], to="'pending'", sets=sets, **event)
    for pool in {move.row["pool"] for move in moved}:
        passes.admit_on_commit(pool)
    return {move.id for move in moved}
