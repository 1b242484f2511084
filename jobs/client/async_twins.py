"""Coroutine twins: the same method, for async code."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, ParamSpec, TypeVar

from asgiref.sync import sync_to_async

M = TypeVar("M")
P = ParamSpec("P")
R = TypeVar("R")


def as_coroutine(method: Callable[Concatenate[M, P], R]) -> Callable[Concatenate[M, P], Coroutine[Any, Any, R]]:
    """A method that awaits what the given one does; its name has an `a` in front."""

    async def awaited(self: M, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return await sync_to_async(method)(self, *args, **kwargs)

    awaited.__name__, awaited.__doc__ = f"a{method.__name__}", f"`{method.__name__}`, to be awaited."
    return awaited
