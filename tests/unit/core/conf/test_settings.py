"""The JOBS setting: what it is when nothing is set, what it refuses, and what it says then."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connections
from django.test import override_settings

from jobs.core import conf
from jobs.core.conf import KNOWN_OPERATION_TYPES, settings
from jobs.exceptions import InvalidSettings

DAY = 86_400
SERVER = {"ENGINE": "django.db.backends.postgresql", "NAME": "jobs", "HOST": "127.0.0.1", "PORT": "1"}


@pytest.fixture
def postgresql(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The alias of a PostgreSQL database that is configured, and never connected to."""
    configured = connections.configure_settings({"default": {}, "server": dict(SERVER)})
    monkeypatch.setitem(connections.settings, "server", configured["server"])
    yield "server"
    del connections["server"]


DEFAULTS: dict[str, Any] = {
    "MAX_CONCURRENT": None,
    "PRIORITY_HEAD_START": {"low": -3600, "medium": 0, "high": 3600, "critical": 10**9},
    "RETRY": conf.Retry(max_retries=0, multiplier=2, initial_delay=1, cap=600, jitter=True, deadline=None),
    "ERRORS": {},
    "TIMEOUT": conf.Timeout(default=None, operations={}),
    "LIMITS": conf.Limits(memory_mb=None, cpu_weight=None, disk_mb=None),
    "CLEANUP_INTERVAL": 300,
    "RETENTION": {"completed": 7 * DAY, "failed": 30 * DAY, "cancelled": 30 * DAY},
    "POLLING": conf.Polling(initial=1, cap=30),
    "OPERATION_TYPES": KNOWN_OPERATION_TYPES,
    "STALE_AFTER": 60,  # the tests run on SQLite
    "HEARTBEAT": 5,
    "LEASE": 10,
    "MAX_RESCUES": 3,
    "LOOK_AHEAD": 1,
    "GRACE": 10,
    "HOOK_TIMEOUT": 60,
    "MEMORY_TOLERANCE": 1.2,
    "DISK_TOLERANCE": 1.2,
    "SAMPLE_EVERY": 0.5,
    "TMPDIR": None,
    "MAX_PAYLOAD": 1024 * 1024,
    "UNKNOWN_TASK_AFTER": 600,
    "RECORD_TIMEOUT": 60,
    "STRICT_TASKS": False,
    "AGED_AFTER": 3600,
    "RESERVE_AFTER": 60,
    "DATABASE": "default",
    "PUBLISH_AFTER": 2,
    "LOST_AFTER": 15,
    "TICK": 1,
}


def read(key: str, **jobs: Any) -> Any:
    with override_settings(JOBS=jobs):
        return getattr(settings, key)


@pytest.mark.parametrize("key", DEFAULTS)
def test_defaults(key: str) -> None:
    assert read(key) == DEFAULTS[key]


def test_every_key_has_its_default_here() -> None:
    assert {field.name for field in dataclasses.fields(conf.JobsSettings)} == set(DEFAULTS)


def test_a_project_without_jobs_has_the_defaults(settings: Any) -> None:
    del settings.JOBS
    assert conf.problems() == []
    assert conf.settings.HEARTBEAT == 5


def test_an_override_is_seen_at_the_next_read_and_gone_afterwards() -> None:
    before = settings.GRACE
    assert read("GRACE", GRACE=77) == 77
    assert settings.GRACE == before != 77


def test_groups_are_merged_over_their_defaults() -> None:
    assert read("RETRY", RETRY={"max_retries": 3}) == conf.Retry(max_retries=3)
    assert read("RETENTION", RETENTION={"completed": 60}) == DEFAULTS["RETENTION"] | {"completed": 60}
    assert read("PRIORITY_HEAD_START", PRIORITY_HEAD_START={"high": 9}) == DEFAULTS["PRIORITY_HEAD_START"] | {"high": 9}
    operations = {"execution": 30}
    assert read("TIMEOUT", TIMEOUT={"operations": operations}) == conf.Timeout(default=None, operations=operations)


