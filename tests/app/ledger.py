"""What really happened, written by the bodies of test jobs: one line for each effect, in a file that no fault harms.

The file is named by JOBCENTER_TEST_LEDGER; a line is JSON with `what`, `pid`, and what else the body says.
"""

import json
import os
from pathlib import Path
from typing import Any

VARIABLE = "JOBCENTER_TEST_LEDGER"


def note(what: str, **more: Any) -> None:
    """Append one line; whole lines even when many processes write at once."""
    line = json.dumps({"what": what, "pid": os.getpid(), **more}) + "\n"
    file = os.open(os.environ[VARIABLE], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        os.write(file, line.encode())
    finally:
        os.close(file)


def read(path: Path, what: str | None = None) -> list[dict[str, Any]]:
    """The lines so far, oldest first; `what` keeps those of one name."""
    text = path.read_text() if path.exists() else ""
    lines = [json.loads(line) for line in text.splitlines()]
    return [line for line in lines if what in (None, line["what"])]
