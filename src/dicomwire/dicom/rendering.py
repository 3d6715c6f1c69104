"""What can be asked of a rendered image (PS3.18 8.3.5). Values only: who asks need not load a codec."""

from __future__ import annotations

from dataclasses import dataclass

GIF = "image/gif"
MP4 = "video/mp4"
MPEG = "video/mpeg"
H265 = "video/h265"

FILMS = (MP4, MPEG, H265)
"""Media types of films, the better first."""

PROFILED = ("image/jpeg", "image/png", "image/jp2", "image/jph")
"""Media types whose files carry an ICC profile."""


@dataclass(frozen=True, slots=True)
class Window:
    """A VOI window (PS3.3 C.11.2).

    Attributes:
        function: "linear", "linear-exact" or "sigmoid".
    """

    center: float
    width: float
    function: str = "linear"


@dataclass(frozen=True, slots=True)
class Viewport:
    """How large the image may be, and which part of it is shown (PS3.18 8.3.5.1.3).

    Attributes:
        width, height: of what is shown, in pixels; the image fits into it with its own proportions.
        x, y: left upper corner of the part that is shown.
        source_width, source_height: of that part, 0 for the rest of the image.
        mirrored, flipped: left and right, top and bottom are exchanged.
        enlarges: as large as it fits; otherwise what is smaller stays as it is.
    """

    width: int
    height: int
    x: float = 0
    y: float = 0
    source_width: float = 0
    source_height: float = 0
    mirrored: bool = False
    flipped: bool = False
    enlarges: bool = True


@dataclass(frozen=True, slots=True)
class Rendering:
    """How an image is rendered.

    Attributes:
        media_type: of the result.
        quality: 1 to 100 of compression with loss.
        window: instead of the image's own.
        viewport: None for the image's own size.
        annotations: "patient", "technique": what is written into the image.
        icc_profile: "no", "yes" for the image's own, or one of `icc.SPACES`.
        animated: all frames that are asked for in one file, GIF or a film.
        representative: Representative Frame Number (0028,6010), where there is one, says which frame it is.
        fitted: into the viewport whatever size a presentation state gives the image.
    """

    media_type: str = "image/jpeg"
    quality: int = 90
    window: Window | None = None
    viewport: Viewport | None = None
    annotations: tuple[str, ...] = ()
    icc_profile: str = "no"
    animated: bool = False
    representative: bool = False
    fitted: bool = False
