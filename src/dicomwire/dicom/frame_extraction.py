"""An instance of some frames of another one (PS3.4 Y.3; PS3.3 C.12.3).

The frames stay as they are stored, compressed ones too. What refers to frames is made to fit: their number,
their times, the per-frame functional groups. Private elements are left out, for nobody knows what they refer
to. The Frame Extraction and Contributing Equipment sequences say where the instance comes from.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import IntEnum
from itertools import pairwise
from math import isclose
from struct import pack
from typing import Final

from dicomwire.dicom.convert import Edits, edited, header
from dicomwire.dicom.data_set import DataSet, encode
from dicomwire.dicom.deflate import INFLATE_LIMIT, inflate
from dicomwire.dicom.dictionary import TAGS, is_private
from dicomwire.dicom.elements import Kind, elements
from dicomwire.dicom.encoding import EXPLICIT_LITTLE, UNDEFINED, Buffer, Encoding, encoding_of
from dicomwire.dicom.frames import FrameSpan, frame_spans, read_frame
from dicomwire.dicom.scan import PixelData, Scan, scan
from dicomwire.dicom.values import Decoder
from dicomwire.errors import DataSetError, DecodeError, DicomwireError
from dicomwire.uids import EXPLICIT_VR_LITTLE_ENDIAN

_SOP_INSTANCE_UID: Final = TAGS["SOPInstanceUID"]
_NUMBER_OF_FRAMES: Final = TAGS["NumberOfFrames"]
_FRAME_TIME: Final = TAGS["FrameTime"]
_FRAME_TIME_VECTOR: Final = TAGS["FrameTimeVector"]
_FRAME_INCREMENT_POINTER: Final = TAGS["FrameIncrementPointer"]
_FRAME_EXTRACTION: Final = TAGS["FrameExtractionSequence"]
_CONTRIBUTING_EQUIPMENT: Final = TAGS["ContributingEquipmentSequence"]
_PER_FRAME: Final = TAGS["PerFrameFunctionalGroupsSequence"]
_CONTENT: Final = (TAGS["ContentDate"], TAGS["ContentTime"])
_SEQUENCES: Final = (_FRAME_EXTRACTION, _CONTRIBUTING_EQUIPMENT, _PER_FRAME)
_NUMBERED: Final = tuple(  # what names frames or counts them, and does not have to be there
    TAGS[keyword]
    for keyword in ("StartTrim", "StopTrim", "RepresentativeFrameNumber", "FrameNumbersOfInterest")
) + tuple(TAGS[keyword] for keyword in ("FrameOfInterestDescription", "FrameOfInterestType", "RWavePointer"))
_OFFSET_TABLES: Final = (0x7FE00001, 0x7FE00002, 0x7FE00003)


class Failure(IntEnum):
    """Why there is no such instance: the last digit of a status AA0xH (PS3.4 Table Y.4-1)."""

    NONE_FOUND = 0
    NO_NEW_OBJECT = 1
    NO_EXTRACTION = 2
    NOT_TIMED = 3
    INVALID = 4


class ExtractionError(DicomwireError):
    """Frames that cannot be extracted."""

    def __init__(self, failure: Failure, words: str) -> None:
        super().__init__(words)
        self.failure = failure


@dataclass(frozen=True, slots=True)
class FrameRange:
    """Which frames are asked for: one of the three is given (PS3.4 Y.3.2.1).

    Attributes:
        simple: frame numbers, from 1.
        calculated: first, last and step of each sub-range.
        times: seconds of begin and end from Content Time on.
    """

    simple: tuple[int, ...] = ()
    calculated: tuple[int, ...] = ()
    times: tuple[float, ...] = ()

    @property
    def attribute(self) -> tuple[int, tuple[int, ...] | tuple[float, ...]]:
        """Tag and values of what was given."""
        if self.simple:
            return TAGS["SimpleFrameList"], self.simple
        if self.calculated:
            return TAGS["CalculatedFrameList"], self.calculated
        return TAGS["TimeRange"], self.times


@dataclass(frozen=True, slots=True)
class Extraction:
    """A new instance, made while it is read.

    Attributes:
        frames: their numbers in the source, from 1.
    """

    sop_instance_uid: str
    transfer_syntax_uid: str
    frames: tuple[int, ...]
    pieces: Iterator[Buffer]


@dataclass(slots=True)
class _Source:
    """The instance that frames are taken from.

    Attributes:
        values: raw value of each element of the data set itself that is needed.
        items: raw content of each item of the sequences that are needed.
        private: tags of private elements.
    """

    data: memoryview
    encoding: Encoding
    scan: Scan
    pixel_data: PixelData
    spans: Sequence[FrameSpan]
    values: dict[int, bytes] = field(default_factory=dict)
    items: dict[int, list[bytes]] = field(default_factory=dict)
    private: list[int] = field(default_factory=list)

    @property
    def decoder(self) -> Decoder:
        return Decoder(encoding=self.encoding)


def extract(
    data: Buffer, transfer_syntax_uid: str, wanted: FrameRange, *, sop_instance_uid: str, now: str
) -> Extraction:
    """A new instance of the frames asked for; the source must stay as it is until it is read.

    Args:
        data: the data set.
        sop_instance_uid: of the new instance.
        now: date and time of its making, a DT.

    Raises: ExtractionError.
    Source: PS3.4 Y.3.2, Y.3.3.
    """
    if encoding_of(transfer_syntax_uid).deflated:
        data, transfer_syntax_uid = inflate(data, INFLATE_LIMIT), EXPLICIT_VR_LITTLE_ENDIAN
    source = _source(memoryview(data), transfer_syntax_uid)
    times = _times(source)
    frames = frames_of(wanted, len(source.spans), times)
    edits = Edits(
        values={
            **dict.fromkeys((*_NUMBERED, *_OFFSET_TABLES, *source.private)),
            _SOP_INSTANCE_UID: ("UI", _padded(sop_instance_uid, b"\0")),
            _NUMBER_OF_FRAMES: ("IS", _padded(str(len(frames)))),
            **_new_times(source, frames, times),
            **_new_begin(source, times[frames[0] - 1] if times is not None else 0.0),
            **_new_sequences(source, transfer_syntax_uid, frames, wanted, now),
        },
        pixel_data=lambda write: _pixel_data(source, frames, write),
    )
    pieces = edited(source.data, transfer_syntax_uid, transfer_syntax_uid, edits)
    return Extraction(sop_instance_uid, transfer_syntax_uid, frames, pieces)


def frames_of(wanted: FrameRange, count: int, times: Sequence[float] | None = None) -> tuple[int, ...]:
    """The numbers of the frames asked for.

    Args:
        count: frames that there are.
        times: seconds of each from Content Time on; None where they are not known.

    Raises: ExtractionError.
    Source: PS3.4 Y.3.2.1.
    """
    if wanted.simple:
        frames = _ascending(wanted.simple)
    elif wanted.calculated:
        frames = _ascending(_sub_ranges(wanted.calculated, count))
    else:
        if times is None:
            raise ExtractionError(Failure.NOT_TIMED, "the instance does not say the times of its frames")
        if len(wanted.times) != 2 or not wanted.times[0] <= wanted.times[1]:
            raise ExtractionError(
                Failure.INVALID, "TimeRange: a begin and an end that is not before it wanted"
            )
        first, last = wanted.times
        frames = tuple(number for number, time in enumerate(times, 1) if first <= time <= last)
    if not frames or frames[0] > count:
        raise ExtractionError(Failure.NONE_FOUND, f"none of these frames; the instance has {count}")
    if frames[-1] > count:
        raise ExtractionError(Failure.INVALID, f"no frame {frames[-1]}; the instance has {count}")
    return frames


def _ascending(numbers: Iterable[int]) -> tuple[int, ...]:
    frames: list[int] = []
    for number in numbers:
        if number < 1:
            raise ExtractionError(Failure.INVALID, "frames are numbered from 1")
        if frames and number <= frames[-1]:  # at once: overlapping sub-ranges could make very many
            raise ExtractionError(Failure.INVALID, "frame numbers must ascend, each once")
        frames.append(number)
    return tuple(frames)


def _sub_ranges(numbers: tuple[int, ...], count: int) -> Iterator[int]:
    if len(numbers) % 3:
        raise ExtractionError(Failure.INVALID, f"CalculatedFrameList: {len(numbers)} numbers are no triplets")
    for at in range(0, len(numbers), 3):
        first, last, step = numbers[at : at + 3]
        if not 1 <= first <= last or not step:
            words = f"CalculatedFrameList: {first} to {last} by {step} is no sub-range"
            raise ExtractionError(Failure.INVALID, words)
        # To any number behind the last frame means to the end; sub-ranges that begin there are ignored.
        yield from range(first, min(last, count) + 1, step)


def _source(data: memoryview, transfer_syntax_uid: str) -> _Source:
    """What has to be known of the source."""
    try:
        found = scan(data, transfer_syntax_uid)
        if found.pixel_data is None:
            raise ExtractionError(Failure.NO_NEW_OBJECT, "the instance has no frames")
        spans = frame_spans(data, transfer_syntax_uid, found)
        source = _Source(data, found.encoding, found, found.pixel_data, spans)
        _collect(source)
    except DecodeError as error:
        raise ExtractionError(Failure.NO_EXTRACTION, error.what) from None
    if any(span.bits and span.unit_size for span in spans):
        raise ExtractionError(Failure.NO_EXTRACTION, "frames within bytes of big endian words cannot be cut")
    for group in range(0x6000, 0x6020, 2):
        if any(number > 1 for number in _integers(source, group << 16 | 0x0015)):
            raise ExtractionError(Failure.NO_EXTRACTION, "overlays of several frames cannot be cut")
    per_frame = source.items.get(_PER_FRAME)
    if per_frame is not None and len(per_frame) != len(spans):
        words = f"{len(spans)} frames, {len(per_frame)} per-frame functional groups"
        raise ExtractionError(Failure.NO_EXTRACTION, words)
    return source


def _collect(source: _Source) -> None:
    depth, begin = 0, 0
    for kind, tag, _, start, end, encoding in elements(source.data, source.encoding):
        if not depth and kind is not Kind.SEQUENCE_END and is_private(tag):
            source.private.append(tag)
        if kind is Kind.VALUE:
            if not depth and end - start <= 1 << 20:
                source.values.setdefault(tag, bytes(source.data[start:end]))
        elif kind is Kind.SEQUENCE:
            depth += 1
            if depth == 1 and tag in _SEQUENCES:
                source.items[tag] = []
                if encoding is not source.encoding:
                    raise DataSetError(f"a sequence {tag:08X} as UN cannot be cut", start)
        elif kind is Kind.SEQUENCE_END:
            depth -= 1
        elif depth == 1 and tag in _SEQUENCES:
            if kind is Kind.ITEM:
                begin = start
            else:
                source.items[tag].append(_content(source.data[begin:start]))


def _content(item: memoryview) -> bytes:
    """The elements of an item, without its delimitation item where it ends with one."""
    return bytes(item[:-8] if bytes(item[-8:]) in _ITEM_ENDS else item)


_ITEM_ENDS: Final = (pack("<HHI", 0xFFFE, 0xE00D, 0), pack(">HHI", 0xFFFE, 0xE00D, 0))


def _integers(source: _Source, tag: int) -> list[int]:
    texts = source.decoder.texts("IS", source.values.get(tag, b""))
    return [int(text) for text in texts if text.lstrip("+-").isdecimal()]


def _decimals(source: _Source, tag: int) -> list[float]:
    try:
        return [float(text) for text in source.decoder.texts("DS", source.values.get(tag, b""))]
    except ValueError:
        return []


# Times


def _times(source: _Source) -> list[float] | None:
    """Seconds of each frame from the first on; None where they are not known (PS3.3 C.7.6.5)."""
    vector, step = _decimals(source, _FRAME_TIME_VECTOR), _decimals(source, _FRAME_TIME)
    count = len(source.spans)
    if len(vector) == count:
        times, now = [], 0.0
        for number, increment in enumerate(vector):
            now += increment / 1000 if number else 0.0
            times.append(now)
        return times
    if len(step) == 1 and step[0] > 0:
        return [number * step[0] / 1000 for number in range(count)]
    return None


def _new_times(
    source: _Source, frames: tuple[int, ...], times: list[float] | None
) -> Mapping[int, tuple[str, bytes] | None]:
    """Frame Time or Frame Time Vector of the frames that remain."""
    if times is None:
        return {_FRAME_TIME_VECTOR: None} if _FRAME_TIME_VECTOR in source.values else {}
    left = [times[number - 1] for number in frames]
    steps = [round((later - sooner) * 1000, 6) for sooner, later in pairwise(left)]
    if _FRAME_TIME_VECTOR not in source.values:
        if all(isclose(step, steps[0]) for step in steps):
            return {_FRAME_TIME: ("DS", _decimal(steps[0]))} if steps else {}
        pointer = pack("<HH", _FRAME_TIME_VECTOR >> 16, _FRAME_TIME_VECTOR & 0xFFFF)
        changed = {_FRAME_TIME: None, _FRAME_INCREMENT_POINTER: ("AT", pointer)}
    else:
        changed = {}
    vector = b"\\".join((b"0", *(_decimal(step).strip() for step in steps)))
    return {**changed, _FRAME_TIME_VECTOR: ("DS", vector + b" " * (len(vector) & 1))}


def _new_begin(source: _Source, seconds: float) -> Mapping[int, tuple[str, bytes]]:
    """Content Date and Time of the first frame that remains."""
    day, time = (source.values.get(tag, b"").decode("latin_1").strip(" \0") for tag in _CONTENT)
    if not seconds or len(time.partition(".")[0]) != 6:
        return {}
    try:
        fraction = float(f"0.{time.partition('.')[2] or 0}")
        begin = datetime.strptime((day or "20000101") + time[:6], "%Y%m%d%H%M%S")  # noqa: DTZ007: a local time
    except ValueError:
        return {}
    moved = begin + timedelta(seconds=fraction + seconds)
    changed = {_CONTENT[1]: ("TM", _padded(moved.strftime("%H%M%S.%f")))}
    return {**changed, _CONTENT[0]: ("DA", _padded(moved.strftime("%Y%m%d")))} if day else changed


def _decimal(number: float) -> bytes:
    return _padded(f"{number:.10g}"[:16])


# Sequences


def _new_sequences(
    source: _Source, transfer_syntax_uid: str, frames: tuple[int, ...], wanted: FrameRange, now: str
) -> Mapping[int, tuple[str, bytes]]:
    encoding = source.encoding
    tag, values = wanted.attribute
    origin = DataSet().put("MultiFrameSourceSOPInstanceUID", source.scan.text(_SOP_INSTANCE_UID))
    origin.put(tag, *values)
    purpose = DataSet().put("CodeValue", "109105").put("CodingSchemeDesignator", "DCM")
    purpose.put("CodeMeaning", "Frame Extracting Equipment")
    equipment = DataSet().put("PurposeOfReferenceCodeSequence", purpose).put("Manufacturer", "dicomwire")
    equipment.put("ContributionDateTime", now)
    extractions = [*source.items.get(_FRAME_EXTRACTION, ()), encode(origin, transfer_syntax_uid)]
    contributors = [*source.items.get(_CONTRIBUTING_EQUIPMENT, ()), encode(equipment, transfer_syntax_uid)]
    changed = {
        _FRAME_EXTRACTION: ("SQ", _items(extractions, encoding)),
        _CONTRIBUTING_EQUIPMENT: ("SQ", _items(contributors, encoding)),
    }
    groups = source.items.get(_PER_FRAME)
    if groups is not None:
        changed[_PER_FRAME] = ("SQ", _items([groups[number - 1] for number in frames], encoding))
    return changed


def _items(contents: Iterable[bytes], encoding: Encoding) -> bytes:
    order = encoding.order
    return b"".join(pack(order + "HHI", 0xFFFE, 0xE000, len(content)) + content for content in contents)


def _padded(text: str, pad: bytes = b" ") -> bytes:
    value = text.encode("ascii")
    return value + pad * (len(value) & 1)


# Pixels


def _pixel_data(source: _Source, frames: tuple[int, ...], write: Encoding) -> Iterator[Buffer]:
    """The element of the pixel data, whole."""
    spans = [source.spans[number - 1] for number in frames]
    found = source.pixel_data
    if found.length is None:
        yield from _encapsulated(source.data, spans, found)
        return
    bits = any(span.bits for span in spans)
    length = (sum(span.bits or span.length * 8 for span in spans) + 7) // 8
    yield header(found.tag, found.vr or "OW", length + (length & 1), write)
    if bits:
        yield _joined_bits(source.data, spans, length)
    else:
        for span in spans:
            for start, size in span.parts:
                yield from _blocks(source.data[start : start + size])
    if length & 1:
        yield b"\0"


def _blocks(view: memoryview) -> Iterator[Buffer]:
    return (view[at : at + (1 << 20)] for at in range(0, len(view), 1 << 20))


def _joined_bits(data: memoryview, spans: Iterable[FrameSpan], length: int) -> bytes:
    """Frames that do not fill their last byte, one behind the other (PS3.5 8.1.1)."""
    whole = position = 0
    for span in spans:
        whole |= int.from_bytes(read_frame(data, span), "little") << position
        position += span.bits or span.length * 8
    return whole.to_bytes(length, "little")


def _encapsulated(data: memoryview, spans: Sequence[FrameSpan], found: PixelData) -> Iterator[Buffer]:
    offsets, position = [], 0
    for span in spans:
        offsets.append(position)
        position += sum(8 + size for _, size in span.parts)
    table = pack(f"<{len(offsets)}I", *offsets) if position <= UNDEFINED else b""
    yield header(found.tag, "OB", UNDEFINED, EXPLICIT_LITTLE)
    yield pack("<HHI", 0xFFFE, 0xE000, len(table)) + table
    for span in spans:
        for start, size in span.parts:
            yield pack("<HHI", 0xFFFE, 0xE000, size)
            yield from _blocks(data[start : start + size])
    yield pack("<HHI", 0xFFFE, 0xE0DD, 0)
