"""The same request to many jobs, in batches of one transaction each, with every answer counted.

A batch is a few statements, however many jobs are in it. A dry run reads what a real one would answer and changes
nothing. One answer per job; a job that is gone counts as `MISSING`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Q

from jobs.admission import passes
from jobs.control import cancellation as control
from jobs.control import pausing
from jobs.control.cancellation import Answer
from jobs.control.requests import (
    MISSING,
    Answers,
    Standing,
    answer_all,
    because,
    clean_actor,
    in_order,
    rank_at,
    standings,
)
from jobs.core import encoding
from jobs.core.conf import settings
from jobs.core.db.deadlock_retry import done_again
from jobs.core.db.dialects import dialect
from jobs.core.db.statements import after_commit
from jobs.exceptions import JobNotFound
from jobs.models import Job, transitions
from jobs.models.querysets import JobQuerySet
from jobs.models.transitions import Sql
from jobs.states import EDGES, FINAL, UNFINISHED, WAITING, JobState

BATCH = 1000
WORDS: dict[str, str] = {
    Answer.CANCELLED: "cancelled",
    Answer.REQUESTED: "asked to stop",
    Answer.ALREADY_FINAL: "had already ended",
    Answer.REQUEUED: "queued again",
    Answer.KEY_TAKEN: "not retried: their key is taken",
    Answer.NOT_FINAL: "not retried: neither failed nor cancelled",
    Answer.CHANGED: "given that priority",
    Answer.PAUSED: "paused",
    Answer.RESUMED: "resumed",
    Answer.NOT_PAUSED: "not resumed: they were not paused",
    Answer.NOT_POSSIBLE: "not changed: they run, or have ended",
    MISSING: "not there",
}
PAUSE_WORDS = {
    **WORDS,
    Answer.REQUESTED: "running: paused at their next checkpoint",
    Answer.NOT_POSSIBLE: "not paused: they have ended, are about to be cancelled, or run at most once",
}
REFUSED: frozenset[str] = frozenset(
    {Answer.KEY_TAKEN, Answer.NOT_FINAL, Answer.NOT_POSSIBLE, Answer.NOT_PAUSED, MISSING}
)


CONCERNED = {
    "cancel": Q(state__in=UNFINISHED),
    "pause": Q(state__in=[*WAITING, JobState.RUNNING]),
    "resume": Q(state=JobState.PAUSED) | Q(state=JobState.RUNNING, pause_requested_at__isnull=False),
    "retry": Q(state__in=EDGES["requeue"].sources),
}
"""Which of the jobs that a filter chooses a request is for: the others are not asked, nor counted."""
NEWEST_FIRST = frozenset({"cancel", "pause"})
"""The slots of what runs, the oldest, must not go to what is about to be cancelled or paused."""


def cancel(ids: Sequence[UUID], *, reason: str = "", actor: str = "", force: bool = False) -> Answers:
    """Cancel these jobs: CANCELLED, REQUESTED, ALREADY_FINAL or MISSING for each."""
    reason, actor = encoding.clean_text(reason, 10_000), clean_actor(actor)
    data, db = because(reason), dialect(settings.DATABASE)
    sets = {"reason": reason, "cancel_requested_at": Sql("{now}"), "cancel_requested_by": actor}

    def act(left: Sequence[UUID]) -> Answers:
        among, these = db.id_in("id"), db.id_list(left)
        waited = f"{among} AND state <> 'running'"
        moved = transitions.move("cancel", waited, [these], sets=sets, actor=actor, data=data)
        for pool in {one.row["pool"] for one in moved}:
            after_commit(passes.after_finish, pool)
        asked = control.ask_to_stop(among, [these], reason, actor, force)
        return {**dict.fromkeys((one.id for one in moved), Answer.CANCELLED), **dict.fromkeys(asked, Answer.REQUESTED)}

    return answer_all(ids, act, _when_cancelling)


def pause(ids: Sequence[UUID], *, reason: str = "", actor: str = "") -> Answers:
    """Pause these jobs: PAUSED, REQUESTED, NOT_POSSIBLE or MISSING for each."""
    return pausing.pause(ids, reason, actor)


def resume(ids: Sequence[UUID], *, reason: str = "", actor: str = "") -> Answers:
    """Resume these jobs: RESUMED, NOT_PAUSED or MISSING for each."""
    return pausing.resume(ids, actor, reason)


def retry(ids: Sequence[UUID], *, reason: str = "", actor: str = "") -> Answers:
    """Run these jobs again: REQUEUED, KEY_TAKEN, NOT_FINAL or MISSING for each.

    Those with a key one by one: of several that share one the first takes it.
    """
    db = dialect(settings.DATABASE)
    sets = {"rank": rank_at("{now}"), "run_after": Sql("NULL")}
    told: dict[str, Any] = {"actor": clean_actor(actor), "data": because(reason)}

    def act(left: Sequence[UUID]) -> Answers:
        where = in_order(f"{db.id_in('id')} AND key_hash IS NULL AND state IN ('failed', 'cancelled')")
        moved = transitions.move("requeue", where, [db.id_list(left)], to="'pending'", sets=sets, **told)
        for pool in {one.row["pool"] for one in moved}:
            passes.admit_on_commit(pool)
        done = {one.id for one in moved}
        others = [job_id for job_id in left if job_id not in done]
        return {**dict.fromkeys(done, Answer.REQUEUED), **_each(others, lambda one: control.retry(one, actor, reason))}

    return answer_all(ids, act, lambda _: None)


def set_priority(ids: Sequence[UUID], priority: str, *, actor: str = "") -> Answers:
    """Give those of these jobs that wait another priority: CHANGED, NOT_POSSIBLE or MISSING for each; InvalidOption."""
    return _each(ids, lambda job_id: control.set_priority(job_id, priority, actor=actor))


def to_all(jobs: JobQuerySet, verb: str, request: Callable[[Sequence[UUID]], Answers]) -> Counter[str]:
    """Ask it of all these jobs that it concerns, batch by batch; returns how many gave each answer."""
    counts: Counter[str] = Counter()
    for ids in batches(jobs, verb, BATCH):
        counts += counted(request(ids))
    return counts


class Forecast:
    """What `cancel` and `retry` would answer. One object per dry run: a key can be given to one job only."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def cancel(self, ids: Sequence[UUID]) -> Answers:
        """As `bulk.cancel`, without doing it."""
        states = dict(_jobs().filter(pk__in=ids).values_list("pk", "state"))
        return {job_id: self._cancelled(states.get(job_id)) for job_id in ids}

    def retry(self, ids: Sequence[UUID]) -> Answers:
        """As `bulk.retry`, without doing it."""
        rows = {row[0]: row[1:] for row in _jobs().filter(pk__in=ids).values_list("pk", "state", "key_hash")}
        keys = {key for _, key in rows.values() if key is not None}
        self._taken.update(_jobs().filter(active_key__in=keys).values_list("active_key", flat=True))  # type: ignore[arg-type]
        return {job_id: self._retried(*rows.get(job_id, (None, None))) for job_id in ids}

    def pause(self, ids: Sequence[UUID]) -> Answers:
        """As `bulk.pause`, without doing it."""
        return self._answers(ids, pausing.when_pausing, {JobState.RUNNING: Answer.REQUESTED}, Answer.PAUSED)

    def resume(self, ids: Sequence[UUID]) -> Answers:
        """As `bulk.resume`, without doing it."""
        return self._answers(ids, pausing.when_resuming, {}, Answer.RESUMED)

    def _answers(
        self, ids: Sequence[UUID], stays: Callable[[Standing], str | None], moves: dict[str, str], otherwise: str
    ) -> Answers:
        found = standings(ids)
        return {
            job_id: MISSING if job is None else stays(job) or moves.get(job.state, otherwise)
            for job_id, job in found.items()
        }

    def _cancelled(self, state: str | None) -> str:
        if state is None:
            return MISSING
        if state in FINAL:
            return Answer.ALREADY_FINAL
        return Answer.REQUESTED if state == JobState.RUNNING else Answer.CANCELLED

    def _retried(self, state: str | None, key: str | None) -> str:
        if state is None:
            return MISSING
        if state not in EDGES["requeue"].sources:
            return Answer.NOT_FINAL
        if key is None:
            return Answer.REQUEUED
        answer = Answer.KEY_TAKEN if key in self._taken else Answer.REQUEUED
        self._taken.add(key)
        return answer


