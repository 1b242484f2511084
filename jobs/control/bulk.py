"""One request for all jobs that filters choose: in batches of one transaction each, with the answers counted.

A batch is a few statements, whatever its size. A dry run (`Forecast`) predicts the answers and changes nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from uuid import UUID

from django.db.models import Q

from jobs.control import pausing
from jobs.control.answers import MISSING, Answer, Answers
from jobs.control.cancellation import when_cancelling
from jobs.control.requests import RequestState, request_states
from jobs.control.retries import when_retrying
from jobs.core.conf import settings
from jobs.models import Job
from jobs.models.querysets import JobQuerySet
from jobs.states import EDGES, UNFINISHED, WAITING, JobState

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


APPLIES_TO = {
    "cancel": Q(state__in=UNFINISHED),
    "pause": Q(state__in=[*WAITING, JobState.RUNNING]),
    "resume": Q(state=JobState.PAUSED) | Q(state=JobState.RUNNING, pause_requested_at__isnull=False),
    "retry": Q(state__in=EDGES["requeue"].sources),
}
"""The states that a request is for: other jobs that the filter chooses are left out and not counted."""
NEWEST_FIRST = frozenset({"cancel", "pause"})
"""Cancelling a running (old) job frees a slot, which must not be given to a job that this request cancels next."""


def to_all(jobs: JobQuerySet, verb: str, request: Callable[[Sequence[UUID]], Answers]) -> Counter[str]:
    """Make a request for all of these jobs that it is for, batch by batch; returns how many gave each answer."""
    counts: Counter[str] = Counter()
    for ids in batches(jobs, verb, BATCH):
        counts += counted(request(ids))
    return counts


class Forecast:
    """What requests would answer. One object per dry run: of several jobs with one key only one can be retried."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def cancel(self, ids: Sequence[UUID]) -> Answers:
        """What `cancellation.cancel` would answer."""
        return _forecast(ids, when_cancelling, {JobState.RUNNING: Answer.REQUESTED}, Answer.CANCELLED)

    def pause(self, ids: Sequence[UUID]) -> Answers:
        """What `pausing.pause` would answer."""
        return _forecast(ids, pausing.when_pausing, {JobState.RUNNING: Answer.REQUESTED}, Answer.PAUSED)

    def resume(self, ids: Sequence[UUID]) -> Answers:
        """What `pausing.resume` would answer."""
        return _forecast(ids, pausing.when_resuming, {}, Answer.RESUMED)

    def retry(self, ids: Sequence[UUID]) -> Answers:
        """What `retries.retry` would answer."""
        answers = _forecast(ids, when_retrying, {}, Answer.REQUEUED)
        keys = dict(_jobs().filter(pk__in=ids, key_hash__isnull=False).values_list("pk", "key_hash"))
        self._taken.update(_jobs().filter(active_key__in=set(keys.values())).values_list("active_key", flat=True))  # type: ignore[arg-type]
        for job_id in ids:
            if answers[job_id] == Answer.REQUEUED and job_id in keys:
                answers[job_id] = self._take(str(keys[job_id]))
        return answers

    def _take(self, key: str) -> Answer:
        answer = Answer.KEY_TAKEN if key in self._taken else Answer.REQUEUED
        self._taken.add(key)
        return answer


def batches(jobs: JobQuerySet, verb: str, size: int) -> Iterator[list[UUID]]:
    """Ids of the jobs that the request is for, in batches by keyset: changes to a batch do not shift the next."""
    order, beyond = ("-id", "pk__lt") if verb in NEWEST_FIRST else ("id", "pk__gt")
    remaining = jobs.filter(APPLIES_TO[verb]).order_by(order)
    batch = list(remaining.values_list("pk", flat=True)[:size])
    while batch:
        yield batch
        batch = list(remaining.filter(**{beyond: batch[-1]}).values_list("pk", flat=True)[:size])


def _forecast(
    ids: Sequence[UUID], unchanged: Callable[[RequestState], str | None], by_state: Mapping[str, str], otherwise: str
) -> Answers:
    return {
        job_id: MISSING if job is None else unchanged(job) or by_state.get(job.state, otherwise)
        for job_id, job in request_states(ids).items()
    }


def counted(answers: Answers) -> Counter[str]:
    """How many jobs gave each answer."""
    return Counter(str(answer) for answer in answers.values())


def _jobs() -> JobQuerySet:
    return Job.objects.using(settings.DATABASE)
