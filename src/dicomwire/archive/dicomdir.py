"""The DICOMDIR of a file-set: records by patient, study, series and instance (PS3.3 F, PS3.10 8).

What a record says is copied from the instances. Where an identifier that it must have is missing there, it
gets a number of its own; missing dates stay empty.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePath
from struct import pack
from typing import Final

from dicomwire.archive.values import Stored
from dicomwire.dicom.convert import header, to_explicit_vr_little_endian
from dicomwire.dicom.deflate import inflate
from dicomwire.dicom.dictionary import TAGS, vr_of
from dicomwire.dicom.elements import Kind, elements
from dicomwire.dicom.encoding import EXPLICIT_LITTLE, Buffer, encoding_of
from dicomwire.dicom.part10 import write_file_meta
from dicomwire.uids import EXPLICIT_VR_LITTLE_ENDIAN, TRANSFER_SYNTAXES

MEDIA_STORAGE_DIRECTORY: Final = "1.2.840.10008.1.3.10"
FILE_SET_ID: Final = b"DICOMWIRE"
_PIXEL_DATA_GROUP: Final = 0x7FE0
_IN_USE: Final = 0xFFFF
_SEQUENCE_HEADER: Final = 12  # bytes
_CHARACTER_SET: Final = TAGS["SpecificCharacterSet"]

_TIMED: Final = "ContentDate ContentTime"
_LABELLED: Final = f"{_TIMED} ContentLabel ContentDescription ContentCreatorName"
_KEYS: Final = {  # beside Specific Character Set, and Instance Number of all that are instances
    "PATIENT": "PatientName PatientID",
    "STUDY": "StudyDate StudyTime AccessionNumber StudyDescription StudyInstanceUID StudyID",
    "SERIES": "Modality SeriesInstanceUID SeriesNumber",
    "IMAGE": "",
    "RT DOSE": "DoseSummationType DoseComment",
    "RT STRUCTURE SET": "StructureSetLabel StructureSetDate StructureSetTime",
    "RT PLAN": "RTPlanLabel RTPlanDate RTPlanTime",
    "RT TREAT RECORD": "TreatmentDate TreatmentTime",
    "PRESENTATION": "PresentationCreationDate PresentationCreationTime ContentLabel ContentDescription"
    " ContentCreatorName ReferencedSeriesSequence BlendingSequence",
    "WAVEFORM": _TIMED,
    "SR DOCUMENT": f"{_TIMED} CompletionFlag VerificationFlag VerificationDateTime ConceptNameCodeSequence",
    "KEY OBJECT DOC": f"{_TIMED} ConceptNameCodeSequence",
    "SPECTROSCOPY": f"{_TIMED} ImageType NumberOfFrames Rows Columns DataPointRows DataPointColumns",
    "RAW DATA": _TIMED,
    "REGISTRATION": _LABELLED,
    "FIDUCIAL": _LABELLED,
    "ENCAP DOC": f"{_TIMED} DocumentTitle HL7InstanceIdentifier ConceptNameCodeSequence"
    " MIMETypeOfEncapsulatedDocument",
    "VALUE MAP": _LABELLED,
    "STEREOMETRIC": "",
    "MEASUREMENT": _TIMED,
    "SURFACE": _LABELLED,
    "SURFACE SCAN": _TIMED,
    "TRACT": _LABELLED,
    "ASSESSMENT": "InstanceCreationDate InstanceCreationTime",
    "RADIOTHERAPY": "UserContentLabel UserContentLongLabel ContentDescription ContentCreatorName",
}
"""Keys of each type of directory record (PS3.3 F.5)."""

_OPTIONAL: Final = frozenset(  # type 1C and 2C: left out where the instance lacks them
    TAGS[keyword]
    for keyword in (
        *("SpecificCharacterSet", "VerificationDateTime", "HL7InstanceIdentifier"),
        *("ReferencedSeriesSequence", "BlendingSequence"),
    )
)
_NUMBERED: Final = frozenset(
    TAGS[keyword] for keyword in ("PatientID", "StudyID", "SeriesNumber", "InstanceNumber")
)

_TYPES: Final = {  # of SOP classes below 1.2.840.10008.5.1.4.1.1; all others are images (PS3.3 F.4)
    "RT DOSE": "481.2",
    "RT STRUCTURE SET": "481.3",
    "RT PLAN": "481.5 481.8",
    "RT TREAT RECORD": "481.4 481.6 481.7 481.9",
    "PRESENTATION": "9.100.1 9.100.2 11.1 11.2 11.3 11.4 11.5 11.6 11.7 11.8 11.9 11.10 11.11 11.12 131",
    "WAVEFORM": "9.1 9.1.1 9.1.2 9.1.3 9.1.4 9.2.1 9.3.1 9.4.1 9.4.2 9.5.1 9.6.1 9.6.2 9.7.1"
    " 9.7.2 9.7.3 9.7.4 9.8.1 601.5",
    "SR DOCUMENT": "78.6 79.1 88.1 88.2 88.3 88.4 88.11 88.22 88.33 88.34 88.35 88.40 88.50 88.65 88.67 88.68"
    " 88.69 88.70 88.71 88.72 88.73 88.74 88.75 88.76 88.77",
    "KEY OBJECT DOC": "88.59",
    "SPECTROSCOPY": "4.2",
    "RAW DATA": "66",
    "REGISTRATION": "66.1 66.3",
    "FIDUCIAL": "66.2",
    "ENCAP DOC": "104.1 104.2 104.3 104.4 104.5",
    "VALUE MAP": "67",
    "STEREOMETRIC": "77.1.5.3",
    "MEASUREMENT": "78.1 78.2 78.3 78.4 78.5 78.7 78.8 80.1",
    "SURFACE": "66.5",
    "SURFACE SCAN": "68.1 68.2",
    "TRACT": "66.6",
    "ASSESSMENT": "90.1",
    "RADIOTHERAPY": "481.10 481.11 481.12 481.13 481.14 481.15 481.16 481.17 481.18 481.19 481.20 481.21"
    " 481.22 481.25",
}
_TYPE_OF: Final = {
    f"1.2.840.10008.5.1.4.1.1.{number}": record_type
    for record_type, numbers in _TYPES.items()
    for number in numbers.split()
}


def record_type(sop_class_uid: str) -> str:
    """The type of the directory record of an instance."""
    return _TYPE_OF.get(sop_class_uid, "IMAGE")


@dataclass(slots=True)
class _Record:
    """A directory record with those below it; `offset` counts from the first byte of the DICOMDIR."""

    record_type: str
    keys: bytes
    below: dict[str, _Record] = field(default_factory=dict)
    offset: int = 0

    @property
    def length(self) -> int:
        """Bytes of the item, its own header included."""
        return 8 + len(_fixed(self.record_type, 0, 0)) + len(self.keys)


class Dicomdir:
    """The directory of one file-set, filled instance by instance."""

    def __init__(self) -> None:
        self._root: dict[str, _Record] = {}

    def add(self, stored: Stored, data_set: memoryview, path: PurePath) -> None:
        """Refer to an instance's file.

        data_set: in its stored transfer syntax.
        path: of the file from the DICOMDIR's folder, each component a component of its File ID.
        Raises: DataSetError, when the data set cannot be read.
        """
        found = _elements(data_set, stored)
        patient_id = found.get(TAGS["PatientID"], b"")
        patients = patient_id.hex() or f"study {stored.study_instance_uid}"
        patient = self._below(self._root, patients, "PATIENT", found)
        study = self._below(patient.below, stored.study_instance_uid, "STUDY", found)
        series = self._below(study.below, stored.series_instance_uid, "SERIES", found)
        reference = (
            ("ReferencedFileID", "CS", "\\".join(path.parts)),
            ("ReferencedSOPClassUIDInFile", "UI", stored.sop_class_uid),
            ("ReferencedSOPInstanceUIDInFile", "UI", stored.sop_instance_uid),
            ("ReferencedTransferSyntaxUIDInFile", "UI", stored.transfer_syntax_uid),
        )
        head = b"".join(_element(TAGS[keyword], vr, text.encode()) for keyword, vr, text in reference)
        kind = record_type(stored.sop_class_uid)
        series.below[stored.sop_instance_uid] = _Record(
            kind, head + _keys(kind, found, len(series.below) + 1)
        )

    def _below(self, records: dict[str, _Record], name: str, kind: str, found: dict[int, bytes]) -> _Record:
        if name not in records:
            records[name] = _Record(kind, _keys(kind, found, len(records) + 1))
        return records[name]

    def encoded(self, sop_instance_uid: str) -> Iterator[bytes]:
        """The file, in pieces. sop_instance_uid: a new one."""
        meta = write_file_meta(MEDIA_STORAGE_DIRECTORY, sop_instance_uid, EXPLICIT_VR_LITTLE_ENDIAN)
        first = len(meta) + len(_file_set(0, 0, 0))
        end = first
        for record in _every(self._root):
            record.offset = end
            end += record.length
        offsets = [record.offset for record in self._root.values()] or [0]
        yield meta + _file_set(offsets[0], offsets[-1], end - first)
        yield from _items(self._root)


def _every(records: dict[str, _Record]) -> Iterator[_Record]:
    """Records, each before those below it."""
    for record in records.values():
        yield record
        yield from _every(record.below)


def _items(records: dict[str, _Record]) -> Iterator[bytes]:
    offsets = [*(record.offset for record in records.values()), 0]
    for record, after in zip(records.values(), offsets[1:], strict=True):
        lower = next(iter(record.below.values())).offset if record.below else 0
        content = _fixed(record.record_type, after, lower) + record.keys
        yield pack("<HHI", 0xFFFE, 0xE000, len(content)) + content
        yield from _items(record.below)


def _fixed(kind: str, following: int, lower: int) -> bytes:
    """What every directory record begins with (PS3.3 Table F.3-3)."""
    return (
        _element(TAGS["OffsetOfTheNextDirectoryRecord"], "UL", pack("<I", following))
        + _element(TAGS["RecordInUseFlag"], "US", pack("<H", _IN_USE))
        + _element(TAGS["OffsetOfReferencedLowerLevelDirectoryEntity"], "UL", pack("<I", lower))
        + _element(TAGS["DirectoryRecordType"], "CS", kind.encode())
    )


def _file_set(first: int, last: int, length: int) -> bytes:
    """What precedes the directory records (PS3.3 Tables F.3-2, F.3-3)."""
    return (
        _element(TAGS["FileSetID"], "CS", FILE_SET_ID)
        + _element(TAGS["OffsetOfTheFirstDirectoryRecordOfTheRootDirectoryEntity"], "UL", pack("<I", first))
        + _element(TAGS["OffsetOfTheLastDirectoryRecordOfTheRootDirectoryEntity"], "UL", pack("<I", last))
        + _element(TAGS["FileSetConsistencyFlag"], "US", bytes(2))
        + header(TAGS["DirectoryRecordSequence"], "SQ", length, EXPLICIT_LITTLE)
    )


def _keys(kind: str, found: dict[int, bytes], number: int) -> bytes:
    """A record's keys in the order of their tags; `number` stands in for an identifier that is missing."""
    tags = {_CHARACTER_SET, *(TAGS[keyword] for keyword in _KEYS[kind].split())}
    if kind not in ("PATIENT", "STUDY", "SERIES"):
        tags.add(TAGS["InstanceNumber"])
    encoded = b""
    for tag in sorted(tags):
        if tag in found:
            encoded += found[tag]
        elif tag in _NUMBERED:
            encoded += _element(tag, vr_of(tag), str(number).encode())
        elif tag not in _OPTIONAL:
            encoded += _element(tag, vr_of(tag), b"")
    return encoded


