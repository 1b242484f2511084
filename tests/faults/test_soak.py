"""A minute of the soak: `make soak` runs it for longer."""

from pathlib import Path

import pytest

from tests.services import Stack
from tests.soak.running import soak

SECONDS, SEED = 60, 17  # every kind of fault comes in this one's first minute


@pytest.mark.main_stack_only(reason="its harm restarts a PostgreSQL and flushes a Redis")
@pytest.mark.timeout(360)
def test_a_minute_of_random_harm_loses_and_repeats_nothing(stack: Stack, ledger_file: Path, tmp_path: Path) -> None:
    """Fault 55, in short: see tests/soak."""
    verdict = soak(stack, SECONDS, SEED, tmp_path, ledger_file, print)
    print("\n".join(verdict.lines))  # noqa: T201  # pytest shows it with a failure
    assert not verdict.wrong, "\n".join(verdict.wrong)
