"""The door: what passes comes back as it was, what cannot be stored is refused with its place, errors always pass."""

import copy
import json
import math
import traceback
from collections import OrderedDict, defaultdict, namedtuple
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from pathlib import Path
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from django.contrib.contenttypes.models import ContentType
from django.http import QueryDict
from django.test import override_settings
from django.utils.translation import gettext_lazy
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.core.encoding import MASK, clean_text, describe_error, dumps, loads, mask
from jobs.exceptions import InvalidPayload, JobFailed

BERLIN = ZoneInfo("Europe/Berlin")
storable_text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
zones = st.sampled_from([None, UTC, timezone(timedelta(hours=-3, minutes=30)), BERLIN, ZoneInfo("UTC")])
leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    storable_text,
    st.binary(),
    st.uuids(),
    st.dates(),
    st.timedeltas(),
    st.decimals(allow_nan=False, allow_infinity=False),
    st.datetimes(timezones=zones, allow_imaginary=True),
    st.times(timezones=zones),
)
keys = storable_text | st.sampled_from(["__jobs__", "__type__", "value"])
tags = st.sampled_from(["dict", "datetime", "date", "time", "timedelta", "uuid", "decimal", "bytes", "x"])
payloads = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner) | st.dictionaries(keys, inner) | st.fixed_dictionaries({"__jobs__": tags, "value": inner})
    ),
    max_leaves=20,
)
anything = st.recursive(
    leaves | st.text() | st.floats() | st.complex_numbers() | st.decimals() | st.builds(object),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers() | st.none(), inner) | st.tuples(inner),
    max_leaves=20,
)


def assert_same(found: Any, expected: Any) -> None:
    """Equal in value and in type, down to the sign of a zero, the digits of a Decimal, the zone and the fold."""
    assert type(found) is type(expected)
    if isinstance(expected, dict):
        assert list(found) == list(expected)
        for key in expected:
            assert_same(found[key], expected[key])
    elif isinstance(expected, list):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other)
    else:
        assert found == expected
        assert repr(found) == repr(expected)


@given(payloads)
@settings(deadline=None)
def test_whatever_passes_comes_back_as_it_was(value: Any) -> None:
    assert_same(loads(dumps(value)), value)


@given(anything)
@settings(deadline=None)
def test_whatever_comes_is_either_storable_or_refused(value: Any) -> None:
    try:
        text = dumps(value)
    except InvalidPayload as refused:
        text = json.dumps(str(refused), ensure_ascii=False)  # the refusal itself is shown and logged
    assert "\0" not in text
    text.encode()
    loads(text)


@given(payloads)
@settings(deadline=None)
def test_the_value_itself_is_left_alone(value: Any) -> None:
    before = copy.deepcopy(value)
    dumps(value)
    assert_same(value, before)


def test_the_text_is_compact_and_readable() -> None:
    assert dumps([["castle"], {"customer": "Žofia"}]) == '[["castle"],{"customer":"Žofia"}]'


def test_a_dict_that_looks_like_a_tag_stays_a_dict() -> None:
    for value in [
        {"__type__": "x"},
        {"__jobs__": "datetime", "value": "2026-01-01T00:00:00"},
        {"__jobs__": {"__jobs__": "bytes", "value": "AA=="}},
        {"__jobs__": "dict", "value": [["a", 1]]},
        {"__jobs__": datetime(2026, 1, 1, tzinfo=UTC)},
    ]:
        assert_same(loads(dumps(value)), value)


def test_a_key_with_a_hash_of_its_own_cannot_forge_a_tag() -> None:
    class Key(str):
        __slots__ = ()

        def __hash__(self) -> int:
            return 7

    assert loads(dumps({Key("__jobs__"): "bytes", "value": "AA=="})) == {"__jobs__": "bytes", "value": "AA=="}


def test_times_of_a_clock_change_keep_zone_and_fold() -> None:
    first = datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN)
    second = first.replace(fold=1)
    for moment in (first, second):
        again = loads(dumps(moment))
        assert again == moment
        assert again.tzinfo is BERLIN
        assert again.utcoffset() == moment.utcoffset()


def test_an_unknown_zone_leaves_the_offset() -> None:
    text = dumps(datetime(2026, 7, 1, 12, tzinfo=BERLIN)).replace("Europe/Berlin", "Europe/Nowhere")
    assert loads(text) == datetime(2026, 7, 1, 12, tzinfo=BERLIN)


class Colour(StrEnum):
    RED = "red"


class Level(IntEnum):
    HIGH = 3


Point = namedtuple("Point", "x y")  # noqa: PYI024 - the untyped one is what users have


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        ((1, (2, [3])), [1, [2, [3]]]),
        (Colour.RED, "red"),
        ({Colour.RED: Colour.RED}, {"red": "red"}),
        (Level.HIGH, 3),
        (Point(1, date(2026, 1, 2)), [1, date(2026, 1, 2)]),
        (OrderedDict(a=1), {"a": 1}),
        (defaultdict(list, a=[UUID(int=1)]), {"a": [UUID(int=1)]}),
    ],
)
def test_relatives_of_the_plain_types_come_back_plain(value: Any, plain: Any) -> None:
    assert_same(loads(dumps(value)), plain)


