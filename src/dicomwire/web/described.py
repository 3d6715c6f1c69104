"""STOW-RS: instances as metadata with their bulk data in parts of their own (PS3.18 10.5.2, 8.6.1.2, F.2.6).

Metadata come first, in JSON (one part with an array) or in XML (a part an instance); values left out of them
come behind, each under the URI that the metadata name. A URI is looked for among the parts of the request and
nowhere else: nothing is ever fetched.

Bulk data wait in a file without a name; once all are there each instance is written as a file, its pixel data
passing through in slices, and taken like one that came as a file.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from mmap import ACCESS_READ, mmap
from pathlib import Path
from struct import pack
from tempfile import TemporaryFile
from typing import Final, TypeAlias

from dicomwire.dicom import codecs, xml_model
from dicomwire.dicom.codestream import read_jpeg, read_jpeg_2000
from dicomwire.dicom.data_set import UTF_8, DataSet, encode, from_object
from dicomwire.dicom.dictionary import TAGS, tag_text
from dicomwire.dicom.image_pixel import attributes_of, read_codestream
from dicomwire.dicom.json_decode import load
from dicomwire.dicom.part10 import write_file_meta
from dicomwire.errors import InvalidAttribute, TranscodingError
from dicomwire.uids import EXPLICIT_VR_LITTLE_ENDIAN, is_valid_uid
from dicomwire.web.frames import FRAME_MEDIA_TYPES
from dicomwire.web.intake import Instances
from dicomwire.web.media_types import DICOM_JSON, DICOM_XML, JSON, OCTET_STREAM, MediaType, parse_media_type
from dicomwire.web.multipart import PartBegin, PartData, PartEnd, PartEvent
from dicomwire.web.problems import Problem, shown
from dicomwire.web.store_response import Failure, Reason, Result

METADATA_LIMIT: Final = 64 << 20  # bytes of all metadata of one request, held in memory
VALUE_LIMIT: Final = 64 << 20  # bytes of one instance's bulk data other than its pixel data
LONGEST_VALUE: Final = 0xFFFFFFFE  # bytes of an element or a fragment (PS3.5 7.1.1)

_PIXEL_VRS: Final = {
    TAGS["PixelData"]: b"OW\0\0",
    TAGS["FloatPixelData"]: b"OF\0\0",
    TAGS["DoubleFloatPixelData"]: b"OD\0\0",
}
_PIXEL_DATA: Final = {tag: f"{tag:08X}" for tag in _PIXEL_VRS}  # names in DICOM JSON
_METADATA_TYPES: Final = {DICOM_JSON: (DICOM_JSON, JSON), DICOM_XML: (DICOM_XML,)}
_MEASURES: Final = tuple(TAGS[keyword] for keyword in ("Rows", "Columns", "SamplesPerPixel", "BitsAllocated"))
_SLICE: Final = 1 << 20  # bytes handed on at a time

# What a media type without a transfer-syntax stands for: the defaults of PS3.18 Table 8.7.3-5
_DEFAULT_SYNTAXES: Final = {
    "image/jpeg": "1.2.840.10008.1.2.4.70",
    "image/dicom-rle": "1.2.840.10008.1.2.5",
    "image/jls": "1.2.840.10008.1.2.4.80",
    "image/jp2": "1.2.840.10008.1.2.4.90",
    "image/jpx": "1.2.840.10008.1.2.4.92",
    "image/jphc": "1.2.840.10008.1.2.4.201",
    "image/jph": "1.2.840.10008.1.2.4.201",
    "image/jxl": "1.2.840.10008.1.2.4.110",
    "video/mpeg": "1.2.840.10008.1.2.4.101",
    "video/mp4": "1.2.840.10008.1.2.4.102",
    "video/h265": "1.2.840.10008.1.2.4.107",
}

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


_Content: TypeAlias = mmap | memoryview


@dataclass(slots=True)
class _Bulk:
    """What came under one URI.

    Attributes:
        syntax: transfer syntax of its media type.
        named: the client said so; otherwise it is the media type's default.
        spans: where its parts lie in the file: offset and length, in the order of the parts.
    """

    syntax: str
    named: bool
    spans: list[tuple[int, int]] = field(default_factory=list)

    @property
    def encapsulated(self) -> bool:
        return self.syntax != EXPLICIT_VR_LITTLE_ENDIAN


class Described:
    """An intake of metadata and bulk data."""

    def __init__(self, instances: Instances, form: str, folder: Path) -> None:
        """form: media type of the metadata. folder: where bulk data wait, on the archive's disk."""
        self._instances = instances
        self._form = form
        self._documents: list[bytearray] = []
        self._metadata = 0
        self._bulk: dict[str, _Bulk] = {}
        self._file = TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 (results and abort close it)
        self._size = 0
        self._taken = 0
        self._take: bytearray | list[tuple[int, int]] | None = None

    def __len__(self) -> int:
        return self._taken

    def take(self, event: PartEvent) -> None:
        if isinstance(event, PartBegin):
            self._taken += 1
            self._take = self._begin(event)
        elif isinstance(event, PartEnd):
            self._take = None
        elif isinstance(self._take, bytearray):
            self._metadata += len(event.data)
            if self._metadata > METADATA_LIMIT:
                raise Problem(413, f"metadata have more than {METADATA_LIMIT} bytes; send files instead")
            self._take += event.data
        elif self._take is not None:
            self._spool(event, self._take)

    @property
    def congested(self) -> bool:
        return False  # the disk takes it as it comes

    async def drain(self) -> None:
        return

    def abort(self) -> None:
        self._documents.clear()
        self._file.close()

    async def results(self) -> list[Result]:
        if not self._documents:
            self._file.close()
            return []
        with self._file, self._mapped() as content:
            for found in await asyncio.to_thread(_objects, self._form, self._documents):
                await self._store(found, content)
            return await self._instances.results()

    def _begin(self, part: PartBegin) -> bytearray | list[tuple[int, int]]:
        """Where the data of a part go."""
        media_type = parse_media_type(part.header("content-type") or OCTET_STREAM)
        if media_type.essence in _METADATA_TYPES[self._form]:
            self._documents.append(bytearray())
            return self._documents[-1]
        location = part.header("content-location")
        if location is None and (identifier := part.header("content-id")):
            location = f"cid:{identifier.strip('<> ')}"
        if location is None:
            raise Problem(400, f"part {self._taken} is {media_type.essence} without a Content-Location")
        syntax, named = _transfer_syntax(media_type), media_type.parameter("transfer-syntax") is not None
        bulk = self._bulk.setdefault(location.partition("/frames/")[0], _Bulk(syntax, named))
        if bulk.syntax != syntax:
            raise Problem(400, f"parts of {shown(location)} have different transfer syntaxes")
        bulk.spans.append((self._size, 0))
        return bulk.spans

    def _spool(self, event: PartData, spans: list[tuple[int, int]]) -> None:
        try:
            rest = event.data
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            raise Problem(507, f"bulk data cannot be kept: {error.strerror}") from None
        self._size += len(event.data)
        start, length = spans[-1]
        spans[-1] = start, length + len(event.data)

    def _mapped(self) -> _Content:
        if not self._size:
            return memoryview(b"")
        return mmap(self._file.fileno(), self._size, access=ACCESS_READ)

    async def _store(self, found: Mapping[str, object], content: _Content) -> None:
        """One instance, written as a file, goes the way of files; what cannot be written gets its verdict."""
        try:
            pieces = _file(found, self._bulk, content)
        except InvalidAttribute as error:
            self._instances.refuse(_failure(found, str(error)))
            return
        self._instances.take(PartBegin(()))
        for piece in pieces:
            self._instances.take(PartData(memoryview(piece)))
            if self._instances.congested:
                await self._instances.drain()
        self._instances.take(PartEnd())


