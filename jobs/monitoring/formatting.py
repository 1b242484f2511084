"""Values as text for people: durations, ages, JSON without secrets. Templates escape it.

Reads no clock and no database, and changes no value.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, datetime, time
from typing import Any

from jobs.core import encoding
from jobs.core.options import rate
from jobs.models import Attempt, Job, Limit, LimitKind, Pool

MAX_SHOWN = 20_000  # characters of one value on a page
MAX_DETAIL = 200  # characters of each detail of an event
MAX_EXCERPT = 60  # characters of all arguments in a list
_PICTURES = ("base64", "image_png")


def as_json(value: Any, *, limit: int | None = MAX_SHOWN) -> str:
    """A stored value as indented JSON with secrets masked, at most `limit` characters; a cut is marked."""
    text = json.dumps(_brief(encoding.mask(value)), indent=2, ensure_ascii=False, default=plain)
    return text if limit is None else shortened(text, limit)


def plain(value: Any) -> Any:
    """A value that JSON cannot hold, as text; of bytes the size."""
    if isinstance(value, bytes):
        return f"<{len(value):,} bytes>"
    return value.isoformat() if isinstance(value, (date, datetime, time)) else str(value)


def figures(figures: Mapping[str, Any]) -> list[str]:
    """The answer of `maintenance.counters.figures`, in two sentences."""
    deleted = {name: number for name, number in figures["pruned"].items() if name != "at"}
    last = f"Last pruned: {_counts(deleted)}, {figures['pruned']['at']}." if deleted else "Nothing was pruned so far."
    repaired = figures["repaired"]
    return [last, f"Repaired so far: {_counts(repaired)}." if repaired else "Nothing was repaired so far."]


def _counts(numbers: Mapping[str, int]) -> str:
    return ", ".join(f"{number:,} {name}" for name, number in sorted(numbers.items()))


def excerpt(args: str, kwargs: str) -> str:
    """The arguments in at most `MAX_EXCERPT` characters, masked, read from the beginnings of their stored texts.

    `["json", 79]` and `{"deep": true}` give "json, 79, deep=true".
    """
    words: list[str] = []
    for head in (args, kwargs):
        pairs, has_more = encoding.beginning(head)
        words += [f"{name}={_word(value)}" if name else _word(value) for name, value in _masked(pairs)]
        words += ["…"] if has_more else []
    return clipped(", ".join(words), MAX_EXCERPT)


def clipped(text: str, limit: int) -> str:
    """The beginning of a text on one line, with "…" for what follows."""
    return text if len(text) <= limit else f"{text[: limit - 1].rstrip()}…"


def shortened(text: str, limit: int) -> str:
    """The beginning of a text, and how much follows."""
    return text if len(text) <= limit else f"{text[:limit]}\n… {len(text) - limit:,} characters more"


def duration(seconds: float) -> str:
    """ "340 ms", "2.4 s", "1 min 05 s", "3 h 20 min", "12 d 4 h"."""
    if seconds < 1:
        return f"{max(0, round(seconds * 1000))} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    minutes, hours, days = whole // 60, whole // 3600, whole // 86_400
    if minutes < 60:
        return f"{minutes} min {whole % 60:02} s"
    return f"{hours} h {minutes % 60:02} min" if hours < 48 else f"{days} d {hours % 24} h"


def number(value: float | None) -> str:
    """ "1,024", "0.5"; "–" for None."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if value == int(value) else f"{value:,.3f}".rstrip("0")


def distance(moment: datetime, now: datetime) -> str:
    """ "just now", "5 min ago", "in 3 h": coarse, for a list."""
    seconds = (now - moment).total_seconds()
    if abs(seconds) < 2:
        return "just now"
    size = abs(seconds)
    steps = ((86_400 * 2, 86_400, "d"), (3600, 3600, "h"), (60, 60, "min"), (0, 1, "s"))
    words = next(f"{int(size // unit)} {name}" for least, unit, name in steps if size >= least)
    return f"{words} ago" if seconds > 0 else f"in {words}"


