"""`manage.py jobs_list`: jobs as a table, or as JSON; newest first."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from jobs import display
from jobs.management import arguments, output
from jobs.models import Job
from jobs.querysets.dialect import DbNow
from jobs.status import status_of

HEADS = ("id", "state", "task", "key", "priority", "progress", "attempt", "duration", "created")


class Command(BaseCommand):
    help = "List jobs, newest first."

    def add_arguments(self, parser: CommandParser) -> None:
        arguments.add_filters(parser)
        parser.add_argument("--limit", type=arguments.count, default=50, metavar="N", help="at most so many jobs (50)")
        arguments.add_json(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        rows = arguments.filtered(options).defer("args", "kwargs", "result", "live_state").annotate(read_at=DbNow())
        jobs = list(rows.newest()[: options["limit"]])
        if options["as_json"]:
            self.stdout.write(output.as_json([status_of(job) for job in jobs]))
        elif jobs:
            self.stdout.write(output.table(HEADS, [_row(job) for job in jobs]))
        else:
            self.stderr.write("No jobs.", style_func=str)


def _row(job: Job) -> tuple[object, ...]:
    now = job.read_at  # type: ignore[attr-defined]  # annotated above
    return (
        job.id, job.state, job.task, job.key, job.priority, f"{job.progress:.0f} %", display.attempts(job),
        display.ran_for(job, now), display.distance(job.created_at, now),
    )  # fmt: skip
