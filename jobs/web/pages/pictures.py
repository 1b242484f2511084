"""Results that are pictures: `{"type": "image/png", "base64": "…"}`, or `{"image_png": "…"}` for short.

Only raster formats, which cannot carry a script. The media type is checked against the first bytes of the file.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from jobs.models import Job
from jobs.web.access import page, visible_job

_BEGINNINGS = {  # the first bytes of a file of that type
    "image/png": b"\x89PNG\r\n\x1a\n",
    "image/jpeg": b"\xff\xd8\xff",
    "image/gif": b"GIF8",
    "image/webp": b"RIFF",
}


@dataclass(frozen=True)
class Picture:
    """A picture in a result: its media type and the file's bytes."""

    type: str
    content: bytes


@page
@require_safe
def job_image(request: HttpRequest, job_id: UUID) -> HttpResponse:
    """The picture that a job returned; 404 if its result is not a picture."""
    picture = picture_of(visible_job(request, job_id))
    if picture is None:
        raise Http404("The result of this job is not a picture.")
    headers = {
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "X-Content-Type-Options": "nosniff",
        "Content-Disposition": f'inline; filename="{job_id}.{picture.type.removeprefix("image/")}"',
        "Cache-Control": "private, no-cache",
    }
    return HttpResponse(picture.content, content_type=picture.type, headers=headers)


def picture_type(job: Job) -> str | None:
    """The media type of the picture in a job's result, checked by its first bytes; None if there is none."""
    kind, data = _declared(job.result)
    beginning = _BEGINNINGS.get(kind)
    return kind if beginning is not None and _decoded(data[:64]).startswith(beginning) else None


def picture_of(job: Job) -> Picture | None:
    """The picture in a job's result, or None: no picture, another type, or not of the type it claims."""
    kind = picture_type(job)
    content = b"" if kind is None else _decoded(_declared(job.result)[1])
    return Picture(kind, content) if kind is not None and content else None


def _declared(result: Any) -> tuple[str, str | bytes]:
    """The media type and the data that a result declares; both empty if it declares no picture."""
    if not isinstance(result, Mapping):
        return "", ""
    kind, data = (
        ("image/png", result["image_png"]) if "image_png" in result else (result.get("type"), result.get("base64"))
    )
    return (str(kind), data) if isinstance(data, (str, bytes)) else ("", "")


def _decoded(data: str | bytes) -> bytes:
    if isinstance(data, bytes):
        return data
    try:
        return base64.b64decode(data, validate=True)
    except ValueError:  # not base64, or not even ASCII
        return b""
