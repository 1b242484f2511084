"""Where one trial happens: its directory, database, broker and the servers' process ids.

The harness writes it into the environment, the trial and its workers read it there. Must not import Django or Celery.
"""

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

_PREFIX = "BENCH_"


@dataclass(frozen=True)
class Place:
    """All values are private to one trial, but for the servers."""

    directory: str
    database: str
    postgres_socket: str
    postgres_user: str
    postgres_pid: int
    redis_socket: str
    redis_database: int
    redis_pid: int

    @classmethod
    def from_environ(cls, environ: Mapping[str, str] = os.environ) -> "Place":
        """Read what `environ()` wrote; a `KeyError` names the variable that is missing."""
        text = {name: environ[_PREFIX + name.upper()] for name in cls.__dataclass_fields__}
        numbers = {name: int(text[name]) for name in ("postgres_pid", "redis_database", "redis_pid")}
        return cls(**{**text, **numbers})  # type: ignore[arg-type]  # the two dicts together have every field's type

    def environ(self) -> dict[str, str]:
        """The variables that carry this place to a child process."""
        return {_PREFIX + name.upper(): str(value) for name, value in asdict(self).items()}

    @property
    def broker_url(self) -> str:
        """The broker as Celery spells it."""
        return f"redis+socket://{self.redis_socket}?virtual_host={self.redis_database}"

    @property
    def stamps(self) -> Path:
        """The file in which bodies leave the times they ran."""
        return Path(self.directory) / "stamps"

    @property
    def ready(self) -> Path:
        """The file in which a worker leaves the time it was ready."""
        return Path(self.directory) / "ready"

    @property
    def release(self) -> Path:
        """The file whose existence lets the bodies go that hold a worker's slots."""
        return Path(self.directory) / "release"

    @property
    def worker_log(self) -> Path:
        """What the trial's workers print."""
        return Path(self.directory) / "worker.log"
