"""The tree of errors: drawn as it is, pickled whole, and every message with what it was about."""

import pickle
import re
from uuid import UUID

import pytest
from django.core.exceptions import ImproperlyConfigured

from jobs import exceptions
from jobs.exceptions import (
    ImpossibleNeed,
    InvalidArguments,
    InvalidOption,
    InvalidPayload,
    InvalidSettings,
    JobAborted,
    JobCancelled,
    JobFailed,
    JobNotFinished,
    JobNotFound,
    JobRefused,
    JobsError,
    JobTimedOut,
    KeyBusy,
    ResultUnavailable,
    UnknownFilter,
    UnknownPool,
    UnknownTask,
    did_you_mean,
    shown,
)

JOB_ID = UUID("0190c7a4-5d1e-7c3a-8b1f-2a6f0e9d4c11")

# One of each: the error, a built-in class it also is, what its message must contain, what it must carry.
ONE_OF_EACH = [
    (JobNotFound(JOB_ID), LookupError, str(JOB_ID), {"job_id": JOB_ID}),
    (JobNotFinished("running", JOB_ID), Exception, "is running", {"state": "running", "job_id": JOB_ID}),
    (
        JobFailed("no such scene", result={"scene": 3}, category="input", retry=True, errors=[{"attempt": 1}]),
        Exception,
        "no such scene",
        {"result": {"scene": 3}, "category": "input", "retry": True, "errors": ({"attempt": 1},)},
    ),
    (JobCancelled(JOB_ID, "wrong file"), Exception, "wrong file", {"job_id": JOB_ID, "reason": "wrong file"}),
    (JobAborted("wrong file"), Exception, "wrong file", {"reason": "wrong file"}),
    (JobTimedOut(3, 4.25), Exception, "run for 4.2 s: its time-out is 3 s", {"timeout": 3, "elapsed": 4.25}),
    (KeyBusy(("page", 1)), Exception, "('page', 1)", {"key": ("page", 1)}),
    (InvalidPayload("args[0]", "NaN is not JSON"), ValueError, "args[0]: NaN", {"path": "args[0]"}),
    (InvalidArguments("missing 'scene'", task="demo.render"), TypeError, "missing", {"task": "demo.render"}),
    (InvalidOption.unknown("priorty", ["priority"]), TypeError, "Did you mean 'priority'?", {"option": "priorty"}),
    (
        ImpossibleNeed("gpu", "memory_mb", 9000, 4096),
        InvalidOption,
        "memory_mb: the job needs 9,000, and pool 'gpu' has 4,096 in all",
        {"pool": "gpu", "name": "memory_mb", "need": 9000, "size": 4096, "option": "memory_mb"},
    ),
    (JobRefused("acme", JOB_ID), Exception, "'acme' is at its limit", {"partition": "acme", "holder": JOB_ID}),
    (InvalidSettings("JOBS is 3"), ImproperlyConfigured, "JOBS is 3", {}),
    (UnknownPool("gpuu", ["default", "gpu"]), LookupError, "Did you mean 'gpu'?", {"name": "gpuu"}),
    (UnknownTask("demo.rendr", ["demo.render"]), LookupError, "Did you mean 'demo.render'?", {"name": "demo.rendr"}),
    (UnknownFilter("stat", ["state"]), TypeError, "Did you mean 'state'?", {"name": "stat"}),
    (ResultUnavailable("expired", JOB_ID), Exception, "expired", {"reason": "expired", "job_id": JOB_ID}),
]


def public_classes() -> set[str]:
    found = {name for name, each in vars(exceptions).items() if isinstance(each, type) and issubclass(each, JobsError)}
    return {name for name in found if not name.startswith("_")}


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    drawn = set(re.findall(r"[├└]── (\w+)", str(exceptions.__doc__)))
    assert drawn | {"JobsError"} == public_classes()


def test_the_table_of_this_test_has_every_class() -> None:
    assert {type(error).__name__ for error, *_ in ONE_OF_EACH} | {"JobsError"} == public_classes()


@pytest.mark.parametrize(("error", "also", "contains", "carries"), ONE_OF_EACH)
def test_an_error_tells_and_carries_what_it_is_about(
    error: JobsError, also: type, contains: str, carries: dict[str, object]
) -> None:
    assert isinstance(error, also)
    assert contains in str(error)
    assert {name: getattr(error, name) for name in carries} == carries


@pytest.mark.parametrize("error", [error for error, *_ in ONE_OF_EACH])
def test_an_error_survives_pickling(error: JobsError) -> None:
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes, as billiard carries them
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert vars(again) == vars(error)


def test_without_a_near_name_the_known_ones_are_listed() -> None:
    assert "Known: alpha, beta." in str(UnknownPool("zzz", ["beta", "alpha"]))
    assert str(UnknownPool("zzz", [f"name{i:02}" for i in range(50)])).count("name") == 20


@pytest.mark.parametrize(
    ("word", "choices", "hint"),
    [
        ("MAX_CONCURENT", ["MAX_CONCURRENT", "LEASE"], " Did you mean 'MAX_CONCURRENT'?"),
        ("max_concurrent", ["MAX_CONCURRENT"], " Did you mean 'MAX_CONCURRENT'?"),
        ("zzz", ["MAX_CONCURRENT"], ""),
        ("zzz", [], ""),
        (3, ["MAX_CONCURRENT"], ""),
    ],
)
def test_did_you_mean(word: object, choices: list[str], hint: str) -> None:
    assert did_you_mean(word, choices) == hint


def test_shown_is_short_and_never_fails() -> None:
    class Shy:
        def __repr__(self) -> str:
            raise RuntimeError("no")

    class Odd:
        def __repr__(self) -> str:
            return "\ud800\0"

    assert len(shown("x" * 10_000)) <= 120
    assert len(shown([["y" * 1000] * 1000] * 1000)) <= 120
    assert "Shy" in shown(Shy())
    assert "int" in shown(10**5000)
    assert shown("\ud800\0") == r"'\ud800\x00'"
    assert shown(Odd()) == r"\ud800\0"
