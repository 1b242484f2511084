"""Twin primes, counted by a sieve that walks upwards in steps: long work with an honest percentage."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import isqrt

STEP = 2_000_000  # numbers looked at between two reports


@dataclass(frozen=True)
class Found:
    """All twins (p, p + 2) with p + 2 below `below`: how many there are, and whether the last odd number is prime."""

    below: int
    pairs: int
    last_is_prime: bool = False


def twins(limit: int, step: int = STEP, begin: Found = Found(0, 0)) -> Iterator[Found]:  # frozen
    """Count twin primes below `limit`, telling what was found after every step; from what was found before."""
    primes = _odd_primes(isqrt(limit) + 1)
    pairs, last_was_prime = begin.pairs, begin.last_is_prime
    for low in range(begin.below, limit, step):  # low and step are even, so the flags stand for low + 1, low + 3, …
        flags = _sieve(low, min(low + step, limit), primes)
        pairs += _adjacent(flags) + (last_was_prime and bool(flags[0]))
        last_was_prime = bool(flags[-1])
        yield Found(min(low + step, limit), pairs, last_was_prime)


def _odd_primes(below: int) -> list[int]:
    flags = bytearray([1]) * max(below, 3)
    for number in range(3, isqrt(below) + 1, 2):
        if flags[number]:
            flags[number * number :: 2 * number] = bytes(len(range(number * number, len(flags), 2 * number)))
    return [number for number in range(3, below, 2) if flags[number]]


def _sieve(low: int, high: int, primes: list[int]) -> bytearray:
    """A flag per odd number from low + 1 to below high: 1 where it is prime."""
    size = max(1, (high - low) // 2)
    flags = bytearray([1]) * size
    if low == 0:
        flags[0] = 0  # the number 1
    for prime in primes:
        if prime * prime >= high:
            break
        first = max(prime * prime, low + (prime - low) % (2 * prime))  # the first odd multiple above low
        flags[(first - low) // 2 :: prime] = bytes(len(range((first - low) // 2, size, prime)))
    return flags


def _adjacent(flags: bytearray) -> int:
    """How many flags are followed by another one; as one large number, a bit test for each."""
    whole = int.from_bytes(flags, "little")
    return (whole & (whole >> 8)).bit_count()
