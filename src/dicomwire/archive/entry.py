"""What the catalogue says of an instance, read from its data set: at ingest, recovery and rebuild alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from dicomwire.archive.names import groups, vocabulary
from dicomwire.archive.values import ArchiveOptions
from dicomwire.dicom.dictionary import TAGS
from dicomwire.dicom.encoding import Buffer
from dicomwire.dicom.indexed import EVERY_LEVEL, IMAGE, INSTANCE, PATIENT, SERIES, STUDY
from dicomwire.dicom.json_model import element
from dicomwire.dicom.outline import Outlines
from dicomwire.dicom.scan import Scan, scan
from dicomwire.errors import DataSetError, DicomwireError
from dicomwire.uids import is_valid_uid

_REQUIRED: Final = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
_STUDY_TAGS: Final = tuple(sorted(TAGS[keyword] for keyword in (*EVERY_LEVEL, *PATIENT, *STUDY)))
_SERIES_TAGS: Final = tuple(sorted(TAGS[keyword] for keyword in SERIES))
_INSTANCE_TAGS: Final = tuple(sorted(TAGS[keyword] for keyword in (*INSTANCE, *IMAGE)))
_INTEGER_LIMIT: Final = 1 << 62


class Unindexable(DicomwireError):
    """A data set that lacks what the catalogue needs."""


@dataclass(slots=True)
class Entry:
    """One instance as the catalogue will know it. Offsets of pixel data count in the data set."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    study_instance_uid: str
    series_instance_uid: str
    scan: Scan
    record_id: int = 0
    segment: int = 0
    offset: int = 0
    length: int = 0
    data_set_offset: int = 0
    crc: int = 0

    def instance_row(self, series: int, current: int) -> tuple[object, ...]:
        """Values in the order of INSTANCE_COLUMNS."""
        found, pixel_data = self.scan, self.scan.pixel_data
        return (
            self.record_id,
            series,
            self.sop_instance_uid,
            self.sop_class_uid,
            self.transfer_syntax_uid,
            *(_bounded(found.integer(tag)) for tag in _INTEGERS),
            pixel_data.offset if pixel_data else None,
            pixel_data.length if pixel_data else None,
            current,
            self.segment,
            self.offset,
            self.length,
            self.data_set_offset,
            self.crc,
        )

    def study_row(self) -> dict[str, object]:
        found = self.scan
        row = _texts(found, _STUDY_COLUMNS)
        row |= _compared("patient_name", str(row["patient_name"]))
        row |= _compared("referring_physician_name", str(row["referring_physician_name"]))
        row["modalities"] = found.text(TAGS["Modality"])
        row["attributes"] = _attributes(found, _STUDY_TAGS)
        return row

    def series_row(self) -> dict[str, object]:
        found = self.scan
        row = _texts(found, _SERIES_COLUMNS)
        row["series_number"] = _bounded(found.integer(TAGS["SeriesNumber"]))
        row["attributes"] = _attributes(found, _SERIES_TAGS)
        return row


INSTANCE_COLUMNS: Final = (
    *("id", "series", "sop_instance_uid", "sop_class_uid", "transfer_syntax_uid"),
    *("instance_number", "rows", "columns", "bits_allocated", "samples_per_pixel", "number_of_frames"),
    *("pixel_data_offset", "pixel_data_length", "current"),
    *("segment", "offset", "length", "data_set_offset", "crc"),
)
_INTEGERS: Final = tuple(
    TAGS[keyword]
    for keyword in ("InstanceNumber", "Rows", "Columns", "BitsAllocated", "SamplesPerPixel", "NumberOfFrames")
)
_STUDY_COLUMNS: Final = {
    "study_instance_uid": "StudyInstanceUID",
    "patient_id": "PatientID",
    "issuer_of_patient_id": "IssuerOfPatientID",
    "patient_name": "PatientName",
    "patient_birth_date": "PatientBirthDate",
    "patient_sex": "PatientSex",
    "study_date": "StudyDate",
    "study_time": "StudyTime",
    "accession_number": "AccessionNumber",
    "referring_physician_name": "ReferringPhysicianName",
    "study_id": "StudyID",
    "study_description": "StudyDescription",
    "character_set": "SpecificCharacterSet",
    "timezone_offset": "TimezoneOffsetFromUTC",
}
_SERIES_COLUMNS: Final = {
    "series_instance_uid": "SeriesInstanceUID",
    "modality": "Modality",
    "series_description": "SeriesDescription",
    "performed_procedure_step_start_date": "PerformedProcedureStepStartDate",
    "performed_procedure_step_start_time": "PerformedProcedureStepStartTime",
}


def entry_of(
    data_set: Buffer, transfer_syntax_uid: str, options: ArchiveOptions, outlines: Outlines | None = None
) -> Entry:
    """Read a data set to its end.

    outlines: of those that came before.
    Raises: DataSetError, when it cannot be read; Unindexable, when a UID is missing or none.
    """
    found = scan(
        data_set,
        transfer_syntax_uid,
        depth_limit=options.depth_limit,
        inflate_limit=options.inflate_limit,
        outlines=outlines,
    )
    uids = [found.text(TAGS[keyword]) for keyword in _REQUIRED]
    for keyword, uid in zip(_REQUIRED, uids, strict=True):
        if not uid:
            raise Unindexable(f"{keyword} is missing")
        if not is_valid_uid(uid):
            raise Unindexable(f"{keyword} is no UID ({len(uid)} characters)")
    sop_class, sop_instance, study, series = uids
    return Entry(sop_class, sop_instance, transfer_syntax_uid, study, series, found)


def instance_attributes(data_set: Buffer, transfer_syntax_uid: str, options: ArchiveOptions) -> str:
    """The attributes of an instance, read from it: members of a DICOM JSON object without its braces."""
    try:
        found = scan(
            data_set,
            transfer_syntax_uid,
            depth_limit=options.depth_limit,
            inflate_limit=options.inflate_limit,
        )
    except DataSetError:
        return ""
    return _attributes(found, _INSTANCE_TAGS)


def _texts(found: Scan, columns: Mapping[str, str]) -> dict[str, object]:
    """Text by column, without the blanks around it, which mean nothing (PS3.5 6.2)."""
    return {column: found.text(TAGS[keyword]).strip(" ") for column, keyword in columns.items()}


def _bounded(value: int | None) -> int | None:
    return value if value is not None and -_INTEGER_LIMIT < value < _INTEGER_LIMIT else None


def _attributes(found: Scan, tags: tuple[int, ...]) -> str:
    """The members of a DICOM JSON object, without its braces; what cannot be rendered is left out."""
    members = []
    for tag in tags:
        value = found.values.get(tag)
        if value is None:
            continue
        try:
            members.append(f'"{tag:08X}":{element(tag, "", value, found.decoder_of(tag))}')
        except (DataSetError, ValueError):
            continue
    return ",".join(members)


def _compared(column: str, name: str) -> dict[str, object]:
    """The columns by which a name is matched."""
    alphabetic, ideographic, phonetic = groups(name)
    return {
        f"{column}_key": alphabetic,
        f"{column}_ideographic": ideographic,
        f"{column}_phonetic": phonetic,
        f"{column}_words": vocabulary(name),
    }
