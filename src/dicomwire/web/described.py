"""STOW-RS: instances as metadata with their bulk data in parts of their own (PS3.18 10.5.2, 8.6.1.2, F.2.6).

Metadata come first, in JSON (one part with an array) or in XML (a part an instance); values left out of them
come behind, each under the URI that the metadata name. A URI is looked for among the parts of the request and
nowhere else: nothing is ever fetched.

Bulk data wait in a file without a name; once all are there each instance is written as a file, its pixel data
passing through in slices, and taken like one that came as a file.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from mmap import ACCESS_READ, mmap
from pathlib import Path
from tempfile import TemporaryFile
from typing import Final

from dicomwire.archive.transcoder import Transcoder
from dicomwire.dicom import raster, xml_model
from dicomwire.dicom.data_set import DataSet, encode_around, from_object
from dicomwire.dicom.dictionary import tag_text
from dicomwire.dicom.encoding import Buffer
from dicomwire.dicom.image_pixel import attributes_of_probed
from dicomwire.dicom.json_decode import load
from dicomwire.dicom.part10 import write_file_meta
from dicomwire.dicom.pixel_description import PIXEL_DATA
from dicomwire.errors import InvalidAttribute, TranscodingError, WorkersBusy
from dicomwire.uids import EXPLICIT_VR_LITTLE_ENDIAN, is_valid_uid
from dicomwire.web import described_pixels
from dicomwire.web.body import weigh
from dicomwire.web.bulk_parts import PROBED, Bulk, Span, bulk_of
from dicomwire.web.described_pixels import (
    bare,
    check_frames,
    complete,
    encapsulated_element,
    is_described,
    native_element,
    slices,
    supply,
    syntax_of,
)
from dicomwire.web.intake import Instances
from dicomwire.web.media_types import DICOM_JSON, DICOM_XML, JSON, OCTET_STREAM, parse_media_type
from dicomwire.web.multipart import PartBegin, PartData, PartEnd, PartEvent
from dicomwire.web.problems import Problem, shown
from dicomwire.web.store_response import Failure, Reason, Result

METADATA_LIMIT: Final = 64 << 20  # bytes of all metadata of one request, held in memory
MOST_INSTANCES: Final = 10_000  # of one request: all are answered at once
MOST_OBJECTS: Final = 1_000_000  # of one request: attributes and items
MOST_PARTS: Final = 100_000  # of one request: each is remembered until the last has come
VALUE_LIMIT: Final = 64 << 20  # bytes of one instance's bulk data other than its pixel data

_PIXEL_DATA: Final = {tag: f"{tag:08X}" for tag in described_pixels.VRS}  # names in DICOM JSON
_DOCUMENT: Final = "00420011"
_METADATA_TYPES: Final = {DICOM_JSON: (DICOM_JSON, JSON), DICOM_XML: (DICOM_XML,)}


@dataclass(frozen=True, slots=True)
class _Instance:
    """What metadata describe, their bulk data but for pixel data included.

    Attributes:
        tag: of the pixel data; behind every tag where none come apart.
    """

    data_set: DataSet
    tag: int
    pixels: Bulk | None


class Described:
    """An intake of metadata and bulk data."""

    def __init__(self, instances: Instances, form: str, folder: Path, transcoder: Transcoder) -> None:
        """form: media type of the metadata. folder: where bulk data wait, on the archive's disk."""
        self._instances = instances
        self._transcoder = transcoder
        self._form = form
        self._documents: list[bytearray] = []
        self._metadata = 0
        self._bulk: dict[str, Bulk] = {}
        self._file = TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 (results and abort close it)
        self._size = 0
        self._taken = 0
        self._take: bytearray | list[Span] | None = None

    def __len__(self) -> int:
        return self._taken

    def take(self, event: PartEvent) -> None:
        if isinstance(event, PartBegin):
            self._taken += 1
            if self._taken > MOST_PARTS:
                raise Problem(413, f"the request has more than {MOST_PARTS} parts")
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
        with self._file:
            content = self._mapped()
            for found in await asyncio.to_thread(_objects, self._form, self._documents):
                await self._store(found, content)
            return await self._instances.results()

    def _begin(self, part: PartBegin) -> bytearray | list[Span]:
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
        part_of = bulk_of(media_type)
        if part_of.raster and not self._transcoder.available:
            raise Problem(415, f"a part is {part_of.media_type}, which takes codecs that are not installed")
        bulk = self._bulk.setdefault(location.partition("/frames/")[0], part_of)
        if (bulk.media_type, bulk.syntax) != (part_of.media_type, part_of.syntax):
            raise Problem(400, f"parts of {shown(location)} have different media types or transfer syntaxes")
        bulk.spans.append((self._size, 0))
        return bulk.spans

    def _spool(self, event: PartData, spans: list[Span]) -> None:
        try:
            rest = event.data
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            raise Problem(507, f"bulk data cannot be kept: {error.strerror}") from None
        self._size += len(event.data)
        start, length = spans[-1]
        spans[-1] = start, length + len(event.data)

    def _mapped(self) -> memoryview:
        """What came apart; the map ends with the last view of it."""
        if not self._size:
            return memoryview(b"")
        return memoryview(mmap(self._file.fileno(), self._size, access=ACCESS_READ))

    async def _store(self, found: Mapping[str, object], content: memoryview) -> None:
        """One instance, written as a file, goes the way of files; what cannot be written gets its verdict."""
        try:
            pieces = await self._file_of(found, content)
        except (InvalidAttribute, TranscodingError) as error:
            self._instances.refuse(_failure(found, Reason.CANNOT_UNDERSTAND, str(error)))
            return
        except WorkersBusy as error:
            self._instances.refuse(_failure(found, Reason.OUT_OF_RESOURCES, str(error)))
            return
        self._instances.take(PartBegin(()))
        for piece in pieces:
            self._instances.take(PartData(memoryview(piece)))
            if self._instances.congested:
                await self._instances.drain()
        self._instances.take(PartEnd())

    async def _file_of(self, found: Mapping[str, object], content: memoryview) -> Iterator[Buffer]:
        """A Part 10 file of one instance, checked before its first piece is given.

        Raises: InvalidAttribute, when the metadata say what cannot be written; TranscodingError, when what
            has to be transformed cannot be; WorkersBusy.
        """
        instance = _read(found, self._bulk, content)
        data_set, tag, pixels = instance.data_set, instance.tag, instance.pixels
        if pixels is None:
            return _written(instance, EXPLICIT_VR_LITTLE_ENDIAN, iter(()))
        if pixels.document or (pixels.raster and tag != PIXEL_DATA):
            raise InvalidAttribute(
                f"{tag_text(tag)} is {pixels.media_type}; octets, an image or a video wanted"
            )
        if pixels.raster:
            samples = {"1": 1, "3": 3}.get(data_set.text("SamplesPerPixel"))
            made, frames = await self._transcoder.raster(
                self._file.fileno(), pixels.media_type, pixels.spans, samples
            )
            raster.complete(data_set, made)
            element = native_element(tag, len(frames), frames.slices())
            return _written(instance, EXPLICIT_VR_LITTLE_ENDIAN, element)
        if not pixels.encapsulated:
            check_frames(data_set, pixels, EXPLICIT_VR_LITTLE_ENDIAN)
            vr = "OB" if _said_to_be_bytes(found, data_set) else None
            element = native_element(tag, pixels.length, slices(pixels.spans, content), vr=vr)
            return _written(instance, EXPLICIT_VR_LITTLE_ENDIAN, element)
        syntax = syntax_of(pixels, content)
        check_frames(data_set, pixels, syntax)
        pixels = bare(pixels, syntax, content)
        complete(data_set, pixels, syntax, content)
        if pixels.media_type in PROBED and self._transcoder.available and not is_described(data_set):
            file = self._file.fileno()
            with suppress(TranscodingError):  # as with a codestream that is not understood, it stays as it is
                probed = await self._transcoder.probe(file, pixels.media_type, pixels.spans[0])
                supply(data_set, attributes_of_probed(probed, syntax))
        return _written(instance, syntax, encapsulated_element(tag, pixels, content))


