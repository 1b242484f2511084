"""Expressions that indexes are built on."""

from __future__ import annotations

from django.db import models
from django.db.models import Func

KEY_HEAD = 200  # characters: four bytes each still fit an index row of PostgreSQL


class KeyHead(Func):
    """The first characters of a key, spelled without parameters: only so does SQLite find the index on it."""

    template = f"substr(%(expressions)s, 1, {KEY_HEAD})"
    output_field = models.CharField()


class KeyTail(Func):
    """What follows the head."""

    template = f"substr(%(expressions)s, {KEY_HEAD + 1})"
    output_field = models.CharField()
