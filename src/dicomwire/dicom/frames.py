"""Where each frame of pixel data lies (PS3.5 8.1.1, 8.2, A.4; PS3.3 C.7.6.3.1).

Native frames follow each other without gaps, in bits where a frame does not fill its last byte. Encapsulated
ones are found by the Extended or the Basic Offset Table, one fragment a frame, or the codec's own markers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from struct import Struct
from typing import Final

from dicomwire.dicom.byte_order import swapped
from dicomwire.dicom.context import Context
from dicomwire.dicom.encoding import EXPLICIT_LITTLE, Buffer, encoding_of, fragments
from dicomwire.dicom.scan import PixelData, Scan
from dicomwire.errors import DecodeError

FRAGMENT_LIMIT: Final = 1_000_000  # of one image; each is remembered while frames are told apart

# First bytes of a frame's codestream: JPEG and JPEG-LS (SOI and the next marker), JPEG 2000 and HTJ2K (SOC,
# SIZ), JP2-boxed JPEG 2000, JPEG XL (codestream, container)
_STARTS: Final = (
    b"\xff\xd8\xff",
    b"\xff\x4f\xff\x51",
    b"\x00\x00\x00\x0cjP  ",
    b"\xff\x0a",
    b"\x00\x00\x00\x0cJXL ",
)


class FrameError(DecodeError):
    """A frame that does not exist or cannot be told from its neighbours."""


@dataclass(frozen=True, slots=True)
class Image:
    """The attributes that give native frames their size (PS3.3 C.7.6.3)."""

    rows: int
    columns: int
    samples_per_pixel: int
    bits_allocated: int
    number_of_frames: int = 1
    photometric_interpretation: str = ""

    @property
    def frame_bits(self) -> int:
        """Bits of one native frame."""
        bits = self.rows * self.columns * self.samples_per_pixel * self.bits_allocated
        if self.samples_per_pixel == 3 and self.photometric_interpretation.endswith("_422"):
            return bits * 2 // 3  # two chrominance samples for two pixels (PS3.3 C.7.6.3.1.2)
        if self.samples_per_pixel == 3 and self.photometric_interpretation.endswith("_420"):
            return bits // 2
        return bits


@dataclass(frozen=True, slots=True)
class FrameSpan:
    """Where one frame lies.

    Attributes:
        parts: offset and length of each piece, counted from byte 0 of the (inflated) data set.
        bit_offset: bits before the frame in the first byte; native only.
        bits: bits of the frame; 0 where the parts are the frame.
        unit_size: bytes to reverse for little endian, 0 for none.
    """

    parts: tuple[tuple[int, int], ...]
    bit_offset: int = 0
    bits: int = 0
    unit_size: int = 0

    @property
    def plain(self) -> bool:
        """The frame is one slice of the data set as it stands."""
        return len(self.parts) == 1 and not self.bits and not self.unit_size

    @property
    def length(self) -> int:
        """Bytes of the frame when read."""
        return (self.bits + 7) // 8 if self.bits else sum(length for _, length in self.parts)


def image_of(scan: Scan) -> Image:
    """The image attributes of a scanned data set.

    Raises: FrameError, when one that native frames need is missing.
    """
    values = [scan.integer(tag) for tag in (0x00280010, 0x00280011, 0x00280002, 0x00280100)]
    rows, columns, samples, bits = values
    if rows is None or columns is None or bits is None:
        raise FrameError("Rows, Columns or Bits Allocated is missing", section="PS3.3 C.7.6.3")
    return Image(rows, columns, samples or 1, bits, scan.integer(0x00280008) or 1, scan.text(0x00280004))


def frame_spans(data: Buffer, transfer_syntax_uid: str, scan: Scan) -> list[FrameSpan]:
    """Span of each frame of a scanned data set, in frame order.

    data: the data set, inflated.
    Raises: FrameError, when there is no pixel data, or frames cannot be told apart.
    """
    pixel_data = scan.pixel_data
    if pixel_data is None:
        raise FrameError("the data set has no pixel data", section="PS3.3 C.7.6.3")
    if pixel_data.length is None:
        table = _extended_offset_table(data, scan)
        return encapsulated_spans(
            data, pixel_data, scan.integer(0x00280008) or 1, extended_offset_table=table
        )
    image = image_of(scan)
    return [
        native_span(image, pixel_data, frame, little_endian=encoding_of(transfer_syntax_uid).little_endian)
        for frame in range(1, image.number_of_frames + 1)
    ]


def native_span(image: Image, pixel_data: PixelData, frame: int, *, little_endian: bool = True) -> FrameSpan:
    """Span of one native frame, in constant time.

    frame: its number, from 1.
    Raises: FrameError, when there is no such frame or the pixel data ends before it does.
    """
    if not 1 <= frame <= image.number_of_frames:
        raise FrameError(f"frame {frame} of {image.number_of_frames}", section="PS3.18 10.4.1.1.6")
    length = pixel_data.length or 0
    first, last = (frame - 1) * image.frame_bits, frame * image.frame_bits
    if not image.frame_bits or last > length * 8:
        raise FrameError(
            f"pixel data: {length} bytes, frame {frame} ends at byte {(last + 7) // 8}",
            pixel_data.offset,
            section="PS3.5 8.1.1",
        )
    unit = 0
    if not little_endian:
        unit = Context(bits_allocated=image.bits_allocated).unit_size(pixel_data.tag, pixel_data.vr)
    start, end = first // 8, (last + 7) // 8
    if not first % 8 and not last % 8 and not (unit and (start % unit or end % unit)):
        return FrameSpan(((pixel_data.offset + start, end - start),), unit_size=unit)
    if unit:  # whole units, so that they can be reversed
        start, end = start // unit * unit, min(-(-end // unit) * unit, length)
    return FrameSpan(
        ((pixel_data.offset + start, end - start),),
        bit_offset=first - start * 8,
        bits=last - first,
        unit_size=unit,
    )


def encapsulated_spans(
    data: Buffer,
    pixel_data: PixelData,
    number_of_frames: int,
    *,
    extended_offset_table: Sequence[tuple[int, int]] | None = None,
) -> list[FrameSpan]:
    """Span of each encapsulated frame.

    extended_offset_table: offset and length of each frame (PS3.3 C.7.6.3.1.8).
    Raises: FrameError, when frames cannot be told apart; DataSetError, when the fragments are cut.
    """
    every = list(
        islice(fragments(data, pixel_data.offset, pixel_data.end, EXPLICIT_LITTLE), FRAGMENT_LIMIT + 1)
    )
    if len(every) > FRAGMENT_LIMIT:
        raise FrameError(f"pixel data: more than {FRAGMENT_LIMIT} fragments", pixel_data.offset)
    if len(every) < 3:
        raise FrameError(
            "pixel data: encapsulated, without a fragment", pixel_data.offset, section="PS3.5 A.4"
        )
    (table_start, table_length), *parts = every[:-1]
    base = parts[0][0] - 8  # offsets count from the first item behind the Basic Offset Table
    if extended_offset_table is not None and len(extended_offset_table) == number_of_frames:
        end = parts[-1][0] + parts[-1][1]
        spans = [(base + offset + 8, length) for offset, length in extended_offset_table]
        if all(start + length <= end for start, length in spans):
            return [FrameSpan((span,)) for span in spans]
    count = table_length // 4
    if count == number_of_frames:
        offsets = Struct(f"<{count}I").unpack_from(data, table_start)
        if spans_by_table := _by_offsets(parts, [base + offset for offset in offsets]):
            return spans_by_table
    if number_of_frames == 1:
        return [FrameSpan(tuple(parts))]
    if len(parts) == number_of_frames:
        return [FrameSpan((part,)) for part in parts]
    return _by_markers(data, parts, number_of_frames, pixel_data.offset)


def read_frame(data: Buffer, span: FrameSpan) -> Buffer:
    """The bytes of a frame, little endian, its first pixel in the lowest bits of its first byte.

    A view of the data where the frame is one slice of it.
    """
    view = memoryview(data)
    if span.plain:
        start, length = span.parts[0]
        return view[start : start + length]
    whole = b"".join(view[start : start + length] for start, length in span.parts)
    if span.unit_size:
        whole = swapped(whole, span.unit_size)
    if span.bits:
        number = int.from_bytes(whole, "little") >> span.bit_offset & (1 << span.bits) - 1
        return number.to_bytes(span.length, "little")
    return whole


def _extended_offset_table(data: Buffer, scan: Scan) -> list[tuple[int, int]] | None:
    if scan.extended_offset_table is None or scan.extended_offset_table_lengths is None:
        return None
    offsets, lengths = (
        Struct(f"<{length // 8}Q").unpack_from(data, start)
        for start, length in (scan.extended_offset_table, scan.extended_offset_table_lengths)
    )
    return list(zip(offsets, lengths, strict=True)) if len(offsets) == len(lengths) else None


def _by_offsets(parts: Sequence[tuple[int, int]], offsets: Sequence[int]) -> list[FrameSpan] | None:
    """Frames by the Basic Offset Table; None when it does not fit the fragments, as in some writers'
    files.
    """
    index_of = {start - 8: index for index, (start, _) in enumerate(parts)}
    firsts = [index_of.get(offset) for offset in offsets]
    bounds = [first for first in firsts if first is not None]
    if len(bounds) != len(offsets) or bounds[0] != 0 or sorted(set(bounds)) != bounds:
        return None
    bounds.append(len(parts))
    return [FrameSpan(tuple(parts[bounds[i] : bounds[i + 1]])) for i in range(len(offsets))]


def _by_markers(
    data: Buffer, parts: Sequence[tuple[int, int]], number_of_frames: int, position: int
) -> list[FrameSpan]:
    """Frames by the fragments in which a codestream begins."""
    bounds = [
        index for index, (start, _) in enumerate(parts) if bytes(data[start : start + 8]).startswith(_STARTS)
    ]
    if len(bounds) != number_of_frames or bounds[0] != 0:
        raise FrameError(
            f"pixel data: {len(parts)} fragments for {number_of_frames} frames, {len(bounds)} of them begin"
            " a codestream, and no offset table fits",
            position,
            section="PS3.5 A.4",
        )
    bounds.append(len(parts))
    return [FrameSpan(tuple(parts[bounds[i] : bounds[i + 1]])) for i in range(number_of_frames)]
