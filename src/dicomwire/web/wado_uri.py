"""WADO-URI: one instance by query parameters (PS3.18 9).

What a request asks for is put into the words of WADO-RS and answered as there. Without a content type a
single-frame image comes as JPEG, everything else as a DICOM file (PS3.18 8.7.2). Of an image of many frames
the first is rendered where none is named and the type holds only one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Final

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response

from dicomwire.archive.archive import Archive, Stored
from dicomwire.dicom.rendering import GIF
from dicomwire.uids import is_valid_uid
from dicomwire.web.anonymous import Anonymous
from dicomwire.web.media_types import DICOM, PARAMETER, parse_accept
from dicomwire.web.parameters import check_once
from dicomwire.web.pictures import PRESENTATION_STATES, Picture, is_image, is_video, referenced, whole
from dicomwire.web.plans import absent
from dicomwire.web.problems import Problem, shown
from dicomwire.web.rendered import Rendered
from dicomwire.web.rendering_parameters import (
    LARGEST_AREA,
    LARGEST_SIDE,
    rendering_of,
    unsupported_annotations,
)
from dicomwire.web.retrieve import Retrieve

PATH: Final = "/wado"
_UIDS: Final = ("studyUID", "seriesUID", "objectUID", "presentationUID", "presentationSeriesUID")
_ONCE: Final = (
    *(
        "requestType",
        "contentType",
        "anonymize",
        "transferSyntax",
        "frameNumber",
        "imageQuality",
        "rows",
        "columns",
        "region",
    ),
    *("windowCenter", "windowWidth"),
)
# Parameters of rendering here and in WADO-RS (PS3.18 9.5.1.2, 8.3.5)
_RENDERING: Final = {"imageQuality": "quality", "imageAnnotation": "annotation", "annotation": "annotation"}


class WadoUri:
    """Endpoint of GET on /wado?requestType=WADO&..."""

    def __init__(
        self, archive: Archive, retrieve: Retrieve, rendered: Rendered, anonymous: Anonymous
    ) -> None:
        self._archive = archive
        self._retrieve = retrieve
        self._rendered = rendered
        self._anonymous = anonymous

    async def __call__(self, request: Request) -> Response:
        query = request.query_params
        if query.get("requestType") != "WADO":
            raise Problem(400, f"requestType is {shown(query.get('requestType', ''))}; WADO wanted")
        _check_once(query)
        study, series, instance = (_uid(query, name) for name in ("studyUID", "seriesUID", "objectUID"))
        plan = self._archive.plan(study=study, series=series, instance=instance)
        if not plan:
            raise absent(self._archive, study, series, instance)
        (stored,) = plan
        content_type = query.get("contentType") or _default(request, stored)
        path = {"study": study, "series": series, "instance": instance}
        if _is_file(query, content_type):
            if "anonymize" in query:
                return await self._anonymous.answer(request, stored, _transfer_syntax(query))
            return await self._retrieve(_as_wado_rs(request, path, _file_type(query), "transferSyntax"))
        if "anonymize" in query:
            raise Problem(400, f"anonymize is for {DICOM}; contentType is {shown(content_type)}")
        asked = _as_wado_rs(request, path, content_type, "contentType")
        images, sources = self._images(query, stored)
        parameters = _rendering(query, stored)
        return await self._rendered.answer(
            asked,
            sources,
            images,
            rendering_of(parameters),
            _frames(query, stored, content_type),
            unsupported_annotations(parameters),
        )

    def _images(self, query: QueryParams, stored: Stored) -> tuple[Sequence[Picture], list[Stored]]:
        """The image, as a presentation state has it where one is named; and what that is made of."""
        if "presentationUID" not in query and "presentationSeriesUID" not in query:
            return [whole(stored)] if is_image(stored) else [], [stored]
        uid = _uid(query, "presentationUID")
        for name in ("windowCenter", "windowWidth", "frameNumber"):
            if name in query:
                raise Problem(400, f"{name} and presentationUID exclude each other (PS3.18 8.3.5.1.6)")
        states = self._archive.plan(
            study=stored.study_instance_uid, series=_uid(query, "presentationSeriesUID"), instance=uid
        )
        if not states or states[0].sop_class_uid not in PRESENTATION_STATES:
            raise Problem(400, f"there is no presentation state {uid} in the study (PS3.18 8.3.5.1.6)")
        images = [
            picture
            for picture in referenced(self._archive, states[0])
            if picture.stored.sop_instance_uid == stored.sop_instance_uid
        ]
        if not images:
            raise Problem(400, f"presentation state {uid} does not refer to {stored.sop_instance_uid}")
        return images, [stored, states[0]]


def _uid(query: QueryParams, name: str) -> str:
    text = query.get(name, "")
    if not is_valid_uid(text):
        raise Problem(400, f"{name} is {shown(text)}; a UID wanted")
    return text


def _check_once(query: QueryParams) -> None:
    """Raises: Problem 400, for a parameter that is there twice or is none of its kind (PS3.18 9.4.2)."""
    check_once(query, (*_ONCE, *_UIDS))
    if query.get("anonymize", "yes") != "yes":
        raise Problem(400, f"anonymize is {shown(query['anonymize'])}; yes wanted")


def _is_file(query: QueryParams, content_type: str) -> bool:
    """A DICOM file is asked for, and no picture. Raises: Problem 400 (PS3.18 8.7.5, 9.1.2.2.1, 9.5.1.2.6)."""
    wanted = parse_accept([content_type]).wanted
    files = [each for each in wanted if each.part.essence == DICOM]
    if not files:
        return False
    if "contentType" not in query:
        return True
    if len(files) < len(wanted):
        raise Problem(400, f"contentType is {shown(content_type)}; a DICOM file or pictures, not both")
    for name in ("transfer-syntax", "charset"):
        if any(each.part.parameter(name) is not None for each in files):
            raise Problem(400, f"contentType has {name}; transferSyntax and charset stand for themselves")
    for name in ("windowCenter", "windowWidth"):
        if name in query:
            raise Problem(400, f"{name} is for pictures; contentType is {DICOM}")
    return True


def _default(request: Request, stored: Stored) -> str:
    """The content type of a request that names none: what Accept names, else what the instance is."""
    if "anonymize" in request.query_params:
        return DICOM
    accept = request.headers.get("accept", "*/*")
    if accept.strip() not in ("", "*/*") and "text/html" not in accept:  # a browser's says nothing
        return accept
    single = is_image(stored) and not is_video(stored) and stored.number_of_frames == 1
    return "image/jpeg" if single else DICOM


def _transfer_syntax(query: QueryParams) -> str | None:
    return _uid(query, "transferSyntax") if "transferSyntax" in query else None


def _file_type(query: QueryParams) -> str:
    """The media type of a file, with its transfer syntax."""
    syntax = _transfer_syntax(query)
    return DICOM if syntax is None else f"{DICOM}; transfer-syntax={syntax}"


def _as_wado_rs(request: Request, path: dict[str, str], accept: str, parameter: str) -> Request:
    """The same request, its instance in the path.

    accept: what it is to be answered in.
    parameter: what says so where the request has it; otherwise its Accept does.
    """
    headers = [(name, value) for name, value in request.scope["headers"] if name != b"accept"]
    headers.append((b"accept", accept.encode("latin_1", "replace")))
    scope = dict(request.scope, path_params=path, query_string=b"", headers=headers)
    if request.query_params.get(parameter):
        scope[PARAMETER] = (parameter, accept)
    return Request(scope, request.receive)


def _frames(query: QueryParams, stored: Stored, content_type: str) -> tuple[int, ...] | None:
    text = query.get("frameNumber")
    if text is None:
        types = [wanted.part for wanted in parse_accept([content_type]).wanted]
        of_many = any(each.essence == GIF or each.type == "video" for each in types)
        return None if of_many or stored.number_of_frames == 1 else (1,)
    if not (text.isascii() and text.isdecimal() and len(text) < 10 and int(text)):
        raise Problem(400, f"frameNumber is {shown(text)}; a number from 1 wanted")
    if int(text) > stored.number_of_frames:
        raise Problem(400, f"frameNumber is {text}; the instance has {stored.number_of_frames} frames")
    return (int(text),)


def _rendering(query: QueryParams, stored: Stored) -> QueryParams:
    """The rendering parameters in the words of WADO-RS."""
    found = [(_RENDERING[name], value) for name, value in query.multi_items() if name in _RENDERING]
    center, width = query.get("windowCenter"), query.get("windowWidth")
    if (center is None) != (width is None):
        raise Problem(400, "windowCenter and windowWidth belong together; one of them is missing")
    if center is not None:
        found.append(("window", f"{center},{width},linear"))
    if viewport := _viewport(query, stored):
        found.append(("viewport", viewport))
    return QueryParams(found)


def _viewport(query: QueryParams, stored: Stored) -> str:
    """rows, columns and region as a viewport; "" where none is asked for."""
    sides = [_side(query, "columns"), _side(query, "rows")]
    region = query.get("region")
    if region is None:
        return ",".join(map(str, _sides(*sides))) if any(sides) else ""
    width, height = stored.columns or 0, stored.rows or 0
    left, top, right, bottom = _region(region)
    x, y = math.floor(left * width), math.floor(top * height)
    w, h = max(math.ceil(right * width) - x, 1), max(math.ceil(bottom * height) - y, 1)
    if any(sides):
        vw, vh = _sides(*sides)
    else:
        share = min(1.0, math.sqrt(LARGEST_AREA / (w * h)))
        vw, vh = max(int(w * share), 1), max(int(h * share), 1)
    return f"{vw},{vh},{x},{y},{w},{h}"


def _sides(columns: int | None, rows: int | None) -> tuple[int, int]:
    """Both sides of a viewport; the one that is left open is as large as the other lets it be."""

    def open_side(other: int | None) -> int:
        return min(LARGEST_SIDE, LARGEST_AREA // (other or 1))

    return columns or open_side(rows), rows or open_side(columns)


def _side(query: QueryParams, name: str) -> int | None:
    """rows or columns, in pixels (PS3.18 9.5.1.2). Raises: Problem 400."""
    text = query.get(name)
    if text is None:
        return None
    if not re.fullmatch(r"[1-9][0-9]{0,8}", text) or int(text) > LARGEST_SIDE:
        raise Problem(400, f"{name} is {shown(text)}; 1 to {LARGEST_SIDE} pixels wanted")
    return int(text)


def _region(text: str) -> tuple[float, ...]:
    """Left, top, right and bottom as shares of the image (PS3.18 9.5.1.2.5)."""
    try:
        numbers = tuple(map(float, text.split(",")))
        left, top, right, bottom = numbers
    except ValueError:
        numbers = left, top, right, bottom = (math.nan,) * 4
    if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
        raise Problem(400, f"region is {shown(text)}; left,top,right,bottom from 0.0 to 1.0 wanted")
    return numbers