class Mood(Enum):
    GOOD = 1


class Scene:
    def __repr__(self) -> str:
        raise RuntimeError("never shown")


@dataclass
class Order:
    number: int


def nested(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels - 1):
        value = [value]
    return value


def endless() -> dict[str, Any]:
    value: dict[str, Any] = {}
    value["self"] = [value]
    return value


REFUSED: list[tuple[Any, str, str, str]] = [
    (math.nan, "args", "NaN is not JSON", "None"),
    ([{"name": math.nan}], "args[0].name", "NaN is not JSON", "None"),
    ([math.inf], "args[0]", "Infinity is not JSON", "None"),
    ([-math.inf], "args[0]", "-Infinity is not JSON", "None"),
    ([Decimal("NaN")], "args[0]", "is not JSON", "None"),
    ([Decimal("Infinity")], "args[0]", "is not JSON", "None"),
    (["a\0b"], "args[0]", "NUL character (\\u0000) at position 1", "remove"),
    (["ab\ud83d"], "args[0]", "lone surrogate (\\ud83d) at position 2", "remove"),
    ([{"a\0": 1}], "args[0]['a\\x00']", "NUL", "remove"),
    ([{"\udfff": 1}], "args[0]['\\udfff']", "lone surrogate", "remove"),
    ([{3: 1}], "args[0][3]", "3 is a key of type int", "strings"),
    ([{None: 1}], "args[0][None]", "key of type NoneType", "strings"),
    ([{("a", 1): 1}], "args[0][('a', 1)]", "key of type tuple", "strings"),
    ([{"b"}], "args[0]", "{'b'} is of type set", "sorted(value)"),
    ([frozenset()], "args[0]", "of type frozenset", "sorted(value)"),
    ([Scene()], "args[0]", "of type Scene", "plain values"),
    ([object], "args[0]", "of type type", "plain values"),
    ([Order(1)], "args[0]", "of type Order", "dataclasses.asdict(value)"),
    ([ContentType(app_label="a")], "args[0]", "of type ContentType", "value.pk"),
    ([ContentType.objects.none()], "args[0]", "of type QuerySet", "values_list"),
    ([QueryDict("a=1&a=2")], "args[0]", "of type QueryDict", "lists()"),
    ([gettext_lazy("yes")], "args[0]", "of type __proxy__", "str(value)"),
    ([Path("/a")], "args[0]", "of type PosixPath", "str(value)"),
    ([bytearray(b"a")], "args[0]", "of type bytearray", "bytes(value)"),
    ([Mood.GOOD], "args[0]", "of type Mood", "value.value"),
    ([range(3)], "args[0]", "of type range", "list(value)"),
    ([{}.keys()], "args[0]", "of type dict_keys", "sorted(value)"),
    ([ValueError("x")], "args[0]", "of type ValueError", "str(value)"),
    ([10**5000], "args[0]", "4,000 digits", "string"),
    (nested(101), "args[0][0][0][0][0][0] … [0][0][0][0][0][0]", "100 levels", "flatter"),
    (endless(), "args.self[0].self[0].self[0] … .self[0].self[0].self[0]", "contains itself", "flatter"),
    ({"two words": {"x": {1}}}, "args['two words'].x", "of type set", "sorted(value)"),
    ({"k" * 500: math.nan}, "args['kkk", "NaN", "None"),
]


@pytest.mark.parametrize(("value", "path", "what", "instead"), REFUSED, ids=[f"{r[1]} {r[2]}" for r in REFUSED])
def test_what_cannot_be_stored_is_refused_with_its_place(value: Any, path: str, what: str, instead: str) -> None:
    with pytest.raises(InvalidPayload) as refused:
        dumps(value)
    message = str(refused.value)
    assert refused.value.path == path or (path.endswith("kkk") and refused.value.path.startswith(path))
    assert message.startswith(refused.value.path + ": ")
    assert what in message
    assert instead in message
    assert len(message) < 500


def test_the_path_begins_with_the_field() -> None:
    with pytest.raises(InvalidPayload, match=r"^metadata\.size: NaN"):
        dumps({"size": math.nan}, field="metadata")


def test_a_refusal_shows_no_secret() -> None:
    for value in [{"password": "hunter\0two"}, {"apiKey": [{"inner": {"hunter"}}]}]:
        with pytest.raises(InvalidPayload) as refused:
            dumps(value)
        assert "hunter" not in str(refused.value)
        assert MASK in str(refused.value)