def _transfer_syntax(media_type: MediaType) -> str:
    """The transfer syntax of bulk data. Raises: Problem 415."""
    essence = media_type.essence
    syntax = media_type.parameter("transfer-syntax") or _DEFAULT_SYNTAXES.get(essence)
    if essence == OCTET_STREAM and syntax in (None, EXPLICIT_VR_LITTLE_ENDIAN):
        return EXPLICIT_VR_LITTLE_ENDIAN
    stored = "image/jphc" if essence == "image/jph" else essence  # the same in the boxes of a file
    if syntax is None or FRAME_MEDIA_TYPES.get(syntax, OCTET_STREAM) != stored:
        named = f" with transfer-syntax {shown(syntax)}" if syntax else ""
        raise Problem(
            415, f"a part is {shown(essence)}{named}; metadata, octets or a stored image's type wanted"
        )
    return syntax


def _objects(form: str, documents: Iterable[bytearray]) -> list[Mapping[str, object]]:
    """The JSON objects of all instances. Raises: Problem 400."""
    found: list[Mapping[str, object]] = []
    try:
        for document in documents:
            content = xml_model.decode(bytes(document)) if form == DICOM_XML else load(document)
            for each in content if isinstance(content, list) else [content]:
                if not isinstance(each, dict):
                    raise InvalidAttribute("an array of objects, one for each instance, was expected")
                found.append(each)
    except InvalidAttribute as error:
        raise Problem(400, f"metadata cannot be read: {error}") from None
    return found


