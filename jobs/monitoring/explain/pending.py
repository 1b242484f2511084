"""Why a pending job is not admitted: every blocker that admission would find, and the jobs ahead of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from jobs.admission import limits, publishing, queries
from jobs.admission.limits import QueuePosition, Snapshot
from jobs.admission.passes import BATCH
from jobs.core.conf import settings
from jobs.core.db.values import prepare
from jobs.models import Job
from jobs.monitoring import counting
from jobs.monitoring.explain import remarks, sentences
from jobs.monitoring.explain.answer import Reason, Why
from jobs.monitoring.explain.holders import holders
from jobs.monitoring.explain.wording import name


def explain(job: Job, now: datetime) -> Why:
    """All that keeps a pending job, or that it is next."""
    look = limits.preview(job.pool)
    if look is None:
        gone = Reason("no_pool", f"Pool {name(job.pool)} does not exist any more.", pool=job.pool)
        return Why(job.id, job.state, (gone,))
    stand = _stand(job, look)
    position = _position(job)
    reasons = [*_closed(look), *_blocking(stand, job, now)]
    ahead = None if stand.blockers else len(stand.ahead)
    is_next = not reasons and _is_next(job, look, position.number)
    told = remarks.remarks(stand, now, position, is_next=is_next, is_kept=bool(reasons))
    return Why(job.id, job.state, (*reasons, *told), position, ahead, is_next)


def _stand(job: Job, look: Snapshot) -> QueuePosition:
    """Where the job's lane stands. It is put among the others where there are more of them than one look sees."""
    mine = next((head for head in look.heads if head.lane in (str(job.lane), job.lane.hex)), None)
    if mine is None:
        mine = limits.head_of(job)
        look = replace(look, heads=[*look.heads, mine])
    return limits.position_of(look, mine.lane)


def _position(job: Job) -> counting.Bounded:
    using = settings.DATABASE
    lane, job_id = prepare(using, Job, "lane", job.lane), prepare(using, Job, "id", job.pk)
    return counting.bounded(queries.place(job.pool, lane, job.rank, job_id, counting.CEILING + 1))


def _closed(look: Snapshot) -> Iterator[Reason]:
    """What keeps admission itself from looking."""
    if publishing.breaker.is_open:
        yield Reason("broker_away", "The broker does not answer this process, which admits nothing until it does.")
    if settings.MAX_CONCURRENT is not None and limits.SYSTEM_LIMIT not in {rule.name for rule in look.rules.all}:
        said = "The row of the system-wide limit is missing, so nothing is admitted: run `manage.py migrate`."
        yield Reason("no_system_limit", said, limit=limits.SYSTEM_LIMIT)


def _blocking(stand: QueuePosition, job: Job, now: datetime) -> Iterator[Reason]:
    found = [*limits.pool_blockers(stand.tally), *stand.blockers]
    closed = sentences.closed_by(job.pool, found)
    for blocker, held in zip(found, holders(stand, found), strict=True):
        told = sentences.reason(blocker, stand, closed, now)
        yield replace(told, holders=held.named, more_holders=held.more)


def _is_next(job: Job, look: Snapshot, position: int) -> bool:
    """Whether the next admission takes this very job: it is asked as admission asks."""
    plan = limits.plan(look, BATCH)
    if not plan.lanes:
        return False
    if plan.is_simple:
        return plan.lanes[0].lane in (str(job.lane), job.lane.hex) and position < limits.how_many(plan)
    asked = limits.first_lanes(plan)
    picked: Sequence[queries.Candidate] = limits.pick(plan, queries.best_of(job.pool, asked), asked)
    return any(UUID(one.id) == job.id for one in picked)
