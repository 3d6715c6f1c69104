"""The part of an image that is asked for, as large as the viewport can show it (PS3.18 8.3.5.1.3).

What is shown much smaller than it is need not be decoded whole: JPEG 2000 and HTJ2K hold an image in several
resolutions.
"""

from __future__ import annotations

from math import ceil, floor, log2
from typing import Final

import numpy
from PIL import Image

from dicomwire.dicom.attributes import Attributes
from dicomwire.dicom.grayscale import Gray, Pipeline, has_range_of_bits
from dicomwire.dicom.pixel_description import PixelDescription
from dicomwire.dicom.rendering import Viewport
from dicomwire.errors import TranscodingError

_LARGEST: Final = 1 << 28  # pixels of a result
_MOST_MAGNIFIED: Final = 1 << 24  # pixels of an image in the size that a presentation state gives it
_LEAST_RATIO: Final = 0.001
_MOST_RATIO: Final = 1000.0
_SPARE: Final = 2  # times the pixels of a side that are shown; the mean of them is taken
_RINGS: Final = 1.5  # widths of a window around its centre; padding further away would leave rings
_OVERLAY_BIT_POSITIONS: Final = range(0x6000_0102, 0x6020_0102, 0x0002_0000)


def is_smooth(image: Attributes, description: PixelDescription, pipeline: Pipeline) -> bool:
    """Whether the mean of neighbours looks as they do together: samples are levels, and nothing but samples.

    image: the attributes of the data set.
    """
    if description.bits_allocated not in (8, 16) or description.photometric_interpretation == "PALETTE COLOR":
        return False
    if any(image.number(tag) for tag in _OVERLAY_BIT_POSITIONS):
        return False
    if description.samples_per_pixel > 1:
        return True
    if pipeline.of_values and not has_range_of_bits(description, pipeline):
        return False
    padding = image.number("PixelPaddingValue")
    if padding is None:
        return True
    if pipeline.window is None or pipeline.modality is not None:
        return False
    value = padding * pipeline.slope + pipeline.intercept
    return abs(value - pipeline.window.center) <= _RINGS * pipeline.window.width


def reduction_of(description: PixelDescription, viewport: Viewport | None) -> int:
    """How often rows and columns of an image may be halved before it is shown."""
    if viewport is None:
        return 0
    left, top, right, bottom = _part(viewport, description.rows, description.columns)
    if right <= left or bottom <= top:
        return 0
    scale = min(viewport.width / (right - left), viewport.height / (bottom - top))
    return max(floor(log2(1 / (scale * _SPARE))), 0)


def viewed(levels: Gray, size: tuple[int, ...], reduction: int, viewport: Viewport) -> Gray:
    """The part of an image that is asked for, as large as the viewport can show it whole.

    levels: of the image, its rows and columns halved so often as `reduction` says.
    size: rows and columns before that.
    """
    rows, columns = size
    left, top, right, bottom = box = _part(viewport, rows, columns)
    if right - left <= 0 or bottom - top <= 0:
        raise TranscodingError(f"the viewport shows nothing of an image of {columns} by {rows} pixels")
    scale = min(viewport.width / (right - left), viewport.height / (bottom - top))
    if not viewport.enlarges:
        scale = min(scale, 1.0)
    shown = max(1, round((right - left) * scale)), max(1, round((bottom - top) * scale))
    if shown[0] * shown[1] > _LARGEST:
        raise TranscodingError(f"{shown[0]} by {shown[1]} pixels; at most {_LARGEST} are made")
    method = Image.Resampling.BILINEAR if scale >= 1 else Image.Resampling.BOX
    as_it_is = (*box, *shown) == (0, 0, columns, rows, columns, rows)
    if reduction:
        box = _within(box, levels, reduction)
    scaled = levels if as_it_is else _scaled(*_cropped(levels, box), shown, method)
    if viewport.mirrored:
        scaled = scaled[:, ::-1]
    return scaled[::-1] if viewport.flipped else scaled


def magnified(levels: Gray, ratio: float, viewport: Viewport | None) -> Gray:
    """An image in a size of its own, of which the viewport shows what it has room for (PS3.18 8.3.5.1.6)."""
    rows, columns = levels.shape[:2]
    if not _LEAST_RATIO <= ratio <= _MOST_RATIO:
        raise TranscodingError(f"a magnification by {ratio:g}; {_LEAST_RATIO} to {_MOST_RATIO} wanted")
    size = max(1, round(columns * ratio)), max(1, round(rows * ratio))
    if size[0] * size[1] > _MOST_MAGNIFIED:
        raise TranscodingError(f"{size[0]} by {size[1]} pixels; at most {_MOST_MAGNIFIED} are made")
    method = Image.Resampling.BILINEAR if ratio >= 1 else Image.Resampling.BOX
    scaled = _scaled(levels, (0, 0, columns, rows), size, method)
    return scaled if viewport is None else scaled[: viewport.height, : viewport.width]


def _part(viewport: Viewport, rows: int, columns: int) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of the part of an image that is shown."""
    left, top = min(viewport.x, columns), min(viewport.y, rows)
    right = min(left + viewport.source_width, columns) if viewport.source_width else columns
    bottom = min(top + viewport.source_height, rows) if viewport.source_height else rows
    return left, top, right, bottom


def _within(
    box: tuple[float, float, float, float], levels: Gray, reduction: int
) -> tuple[float, float, float, float]:
    """A part of an image in one that was halved: pixel n of a half lies on pixel 2n (ISO 15444-1 F)."""
    rows, columns = levels.shape[:2]
    left, top, right, bottom = ((side - 0.5) / (1 << reduction) + 0.5 for side in box)
    return left, top, min(right, columns), min(bottom, rows)


def _cropped(
    levels: Gray, box: tuple[float, float, float, float]
) -> tuple[Gray, tuple[float, float, float, float]]:
    """The pixels in which a part of an image lies, and where in them: what is beside it is not mixed in."""
    left, top, right, bottom = box
    x, y = floor(left), floor(top)
    return levels[y : ceil(bottom), x : ceil(right)], (left - x, top - y, right - x, bottom - y)


def _scaled(
    levels: Gray, box: tuple[float, float, float, float], size: tuple[int, int], method: Image.Resampling
) -> Gray:
    """A part of an image in another size; colours one by one, as Pillow holds three in four bytes."""
    if levels.ndim == 2:
        picture = Image.fromarray(numpy.ascontiguousarray(levels))
        return numpy.asarray(picture.resize(size, method, box=box))
    whole = numpy.empty((size[1], size[0], levels.shape[2]), numpy.uint8)
    for colour in range(levels.shape[2]):
        whole[..., colour] = _scaled(levels[..., colour], box, size, method)
    return whole
