"""Pixel data that come as parts of their own: what they are, and the element that holds them (PS3.18 10.5.2).

Compressed ones stay as they are, a fragment a part; what the Image Pixel module may leave out is read from
them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain
from struct import pack
from typing import Final

from dicomwire.dicom import codecs
from dicomwire.dicom.codestream import read_jpeg, read_jpeg_2000
from dicomwire.dicom.data_set import DataSet
from dicomwire.dicom.dictionary import TAGS, tag_text
from dicomwire.dicom.encoding import Buffer
from dicomwire.dicom.frames import Image
from dicomwire.dicom.image_pixel import attributes_of, read_codestream
from dicomwire.errors import InvalidAttribute, TranscodingError
from dicomwire.web.bulk_parts import Bulk, Span

VRS: Final = {
    TAGS["PixelData"]: "OW",
    TAGS["FloatPixelData"]: "OF",
    TAGS["DoubleFloatPixelData"]: "OD",
}
"""Of native pixel data by tag."""

_MEASURES: Final = tuple(TAGS[keyword] for keyword in ("Rows", "Columns", "SamplesPerPixel", "BitsAllocated"))
_NEEDED: Final = (
    *("Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation", "BitsAllocated", "BitsStored"),
    *("HighBit", "PixelRepresentation"),
)
# Transfer syntaxes whose codestreams hold many frames, or components of them
_NOT_BY_FRAME: Final = codecs.VIDEO | {codecs.JPEG_2000_PART_2_LOSSLESS, codecs.JPEG_2000_PART_2}
_SLICE: Final = 1 << 20  # bytes handed on at a time
LONGEST_VALUE: Final = 0xFFFFFFFE  # bytes of an element (PS3.5 7.1.1)

# What a codestream is where no transfer syntax is named and the default is not what it says of itself
_PROCESSES: Final = {
    0xC0: codecs.JPEG_BASELINE,
    0xC1: codecs.JPEG_EXTENDED,
    0xC2: "1.2.840.10008.1.2.4.55",  # retired: full progression
}
_LOSSY: Final = {
    codecs.JPEG_LS_LOSSLESS: codecs.JPEG_LS_NEAR_LOSSLESS,
    codecs.JPEG_2000_LOSSLESS: codecs.JPEG_2000,
    codecs.HTJ2K_LOSSLESS: codecs.HTJ2K,
}


def syntax_of(pixels: Bulk, content: memoryview) -> str:
    """The transfer syntax of pixel data: as named, else what the first codestream says it is.

    A media type's default is its lossless one; image/jpeg is Baseline more often than that.
    """
    default = pixels.syntax
    if pixels.named or (default != codecs.JPEG_LOSSLESS_SV1 and default not in _LOSSY):
        return default
    start, length = pixels.spans[0]
    read = read_jpeg_2000 if default in (codecs.JPEG_2000_LOSSLESS, codecs.HTJ2K_LOSSLESS) else read_jpeg
    try:
        found = read(content[start : start + length])
    except TranscodingError:
        return default
    if default in _LOSSY:
        return _LOSSY[default] if found.lossless is False else default
    return _PROCESSES.get(found.process, default)


def bare(pixels: Bulk, syntax: str, content: memoryview) -> Bulk:
    """Frames without the boxes of a JP2 or JPH file around them, which DICOM does not have (PS3.5 A.4.4)."""
    if codecs.CODECS.get(syntax) not in (codecs.Codec.JPEG_2000, codecs.Codec.HTJ2K):
        return pixels
    spans = []
    for start, length in pixels.spans:
        try:
            boxes = read_jpeg_2000(content[start : start + length]).start
        except TranscodingError:
            boxes = 0
        spans.append((start + boxes, length - boxes))
    return replace(pixels, spans=spans)


def complete(data_set: DataSet, pixels: Bulk, syntax: str, content: memoryview) -> None:
    """Add what metadata may leave to the codestream (PS3.18 10.5.1.4), unless they contradict it."""
    start, length = pixels.spans[0]
    try:
        codestream = read_codestream(content[start : start + length], syntax)
    except TranscodingError:
        return
    if codestream is None:
        return
    supply(data_set, attributes_of(codestream, syntax))
    if len(pixels.spans) > 1 and TAGS["NumberOfFrames"] not in data_set:
        data_set.put("NumberOfFrames", len(pixels.spans))


def check_frames(data_set: DataSet, pixels: Bulk, syntax: str) -> None:
    """Every frame that the metadata tell of has come: in a part each, or in as many octets.

    Raises: InvalidAttribute.
    Source: PS3.18 10.5.1.4, 10.5.2.
    """
    frames = _count(data_set, "NumberOfFrames")
    if pixels.encapsulated:
        if frames and len(pixels.spans) != frames and syntax not in _NOT_BY_FRAME:
            raise InvalidAttribute(
                f"NumberOfFrames is {frames}; parts of pixel data: {len(pixels.spans)}; a part each wanted"
            )
        return
    rows, columns, samples, allocated = (_count(data_set, tag) for tag in _MEASURES)
    image = Image(rows, columns, samples, allocated, 1, data_set.text("PhotometricInterpretation"))
    wanted = (image.frame_bits * max(frames, 1) + 7) // 8
    if pixels.length < wanted:
        raise InvalidAttribute(f"{pixels.length} bytes of pixel data; {wanted} wanted, as the metadata say")


def _count(data_set: DataSet, tag: str | int) -> int:
    """0 for what is missing or no number."""
    text = data_set.text(tag).strip()
    return int(text) if text.isdecimal() else 0


def is_described(data_set: DataSet) -> bool:
    """The metadata say all of the Image Pixel module that pixels cannot be read without."""
    return all(data_set.has_value(keyword) for keyword in _NEEDED)


def supply(data_set: DataSet, told: DataSet) -> None:
    """Add what is told of the pixels, unless the metadata contradict it."""
    if any(data_set.has_value(tag) and data_set[tag].values != told[tag].values for tag in _MEASURES):
        return
    for tag, attribute in told.items():
        data_set.setdefault(tag, attribute)


def native_element(
    tag: int, length: int, value: Iterable[Buffer], *, vr: str | None = None
) -> Iterator[Buffer]:
    """Pixel data in Explicit VR Little Endian; vr: another than the usual one.

    Raises: InvalidAttribute, at once, for more than can be.
    """
    if length > LONGEST_VALUE:
        raise InvalidAttribute(f"{tag_text(tag)}: more bytes than a value may have")
    code = (vr or VRS[tag]).encode()
    head = pack("<HH2sHI", tag >> 16, tag & 0xFFFF, code, 0, length + length % 2)
    return chain((head,), value, (b"\0" * (length % 2),))


def encapsulated_element(tag: int, pixels: Bulk, content: memoryview) -> Iterator[Buffer]:
    """Pixel data as fragments, one a part (PS3.5 A.4)."""
    element = pack("<HH", tag >> 16, tag & 0xFFFF)
    yield element + b"OB\0\0" + pack("<I", 0xFFFFFFFF) + pack("<HHI", 0xFFFE, 0xE000, 0)
    for span in pixels.spans:
        length = span[1]
        yield pack("<HHI", 0xFFFE, 0xE000, length + length % 2)
        yield from slices([span], content)
        yield b"\0" * (length % 2)
    yield pack("<HHI", 0xFFFE, 0xE0DD, 0)


def slices(spans: Iterable[Span], content: memoryview) -> Iterator[memoryview]:
    """Parts of the content, one after the other, at most 1 MiB at a time."""
    for start, length in spans:
        for position in range(start, start + length, _SLICE):
            yield content[position : min(position + _SLICE, start + length)]
