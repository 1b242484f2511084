"""The commands: what they print and change, dry runs that tell the truth, and exit codes 0, 1, 2."""

from __future__ import annotations

import io
import json
import os
import pwd
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.core.management import ManagementUtility, call_command, get_commands, load_command_class
from django.core.management.base import CommandError
from django.db import connection
from django.db.models import F
from django.test.utils import CaptureQueriesContext

from jobs import job, job_manager
from jobs.execution import termination
from jobs.maintenance.steward import Steward
from jobs.management import arguments, output
from jobs.management.bulk_command import BulkCommand
from jobs.models import Attempt, Job, JobEvent, JobLog, Lease, Limit, Pool, TaskPause
from jobs.states import JobState
from tests.app import people, stages

pytestmark = pytest.mark.django_db

OURS = [
    f"jobs_{verb}"
    for verb in ("submit", "list", "show", "why", "cancel", "retry", "cleanup", "steward", "pool", "limits")
]
DAY = 86_400
USER = pwd.getpwuid(os.getuid()).pw_name


@job(name="commands.greet")
def greet(name: str, *, loudly: bool = False) -> None: ...


@job(name="commands.nothing")
def nothing() -> None: ...


@dataclass
class Run:
    """What a command did: its exit code and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        return json.loads(self.out)


def run(name: str, *words: object) -> Run:
    """A command as the shell runs it: arguments are words, errors become exit codes."""
    out, err = io.StringIO(), io.StringIO()
    command = load_command_class("jobs", name)
    parser = command.create_parser("manage.py", name)
    parser.called_from_command_line = True
    try:
        options = vars(parser.parse_args([str(word) for word in words]))
        positional = options.pop("args", ())
        command.execute(*positional, **{**options, "stdout": out, "stderr": err, "skip_checks": True})
    except CommandError as error:
        return Run(error.returncode, out.getvalue(), f"{err.getvalue()}{error}")
    except SystemExit as end:
        return Run(int(end.code or 0), out.getvalue(), err.getvalue())
    return Run(0, out.getvalue(), err.getvalue())


@pytest.fixture
def older(clock: stages.Clock) -> Callable[[str, float], Job]:
    """`older("failed", 3600)`: a job that ended so many seconds ago."""

    def make(state: str, seconds: float) -> Job:
        row = stages.put(job_manager.submit(nothing), state)
        Job.objects.filter(pk=row.pk).update(finished_at=clock.moment - timedelta(seconds=seconds))
        return stages.fresh(row)

    return make


def states(rows: list[Job]) -> list[str]:
    return [stages.fresh(row).state for row in rows]


# --- all of them -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OURS)
def test_every_command_is_there_and_explains_itself(name: str) -> None:
    assert get_commands()[name] == "jobs"
    help_text = load_command_class("jobs", name).create_parser("manage.py", name).format_help()
    assert len(load_command_class("jobs", name).help) > 10
    assert "--json" in help_text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["jobs_list", "--state", "faild"], "Did you mean 'failed'?"),
        (["jobs_list", "--status", "queued"], "is no status"),
        (["jobs_list", "--limit", "0"], "from 1 to 100,000"),
        (["jobs_list", "--limit", "²"], "from 1 to 100,000"),
        (["jobs_show", "nonsense"], "is no job id"),
        (["jobs_show"], "required: ID"),
        (["jobs_why", "nonsense"], "is no job id"),
        (["jobs_cancel"], "ids of the jobs to cancel"),
        (["jobs_retry"], "ids of the jobs to retry"),
        (["jobs_cancel", str(uuid4()), "--state", "failed"], "and not both"),
        (["jobs_cancel", "--state", "pending", "--batch", "-1"], "from 1 to 100,000"),
        (["jobs_cleanup", "--state", "running"], "is no final state"),
        (["jobs_cleanup", "--older-than", "soon"], "write 30d, 12h, 45m or 90s"),
        (["jobs_cleanup", "--older-than", "30"], "write 30d"),
        (["jobs_cleanup", "--older-than", "-1d"], ""),
        (["jobs_cleanup", "--older-than", "999999999w"], "at most 100 years"),
        (["jobs_submit", "commands.greet", "--args", "[1"], "is not JSON"),
        (["jobs_submit", "commands.greet", "--args", "{}"], "not an array"),
        (["jobs_submit", "commands.greet", "--kwargs", "[]"], "not an object"),
        (["jobs_submit", "commands.greet", "--args", "[" * 100_000], "is not JSON"),
        (["jobs_submit"], "required: task"),
        (["jobs_pool", "puase", "default"], "Did you mean 'pause'?"),
        (["jobs_pool", "show"], "required: NAME"),
        (["jobs_pool", "show", "default", "--reason", "x"], "not with show"),
    ],
)
def test_wrong_usage_ends_with_2(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    ended = run(*words)
    assert ended.code == 2
    assert said in ended.err + capsys.readouterr().err


def test_the_shell_sees_the_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    for words, code in ((["jobs_cancel"], 2), (["jobs_show", str(uuid4())], 1), (["jobs_list", "--state", "x"], 2)):
        with pytest.raises(SystemExit) as end:
            ManagementUtility(["manage.py", *words]).execute()
        assert end.value.code == code
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("45m", 2700), ("12h", 43_200), ("30d", 30 * DAY), ("1.5h", 5400), ("0s", 0)]
)
def test_durations(text: str, seconds: float) -> None:
    assert arguments.duration(text) == seconds


# --- submit ----------------------------------------------------------------------------------------------------------


def test_submit_makes_the_job_that_was_described() -> None:
    ended = run(
        "jobs_submit",
        "commands.greet",
        "--args",
        '["Ada"]',
        "--kwargs",
        '{"loudly": true}',
        "--priority",
        "HIGH",
        "--owner",
        "ada",
        "--operation-type",
        "analysis",
        "--external-id",
        "e",
        "--project-id",
        "p",
        "--session-id",
        "s",
        "--batch-id",
        "b",
        "--tag",
        "x",
        "--tag",
        "y",
        "--metadata",
        '{"n": 1}',
        "--max-retries",
        "3",
        "--json",
    )
    assert ended.code == 0
    row = Job.objects.get(pk=ended.data["job_id"])
    assert ended.data == {
        "answer": "JOB_CREATED",
        "job_id": str(row.id),
        "state": "pending",
        "task": "commands.greet",
        "key": None,
    }
    assert (row.args, row.kwargs, row.priority, row.owner) == (["Ada"], {"loudly": True}, "high", "ada")
    assert (row.operation_type, row.external_id, row.project_id) == ("analysis", "e", "p")
    assert (row.session_id, row.batch_id, row.tags, row.metadata) == ("s", "b", ["x", "y"], {"n": 1})
    assert row.max_retries == 3


def test_submit_with_a_key_finds_the_job_that_has_it() -> None:
    first, second = (run("jobs_submit", "commands.nothing", "--key", "castle") for _ in range(2))
    assert first.code == second.code == 0
    assert Job.objects.get().key == "castle"
    assert second.out.startswith(first.out.split()[0])
    assert "(already there)" in second.out
    assert "(already there)" not in first.out


def test_submit_later_or_held(clock: stages.Clock) -> None:
    later = run("jobs_submit", "commands.nothing", "--delay", "2h", "--json").data
    held = run("jobs_submit", "commands.nothing", "--hold", "--json").data
    assert (later["state"], held["state"]) == ("scheduled", "paused")
    assert Job.objects.get(pk=later["job_id"]).run_after == clock.moment + timedelta(hours=2)


@pytest.mark.parametrize(
    "words",
    [
        ["commands.greet"],
        ["commands.greet", "--args", '["Ada", 2]'],
        ["commands.greet", "--kwargs", '{"nme": 1}'],
        ["commands.greet", "--args", "[NaN]"],
        ["commands.greet", "--args", r'["\u0000"]'],
        ["commands.nothing", "--priority", "urgent"],
        ["commands.nothing", "--pool", "defalt"],
        ["commands.nothing", "--max-retries", "-1"],
        ["commands.nothing", "--operation-type", "x"],
        ["commands.nothing", "--key", "x" * 1001],
    ],
)
def test_what_submit_refuses_ends_with_1_and_writes_nothing(words: list[str]) -> None:
    ended = run("jobs_submit", *words)
    assert ended.code == 1
    assert len(ended.err) > 20
    assert not Job.objects.exists()


def test_an_unknown_task_is_accepted_with_a_warning() -> None:
    ended = run("jobs_submit", "commands.nothin")
    assert ended.code == 0
    assert "Did you mean 'commands.nothing'?" in ended.err
    assert Job.objects.get().task == "commands.nothin"


# --- list and show ---------------------------------------------------------------------------------------------------


def test_list_prints_a_table_newest_first() -> None:
    rows = job_manager.submit_many(greet, [(["Ada"], {})] * 3)
    lines = run("jobs_list", "--limit", 2).out.splitlines()
    assert lines[0].split() == [
        "id",
        "state",
        "task",
        "key",
        "priority",
        "progress",
        "attempt",
        "duration",
        "created",
    ]
    assert [line.split()[0] for line in lines[1:]] == [str(rows[2].id), str(rows[1].id)]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ([], {0, 1, 2}),
        (["--state", "failed"], {0}),
        (["--state", "FAILED", "--state", "pending"], {0, 1, 2}),
        (["--status", "pending"], {1, 2}),
        (["--task", "commands.nothing"], {0, 1}),
        (["--key", "castle"], {2}),
        (["--owner", "ada"], {1}),
        (["--pool", "default", "--state", "failed"], {0}),
        (["--key", "castle", "--state", "failed"], set()),
        (["--category", "disk"], {0}),
        (["--category", ""], set()),
        (["--fingerprint", "0123456789abcdef"], {0}),
        (["--fingerprint", ""], set()),
    ],
)
def test_each_filter_chooses_what_it_names(words: list[str], found: set[int]) -> None:
    failed = stages.put(
        job_manager.submit(nothing), "failed", error_fingerprint="0123456789abcdef", error_category="disk"
    )
    rows = [failed, job_manager.submit(nothing, owner="ada")]
    rows.append(job_manager.run_job("castle", greet, ["Ada"]).job)
    listed = {entry["job_id"] for entry in run("jobs_list", "--json", *words).data}
    assert listed == {str(rows[index].id) for index in found}


def test_an_empty_list_is_no_data() -> None:
    assert run("jobs_list").out == ""
    assert run("jobs_list", "--json").data == []


def test_failures_that_are_alike_are_counted() -> None:
    assert run("jobs_list", "--groups").out == ""
    columns = {"error_category": "disk", "error_type": "OSError", "error_message": "full\x1b[31m"}
    rows = [stages.put(job_manager.submit(nothing), "failed", error_fingerprint=mark, **columns) for mark in "aba"]
    shown = run("jobs_list", "--groups").out.splitlines()
    assert shown[0].split() == ["count", "category", "last", "fingerprint", "newest", "job", "error"]
    assert [line.split()[0] for line in shown[1:]] == ["2", "1"]
    assert str(rows[2].id) in shown[1]
    assert "OSError: full\ufffd[31m" in shown[1]
    first, other = run("jobs_list", "--groups", "--json", "--category", "disk").data
    assert (first["fingerprint"], first["count"], first["job_id"]) == ("a", 2, str(rows[2].id))
    assert (other["category"], other["type"], other["count"]) == ("disk", "OSError", 1)
    assert run("jobs_list", "--groups", "--json", "--task", "commands.greet").data == []


def test_show_tells_what_bounds_it_and_why_it_ended() -> None:
    row = job_manager.submit(nothing, timeout=300, grace=5, memory_mb=64, expires=3600)
    claimed = stages.claim(row)
    job_manager.stop(row.id, ValueError("wrong file"))
    termination.end_attempt(
        (row.id, claimed.row["attempt_id"]), termination.Termination("cancel", "it did not end"), "here"
    )
    shown = run("jobs_show", row.id).out
    for text in (
        "time-out:         5 min 00 s",
        "grace:            5.0 s",
        "memory declared:  64 MB",
        "expires:",
        "category:         stopped",
        f"fingerprint:      {stages.fresh(row).error_fingerprint}",
        "“wrong file”",
        "it did not end",
    ):
        assert text in shown
    data = run("jobs_show", row.id, "--json").data
    assert (data["timeout"], data["grace"], data["memory_mb"], data["cancel_force"]) == (300, 5, 64, False)


def test_show_tells_the_story_without_its_secrets() -> None:
    row = job_manager.submit("commands.greet", ["Ada"], {"loudly": True}, metadata={"password": "hunter2"})

    def body(*_: Any, **__: Any) -> None:
        raise ValueError("the third row has no date")

    stages.perform(row, body)
    JobLog.objects.create(job=row, at=row.created_at, text="row three read")
    Attempt.objects.filter(job=row).update(cpu_seconds=1.2, average_cpu=85, peak_disk_mb=0.2)
    shown = run("jobs_show", row.id).out
    for text in (
        str(row.id),
        "failed",
        "Ada",
        "the third row has no date",
        "Traceback",
        "row three read",
        "claim",
        "1.2 s of CPU, 85 % of a core, under 1 MB of disk",
    ):
        assert text in shown
    assert "hunter2" not in shown
    data = run("jobs_show", row.id, "--json").data
    assert data["metadata"] == {"password": "••••••"}
    assert (data["state"], data["args"], data["kwargs"]) == ("failed", ["Ada"], {"loudly": True})
    assert [event["name"] for event in data["events"]] == ["create", "admit", "claim", "fail"]
    assert data["attempts"][0]["error_type"] == "ValueError"
    assert (data["attempts"][0]["cpu_seconds"], data["attempts"][0]["peak_disk_mb"]) == (1.2, 0.2)
    assert data["log"][0]["text"] == "row three read"


def test_why_tells_each_reason_and_who_holds_what(clock: stages.Clock) -> None:
    Pool.objects.update(max_concurrent=1)
    busy, row = job_manager.run_job("nightly", nothing).job, job_manager.submit(nothing)
    stages.claim(busy)
    assert run("jobs_why", row.id).out.splitlines() == [
        f"{row.id} is pending.",
        "- No worker serves pool “default” just now.",
        "    celery -A jobcenter worker -Q default -c 4",
        "- Pool “default” may have 1 job in flight at once, and 1 is.",
        f"    held by {busy.id}  commands.nothing  nightly  running",
    ]
    data = run("jobs_why", row.id, "--json").data
    assert (data["job_id"], data["state"], data["position"]) == (str(row.id), "pending", {"number": 0, "more": False})
    assert [reason["kind"] for reason in data["reasons"]] == ["no_worker", "pool_limit"]
    assert data["reasons"][1]["holders"] == [
        {"id": str(busy.id), "task": "commands.nothing", "key": "nightly", "state": "running"}
    ]


@pytest.mark.parametrize("name", ["jobs_show", "jobs_why"])
def test_no_job_ends_with_1(name: str) -> None:
    ended = run(name, missing := uuid4())
    assert ended.code == 1
    assert str(missing) in ended.err


def test_what_a_job_says_cannot_steer_a_terminal() -> None:
    escape = "\x1b]0;title\x07\r\x9b31m"
    row = job_manager.submit(f"x{escape}", [escape], owner=escape)
    waiting = job_manager.submit("x", metadata={"by": escape}, partition_by="by", max_concurrent=1)
    job_manager.pause_pool("default", escape, actor=escape)
    Job.objects.filter(pk=waiting.pk).update(task=f"y{escape}")
    stages.put(
        row, "running", queued_at=row.created_at, key=escape, message=escape, stage=escape, live_state={escape: escape}
    )
    for ended in (
        run("jobs_list"),
        run("jobs_show", row.id),
        run("jobs_list", "--json"),
        run("jobs_show", row.id, "--json"),
        run("jobs_why", row.id),
        run("jobs_why", row.id, "--json"),
        run("jobs_why", waiting.id),
        run("jobs_why", waiting.id, "--json"),
    ):
        assert ended.code == 0
        assert not {"\x1b", "\x07", "\r", "\x9b"} & set(ended.out)


@pytest.mark.parametrize("state", list(JobState))
def test_hostile_jobs_can_be_shown(state: str) -> None:
    row = people.hostile_job(state)
    assert str(row.id) in run("jobs_list").out
    assert people.MARK in run("jobs_show", row.id).out
    assert f"{row.id} is {state}." in run("jobs_why", row.id).out


def test_a_table_is_as_wide_as_it_must_be() -> None:
    assert output.table(("a", "b"), [("x", None), ("longer", "y" * 70)]) == f"a       b\nx       –\nlonger  {'y' * 59}…"


# --- cancel and retry ------------------------------------------------------------------------------------------------


def mixed() -> list[Job]:
    """A failed job whose key an unfinished one has, one job at each state, and two failed ones that share a key."""
    stages.put(job_manager.run_job("gate", nothing).job, "failed")
    job_manager.run_job("gate", greet, ["Ada"])
    rows = [stages.put(job_manager.submit(nothing), state) for state in JobState]
    return rows + [stages.put(job_manager.run_job("castle", nothing).job, "failed") for _ in range(2)]


FILTER = ["--task", "commands.nothing"]


@pytest.mark.parametrize("command", ["jobs_cancel", "jobs_retry", "jobs_pause", "jobs_resume"])
@pytest.mark.parametrize("by", ["filter", "ids"])
@pytest.mark.parametrize("batch", [1, 3, 100])
def test_a_dry_run_changes_nothing_and_tells_exactly_what_would_be(command: str, by: str, batch: int) -> None:
    rows = mixed()
    words = [*FILTER, "--pool", "default"] if by == "filter" else [row.id for row in rows] + [uuid4()]
    before = list(Job.objects.order_by("id").values()), JobEvent.objects.count()
    dry = run(command, *words, "--dry-run", "--json", "--batch", batch)
    assert (list(Job.objects.order_by("id").values()), JobEvent.objects.count()) == before
    wet = run(command, *words, "--json", "--batch", batch)
    assert dry.data == {**wet.data, "dry_run": True}
    assert dry.code == wet.code == (1 if by == "ids" else 0)
    assert (list(Job.objects.order_by("id").values()), JobEvent.objects.count()) != before


def test_pause_and_resume_by_filter_and_by_id() -> None:
    rows = mixed()
    ended = run("jobs_pause", *FILTER, "--pool", "default", "--reason", "maintenance")
    assert ended.out == "4 paused\n1 running: paused at their next checkpoint\n"
    held = stages.fresh(rows[0])
    assert (held.state, held.reason, held.paused_by) == ("paused", "maintenance", f"{USER} (jobs_pause)")
    refused = run("jobs_pause", rows[6].id)
    assert refused.code == 1
    assert refused.out == "1 not paused: they have ended, are about to be cancelled, or run at most once\n"
    assert run("jobs_resume", *FILTER, "--state", "paused", "--state", "running").out == "6 resumed\n"
    assert run("jobs_resume", rows[0].id).code == 1


def test_a_task_alone_is_paused_as_such() -> None:
    row = job_manager.submit(nothing)
    dry = run("jobs_pause", *FILTER, "--dry-run", "--json")
    assert dry.data == {"dry_run": True, "task": "commands.nothing", "changed": True, "paused": False}
    assert not TaskPause.objects.exists()
    ended = run("jobs_pause", *FILTER, "--reason", "maintenance")
    assert ended.out == "task commands.nothing: paused: none of its jobs start until it is resumed\n"
    assert "was paused already" in run("jobs_pause", *FILTER).out
    assert run("jobs_pause", *FILTER, "--json").data == {
        "dry_run": False,
        "task": "commands.nothing",
        "changed": False,
        "paused": True,
    }
    assert (TaskPause.objects.get().paused_by, stages.fresh(row).state) == (f"{USER} (jobs_pause)", "pending")
    assert run("jobs_resume", *FILTER, "--dry-run").out.endswith("task commands.nothing: resumed\n")
    assert run("jobs_resume", *FILTER).out == "task commands.nothing: resumed\n"
    assert "was not paused" in run("jobs_resume", *FILTER).out
    missing = run("jobs_pause", "--task", "commands.nothnig")
    assert missing.code == 1
    assert "Did you mean 'commands.nothing'" in missing.err


def test_a_pool_alone_is_paused_as_such() -> None:
    assert run("jobs_pause", "--pool", "default", "--dry-run").code == 0
    assert Pool.objects.get(name="default").paused_at is None
    assert "pool default: paused" in run("jobs_pause", "--pool", "default", "--reason", "maintenance").out
    assert Pool.objects.get(name="default").pause_reason == "maintenance"
    assert "pool default: resumed" in run("jobs_resume", "--pool", "default").out
    assert run("jobs_pause", "--pool", "defautl").code == 1


def test_cancel_by_filter_takes_only_what_has_not_ended() -> None:
    rows = mixed()
    ended = run("jobs_cancel", *FILTER, "--reason", "no longer needed")
    assert ended.out == "5 cancelled\n1 asked to stop\n"
    assert states(rows) == [
        *["cancelled"] * 4,
        "running",
        "cancelled",
        "completed",
        "failed",
        "cancelled",
        "failed",
        "failed",
    ]
    cancelled = stages.fresh(rows[0])
    assert (cancelled.reason, cancelled.cancel_requested_by) == ("no longer needed", f"{USER} (jobs_cancel)")


@pytest.mark.parametrize(
    ("command", "state", "event"),
    [
        ("jobs_cancel", "pending", "cancel"),
        ("jobs_pause", "pending", "pause"),
        ("jobs_resume", "paused", "resume"),
        ("jobs_retry", "failed", "requeue"),
    ],
)
def test_a_command_names_who_asks_and_why(command: str, state: str, event: str) -> None:
    rows = [stages.put(job_manager.submit(nothing), state) for _ in range(2)]
    run(command, rows[0].id, "--reason", "wrong file")
    run(command, rows[1].id, "--by", "ada")
    told = [JobEvent.objects.values("actor", "data").get(job=row, name=event) for row in rows]
    assert told == [
        {"actor": f"{USER} ({command})", "data": {"reason": "wrong file"}},
        {"actor": f"ada ({command})", "data": {}},
    ]


def test_a_user_without_a_name_is_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "root")
    monkeypatch.setattr("os.getuid", lambda: 2**31 - 7)
    run("jobs_pool", "pause", "default")
    assert Pool.objects.get(name="default").paused_by == f"user {2**31 - 7} (jobs_pool)"


def test_cancel_goes_from_new_to_old_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = job_manager.submit_many(nothing, [((), {})] * 5)
    run("jobs_cancel", "--state", "pending", "--batch", 2)
    order = JobEvent.objects.filter(name="cancel").order_by("id").values_list("job_id", flat=True)
    newest_first = [row.id for row in rows[::-1]]
    assert [set(order[start : start + 2]) for start in (0, 2, 4)] == [
        set(newest_first[start : start + 2]) for start in (0, 2, 4)
    ]


def test_retry_by_filter_is_oldest_first_and_gives_a_key_to_one() -> None:
    rows = mixed()
    ended = run("jobs_retry", *FILTER)
    assert ended.code == 0
    assert ended.out == "2 not retried: their key is taken\n3 queued again\n"
    assert states(rows)[-4:] == ["pending", "pending", "pending", "failed"]


def test_ids_that_refuse_end_with_1_and_the_rest_is_done() -> None:
    rows = job_manager.submit_many(nothing, [((), {})] * 2)
    missing = uuid4()
    ended = run("jobs_cancel", rows[0].id, missing, rows[1].id, rows[1].id)
    assert ended.code == 1
    assert f"Refused or not found: {missing}." in ended.err
    assert ended.out == "2 cancelled\n1 not there\n"
    assert states(rows) == ["cancelled", "cancelled"]
    assert run("jobs_cancel", rows[0].id).code == 0  # repeating is harmless
    assert run("jobs_retry", stages.put(rows[0], "completed").id).code == 1


def test_nothing_to_do_is_no_error() -> None:
    assert run("jobs_cancel", "--state", "paused").out == "0 jobs\n"
    assert run("jobs_retry", "--state", "completed").out == "0 jobs\n"


def test_an_interruption_tells_what_was_done(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = job_manager.submit_many(nothing, [((), {})] * 4)
    monkeypatch.setattr(BulkCommand, "_progress", _interrupted_after_the_first())
    ended = run("jobs_cancel", "--state", "pending", "--batch", 3)
    assert ended.code == 1
    assert ended.out == "3 cancelled\n"
    assert "Interrupted" in ended.err
    assert states(rows) == ["pending", *["cancelled"] * 3]


def _interrupted_after_the_first() -> Callable[..., None]:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    return interrupt


# --- cleanup ---------------------------------------------------------------------------------------------------------


def test_cleanup_deletes_what_is_older_and_final(older: Callable[[str, float], Job]) -> None:
    for state in ("completed", "failed", "cancelled"):
        for days in (1, 3):
            older(state, days * DAY)
    running = job_manager.submit(nothing)
    dry = run("jobs_cleanup", "--older-than", "2d", "--dry-run", "--json")
    assert dry.data == {
        "dry_run": True,
        "deleted": 3,
        "by_state": dict.fromkeys(("completed", "failed", "cancelled"), 1),
        "older_than": dict.fromkeys(("completed", "failed", "cancelled"), 2 * DAY),
    }
    assert Job.objects.count() == 7
    with CaptureQueriesContext(connection) as captured:
        assert run("jobs_cleanup", "--older-than", "2d", "--batch", 2).out == "3 jobs deleted\n"
    assert len([one for one in captured.captured_queries if one["sql"].startswith('DELETE FROM "jobs_job"')]) == 3
    assert Job.objects.filter(pk=running.pk).exists()
    assert Job.objects.count() == 4
    assert run("jobs_cleanup", "--older-than", "0s", "--state", "failed").out == "1 job deleted\n"
    assert set(Job.objects.values_list("state", flat=True)) == {"completed", "cancelled", "pending"}


def test_cleanup_goes_by_the_retention_unless_told_otherwise(older: Callable[[str, float], Job], settings: Any) -> None:
    settings.JOBS = {"RETENTION": {"completed": DAY, "failed": 5 * DAY, "cancelled": 5 * DAY}}
    rows = [older(state, 2 * DAY) for state in ("completed", "failed")]
    assert run("jobs_cleanup", "--state", "failed").out == "0 jobs deleted\n"
    assert run("jobs_cleanup", "--dry-run").out.startswith("1 job would be deleted")
    assert run("jobs_cleanup").out == "1 job deleted\n"
    assert [row.pk for row in rows[1:]] == list(Job.objects.values_list("pk", flat=True))


def test_cleanup_takes_the_history_along(older: Callable[[str, float], Job]) -> None:
    row = job_manager.submit(nothing)
    stages.perform(row, lambda: None)
    JobLog.objects.create(job=row, at=row.created_at, text="a line")
    Job.objects.update(finished_at=F("finished_at") - timedelta(days=2))
    assert run("jobs_cleanup", "--older-than", "1d").out == "1 job deleted\n"
    assert not any(model._base_manager.exists() for model in (Job, JobEvent, JobLog, Attempt))


# --- steward ---------------------------------------------------------------------------------------------------------


def test_the_steward_does_one_round(clock: stages.Clock, sent: list[Any]) -> None:
    row = job_manager.submit(nothing, run_after=60)
    clock.forward(61)
    assert run("jobs_steward", "--once").out == "One round done.\n"
    assert stages.fresh(row).state == "pending"
    assert Lease.objects.get(name="steward").holder is None


def test_the_steward_says_when_another_leads() -> None:
    another = Steward("another")
    assert another.tick()
    ended = run("jobs_steward", "--once")
    assert ended.code == 1
    assert "another process is the steward" in ended.err


@pytest.fixture
def handlers() -> Iterator[None]:
    """The signal handlers of the test run are put back."""
    before = [(number, signal.getsignal(number)) for number in (signal.SIGTERM, signal.SIGINT)]
    yield
    for number, handler in before:
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_steward_ends_on_a_signal_and_leaves_the_office_vacant(
    number: signal.Signals, handlers: None, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.JOBS = {"TICK": 0.001}
    tick, holders = Steward.tick, []

    def tick_then_signal(self: Steward) -> bool:
        led = tick(self)
        holders.append(Lease.objects.get(name="steward").holder)
        os.kill(os.getpid(), number)
        return led

    monkeypatch.setattr(Steward, "tick", tick_then_signal)
    err = io.StringIO()
    call_command("jobs_steward", stderr=err)
    assert "standing by" in err.getvalue()
    assert "ended" in err.getvalue()
    assert holders[0] is not None
    assert Lease.objects.get(name="steward").holder is None


# --- pools and limits ------------------------------------------------------------------------------------------------


def test_a_pool_is_paused_drained_and_resumed() -> None:
    row = job_manager.submit(nothing)
    stages.queue(row)
    assert (
        f"paused by {USER} (jobs_pool) just now: disk full"
        in run("jobs_pool", "pause", "default", "--reason", "disk full").out
    )
    assert stages.fresh(row).state == "pending"
    assert "disk full (no change)" in run("jobs_pool", "pause", "default", "--reason", "other").out
    assert run("jobs_pool", "DRAIN", "default", "--json").data["draining_at"]
    ended = run("jobs_pool", "resume", "default", "--json").data
    assert (ended["changed"], ended["paused_at"], ended["draining_at"], ended["paused_by"]) == (True, None, None, "")
    assert run("jobs_pool", "resume", "default").out == "default: open (no change)\n"


@pytest.mark.parametrize("verb", ["pause", "drain", "resume", "show"])
def test_a_pool_that_is_not_there(verb: str) -> None:
    ended = run("jobs_pool", verb, "defalt")
    assert (ended.code, ended.out) == (1, "")
    assert "Did you mean 'default'?" in ended.err


def test_a_pool_is_shown(clock: stages.Clock) -> None:
    Pool.objects.update(max_concurrent=4, max_memory_mb=2048)
    stages.start_worker(slots=3)
    rows = job_manager.submit_many(nothing, [((), {})] * 3, memory_mb=512)
    stages.claim(rows[0])
    clock.forward(90)
    shown = run("jobs_pool", "show", "default").out
    for text in ("1, of 4", "512, of 2,048", "2, the oldest for 1 min 30 s", "open"):
        assert text in shown
    data = run("jobs_pool", "show", "default", "--json").data
    assert (data["in_flight"], data["live_slots"], data["waiting"], round(data["oldest_wait"])) == (1, 0, 2, 90)
    assert data["budgets"] == {"memory_mb": {"used": 512, "size": 2048}}


def test_limits_are_listed_with_their_use(clock: stages.Clock) -> None:
    stages.start_worker()
    Limit.objects.create(name="each", partition_by="who", size=2)
    Limit.objects.create(name="slowly", kind="rate", task=nothing.name, size=6, period=60)
    Limit.objects.create(name="never", kind="rate", task="other", size=0)
    for who in "ab":
        job_manager.submit(nothing, partition_by="who", metadata={"who": who})
    stages.admit()
    shown = {line.split()[0]: line for line in run("jobs_limits").out.splitlines()}
    for name, text in {
        "each": "all jobs, in all pools, for each who  2 at once  a: 1 in flight",
        "slowly": "6/m        in 10.0 s",
        "never": "0/s        never",
        "system": "1 in flight",
    }.items():
        assert text in shown[name], shown
    data = {row["name"]: row for row in run("jobs_limits", "--json").data}
    assert data["each"]["partitions"] == [{"partition": "a", "in_flight": 1}]
    assert data["slowly"]["partitions"] == [{"partition": "", "opens_in": pytest.approx(10)}]