def test_the_known_operation_types_are_always_there() -> None:
    assert read("OPERATION_TYPES", OPERATION_TYPES=["import", "execution"]) == (*KNOWN_OPERATION_TYPES, "import")


def test_what_is_read_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        settings.RETENTION["failed"] = 1  # type: ignore[index]  # what a careless reader might try
    with pytest.raises(AttributeError):
        settings.RETRY.cap = 1  # type: ignore[misc]  # the same


def test_stale_after_depends_on_the_kind_of_database(postgresql: str) -> None:
    assert read("STALE_AFTER") == 60
    assert read("STALE_AFTER", STALE_AFTER=7) == 7
    assert read("STALE_AFTER", DATABASE=postgresql) == 20
    assert read("STALE_AFTER", DATABASE=postgresql, STALE_AFTER=8) == 8


WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({"MAX_CONCURRENT": -1}, "JOBS['MAX_CONCURRENT'] is -1", "whole number"),
    ({"MAX_CONCURRENT": 0}, "JOBS['MAX_CONCURRENT'] is 0", "None, or"),
    ({"MAX_CONCURRENT": "5"}, "JOBS['MAX_CONCURRENT'] is '5'", "whole number"),
    ({"MAX_CONCURRENT": True}, "JOBS['MAX_CONCURRENT'] is True", "whole number"),
    ({"MAX_RESCUES": 1.5}, "JOBS['MAX_RESCUES'] is 1.5", "whole number"),
    ({"HEARTBEAT": 0}, "JOBS['HEARTBEAT'] is 0", "seconds"),
    ({"HEARTBEAT": None}, "JOBS['HEARTBEAT'] is None", "seconds"),
    ({"LEASE": float("nan")}, "JOBS['LEASE'] is nan", "seconds"),
    ({"GRACE": float("inf")}, "JOBS['GRACE'] is inf", "seconds"),
    ({"GRACE": -0.5}, "JOBS['GRACE'] is -0.5", "seconds"),
    ({"MEMORY_TOLERANCE": 0.5}, "JOBS['MEMORY_TOLERANCE'] is 0.5", "from 1"),
    ({"TMPDIR": "var/jobs"}, "JOBS['TMPDIR'] is 'var/jobs'", "absolute path"),
    ({"TMPDIR": 3}, "JOBS['TMPDIR'] is 3", "absolute path"),
    ({"MAX_PAYLOAD": 10**30}, "JOBS['MAX_PAYLOAD'] is 1000", "whole number"),
    ({"STRICT_TASKS": "no"}, "JOBS['STRICT_TASKS'] is 'no'", "True or False"),
    ({"RETRY": 3}, "JOBS['RETRY'] is 3", "dict"),
    ({"RETRY": {"max_retries": -1}}, "JOBS['RETRY']['max_retries'] is -1", "whole number"),
    ({"RETRY": {"multiplier": 0.5}}, "JOBS['RETRY']['multiplier'] is 0.5", "from 1"),
    ({"RETRY": {"jitter": 1}}, "JOBS['RETRY']['jitter'] is 1", "True or False"),
    ({"TIMEOUT": {"default": 0}}, "JOBS['TIMEOUT']['default'] is 0", "None, or"),
    ({"TIMEOUT": {"operations": []}}, "JOBS['TIMEOUT']['operations'] is []", "dict"),
    (
        {"TIMEOUT": {"operations": {"execution": -3}}},
        "JOBS['TIMEOUT']['operations']['execution'] is -3",
        "seconds",
    ),
    ({"LIMITS": {"memory_mb": -1}}, "JOBS['LIMITS']['memory_mb'] is -1", "whole number"),
    ({"RETENTION": {"failed": "30d"}}, "JOBS['RETENTION']['failed'] is '30d'", "seconds"),
    ({"PRIORITY_HEAD_START": {"critical": 7200}}, "['critical'] is 7200", "would not be first"),
    ({"PRIORITY_HEAD_START": {"high": 10**9}}, "['critical'] is 1000000000", "would not be first"),
    ({"PRIORITY_HEAD_START": {"low": None}}, "JOBS['PRIORITY_HEAD_START']['low'] is None", "seconds"),
    ({"OPERATION_TYPES": "execution"}, "JOBS['OPERATION_TYPES'] is 'execution'", "list of names"),
    ({"OPERATION_TYPES": [3]}, "JOBS['OPERATION_TYPES'] is [3]", "list of names"),
    ({"DATABASE": []}, "JOBS['DATABASE'] is []", "name of a database"),
    ({"DATABASE": "defualt"}, "JOBS['DATABASE'] is 'defualt'", "DATABASES"),
    ({"STALE_AFTER": 5, "HEARTBEAT": 5}, "JOBS['STALE_AFTER'] is 5", "HEARTBEAT"),
]


