"""Run keys: their text in the row, and the hash that keeps two of them apart."""

from __future__ import annotations

import hashlib
from enum import IntEnum, StrEnum
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.core.encoding.run_keys import MAX_LENGTH, active_key, key_text
from jobs.exceptions import InvalidOption

ID = UUID("01890000-0000-7000-8000-000000000001")
keys: st.SearchStrategy[Any] = st.recursive(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
    | st.integers()
    | st.uuids(),
    lambda inner: st.lists(inner, max_size=3).map(tuple),
    max_leaves=5,
)


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("page-1", "page-1"),
        ("", ""),
        (1, "1"),
        (-5, "-5"),
        (ID, str(ID)),
        ("ä€😀\n", "ä€😀\n"),
        (("a", 1), '["a", 1]'),
        ((), "[]"),
        (("a", ("b", ID)), f'["a", ["b", "{ID}"]]'),
        ("x" * MAX_LENGTH, "x" * 1000),
    ],
)
def test_the_text_of_a_key(key: Any, text: str) -> None:
    assert key_text(key) == text


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("x" * 1001, "1001 characters"),
        (("x" * 1000,), "characters"),
        (10**1000, "characters"),
        ("a\0", "NUL"),
        ("\ud800", "surrogate"),
        (10**5000, "bits"),
        ((10**5000,), "bits"),
        (None, "NoneType"),
        (1.5, "float"),
        (True, "bool"),
        (b"x", "bytes"),
        (["a"], "list"),
        (("a", None), "NoneType"),
        (("a", True), "bool"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_no_key(key: Any, message: str) -> None:
    with pytest.raises(InvalidOption, match=message) as caught:
        key_text(key)
    assert caught.value.option == "key"
    assert len(str(caught.value)) < 300


def test_type_and_manager_are_part_of_the_key() -> None:
    all_different = [
        ("", 1),
        ("", "1"),
        ("", (1,)),
        ("", ("1",)),
        ("", "[1]"),
        ("", ((1,),)),
        ("", str(ID)),
        ("", ID),
        ("a", 1),
        ("", ("a", "b")),
        ("", ("a,b",)),
        ("", ()),
        ("", ""),
        ("a", "bc"),
        ("ab", "c"),
    ]
    assert len({active_key(manager, key) for manager, key in all_different}) == len(all_different)


def test_what_is_equal_is_one_key() -> None:
    class Page(StrEnum):
        HOME = "page-1"

    class Number(IntEnum):
        ONE = 1

    for member, plain in ((Page.HOME, "page-1"), (Number.ONE, 1), ((Page.HOME, Number.ONE), ("page-1", 1))):
        assert key_text(member) == key_text(plain)
        assert type(key_text(member)) is str
        assert active_key("", member) == active_key("", plain)


def test_the_hash_is_the_same_in_every_process() -> None:
    assert active_key("completions", ("page", 1)) == active_key("completions", ("page", 1))
    assert active_key("", "page-1") == hashlib.sha256(b'["",["str","page-1"]]').hexdigest()


@given(keys, keys)
def test_equal_hashes_mean_equal_keys(one: Any, other: Any) -> None:
    assert (active_key("", one) == active_key("", other)) == (repr(one) == repr(other))


@given(keys)
def test_every_key_has_a_text_that_can_be_stored(key: Any) -> None:
    text = key_text(key)
    assert "\0" not in text
    text.encode()
