"""`manage.py jobs_steward`: a steward in a process of its own, beside those of workers and web."""

from __future__ import annotations

import os
import signal
import socket
import threading
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from jobs.maintenance import counters, drift, host
from jobs.maintenance.steward import Steward
from jobs.management import arguments, output
from jobs.monitoring import formatting


class Command(BaseCommand):
    help = (
        "Run a steward: it makes due jobs pending, sends messages that were not sent, rescues jobs of dead workers, "
        "and deletes old jobs. Only one steward acts at a time; the others stand by. Ends on SIGTERM or SIGINT."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--check",
            action="store_true",
            help="repair nothing; list where database, broker and workers disagree (exit code 1 if they do), and "
            "what was pruned and repaired so far",
        )
        arguments.add_json(parser)
        parser.add_argument(
            "--once", action="store_true", help="run one round, then exit; exit code 1 if this process could not act"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        label = f"jobs_steward@{socket.gethostname()}:{os.getpid()}"
        if options["check"]:
            self._check(as_json=options["as_json"])
            return
        if options["once"]:
            self._tick_once(label)
            return
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        self._say(f"{label}: standing by", options)
        host.live(label, stop)
        self._say(f"{label}: ended", options)

    def _check(self, *, as_json: bool) -> None:
        problems, figures = drift.check(), counters.figures()
        if as_json:
            self.stdout.write(output.as_json({"drift": [problem._asdict() for problem in problems], **figures}))
        elif problems:
            rows = [(row.kind, row.job_id, row.attempt_id, drift.MEANINGS[row.kind]) for row in problems]
            self.stdout.write(output.table(("drift", "job", "attempt", "meaning"), rows))
        else:
            self.stdout.write("No drift: database, broker and workers agree.")
        if not as_json:
            self.stdout.write("\n".join(formatting.figures(figures)))
        if problems:
            raise CommandError(f"{len(problems)} found. The steward repairs them; look into any that stay.")

    def _tick_once(self, label: str) -> None:
        steward = Steward(label)
        led = steward.tick()
        steward.resign()
        if not led:
            raise CommandError("Nothing was done: another process is the steward, or the database does not answer.")
        self.stdout.write("One round done.")

    def _say(self, text: str, options: dict[str, Any]) -> None:
        if options["verbosity"]:
            self.stderr.write(text, style_func=str)
