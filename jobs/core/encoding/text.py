"""Make any text, and any exception, storable: the last resort of a job that failed must not fail itself.

This module must not raise, whatever the exception at hand does in its own methods.
"""

from __future__ import annotations

import re
import traceback
from typing import NamedTuple

UNSTORABLE = re.compile("[\0\ud800-\udfff]")  # what PostgreSQL's text, or UTF-8, cannot hold
MAX_TYPE = 200
MAX_MESSAGE = 10_000
MAX_TRACEBACK = 50_000
_ROOM = 40  # for the marker that tells of a cut


class ErrorText(NamedTuple):
    """An exception as three storable texts."""

    type: str  # "ValueError", "shop.errors.OutOfStock"; at most 200 characters
    message: str  # at most 10,000
    traceback: str  # at most 50,000, the middle left out


def describe_error(error: BaseException) -> ErrorText:
    """What is kept of an exception, also of one whose `__str__` or `__repr__` raises."""
    return ErrorText(*kind_and_message(error), _clean_middle(_traceback(error), MAX_TRACEBACK))


def kind_and_message(error: BaseException) -> tuple[str, str]:
    """The first two of the texts of `describe_error`, which cost little."""
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    return clean_text(name, MAX_TYPE), clean_text(_message(error), MAX_MESSAGE)


def clean_text(text: str, limit: int) -> str:
    """`text` with NUL and lone surrogates replaced by U+FFFD, at most `limit` characters; a cut is marked."""
    if len(text) > limit:
        kept = max(limit - _ROOM, limit // 2)
        text = (text[:kept] + f"… [{len(text) - kept:,} characters more]")[:limit]
    return UNSTORABLE.sub("\ufffd", text)


def _clean_middle(text: str, limit: int) -> str:
    """As `clean_text`, but a cut leaves head and tail: one end of a traceback tells where from, the other what."""
    if len(text) > limit:
        half = (limit - _ROOM) // 2
        text = text[:half] + f"\n… [{len(text) - 2 * half:,} characters]\n" + text[-half:]
    return UNSTORABLE.sub("\ufffd", text)


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as problem:  # noqa: BLE001 - whatever a stranger's __str__ raises
        return f"<the message cannot be shown: __str__ raised {type(problem).__name__}>"


def _traceback(error: BaseException) -> str:
    try:
        return "".join(traceback.format_exception(error))
    except Exception as problem:  # noqa: BLE001 - formatting asks the stranger's attributes
        return f"<the traceback cannot be shown: formatting it raised {type(problem).__name__}>"
