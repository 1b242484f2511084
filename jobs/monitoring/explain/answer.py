"""The answer to "why": plain data with `str()`. Reads no database."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from django.utils.timezone import localtime

from jobs.monitoring.counting import Bounded


@dataclass(frozen=True)
class Holder:
    """A job that holds what another one waits for."""

    id: UUID
    task: str
    key: str | None
    state: str

    def __str__(self) -> str:
        return f"{self.id}  {self.task}{'' if self.key is None else f'  {self.key}'}  {self.state}"


@dataclass(frozen=True)
class Reason:
    """One reason that keeps a job from running (`blocks`), or a remark about it. Fields that do not apply are empty.

    `limit` names the limit, budget or resource, `size` is what it allows, `used` what is in use, `need` what the job
    needs. `until` is when this ends by itself, `since` when it began. `holders` are some of the jobs that hold it,
    `more_holders` counts the others.
    """

    kind: str
    sentence: str
    blocks: bool = True
    pool: str = ""
    limit: str = ""
    partition: str = ""
    size: float | None = None
    used: float | None = None
    need: float | None = None
    until: datetime | None = None
    since: datetime | None = None
    person: str = ""
    text: str = ""
    command: str = ""
    holders: tuple[Holder, ...] = ()
    more_holders: int = 0

    @property
    def short_by(self) -> float | None:
        """How much more this job needs than is free."""
        if self.size is None or self.used is None or self.need is None:
            return None
        return max(0.0, self.used + self.need - self.size)

    def as_dict(self) -> dict[str, Any]:
        """As plain data, without empty fields."""
        fields = {**vars(self), "short_by": self.short_by, "more_holders": self.more_holders or None}
        fields["holders"] = [{**vars(holder), "id": str(holder.id)} for holder in self.holders]
        given = {name: value for name, value in fields.items() if value is not None and value not in ("", [])}
        return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in given.items()}


@dataclass(frozen=True)
class Why:
    """Why a job is where it is.

    `position` counts the jobs of its lane that come before it (None: it waits for no admission), `lanes_before` the
    other lanes with room that come first (None: its own has no room), `is_next` says that the next admission takes
    it.
    """

    job_id: UUID
    state: str
    reasons: tuple[Reason, ...]
    position: Bounded | None = None
    lanes_before: int | None = None
    is_next: bool = False

    @property
    def blockers(self) -> tuple[Reason, ...]:
        """The reasons that keep it from running; the others are remarks."""
        return tuple(reason for reason in self.reasons if reason.blocks)

    @property
    def sentence(self) -> str:
        """All of it in one sentence."""
        first, *others = self.blockers or self.reasons[:1]
        if not others:
            return first.sentence
        more = f"{len(others)} more things are" if len(others) > 1 else "one more thing is"
        return f"{first.sentence.removesuffix('.')}; and {more} in the way."

    def seen_by(self, visible: Collection[UUID]) -> Why:
        """The same for a person who may see only these jobs: the other holders are counted, not named."""
        return replace(self, reasons=tuple(_without_others(reason, visible) for reason in self.reasons))

    @property
    def holder_ids(self) -> set[UUID]:
        """The ids of all jobs it names."""
        return {holder.id for reason in self.reasons for holder in reason.holders}

    def as_dict(self) -> dict[str, Any]:
        """As plain data that JSON can carry; moments as ISO 8601."""
        position = None if self.position is None else {"number": self.position.number, "more": self.position.more}
        return {
            "job_id": str(self.job_id),
            "state": self.state,
            "sentence": self.sentence,
            "reasons": [reason.as_dict() for reason in self.reasons],
            "position": position,
            "lanes_before": self.lanes_before,
            "is_next": self.is_next,
        }

    def __str__(self) -> str:
        return "\n".join([f"{self.job_id} is {self.state}.", *self._lines()])

    def _lines(self) -> Iterator[str]:
        for reason in self.reasons:
            yield f"- {reason.sentence}"
            if reason.until is not None:
                yield f"    {'until' if reason.blocks else 'at'} {localtime(reason.until):%Y-%m-%d %H:%M:%S %Z}"
            yield from (f"    held by {holder}" for holder in reason.holders)
            if reason.more_holders:
                yield f"    {'and' if reason.holders else 'held by'} {reason.more_holders:,} more"
            if reason.command:
                yield f"    {reason.command}"


def _without_others(reason: Reason, visible: Collection[UUID]) -> Reason:
    shown = tuple(holder for holder in reason.holders if holder.id in visible)
    return replace(reason, holders=shown, more_holders=reason.more_holders + len(reason.holders) - len(shown))
