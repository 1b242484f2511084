"""Values in and out: plain JSON, and tagged datetime, date, time, timedelta, UUID, Decimal and bytes.

A tagged value is the object `{"__jobs__": <tag>, "value": …}`. A dict of the user's that has a key "__jobs__" is
written as tag "dict" with its pairs, so nothing a user sends is ever taken for a tag. Tuples come back as lists,
subclasses of the plain types (StrEnum, OrderedDict, a namedtuple …) as the plain type. Text from outside goes through
`dumps` first: `loads` is for what `dumps` wrote.

This module must not guess: a value it does not know is refused with advice, never turned into text.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.db.models import Model, QuerySet
from django.utils.datastructures import MultiValueDict
from django.utils.functional import Promise

from jobs.core.conf import settings
from jobs.core.encoding.masking import MASK, looks_secret
from jobs.core.encoding.text import UNSTORABLE
from jobs.exceptions import InvalidPayload, shown

TAG = "__jobs__"
MAX_DEPTH = 100
_LARGEST = 10**4000  # Python itself reads no integer of more than 4,300 digits
_NAME = re.compile(r"[^\W\d]\w{,59}")
_PATH_END = 6  # steps shown at either end of a path


def dumps(value: Any, *, field: str = "args") -> str:
    """`value` as compact JSON text, or `InvalidPayload` with the path of the first place that JSON cannot carry.

    `field` is the name of the whole in that path ("args[0].name"). At most 100 levels deep, and at most
    `JOBS["MAX_PAYLOAD"]` bytes in UTF-8. The value itself is never changed.
    """
    try:
        text = _encode(_plain(value, 1))
    except _RefusedError as refused:
        raise InvalidPayload(_path(field, refused.steps), refused.told()) from None
    if len(text) * 4 > settings.MAX_PAYLOAD:  # no character takes more than four bytes
        _check_size(text, field)
    return text


def check_json(value: Any, *, field: str) -> Any:
    """A copy of `value` as it will be stored; the caller's own may change afterwards.

    Raises `InvalidPayload` for what `dumps` refuses, and for what only a tag could carry: searched JSON has none.
    """

    def refuse(item: object) -> None:
        problem = f"{shown(item)} is of type {type(item).__name__}, which cannot be searched; pass text, as str(value)."
        raise InvalidPayload(field, problem)

    dumps(value, field=field)
    return json.loads(json.dumps(value, default=refuse))


def loads(text: str) -> Any:
    """The value that `dumps` wrote: equal, and of the same types."""
    return json.loads(text, object_hook=_untagged) if TAG in text else json.loads(text)


class _RefusedError(Exception):
    """Travels up the walk. Each level adds its step on the way out: a path costs nothing as long as all is well."""

    def __init__(self, subject: str, problem: str) -> None:
        self.subject = subject
        self.problem = problem
        self.steps: list[object] = []  # innermost first

    def told(self) -> str:
        secret = any(isinstance(step, str) and looks_secret(step) for step in self.steps)
        return f"{MASK if secret else self.subject} {self.problem}"


def _plain(value: Any, depth: int) -> Any:
    """`value` checked, as json can write it: the same object wherever nothing had to be converted."""
    kind = type(value)
    if kind is str:
        if not value.isascii() or "\0" in value:
            _check_text(value)
    elif kind is dict:
        return _plain_dict(value, depth)
    elif kind is list or kind is tuple:
        return _plain_list(value, depth)
    elif kind is int:
        if not -_LARGEST < value < _LARGEST:
            raise _RefusedError("An integer", "of more than 4,000 digits is too long; pass it as a string.")
    elif kind is float:
        if not math.isfinite(value):
            raise _RefusedError(json.dumps(value), "is not JSON; pass None, or leave it out.")
    elif value is not None and kind is not bool:
        return _plain_other(value, depth)
    return value


def _plain_dict(value: dict[Any, Any], depth: int) -> dict[str, Any]:
    _check_depth(value, depth)
    key: Any = None
    changed: dict[str, Any] = {}
    odd_keys = False
    try:
        for key, item in value.items():
            if type(key) is not str:
                odd_keys = _is_odd_key(key)
            if not key.isascii() or "\0" in key:
                _check_text(key)
            plain = _plain(item, depth + 1)
            if plain is not item:
                changed[key] = plain
    except _RefusedError as refused:
        refused.steps.append(key)
        raise
    result = value | changed if changed else value
    if odd_keys:
        result = {str.__str__(key): item for key, item in result.items()}
    return {TAG: "dict", "value": list(result.items())} if TAG in result else result


def _is_odd_key(key: object) -> bool:
    """A subclass of str may hash in its own way, and so hide from the look-up of the tag: it is made plain."""
    if isinstance(key, str):
        return True
    raise _RefusedError(shown(key), f"is a key of type {type(key).__name__}; JSON has only strings as keys.")


def _plain_list(value: list[Any] | tuple[Any, ...], depth: int) -> list[Any] | tuple[Any, ...]:
    _check_depth(value, depth)
    index = 0
    changed: list[Any] | None = None
    try:
        for index, item in enumerate(value):
            plain = _plain(item, depth + 1)
            if plain is not item:
                changed = list(value) if changed is None else changed
                changed[index] = plain
    except _RefusedError as refused:
        refused.steps.append(index)
        raise
    return value if changed is None else changed


def _plain_other(value: Any, depth: int) -> Any:
    """A subclass of a plain type, a type with a tag of its own, or something to refuse with advice."""
    if not isinstance(value, MultiValueDict):  # as a dict it would silently lose values
        for base, convert in _SUBCLASSES:
            if isinstance(value, base):
                return _plain(convert(value), depth)
    for base, (tag, write, _) in _TAGGED.items():
        if isinstance(value, base):
            return {TAG: tag, "value": write(value)}
    raise _RefusedError(shown(value), f"is of type {type(value).__name__}, which JSON does not have; {_advice(value)}")


def _check_depth(value: object, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise _RefusedError(
            shown(value), f"is nested more than {MAX_DEPTH} levels deep, or contains itself; pass a flatter value."
        )


def _check_text(text: str) -> None:
    found = UNSTORABLE.search(text)
    if found:
        what = "a NUL character (\\u0000)" if found[0] == "\0" else f"a lone surrogate (\\u{ord(found[0]):04x})"
        raise _RefusedError(shown(text), f"has {what} at position {found.start()}; remove it, or pass bytes.")


def _check_size(text: str, field: str) -> None:
    size, limit = len(text.encode()), settings.MAX_PAYLOAD
    if size > limit:
        raise InvalidPayload(
            field,
            f"{size:,} bytes as JSON, but JOBS['MAX_PAYLOAD'] allows {limit:,}; "
            "pass a reference (a file's path, a primary key) instead, or raise the limit.",
        )


def _path(field: str, steps: list[object]) -> str:
    told = [
        f".{step}" if isinstance(step, str) and _NAME.fullmatch(step) else f"[{shown(step)}]"
        for step in reversed(steps)
    ]
    if len(told) > 2 * _PATH_END:
        told[_PATH_END:-_PATH_END] = [" … "]
    return field + "".join(told)


def _advice(value: object) -> str:
    for kinds, advice in _ADVICE:
        if isinstance(value, kinds):
            return advice
    if dataclasses.is_dataclass(value):
        return "pass dataclasses.asdict(value)."
    if hasattr(type(value), "tolist"):  # numpy's scalars and arrays
        return "pass value.tolist()."
    return "pass plain values (str, int, float, bool, None, list, dict, datetime, date, UUID, Decimal, bytes) or an id."


def _untagged(found: dict[str, Any]) -> Any:
    if TAG not in found:
        return found
    try:
        return _READERS[found[TAG]](found["value"])
    except (KeyError, TypeError, ValueError, ArithmeticError) as error:
        raise InvalidPayload(TAG, f"{shown(found)} was not written by this version of jobs.") from error


def _write_moment(moment: datetime | time) -> list[Any] | str:
    """ISO text, with the zone's name and the fold where there are any: an offset alone would lose both."""
    zone = moment.tzinfo.key if isinstance(moment.tzinfo, ZoneInfo) else None
    text = datetime.isoformat(moment) if isinstance(moment, datetime) else time.isoformat(moment)
    return [text, zone, moment.fold] if zone or moment.fold else text


