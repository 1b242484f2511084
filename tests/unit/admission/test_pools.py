"""Which pools exist, and what is remembered of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import transaction

from jobs.admission import pools
from jobs.exceptions import UnknownPool
from jobs.models import Pool

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def unremembered() -> Iterator[None]:
    pools.forget()
    yield
    pools.forget()


def _nobody() -> set[str]:
    return set()


def test_a_pool_that_exists() -> None:
    assert pools.known("default", _nobody) == "default"


def test_a_pool_that_does_not() -> None:
    Pool.objects.create(name="gpu")
    with pytest.raises(UnknownPool, match="Did you mean 'gpu'"):
        pools.known("gpo", _nobody)
    with pytest.raises(UnknownPool, match="Did you mean 'declared'"):
        pools.known("declard", lambda: {"declared"})


def test_a_declared_pool_comes_into_being() -> None:
    assert pools.known("declared", lambda: {"declared"}) == "declared"
    assert Pool.objects.filter(name="declared").exists()


def test_inside_a_transaction_nothing_is_remembered(django_assert_num_queries: Any) -> None:
    for _ in range(2):
        with django_assert_num_queries(1):
            pools.known("default", _nobody)


@pytest.mark.django_db(transaction=True)
def test_what_is_committed_is_remembered_until_told_otherwise(django_assert_num_queries: Any) -> None:
    pools.known("default", _nobody)
    with django_assert_num_queries(0):
        assert pools.known("default", _nobody) == "default"
    pools.forget()
    with django_assert_num_queries(1):
        pools.known("default", _nobody)


@pytest.mark.django_db(transaction=True)
def test_what_is_rolled_back_is_not() -> None:
    with transaction.atomic():
        Pool.objects.create(name="fleeting")
        assert pools.known("fleeting", _nobody) == "fleeting"
        transaction.set_rollback(True)
    with pytest.raises(UnknownPool):
        pools.known("fleeting", _nobody)
