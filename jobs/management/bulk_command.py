"""Base of the commands that act on many jobs: by id or by filter, in batches, with a count of each answer."""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser

from jobs.control import bulk
from jobs.control.answers import Answers
from jobs.control.bulk import Forecast
from jobs.management import arguments, output

Act = Callable[[Sequence[UUID]], Answers]


class BulkCommand(BaseCommand):
    """Exit code 1 when a job given by its id is missing, or its state does not allow the request."""

    verb: ClassVar[str]
    labels: ClassVar[Mapping[str, str]] = bulk.WORDS  # of its answers, for people

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "ids", nargs="*", type=arguments.job_id, metavar="ID", help="ids of jobs, instead of filters"
        )
        arguments.add_filters(parser)
        arguments.add_person(parser)
        arguments.add_batch(parser, default=bulk.BATCH)
        arguments.add_json(parser)

    def person(self, options: dict[str, Any]) -> str:
        """The actor in the history."""
        return arguments.person(options, f"jobs_{self.verb}")

    @abstractmethod
    def act(self, options: dict[str, Any]) -> Act:
        """The request that each batch of ids gets."""

    @abstractmethod
    def forecast(self, forecast: Forecast) -> Act:
        """What a dry run calls instead."""

    def handle(self, *args: Any, **options: Any) -> None:
        if bool(options["ids"]) == arguments.has_filters(options):
            raise arguments.usage(
                f"Give either the ids of the jobs to {self.verb}, or filters (--state, --task, …), and not both."
            )
        act = self.forecast(Forecast()) if options["dry_run"] else self.act(options)
        counts: Counter[str] = Counter()
        answers: Answers = {}
        try:
            for batch in self._batches(options):
                batch_answers = act(batch)
                counts += bulk.counted(batch_answers)
                answers |= batch_answers if options["ids"] else {}
                self._progress(counts, options)
        except KeyboardInterrupt:
            self._print(counts, answers, options)
            raise CommandError("Interrupted. The jobs counted above are done.") from None
        self._print(counts, answers, options)
        refused = [str(job_id) for job_id, answer in answers.items() if answer in bulk.REFUSED]
        if refused:
            raise CommandError(f"Refused or not found: {', '.join(refused)}.")

    def _batches(self, options: dict[str, Any]) -> Iterator[list[UUID]]:
        if not options["ids"]:
            yield from bulk.batches(arguments.filtered(options), self.verb, options["batch"])
            return
        ids = list(dict.fromkeys(options["ids"]))
        for start in range(0, len(ids), options["batch"]):
            yield ids[start : start + options["batch"]]

    def _progress(self, counts: Counter[str], options: dict[str, Any]) -> None:
        if options["verbosity"] and counts.total() > options["batch"]:
            self.stderr.write(f"{output.jobs(counts.total())} …", style_func=str)

    def _print(self, counts: Counter[str], answers: Answers, options: dict[str, Any]) -> None:
        if options["as_json"]:
            jobs = {str(job_id): str(answer) for job_id, answer in answers.items()}
            data = {"dry_run": options["dry_run"], "counts": dict(sorted(counts.items()))}
            self.stdout.write(output.as_json({**data, "jobs": jobs} if jobs else data))
            return
        if options["dry_run"]:
            self.stdout.write("Dry run: nothing was changed. It would be:")
        for answer, number in sorted(counts.items()):
            self.stdout.write(f"{number:,} {self.labels[answer]}")
        if not counts:
            self.stdout.write(output.jobs(0))
