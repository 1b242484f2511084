"""What an exception means: every built-in rule, the host's rules before them, `unknown` for the rest."""

from __future__ import annotations

import errno
import smtplib
import socket
import sqlite3
import urllib.error
from email.message import Message
from types import SimpleNamespace
from typing import Any

import pytest
from billiard.exceptions import SoftTimeLimitExceeded, TimeLimitExceeded
from django.db import IntegrityError, InterfaceError, OperationalError
from django.test import override_settings
from kombu.exceptions import OperationalError as BrokerError
from redis.exceptions import ConnectionError as RedisError

from jobs.exceptions import JobAborted, JobNotFound, KeyBusy
from jobs.execution.failures import classification
from jobs.execution.failures.classification import meaning_of
from jobs.models import Job
from jobs.states import CATEGORIES, RETRIED, ErrorCategory

URL = "https://example.org"


class OwnError(Exception):
    """Nobody has a rule for it."""


class OwnValueError(ValueError):
    """Known by its base."""


def _elsewhere(module: str, name: str, *bases: type, **attributes: Any) -> Exception:
    """An exception of a library that need not be there."""
    made: Exception = type(name, bases or (Exception,), {"__module__": module})()
    vars(made).update(attributes)
    return made


def _answer(module: str, name: str, status: object) -> Exception:
    return _elsewhere(module, name, response=SimpleNamespace(status_code=status))


CASES: list[tuple[BaseException, str]] = [
    (ValueError(), "user"),
    (OwnValueError(), "user"),
    (TypeError(), "user"),
    (KeyError(1), "user"),
    (ZeroDivisionError(), "user"),
    (AssertionError(), "user"),
    (AttributeError(), "user"),
    (SystemExit(3), "user"),
    (NotImplementedError(), "user"),
    (ImportError(), "user"),
    (RecursionError(), "user"),
    (NameError(), "user"),
    (FileNotFoundError(), "user"),
    (PermissionError(), "user"),
    (Job.DoesNotExist(), "user"),
    (IntegrityError(), "user"),
    (JobNotFound(5), "user"),
    (ConnectionRefusedError(), "transient"),
    (BrokenPipeError(), "transient"),
    (TimeoutError(), "transient"),
    (OSError(errno.EHOSTUNREACH, "no route"), "transient"),
    (socket.gaierror(-3, "again"), "transient"),
    (OperationalError(), "transient"),
    (InterfaceError(), "transient"),
    (sqlite3.OperationalError(), "transient"),
    (BrokerError(), "transient"),
    (RedisError(), "transient"),
    (smtplib.SMTPServerDisconnected(), "transient"),
    (urllib.error.URLError("away"), "transient"),
    (KeyBusy("k"), "transient"),
    (urllib.error.HTTPError(URL, 503, "busy", Message(), None), "transient"),
    (urllib.error.HTTPError(URL, 404, "gone", Message(), None), "user"),
    (_answer("requests.exceptions", "HTTPError", 500), "transient"),
    (_answer("requests.exceptions", "HTTPError", 429), "transient"),
    (_answer("requests.exceptions", "HTTPError", 400), "user"),
    (_answer("requests.exceptions", "HTTPError", None), "unknown"),
    (_answer("httpx", "HTTPStatusError", 502), "transient"),
    (_answer("httpx", "HTTPStatusError", "nonsense"), "unknown"),
    (_elsewhere("aiohttp.client_exceptions", "ClientResponseError", status=504), "transient"),
    (_elsewhere("httpx", "TransportError"), "transient"),
    (_elsewhere("requests.exceptions", "ConnectionError", OSError), "transient"),
    (_elsewhere("requests.exceptions", "Timeout", OSError), "transient"),
    (MemoryError(), "memory"),
    (OSError(errno.ENOMEM, "no memory"), "memory"),
    (OSError(errno.ENOSPC, "full"), "disk"),
    (OSError(errno.EDQUOT, "quota"), "disk"),
    (SoftTimeLimitExceeded(), "timeout"),
    (TimeLimitExceeded(5), "timeout"),
    (JobAborted(), "cancelled"),
    (OwnError(), "unknown"),
    (Exception(), "unknown"),
    (RuntimeError(), "unknown"),
    (KeyboardInterrupt(), "unknown"),
    (OSError(), "unknown"),
    (BaseException(), "unknown"),
    (ExceptionGroup("both", [ValueError(), KeyError()]), "user"),
    (ExceptionGroup("both", [ValueError(), TimeoutError()]), "unknown"),
]


@pytest.mark.parametrize(("error", "category"), CASES, ids=lambda case: repr(case)[:50])
def test_the_category_of(error: BaseException, category: str) -> None:
    assert meaning_of(error).category == category


def test_the_names_go_from_the_class_to_its_bases() -> None:
    assert meaning_of(OwnValueError()).names == (
        f"{__name__}.OwnValueError",
        "ValueError",
        "Exception",
        "BaseException",
    )


@pytest.mark.parametrize(
    ("rules", "error", "category"),
    [
        ({f"{__name__}.OwnError": "transient"}, OwnError(), "transient"),
        ({"ValueError": "transient"}, OwnValueError(), "transient"),
        ({"Exception": "transient"}, ValueError(), "transient"),  # the host's rules first, however general
        ({"Exception": "transient", "ValueError": "user"}, ValueError(), "user"),
        ({"ValueError": {"retry": False}}, ValueError(), "user"),
        ({"ValueError": {"category": "disk", "retry": False}}, ValueError(), "disk"),
    ],
    ids=str,
)
def test_the_hosts_rules_come_first(rules: dict[str, Any], error: Exception, category: str) -> None:
    with override_settings(JOBS={"ERRORS": rules}):
        assert meaning_of(error).category == category


def test_every_category_says_what_it_means() -> None:
    assert set(CATEGORIES) == set(ErrorCategory)
    assert set(ErrorCategory) > RETRIED
    assert all(len(category) <= 20 for category in ErrorCategory)  # the column's length


def test_names_of_rules_that_can_be_imported_here_are_right() -> None:
    """A class that was renamed in its library would make its rule silent."""
    seen = {name for error, _ in CASES for name in meaning_of(error).names}
    known = {
        name for name in classification._RULES if name.startswith(("django.", "jobs.", "billiard.", "kombu.", "redis."))
    }
    tried = {name for name in known if name in seen}
    assert {
        "django.db.utils.OperationalError",
        "redis.exceptions.ConnectionError",
        "jobs.exceptions.JobsError",
    } <= tried
