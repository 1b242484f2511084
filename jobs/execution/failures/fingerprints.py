"""Fingerprints group failures: a short hash of an error's type, message and frames.

It does not change with line numbers, directories, or ids and numbers in the message. It never raises, even if the
exception's own methods do.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from types import TracebackType

from jobs.core.encoding import kind_and_message

INNERMOST = 30  # frames, from the one that raised outwards
_OURS = str(Path(__file__).parents[2]) + "/"  # the package `jobs`
_CHAIN = 5  # causes
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
    """The fingerprint of a raised exception and its causes."""
    parts = [part for link in _chain(error) for part in _parts(link)]
    return _digest(parts)


def of_text(kind: str, message: str) -> str:
    """The fingerprint of a failure without an exception."""
    return _digest([kind, normalised(message)])


def normalised(message: str) -> str:
    """A message with ids, URLs, paths and numbers replaced by placeholders."""
    text = message[:2000]
    for pattern, word in _REMOVED:
        text = pattern.sub(word, text)
    return text.strip()


def _chain(error: BaseException) -> Iterator[BaseException]:
    link: BaseException | None = error
    for _ in range(_CHAIN):
        if link is None:
            return
        yield link
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)


def _parts(error: BaseException) -> list[str]:
    kind, message = kind_and_message(error)
    return [kind, normalised(message), *_places(error.__traceback__)]


def _places(traceback: TracebackType | None) -> list[str]:
    """File and function of each frame outside `jobs`; a recursion counts once."""
    places = []
    while traceback is not None:
        code = traceback.tb_frame.f_code
        if not code.co_filename.startswith(_OURS):
            places.append(f"{Path(code.co_filename).name}:{code.co_name}")
        traceback = traceback.tb_next
    return [place for place, _ in groupby(places)][-INNERMOST:]


def _digest(parts: list[str]) -> str:
    return hashlib.blake2b("\n".join(parts).encode(errors="replace"), digest_size=8).hexdigest()
