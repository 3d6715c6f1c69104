"""Native pixel data as arrays of cells (PS3.5 8.1.1, 8.2; PS3.3 C.7.6.3.1).

A cell is what Bits Allocated counts: an unsigned number with all its bits, whether the sample fills it or an
overlay lies above it, so that what goes through an array comes back bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, TypeAlias, cast

import numpy
from numpy.typing import NDArray

from dicomwire.dicom.encoding import Buffer
from dicomwire.dicom.pixel_description import PixelDescription
from dicomwire.dicom.scratch import IN_MEMORY, OCTET, Kind, Scratch
from dicomwire.errors import TranscodingError

Array: TypeAlias = NDArray[numpy.integer]

_SIZES: Final = (8, 16, 32, 64)  # bits of a cell that is a whole number
_STRIP: Final = 1 << 18  # pixels; what is made of them on the way is many times as large


def from_native(
    data: Buffer, description: PixelDescription, scratch: Scratch = IN_MEMORY
) -> tuple[Array, str]:
    """The cells of a native frame, of shape (rows, columns, samples), and their photometric interpretation.

    data: the frame, little endian. Single bits become cells of eight; chrominance that was sampled for two
    pixels is repeated, so that YBR_FULL_422 becomes YBR_FULL.
    Raises: TranscodingError, when the frame is too short or its cells are no whole bytes.
    """
    rows, columns, samples = description.rows, description.columns, description.samples_per_pixel
    allocated, photometric = description.bits_allocated, description.photometric_interpretation
    if len(data) < description.frame_length:
        raise TranscodingError(
            f"native frame: {len(data)} bytes, {description.frame_length} wanted (PS3.5 8.1.1)"
        )
    if allocated == 1 and samples == 1:
        bits = numpy.frombuffer(data, numpy.uint8, (rows * columns + 7) // 8)
        return numpy.unpackbits(bits, count=rows * columns, bitorder="little").reshape(
            rows, columns, 1
        ), photometric
    if allocated not in _SIZES:
        raise TranscodingError(f"Bits Allocated is {allocated}; 1, 8, 16, 32 or 64 can be read")
    kind = numpy.dtype(f"<u{allocated // 8}")
    if samples == 3 and photometric.endswith("_422"):
        if columns % 2:
            raise TranscodingError(
                f"{photometric} with {columns} columns; an even number wanted (PS3.3 C.7.6.3.1.2)"
            )
        pairs = numpy.frombuffer(data, kind, rows * columns * 2).reshape(rows, columns // 2, 4)
        cells: Array = scratch.empty((rows, columns, 3), kind)
        cells[..., 0] = pairs[..., :2].reshape(rows, columns)
        cells[..., 1] = numpy.repeat(pairs[..., 2], 2, axis=1)
        cells[..., 2] = numpy.repeat(pairs[..., 3], 2, axis=1)
        return cells, photometric.removesuffix("_422")
    if photometric.endswith("_420"):
        raise TranscodingError(f"{photometric} is for video alone (PS3.3 C.7.6.3.1.2)")
    cells = numpy.frombuffer(data, kind, rows * columns * samples)
    if samples > 1 and description.planar_configuration == 1:
        return cells.reshape(samples, rows, columns).transpose(1, 2, 0), photometric
    return cells.reshape(rows, columns, samples), photometric


def to_native(cells: Array, bits_allocated: int, scratch: Scratch = IN_MEMORY) -> memoryview:
    """A native frame, little endian, colour by pixel; single bits are packed again."""
    if bits_allocated == 1:
        return numpy.packbits(cells.reshape(-1), bitorder="little").data
    return octets_of(contiguous(cells, scratch))


def contiguous(cells: NDArray[Kind], scratch: Scratch = IN_MEMORY) -> NDArray[Kind]:
    """Cells in the order of their axes."""
    if cells.flags.c_contiguous:
        return cells
    return by_strips(cells, numpy.ascontiguousarray, cells.shape[2:], kind=cells.dtype, scratch=scratch)


def given(data: memoryview | NDArray[numpy.uint8]) -> bytearray:
    """Data as imagecodecs is given it: it takes any buffer, its stubs name fewer."""
    return cast("bytearray", data)


def octets_of(cells: Array) -> memoryview:
    """The bytes of contiguous cells, not copied."""
    return cells.reshape(-1).view(numpy.uint8).data


def samples_of(cells: Array, description: PixelDescription) -> Array:
    """The values of samples: shifted down from their high bit, signed where they are two's complement."""
    if description.bits_allocated == 1:
        return cells
    allocated, stored = cells.dtype.itemsize * 8, description.bits_stored
    above, below = allocated - 1 - description.high_bit, description.high_bit + 1 - stored
    number = cells.view(f"<{'i' if description.signed else 'u'}{allocated // 8}")
    if not above and not below:
        return number
    return _shifted(number, above, above + below)


