"""A lane: all waiting jobs of a pool that differ, for admission, only in their rank.

Everything that decides whether a job has room is one of the facts here; the lane's id is a hash of them. So the first
job of a lane stands for all of them, and a lane without room is skipped whole, however many jobs wait in it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cached_property
from typing import Any, NamedTuple
from uuid import UUID

from jobs.core.conf import settings

MEMORY, CPU, DISK = "memory_mb", "cpu_weight", "disk_mb"
EXCLUSIVE = "exclusive"  # access of a writer, beside "shared"


class _Columns(NamedTuple):
    task: str
    partition_by: str = ""
    partition: str = ""
    access: str = ""
    memory_mb: int | None = None
    cpu_weight: float | None = None
    disk_mb: int | None = None
    resources: Mapping[str, float] | None = None
    max_concurrent: int | None = None
    rate: str = ""
    timeout: float | None = None
    grace: float | None = None


class Facts(_Columns):
    """What admission decides by. Needs are MB, CPU weight, or units of a named resource; times are seconds.

    A process caches the facts of the lanes it has read, with the properties below.
    """

    @property
    def lane(self) -> UUID:
        """The lane's id: a hash long enough that no partition can be chosen to collide with another lane.

        It has a UUID version because MariaDB rejects a UUID without one.
        """
        text = json.dumps([_plain(value) for value in self._replace(resources=self.resources or {})], sort_keys=True)
        return UUID(bytes=hashlib.blake2b(text.encode(), digest_size=16).digest(), version=5)

    @cached_property
    def tenant(self) -> tuple[str, str]:
        """The job's tenant in the fair share: its partition; all jobs without a partition are one tenant."""
        return (self.partition_by, self.partition) if self.partition_by else ("", "")

    @property
    def turn_with_large(self) -> tuple[str, str]:
        """The key of the tenant's last turn with a large job, beside that of its turns; no partition has such a key.

        It is hashed because both names together are longer than the column.
        """
        return "", hashlib.blake2b("=".join(self.tenant).encode(), digest_size=16).hexdigest()

    @property
    def longest(self) -> float | None:
        """Seconds from its start until it has ended, by force if necessary; None without a time-out."""
        return self.timeout + (settings.GRACE if self.grace is None else self.grace) if self.timeout else None

    @cached_property
    def needs(self) -> Mapping[str, float]:
        """What the job takes of the pool's budgets while it is in flight, by name."""
        if self.memory_mb is self.cpu_weight is self.disk_mb is None and not self.resources:
            return {}
        named = {MEMORY: self.memory_mb, CPU: self.cpu_weight, DISK: self.disk_mb, **(self.resources or {})}
        return {name: float(amount) for name, amount in named.items() if amount}


COLUMNS = Facts._fields


def facts_of(row: Mapping[str, Any]) -> Facts:
    """The facts of a job, from its columns by name."""
    return Facts(**{name: row[name] for name in COLUMNS})


def _plain(value: Any) -> Any:
    """512 and 512.0 are the same need."""
    if isinstance(value, Mapping):
        return {name: _plain(amount) for name, amount in value.items()}
    return float(value) if isinstance(value, (int, float)) else value
