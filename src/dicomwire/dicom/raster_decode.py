"""PNG and GIF images decoded to native frames, one at a time (PS3.18 10.5.2, ISO 15948, GIF89a)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from io import BytesIO
from typing import Final, TypeAlias

import imagecodecs
import numpy
from numpy.typing import NDArray
from PIL import Image, ImageSequence

from dicomwire.dicom.encoding import Buffer
from dicomwire.dicom.raster import PNG, Raster, read_header
from dicomwire.errors import TranscodingError

_FAULTS: Final = (
    OSError,
    EOFError,
    SyntaxError,
    ValueError,
    imagecodecs.PngError,
    Image.DecompressionBombError,
)
"""What the decoders raise for images that are none."""

Cells: TypeAlias = NDArray[numpy.uint8 | numpy.uint16]


def decode(
    parts: Sequence[Buffer],
    media_type: str,
    samples: int | None,
    write: Callable[[bytes], object],
    renew: Callable[[], None] = lambda: None,
) -> Raster:
    """The frames of all parts, one after the other.

    samples: wanted a pixel, 1 or 3; None for what the image has, of indexed colours 1 where all are gray.
    write: is given each frame as it is made. renew: called behind each frame that was decoded.
    Raises: TranscodingError, when a part is no such image, when frames differ, or colours would be lost.
    """
    headers = [read_header(part, media_type) for part in parts]
    if samples is None:
        found = {header.samples for header in headers}
        indexed = all(header.indexed for header in headers)
        gray = indexed and all(_is_gray(cells) for cells in _frames(parts, media_type, renew))
        samples = 1 if gray else max(found)
    raster: Raster | None = None
    for cells in _frames(parts, media_type, renew):
        frame = _of_samples(cells, samples)
        bits, (rows, columns) = frame.itemsize * 8, frame.shape[:2]
        one = Raster(rows, columns, samples, bits, 1, int(frame.max()))
        if raster is None:
            raster = one
        elif replace(one, frames=raster.frames, largest=raster.largest) != raster:
            raise TranscodingError(
                f"frame {raster.frames + 1} has {columns} by {rows} pixels of {bits} bits,"
                f" those before it {raster.columns} by {raster.rows} of {raster.bits}"
            )
        else:
            raster = replace(raster, frames=raster.frames + 1, largest=max(raster.largest, one.largest))
        write(frame.tobytes())
    if raster is None or raster.frames != (wanted := sum(header.frames for header in headers)):
        raise TranscodingError(f"{media_type}: {raster.frames if raster else 0} frames came out of {wanted}")
    return raster


def _frames(parts: Sequence[Buffer], media_type: str, renew: Callable[[], None]) -> Iterator[Cells]:
    """Gray, of shape (rows, columns), or RGB, of shape (rows, columns, 3)."""
    for part in parts:
        try:
            if media_type == PNG:
                yield _without_alpha(imagecodecs.png_decode(bytes(part)))
                renew()
                continue
            for frame in ImageSequence.Iterator(Image.open(BytesIO(part), formats=("GIF",))):
                yield numpy.asarray(frame.convert("RGB"))
                renew()
        except _FAULTS as error:
            raise TranscodingError(f"{media_type}: {error}") from None


def _without_alpha(cells: Cells) -> Cells:
    if cells.ndim == 2:
        return cells
    return cells[..., 0] if cells.shape[2] == 2 else cells[..., :3]


def _is_gray(cells: Cells) -> bool:
    return cells.ndim == 2 or bool((cells == cells[..., :1]).all())


def _of_samples(cells: Cells, samples: int) -> Cells:
    if samples == 3:
        cells = cells if cells.ndim == 3 else numpy.repeat(cells[..., None], 3, axis=2)
    elif not _is_gray(cells):
        raise TranscodingError("the image has colours; one sample a pixel cannot hold them")
    else:
        cells = cells if cells.ndim == 2 else cells[..., 0]
    return numpy.ascontiguousarray(cells)
