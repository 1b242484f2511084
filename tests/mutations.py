"""The guards, taken away one by one: a test that still passes without the guard it is about proves nothing.

`python -m tests.mutations [NAME …]` runs, for each mutation, the test that must catch it, with the mutation applied in
every process (test, workers, submitters) through the variable JOBCENTER_TEST_MUTATION, and says whether it failed as it
must. To add one: a function that removes the guard, and a line in `MUTATIONS` with the test that catches it.
"""

from __future__ import annotations

import builtins
import os
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from django.db.models import Q

VARIABLE = "JOBCENTER_TEST_MUTATION"
ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Mutation:
    """One guard less; `test` is the test that catches it in `group`, `sign` a pattern of the error it then shows."""

    apply: Callable[[], None]
    group: str
    test: str
    sign: str


def apply(name: str) -> None:
    """Take the guard away in this process."""
    MUTATIONS[name].apply()


def main(names: Sequence[str]) -> int:
    """Try each mutation, print one line for it, return 0 if all were caught."""
    chosen = [(guard, name) for guard, members in GUARDS.items() for name in members if not names or name in names]
    print(f"{'':7} {'guard':<22} {'mutation':<28} {'seconds':>7}  test")  # noqa: T201
    escaped = [name for guard, name in chosen if not _is_caught(guard, name)]
    print(f"{len(escaped)} escaped: {', '.join(escaped)}" if escaped else f"all {len(chosen)} were caught")  # noqa: T201
    return 1 if escaped else 0


def _is_caught(guard: str, name: str) -> bool:
    mutation, begin = MUTATIONS[name], time.monotonic()
    words = [sys.executable, "-m", "tests.run", mutation.group, f"tests/{mutation.test}", "-q", "-x"]
    done = subprocess.run(
        words, cwd=ROOT, env=os.environ | {VARIABLE: name}, capture_output=True, text=True, check=False
    )
    caught = done.returncode != 0 and re.search(rf"^E .*{mutation.sign}", done.stdout, re.MULTILINE) is not None
    verdict, seconds = "caught" if caught else "ESCAPED", time.monotonic() - begin
    print(f"{verdict:<7} {guard:<22} {name:<28} {seconds:>7.1f}  {mutation.group} {mutation.test}", flush=True)  # noqa: T201
    if not caught:
        print(done.stdout[-3000:])  # noqa: T201
    return caught


def _patch(path: str, value: Any) -> Callable[[], None]:
    """Replace a module's attribute, once the modules can be loaded: "jobs.admission.passes._lock"."""

    def replace() -> None:
        place, _, name = path.rpartition(".")
        setattr(_load(place), name, value)

    return replace


class _Owner:
    """A module or a class whose attributes are replaced. It refuses a name that is not there: the guard has moved."""

    def __init__(self, owner: Any) -> None:
        self.__dict__["_owner"] = owner

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._owner, name)
        return _Owner(value) if isinstance(value, type) else value

    def __setattr__(self, name: str, value: Any) -> None:
        there = hasattr(self._owner, name) or hasattr(builtins, name)
        assert there, f"{self._owner!r} has no {name}: the guard has moved, the mutation must follow"
        setattr(self._owner, name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self._owner, name)


def _load(path: str) -> Any:
    """A module, or a class in one."""
    module, _, name = path.rpartition(".")
    return getattr(_Owner(import_module(module)), name) if name[:1].isupper() else _Owner(import_module(path))


def _no_lock_of_shared_limits() -> None:
    admission: Any = _load("jobs.admission.passes")
    lock = admission._lock
    admission._lock = lambda pool, spanning: lock(pool, [])


def _count_one_pool() -> None:
    limits: Any = _load("jobs.admission.limits")
    look = limits.take_snapshot
    limits.take_snapshot = lambda pool, *, everywhere, **how: look(pool, everywhere=False, **how)


def _count_before_the_lock() -> None:
    """The first count of an admission serves again behind the lock."""
    limits: Any = _load("jobs.admission.limits")
    count = limits.take_snapshot
    seen: dict[str, Any] = {}
    limits.take_snapshot = lambda pool, **how: (
        seen.pop(pool) if pool in seen else seen.setdefault(pool, count(pool, **how))
    )