def _objects(form: str, documents: Sequence[bytearray]) -> list[Mapping[str, object]]:
    """The JSON objects of all instances. Raises: Problem 400; 413, for more than can be answered or read."""
    weigh(form, documents, MOST_OBJECTS)
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
    if len(found) > MOST_INSTANCES:
        raise Problem(413, f"metadata describe {len(found)} instances; {MOST_INSTANCES} at most are taken")
    return found


def _read(found: Mapping[str, object], bulk: Mapping[str, Bulk], content: memoryview) -> _Instance:
    """Raises: InvalidAttribute."""
    tag, pixels = _pixel_data(found, bulk)
    values = {name: attribute for name, attribute in found.items() if name != _PIXEL_DATA.get(tag)}
    document = _uri(found, _DOCUMENT)
    data_set = from_object(values, bulk_data=_Values(bulk, content, document))
    if not is_valid_uid(data_set.text("SOPClassUID")) or not is_valid_uid(data_set.text("SOPInstanceUID")):
        raise InvalidAttribute("SOPClassUID or SOPInstanceUID is missing or no UID")
    if document is not None:
        _check_document(data_set, _named(bulk, document))
    return _Instance(data_set, tag, pixels)


def _written(instance: _Instance, syntax: str, pixel_data: Iterator[Buffer]) -> Iterator[Buffer]:
    """Raises: InvalidAttribute, before the first piece."""
    data_set, tag = instance.data_set, instance.tag
    before, behind = encode_around(data_set, tag, syntax)
    meta = write_file_meta(data_set.text("SOPClassUID"), data_set.text("SOPInstanceUID"), syntax)
    return chain((meta, before), pixel_data, (behind,))


