"""`manage.py jobs_submit`: submit a job by its task's name."""

from __future__ import annotations

from typing import Any

from celery import current_app
from django.core.management.base import BaseCommand, CommandError, CommandParser

from jobs.client.manager import job_manager
from jobs.exceptions import JobsError, did_you_mean
from jobs.management import arguments, output

WORDS = ("pool", "priority", "owner", "operation_type", "external_id", "project_id", "session_id", "batch_id")


class Command(BaseCommand):
    help = "Submit a job. With --key: make sure that the key has an unfinished job, this one or the one it has already."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("task", help="the task's name, such as shop.tasks.render")
        parser.add_argument(
            "--args",
            dest="positional",
            type=arguments.json_list,
            default=[],
            metavar="JSON",
            help="arguments, a JSON array",
        )
        parser.add_argument(
            "--kwargs",
            dest="named",
            type=arguments.json_object,
            default={},
            metavar="JSON",
            help="keyword arguments, a JSON object",
        )
        parser.add_argument("--key", help="run key: at most one unfinished job has it")
        for name in WORDS:
            parser.add_argument(f"--{name.replace('_', '-')}")
        parser.add_argument("--tag", action="append", dest="tags", metavar="TAG", help="may be repeated")
        parser.add_argument("--metadata", type=arguments.json_object, metavar="JSON", help="a JSON object")
        parser.add_argument("--max-retries", type=int, metavar="N")
        parser.add_argument(
            "--delay", type=arguments.duration, dest="run_after", metavar="30s", help="not before so long from now"
        )
        parser.add_argument("--hold", action="store_true", help="hold the job until it is started")
        arguments.add_json(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        current_app.loader.import_default_modules()  # or no task would be known here, and no call checked
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
            told = {"answer": answer, "job_id": str(job.id), "state": job.state, "task": job.task, "key": job.key}
            self.stdout.write(output.as_json(told))
        else:
            self.stdout.write(f"{job.id} {job.state}{'' if answer == 'JOB_CREATED' else ' (already there)'}")

    def _warn(self, task: str, verbosity: int) -> None:
        if verbosity and task not in current_app.tasks:
            hint = did_you_mean(task, current_app.tasks)
            self.stderr.write(
                f"No task {output.printable(task)!r} is known here: the arguments are not checked.{hint}",
                style_func=str,
            )


def _options(options: dict[str, Any]) -> dict[str, Any]:
    """What was said, as submit options; what was not said stays the task's own."""
    names = (*WORDS, "tags", "metadata", "max_retries", "run_after")
    chosen = {name: options[name] for name in names if options[name] is not None}
    return {**chosen, "start": False} if options["hold"] else chosen
