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
        "Do what time and death cause: promote due jobs, publish what was not sent, rescue what dead workers held, "
        "delete what is old. Only one steward acts at a time; the others stand by. Ends on SIGTERM or SIGINT."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--check",
            action="store_true",
            help="repair nothing; list where rows, broker and workers contradict each other (1 when they do), and what "
            "was pruned and repaired so far",
        )
        arguments.add_json(parser)
        parser.add_argument("--once", action="store_true", help="one round, then exit; 1 when nothing could be done")

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
        found, kept = drift.check(), counters.figures()
        if as_json:
            self.stdout.write(output.as_json({"drift": [one._asdict() for one in found], **kept}))
        elif found:
            rows = [(one.kind, one.job_id, one.attempt_id, drift.MEANINGS[one.kind]) for one in found]
            self.stdout.write(output.table(("drift", "job", "attempt", "meaning"), rows))
        else:
            self.stdout.write("No drift: rows, broker and workers agree.")
        if not as_json:
            self.stdout.write("\n".join(formatting.figures(kept)))
        if found:
            raise CommandError(f"{len(found)} found. The steward repairs them; what stays is worth a look.")

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
