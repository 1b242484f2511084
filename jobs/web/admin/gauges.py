"""How the admin shows usage: numbers, and a bar if there is a limit."""

from __future__ import annotations

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from jobs.monitoring import formatting
from jobs.monitoring.usage import Gauge, LimitUse, Share


def bar(gauge: Gauge) -> SafeString:
    """ "3 / 5" with a bar; "3" where nothing limits it."""
    if gauge.size is None:
        return format_html("{}", formatting.number(gauge.used))
    html = '<progress class="jobs-progress" max="100" value="{}" aria-label="{}"></progress> {} / {}'
    return format_html(html, gauge.percent, gauge.name, formatting.number(gauge.used), formatting.number(gauge.size))


def budgets(gauges: list[Gauge]) -> SafeString:
    """One line for each, with its name."""
    lines = ((bar(gauge), gauge.name) for gauge in gauges)
    return format_html_join("", '<span class="jobs-line">{} {}</span>', lines) or SafeString("–")


def limit(use: LimitUse) -> SafeString:
    """Jobs in flight, or when the next job may start; for the fullest partitions."""
    if use.is_rate:
        return _rate(use)
    if not use.limit.partition_by:
        return bar(use.gauge(Share("", use.used)))
    lines = ((bar(use.gauge(share)), share.partition) for share in use.fullest)
    return _lines(use, format_html_join("", '<span class="jobs-line">{} {}</span>', lines))


def _rate(use: LimitUse) -> SafeString:
    if use.size is None:
        return SafeString("no limit")
    if not use.size:
        return SafeString("never: the rate is 0")
    lines = ((formatting.duration(use.seconds_until_open(share)), share.partition) for share in use.fullest)
    return _lines(use, format_html_join("", '<span class="jobs-line">next in {} {}</span>', lines))


def _lines(use: LimitUse, lines: SafeString) -> SafeString:
    nothing = "next at once" if use.is_rate else "nothing in flight"
    more = format_html('<span class="jobs-line">and {} more partitions</span>', use.more) if use.more else ""
    return format_html("{}{}", lines or nothing, more)
