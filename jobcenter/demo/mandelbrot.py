"""The Mandelbrot set, drawn row by row in plain Python and packed as a PNG. Knows neither jobs nor Django."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable
from dataclasses import dataclass

try:
    from PIL import Image
except ImportError:  # extra `demo` is not installed: workers still start, and only packing a picture fails
    Image = None  # type: ignore[assignment]

INSIDE = 0  # the colour of the set itself; 1-255 go round for what escapes
_FAR = 1 << 16  # beyond this distance squared a point has escaped; far out, so that colours blend


@dataclass(frozen=True)
class Place:
    """A part of the plane: its middle, how wide the picture is there, and how long to wait for a point to escape."""

    x: float
    y: float
    span: float
    iterations: int


PLACES = {
    "the whole set": Place(-0.65, 0.0, 3.4, 160),
    "seahorse valley": Place(-0.7485, 0.1, 0.03, 320),
    "elephant valley": Place(0.2925, 0.0149, 0.02, 320),
    "a spiral": Place(-0.761574, -0.0847596, 0.004, 400),
    "a small copy": Place(-1.7603, 0.0, 0.07, 240),
}


def row(place: Place, width: int, height: int, number: int) -> bytes:
    """One row of a picture, a byte per point: an index into the palette."""
    scale = place.span / width
    left = place.x - place.span / 2
    y = place.y + (height / 2 - number) * scale
    return bytes(_colour(complex(left + column * scale, y), place.iterations) for column in range(width))


def png(rows: Iterable[bytes], width: int, height: int) -> bytes:
    """The rows as a PNG file."""
    if Image is None:
        raise ModuleNotFoundError("pictures need Pillow: pip install 'jobcenter[demo]'")
    picture = Image.frombytes("P", (width, height), b"".join(rows))
    picture.putpalette(_palette())
    file = io.BytesIO()
    picture.save(file, "PNG", optimize=True)
    return file.getvalue()


def measure(file: bytes) -> tuple[int, int, int]:
    """Width, height and number of colours of a PNG file, decoded whole; ValueError where it is none."""
    try:
        with Image.open(io.BytesIO(file), formats=["PNG"]) as picture:
            return *picture.size, len(picture.getcolors() or ())
    except OSError as error:  # what Pillow raises of every kind of damage
        raise ValueError(f"no PNG: {error}") from error


def _colour(c: complex, iterations: int) -> int:
    z = 0j
    for step in range(iterations):
        z = z * z + c
        distance = z.real * z.real + z.imag * z.imag
        if distance > _FAR:
            smooth = step + 1 - math.log2(math.log2(distance) / 2)
            return int(smooth * 5) % 255 + 1
    return INSIDE


def _palette() -> bytes:
    """Black for the set, then once round through blue, white, gold and brown."""
    colours = [(0, 0, 0)]
    for index in range(255):
        turn = 2 * math.pi * index / 255
        colours.append((_wave(turn - 2.4), _wave(turn - 1.9), _wave(turn - 1.2)))
    return bytes(part for colour in colours for part in colour)


def _wave(turn: float) -> int:
    return round(255 * (0.5 + 0.5 * math.cos(turn)))
