"""Filters and tags that show values on the pages. All text from a job is escaped, here or by the template."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from django import template
from django.utils.html import escape, format_html
from django.utils.safestring import SafeString, mark_safe
from django.utils.timezone import localtime

from jobs.models import Attempt, Job
from jobs.monitoring import formatting

register = template.Library()

_TOKEN = re.compile(
    r'(?P<string>"(?:\\.|[^"\\])*"?)(?P<colon>\s*:)?'  # optional end: the text may be cut
    r"|(?P<number>-?\b\d+(?:\.\d+)?(?:[eE][+-]?\d+)?\b)"
    r"|(?P<word>\b(?:true|false|null)\b)"
)


@register.filter
def json_block(value: Any) -> SafeString:
    """A value as indented JSON, masked, coloured by classes."""
    return mark_safe(_coloured(formatting.as_json(value)))  # noqa: S308 - every piece was escaped


@register.filter
def event_details(data: dict[str, Any]) -> str:
    """The data of an event as text."""
    return formatting.event_details(data)


@register.filter
def badge(state: str) -> SafeString:
    """A state as a badge."""
    return format_html('<span class="badge s-{}">{}</span>', state, state)


@register.simple_tag
def ago(moment: datetime | None, now: datetime) -> SafeString:
    """A moment as its distance from now, with the exact time in the title."""
    if moment is None:
        return mark_safe("–")
    words = formatting.distance(moment, now)
    return format_html('<time datetime="{}" title="{}">{}</time>', moment.isoformat(), _exact(moment), words)


@register.simple_tag
def moment(value: datetime | None) -> SafeString:
    """An exact moment."""
    if value is None:
        return mark_safe("–")
    return format_html('<time datetime="{}">{}</time>', value.isoformat(), _exact(value))


@register.filter
def seconds(value: float | None) -> str:
    """Seconds in words."""
    return "" if value is None else formatting.duration(value)


@register.filter
def amount(value: float | None) -> str:
    """ "1,024"."""
    return formatting.number(value)


@register.simple_tag
def ran_for(job: Job, now: datetime) -> str:
    """How long a job has run, or ran."""
    return formatting.ran_for(job, now)


@register.filter
def attempts(job: Job) -> str:
    """ "2 of 4"."""
    return formatting.attempts(job)


@register.filter
def used(attempt: Attempt) -> str:
    """ "1.2 s of CPU, 85 % of a core · 212 MB of memory"."""
    return " · ".join(formatting.used(attempt))


@register.filter
def excerpt(job: Job) -> str:
    """The beginning of the arguments of a job without a key. Needs `HEADS`."""
    args, kwargs = getattr(job, "args_head", None), getattr(job, "kwargs_head", None)
    return "" if args is None or kwargs is None else formatting.excerpt(args, kwargs)


@register.filter
def tail(identifier: object) -> str:
    """The end of an id. It differs between neighbours; the beginning is the time."""
    return str(identifier)[-8:]


@register.simple_tag
def span(start: datetime | None, end: datetime | None, now: datetime) -> str:
    """From a start to an end, or to now."""
    return "" if start is None else formatting.duration(((end or now) - start).total_seconds())


def _exact(value: datetime) -> str:
    return localtime(value).strftime("%Y-%m-%d %H:%M:%S %Z")


def _coloured(text: str) -> str:
    pieces: list[str] = []
    last = 0
    for match in _TOKEN.finditer(text):
        pieces += [escape(text[last : match.start()]), _piece(match)]
        last = match.end()
    return "".join([*pieces, escape(text[last:])])


def _piece(match: re.Match[str]) -> str:
    kind = "key" if match["colon"] else match.lastgroup
    body = escape(match["string"] or match[0])
    return f'<span class="j-{kind}">{body}</span>{escape(match["colon"] or "")}'
