"""Which partition a call belongs to."""

from __future__ import annotations

import inspect
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from jobs.core.options.partition import name_of, value_of
from jobs.exceptions import InvalidOption

ID = UUID("0190c7a4-5d1e-7c3a-8b1f-2a6f0e9d4c11")


def render(scene: str, size: int = 3, *, customer: str = "nobody") -> None: ...


def of_the_scene(scene: str, *_: Any, **__: Any) -> str:
    return scene[0]


PARAMETERS = inspect.signature(render)


def _value(by: Any, *args: Any, metadata: dict[str, Any] | None = None, **kwargs: Any) -> str:
    return value_of(by, PARAMETERS, args, kwargs, metadata or {})


@pytest.mark.parametrize(
    ("by", "value"),
    [
        (None, ""),
        ("scene", "castle"),
        ("customer", "acme"),
        ("size", "3"),
        ("region", "eu"),
        (of_the_scene, "c"),
        (lambda *_, **kwargs: kwargs["customer"], "acme"),
    ],
)
def test_by_a_parameter_its_default_the_metadata_or_a_callable(by: Any, value: str) -> None:
    assert _value(by, "castle", customer="acme", metadata={"region": "eu", "customer": "not this one"}) == value


def test_without_the_function_a_keyword_argument_or_the_metadata_tells() -> None:
    assert value_of("customer", None, (), {"customer": "acme"}, {}) == "acme"
    assert value_of("region", None, (), {}, {"region": 7}) == "7"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("ä", "ä"),
        (5, "5"),
        (True, "True"),
        (1.5, "1.5"),
        (None, ""),
        (ID, str(ID)),
        (Decimal("1.0"), "1.0"),
        (date(2026, 11, 22), "2026-11-22"),
    ],
)
def test_what_a_partition_may_be(value: Any, text: str) -> None:
    assert _value("customer", "castle", customer=value) == text


@pytest.mark.parametrize("value", [["a"], {"a": 1}, b"x", print, "x" * 201, "a\0b", "\udfff"], ids=repr)
def test_what_it_may_not_be(value: Any) -> None:
    with pytest.raises(InvalidOption, match="partition_by") as caught:
        _value("customer", "castle", customer=value)
    assert caught.value.option == "partition_by"


def test_a_name_that_nothing_has() -> None:
    with pytest.raises(InvalidOption, match="'tenant' is no parameter"):
        _value("tenant", "castle")


def test_a_callable_that_fails() -> None:
    with pytest.raises(InvalidOption, match="KeyError"):
        _value(lambda *_, **kwargs: kwargs["tenant"], "castle")


def test_partitions_are_named_after_what_they_are_by() -> None:
    assert name_of(None, "demo.render") == ""
    assert name_of("customer", "demo.render") == "customer"
    assert name_of(of_the_scene, "demo.render") == "of_the_scene"
    assert name_of(lambda: "", "demo.render") == "demo.render"
    assert len(name_of(lambda: "", "x" * 200)) == 100
