"""`manage.py jobs_submit`: submit a job by its task's name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from celery import current_app
from django.core.management.base import BaseCommand, CommandError, CommandParser

from jobs.client.manager import job_manager
from jobs.exceptions import JobsError, did_you_mean
from jobs.management import arguments, output

COLUMNS = ("pool", "priority", "owner", "operation_type", "external_id", "project_id", "session_id", "batch_id")


class Command(BaseCommand):
    help = "Submit a job. With --key: only if no unfinished job has that key; otherwise print the job that has it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("task", help="the task's name, such as shop.tasks.render")
        _add_json(parser, "--args", arguments.json_list, [], "arguments, a JSON array")
        _add_json(parser, "--kwargs", arguments.json_object, {}, "keyword arguments, a JSON object")
        parser.add_argument("--key", help="run key: at most one unfinished job may have it")
        for name in COLUMNS:
            parser.add_argument(f"--{name.replace('_', '-')}")
        parser.add_argument("--tag", action="append", dest="tags", metavar="TAG", help="may be repeated")
        parser.add_argument("--metadata", type=arguments.json_object, metavar="JSON", help="a JSON object")
        parser.add_argument("--max-retries", type=int, metavar="N")
        parser.add_argument(
            "--delay",
            type=arguments.duration,
            dest="run_after",
            metavar="30s",
            help="start no earlier than this long from now",
        )
        parser.add_argument("--hold", action="store_true", help="hold the job until it is started")
        arguments.add_json(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        current_app.loader.import_default_modules()  # without it no task is known here, and no arguments are checked
        task, chosen = options["task"], _options(options)
        self._warn(task, options["verbosity"])
        try:
            if options["key"] is None:
                answer, job = "JOB_CREATED", job_manager.submit(task, options["positional"], options["named"], **chosen)
            else:
                ran = job_manager.run_job(options["key"], task, options["positional"], options["named"], **chosen)
                answer, job = ran.type, ran.job
        except JobsError as error:
            raise CommandError(str(error)) from error
        if options["as_json"]:
            data = {"answer": answer, "job_id": str(job.id), "state": job.state, "task": job.task, "key": job.key}
            self.stdout.write(output.as_json(data))
        else:
            self.stdout.write(f"{job.id} {job.state}{'' if answer == 'JOB_CREATED' else ' (already there)'}")

    def _warn(self, task: str, verbosity: int) -> None:
        if verbosity and task not in current_app.tasks:
            hint = did_you_mean(task, current_app.tasks)
            self.stderr.write(
                f"This process does not know the task {output.printable(task)!r}: the arguments are not checked.{hint}",
                style_func=str,
            )


def _options(options: dict[str, Any]) -> dict[str, Any]:
    """The submit options that were given; the task's own hold for the others."""
    names = (*COLUMNS, "tags", "metadata", "max_retries", "run_after")
    chosen = {name: options[name] for name in names if options[name] is not None}
    return {**chosen, "start": False} if options["hold"] else chosen


def _add_json(parser: CommandParser, flag: str, parse: Callable[[str], Any], default: Any, text: str) -> None:
    dest = {"--args": "positional", "--kwargs": "named"}[flag]  # `args` and `options` are Django's own names
    parser.add_argument(flag, dest=dest, type=parse, default=default, metavar="JSON", help=text)
