"""The same request to many jobs, in batches of one transaction each, with every answer counted.

A dry run reads what a real one would answer and changes nothing. One answer per job; a job that is gone counts as
`MISSING`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from uuid import UUID

from django.db import transaction

from jobs import control
from jobs.conf import settings
from jobs.control import Answer
from jobs.exceptions import JobNotFound
from jobs.models import Job
from jobs.querysets.jobs import JobQuerySet
from jobs.states import EDGES, FINAL, JobState

MISSING = "MISSING"
WORDS: dict[str, str] = {
    Answer.CANCELLED: "cancelled",
    Answer.REQUESTED: "asked to stop",
    Answer.ALREADY_FINAL: "had already ended",
    Answer.REQUEUED: "queued again",
    Answer.KEY_TAKEN: "not retried: their key is taken",
    Answer.NOT_FINAL: "not retried: neither failed nor cancelled",
    Answer.CHANGED: "given that priority",
    Answer.NOT_POSSIBLE: "not changed: they run, or have ended",
    MISSING: "not there",
}
REFUSED: frozenset[str] = frozenset({Answer.KEY_TAKEN, Answer.NOT_FINAL, Answer.NOT_POSSIBLE, MISSING})
Answers = dict[UUID, str]


def cancel(ids: Sequence[UUID], *, reason: str = "", actor: str = "", force: bool = False) -> Answers:
    """Cancel these jobs: CANCELLED, REQUESTED, ALREADY_FINAL or MISSING for each."""
    return _each(ids, lambda job_id: control.cancel(job_id, reason=reason, actor=actor, force=force))


def retry(ids: Sequence[UUID], *, actor: str = "") -> Answers:
    """Run these jobs again: REQUEUED, KEY_TAKEN, NOT_FINAL or MISSING for each."""
    return _each(ids, lambda job_id: control.retry(job_id, actor=actor))


def set_priority(ids: Sequence[UUID], priority: str, *, actor: str = "") -> Answers:
    """Give those of these jobs that wait another priority: CHANGED, NOT_POSSIBLE or MISSING for each; InvalidOption."""
    return _each(ids, lambda job_id: control.set_priority(job_id, priority, actor=actor))


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


def batches(jobs: JobQuerySet, size: int, *, newest_first: bool) -> Iterator[list[UUID]]:
    """Ids of these jobs in batches, by keyset: what a batch changes does not disturb the next."""
    order, beyond = ("-id", "pk__lt") if newest_first else ("id", "pk__gt")
    rest = jobs.order_by(order)
    batch = list(rest.values_list("pk", flat=True)[:size])
    while batch:
        yield batch
        batch = list(rest.filter(**{beyond: batch[-1]}).values_list("pk", flat=True)[:size])


def counted(answers: Answers) -> Counter[str]:
    """How many jobs gave each answer."""
    return Counter(str(answer) for answer in answers.values())


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