def batches(jobs: JobQuerySet, verb: str, size: int) -> Iterator[list[UUID]]:
    """Ids of these jobs, where the request concerns them, by keyset: what a batch changes does not disturb the next."""
    order, beyond = ("-id", "pk__lt") if verb in NEWEST_FIRST else ("id", "pk__gt")
    rest = jobs.filter(CONCERNED[verb]).order_by(order)
    batch = list(rest.values_list("pk", flat=True)[:size])
    while batch:
        yield batch
        batch = list(rest.filter(**{beyond: batch[-1]}).values_list("pk", flat=True)[:size])


def counted(answers: Answers) -> Counter[str]:
    """How many jobs gave each answer."""
    return Counter(str(answer) for answer in answers.values())


def _when_cancelling(job: Standing) -> Answer | None:
    if job.state in FINAL:
        return Answer.ALREADY_FINAL
    return Answer.REQUESTED if job.state == JobState.RUNNING and job.is_to_be_cancelled else None


@done_again
def _each(ids: Sequence[UUID], request: Callable[[UUID], Answer]) -> Answers:
    with transaction.atomic(using=settings.DATABASE):
        return {job_id: _ask(request, job_id) for job_id in ids}


def _ask(request: Callable[[UUID], Answer], job_id: UUID) -> str:
    try:
        return request(job_id)
    except JobNotFound:
        return MISSING


def _jobs() -> JobQuerySet:
    return Job.objects.using(settings.DATABASE)
