"""Workers' heartbeats as rows: register, beat, fence. Decides nothing about who is dead; see `steward.orphans`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from jobs.core.conf import settings
from jobs.core.db.dialects import dialect
from jobs.core.db.statements import execute
from jobs.core.db.values import prepare
from jobs.models import Pool, Worker


@dataclass(frozen=True)
class Identity:
    """One life of a worker: what its row says."""

    boot_id: UUID
    hostname: str
    pid: int
    pools: tuple[str, ...]
    slots: int
    can_stop: bool = False


def register(identity: Identity) -> None:
    """Insert the worker's row, and the rows of the pools that it brings into being.

    Once more does no harm: the answer to the first may have been lost with the connection.
    """
    using = settings.DATABASE
    for name in identity.pools:
        Pool.objects.using(using).get_or_create(name=name)
    execute(
        using,
        "INSERT INTO jobs_worker (boot_id, hostname, pid, pools, slots, can_stop, started_at, beat_at)"
        f" VALUES (%s, %s, %s, %s, %s, %s, {{now}}, {{now}}) "
        f"{dialect(using).on_conflict_update(['boot_id'], 'boot_id')}",
        [
            _id(identity.boot_id),
            identity.hostname,
            identity.pid,
            prepare(using, Worker, "pools", list(identity.pools)),
            identity.slots,
            identity.can_stop,
        ],
    )


def beat(boot_id: UUID, slots: int) -> bool:
    """Renew the heartbeat; False when this worker has been fenced (or its row is gone): it must not go on."""
    sql = "UPDATE jobs_worker SET beat_at = {now}, slots = %s WHERE boot_id = %s AND fenced_at IS NULL"
    return execute(settings.DATABASE, sql, [slots, _id(boot_id)]) == 1


def drain(boot_id: UUID) -> None:
    """Say that a worker takes no new work."""
    execute(settings.DATABASE, "UPDATE jobs_worker SET draining_at = {now} WHERE boot_id = %s", [_id(boot_id)])


def retire(boot_id: UUID) -> None:
    """Say that a worker has ended; what it left running is rescued like a dead one's."""
    sql = "UPDATE jobs_worker SET fenced_at = {now} WHERE boot_id = %s AND fenced_at IS NULL"
    execute(settings.DATABASE, sql, [_id(boot_id)])


def fence(boot_id: UUID, beat_seen: datetime) -> bool:
    """Declare a worker dead unless it has beaten since; False when it has."""
    using = settings.DATABASE
    seen = dialect(using).literal(beat_seen)  # a parameter would, on SQLite, not equal a beat at .000 of a second
    sql = f"UPDATE jobs_worker SET fenced_at = {{now}} WHERE boot_id = %s AND beat_at <= {seen} AND fenced_at IS NULL"
    return execute(using, sql, [_id(boot_id)]) == 1


def heartbeats() -> Sequence[tuple[UUID, datetime]]:
    """Boot id and last beat of every worker that is not fenced."""
    return list(Worker.objects.using(settings.DATABASE).unfenced().values_list("boot_id", "beat_at"))


def _id(boot_id: UUID) -> object:
    return prepare(settings.DATABASE, Worker, "boot_id", boot_id)