def _file(
    found: Mapping[str, object], bulk: Mapping[str, _Bulk], content: _Content
) -> Iterator[bytes | memoryview]:
    """A Part 10 file of one instance, checked before its first piece is given.

    Raises: InvalidAttribute, when the metadata say what cannot be written.
    """
    tag, pixels = _pixel_data(found, bulk)
    values = {name: attribute for name, attribute in found.items() if name != _PIXEL_DATA.get(tag)}
    data_set = from_object(values, bulk_data=_Values(bulk, content))
    sop_class_uid, sop_instance_uid = data_set.text("SOPClassUID"), data_set.text("SOPInstanceUID")
    if not is_valid_uid(sop_class_uid) or not is_valid_uid(sop_instance_uid):
        raise InvalidAttribute("SOPClassUID or SOPInstanceUID is missing or no UID")
    syntax = _syntax_of(pixels, content) if pixels else EXPLICIT_VR_LITTLE_ENDIAN
    if pixels is not None and pixels.encapsulated:
        pixels = _bare(pixels, syntax, content)
        _complete(data_set, pixels, syntax, content)
    head = [
        write_file_meta(sop_class_uid, sop_instance_uid, syntax),
        encode(
            DataSet({each: data_set[each] for each in data_set if each < tag}), syntax, character_set=UTF_8
        ),
    ]
    tail = encode(DataSet({each: data_set[each] for each in data_set if each > tag}), syntax)
    if pixels is None:
        return iter([*head, tail])
    if not pixels.encapsulated and sum(length for _, length in pixels.spans) > LONGEST_VALUE:
        raise InvalidAttribute(f"{tag_text(tag)}: more bytes than a value may have")
    return chain(head, _pixel_element(tag, pixels, content), [tail])


def _pixel_data(found: Mapping[str, object], bulk: Mapping[str, _Bulk]) -> tuple[int, _Bulk | None]:
    """The tag and the parts of pixel data that come apart; of those within the metadata there are none."""
    for tag, name in _PIXEL_DATA.items():
        attribute = found.get(name)
        if isinstance(attribute, dict) and isinstance(uri := attribute.get("BulkDataURI"), str):
            return tag, _named(bulk, uri)
    return 0xFFFFFFFF, None


def _syntax_of(pixels: _Bulk, content: _Content) -> str:
    """The transfer syntax of pixel data: as named, else what the first codestream says it is.

    A media type's default is its lossless one; image/jpeg is Baseline more often than that.
    """
    default = pixels.syntax
    if pixels.named or (default != codecs.JPEG_LOSSLESS_SV1 and default not in _LOSSY):
        return default
    start, length = pixels.spans[0]
    read = read_jpeg_2000 if default in (codecs.JPEG_2000_LOSSLESS, codecs.HTJ2K_LOSSLESS) else read_jpeg
    try:
        found = read(memoryview(content)[start : start + length])
    except TranscodingError:
        return default
    if default in _LOSSY:
        return _LOSSY[default] if found.lossless is False else default
    return _PROCESSES.get(found.process, default)


