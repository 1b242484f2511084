"""Read what stands at the beginning of a stored value, from its first characters alone: a list of rows shows no more.

For display only: what the cut goes through is left out, so nothing read here may be taken for the value.
"""

from __future__ import annotations

import json
from typing import Any

from jobs.core.encoding.payload import TAG, loads

_ESCAPE = 6  # characters of the longest escape, \u0000
_decode = json.JSONDecoder().raw_decode


def beginning(head: str) -> tuple[list[tuple[str, Any]], bool]:
    """The first (name, value) pairs of an object or a list that `dumps` wrote, and whether there is more of it.

    `head` is the beginning of the text, or all of it; in a list every name is "". A string that the cut goes through is
    given as far as it goes, any other value is not.
    """
    pairs: list[tuple[str, Any]] = []
    if head.startswith(f'{{"{TAG}"'):  # pairs in another shape: their names would go unseen, and nothing be masked
        return pairs, True
    is_object, at, name = head.startswith("{"), 1, ""
    start = len(head)  # of the value that is being read, if one is
    try:
        while head[at] not in "]}":
            if is_object:
                name, at = _decode(head, at)
                at += 1  # the colon
            start = at
            _, at = _decode(head, at)
            at += head[at] == ","  # a number at the very end may be cut as well: then there is nothing to look at
            pairs.append((name, loads(head[start:at].removesuffix(","))))
            start = len(head)
    except (ValueError, IndexError):
        return pairs + [(name, text) for text in _cut_string(head[start:])], True
    return pairs, False


def _cut_string(piece: str) -> list[str]:
    """What there is of a string without its end; [] where the piece is none."""
    if not piece.startswith('"') or piece.endswith('"'):
        return []
    for escape in range(_ESCAPE):
        try:
            return [json.loads(piece[: len(piece) - escape] + '"')]
        except ValueError:  # the cut went through an escape
            continue
    return []
