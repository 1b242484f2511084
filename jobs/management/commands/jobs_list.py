"""`manage.py jobs_list`: jobs as a table, or as JSON; newest first."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from jobs.core.db.clock import DbNow
from jobs.management import arguments, output
from jobs.models import Job
from jobs.monitoring import error_groups, formatting
from jobs.monitoring.counting import CEILING
from jobs.monitoring.error_groups import ErrorGroup
from jobs.monitoring.status import status_of

HEADS = ("id", "state", "task", "key", "priority", "progress", "attempt", "duration", "created")
GROUP_HEADS = ("count", "category", "last", "fingerprint", "newest job", "error")


class Command(BaseCommand):
    help = (
        "List jobs, newest first. With --groups: count the failed jobs that have the same error, most frequent first."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        arguments.add_filters(parser)
        parser.add_argument("--limit", type=arguments.count, default=50, metavar="N", help="print at most N rows (50)")
        parser.add_argument(
            "--groups", action="store_true", help=f"count failed jobs by error, among the newest {CEILING:,}"
        )
        arguments.add_json(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        if options["groups"]:
            self._groups(options)
        else:
            self._jobs(options)

    def _jobs(self, options: dict[str, Any]) -> None:
        rows = arguments.filtered(options).defer("args", "kwargs", "result", "live_state").annotate(read_at=DbNow())
        jobs = list(rows.newest()[: options["limit"]])
        if options["as_json"]:
            self.stdout.write(output.as_json([status_of(job) for job in jobs]))
        elif jobs:
            self.stdout.write(output.table(HEADS, [_row(job) for job in jobs]))
        else:
            self.stderr.write("No jobs.", style_func=str)

    def _groups(self, options: dict[str, Any]) -> None:
        groups = error_groups.error_groups(arguments.filtered(options), options["limit"])
        if options["as_json"]:
            self.stdout.write(output.as_json([_group(group) for group in groups]))
        elif groups:
            self.stdout.write(output.table(GROUP_HEADS, [_group_row(group) for group in groups]))
        else:
            self.stderr.write("No failures.", style_func=str)


def _group(group: ErrorGroup) -> dict[str, Any]:
    job = group.newest
    return {
        "fingerprint": group.fingerprint,
        "count": group.count,
        "category": job.error_category,
        "type": job.error_type,
        "message": job.error_message,
        "last_at": job.finished_at,
        "job_id": str(job.id),
    }


def _group_row(group: ErrorGroup) -> tuple[object, ...]:
    job = group.newest
    error = f"{job.error_type}: {job.error_message}"
    return group.count, job.error_category, output.moment(job.finished_at), group.fingerprint, job.id, error


def _row(job: Job) -> tuple[object, ...]:
    now = job.read_at  # type: ignore[attr-defined]  # annotated above
    return (
        job.id,
        job.state,
        job.task,
        job.key,
        job.priority,
        f"{job.progress:.0f} %",
        formatting.attempts(job),
        formatting.ran_for(job, now),
        formatting.distance(job.created_at, now),
    )
