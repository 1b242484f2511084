"""Each blocker of admission as a sentence: one function a kind, in the order in which admission checks them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from jobs.admission.limits import SYSTEM_LIMIT, Blocker, QueuePosition, lookahead
from jobs.admission.limits import blockers as blocker_kinds
from jobs.admission.limits.lanes import EXCLUSIVE
from jobs.core.conf import settings
from jobs.models import Pool, TaskPause
from jobs.monitoring.explain.answer import Reason
from jobs.monitoring.explain.wording import amount, because, by, jobs, moment, name, number, what, when, worker_command

IMPOSSIBLE = "impossible"


@dataclass(frozen=True)
class Closed:
    """A pause or a drain of a pool, or a pause of a task: by which person, why, and since when."""

    person: str = ""
    text: str = ""
    paused_at: datetime | None = None
    draining_at: datetime | None = None
    task: TaskPause | None = None

    def who(self, moment: datetime | None) -> tuple[str, str]:
        """Person and reason of the pause or drain at that moment; of two, only the first one's are stored."""
        is_first = moment == min((at for at in (self.paused_at, self.draining_at) if at), default=None)
        return (self.person, self.text) if is_first else ("", "")


def closed_by(pool: str, blockers: Iterable[Blocker]) -> Closed:
    """The pause or drain among these blockers; asks the database only if there is one."""
    by_kind = {blocker.kind: blocker for blocker in blockers}
    task = _pause_of(by_kind[blocker_kinds.TASK_PAUSED].limit) if blocker_kinds.TASK_PAUSED in by_kind else None
    if not {blocker_kinds.PAUSED, blocker_kinds.DRAINING} & by_kind.keys():
        return Closed(task=task)
    columns = ("paused_by", "pause_reason", "paused_at", "draining_at")
    row = Pool.objects.using(settings.DATABASE).filter(name=pool).values_list(*columns).first()
    return replace(Closed(*row), task=task) if row else Closed(task=task)


def _pause_of(task: str) -> TaskPause | None:
    return TaskPause.objects.using(settings.DATABASE).filter(task=task).first()


def reason(blocker: Blocker, stand: QueuePosition, closed: Closed, now: datetime) -> Reason:
    """A blocker as a reason with its sentence."""
    written = _SENTENCES[blocker.kind](blocker, stand, closed, now)
    return replace(
        written,
        pool=stand.tally.snapshot.pool.name,
        limit=blocker.limit,
        partition=blocker.partition,
        size=blocker.size,
        used=blocker.used,
        need=blocker.need,
        until=None if blocker.until is None else moment(blocker.until),
    )


def _paused(blocker: Blocker, _: QueuePosition, closed: Closed, now: datetime) -> Reason:
    person, text = closed.who(closed.paused_at)
    sentence = f"Pool {name(blocker.limit)} was paused{by(person)}{_ago(closed.paused_at, now)}{because(text)}."
    return Reason(blocker.kind, sentence, person=person, text=text, since=closed.paused_at)


def _draining(blocker: Blocker, _: QueuePosition, closed: Closed, now: datetime) -> Reason:
    (person, text), since = closed.who(closed.draining_at), _ago(closed.draining_at, now)
    sentence = f"Pool {name(blocker.limit)} was set to drain{by(person)}{since}{because(text)}."
    return Reason(blocker.kind, sentence, person=person, text=text, since=closed.draining_at)


def _task_paused(blocker: Blocker, _: QueuePosition, closed: Closed, now: datetime) -> Reason:
    row = closed.task or TaskPause(task=blocker.limit)
    since = _ago(row.paused_at, now)
    sentence = f"Task {name(blocker.limit)} was paused{by(row.paused_by)}{since}{because(row.pause_reason)}."
    return Reason(blocker.kind, sentence, person=row.paused_by, text=row.pause_reason, since=row.paused_at)


def _no_worker(blocker: Blocker, *_: object) -> Reason:
    sentence = f"No worker serves pool {name(blocker.limit)} just now."
    return Reason(blocker.kind, sentence, command=worker_command([blocker.limit]))


def _no_slot(blocker: Blocker, stand: QueuePosition, *_: object) -> Reason:
    slots, taken = blocker.size or 0, blocker.used or 0
    busy = (
        f"The one slot of pool {name(blocker.limit)} is"
        if slots == 1
        else (f"All {number(slots)} slots of pool {name(blocker.limit)} are")
    )
    return Reason(blocker.kind, f"{busy} taken: {jobs(taken)} in flight{_spare(stand, taken)}.")