def _take_from_any_lane() -> None:
    dialects: Any = _load("jobs.core.db.dialects")
    id_in = dialects.PostgreSQL.id_in
    any_lane = "%s::uuid[] IS NOT NULL"
    dialects.PostgreSQL.id_in = lambda self, column: any_lane if column == "lane" else id_in(self, column)


def _lock_as_they_come() -> None:
    conflicts: Any = _load("jobs.submission.conflicts")
    conflicts.set, conflicts.sorted = list, list


def _no_steward() -> None:
    steward: Any = _load("jobs.maintenance.steward")
    steward.Steward.tick = lambda self: False


def _no_key_wait() -> None:
    keyed: Any = _load("jobs.submission.keyed")
    keyed._key_wait.__enter__ = keyed._key_wait.__exit__ = lambda *_: None


def _no_second_look() -> None:
    watch: Any = _load("jobs.worker.guard.guard")
    stop = watch.stop
    watch.stop = lambda holder, children, number, _: stop(holder, children, number, lambda _: holder)


def _never_let_go() -> None:
    stopping: Any = _load("jobs.worker.guard.kill")
    stopping._Frozen._let_go = lambda self: None


def _name_no_verdict() -> None:
    book: Any = _load("jobs.worker.guard.terminations")
    book.verdict_on = lambda attempt_id: None


def _celerys_own_shutdown() -> None:
    request: Any = _load("jobs.worker.request")
    del request.JobRequest.cancel


def _celerys_own_limits() -> None:
    request: Any = _load("jobs.worker.request")
    del request.JobRequest.on_accepted


def _announce_at_once() -> None:
    submission: Any = _load("jobs.submission.insertion")
    submission.after_commit = lambda act, *args: act(*args)


def _in_the_order_found() -> None:
    """As an UPDATE returns them: sorting does nothing."""
    admission: Any = _load("jobs.admission.passes")
    admission.sorted = lambda moved, key: list(moved)


def _no_fence_at_the_end() -> None:
    finishing: Any = _load("jobs.execution.finishing")
    finishing._finish.__kwdefaults__["fence"] = "id = %s AND %s IS NOT NULL"


def _deaf_to_its_own_death() -> None:
    liveness: Any = _load("jobs.execution.heartbeats")
    beat = liveness.beat
    liveness.beat = lambda *args: beat(*args) or True


def _fence_whoever_was_stale() -> None:
    liveness: Any = _load("jobs.execution.heartbeats")
    fence = liveness.fence
    liveness.fence = lambda boot_id, _: fence(boot_id, dict(liveness.heartbeats()).get(boot_id))


def _rescue_whatever_runs_now() -> None:
    """The job counts, not the attempt that was seen to be lost."""
    models, rescue, orphans = map(_load, ("jobs.models", "jobs.execution.rescue", "jobs.maintenance.dead_workers"))
    right = rescue.rescue

    def wrong(pairs: Any, *args: Any) -> Any:
        jobs = models.Job.objects.filter(pk__in=[job_id for job_id, _ in pairs])
        return right(list(jobs.values_list("id", "attempt_id")), *args)

    for module in (rescue, orphans):
        module.rescue = wrong


def _count_what_was_not_seen() -> None:
    """The steward goes on counting from before an outage, an election or a pause."""
    orphans: Any = _load("jobs.maintenance.dead_workers")
    orphans.Watch.forget = lambda self: None


def _settle_whatever_the_mark_says() -> None:
    """The mark is cleared all the same, but a process that finds it cleared goes on."""
    fallbacks: Any = _load("jobs.workflows.fallbacks")
    take = fallbacks._take
    fallbacks._take = lambda job_id: take(job_id) or fallbacks.Job.objects.get(pk=job_id)


def _one_feeder_for_life() -> None:
    feeder: Any = _load("jobs.worker.feeder")
    feeder.Feeder.is_alive = lambda self: True


def _knock_patiently() -> None:
    publishing: Any = _load("jobs.admission.publishing")
    for bounds in publishing._BOUNDS.values():
        del bounds["max_retries"]


def _end_without_a_lock() -> None:
    """Somebody may ask, or ask no more, between two of the moves that an end may take."""
    leaving: Any = _load("jobs.execution.back_to_queue")
    transitions: Any = _load("jobs.models.transitions")

    def as_asked(edge: str, where: str, params: Any, options: dict[str, Any]) -> Any:
        carried = {**options, "source": "running"}
        moved = transitions.move("cancel", f"{where} AND cancel_requested_at IS NOT NULL", params, **carried)
        return moved + transitions.move("pause", f"{where} AND pause_requested_at IS NOT NULL", params, **carried)

    leaving._as_asked = as_asked


