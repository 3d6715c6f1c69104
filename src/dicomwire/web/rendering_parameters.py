"""Query parameters of rendered resources (PS3.18 8.3.5)."""

from __future__ import annotations

import math
import re
from typing import Final

from starlette.datastructures import QueryParams

from dicomwire.dicom.rendering import Rendering, Viewport, Window
from dicomwire.web.parameters import check_once
from dicomwire.web.problems import Problem, shown

LARGEST_SIDE: Final = 16_384  # pixels of a viewport's side
LARGEST_AREA: Final = 4096 * 4096  # pixels of a viewport: a mammogram; workers hold it several times
_NUMBER: Final = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,3})?", re.ASCII)
_KEYWORD: Final = re.compile(r"[a-z][a-z0-9_-]{0,63}")
_FUNCTIONS: Final = ("linear", "linear-exact", "sigmoid")
_ANNOTATIONS: Final = ("patient", "technique")
_DEFAULTS: Final = Rendering()
_SINGLE: Final = ("quality", "window", "viewport", "iccprofile")
_ICC_PROFILES: Final = ("no", "yes", "srgb", "adobergb", "rommrgb", "displayp3")


def rendering_of(query: QueryParams) -> Rendering:
    """How an image is to be rendered, but for its media type.

    Raises: Problem 400, when a parameter cannot be, or is there twice.
    """
    check_once(query, _SINGLE)
    return Rendering(
        quality=_quality(query.get("quality")),
        window=_window(query.get("window")),
        viewport=viewport_of(query.get("viewport")),
        annotations=_annotations(query.getlist("annotation")),
        icc_profile=_icc_profile(query.get("iccprofile")),
    )


def viewport_of(text: str | None) -> Viewport | None:
    """The viewport, `vw,vh[,sx,sy,sw,sh]`, each of the last four may be left empty (PS3.18 8.3.5.1.3)."""
    if text is None:
        return None
    wanted = "vw,vh or vw,vh,sx,sy,sw,sh"
    parts = text.split(",")
    if not 2 <= len(parts) <= 6:
        raise Problem(400, f"viewport is {shown(text)}; {wanted} wanted")
    width, height = (_side(part, text) for part in parts[:2])
    if width * height > LARGEST_AREA:
        raise Problem(
            400, f"viewport is {shown(text)}; {LARGEST_AREA} pixels at most are taken, as 4096,4096"
        )
    region = [*parts[2:], "", "", "", ""][:4]
    x, y, w, h = (_number(part, "viewport", text, wanted) if part.strip() else None for part in region)
    if w == 0 or h == 0:
        raise Problem(400, f"viewport is {shown(text)}; sw and sh of 0 show nothing, empty ones the rest")
    w, h = w or 0.0, h or 0.0
    return Viewport(width, height, abs(x or 0.0), abs(y or 0.0), abs(w), abs(h), w < 0, h < 0)


def _side(part: str, text: str) -> int:
    part = part.strip()
    if not (part.isascii() and part.isdecimal()) or not 0 < int(part[:9]) <= LARGEST_SIDE or len(part) > 9:
        raise Problem(
            400,
            f"viewport is {shown(text)}; its width and height are 1 to {LARGEST_SIDE} pixels, whole numbers",
        )
    return int(part)


def _window(text: str | None) -> Window | None:
    if text is None:
        return None
    wanted = f"center,width,function wanted, function one of {', '.join(_FUNCTIONS)}"
    parts = text.split(",")
    if len(parts) != 3:
        raise Problem(400, f"window is {shown(text)}; {wanted}")
    center, width = (_number(part, "window", text, wanted) for part in parts[:2])
    function = parts[2].strip().lower()
    if function not in _FUNCTIONS:
        raise Problem(400, f"window is {shown(text)}; {wanted}")
    if width < 1 if function == "linear" else width <= 0:
        least = "1 or more" if function == "linear" else "more than 0"
        raise Problem(400, f"window is {shown(text)}; its width is {least} (PS3.3 C.11.2.1)")
    return Window(center, width, function)


def _quality(text: str | None) -> int:
    if text is None:
        return _DEFAULTS.quality
    if not (text.isascii() and text.isdecimal() and len(text) <= 3) or not 1 <= int(text) <= 100:
        raise Problem(400, f"quality is {shown(text)}; a whole number from 1 to 100 wanted")
    return int(text)


def unsupported_annotations(query: QueryParams) -> list[str]:
    """What cannot be written into an image, to be told in a Warning (PS3.18 8.3.5.1.1)."""
    return [word for word in _keywords(query.getlist("annotation")) if word not in _ANNOTATIONS]


def _annotations(texts: list[str]) -> tuple[str, ...]:
    return tuple(word for word in _keywords(texts) if word in _ANNOTATIONS)


def _keywords(texts: list[str]) -> list[str]:
    """Each once. Raises: Problem 400, where one is none."""
    words = [word.strip().lower() for text in texts for word in text.split(",")]
    for word in words:
        if not _KEYWORD.fullmatch(word):
            raise Problem(400, f"annotation is {shown(word)}; {' and '.join(_ANNOTATIONS)} can be written")
    return list(dict.fromkeys(words))


def _icc_profile(text: str | None) -> str:
    if text is None:
        return _DEFAULTS.icc_profile
    if text.lower() not in _ICC_PROFILES:
        raise Problem(400, f"iccprofile is {shown(text)}; one of {', '.join(_ICC_PROFILES)} wanted")
    return text.lower()


def _number(part: str, name: str, text: str, wanted: str) -> float:
    part = part.strip()
    if not _NUMBER.fullmatch(part) or not math.isfinite(number := float(part)):
        raise Problem(400, f"{name} is {shown(text)}; {wanted}")
    return number