@pytest.mark.parametrize(("given", "what", "why"), WRONG, ids=[str(each[0]) for each in WRONG])
def test_a_wrong_value_is_refused_with_key_and_value(given: dict[str, Any], what: str, why: str) -> None:
    with override_settings(JOBS=given):
        [problem] = conf.problems()
        assert what in problem.message
        assert why in problem.message
        assert problem.key in problem.message
        assert not problem.unknown
        with pytest.raises(InvalidSettings) as refused:
            _ = settings.TICK
    assert what in str(refused.value)


@pytest.mark.parametrize("given", [None, 3, [("GRACE", 1)]])
def test_jobs_itself_must_be_a_dict(given: object) -> None:
    with override_settings(JOBS=given), pytest.raises(InvalidSettings, match="it must be a dict"):
        _ = settings.TICK


@pytest.mark.parametrize(
    ("given", "key", "hint"),
    [
        ({"MAX_CONCURENT": 5}, "JOBS['MAX_CONCURENT'] (= 5)", "Did you mean 'MAX_CONCURRENT'?"),
        ({"grace": 5}, "JOBS['grace'] (= 5)", "Did you mean 'GRACE'?"),
        ({"RETRY": {"max_retry": 5}}, "JOBS['RETRY']['max_retry'] (= 5)", "Did you mean 'max_retries'?"),
        ({"PRIORITY_HEAD_START": {"hihg": 5}}, "JOBS['PRIORITY_HEAD_START']['hihg'] (= 5)", "Did you mean 'high'?"),
        (
            {"TIMEOUT": {"operations": {"excution": 5}}},
            "JOBS['TIMEOUT']['operations']['excution'] (= 5)",
            "Did you mean 'execution'?",
        ),
        ({"QQQ": 5}, "JOBS['QQQ'] (= 5)", "Known keys: MAX_CONCURRENT,"),
        ({3: 5}, "JOBS[3] (= 5)", "Known keys: MAX_CONCURRENT,"),
    ],
)
def test_an_unknown_key_is_ignored_with_a_warning(given: dict[Any, Any], key: str, hint: str) -> None:
    with override_settings(JOBS=given):
        [problem] = conf.problems()
        assert key in problem.message
        assert hint in problem.hint
        assert problem.unknown
        with pytest.warns(RuntimeWarning) as warned:
            assert settings.TICK == 1
    assert len(warned) == 1
    assert key in str(warned[0].message)
    assert hint in str(warned[0].message)


def test_everything_wrong_is_told_at_once() -> None:
    with override_settings(JOBS={"GRACE": -1, "LEASE": -2, "TIK": 1}):
        assert {problem.key for problem in conf.problems()} == {"JOBS['GRACE']", "JOBS['LEASE']", "JOBS['TIK']"}
        with pytest.raises(InvalidSettings, match=r"(?s)LEASE.*GRACE|GRACE.*LEASE"):
            _ = settings.TICK


def test_a_mistyped_attribute_is_an_error_with_a_hint() -> None:
    with pytest.raises(AttributeError, match="Did you mean 'LEASE'"):
        _ = settings.LEESE  # type: ignore[attr-defined]  # the mistake under test