def _local_clock() -> None:
    """Each process goes by its own clock."""
    words: Any = _load("jobs.core.db.dialects.base")
    words.Dialect.now = lambda self: self.literal(datetime.now(UTC))


def _once_is_lost() -> None:
    """Twice in a row, and nothing in between."""
    pulse: Any = _load("jobs.worker.heartbeat")
    compare = pulse.Pulse._compare
    pulse.Pulse._compare = lambda self: (compare(self), compare(self))


def _memory_first() -> None:
    pulse: Any = _load("jobs.worker.heartbeat")
    compare, held = pulse.Pulse._compare, pulse._held

    def look(self: Any) -> None:
        remembered = held(pulse.state.active_requests, pulse.state.reserved_requests)
        pulse._held = lambda *_: remembered
        compare(self)

    pulse.Pulse._compare = look


def _whoever_can_stop() -> None:
    overdue: Any = _load("jobs.maintenance.timeouts")
    assert "w.can_stop = %s" in overdue._OVERDUE
    overdue._OVERDUE = overdue._OVERDUE.replace("w.can_stop = %s", "%s IS NOT NULL")


def _the_last_request_counts() -> None:
    transitions: Any = _load("jobs.models.transitions")
    ask, first = transitions.ask, "cancel_requested_at IS NULL"
    transitions.ask = lambda change, values, where, *args, **how: ask(
        change.replace(first, "1 = 1"), values, where.replace(first, "1 = 1"), *args, **how
    )


def _keep_what_was_taken() -> None:
    reception: Any = _load("jobs.worker.redis_acks")
    del reception.JobMessageQoS.restore_unacked


UNIT = "unit"
POSTGRES, SQLITE = "integration:postgres+redis", "integration:sqlite+redis"
FAULTS, MARIADB = "faults:postgres+redis", "integration:mariadb+redis"
_OVER = r"I5: \d+ in flight at once, the limit is 5"
_LIMITS = "integration/test_limits.py::test_the_maximum_holds"
_PARTITIONS = "integration/test_partitions.py::"
_BOUNDS = "property/test_bounds.py::"
_JUDGING = "integration/test_judging.py::"
_LIFE = "integration/test_cancelling.py::"
_GUARD = "unit/worker/test_guard.py::"
_PULSE = "unit/worker/test_heartbeat.py::"


def _let_the_clean_up_have_its_way() -> None:
    """What it raises over TERM goes on to Celery, which keeps the process."""
    attempt: Any = _load("jobs.execution.attempt")
    kill_in = attempt.kill_in
    attempt.kill_in = lambda error: error if kill_in(error) else None


def _believe_one_look() -> None:
    """The lesser of the last two looks is the last one."""
    sampling: Any = _load("jobs.worker.sampler")
    sampling.min = lambda before, now: now


