"""`manage.py jobs_show`: one job, with its history and its values; secrets are masked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from jobs.client.manager import job_manager
from jobs.exceptions import JobNotFound
from jobs.management import arguments, output
from jobs.models import Job
from jobs.monitoring import formatting
from jobs.monitoring.status import status_of

FACTS = (
    "id",
    "task",
    "state",
    "key",
    "pool",
    "priority",
    "owner",
    "manager",
    "reason",
    "paused_by",
    "stage",
    "message",
)
MOMENTS = (
    "created_at",
    "run_after",
    "expires_at",
    "queued_at",
    "started_at",
    "finished_at",
    "cancel_requested_at",
)
BOUNDS = ("timeout", "grace", "memory_mb", "disk_mb", "expires_at", "paused_by", "cancel_force")
ATTEMPT_COLUMNS = (
    "id",
    "run",
    "number",
    "started_at",
    "finished_at",
    "outcome",
    "hostname",
    "pid",
    "error_category",
    "error_type",
    "error_message",
    "error_traceback",
    "cpu_seconds",
    "average_cpu",
    "peak_memory_mb",
    "peak_disk_mb",
    "performance_score",
    "metrics",
)
VALUES = ("args", "kwargs", "metadata", "live_state", "diagnostics", "result")
EVENTS, ATTEMPTS, LINES = 200, 50, 200  # shown of each, the newest


class Command(BaseCommand):
    help = "Show one job: its state, history, arguments, result and log."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("id", type=arguments.job_id, metavar="ID", help="the job's id")
        arguments.add_json(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            job = job_manager.get_job(options["id"])
        except JobNotFound as error:
            raise CommandError(str(error)) from error
        if options["as_json"]:
            self.stdout.write(output.as_json(_data(job)))
        else:
            self.stdout.write(output.printable("\n".join(_lines(job))))


def _data(job: Job) -> dict[str, Any]:
    """Everything, as plain data."""
    return {
        **status_of(job),
        **{name: getattr(job, name) for name in ("pool", "owner", "manager", "tags", "result_error", *BOUNDS, *VALUES)},
        "events": list(
            _newest(job.events, "-seq", EVENTS).values("seq", "name", "from_state", "to_state", "at", "actor", "data")
        )[::-1],
        "attempts": list(_newest(job.attempts, "-started_at", ATTEMPTS).values(*ATTEMPT_COLUMNS))[::-1],
        "log": list(_newest(job.logs, "-id", LINES).values("at", "level", "text"))[::-1],
    }


def _newest(rows: Any, order: str, limit: int) -> Any:
    return rows.order_by(order)[:limit]


def _lines(job: Job) -> Iterator[str]:
    """Everything, as lines of text."""
    facts = [(name, getattr(job, name)) for name in FACTS]
    facts += [("progress", f"{job.progress:.0f} %"), ("attempt", formatting.attempts(job)), ("run", job.run)]
    facts += [(title.lower(), value) for title, value in formatting.bounds(job)]
    facts += [("force", "yes" if job.cancel_force else None)]
    facts += [(name.removesuffix("_at"), output.moment(getattr(job, name))) for name in MOMENTS if getattr(job, name)]
    yield from (f"{name + ':':18}{value}" for name, value in facts if value not in (None, ""))
    if job.error_type or job.error_message:
        yield f"{'error:':18}{job.error_type}: {job.error_message}"
        yield f"{'category:':18}{job.error_category}"
        yield f"{'fingerprint:':18}{job.error_fingerprint}"
    yield from _values(job)
    yield from _history(job)


def _values(job: Job) -> Iterator[str]:
    for name in VALUES:
        value = getattr(job, name)
        if value not in (None, [], {}):
            yield f"\n{name}\n{formatting.as_json(value)}"
    if job.result_error:
        yield f"\nresult not stored: {job.result_error}"


def _history(job: Job) -> Iterator[str]:
    events = [
        (
            event.seq,
            output.moment(event.at),
            event.name,
            event.from_state,
            event.to_state,
            event.actor,
            formatting.event_details(event.data),
        )
        for event in _newest(job.events, "-seq", EVENTS)
    ]
    yield "\n" + output.table(("no.", "at", "event", "from", "to", "by", "details"), events[::-1])
    for attempt in list(_newest(job.attempts, "-started_at", ATTEMPTS))[::-1]:
        where = f"on {attempt.hostname or '?'}, process {attempt.pid or '?'}"
        yield f"\nrun {attempt.run}, attempt {attempt.number}: {attempt.outcome or 'running'} {where}"
        if used := formatting.used(attempt):
            yield ", ".join(used)
        if attempt.error_type:
            yield attempt.error_traceback or f"{attempt.error_type}: {attempt.error_message}"
    lines = list(_newest(job.logs, "-id", LINES))[::-1]
    if lines:
        yield "\nlog"
        yield from (f"{output.moment(line.at)} {line.level:8} {line.text}" for line in lines)