def _spare(stand: QueuePosition, taken: float) -> str:
    """Why no further job is admitted before a slot is free."""
    look = stand.tally.snapshot
    if taken < look.window:
        which = "it is" if next(stand.tally.usage.rates(stand.head.facts), None) else "a job ahead of it is"
        return f", and {which} under a rate, so no job is admitted before a slot is free"
    spare = ", as many as LOOK_AHEAD admits" if look.window > look.slots else ""
    most = look.slots * (1 + lookahead.most_elsewhere({head.facts.task for head in look.heads}))
    if most > max(look.window, taken):
        spare += f"; of jobs that take milliseconds its workers admit up to {number(most)}"
    return spare


def _pool_full(blocker: Blocker, *_: object) -> Reason:
    return Reason(blocker.kind, f"Pool {name(blocker.limit)} may have {_room(blocker)}.")


def _limit(blocker: Blocker, *_: object) -> Reason:
    if blocker.limit == SYSTEM_LIMIT:
        return Reason(blocker.kind, f"All pools together may have {_room(blocker)}.")
    return Reason(blocker.kind, f"Limit {name(blocker.limit)} allows {_room(blocker, _where(blocker))}.")


def _own_limit(blocker: Blocker, *_: object) -> Reason:
    where = f" of task {name(blocker.limit)}{_where(blocker)}"
    return Reason(blocker.kind, f"Its own limit allows {_room(blocker, where)}.")


def _access(blocker: Blocker, stand: QueuePosition, *_: object) -> Reason:
    partition, used = name(blocker.partition), blocker.used or 0
    if not used:
        sentence = (
            f"Jobs ahead of it wait for partition {partition}: readers do not overtake writers, nor writers readers."
        )
    elif stand.head.facts.access == EXCLUSIVE:
        sentence = f"It needs partition {partition} for itself, and {jobs(used)} of it {_are(used)} in flight."
    else:
        sentence = f"A job that needs partition {partition} for itself is in flight."
    return Reason(blocker.kind, sentence)


def _budget(blocker: Blocker, *_: object) -> Reason:
    need, size, used = blocker.need or 0, blocker.size or 0, blocker.used or 0
    wants = f"needs {amount(need, blocker.limit)}"
    if need > size:
        return Reason(IMPOSSIBLE, f"It {wants}, and its pool has {number(size)} in all: it can never start.")
    short = f"{number(used + need - size)} short of {what(blocker.limit)}"
    return Reason(blocker.kind, f"It {wants}: {number(used)} of {number(size)} are taken, so its pool is {short}.")


def _reserved(blocker: Blocker, _: QueuePosition, __: Closed, now: datetime) -> Reason:
    start = now if blocker.until is None else moment(blocker.until)
    soon = f", which should start {when(start, now)}" if start > now else ""
    return Reason(blocker.kind, f"It would fit, but the room is kept for a larger job{soon}.")


def _rate(blocker: Blocker, _: QueuePosition, __: Closed, now: datetime) -> Reason:
    where = _where(blocker)
    if blocker.until is None:
        return Reason(blocker.kind, f"Rate {name(blocker.limit)} allows no start{where}.")
    opens = when(moment(blocker.until), now)
    return Reason(blocker.kind, f"Rate {name(blocker.limit)} limits starts: the next one{where} may come {opens}.")


_SENTENCES: dict[str, Callable[[Blocker, QueuePosition, Closed, datetime], Reason]] = {
    blocker_kinds.PAUSED: _paused,
    blocker_kinds.DRAINING: _draining,
    blocker_kinds.NO_WORKER: _no_worker,
    blocker_kinds.NO_SLOT: _no_slot,
    blocker_kinds.POOL_FULL: _pool_full,
    blocker_kinds.LIMIT: _limit,
    blocker_kinds.OWN_LIMIT: _own_limit,
    blocker_kinds.ACCESS: _access,
    blocker_kinds.TASK_PAUSED: _task_paused,
    blocker_kinds.BUDGET: _budget,
    blocker_kinds.RESERVED: _reserved,
    blocker_kinds.RATE: _rate,
}


def _room(blocker: Blocker, where: str = "") -> str:
    """ "2 jobs in flight at once, and 2 are"."""
    size, used = blocker.size or 0, blocker.used or 0
    taken = f", and {number(used)} {_are(used)}" if used else ""
    return f"{jobs(size)} in flight{' at once' if size else ''}{where}{taken}"


def _where(blocker: Blocker) -> str:
    return f" in partition {name(blocker.partition)}" if blocker.partition else ""


def _are(count: float) -> str:
    return "is" if count == 1 else "are"


def _ago(since: datetime | None, now: datetime) -> str:
    return "" if since is None else f" {when(since, now)}"
