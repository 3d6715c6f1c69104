"""Colour images, and gray ones in pseudo-colour, as RGB of 8 bits (PS3.3 C.7.6.3.1.2, C.7.6.3.1.5, C.7.9)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy

from dicomwire.dicom.arrays import Array, levels_by_strips
from dicomwire.dicom.attributes import Attributes
from dicomwire.dicom.grayscale import Gray
from dicomwire.dicom.pixel_description import PixelDescription
from dicomwire.dicom.scratch import IN_MEMORY, Scratch
from dicomwire.errors import TranscodingError

# PS3.3 C.7.6.3.1.2: R, G and B of luminance and the two chrominances, which are counted from their middle
_FROM_YBR: Final = numpy.array([[1.0, 0.0, 1.402], [1.0, -0.344136, -0.714136], [1.0, 1.772, 0.0]])
_PALETTES: Final = ("Red", "Green", "Blue")


def render_colour(
    cells: Array,
    photometric: str,
    description: PixelDescription,
    image: Attributes,
    scratch: Scratch = IN_MEMORY,
) -> Gray:
    """RGB of one frame, of shape (rows, columns, 3).

    Raises: TranscodingError, for colours that nobody uses any more.
    """
    if photometric == "PALETTE COLOR":
        palette = _palette(image, signed=description.signed)
        return levels_by_strips(cells[..., 0], palette, (3,), scratch=scratch)
    if cells.shape[2] != 3:
        raise TranscodingError(f"{photometric} with {cells.shape[2]} samples cannot be rendered")
    if photometric == "RGB":
        if description.bits_allocated == description.bits_stored == 8:
            return cells.view(numpy.uint8)
        return levels_by_strips(cells, lambda strip: _eight_bits(strip, description), (3,), scratch=scratch)
    if photometric in ("YBR_FULL", "YBR_PARTIAL"):
        partial = photometric == "YBR_PARTIAL"

        def rgb(strip: Array) -> Gray:
            return _rgb(_eight_bits(strip, description), partial=partial)

        return levels_by_strips(cells, rgb, (3,), scratch=scratch)
    raise TranscodingError(f"{photometric} cannot be rendered")


def pseudo_coloured(levels: Gray, state: Attributes, scratch: Scratch = IN_MEMORY) -> Gray:
    """Gray levels in the colours of a presentation state's palette; as they are where it has none.

    The range of the levels is that of the palette's entries.
    Source: PS3.3 A.33.3; PS3.4 N.2.
    """
    descriptor = state.words("RedPaletteColorLookupTableDescriptor")
    if levels.ndim != 2 or len(descriptor) < 3:
        return levels
    palette = _palette(state, signed=False)
    last = (descriptor[0] or 1 << 16) - 1
    entries = palette(descriptor[1] + (numpy.arange(256) * last + 127) // 255)
    return levels_by_strips(levels, lambda strip: entries[strip], (3,), scratch=scratch)


def _rgb(octets: Gray, *, partial: bool) -> Gray:
    """RGB of luminance and chrominance. partial: they keep to the ranges of video."""
    values = octets.astype(numpy.float32) - numpy.array([0, 128, 128], numpy.float32)
    if partial:
        values[..., 0] = (values[..., 0] - 16) * (255 / 219)
        values[..., 1:] *= 255 / 224
    rgb = values @ _FROM_YBR.T.astype(numpy.float32)
    return numpy.asarray(numpy.clip(rgb + 0.5, 0, 255), numpy.uint8)


def _eight_bits(cells: Array, description: PixelDescription) -> Gray:
    stored = description.bits_stored
    if description.bits_allocated == 8 and stored == 8:
        return cells.view(numpy.uint8)
    down = description.high_bit + 1 - stored
    numbers = cells.astype(numpy.uint32) >> down & (1 << stored) - 1
    if stored >= 8:
        return (numbers >> stored - 8).astype(numpy.uint8)
    return (numbers * 255 // ((1 << stored) - 1)).astype(numpy.uint8)


def _palette(image: Attributes, *, signed: bool) -> Callable[[Array], Gray]:
    """What looks up the colours of cells."""
    tables: list[tuple[int, Gray]] = []
    for name in _PALETTES:
        descriptor = image.words(f"{name}PaletteColorLookupTableDescriptor")
        if len(descriptor) < 3:
            raise TranscodingError(f"PALETTE COLOR without a descriptor for {name} (PS3.3 C.7.6.3.1.5)")
        count, first, bits = descriptor[0] or 1 << 16, descriptor[1], descriptor[2]
        if first > 0x7FFF and signed:
            first -= 1 << 16
        tables.append((first, _entries(image, name, count, bits)))

    def look_up(cells: Array) -> Gray:
        numbers = cells.astype(numpy.int64)
        planes = [entries[numpy.clip(numbers - first, 0, len(entries) - 1)] for first, entries in tables]
        return numpy.stack(planes, axis=-1)

    return look_up


def _entries(image: Attributes, name: str, count: int, bits: int) -> Gray:
    """The entries of one colour, as octets."""
    data = image.octets(f"{name}PaletteColorLookupTableData")
    if not data:
        words = _expanded(image.words(f"Segmented{name}PaletteColorLookupTableData"), count)
        numbers = numpy.array(words or [0], numpy.uint32)
    elif len(data) >= 2 * count:
        numbers = numpy.frombuffer(data, "<u2", count).astype(numpy.uint32)
    else:  # two entries of 8 bits in a word
        return numpy.frombuffer(data, numpy.uint8)[:count]
    # Tables of 16 bits with entries of 8, as some writers have them, tell so by their values
    return (numbers >> 8 if bits > 8 and int(numbers.max()) > 255 else numbers).astype(numpy.uint8)


def _expanded(words: list[int], count: int) -> list[int]:
    """A segmented table (PS3.3 C.7.9.2): discrete, linear and indirect segments."""
    out: list[int] = []
    position = 0
    while position + 1 < len(words) and len(out) < count:
        opcode, length = words[position], words[position + 1]
        if opcode == 0:
            out += words[position + 2 : position + 2 + length]
            position += 2 + length
        elif opcode == 1 and position + 2 < len(words) and out:
            out += _ramp(out[-1], words[position + 2], length)
            position += 3
        elif opcode == 2 and position + 3 < len(words):
            offset = words[position + 2] | words[position + 3] << 16
            out += _segments(words, offset // 2, length, out[-1] if out else 0)
            position += 4
        else:
            break
    return out[:count]


def _segments(words: list[int], position: int, segments: int, last: int) -> list[int]:
    """Segments that an indirect one repeats; they are discrete or linear."""
    out: list[int] = []
    for _ in range(segments):
        if position + 2 >= len(words):
            break
        opcode, length = words[position], words[position + 1]
        if opcode == 0:
            out += words[position + 2 : position + 2 + length]
            position += 2 + length
        else:
            out += _ramp(out[-1] if out else last, words[position + 2], length)
            position += 3
    return out


def _ramp(start: int, end: int, length: int) -> list[int]:
    return [start + (end - start) * step // max(length, 1) for step in range(1, length + 1)]
