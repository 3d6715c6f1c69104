"""A data set in another transfer syntax, its pixel data decoded or encoded (PS3.5 8.2, 10, A.4).

The data set is rewritten as it is read: elements are copied, the few that the change of pixel data touches
are set, frames go through one at a time. Nothing is lost unless loss was asked for; then the data set says
so (PS3.3 C.7.6.1.1.5).
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import pack
from typing import Final

from dicomwire.dicom.arrays import to_native
from dicomwire.dicom.byte_order import swapped
from dicomwire.dicom.codecs import ALSO, CODECS, JPEG_LS_NEAR_LOSSLESS, NATIVE, Codec
from dicomwire.dicom.codestream import read_jpeg, read_jpeg_2000
from dicomwire.dicom.context import Context
from dicomwire.dicom.convert import Edits, edited, header, to_transfer_syntax
from dicomwire.dicom.deflate import INFLATE_LIMIT, inflate
from dicomwire.dicom.encode import Encoded
from dicomwire.dicom.encoding import UNDEFINED, Buffer, Encoding, encoding_of
from dicomwire.dicom.pixel_description import PIXEL_DATA
from dicomwire.dicom.pixels import Pixels
from dicomwire.dicom.scan import scan
from dicomwire.dicom.scratch import IN_MEMORY, Scratch
from dicomwire.errors import TranscodingError
from dicomwire.uids import EXPLICIT_VR_LITTLE_ENDIAN, TRANSFER_SYNTAXES, name_of

MOST_FRAMES: Final = 250_000  # through a codec: each takes 0.1 ms, however small; a slide has fewer tiles

_IMAGE_TYPE: Final = 0x00080008
_PHOTOMETRIC_INTERPRETATION: Final = 0x00280004
_PLANAR_CONFIGURATION: Final = 0x00280006
_LOSSY_IMAGE_COMPRESSION: Final = 0x00282110
_LOSSY_RATIO: Final = 0x00282112
_LOSSY_METHOD: Final = 0x00282114
_OFFSET_TABLES: Final = (0x7FE00001, 0x7FE00002, 0x7FE00003)
_ICON_IMAGE_SEQUENCE: Final = 0x00880200
_LONGEST: Final = 0xFFFFFFFE  # bytes of a native value
_BLOCK: Final = 1 << 20  # bytes swapped at once, whole cells

# PS3.3 C.7.6.1.1.5.1; the processes of JPEG have one name
_METHODS: Final = {
    Codec.JPEG: "ISO_10918_1",
    Codec.JPEG_LS: "ISO_14495_1",
    Codec.JPEG_2000: "ISO_15444_1",
    Codec.HTJ2K: "ISO_15444_15",
    Codec.JPEG_XL: "ISO_18181_1",
}
_ITEM: Final = pack("<HHI", 0xFFFE, 0xE000, 0)
_END: Final = pack("<HHI", 0xFFFE, 0xE0DD, 0)


def transcode(
    data: Buffer,
    source: str,
    target: str,
    *,
    quality: int | None = None,
    inflate_limit: int = INFLATE_LIMIT,
    scratch: Scratch = IN_MEMORY,
) -> Iterator[Buffer]:
    """A data set in another transfer syntax, in pieces of at most a frame.

    data: the data set as it is stored.
    source, target: transfer syntax UIDs.
    quality: 1 to 100 to compress with loss, None to lose nothing.
    scratch: where large frames lie on their way.
    Raises: TranscodingError, FrameError, DataSetError, also while iterating.
    """
    if source == target or (quality is None and target in ALSO.get(source, ())):
        return to_transfer_syntax(data, source, source)
    if source in NATIVE and target in NATIVE:
        return to_transfer_syntax(data, source, target, inflate_limit=inflate_limit)
    if source not in CODECS or target not in TRANSFER_SYNTAXES:
        raise TranscodingError(f"{name_of(source)} cannot become {name_of(target)}")
    if encoding_of(source).deflated:
        data, source = inflate(data, inflate_limit), EXPLICIT_VR_LITTLE_ENDIAN
    found = scan(data, source)
    if found.pixel_data is None:
        return edited(data, source, target, Edits())
    pixels = Pixels(data, source, found, scratch=scratch)
    if target in NATIVE and not pixels.encapsulated:
        return edited(data, source, target, Edits())  # native pixel data under the name of a codec
    if pixels.description.is_float:
        raise TranscodingError("floating point pixels are not compressed (PS3.5 8.2)")
    if pixels.number_of_frames > MOST_FRAMES:
        raise TranscodingError(f"{pixels.number_of_frames} frames; {MOST_FRAMES} at most are transcoded")
    if pixels.unaccounted >= pixels.description.frame_length:
        raise TranscodingError(
            f"{pixels.unaccounted} bytes of pixel data behind {pixels.number_of_frames} frames would be lost"
        )
    return edited(data, source, target, _Transcoding(pixels, source, target, quality).edits())


class _Transcoding:
    """The edits of one data set whose pixel data changes its form."""

    def __init__(self, pixels: Pixels, source: str, target: str, quality: int | None) -> None:
        self._pixels = pixels
        self._source = source
        self._target = target
        self._quality = quality
        first = self._frame(1)
        self._photometric = first.photometric_interpretation
        self._first_length = len(first.data)
        self._first = [first.data]  # until it has been written

    def edits(self) -> Edits:
        native = self._target in NATIVE
        description = self._pixels.description
        values: dict[int, tuple[str, bytes] | None] = dict.fromkeys(_OFFSET_TABLES)
        if self._photometric != description.photometric_interpretation:
            values[_PHOTOMETRIC_INTERPRETATION] = _text(self._photometric)
        if description.samples_per_pixel > 1:
            values[_PLANAR_CONFIGURATION] = ("US", b"\0\0")
        values |= self._lossy()
        return Edits(
            values,
            self._native if native else self._encapsulated,
            # Its pixels would have to be decoded too; it is made of the image's (PS3.3 F.7)
            frozenset({_ICON_IMAGE_SEQUENCE}) if native and self._pixels.encapsulated else frozenset(),
        )

    def _frame(self, number: int) -> Encoded:
        if self._target in NATIVE:
            cells, photometric = self._pixels.cells(number)
            allocated = self._pixels.description.bits_allocated
            return Encoded(to_native(cells, allocated, self._pixels.scratch), photometric)
        return self._pixels.encoded(number, self._target, self._quality)

    def _frames(self) -> Iterator[Buffer]:
        yield self._first.pop()
        for number in range(2, self._pixels.number_of_frames + 1):
            frame = self._frame(number)
            if frame.photometric_interpretation != self._photometric:
                raise TranscodingError(
                    f"frame {number} is {frame.photometric_interpretation}, the first {self._photometric}"
                )
            yield frame.data

    def _native(self, write: Encoding) -> Iterator[Buffer]:
        """The element with native pixel data; frames of single bits follow each other within bytes."""
        description = self._pixels.description
        bits, count = description.rows * description.columns * description.samples_per_pixel, 0
        bits *= description.bits_allocated
        length = (bits * self._pixels.number_of_frames + 7) // 8
        padded = length + (length & 1)
        if padded > _LONGEST:
            raise TranscodingError(
                f"native pixel data of {length} bytes; at most {_LONGEST} have a length field"
            )
        vr = "OB" if description.bits_allocated <= 8 else "OW"
        yield header(PIXEL_DATA, vr, padded, write)
        unit = 0
        if not write.little_endian:
            unit = Context(bits_allocated=description.bits_allocated).unit_size(PIXEL_DATA, vr)
        carried = carried_bits = 0
        for frame in self._frames():
            count += 1
            if bits % 8 == 0:
                if unit:
                    yield from (swapped(frame[at : at + _BLOCK], unit) for at in range(0, len(frame), _BLOCK))
                else:
                    yield frame
                continue
            carried |= int.from_bytes(frame, "little") << carried_bits
            whole, carried_bits = divmod(carried_bits + bits, 8)
            octets = carried.to_bytes(whole + 1, "little")
            carried = octets[whole]
            yield octets[:whole]
        if carried_bits:
            yield bytes((carried,))
        if length & 1:
            yield b"\0"

    def _encapsulated(self, write: Encoding) -> Iterator[Buffer]:
        """The element with one fragment a frame, its Basic Offset Table empty."""
        yield header(PIXEL_DATA, "OB", UNDEFINED, write) + _ITEM
        for frame in self._frames():
            padded = len(frame) + (len(frame) & 1)
            if padded > _LONGEST:
                raise TranscodingError(f"a frame of {len(frame)} bytes; at most {_LONGEST} fit a fragment")
            yield pack("<HHI", 0xFFFE, 0xE000, padded)
            yield frame
            if len(frame) & 1:
                yield b"\0"
        yield _END

    def _lossy(self) -> dict[int, tuple[str, bytes] | None]:
        """What tells of loss: the one asked for now, or the stored one that the data set kept to itself."""
        codec = CODECS[self._source]
        if self._quality is not None:
            return self._flags(CODECS[self._target], self._first_length, derived=True)
        if self._pixels.scan.text(_LOSSY_IMAGE_COMPRESSION) == "01" or not self._is_lossy(codec):
            return {}
        length = self._pixels.stored_length // max(self._pixels.number_of_frames, 1)
        return self._flags(codec, length, derived=False)

    def _is_lossy(self, codec: Codec) -> bool:
        """Whether the stored pixels lost something for sure."""
        if not self._pixels.encapsulated or codec not in _METHODS:
            return False
        if codec is Codec.JPEG:
            return True
        frame = self._pixels.stored(1)
        if codec is Codec.JPEG_LS:
            return self._source == JPEG_LS_NEAR_LOSSLESS and read_jpeg(frame).lossless is False
        if codec in (Codec.JPEG_2000, Codec.HTJ2K):
            return read_jpeg_2000(frame).lossless is False
        return False

    def _flags(self, codec: Codec, length: int, *, derived: bool) -> dict[int, tuple[str, bytes] | None]:
        before = self._pixels.scan
        method = _METHODS.get(codec, "")
        ratio = f"{self._pixels.description.frame_length / max(length, 1):.4g}"
        values: dict[int, tuple[str, bytes] | None] = {
            _LOSSY_IMAGE_COMPRESSION: _text("01"),
            _LOSSY_RATIO: _text(ratio, "DS"),
            _LOSSY_METHOD: _text(method),
        }
        if derived:
            earlier = self._earlier(_LOSSY_RATIO), self._earlier(_LOSSY_METHOD)
            values[_LOSSY_RATIO] = _text("\\".join((*earlier[0], ratio)), "DS")
            values[_LOSSY_METHOD] = _text("\\".join((*earlier[1], method)))
            image_type = before.texts(_IMAGE_TYPE)[1:] or ["PRIMARY"]
            values[_IMAGE_TYPE] = _text("\\".join(("DERIVED", *image_type)))
        return values

    def _earlier(self, tag: int) -> list[str]:
        """The values that earlier compressions left."""
        return self._pixels.scan.texts(tag)


def _text(text: str, vr: str = "CS") -> tuple[str, bytes]:
    value = text.encode("ascii", "replace")
    return vr, value + b" " if len(value) & 1 else value
