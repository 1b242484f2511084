"""The category of an exception, and whether a failure of that category is retried.

The host's rules (`JOBS["ERRORS"]`) come before the built-in ones, a class before its bases. Exceptions of libraries are
matched by name, so that no library is imported. Writes nothing.
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
    """The category of an exception, and the class names that rules can match."""

    category: ErrorCategory
    names: tuple[str, ...] = ()


def meaning_of(error: BaseException) -> Meaning:
    """The category of an exception; `unknown` where no rule names it or one of its bases."""
    names = lineage(error)
    configured = (settings.ERRORS[name].category for name in names if name in settings.ERRORS)
    return Meaning(next(filter(None, configured), None) or _built_in(error, names), names)


def is_retried(category: str, names: tuple[str, ...] = ()) -> bool:
    """Whether rules retry a failure: the host's rule for its class, then for its category, then the built-in one."""
    for name in (*names, category):
        rule = settings.ERRORS.get(name)
        if rule is not None and rule.retry is not None:
            return rule.retry
    return category in RETRIED or category not in set(ErrorCategory)


def _built_in(error: BaseException, names: tuple[str, ...]) -> ErrorCategory:
    for name in names:
        rule = _RULES.get(name)
        if rule is not None:
            category = rule(error) if callable(rule) else rule
            if category is not None:
                return category
    return ErrorCategory.UNKNOWN


def _of_group(error: BaseException) -> ErrorCategory | None:
    """The category of an exception group whose members all have the same one."""
    members = getattr(error, "exceptions", ())
    categories = {meaning_of(member).category for member in members}
    return categories.pop() if len(categories) == 1 else None


def _of_errno(error: BaseException) -> ErrorCategory | None:
    number = getattr(error, "errno", None)
    if number in _FULL:
        return ErrorCategory.DISK
    if number == errno.ENOMEM:
        return ErrorCategory.MEMORY
    return ErrorCategory.TRANSIENT if number in _UNREACHABLE else None


def _of_status(error: BaseException) -> ErrorCategory | None:
    """An HTTP error: a server's error may go away, a client's does not."""
    of_response = getattr(getattr(error, "response", None), "status_code", None)
    status: Any = of_response or getattr(error, "code", None) or getattr(error, "status", None)
    with contextlib.suppress(TypeError, ValueError):
        number = int(status)
        return ErrorCategory.TRANSIENT if number >= 500 or number in _RETRY_LATER else ErrorCategory.USER
    return None


_RETRY_LATER = {408, 425, 429}
_FULL = {errno.ENOSPC, errno.EDQUOT}
_UNREACHABLE = {
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
