"""The demo's private directory, which goes when the supervisor goes, even one that is killed."""

from __future__ import annotations

import secrets
import subprocess
import tempfile
from pathlib import Path

LONGEST_SOCKET_PATH = 100  # the system refuses a unix socket with a longer one
# Waits for the end of its input, which is the end of the supervisor. Repeats, as dying processes may still be writing.
_SWEEP = 'cat >/dev/null; for again in 1 2 3 4 5; do rm -rf -- "$1" && exit; sleep 0.2; done'


def a_new_path() -> Path:
    """A path where nothing is yet, short enough for a socket in it."""
    name = f"jobcenter-demo-{secrets.token_hex(4)}"
    path = Path(tempfile.gettempdir()) / name
    return path if len(str(path)) < LONGEST_SOCKET_PATH - 20 else Path("/tmp") / name  # noqa: S108 - made with 0700


class PrivateDirectory:
    """A directory for this user only, and beside it a tiny process that removes it when this one ends."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._sweeper: subprocess.Popen[bytes] | None = None

    def make(self) -> None:
        """Make it; FileExistsError where something is already."""
        self.path.mkdir(mode=0o700)
        self._sweeper = subprocess.Popen(
            ["/bin/sh", "-c", _SWEEP, "sweeper", str(self.path)], stdin=subprocess.PIPE, start_new_session=True
        )

    def remove(self) -> None:
        """Have it removed, and wait for that."""
        if self._sweeper is not None:
            self._sweeper.communicate()