MUTATIONS = {
    "no admission lock": Mutation(
        _patch("jobs.admission.passes._lock", lambda pool, spanning: True), POSTGRES, f"{_LIMITS}[pool]", _OVER
    ),
    "no system-wide lock": Mutation(_no_lock_of_shared_limits, POSTGRES, f"{_LIMITS}[system]", _OVER),
    "no lock of a shared limit": Mutation(
        _no_lock_of_shared_limits,
        POSTGRES,
        f"{_PARTITIONS}test_a_limit_of_two_pools_holds_in_a_crowd",
        "== 3",
    ),
    "count one pool": Mutation(
        _count_one_pool,
        POSTGRES,
        f"{_PARTITIONS}test_a_limit_of_two_pools_holds_in_a_crowd",
        "== 3",
    ),
    "rates stand still": Mutation(
        _patch("jobs.admission.passes._count_starts", lambda *_: None),
        SQLITE,
        f"{_PARTITIONS}test_starts_are_as_far_apart_as_the_rate_says[True]",
        "assert not",
    ),
    "take from any lane": Mutation(
        _take_from_any_lane,
        POSTGRES,
        f"{_PARTITIONS}test_who_has_changed_lanes_meanwhile_is_left",
        "assert",
    ),
    "no reservation": Mutation(
        _patch("jobs.admission.limits.ordering.reserve", lambda *_: None),
        SQLITE,
        f"{_PARTITIONS}test_room_is_kept_for_a_large_job_that_has_waited",
        "assert",
    ),
    "no turn with large jobs": Mutation(
        _patch("jobs.admission.limits.ordering._first_of_each_tenant", lambda *_: []),
        "property",
        f"{_BOUNDS}test_a_large_job_starts_in_time_whoever_else_comes",
        "assert",
    ),
    "large jobs by rank alone": Mutation(
        _patch("jobs.admission.limits.ordering._last_turn", lambda *_: 0.0),
        "property",
        f"{_BOUNDS}test_nobodys_many_large_jobs_keep_anothers_first_one_away",
        "assert",
    ),
    "one tenant before the others": Mutation(
        _patch(
            "jobs.admission.limits.turns.Turns.order", lambda _, head: (2, head.facts.partition != "x", 0, head.rank)
        ),
        "property",
        "property/test_waits.py::test_no_order_of_events_lets_a_tenant_starve",
        "assert",
    ),
    "writers starve": Mutation(
        _patch("jobs.admission.limits.reservations.Reservations.block_behind", lambda *_: None),
        SQLITE,
        f"{_PARTITIONS}test_readers_share_and_a_writer_is_alone",
        "assert",
    ),
    "a lane of readers is one": Mutation(
        _patch("jobs.admission.limits.ordering.AdmissionPlan.is_simple", property(lambda plan: len(plan.lanes) == 1)),
        SQLITE,
        f"{_PARTITIONS}test_one_admission_lets_no_reader_behind_a_writer_pass_it",
        "assert",
    ),
    "a rate before a slot": Mutation(
        _patch("jobs.admission.limits.blockers.needs_free_slot", lambda *_: False),
        SQLITE,
        f"{_PARTITIONS}test_a_rate_spaces_real_starts_where_every_slot_was_taken",
        "assert",
    ),
    "no last look": Mutation(
        _patch("jobs.admission.passes._has_more", lambda *_: False),
        POSTGRES,
        f"{_PARTITIONS}test_what_comes_during_the_last_look_is_seen",
        "assert",
    ),
    "no lock of a partition": Mutation(
        _patch("jobs.submission.conflicts.lock", lambda *_: None),
        POSTGRES,
        f"{_PARTITIONS}test_fifty_callers_at_once_get_exactly_the_size",
        "JobRefused",
    ),
    "partitions in any order": Mutation(
        _lock_as_they_come,
        POSTGRES,
        f"{_PARTITIONS}test_many_partitions_in_opposite_orders_do_not_block_each_other",
        ".*failed",
    ),
    "count before the lock": Mutation(_count_before_the_lock, POSTGRES, f"{_LIMITS}[pool]", _OVER),
    "no unique key": Mutation(
        _patch("jobs.submission.active_key", lambda manager, key: uuid.uuid4().hex),
        POSTGRES,
        "integration/test_keys.py::test_two_hundred_callers_at_once_get_one_job",
        "JOB_ALREADY_RUNNING",
    ),
    "take any message": Mutation(
        _patch("jobs.worker.message_filter.is_readable", lambda message: True),
        FAULTS,
        "faults/test_foreign_messages.py::test_a_message_that_is_no_doorbell_runs_nothing[prefork-_without_headers]",
        "not within",
    ),
    "an unknown task as Celery has it": Mutation(
        _patch("jobs.worker.message_filter._unknown_task", lambda consumer, celerys: celerys),
        FAULTS,
        "faults/test_foreign_messages.py::test_a_task_that_nobody_knows_while_the_database_is_away",
        "not within",
    ),
    "no bound on a key's wait": Mutation(
        _no_key_wait,
        POSTGRES,
        "integration/test_keys.py::test_a_key_in_anothers_open_transaction_is_busy",
        "DID NOT RAISE",
    ),
    "a deadlock is the end": Mutation(
        _patch("jobs.core.db.deadlock_retry._PAUSES", ()),
        POSTGRES,
        "integration/test_deadlocks.py::test_a_move_that_falls_to_a_deadlock_is_done_again",
        "assert .*pending",
    ),
    "collations of the host": Mutation(
        _patch("jobs.models.collations.others", lambda using: []),
        MARIADB,
        "integration/test_mariadb.py::test_what_is_spelled_differently_is_different",
        "Duplicate entry",
    ),
    "from left to right": Mutation(
        _patch("jobs.core.db.dialects.MariaDB.simultaneous_assignment", lambda self, update: update),
        MARIADB,
        "integration/test_mariadb.py::test_what_a_move_sets_sees_the_row_as_it_was",
        "assert",
    ),
    "no source states": Mutation(
        _patch("jobs.models.transitions.sql.standing_at", lambda edge: "state = state"),
        POSTGRES,
        f"{_LIFE}test_a_body_that_ends_well_wins_over_the_request",
        "(CheckViolation|ALREADY_FINAL|job_finished)",
    ),
    "no wish of a person": Mutation(
        _patch("jobs.execution.back_to_queue._NO_REQUEST", ""),
        SQLITE,
        f"{_LIFE}test_a_request_wins_over_a_failure_a_retry_and_a_snooze[snooze]",
        "(the end of|cancelled)",
    ),
    "end without a lock": Mutation(
        _end_without_a_lock,
        POSTGRES,
        "integration/test_pausing.py::test_a_pause_that_is_withdrawn_while_the_attempt_ends",
        "refused",
    ),
    "a pause hides a failure": Mutation(
        _patch("jobs.execution.back_to_queue.COUNTED", {}),
        UNIT,
        "unit/control/test_pausing.py::test_a_job_that_is_paused_each_time_comes_to_an_end_all_the_same",
        "paused",
    ),
    "pause a task, lock no pool": Mutation(
        _patch("jobs.control.tasks._lock_pools", lambda: None),
        POSTGRES,
        "integration/test_pausing.py::test_an_admission_under_way_is_waited_for",
        "queued",
    ),
    "a checkpoint of anybody": Mutation(
        _patch("jobs.execution.progress.FENCE", " AND %s IS NOT NULL"),
        "unit",
        "unit/control/test_pausing.py::test_an_attempt_that_no_longer_counts_keeps_nothing",
        "DID NOT RAISE",
    ),
    "hooks of anybody": Mutation(
        _patch("jobs.execution.hooks._is_free", Q),
        "unit",
        "unit/execution/test_hooks.py::test_two_answers_run_them_once",
        "assert",
    ),
    "no steward": Mutation(
        _no_steward, SQLITE, "integration/test_failing.py::test_retries_wait_longer_each_time", "the end of"
    ),
    "announced before the commit": Mutation(
        _announce_at_once,
        SQLITE,
        "integration/test_running.py::test_nothing_happens_of_what_was_rolled_back",
        "assert .*UUID",
    ),
    "leavers take room": Mutation(
        _patch("jobs.admission.queries.without_slot_sql", lambda words: "(SELECT 0 WHERE %s < 0)"),
        SQLITE,
        "integration/test_workers.py::test_a_worker_that_leaves_ends_what_it_runs_and_gives_back_the_rest",
        "JobNotFinished",
    ),
    "no order of doorbells": Mutation(
        _in_the_order_found,
        POSTGRES,
        "integration/test_limits.py::test_doorbells_of_one_admission_ring_in_the_order_of_rank",
        "assert",
    ),
    "no fence at the end": Mutation(
        _no_fence_at_the_end,
        FAULTS,
        "faults/test_workers.py::test_a_worker_that_stood_still_changes_nothing_and_begins_anew",
        "the refusal",
    ),
    "no fence at the claim": Mutation(
        _patch("jobs.execution.claims.FENCE", "id = %s AND %s IS NOT NULL"),
        FAULTS,
        "faults/test_broker.py::test_the_doorbell_of_a_bygone_admission_starts_nothing",
        "'claim' != 'release'",
    ),
    "the dead may claim": Mutation(
        _patch("jobs.execution.claims._NOT_FENCED", " AND %s IS NOT NULL"),
        FAULTS,
        "faults/test_workers.py::test_a_fenced_worker_cannot_claim",
        "'claim' != 'release'",
    ),
    "deaf to its own death": Mutation(
        _deaf_to_its_own_death,
        FAULTS,
        "faults/test_workers.py::test_a_worker_that_stood_still_changes_nothing_and_begins_anew",
        "the new life",
    ),
    "a verdict without a look": Mutation(
        _fence_whoever_was_stale,
        FAULTS,
        "faults/test_stewards.py::test_a_steward_that_stood_still_fences_nobody_who_has_beaten_since",
        "assert True is False",
    ),
    "no fence at the rescue": Mutation(
        _rescue_whatever_runs_now,
        FAULTS,
        "faults/test_stewards.py::test_a_steward_that_stood_still_takes_back_no_later_attempt",
        "assert 1 == 0",
    ),
    "count what was not seen": Mutation(
        _count_what_was_not_seen,
        FAULTS,
        "faults/test_database.py::test_an_outage_of_forty_seconds_rescues_nobody",
        "lost",
    ),
    "record once": Mutation(
        _patch("jobs.execution.finishing.FINISH_WITHIN", -1),
        FAULTS,
        "faults/test_database.py::test_a_database_that_is_away_at_the_end_of_a_body_gets_the_outcome_later",
        "lost",
    ),
    "publish once": Mutation(
        _patch("jobs.maintenance.republisher.publish", lambda: 0),
        FAULTS,
        "faults/test_submitting.py::test_who_dies_after_the_commit_has_submitted[publishing]",
        "the end of all",
    ),
    "trust the broker": Mutation(
        _patch("jobs.maintenance.lost_messages.release", lambda: 0),
        FAULTS,
        "faults/test_broker.py::test_a_broker_that_forgets_everything_loses_no_job",
        "the end of all",
    ),
    "wait for Celery": Mutation(
        _patch("jobs.worker.heartbeat._is_dead", lambda pid: False),
        FAULTS,
        "faults/test_children.py::test_a_killed_child_costs_one_attempt",
        "< 2",
    ),
    "knock patiently": Mutation(
        _knock_patiently,
        FAULTS,
        "faults/test_broker.py::test_jobs_are_submitted_while_the_broker_is_down",
        "< 2",
    ),
    "no breaker": Mutation(
        _patch("jobs.admission.publishing._OPEN_FOR", (0.0,)),
        FAULTS,
        "faults/test_broker.py::test_submitting_to_a_broker_that_hangs_takes_little[connected]",
        "assert 10 < 10",
    ),
    "no second look": Mutation(
        _no_second_look,
        UNIT,
        f"{_GUARD}test_who_ended_between_the_look_and_the_blow_goes_on",
        "another job's process",
    ),
    "no look at the age": Mutation(
        _patch("jobs.worker.guard.kill._is_old_enough", lambda process, holder: True),
        UNIT,
        f"{_GUARD}test_a_stranger_is_not_even_frozen",
        "too late to ask",
    ),
    "frozen for ever": Mutation(
        _never_let_go,
        UNIT,
        f"{_GUARD}test_one_that_holds_it_no_more_goes_on",
        "assert not",
    ),
    "no name for the dead": Mutation(
        _name_no_verdict,
        UNIT,
        "unit/worker/test_heartbeat.py::test_who_was_stopped_on_purpose_is_named_so",
        "'pending'",
    ),
    "Celery's own shutdown": Mutation(
        _celerys_own_shutdown,
        FAULTS,
        "faults/test_shutdowns.py::test_what_a_shutdown_stops_was_interrupted[cold]",
        "(the outcome|Retry|cancelled)",
    ),
    "a clean-up has its way": Mutation(
        _let_the_clean_up_have_its_way,
        FAULTS,
        "faults/test_stopping.py::test_who_fails_to_clean_up_ends_all_the_same",
        "the end of all",
    ),
    "orphans live on": Mutation(
        _patch("jobs.worker.guard.descendants.remember", lambda pid: None),
        FAULTS,
        "faults/test_stopping.py::test_the_processes_of_a_stopped_job_end_with_it[TERM]",
        "the end of its child",
    ),
    "TERM whatever it is": Mutation(
        _patch("jobs.worker.guard.guard.TERM", signal.SIGTERM),
        FAULTS,
        "faults/test_stopping.py::test_a_remapped_term_lets_it_clean_up_as_well",
        "assert",
    ),
    "Celery's own limits": Mutation(
        _celerys_own_limits,
        FAULTS,
        "faults/test_stopping.py::test_celerys_own_limits_do_not_reach_a_job",
        "assert",
    ),
    "no eye on the memory": Mutation(
        _patch("jobs.worker.sampler.begin", lambda board: None),
        FAULTS,
        "faults/test_resources.py::test_a_job_that_never_lets_go_of_the_interpreter_and_eats_memory_is_stopped",
        "the end of all",
    ),
    "one look is proof": Mutation(
        _believe_one_look,
        UNIT,
        "unit/worker/test_sampler.py::test_one_look_is_no_proof",
        "assert",
    ),
    "nobody holds a directory": Mutation(
        _patch(
            "jobs.execution.resources.tmpdirs.fcntl",
            SimpleNamespace(flock=lambda *_: None, LOCK_SH=0, LOCK_EX=0, LOCK_NB=0),
        ),
        UNIT,
        "unit/execution/resources/test_tmpdirs.py::test_one_that_another_process_holds_stays_until_that_is_dead",
        "assert 1 == 0",
    ),
    "no look behind the lock": Mutation(
        _patch("jobs.execution.resources.tmpdirs._is_at", lambda path, descriptor: True),
        UNIT,
        "unit/execution/resources/test_tmpdirs.py::test_a_sweeper_between_making_and_holding_is_noticed",
        "assert False",
    ),
    "no guard": Mutation(
        _patch("jobs.worker.guard.guard.Guard._look", lambda self: None),
        FAULTS,
        "faults/test_stopping.py::test_a_busy_loop_in_c_is_stopped_by_force",
        "its death",
    ),
    "a fallback without its mark": Mutation(
        _settle_whatever_the_mark_says,
        POSTGRES,
        f"{_JUDGING}test_four_that_would_submit_the_same_fallbacks_submit_each_once",
        r"I8: \d+ fallbacks for 1",
    ),
    "no fallback but at once": Mutation(
        _patch("jobs.workflows.fallbacks.submit_due", lambda: 0),
        FAULTS,
        "faults/test_failing.py::test_a_fallback_is_not_lost_with_who_failed_the_job",
        "the fallback",
    ),
    "once may be twice": Mutation(
        _patch("jobs.execution.back_to_queue._MAY_RUN_AGAIN", ""),
        SQLITE,
        f"{_JUDGING}test_what_may_run_once_runs_once[snooze-lost]",
        "the end of",
    ),
    "expired may start": Mutation(
        _patch("jobs.execution.claims._NOT_EXPIRED", ""),
        "unit",
        "unit/maintenance/test_expiry.py::test_it_is_never_claimed_too_late_however_late_the_steward_is",
        "assert",
    ),
    "expired may wait": Mutation(
        _patch("jobs.maintenance.expiry.steps", lambda: iter(())),
        SQLITE,
        f"{_JUDGING}test_what_is_not_started_in_time_never_is",
        "the end of",
    ),
    "failed in spite of a request": Mutation(
        _patch("jobs.execution.outcomes._NO_CANCEL_REQUEST", ""),
        "unit",
        "unit/execution/test_outcomes.py::test_a_request_between_the_choice_and_the_move_is_not_passed_over[0]",
        "assert",
    ),
    "one feeder for life": Mutation(
        _one_feeder_for_life,
        FAULTS,
        "faults/test_children.py::test_a_killed_feeder_is_started_again",
        "the end of all",
    ),
    "local clock": Mutation(
        _local_clock,
        POSTGRES,
        "integration/test_clock.py::test_a_process_whose_clock_is_wrong_is_right[600]",
        "assert",
    ),
    "no reconciliation": Mutation(
        _patch("jobs.maintenance.drift.reconcile", lambda: 0),
        FAULTS,
        "faults/test_drift.py::test_what_ran_on_a_worker_whose_row_was_deleted_is_taken_back",
        "the end of all",
    ),
    "a worker without a row": Mutation(
        _patch("jobs.maintenance.drift.timedelta", lambda seconds: timedelta()),
        UNIT,
        "unit/maintenance/test_drift.py::test_running_on_a_worker_that_has_no_row_yet",
        "worker_gone",
    ),
    "once is lost": Mutation(
        _once_is_lost,
        UNIT,
        f"{_PULSE}test_a_job_that_memory_does_not_know_twice_in_a_row_is_lost",
        "pending",
    ),
    "memory first": Mutation(
        _memory_first,
        UNIT,
        f"{_PULSE}test_what_begins_while_the_rows_are_read_is_no_suspect",
        "assert",
    ),
    "keep what was fetched": Mutation(
        _patch("jobs.worker.heartbeat.release", lambda *_: []),
        UNIT,
        f"{_PULSE}test_what_was_not_begun_is_given_back_when_the_worker_leaves",
        "queued",
    ),
    "keep what was taken": Mutation(
        _keep_what_was_taken,
        SQLITE,
        "integration/test_reception.py::test_what_was_taken_and_not_begun_is_put_back",
        "not enough values",
    ),
    "whoever can stop": Mutation(
        _whoever_can_stop,
        UNIT,
        "unit/maintenance/test_timeouts.py::test_others_are_left_alone",
        "assert 1 == 0",
    ),
    "the last request counts": Mutation(
        _the_last_request_counts,
        UNIT,
        "unit/control/test_cancellation.py::test_the_first_request_stands",
        "assert",
    ),
    "prune within a live tree": Mutation(
        _patch("jobs.maintenance.job_trees._is_over", lambda *_: True),
        UNIT,
        "unit/maintenance/test_pruner.py::test_a_tree_stays_as_a_whole_while_one_member_must",
        "assert",
    ),
    "prune without a look": Mutation(
        _patch("jobs.maintenance.job_trees.lock", lambda ids, kept: dict.fromkeys(ids, "failed")),
        UNIT,
        "unit/maintenance/test_pruner.py::test_a_job_that_has_run_and_ended_anew_meanwhile_stays",
        "assert",
    ),
    "prune below the new-born": Mutation(
        _patch("jobs.maintenance.job_trees.with_children", lambda ids: set()),
        UNIT,
        "unit/maintenance/test_pruner.py::test_a_job_put_under_one_that_was_chosen_keeps_it",
        ".*",
    ),
}

