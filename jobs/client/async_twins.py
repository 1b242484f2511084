"""Async versions of methods: `asubmit` for `submit`."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, ParamSpec, TypeVar

from asgiref.sync import sync_to_async

M = TypeVar("M")
P = ParamSpec("P")
R = TypeVar("R")


def as_coroutine(method: Callable[Concatenate[M, P], R]) -> Callable[Concatenate[M, P], Coroutine[Any, Any, R]]:
    """The method as a coroutine: it runs in a thread. Its name has an `a` in front."""

    async def awaited(self: M, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return await sync_to_async(method)(self, *args, **kwargs)

    awaited.__name__, awaited.__doc__ = f"a{method.__name__}", f"`{method.__name__}` as a coroutine."
    return awaited