def test_a_hundred_levels_pass() -> None:
    assert loads(dumps(nested(100))) == nested(100)
    tagged: dict[str, Any] = {"__jobs__": 1}
    for _ in range(99):
        tagged = {"__jobs__": tagged}
    assert loads(dumps(tagged)) == tagged


@pytest.mark.parametrize(("letter", "room"), [("x", 98), ("ž", 49), ("😀", 24)])
@override_settings(JOBS={"MAX_PAYLOAD": 100})
def test_the_size_is_counted_in_bytes(letter: str, room: int) -> None:
    assert loads(dumps(letter * room)) == letter * room
    with pytest.raises(InvalidPayload) as refused:
        dumps(letter * (room + 1), field="kwargs")
    size = len(letter.encode()) * (room + 1) + 2
    assert str(refused.value).startswith(f"kwargs: {size} bytes as JSON, but JOBS['MAX_PAYLOAD'] allows 100;")


def test_what_another_version_wrote_is_named() -> None:
    for text in ['{"__jobs__":"colour","value":"red"}', '{"__jobs__":"uuid"}', '{"__jobs__":"decimal","value":"x"}']:
        with pytest.raises(InvalidPayload, match="was not written by this version"):
            loads(text)


# --- secrets


@pytest.mark.parametrize(
    "key",
    [
        "api_key",
        "X-API-Key",
        "apiKey",
        "Authorization",
        "credentials",
        "private_key",
        "Set-Cookie",
        "password",
        "PASSWORD",
        "db_password",
        "passwd",
        "clientSecret",
        "token",
        "access-token",
        "refreshTokens",
        "jwt",
    ],
)
def test_keys_that_look_secret_are_masked(key: str) -> None:
    value = {"deep": [{key: "hunter2", "name": "x"}]}
    assert mask(value) == {"deep": [{key: MASK, "name": "x"}]}
    assert value == {"deep": [{key: "hunter2", "name": "x"}]}


@pytest.mark.parametrize("secret", ["x", 1234, ["a", "b"], {"user": "x"}, None, True])
def test_whatever_is_under_the_key_is_masked(secret: Any) -> None:
    assert mask({"password": secret}) == {"password": MASK}


def test_what_is_no_secret_stays() -> None:
    value = {"author": "x", "key": "page-1", "max_tokens": 100, "session_id": "s", 3: "x", "pass": True}
    assert mask(value) == value


def test_the_patterns_may_be_others() -> None:
    assert mask({"iban": "DE1", "password": "x"}, patterns=["IBAN"]) == {"iban": MASK, "password": "x"}


# --- texts and errors


@given(st.text(), st.integers(1, 60))
@settings(deadline=None)
def test_a_cleaned_text_is_storable_and_short(text: str, limit: int) -> None:
    cleaned = clean_text(text, limit)
    cleaned.encode()
    assert "\0" not in cleaned
    assert len(cleaned) <= limit


def test_a_cut_is_marked() -> None:
    assert clean_text("a\0b\ud800c", 100) == "a\ufffdb\ufffdc"
    assert clean_text("x" * 100, 100) == "x" * 100
    assert clean_text("x" * 1_101, 1_000) == "x" * 960 + "… [141 characters more]"


def raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as caught:  # noqa: BLE001 - whatever is raised gets its traceback here
        return caught


def test_an_error_is_described() -> None:
    described = describe_error(raised(ValueError("no such scene")))
    assert described.type == "ValueError"
    assert described.message == "no such scene"
    assert described.traceback.startswith("Traceback (most recent call last)")
    assert described.traceback.endswith("ValueError: no such scene\n")
    assert describe_error(JobFailed("x")).type == "jobs.exceptions.JobFailed"


class HostileError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("not even this")

    __repr__ = __str__


class BrokenSyntaxError(SyntaxError):
    """Formatting it fails: the traceback module expects texts in its attributes."""

    def __init__(self) -> None:
        super().__init__("broken")
        self.filename, self.lineno, self.text = "f", 1, 3  # type: ignore[assignment]  # the fault under test


def test_an_error_that_cannot_be_shown_is_described_all_the_same() -> None:
    described = describe_error(raised(HostileError()))
    assert described.type.endswith("HostileError")
    assert "__str__ raised RuntimeError" in described.message
    assert "HostileError" in described.traceback


def test_an_error_that_cannot_be_formatted_is_described_all_the_same() -> None:
    error = raised(BrokenSyntaxError())
    with pytest.raises(AttributeError):
        traceback.format_exception(error)
    assert "cannot be shown" in describe_error(error).traceback


def test_a_huge_error_keeps_head_and_tail() -> None:
    described = describe_error(raised(ValueError("head" + "\ud800" * 200_000 + "tail")))
    assert described.message.startswith("head\ufffd")
    assert described.message.endswith(" characters more]")
    assert len(described.message) <= 10_000
    assert described.traceback.startswith("Traceback")
    assert described.traceback.endswith("tail\n")
    assert len(described.traceback) <= 50_000
    described.traceback.encode()
