"""`manage.py jobs_why`: why a job does not run yet."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from jobs.client.manager import job_manager
from jobs.exceptions import JobNotFound
from jobs.management import arguments, output


class Command(BaseCommand):
    help = "Say why a job does not run yet: every reason, which jobs hold what it waits for, and until when."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("id", type=arguments.job_id, metavar="ID", help="the job's id")
        arguments.add_json(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            why = job_manager.why(options["id"])
        except JobNotFound as error:
            raise CommandError(str(error)) from error
        self.stdout.write(output.as_json(why.as_dict()) if options["as_json"] else output.printable(str(why)))
