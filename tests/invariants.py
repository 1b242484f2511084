"""What must hold of the database at every moment, whatever was killed, lost or repeated: the invariants I1-I8.

`check_invariants()` reads jobs, events and attempts in one snapshot and recomputes everything from the history. It runs
after every test of a live tier. It must not repair anything, nor wait: what it finds stands in the database now.

I1 every unfinished job waits where somebody will move it, within its time · I2 one outcome for each attempt, one end
for each run · I3 events are gapless, take legal edges only, and replay to the row · I4 no two open attempts of a job,
and none that the row does not stand for · I5 never more in flight than the limit · I6 what is stored is what a recount
gives · I8 no body ran without an attempt row, none twice that may run once, and no failure has two fallbacks. (I7, a
probe that finishes after the fault, is `check_probe`.)
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from django.db import connections, transaction

from jobs import job_manager
from jobs.core.conf import settings
from jobs.core.db.statements import query
from jobs.models import Attempt, Hook, Job, JobEvent, Worker
from jobs.states import EDGES, FINAL, IN_FLIGHT
from tests.app import ledger
from tests.forgotten import forgotten

EFFECT = "effect"  # the ledger's word for a side effect that is counted: ledger.note(EFFECT, job=…)


@dataclass(frozen=True)
class History:
    """One job with all that is recorded of it: events by seq, attempts by run and number, hooks that have not run."""

    job: Job
    events: Sequence[JobEvent]
    attempts: Sequence[Attempt]
    hooks: Sequence[Hook]

    @property
    def story(self) -> str:
        """Its events in a line."""
        return " ".join(f"{event.seq}:{event.name}" for event in self.events)

    def edges(self) -> list[JobEvent]:
        """The events that moved the job."""
        return [event for event in self.events if event.name in EDGES]

    def this_run(self) -> list[JobEvent]:
        """The moves since the last requeue."""
        edges = self.edges()
        starts = [index for index, event in enumerate(edges) if event.name in ("create", "requeue")]
        return edges[starts[-1] :] if starts else edges


def check_invariants(*, limit: int | None = None, effects: Path | None = None) -> None:
    """Raise AssertionError with every violation found, each with its invariant and its job.

    `limit` is the most that may ever have been in flight in the whole system. `effects` is the ledger in which bodies
    noted their effects with `ledger.note(EFFECT, job=<id>)`.
    """
    histories, peak, now, alive = _snapshot()
    found = [violation for history in histories for violation in _violations(history)]
    if alive:
        found += [told for history in histories for told in forgotten(history, now, alive)]
    if limit is not None and peak > limit:
        found.append(f"I5: {peak:g} in flight at once, the limit is {limit}")
    if effects is not None:
        found += _effects_without_attempt(histories, effects)
    assert not found, f"{len(found)} violations:\n" + "\n".join(found)


def check_probe(seconds: float = 15) -> None:
    """I7: a job submitted now finishes by itself within `seconds`."""
    probe = job_manager.submit("tests.app.jobs.probe")
    done = job_manager.handle(probe.id).wait(seconds)
    assert done.state == "completed", f"I7: the probe ended {done.state}: {done.error_message}"


def peak_in_flight(*, weighed_by: str | None = None, **jobs: Any) -> float:
    """The most jobs that ever held a slot at once, by the order in which moves were recorded (not by a clock).

    `jobs` are filters that say which ones count; `weighed_by` is a column whose sum is meant instead of the number.
    """
    events = JobEvent.objects.using(settings.DATABASE).filter(name__in=EDGES)
    events = events.filter(**{f"job__{name}": value for name, value in jobs.items()})
    moves = events.order_by("id").values_list("from_state", "to_state", *([f"job__{weighed_by}"] if weighed_by else []))
    return _peak(moves)


def _peak(moves: Iterable[tuple[Any, ...]]) -> float:
    held = peak = 0.0
    for before, after, *weight in moves:
        held += ((after in IN_FLIGHT) - (before in IN_FLIGHT)) * (weight[0] or 0 if weight else 1)
        peak = max(peak, held)
    return peak


def _snapshot() -> tuple[list[History], float, datetime, list[Worker]]:
    """Everything, as of one moment: workers may be writing meanwhile."""
    using = settings.DATABASE
    with transaction.atomic(using=using):
        if connections[using].vendor != "sqlite":
            with connections[using].cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        alive = list(Worker.objects.using(using).live(settings.STALE_AFTER))
        return _histories(using), peak_in_flight(), _now(using), alive


def _now(using: str) -> datetime:
    (value,) = query(using, "SELECT {now}")[0]
    moment = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _histories(using: str) -> list[History]:
    events: dict[UUID, list[JobEvent]] = defaultdict(list)
    for event in JobEvent.objects.using(using).order_by("seq"):
        events[event.job_id].append(event)
    attempts: dict[UUID, list[Attempt]] = defaultdict(list)
    for attempt in Attempt.objects.using(using).select_related("worker").order_by("run", "number"):
        attempts[attempt.job_id].append(attempt)
    hooks: dict[UUID, list[Hook]] = defaultdict(list)
    for hook in Hook.objects.using(using).order_by("run"):
        hooks[hook.job_id].append(hook)
    jobs = Job.objects.using(using).order_by("id")
    histories = [History(job, events.pop(job.id, []), attempts.pop(job.id, []), hooks.get(job.id, [])) for job in jobs]
    left_over = {*events, *attempts}
    assert not left_over, f"I3: events or attempts of jobs that are not there: {left_over}"
    return histories


def _violations(history: History) -> Iterator[str]:
    job = history.job
    for check in (_one_outcome, _replay, _open_attempts, _recount, _not_twice):
        for told in check(history):
            yield f"{told} [job {job.id} {job.task}, {job.state}: {history.story}]"


def _one_outcome(history: History) -> Iterator[str]:
    """I2: every attempt was claimed once and, if it is closed, ended once, by the edge that names its outcome."""
    claims = Counter(event.attempt_id for event in history.edges() if event.name == "claim")
    ends = defaultdict(list)
    for event in history.edges():
        if event.from_state == "running":
            ends[event.attempt_id].append(EDGES[_counts_as(event)].outcome)
    for attempt in history.attempts:
        if claims.pop(attempt.id, 0) != 1:
            yield f"I2: attempt {attempt.id} was not claimed exactly once"
        expected = [attempt.outcome] if attempt.finished_at else []
        if ends.pop(attempt.id, []) != expected:
            yield f"I2: attempt {attempt.id} is {attempt.outcome or 'open'}, its events say otherwise"
    if claims or ends:
        yield f"I2: events of attempts that are not there: {[*claims, *ends]}"
    finals = sum(event.to_state in FINAL for event in history.edges())
    if finals != history.job.run - (0 if history.job.is_final else 1):
        yield f"I2: {finals} ends in {history.job.run} runs"


def _counts_as(event: JobEvent) -> str:
    """The edge that an event counts as: a pause in place of a retry, or a rescue, is one of these as well."""
    return str(event.data.get("instead_of", event.name))


def _replay(history: History) -> Iterator[str]:
    """I3: walk the events from nothing to the row."""
    job = history.job
    if [event.seq for event in history.events] != list(range(1, job.event_seq + 1)):
        yield f"I3: event numbers have gaps, or do not end at {job.event_seq}"
    state = ""
    for event in history.events:
        if event.from_state != state:
            yield f"I3: event {event.seq} {event.name} starts from {event.from_state!r}, the job was {state!r}"
        if not _is_legal(event):
            yield f"I3: event {event.seq} {event.name} {event.from_state!r} -> {event.to_state!r} is no edge"
        state = event.to_state
    if state != job.state:
        yield f"I3: the events end at {state!r}, the row is {job.state!r}"


def _is_legal(event: JobEvent) -> bool:
    edge = EDGES.get(event.name)
    if edge is None:
        return event.from_state == event.to_state
    return event.from_state in (edge.sources or ("",)) and event.to_state in edge.targets


def _open_attempts(history: History) -> Iterator[str]:
    """I4: an attempt is open exactly while the row is running it; attempts follow one another."""
    job = history.job
    is_open = [attempt.id for attempt in history.attempts if attempt.finished_at is None]
    if is_open != ([job.attempt_id] if job.state == "running" else []):
        yield f"I4: open attempts {is_open}, the row is {job.state} with {job.attempt_id}"
    for one, other in zip(history.attempts, history.attempts[1:], strict=False):
        if one.finished_at is None or other.started_at < one.finished_at:
            yield f"I4: attempt {other.number} began before attempt {one.number} had ended"


def _recount(history: History) -> Iterator[str]:
    """I6: the counters of the row, counted again."""
    job = history.job
    names = Counter(_counts_as(event) for event in history.this_run())
    counted = {
        "run": 1 + sum(event.name == "requeue" for event in history.edges()),
        "attempt": names["claim"],
        "retry_count": names["retry"],
        "rescue_count": names["rescue"],
        "error_count": names["retry"] + names["rescue"] + names["fail"],
        "active_key": None if job.is_final else job.key_hash,
    }
    for name, expected in counted.items():
        if getattr(job, name) != expected:
            yield f"I6: {name} is {getattr(job, name)!r}, counted {expected!r}"
    numbers = [attempt.number for attempt in history.attempts if attempt.run == job.run]
    if numbers != list(range(1, job.attempt + 1)):
        yield f"I6: attempts of run {job.run} are numbered {numbers}, the row counts {job.attempt}"


def _not_twice(history: History) -> Iterator[str]:
    """I8: what may run once was begun once in each run; nothing was submitted twice in place of one failure."""
    job = history.job
    runs = Counter(attempt.run for attempt in history.attempts)
    if job.at_most_once and runs and max(runs.values()) > 1:
        yield f"I8: it may run once, and has {max(runs.values())} attempts in one run"
    names = Counter(event.name for event in history.events)
    if names["fallback"] > names["fail"]:
        yield f"I8: {names['fallback']} fallbacks for {names['fail']} failures"


def _effects_without_attempt(histories: Sequence[History], effects: Path) -> list[str]:
    """I8: at most one effect for each attempt that the database knows of; a job that was deleted took them with it."""
    counts = Counter(line["job"] for line in ledger.read(effects, EFFECT))
    attempts = {str(history.job.id): len(history.attempts) for history in histories}
    return [
        f"I8: job {job} had {counts[job]} effects in {known} attempts"
        for job, known in attempts.items()
        if counts[job] > known
    ]
