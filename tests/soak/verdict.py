"""What the rows say at the end, beside what was promised: lost, recorded twice, ended as it could not have ended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from jobs.models import Attempt, Job, JobEvent, Worker
from jobs.states import EDGES, FINAL
from tests.app import ledger
from tests.invariants import EFFECT, check_invariants, peak_in_flight
from tests.soak.load import Told
from tests.soak.plan import LIMITED, PARTITIONED, SYSTEM

Rows = Mapping[str, Job]  # by the token of their order


@dataclass
class Verdict:
    """`lines` is the report; `wrong` says what must not be, and is empty where all is well."""

    lines: list[str]
    wrong: list[str]


def judge(told: Told, effects: Path) -> Verdict:
    """Compare the rows with what was promised, and check every invariant but the probe's (I7)."""
    rows = {job.external_id: job for job in Job.objects.exclude(external_id="")}
    lost, double = [*_lost(told, rows)], [*_double()]
    overlaps = [*_overlaps()]
    wrong = [*lost, *double, *_odd_ends(told, rows), *_run_again(rows, effects), *_broken(effects)]
    wrong += [
        f"I5: {peak:g} of {name} in flight at once, the limit is {size}" for name, peak, size in overlaps if peak > size
    ]
    told_of = ", ".join(f"{name} {peak:g} of {size}" for name, peak, size in overlaps)
    lines = [*_counted(told, rows, effects), f"greatest overlap   {told_of}"]
    lines += [f"lost = {len(lost)}", f"duplicated outcomes = {len(double)}"]
    return Verdict(lines, wrong)


def history(job: Job) -> str:
    """One job's events, for whoever has to find out."""
    lines = [f"  job {job.id} {job.external_id} {job.task} {job.state}"]
    for event in JobEvent.objects.filter(job=job).order_by("seq"):
        lines.append(f"    {event.seq:>3} {event.at:%H:%M:%S.%f} {event.name:<10} {event.to_state:<10} {event.actor}")
        lines[-1] += f" {event.attempt_id or ''} {event.data or ''}".rstrip()
    return "\n".join(lines)


def _lost(told: Told, rows: Rows) -> Iterator[str]:
    for token, job_id in told.promised.items():
        if token not in rows:
            yield f"lost: {token} was answered with job {job_id}, and there is no such row"
    for job in rows.values():
        if not job.is_final:
            yield f"lost: it did not end\n{history(job)}"


def _double() -> Iterator[str]:
    """An attempt with two ends, a run with two, an order with two rows: each is one too many."""
    moves = JobEvent.objects.filter(name__in=EDGES)
    attempts = Counter(moves.filter(from_state="running").values_list("attempt_id", flat=True))
    yield from (
        f"twice: attempt {attempt_id} ended {times} times" for attempt_id, times in attempts.items() if times > 1
    )
    runs = Counter(moves.filter(to_state__in=FINAL).values_list("job_id", flat=True))
    yield from (f"twice: job {job_id} ended {times} times" for job_id, times in runs.items() if times > 1)
    tokens = Counter(Job.objects.exclude(external_id="").values_list("external_id", flat=True))
    yield from (f"twice: {token} became {times} jobs" for token, times in tokens.items() if times > 1)


def _odd_ends(told: Told, rows: Rows) -> Iterator[str]:
    for token, job in rows.items():
        order = told.orders[token]
        if job.is_final and job.state not in order.ends:
            yield f"odd: {order.kind}, and it ended {job.state}: {job.error_message}\n{history(job)}"
        if job.state == "cancelled" and job.id not in told.asked:
            yield f"odd: it was cancelled, and nobody had asked\n{history(job)}"


def _run_again(rows: Rows, effects: Path) -> Iterator[str]:
    """I8: what may run at most once had one effect at most."""
    counts = Counter(line["job"] for line in ledger.read(effects, EFFECT))
    for job in rows.values():
        if job.at_most_once and counts[str(job.id)] > 1:
            yield f"I8: it may run at most once, and ran {counts[str(job.id)]} times\n{history(job)}"


def _overlaps() -> Iterator[tuple[str, float, int]]:
    yield "all", peak_in_flight(), SYSTEM
    for task, size in LIMITED.items():
        yield task.rpartition(".")[2], peak_in_flight(task=task), size
    for task, size in PARTITIONED.items():
        partitions = Job.objects.filter(task=task).order_by().values_list("partition", flat=True).distinct()
        peak = max((peak_in_flight(task=task, partition=one) for one in partitions), default=0)
        yield f"a partition of {task.rpartition('.')[2]}", peak, size


def _broken(effects: Path) -> list[str]:
    try:
        check_invariants(limit=SYSTEM, effects=effects)
    except AssertionError as error:
        return str(error).splitlines()[1:]
    return []


def _counted(told: Told, rows: Rows, effects: Path) -> Iterator[str]:
    known = len([token for token in rows if token not in told.promised])
    refused = f"{told.counts['refused']:,} not answered for by a database that was away, {known:,} of them are there"
    yield f"jobs submitted     {len(told.promised):,} ({refused})"
    yield f"by kind            {_listed(Counter(told.orders[token].kind for token in rows))}"
    yield f"they ended         {_listed(Counter(job.state for job in rows.values()))}"
    yield f"cancels answered   {_listed(told.cancels)}"
    outcomes = Counter(Attempt.objects.values_list("outcome", flat=True))
    yield f"attempts           {_listed(outcomes)}; {len(ledger.read(effects, EFFECT)):,} bodies begun"
    names = Counter(
        JobEvent.objects.filter(name__in=("release", "rescue", "stale", "drift")).values_list("name", flat=True)
    )
    lives = Worker.objects.count()
    yield f"repairs            {_listed(names)}; {lives} lives of workers"


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{name or 'open'} {number:,}" for name, number in counts.most_common()) or "none"
