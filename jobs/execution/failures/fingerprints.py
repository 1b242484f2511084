"""Which failures are alike: one short word for the place and the kind of an error, whatever numbers it names.

It stays the same over releases that only move lines, over hosts with other paths, and over ids in the message. It must
not raise, whatever the exception at hand does in its own methods.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from types import TracebackType

from jobs.core.encoding import kind_and_message

INNERMOST = 30  # frames that count, from where it was raised outwards
_OURS = str(Path(__file__).parents[2]) + "/"  # the package `jobs`
_CHAIN = 5  # causes looked at
_REMOVED = (
    (re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE), "<id>"),
    (re.compile(r"\b[a-z][\w+.-]*://[^\s'\"<>]+", re.IGNORECASE), "<url>"),
    (re.compile(r"(?:[A-Za-z]:)?(?:[\\/][\w.@%+~-]+){2,}[\\/]?"), "<path>"),
    (re.compile(r"\b0x[0-9a-f]+\b", re.IGNORECASE), "<hex>"),
    (re.compile(r"\b(?=[0-9a-f]*\d)[0-9a-f]{8,}\b", re.IGNORECASE), "<hex>"),
    (re.compile(r"\d+(?:[.,:]\d+)*"), "<n>"),
    (re.compile(r"\s+"), " "),
)


def of_error(error: BaseException) -> str:
    """The fingerprint of an exception that was raised, with what it was raised from."""
    parts = [part for one in _chain(error) for part in _parts(one)]
    return _digest(parts)


def of_text(kind: str, message: str) -> str:
    """The fingerprint of a failure that is known by its texts only."""
    return _digest([kind, normalised(message)])


def normalised(message: str) -> str:
    """A message without what differs from one time to the next: ids, addresses, paths, numbers."""
    text = message[:2000]
    for pattern, word in _REMOVED:
        text = pattern.sub(word, text)
    return text.strip()


def _chain(error: BaseException) -> Iterator[BaseException]:
    one: BaseException | None = error
    for _ in range(_CHAIN):
        if one is None:
            return
        yield one
        one = one.__cause__ or (None if one.__suppress_context__ else one.__context__)


def _parts(error: BaseException) -> list[str]:
    kind, message = kind_and_message(error)
    return [kind, normalised(message), *_places(error.__traceback__)]


def _places(traceback: TracebackType | None) -> list[str]:
    """File and function of each frame of the body's, without lines; a recursion counts once however deep it went."""
    places = []
    while traceback is not None:
        code = traceback.tb_frame.f_code
        if not code.co_filename.startswith(_OURS):
            places.append(f"{Path(code.co_filename).name}:{code.co_name}")
        traceback = traceback.tb_next
    return [place for place, _ in groupby(places)][-INNERMOST:]


def _digest(parts: list[str]) -> str:
    return hashlib.blake2b("\n".join(parts).encode(errors="replace"), digest_size=8).hexdigest()
