"""Run keys: their text, and the hash that the database holds unique among unfinished jobs."""

from __future__ import annotations

import hashlib
import json
from typing import Any
from uuid import UUID

from jobs.exceptions import InvalidOption

MAX_LENGTH = 1000
_LONGEST_INT = 4096  # bits; its text is too long anyway, and Python refuses to write the longest ones


def key_text(key: object) -> str:
    """A key as the row shows it; InvalidOption unless it is a str (1,000 characters at most), int, UUID or tuple."""
    text = json.dumps(_plain(key)) if isinstance(key, tuple) else _bare(_checked(key))[1]
    if len(text) > MAX_LENGTH:
        raise InvalidOption(
            f"key: {text[:40]!r}… has {len(text)} characters; a key has at most {MAX_LENGTH}", option="key"
        )
    if "\0" in text or (not text.isprintable() and _has_surrogate(text)):
        raise InvalidOption(f"key: {text[:60]!r} holds NUL or a lone surrogate, which no database stores", option="key")
    return text


def active_key(manager: str, key: object) -> str:
    """The hash of manager and key, types included: 1 and "1" are two keys."""
    canonical = json.dumps([manager, _typed(key)], separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def _checked(key: object) -> object:
    if isinstance(key, bool) or not isinstance(key, (str, int, UUID, tuple)):
        raise InvalidOption(
            f"key: {key!r:.60} is a {type(key).__name__}; a key is a str, int, UUID or tuple of these", option="key"
        )
    if isinstance(key, int) and key.bit_length() > _LONGEST_INT:
        raise InvalidOption(f"key: an integer of {key.bit_length():,} bits is too long for a key", option="key")
    return key


def _plain(key: object) -> Any:
    if isinstance(key, tuple):
        return [_plain(part) for part in key]
    kind, text = _bare(_checked(key))
    return int(text) if kind == "int" else text


def _typed(key: object) -> Any:
    if isinstance(key, tuple):
        return ["tuple", *(_typed(part) for part in key)]
    return list(_bare(_checked(key)))


def _bare(key: object) -> tuple[str, str]:
    """Kind and text of a key: a StrEnum's member equals its string, so both are the same key."""
    if isinstance(key, str):
        return "str", str.__str__(key)
    return ("int", int.__repr__(key)) if isinstance(key, int) else ("UUID", str(key))


def _has_surrogate(text: str) -> bool:
    return any("\ud800" <= letter <= "\udfff" for letter in text)
