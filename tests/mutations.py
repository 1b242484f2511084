"""The guards, taken away one by one: a test that still passes without the guard it is about proves nothing.

`python -m tests.mutations [NAME …]` runs, for each mutation, the test that must catch it, with the mutation applied in
every process (test, workers, submitters) through the variable JOBCENTER_TEST_MUTATION, and says whether it failed as it
must. To add one: a function that removes the guard, and a line in `MUTATIONS` with the test that catches it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

VARIABLE = "JOBCENTER_TEST_MUTATION"
ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Mutation:
    """One guard less; `test` is the test that catches it in `group`, `sign` a piece of what that says then."""

    apply: Callable[[], None]
    group: str
    test: str
    sign: str


def apply(name: str) -> None:
    """Take the guard away in this process."""
    MUTATIONS[name].apply()


def main(names: Sequence[str]) -> int:
    """Try each mutation, print one line for it, return 0 if all were caught."""
    escaped = [name for name in names or MUTATIONS if not _is_caught(name)]
    print(f"{len(escaped)} escaped: {', '.join(escaped)}" if escaped else "all were caught")  # noqa: T201
    return 1 if escaped else 0


def _is_caught(name: str) -> bool:
    mutation = MUTATIONS[name]
    words = [sys.executable, "-m", "tests.run", mutation.group, f"tests/{mutation.test}", "-q", "-x"]
    done = subprocess.run(
        words, cwd=ROOT, env=os.environ | {VARIABLE: name}, capture_output=True, text=True, check=False
    )
    caught = done.returncode != 0 and mutation.sign in done.stdout
    print(f"{'caught ' if caught else 'ESCAPED'} {name:<24} {mutation.group} {mutation.test}", flush=True)  # noqa: T201
    if not caught:
        print(done.stdout[-3000:])  # noqa: T201
    return caught


def _patch(path: str, value: Any) -> Callable[[], None]:
    """Replace a module's attribute, once the modules can be loaded: "jobs.admission._lock"."""

    def replace() -> None:
        module, _, name = path.rpartition(".")
        assert hasattr(import_module(module), name), f"{path}: the guard has moved, the mutation must follow"
        setattr(import_module(module), name, value)

    return replace


def _no_system_lock() -> None:
    admission: Any = import_module("jobs.admission")
    lock = admission._lock
    admission._lock = lambda pool, *, system_wide: lock(pool, system_wide=False)


def _count_before_the_lock() -> None:
    """The first count of an admission serves again behind the lock."""
    limits: Any = import_module("jobs.limits")
    count = limits.room
    seen: dict[str, Any] = {}
    limits.room = lambda pool: seen.pop(pool) if pool in seen else seen.setdefault(pool, count(pool))


def _no_steward() -> None:
    steward: Any = import_module("jobs.steward")
    steward.Steward.tick = lambda self: False


def _no_key_wait() -> None:
    submission: Any = import_module("jobs.submission")
    submission._key_wait.__enter__ = submission._key_wait.__exit__ = lambda *_: None


def _announce_at_once() -> None:
    submission: Any = import_module("jobs.submission")
    submission.after_commit = lambda act, *args: act(*args)


POSTGRES, SQLITE = "integration:postgres+redis", "integration:sqlite+redis"
_LIMITS = "integration/test_limits.py::test_the_maximum_holds"
_LIFE = "integration/test_cancelling.py::"

MUTATIONS = {
    "no admission lock": Mutation(
        _patch("jobs.admission._lock", lambda pool, **_: True), POSTGRES, f"{_LIMITS}[pool]", "in flight at once"
    ),
    "no system-wide lock": Mutation(_no_system_lock, POSTGRES, f"{_LIMITS}[system]", "in flight at once"),
    "count before the lock": Mutation(_count_before_the_lock, POSTGRES, f"{_LIMITS}[pool]", "in flight at once"),
    "no unique key": Mutation(
        _patch("jobs.submission.active_key", lambda manager, key: uuid.uuid4().hex), POSTGRES,
        "integration/test_keys.py::test_two_hundred_callers_at_once_get_one_job", "JOB_ALREADY_RUNNING",
    ),
    "no bound on a key's wait": Mutation(
        _no_key_wait, POSTGRES, "integration/test_keys.py::test_a_key_in_anothers_open_transaction_is_busy",
        "DID NOT RAISE",
    ),
    "no source states": Mutation(
        _patch("jobs.transitions.spelling.standing_at", lambda edge: "state = state"), POSTGRES,
        f"{_LIFE}test_a_body_that_ends_well_wins_over_the_request", "failed",
    ),
    "no fence": Mutation(
        _patch("jobs.execution._FENCE", "id = %s AND %s IS NOT NULL"), POSTGRES,
        "integration/test_running.py::test_a_doorbell_of_another_admission_starts_nothing", "failed",
    ),
    "no wish of a person": Mutation(
        _patch("jobs.transitions._NOBODY_ASKED", ""), SQLITE,
        f"{_LIFE}test_a_request_wins_over_a_failure_a_retry_and_a_snooze[snooze]", "failed",
    ),
    "no steward": Mutation(
        _no_steward, SQLITE, "integration/test_failing.py::test_retries_wait_longer_each_time", "JobNotFinished"
    ),
    "announced before the commit": Mutation(
        _announce_at_once, SQLITE, "integration/test_running.py::test_nothing_happens_of_what_was_rolled_back",
        "failed",
    ),
}  # fmt: skip

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