def _read_datetime(written: list[Any] | str) -> datetime:
    text, zone, fold = (written, None, 0) if isinstance(written, str) else written
    moment = datetime.fromisoformat(text).replace(fold=fold)
    return moment.replace(tzinfo=_zone(zone) or moment.tzinfo)


def _read_time(written: list[Any] | str) -> time:
    text, zone, fold = (written, None, 0) if isinstance(written, str) else written
    moment = time.fromisoformat(text).replace(fold=fold)
    return moment.replace(tzinfo=_zone(zone) or moment.tzinfo)


def _zone(name: str | None) -> ZoneInfo | None:
    try:
        return ZoneInfo(name) if name else None
    except (ZoneInfoNotFoundError, ValueError):  # this machine has no such zone: the offset in the text still tells
        return None


def _write_decimal(number: Decimal) -> str:
    if not number.is_finite():
        raise _RefusedError(shown(number), "is not JSON; pass None, or leave it out.")
    return Decimal.__str__(number)


_encode = json.JSONEncoder(ensure_ascii=False, check_circular=False, allow_nan=False, separators=(",", ":")).encode

# A subclass of a plain type comes back as the plain type.
_SUBCLASSES: tuple[tuple[type, Callable[[Any], Any]], ...] = (
    (str, str.__str__),
    (int, int.__int__),
    (float, float.__float__),
    (dict, lambda mapping: dict(mapping.items())),
    (list, list),
    (tuple, list),
)
# type → tag, writer, reader; datetime stands before date, its base.
_TAGGED: dict[type, tuple[str, Callable[[Any], Any], Callable[[Any], Any]]] = {
    datetime: ("datetime", _write_moment, _read_datetime),
    date: ("date", date.isoformat, date.fromisoformat),
    UUID: ("uuid", UUID.__str__, UUID),
    Decimal: ("decimal", _write_decimal, Decimal),
    bytes: ("bytes", lambda octets: b64encode(octets).decode(), b64decode),
    timedelta: (
        "timedelta",
        lambda span: [span.days, span.seconds, span.microseconds],
        lambda parts: timedelta(*parts),
    ),
    time: ("time", _write_moment, _read_time),
}
_READERS: dict[str, Callable[[Any], Any]] = {tag: read for tag, _, read in _TAGGED.values()} | {"dict": dict}
_ADVICE: tuple[tuple[tuple[type, ...], str], ...] = (
    ((AbstractSet,), "pass a list, as sorted(value)."),
    ((Model,), "pass its primary key, value.pk."),
    ((QuerySet,), "pass primary keys, as list(value.values_list('pk', flat=True))."),
    ((MultiValueDict,), "pass dict(value.lists()), or value.dict() for the last value of each key."),
    ((Promise, PurePath, BaseException), "pass str(value)."),
    ((Enum,), "pass value.value."),
    ((bytearray, memoryview), "pass bytes(value)."),
    ((Mapping,), "pass dict(value)."),
    ((Iterable,), "pass list(value)."),
)
