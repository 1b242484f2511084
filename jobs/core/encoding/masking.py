"""Hide what looks secret before a value is shown. For display only: this module must not change what is stored."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

MASK = "••••••"
SECRET_KEYS = (
    "password",
    "passwd",
    "passphrase",
    "pwd",
    "secret",
    "token",
    "jwt",
    "api_key",
    "access_key",
    "private_key",
    "signing_key",
    "encryption_key",
    "authorization",
    "credential",
    "cookie",
)


def mask(value: Any, patterns: Iterable[str] = SECRET_KEYS) -> Any:
    """A copy of `value` where "••••••" stands for whatever is under a key that looks secret, at any depth.

    A key looks secret when it contains one of `patterns`, whatever the letter case and the separators: "api_key" finds
    "X-API-Key" and "apiKey". Numbers under a plural of token are counts ("max_tokens") and stay.
    """
    return _masked(value, tuple(_bare(pattern) for pattern in patterns))


def looks_secret(key: str, bare_patterns: tuple[str, ...] | None = None) -> bool:
    """Whether the value under `key` is better not shown."""
    bare = _bare(key)
    return any(pattern in bare for pattern in (_SECRETS if bare_patterns is None else bare_patterns))


def _masked(value: Any, patterns: tuple[str, ...]) -> Any:
    if isinstance(value, dict):
        return {
            key: MASK
            if isinstance(key, str) and looks_secret(key, patterns) and not _is_count(key, item)
            else _masked(item, patterns)
            for key, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [_masked(item, patterns) for item in value]
    return value


def _is_count(key: str, value: object) -> bool:
    return isinstance(value, (int, float)) and _bare(key).endswith("tokens")


def _bare(key: str) -> str:
    return re.sub(r"[\W_]+", "", key).casefold()


_SECRETS = tuple(_bare(pattern) for pattern in SECRET_KEYS)
