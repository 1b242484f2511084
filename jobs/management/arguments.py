"""Options that several commands share, and their parsers.

Exit code 2: a value cannot be parsed. Exit code 1: the command was refused. Data goes to stdout, progress to stderr.
"""

from __future__ import annotations

import argparse
import json
import os
import pwd
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

from django.core.management.base import CommandError, CommandParser

from jobs import states
from jobs.core.conf import settings
from jobs.exceptions import did_you_mean, shown
from jobs.models import Job
from jobs.models.querysets import JobQuerySet
from jobs.monitoring import search
from jobs.states import FINAL, ErrorCategory, JobState

WRONG_USAGE = 2
FILTERS = ("state", "status", "task", "key", "owner", "pool", "category", "fingerprint")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_DURATION = re.compile(rf"(\d{{1,9}}(?:\.\d{{1,6}})?)([{''.join(_UNITS)}])")
_LONGEST = 100 * 365 * 86_400
_STATUSES = tuple(dict.fromkeys(states.status(state) for state in JobState))


def add_filters(parser: CommandParser) -> None:
    """Options that select jobs; a job must match all of them."""
    group = parser.add_argument_group("filters")
    group.add_argument(
        "--state", type=state, action="append", metavar="STATE", help=f"one of {', '.join(JobState)}; may be repeated"
    )
    group.add_argument(
        "--status", type=status, metavar="STATUS", help=f"a group of states: one of {', '.join(_STATUSES)}"
    )
    group.add_argument("--task", help="the task's whole name")
    group.add_argument("--key", help="the run key, as text")
    group.add_argument("--owner", help="the user who owns them")
    group.add_argument("--pool", help="the pool they belong to")
    group.add_argument("--category", help=f"category of the error: {', '.join(ErrorCategory)}, or one of your own")
    group.add_argument("--fingerprint", help="fingerprint of the error, as jobs_show and the job's page show it")


def add_json(parser: CommandParser) -> None:
    """`--json`."""
    parser.add_argument("--json", action="store_true", dest="as_json", help="print JSON instead of text")


def add_person(parser: CommandParser) -> None:
    """`--by`."""
    parser.add_argument("--by", metavar="NAME", help="your name, for the history (default: the system user)")


def person(options: Mapping[str, Any], command: str) -> str:
    """The actor in the history: "ada (jobs_cancel)". Not read from the environment, which any process may set."""
    return f"{options['by'] or _user()} ({command})"


def add_batch(parser: CommandParser, default: int) -> None:
    """`--dry-run` and `--batch`."""
    parser.add_argument("--dry-run", action="store_true", help="change nothing; print what would be done")
    parser.add_argument("--batch", type=count, default=default, metavar="N", help=f"jobs per transaction ({default})")


def has_filters(options: Mapping[str, Any]) -> bool:
    """Whether any filter was given."""
    return any(options[name] is not None for name in FILTERS)


def filtered(options: Mapping[str, Any]) -> JobQuerySet:
    """The jobs that match the filters, unordered."""
    jobs = Job.objects.using(settings.DATABASE).all()
    if options["state"] is not None:
        jobs = jobs.filter(state__in=options["state"])
    if options["status"] is not None:
        jobs = jobs.filter(state__in=[state for state in JobState if states.status(state) == options["status"]])
    if options["key"] is not None:
        jobs = search.with_key_text(jobs, options["key"])
    if options["category"] is not None:
        jobs = jobs.of_category(options["category"])
    if options["fingerprint"] is not None:
        jobs = jobs.alike(options["fingerprint"])
    plain = {name: options[name] for name in ("task", "owner", "pool") if options[name] is not None}
    return jobs.filter(**plain)


def usage(message: str) -> CommandError:
    """The error for options that do not go together."""
    return CommandError(message, returncode=WRONG_USAGE)


def state(text: str) -> str:
    """A lifecycle state."""
    return _one_of(text, [str(state) for state in JobState], "state")


def final_state(text: str) -> str:
    """A state of jobs that have ended."""
    return _one_of(text, sorted(FINAL), "final state")


def status(text: str) -> str:
    """A group of states, as `states.status` names it."""
    return _one_of(text, list(_STATUSES), "status")


def one_of(choices: Sequence[str], what: str) -> Callable[[str], str]:
    """A parser that accepts these words, in any letter case."""
    return lambda text: _one_of(text, list(choices), what)


def job_id(text: str) -> UUID:
    """A job's id."""
    try:
        return UUID(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{shown(text)} is no job id; one looks like 01a2009f-084d-708c-b68a-cf56eeae8ffd"
        ) from None


def duration(text: str) -> float:
    """ "30d", "12h", "45m", "90s", "2w", "1.5h" as seconds."""
    match = _DURATION.fullmatch(text.strip())
    seconds = float(match[1]) * _UNITS[match[2]] if match else -1.0
    if not 0 <= seconds <= _LONGEST:
        raise argparse.ArgumentTypeError(
            f"{shown(text)} is no duration; write 30d, 12h, 45m or 90s (at most 100 years)"
        )
    return seconds


def count(text: str) -> int:
    """A whole number from 1 to 100,000."""
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= 100_000 or len(text) > 6:
        raise argparse.ArgumentTypeError(f"{shown(text)} is not a whole number from 1 to 100,000")
    return int(text)


def json_list(text: str) -> list[Any]:
    """A JSON array."""
    return _json(text, list, "an array, such as '[\"Ada\", 1]'")  # type: ignore[no-any-return]


def json_object(text: str) -> dict[str, Any]:
    """A JSON object."""
    return _json(text, dict, 'an object, such as \'{"name": "Ada"}\'')  # type: ignore[no-any-return]


def _user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container's user has a number only
        return f"user {os.getuid()}"


def _json(text: str, kind: type, what: str) -> Any:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise argparse.ArgumentTypeError(f"{shown(text)} is not JSON ({error}); write {what}") from None
    if not isinstance(value, kind):
        raise argparse.ArgumentTypeError(f"{shown(text)} is JSON, but not {what}")
    return value


def _one_of(text: str, choices: list[str], what: str) -> str:
    word = text.strip().lower()
    if word not in choices:
        hint = did_you_mean(word, choices) or f" Known: {', '.join(choices)}."
        raise argparse.ArgumentTypeError(f"{shown(text)} is no {what}.{hint}")
    return word
