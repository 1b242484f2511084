"""Celery's retry options of a declaration (`autoretry_for`, `retry_backoff` …), translated to those of `@job`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jobs.exceptions import InvalidOption, shown

MAX_RETRIES = 3  # Celery's own default with `autoretry_for`
DELAY = 180  # seconds; its default delay without a back-off
_BACK_OFF = ("retry_backoff", "retry_backoff_max", "retry_kwargs", "default_retry_delay")
_NAMES = frozenset({"autoretry_for", "dont_autoretry_for", *_BACK_OFF})


def translate(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a declaration with Celery's retry options translated; InvalidOption if one is given twice."""
    theirs = {name: options[name] for name in options if name in _NAMES}
    if not theirs:
        return dict(options)
    ours = {name: value for name, value in options.items() if name not in _NAMES}
    for name, value in _translate(theirs, ours).items():
        if name in ours:
            given = ", ".join(sorted(theirs))
            raise InvalidOption(f"{name}: already set by {given}. Leave one of them out.", option=name)
        ours[name] = value
    return ours


def _translate(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> dict[str, Any]:
    given = _kwargs(theirs.get("retry_kwargs") or {})
    options: dict[str, Any] = {}
    if "autoretry_for" in theirs:
        options["retry_on"] = theirs["autoretry_for"]
    if "dont_autoretry_for" in theirs:
        options["never_retry"] = theirs["dont_autoretry_for"]
    if "max_retries" in given:
        options["max_retries"] = given["max_retries"]
    elif "autoretry_for" in theirs and "max_retries" not in ours:
        options["max_retries"] = MAX_RETRIES
    return {**options, **_back_off(theirs, given, ours)}


def _back_off(theirs: Mapping[str, Any], given: Mapping[str, Any], ours: Mapping[str, Any]) -> dict[str, Any]:
    """Without a back-off the delay of all retries is the same, without jitter."""
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
        raise InvalidOption(
            f"retry_kwargs: {shown(given)} must be a dict with max_retries or countdown, and no other key.",
            option="retry_kwargs",
        )
    return given
