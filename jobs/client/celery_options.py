"""Celery's words for retries in a declaration, as ours: `autoretry_for` and its kin. Knows words only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jobs.exceptions import InvalidOption, shown

MAX_RETRIES = 3  # Celery's own, where `autoretry_for` stands without a number
DELAY = 180  # and its delay without a back-off
_BACK_OFF = ("retry_backoff", "retry_backoff_max", "retry_kwargs", "default_retry_delay")
_NAMES = frozenset({"autoretry_for", "dont_autoretry_for", *_BACK_OFF})


def as_ours(options: Mapping[str, Any]) -> dict[str, Any]:
    """A declaration's options with Celery's retry words replaced; InvalidOption where both say the same thing."""
    theirs = {name: options[name] for name in options if name in _NAMES}
    if not theirs:
        return dict(options)
    ours = {name: value for name, value in options.items() if name not in _NAMES}
    for name, value in _translated(theirs, ours).items():
        if name in ours:
            words = ", ".join(sorted(theirs))
            raise InvalidOption(f"{name}: {words} says it already: leave one of them out.", option=name)
        ours[name] = value
    return ours


def _translated(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> dict[str, Any]:
    given = _kwargs(theirs.get("retry_kwargs") or {})
    found: dict[str, Any] = {}
    if "autoretry_for" in theirs:
        found["retry_on"] = theirs["autoretry_for"]
    if "dont_autoretry_for" in theirs:
        found["never_retry"] = theirs["dont_autoretry_for"]
    if "max_retries" in given:
        found["max_retries"] = given["max_retries"]
    elif "autoretry_for" in theirs and "max_retries" not in ours:
        found["max_retries"] = MAX_RETRIES
    return {**found, **_back_off(theirs, given, ours)}


def _back_off(theirs: Mapping[str, Any], given: Mapping[str, Any], ours: Mapping[str, Any]) -> dict[str, Any]:
    """Without a back-off each retry waits the same, to the second."""
    grows = theirs.get("retry_backoff", False)
    if grows:
        first = {"retry_delay": 1 if grows is True else grows, "retry_multiplier": 2}
        return {**first, "retry_cap": theirs.get("retry_backoff_max", 600)}
    delay = given.get("countdown", theirs.get("default_retry_delay", None if "retry_delay" in ours else DELAY))
    jitter = {} if "retry_jitter" in ours else {"retry_jitter": False}
    return {"retry_multiplier": 1, **jitter, **({} if delay is None else {"retry_delay": delay})}


def _kwargs(given: object) -> Mapping[str, Any]:
    known = {"max_retries", "countdown"}
    if not isinstance(given, Mapping) or not given.keys() <= known:
        raise InvalidOption(f"retry_kwargs: {shown(given)} may say max_retries and countdown.", option="retry_kwargs")
    return given