def _check_document(data_set: DataSet, part: Bulk) -> None:
    """An encapsulated document comes in the media type that the metadata name (PS3.18 10.5.1.4).

    What they leave out of it is said by the part. Raises: InvalidAttribute.
    """
    if not part.document:
        return  # as octets, which say nothing
    said = data_set.text("MIMETypeOfEncapsulatedDocument")
    if said and said.lower() != part.media_type:
        raise InvalidAttribute(
            f"MIMETypeOfEncapsulatedDocument is {shown(said)}; the document that came is {part.media_type}"
        )
    if not said:
        data_set.put("MIMETypeOfEncapsulatedDocument", part.media_type)
    if not data_set.has_value("EncapsulatedDocumentLength"):
        data_set.put("EncapsulatedDocumentLength", part.length)


def _pixel_data(found: Mapping[str, object], bulk: Mapping[str, Bulk]) -> tuple[int, Bulk | None]:
    """The tag and the parts of pixel data that come apart; of those within the metadata there are none."""
    for tag, name in _PIXEL_DATA.items():
        if (uri := _uri(found, name)) is not None:
            return tag, _named(bulk, uri)
    return 0xFFFFFFFF, None


def _said_to_be_bytes(found: Mapping[str, object], data_set: DataSet) -> bool:
    """The metadata say OB of native pixel data, and may: samples have at most a byte (PS3.5 A.2)."""
    attribute = found.get(_PIXEL_DATA[PIXEL_DATA])
    said = attribute.get("vr") if isinstance(attribute, dict) else None
    return said == "OB" and data_set.text("BitsAllocated") in ("1", "8")


def _uri(found: Mapping[str, object], name: str) -> str | None:
    """The BulkDataURI of an attribute."""
    attribute = found.get(name)
    uri = attribute.get("BulkDataURI") if isinstance(attribute, dict) else None
    return uri if isinstance(uri, str) else None


def _named(bulk: Mapping[str, Bulk], uri: str) -> Bulk:
    if (part := bulk.get(uri)) is None:
        raise InvalidAttribute(f"no part of the request has Content-Location {shown(uri)}")
    return part


class _Values:
    """Gives the values of bulk data other than pixel data, up to a limit for an instance."""

    def __init__(self, bulk: Mapping[str, Bulk], content: memoryview, document: str | None) -> None:
        """document: the URI of Encapsulated Document, the only value that may have another media type."""
        self._bulk = bulk
        self._document = document
        self._content = content
        self._given = 0

    def __call__(self, uri: str) -> bytes:
        part = _named(self._bulk, uri)
        if part.encapsulated or part.raster or (part.document and uri != self._document):
            words = "octets wanted but for pixel data and Encapsulated Document"
            raise InvalidAttribute(f"bulk data {shown(uri)} are {part.media_type}; {words}")
        self._given += part.length
        if self._given > VALUE_LIMIT:
            raise InvalidAttribute(f"bulk data beside pixel data have more than {VALUE_LIMIT} bytes")
        return b"".join(self._content[start : start + length] for start, length in part.spans)


def _failure(found: Mapping[str, object], reason: Reason, comment: str) -> Failure:
    """A failure, named as far as the metadata say whose it is."""
    uids = []
    for name in ("00080016", "00080018"):
        attribute = found.get(name)
        values = attribute.get("Value") if isinstance(attribute, dict) else None
        uid = values[0] if isinstance(values, list) and values else ""
        uids.append(uid if isinstance(uid, str) and is_valid_uid(uid) else "")
    return Failure(reason, comment, *uids)