def _bare(pixels: _Bulk, syntax: str, content: _Content) -> _Bulk:
    """Frames without the boxes of a JP2 or JPH file around them, which DICOM does not have (PS3.5 A.4.4)."""
    if codecs.CODECS.get(syntax) not in (codecs.Codec.JPEG_2000, codecs.Codec.HTJ2K):
        return pixels
    spans = []
    for start, length in pixels.spans:
        try:
            boxes = read_jpeg_2000(memoryview(content)[start : start + length]).start
        except TranscodingError:
            boxes = 0
        spans.append((start + boxes, length - boxes))
    return _Bulk(pixels.syntax, pixels.named, spans)


def _complete(data_set: DataSet, pixels: _Bulk, syntax: str, content: _Content) -> None:
    """Add what metadata may leave to the codestream (PS3.18 10.5.1.4), unless they contradict it."""
    start, length = pixels.spans[0]
    try:
        codestream = read_codestream(memoryview(content)[start : start + length], syntax)
    except TranscodingError:
        return
    if codestream is None:
        return
    told = attributes_of(codestream, syntax)
    if any(data_set.has_value(tag) and data_set[tag].values != told[tag].values for tag in _MEASURES):
        return
    for tag, attribute in told.items():
        data_set.setdefault(tag, attribute)
    if len(pixels.spans) > 1 and TAGS["NumberOfFrames"] not in data_set:
        data_set.put("NumberOfFrames", len(pixels.spans))


def _named(bulk: Mapping[str, _Bulk], uri: str) -> _Bulk:
    if (part := bulk.get(uri)) is None:
        raise InvalidAttribute(f"no part of the request has Content-Location {shown(uri)}")
    return part


def _pixel_element(tag: int, pixels: _Bulk, content: _Content) -> Iterator[bytes | memoryview]:
    """Pixel data in Explicit VR Little Endian; encapsulated, a fragment a part (PS3.5 A.4)."""
    element = pack("<HH", tag >> 16, tag & 0xFFFF)
    if not pixels.encapsulated:
        length = sum(length for _, length in pixels.spans)
        yield element + _PIXEL_VRS[tag] + pack("<I", length + length % 2)
        for span in pixels.spans:
            yield from _slices(span, content)
        yield b"\0" * (length % 2)
        return
    yield element + b"OB\0\0" + pack("<I", 0xFFFFFFFF) + pack("<HHI", 0xFFFE, 0xE000, 0)
    for span in pixels.spans:
        length = span[1]
        yield pack("<HHI", 0xFFFE, 0xE000, length + length % 2)
        yield from _slices(span, content)
        yield b"\0" * (length % 2)
    yield pack("<HHI", 0xFFFE, 0xE0DD, 0)


def _slices(span: tuple[int, int], content: _Content) -> Iterator[memoryview]:
    start, length = span
    view = memoryview(content)
    for position in range(start, start + length, _SLICE):
        yield view[position : min(position + _SLICE, start + length)]


class _Values:
    """Gives the values of bulk data other than pixel data, up to a limit for an instance."""

    def __init__(self, bulk: Mapping[str, _Bulk], content: _Content) -> None:
        self._bulk = bulk
        self._content = content
        self._given = 0

    def __call__(self, uri: str) -> bytes:
        part = _named(self._bulk, uri)
        if part.encapsulated:
            raise InvalidAttribute(f"bulk data {shown(uri)} are compressed; octets wanted but for pixel data")
        self._given += sum(length for _, length in part.spans)
        if self._given > VALUE_LIMIT:
            raise InvalidAttribute(f"bulk data beside pixel data have more than {VALUE_LIMIT} bytes")
        return b"".join(self._content[start : start + length] for start, length in part.spans)


def _failure(found: Mapping[str, object], comment: str) -> Failure:
    """A failure, named as far as the metadata say whose it is."""
    uids = []
    for name in ("00080016", "00080018"):
        attribute = found.get(name)
        values = attribute.get("Value") if isinstance(attribute, dict) else None
        uid = values[0] if isinstance(values, list) and values else ""
        uids.append(uid if isinstance(uid, str) and is_valid_uid(uid) else "")
    return Failure(Reason.CANNOT_UNDERSTAND, comment, *uids)