_WANTED: Final = frozenset(
    {_CHARACTER_SET, TAGS["InstanceNumber"]}
    | {TAGS[keyword] for keywords in _KEYS.values() for keyword in keywords.split()}
)


def _elements(data_set: memoryview, stored: Stored) -> dict[int, bytes]:
    """The elements that a directory record may need and that have a value, in Explicit VR Little Endian."""
    data = _explicit(data_set, stored)
    view = memoryview(data)
    found: dict[int, bytes] = {}
    level = begin = 0
    for step in elements(data, EXPLICIT_LITTLE):
        if step.tag >> 16 >= _PIXEL_DATA_GROUP and not level:
            break
        if step.kind is Kind.SEQUENCE:
            if not level:
                begin = step.start
            level += 1
        elif step.kind is Kind.SEQUENCE_END:
            level -= 1
            if not level and step.tag in _WANTED and step.vr == "SQ":  # else a UN, with implicit items
                found[step.tag] = bytes(view[begin - _SEQUENCE_HEADER : step.end])
        elif step.kind is Kind.VALUE and not level and step.tag in _WANTED:
            value = bytes(view[step.start : step.end])
            if value.strip(b" \0"):
                found[step.tag] = _element(step.tag, step.vr or vr_of(step.tag), value)
    return found


def _explicit(data_set: memoryview, stored: Stored) -> Buffer:
    """What precedes the pixel data, or all, in Explicit VR Little Endian."""
    syntax = stored.transfer_syntax_uid
    encoding = encoding_of(syntax)
    if encoding.deflated:
        return inflate(data_set)
    if TRANSFER_SYNTAXES[syntax].encapsulated or syntax == EXPLICIT_VR_LITTLE_ENDIAN:
        return data_set
    if stored.pixel_data_offset is not None:
        data_set = data_set[: stored.pixel_data_offset - (12 if encoding.explicit else 8)]
    return b"".join(to_explicit_vr_little_endian(data_set, syntax))


def _element(tag: int, vr: str, value: bytes) -> bytes:
    if len(value) % 2:
        value += b"\0" if vr == "UI" else b" "
    return header(tag, vr, len(value), EXPLICIT_LITTLE) + value
