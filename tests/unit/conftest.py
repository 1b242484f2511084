"""What the unit tests share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime

import pytest

from jobs.admission.publishing import JobMessage
from tests.app import stages
from tests.app.stages import Clock

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def clock(db: None) -> Iterator[Clock]:
    """The database's clock, standing at noon of a day in 2030: `clock.forward(60)`."""
    with ExitStack() as stack:
        yield Clock(NOON, stack)


@pytest.fixture
def sent() -> Iterator[list[JobMessage]]:
    """The doorbells that were sent in this test."""
    with stages.collected() as doorbells:
        yield doorbells
