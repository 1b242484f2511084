"""`manage.py jobs_cleanup`: delete jobs that ended long ago, with all that belongs to them."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from jobs.maintenance import pruner
from jobs.management import arguments, output
from jobs.states import FINAL


class Command(BaseCommand):
    help = (
        "Delete finished jobs that are older than JOBS['RETENTION'] or --older-than, with their attempts, events and "
        "logs. A job is kept while another job of its tree is unfinished. Can be interrupted at any time: the next run "
        "continues."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--state",
            type=arguments.final_state,
            action="append",
            metavar="STATE",
            help=f"only {', '.join(sorted(FINAL))}; may be repeated",
        )
        parser.add_argument(
            "--older-than",
            type=arguments.duration,
            metavar="30d",
            help="only jobs that ended longer ago: 30d, 12h, 45m, 90s",
        )
        parser.add_argument("--manager", default="", metavar="NAME", help="only the jobs of this named manager")
        arguments.add_batch(parser, default=pruner.BATCH)
        arguments.add_json(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        retention = _retention(options)
        manager, dry_run = options["manager"], options["dry_run"]
        counts = pruner.prune(retention, manager=manager, dry_run=dry_run, batch=options["batch"])
        number = counts.total()
        if options["as_json"]:
            data = {"dry_run": dry_run, "deleted": number, "by_state": dict(counts), "older_than": retention}
            self.stdout.write(output.as_json(data))
        elif dry_run:
            self.stdout.write(f"{output.jobs(number)} would be deleted (dry run: nothing was changed)")
        else:
            self.stdout.write(f"{output.jobs(number)} deleted")


def _retention(options: dict[str, Any]) -> dict[str, float | None]:
    """Seconds by state. Jobs in other states are kept."""
    configured = pruner.configured()
    wanted = options["state"] or list(configured)
    if options["older_than"] is None:
        return {state: configured.get(state) for state in wanted}
    return dict.fromkeys(wanted, options["older_than"])
