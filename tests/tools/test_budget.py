"""`tests/budget.py`: a group that takes twice the CPU of its record fails, a part of one and a new one do not."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests import budget, run

BURN = "import time\nwhile time.process_time() < 0.3: pass"


@pytest.mark.parametrize(
    ("recorded", "is_whole", "passes"),
    [({"group": 1}, True, False), ({"group": 1}, False, True), ({"group": 10_000}, True, True), ({}, True, True)],
    ids=["too much", "a part", "enough", "new"],
)
def test_a_group_that_doubles_fails(
    recorded: dict[str, int], is_whole: bool, passes: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budget, "RECORDED", tmp_path / "budget.json")
    budget.RECORDED.write_text(json.dumps(recorded))
    meter = budget.Meter()
    subprocess.run([sys.executable, "-c", BURN], check=True)
    is_cheap, text = meter.told("group", is_whole=is_whole)
    assert is_cheap is passes
    assert float(text.split()[0]) in (0, 1)
    assert ("TOO MUCH" in text) is not passes


def test_every_group_has_a_record() -> None:
    assert json.loads(budget.RECORDED.read_text()).keys() == set(run.GROUPS)