def subject(limit: Limit) -> str:
    """ "task shop.render, in pool gpu, for each customer": what a limit is for."""
    parts = [
        f"task {limit.task}" if limit.task else "all jobs",
        f"in pool {limit.pool}" if limit.pool else "in all pools",
    ]
    if limit.partition:
        parts.append(f"with {limit.partition_by} {limit.partition}")
    elif limit.partition_by:
        parts.append(f"for each {limit.partition_by}")
    return ", ".join(parts)


def size(limit: Limit, holds: float | None) -> str:
    """ "5 at once", "100/10m burst 5". `holds` is the size in force, which may be a setting's."""
    if holds is None:
        return "no limit"
    is_rate = limit.kind == LimitKind.RATE
    return rate.spelled(holds, limit.period, limit.burst) if is_rate else f"{number(holds)} at once"


def closed(pool: Pool, now: float) -> str:
    """ "paused by ada 5 min ago: disk full"; "" for an open pool. `now` is the database's, in epoch seconds."""
    since = pool.draining_at or pool.paused_at
    if since is None:
        return ""
    who = f" by {pool.paused_by}" if pool.paused_by else ""
    why = f": {pool.pause_reason}" if pool.pause_reason else ""
    when = distance(since, datetime.fromtimestamp(now, tz=UTC))
    return f"{'draining' if pool.draining_at else 'paused'}{who} {when}{why}"


def ran_for(job: Job, now: datetime | None) -> str:
    """How long the newest attempt has run, or ran; "" if none has begun. `now` is the database's."""
    if job.started_at is None:
        return ""
    end = job.finished_at or now
    return "" if end is None else duration((end - job.started_at).total_seconds())


def event_details(data: Mapping[str, Any]) -> str:
    """The data of an event as text: a person's reason in quotes, why it happened, the error, what it replaces."""
    details = [f"“{data['reason']}”"] if data.get("reason") else []
    details += [str(data[name]) for name in ("why", "error") if data.get(name)]
    details += [f"in place of {data['instead_of']}"] if data.get("instead_of") else []
    return " · ".join(clipped(" ".join(text.split()), MAX_DETAIL) for text in details)


def bounds(job: Job) -> list[tuple[str, str]]:
    """The bounds of an attempt, with titles: its time-out and the resources it declared."""
    seconds = (("Time-out", job.timeout), ("Grace", job.grace))
    megabytes = (("Memory declared", job.memory_mb), ("Disk declared", job.disk_mb))
    return [
        *((title, duration(value)) for title, value in seconds if value is not None),
        *((title, f"{value:,} MB") for title, value in megabytes if value is not None),
    ]


def attempts(job: Job) -> str:
    """ "2 of 4": the newest attempt's number and how many there may be; only the number where one is all."""
    if not job.attempt:
        return "–"
    return f"{job.attempt} of {job.max_retries + 1}" if job.max_retries else str(job.attempt)


def used(attempt: Attempt) -> list[str]:
    """The resources that an attempt used: "1.2 s of CPU, 85 % of a core", "212 MB of memory", "score 92"."""
    facts = []
    if attempt.cpu_seconds is not None:
        share = "" if attempt.average_cpu is None else f", {attempt.average_cpu:.0f} % of a core"
        facts.append(f"{duration(attempt.cpu_seconds)} of CPU{share}")
    for megabytes, what in ((attempt.peak_memory_mb, "memory"), (attempt.peak_disk_mb, "disk")):
        if megabytes is not None:
            facts.append(f"{megabytes:,.0f} MB of {what}" if megabytes >= 1 else f"under 1 MB of {what}")
    if attempt.metrics.get("child_processes"):
        facts.append(f"child processes: {attempt.metrics['child_processes']}")
    if attempt.performance_score is not None:
        facts.append(f"score {attempt.performance_score:.0f}")
    return facts


def _masked(pairs: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    for name, value in pairs:
        yield name, encoding.mask({name: value})[name]


def _word(value: Any) -> str:
    """A value on one line; a string without its quotes, unless nothing would be left of it."""
    if isinstance(value, str) and (text := " ".join(value.split())):
        return text
    return json.dumps(value, ensure_ascii=False, default=plain)


def _brief(value: Any) -> Any:
    """Without the bulk of a picture."""
    if not isinstance(value, Mapping):
        return value
    return {
        name: f"<{len(item):,} characters>" if name in _PICTURES and isinstance(item, str) else item
        for name, item in value.items()
    }