# Which mutations take away which guard; each stands in one place.
GUARDS: dict[str, tuple[str, ...]] = {
    "source in the WHERE": ("no source states",),
    "attempt fence": ("no fence at the end", "no fence at the claim", "no fence at the rescue"),
    "worker fence": (
        "the dead may claim",
        "deaf to its own death",
        "a verdict without a look",
        "count what was not seen",
    ),
    "unique active key": ("no unique key", "no bound on a key's wait"),
    "pool lock": ("no admission lock", "count before the lock", "no last look", "take from any lane"),
    "shared limits": (
        "no system-wide lock",
        "no lock of a shared limit",
        "count one pool",
        "no lock of a partition",
        "partitions in any order",
    ),
    "limits": (
        "rates stand still",
        "no reservation",
        "writers starve",
        "a lane of readers is one",
        "a rate before a slot",
        "leavers take room",
        "no order of doorbells",
    ),
    "turns with large jobs": ("no turn with large jobs", "large jobs by rank alone"),
    "fair share": ("one tenant before the others",),
    "reconciler": ("no steward", "publish once", "trust the broker", "no reconciliation", "a worker without a row"),
    "database clock": ("local clock",),
    "a person's wish": ("no wish of a person", "the last request counts"),
    "pausing": (
        "pause a task, lock no pool",
        "a checkpoint of anybody",
        "end without a lock",
        "a pause hides a failure",
    ),
    "hooks": ("hooks of anybody",),
    "foreign messages": ("take any message", "an unknown task as Celery has it"),
    "commit before word": ("announced before the commit",),
    "outcome kept": ("record once",),
    "dead processes": ("wait for Celery", "one feeder for life", "once is lost", "memory first"),
    "what was not begun": ("keep what was fetched", "keep what was taken"),
    "broker away": ("knock patiently", "no breaker"),
    "deadlocks and collations": ("a deadlock is the end", "collations of the host", "from left to right"),
    "stopping": (
        "no guard",
        "no second look",
        "no look at the age",
        "frozen for ever",
        "no name for the dead",
        "Celery's own shutdown",
        "a clean-up has its way",
        "orphans live on",
        "TERM whatever it is",
        "Celery's own limits",
        "whoever can stop",
    ),
    "resources": (
        "no eye on the memory",
        "one look is proof",
        "nobody holds a directory",
        "no look behind the lock",
    ),
    "fallback": ("a fallback without its mark", "no fallback but at once", "failed in spite of a request"),
    "at most once": ("once may be twice",),
    "expiry": ("expired may start", "expired may wait"),
    "retention": ("prune within a live tree", "prune without a look", "prune below the new-born"),
}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
