"""A stored frame as people look at it (PS3.18 8.3.5, PS3.4 N.2).

Grayscale or colour pipeline, presentation state, viewport, annotations, colour profile, file format: one
frame at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import IO, Final, TypeAlias

import imagecodecs
import numpy
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from dicomwire.dicom import icc
from dicomwire.dicom.arrays import contiguous, levels_by_strips
from dicomwire.dicom.attributes import Attributes
from dicomwire.dicom.colour import pseudo_coloured, render_colour
from dicomwire.dicom.encoding import Buffer
from dicomwire.dicom.grayscale import Gray, pipeline_of, render_gray
from dicomwire.dicom.picture import encode_picture, encode_pictures
from dicomwire.dicom.pixels import Pixels
from dicomwire.dicom.presentation_state import magnification, present
from dicomwire.dicom.rendering import Rendering
from dicomwire.dicom.scratch import OCTET, Scratch
from dicomwire.dicom.video import Video
from dicomwire.dicom.viewport import is_smooth, magnified, reduction_of, viewed
from dicomwire.errors import TranscodingError

Frames: TypeAlias = Pixels | Video

_DEFAULT_RATE: Final = 10.0  # frames a second, where the image does not say

_ANNOTATIONS: Final = {
    "patient": ("PatientName", "PatientID", "PatientBirthDate", "PatientSex"),
    "technique": (
        *("Modality", "StudyDate", "StudyDescription", "SeriesDescription", "KVP", "XRayTubeCurrent"),
        *("SliceThickness", "RepetitionTime", "EchoTime"),
    ),
}


def render(
    pixels: Frames,
    image: Attributes,
    numbers: Iterable[int],
    rendering: Rendering,
    *,
    state: Attributes | None = None,
) -> Buffer:
    """The first of some frames as a file.

    image: the attributes of the data set that `pixels` are of.
    numbers: of the frames, from 1.
    state: a presentation state to apply.
    Raises: FrameError, TranscodingError.
    """
    coming = iter(numbers)
    number = next(coming)
    if rendering.representative:
        number = _representative(image, pixels.description.number_of_frames) or number
    levels = contiguous(render_frame(pixels, image, number, rendering, state=state), pixels.scratch)
    next(coming, None)  # tells who gives the numbers that the frame has been read
    levels, profile = _profiled(levels, image, rendering, pixels.scratch)
    return encode_picture(levels, rendering, profile)


def render_animation(
    pixels: Frames,
    image: Attributes,
    numbers: Iterable[int],
    rendering: Rendering,
    out: IO[bytes],
    *,
    state: Attributes | None = None,
) -> None:
    """Frames as one film or animated picture, written as they are rendered; otherwise as `render`."""
    encode_pictures(_frames(pixels, image, numbers, rendering, state), rendering, _rate(image), out)


def render_frame(
    pixels: Frames,
    image: Attributes,
    number: int,
    rendering: Rendering,
    *,
    state: Attributes | None = None,
) -> Gray:
    """Gray levels or RGB of one frame, of shape (rows, columns) or (rows, columns, 3)."""
    pipeline = pipeline_of(image, number, state)
    if rendering.window is not None:
        pipeline = pipeline.windowed(rendering.window)
    wanted = 0
    if state is None and is_smooth(image, pixels.description, pipeline):
        wanted = reduction_of(pixels.description, rendering.viewport)
    cells, photometric, reduction = pixels.reduced(number, wanted)
    if photometric.startswith("MONOCHROME") or (cells.shape[2] == 1 and photometric != "PALETTE COLOR"):
        padding = image.number("PixelPaddingValue")
        levels = render_gray(cells, pixels.description, pipeline, padding=padding, scratch=pixels.scratch)
    else:
        levels = render_colour(cells, photometric, pixels.description, image, pixels.scratch)
    if state is not None:
        levels = present(pseudo_coloured(levels, state, pixels.scratch), image, number, state)
    ratio = None if state is None or rendering.fitted else magnification(image, number, state)
    if ratio is not None:
        levels = magnified(levels, ratio, rendering.viewport)
    elif rendering.viewport is not None:
        size = (pixels.description.rows, pixels.description.columns) if reduction else levels.shape[:2]
        levels = viewed(levels, size, reduction, rendering.viewport)
    if rendering.annotations:
        levels = _annotated(levels, image, rendering.annotations, pixels.scratch)
    return levels


def _frames(
    pixels: Frames,
    image: Attributes,
    numbers: Iterable[int],
    rendering: Rendering,
    state: Attributes | None,
) -> Iterator[Gray]:
    for number in numbers:
        yield render_frame(pixels, image, number, rendering, state=state)


def _representative(image: Attributes, count: int) -> int | None:
    """The frame that stands for an image, where it names one that there is (PS3.3 C.7.6.6.1.2)."""
    number = image.number("RepresentativeFrameNumber") or 0
    return int(number) if 1 <= number <= count else None


def _rate(image: Attributes) -> float:
    """Frames a second (PS3.3 C.7.6.5)."""
    if time := image.number("FrameTime"):
        return 1000.0 / time
    return image.number("RecommendedDisplayFrameRate") or image.number("CineRate") or _DEFAULT_RATE


def _annotated(levels: Gray, image: Attributes, kinds: Sequence[str], scratch: Scratch) -> Gray:
    """Text in the upper corners: the patient's to the left, the technique's to the right."""
    rows, columns = levels.shape[:2]
    size = max(9, min(rows, columns) // 36)
    font = ImageFont.load_default(size)
    ink, shadow = (255, 0) if levels.ndim == 2 else ((255, 255, 255), (0, 0, 0))
    annotated: Gray = scratch.empty(levels.shape, OCTET)
    annotated[:] = levels
    for kind in kinds:
        words = [text for keyword in _ANNOTATIONS[kind] if (text := image.text(keyword))]
        if not words:
            continue
        lines = "\n".join(words)
        strip = annotated[: 8 + 2 * size * (lines.count("\n") + 1)]  # all that the text reaches
        picture = Image.fromarray(strip)
        right = kind == "technique"
        ImageDraw.Draw(picture).multiline_text(
            (columns - 4 if right else 4, 4),
            lines,
            fill=ink,
            font=font,
            anchor="ra" if right else "la",
            align="right" if right else "left",
            stroke_width=1,
            stroke_fill=shadow,
        )
        strip[:] = numpy.asarray(picture)
    return annotated


def _profiled(levels: Gray, image: Attributes, rendering: Rendering, scratch: Scratch) -> tuple[Gray, bytes]:
    """Colours for a profile, and the profile (PS3.3 C.11.15, PS3.18 8.3.5.1.5).

    Gray levels are those of the space that is asked for: on a screen they look as they did without a profile.
    """
    wanted = rendering.icc_profile
    if wanted == "no":
        return levels, b""
    if levels.ndim == 2:
        return levels, icc.profile("srgb" if wanted == "yes" else wanted, gray=True)
    own = image.octets("ICCProfile") or image.item("OpticalPathSequence").octets("ICCProfile")
    source = own or icc.profile("srgb")
    if wanted == "yes":
        return levels, source
    target = icc.profile(wanted)
    return levels if source == target else _transformed(levels, source, target, scratch), target


def _transformed(levels: Gray, source: bytes, target: bytes, scratch: Scratch) -> Gray:
    def transform(strip: NDArray[numpy.integer]) -> Gray:
        return numpy.asarray(
            imagecodecs.cms_transform(
                numpy.ascontiguousarray(strip), source, target, colorspace="rgb", outcolorspace="rgb"
            ),
            numpy.uint8,
        )

    try:
        return levels_by_strips(levels, transform, (3,), scratch=scratch)
    except (RuntimeError, ValueError) as error:
        raise TranscodingError(f"the image's ICC profile cannot be used: {error}") from None
