"""`manage.py jobs_demo`: the whole platform on this machine, with work to do, from one command.

The command replaces itself by one whose settings point into a private directory, then supervises; what it starts, and
what it submits and checks, stands in `jobcenter.demo`.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from argparse import ArgumentParser
from pathlib import Path
from typing import Any, NoReturn

from django.core.management import BaseCommand, CommandError

from jobcenter.demo import outcomes, plan, stack
from jobcenter.demo.live import LiveLine, describe
from jobcenter.demo.supervisor import ChildDied, Stopped, Supervisor, TookTooLong
from jobcenter.demo.supervisor.directory import a_new_path
from jobcenter.demo.visitor import PageWrong
from jobs import Job, job_manager
from jobs.states import FINAL

DIRECTORY = "JOBCENTER_DEMO_DIRECTORY"
WORK_WITHIN = 300.0  # seconds for the first round; it takes some ten on a quick machine
PICTURE_EVERY = 30.0  # seconds; something to watch when the first round is over


class Command(BaseCommand):
    help = "Start broker, two workers and web pages in a private directory, and give them real work (Ctrl-C: stop)."
    requires_system_checks = ()  # of settings that are not those of the demo

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--once", action="store_true", help="run the work to its end, check it, and exit")
        parser.add_argument("--port", type=int, default=8000, help="of the pages; where it is taken, a free one")

    def handle(self, *args: Any, once: bool, port: int, **options: Any) -> None:
        if missing := stack.missing():
            raise CommandError(f"not installed: {', '.join(missing)}. pip install 'jobcenter[demo]' (Linux and macOS)")
        directory = os.environ.pop(DIRECTORY, None)
        if directory is None:
            _begin_anew(once, port)
        logging.getLogger("jobs").setLevel(logging.WARNING)  # in this process; the workers' logs have it all
        try:
            with Supervisor(Path(directory), os.environ) as supervisor:
                self._run_until_stopped(supervisor, once, port)
        except Stopped as stopped:
            self._say(f"Stopped by {stopped.signal.name}, nothing is left behind.")
            if once:
                sys.exit(128 + stopped.signal)
        except (ChildDied, TookTooLong, outcomes.WrongOutcome, PageWrong, OSError) as error:
            raise CommandError(f"the demo ends: {error}") from error

    def _run_until_stopped(self, supervisor: Supervisor, once: bool, port: int) -> None:
        try:
            self._run(supervisor, once, port)
        except Stopped:
            self._say("\nStopping …")
            raise

    def _run(self, supervisor: Supervisor, once: bool, port: int) -> None:
        self._say("Starting …")
        address = stack.start(supervisor, port, lambda what: self._say(f"  {what}"))
        begun = time.monotonic()
        count = plan.submit_everything()
        self._say(f"\n{count} jobs submitted. Watch them at {address}/  user {stack.USER}, password {stack.PASSWORD}")
        line = LiveLine(sys.stdout)
        if not once:
            self._say(f"Logs: {supervisor.directory}/*.log   Stop: Ctrl-C")
            _go_on(supervisor, line)
        _work(supervisor, line)
        seconds = time.monotonic() - begun
        self._say("\n" + "\n".join(outcomes.table()))
        self._say(f"{seconds:.1f} s on the clock, {stack.WORKERS} workers of {stack.PROCESSES} processes each")
        checked = [*outcomes.check_jobs(), outcomes.check_pages(address, stack.USER, stack.PASSWORD)]
        self._say("\n" + "\n".join(f"ok  {sentence}" for sentence in checked))

    def _say(self, text: str) -> None:
        self.stdout.write(text)
        self.stdout.flush()


def _begin_anew(once: bool, port: int) -> NoReturn:
    """Replace this process by the same command with the demo's settings: Django reads settings once."""
    directory = a_new_path()
    env = {**stack.environment(directory, os.environ), DIRECTORY: str(directory)}
    words = [sys.executable, "-m", "django", "jobs_demo", f"--port={port}", *(["--once"] if once else [])]
    sys.stdout.flush()
    os.execve(sys.executable, words, env)  # noqa: S606 - no shell is wanted


def _work(supervisor: Supervisor, line: LiveLine) -> None:
    """See the first round through to its end, and stop the job that would never end."""
    unfinished = Job.objects.filter(batch_id=plan.BATCH).exclude(state__in=FINAL)
    endless = unfinished.filter(task="demo.twin_primes", progress__gt=0, cancel_requested_at=None)

    def is_over() -> bool:
        line.show()
        for job in endless.all():  # a new query each time
            job_manager.cancel_job(job.id, reason="seen enough", actor=plan.OWNER)
        return not unfinished.exists()

    try:
        supervisor.wait_until(is_over, WORK_WITHIN, "the work is done")
    except TookTooLong as error:
        raise TookTooLong(f"{error}: {describe()}") from error
    finally:
        line.clear()


def _go_on(supervisor: Supervisor, line: LiveLine) -> NoReturn:
    """Until a signal comes: show the line, and have another picture drawn now and then."""
    next_picture = time.monotonic() + PICTURE_EVERY
    for place in plan.more_pictures():
        while time.monotonic() < next_picture:
            line.show()
            supervisor.pause()
        plan.submit_picture(place, "later")
        next_picture += PICTURE_EVERY
    raise AssertionError("the list of places has no end")