def _shifted(number: Array, left: int, right: int) -> Array:
    """Bits above the sample pushed out, and the sample to the lowest bits, its sign extended."""
    shifted: Array = numpy.left_shift(number, numpy.array(left, number.dtype))
    return numpy.right_shift(shifted, numpy.array(right, number.dtype))


def strips_of(cells: Array) -> Iterator[tuple[slice, Array]]:
    """Rows of cells, and which they are: as many at once as may be held several times over."""
    rows, columns = cells.shape[:2]
    step = max(1, _STRIP // max(columns, 1))
    for first in range(0, rows, step):
        where = slice(first, first + step)
        yield where, cells[where]


def by_strips(
    cells: Array,
    convert: Callable[[Array], NDArray[Kind]],
    samples: tuple[int, ...] = (),
    *,
    kind: numpy.dtype[Kind],
    scratch: Scratch = IN_MEMORY,
) -> NDArray[Kind]:
    """What `convert` makes of cells, some rows at a time: of a large image little more than itself is held.

    samples: shape of a pixel of the result. kind: of its values.
    """
    rows, columns = cells.shape[:2]
    if rows * columns <= _STRIP:
        return convert(cells)
    whole = scratch.empty((rows, columns, *samples), kind)
    for where, strip in strips_of(cells):
        whole[where] = convert(strip)
    return whole


def levels_by_strips(
    cells: Array,
    convert: Callable[[Array], NDArray[numpy.uint8]],
    samples: tuple[int, ...] = (),
    *,
    scratch: Scratch = IN_MEMORY,
) -> NDArray[numpy.uint8]:
    """As `by_strips`, of eight bits."""
    return by_strips(cells, convert, samples, kind=OCTET, scratch=scratch)


def fills_cell(cells: Array, description: PixelDescription) -> bool:
    """Whether the cells hold nothing but their samples, in their lowest bits and extended by their sign."""
    if description.bits_allocated == description.bits_stored:
        return True
    if description.high_bit != description.bits_stored - 1:
        return False
    return all(
        bool((samples_of(strip, description).view(strip.dtype) == strip).all())
        for _, strip in strips_of(cells)
    )


def widened(
    values: Array, precision: int, description: PixelDescription, scratch: Scratch = IN_MEMORY
) -> Array:
    """Cells from decoded values.

    values: integers of `precision` bits; of two's complement samples either negative or as their bits.
    Raises: TranscodingError, when they do not fit.
    """
    allocated = 8 if description.bits_allocated == 1 else description.bits_allocated
    if precision > allocated:
        raise TranscodingError(f"samples of {precision} bits in cells of {allocated}")
    if allocated not in _SIZES:
        raise TranscodingError(f"Bits Allocated is {allocated}; 1, 8, 16, 32 or 64 can be read")
    kind = numpy.dtype(f"<u{allocated // 8}")
    unused = allocated - precision
    extended = description.signed and unused > 0 and values.dtype.kind == "u"
    if values.dtype == kind and not extended:
        return values

    def widen(strip: Array) -> Array:
        cells = strip.astype(kind, copy=False)
        if not extended:
            return cells
        return _shifted(cells.view(f"<i{allocated // 8}"), unused, unused).view(kind)

    return by_strips(values, widen, values.shape[2:], kind=kind, scratch=scratch)
