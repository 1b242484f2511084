"""What an exception means: its category, and whether a rule says that another attempt helps.

The host's rules (`JOBS["ERRORS"]`) come before ours, the most exact class before its bases. Libraries that may be
missing are named, never imported. Writes nothing.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from jobs.core.conf import settings
from jobs.core.conf.exception_names import lineage
from jobs.states import RETRIED, ErrorCategory


class Meaning(NamedTuple):
    """What an exception means, and by which names rules know it."""

    category: ErrorCategory
    names: tuple[str, ...] = ()


def meaning_of(error: BaseException) -> Meaning:
    """The category of an exception; `unknown` where no rule names it or one of its bases."""
    names = lineage(error)
    said = (settings.ERRORS[name].category for name in names if name in settings.ERRORS)
    return Meaning(next(filter(None, said), None) or _built_in(error, names), names)


def is_retried(category: str, names: tuple[str, ...] = ()) -> bool:
    """Whether a failure is tried again as a rule: the host's rules for its class, for its category, then ours."""
    for name in (*names, category):
        rule = settings.ERRORS.get(name)
        if rule is not None and rule.retry is not None:
            return rule.retry
    return category in RETRIED or category not in set(ErrorCategory)


def _built_in(error: BaseException, names: tuple[str, ...]) -> ErrorCategory:
    for name in names:
        rule = _RULES.get(name)
        if rule is not None:
            found = rule(error) if callable(rule) else rule
            if found is not None:
                return found
    return ErrorCategory.UNKNOWN


def _of_group(error: BaseException) -> ErrorCategory | None:
    """Several at once mean what all of them mean."""
    members = getattr(error, "exceptions", ())
    found = {meaning_of(one).category for one in members}
    return found.pop() if len(found) == 1 else None


def _of_errno(error: BaseException) -> ErrorCategory | None:
    number = getattr(error, "errno", None)
    if number in _FULL:
        return ErrorCategory.DISK
    if number == errno.ENOMEM:
        return ErrorCategory.MEMORY
    return ErrorCategory.TRANSIENT if number in _AWAY else None


def _of_status(error: BaseException) -> ErrorCategory | None:
    """An answer over HTTP: the server's fault may pass, ours does not."""
    of_response = getattr(getattr(error, "response", None), "status_code", None)
    status: Any = of_response or getattr(error, "code", None) or getattr(error, "status", None)
    with contextlib.suppress(TypeError, ValueError):
        number = int(status)
        return ErrorCategory.TRANSIENT if number >= 500 or number in _COME_AGAIN else ErrorCategory.USER
    return None


_COME_AGAIN = {408, 425, 429}
_FULL = {errno.ENOSPC, errno.EDQUOT}
_AWAY = {
    errno.ENETDOWN,
    errno.ENETUNREACH,
    errno.ENETRESET,
    errno.EHOSTDOWN,
    errno.EHOSTUNREACH,
    errno.ETIMEDOUT,
    errno.ECONNABORTED,
    errno.ECONNREFUSED,
    errno.ECONNRESET,
    errno.EAGAIN,
    errno.EMFILE,
    errno.ENFILE,
}
_USER = (
    "ArithmeticError",
    "AssertionError",
    "AttributeError",
    "FileExistsError",
    "FileNotFoundError",
    "ImportError",
    "IsADirectoryError",
    "LookupError",
    "NameError",
    "NotADirectoryError",
    "NotImplementedError",
    "PermissionError",
    "RecursionError",
    "SyntaxError",
    "SystemExit",
    "TypeError",
    "ValueError",
    "django.core.exceptions.ImproperlyConfigured",
    "django.core.exceptions.ObjectDoesNotExist",
    "django.core.exceptions.ValidationError",
    "django.db.utils.DataError",
    "django.db.utils.IntegrityError",
    "django.db.utils.ProgrammingError",
    "jobs.exceptions.JobsError",
)
_TRANSIENT = (
    "BlockingIOError",
    "ConnectionError",
    "InterruptedError",
    "TimeoutError",
    "aiohttp.client_exceptions.ClientConnectionError",
    "amqp.exceptions.RecoverableChannelError",
    "amqp.exceptions.RecoverableConnectionError",
    "botocore.exceptions.ConnectionError",
    "botocore.exceptions.HTTPClientError",
    "django.db.utils.InterfaceError",
    "django.db.utils.OperationalError",
    "ftplib.error_temp",
    "http.client.IncompleteRead",
    "http.client.RemoteDisconnected",
    "httpx.TransportError",
    "imaplib.IMAP4.abort",
    "jobs.exceptions.KeyBusy",
    "kombu.exceptions.OperationalError",
    "psycopg.OperationalError",
    "psycopg.errors.OperationalError",
    "redis.exceptions.ConnectionError",
    "redis.exceptions.TimeoutError",
    "requests.exceptions.ConnectionError",
    "requests.exceptions.Timeout",
    "smtplib.SMTPConnectError",
    "smtplib.SMTPServerDisconnected",
    "socket.gaierror",
    "sqlite3.OperationalError",
    "urllib.error.URLError",
    "urllib3.exceptions.MaxRetryError",
    "urllib3.exceptions.ProtocolError",
    "urllib3.exceptions.TimeoutError",
)
_Rule = ErrorCategory | Callable[[BaseException], ErrorCategory | None]
_RULES: Mapping[str, _Rule] = {
    **dict.fromkeys(_USER, ErrorCategory.USER),
    **dict.fromkeys(_TRANSIENT, ErrorCategory.TRANSIENT),
    "MemoryError": ErrorCategory.MEMORY,
    "OSError": _of_errno,
    "BaseExceptionGroup": _of_group,
    "jobs.exceptions.JobAborted": ErrorCategory.CANCELLED,
    "jobs.exceptions.JobTimedOut": ErrorCategory.TIMEOUT,
    "billiard.exceptions.SoftTimeLimitExceeded": ErrorCategory.TIMEOUT,
    "billiard.exceptions.TimeLimitExceeded": ErrorCategory.TIMEOUT,
    "aiohttp.client_exceptions.ClientResponseError": _of_status,
    "httpx.HTTPStatusError": _of_status,
    "requests.exceptions.HTTPError": _of_status,
    "urllib.error.HTTPError": _of_status,
}
