"""Where the catalogue holds each attribute that can be matched and returned (PS3.4 C.6, PS3.18 10.6.1.2).

Common attributes have a column, some of them an index; the others of studies and series stand in the DICOM
JSON text of `attributes`; those of instances are read from the stored data set.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final, TypeAlias

from dicomwire.dicom.dictionary import TAGS, keyword_of, tag_text
from dicomwire.dicom.indexed import IMAGE, INSTANCE, PATIENT, SERIES, SPECIFIC_CHARACTER_SET, STUDY

Path: TypeAlias = tuple[int, ...]

_TABLE_OF: Final = ("study", "study", "series", "instance")


class Level(IntEnum):
    """Levels of the information model, from the top."""

    PATIENT = 1
    STUDY = 2
    SERIES = 3
    INSTANCE = 4

    @property
    def table(self) -> str:
        """The table that has its attributes: a patient's are those of the patient's newest study."""
        return _TABLE_OF[self - 1]


@dataclass(frozen=True, slots=True)
class Index:
    """An index of the catalogue.

    Attributes:
        name: in the schema; "" to leave the choice to the database.
        rank: how few rows a value of it finds; the lowest of a query is taken.
        then: expressions that rows with one value of the column are ordered by.
        descending: the order in which a range of it is read.
        partial: it holds no empty values.
    """

    name: str
    rank: int
    then: tuple[str, ...] = ()
    descending: bool = False
    partial: bool = False


@dataclass(frozen=True, slots=True)
class Column:
    """Where the catalogue holds an attribute.

    Attributes:
        expression: SQL of its value, as it is returned; of several values with backslashes between them.
        index: of the value, or of what the value is matched by.
        multiple: holds several values.
        groups: of names, the folded component groups with their indexes.
        words: of names, the expression that fuzzy matching looks in.
    """

    level: Level
    expression: str
    index: Index | None = None
    multiple: bool = False
    groups: tuple[tuple[str, Index | None], ...] = ()
    words: str = ""


def _columns(level: Level, columns: str) -> dict[int, Column]:
    pairs = [pair.split("=") for pair in columns.split()]
    return {TAGS[keyword]: Column(level, f"{level.table}.{name}") for keyword, name in pairs}


def _indexed(level: Level, keyword: str, column: str, index: Index) -> dict[int, Column]:
    return {TAGS[keyword]: Column(level, f"{level.table}.{column}", index)}


def _name(level: Level, keyword: str, column: str) -> dict[int, Column]:
    table = level.table
    groups = (
        (f"{table}.{column}_key", Index(f"{table}_{column}", 7)),
        (f"{table}.{column}_ideographic", Index(f"{table}_{column}_ideographic", 7, partial=True)),
        (f"{table}.{column}_phonetic", Index(f"{table}_{column}_phonetic", 7, partial=True)),
    )
    return {TAGS[keyword]: Column(level, f"{table}.{column}", groups=groups, words=f"{table}.{column}_words")}


def _of_patient(count: str, alone: str) -> str:
    """A count over all studies of a patient; a study without a Patient ID is its own patient's only one."""
    return (
        f"(CASE WHEN study.patient_id = '' THEN {alone} ELSE (SELECT {count} FROM study AS other"
        " WHERE other.patient_id = study.patient_id"
        " AND other.issuer_of_patient_id = study.issuer_of_patient_id"
        " AND other.number_of_instances > 0) END)"
    )


_COUNTS: Final = {
    "NumberOfPatientRelatedStudies": _of_patient("count(*)", "1"),
    "NumberOfPatientRelatedSeries": _of_patient("sum(other.number_of_series)", "study.number_of_series"),
    "NumberOfPatientRelatedInstances": _of_patient(
        "sum(other.number_of_instances)", "study.number_of_instances"
    ),
}
_SOP_CLASSES: Final = (
    "(SELECT replace(group_concat(DISTINCT member.sop_class_uid), ',', '\\') FROM series AS part"
    " JOIN instance AS member ON member.series = part.id WHERE part.study = study.id AND member.current = 1)"
)

COLUMNS: Final[dict[int, Column]] = {
    **_indexed(Level.PATIENT, "PatientID", "patient_id", Index("study_patient_id", 4)),
    **_columns(
        Level.PATIENT,
        "IssuerOfPatientID=issuer_of_patient_id PatientBirthDate=patient_birth_date PatientSex=patient_sex",
    ),
    **_name(Level.PATIENT, "PatientName", "patient_name"),
    **{TAGS[keyword]: Column(Level.PATIENT, sql) for keyword, sql in _COUNTS.items()},
    SPECIFIC_CHARACTER_SET: Column(Level.PATIENT, "study.character_set"),
    TAGS["InstanceAvailability"]: Column(Level.PATIENT, "'ONLINE'"),
    **_indexed(Level.STUDY, "StudyInstanceUID", "study_instance_uid", Index("", 2)),
    **_indexed(
        Level.STUDY,
        "StudyDate",
        "study_date",
        Index("study_date", 8, then=("study.study_time",), descending=True),
    ),
    **_indexed(Level.STUDY, "AccessionNumber", "accession_number", Index("study_accession_number", 3)),
    **_indexed(Level.STUDY, "StudyID", "study_id", Index("study_study_id", 5)),
    **_name(Level.STUDY, "ReferringPhysicianName", "referring_physician_name"),
    **_columns(
        Level.STUDY,
        "StudyTime=study_time StudyDescription=study_description TimezoneOffsetFromUTC=timezone_offset"
        " NumberOfStudyRelatedSeries=number_of_series NumberOfStudyRelatedInstances=number_of_instances",
    ),
    TAGS["ModalitiesInStudy"]: Column(Level.STUDY, "study.modalities", multiple=True),
    TAGS["SOPClassesInStudy"]: Column(Level.STUDY, _SOP_CLASSES, multiple=True),
    **_indexed(Level.SERIES, "SeriesInstanceUID", "series_instance_uid", Index("series_uid", 1)),
    **_indexed(Level.SERIES, "Modality", "modality", Index("series_modality", 10)),
    **_indexed(
        Level.SERIES,
        "PerformedProcedureStepStartDate",
        "performed_procedure_step_start_date",
        Index("series_step_date", 9, descending=True),
    ),
    **_columns(
        Level.SERIES,
        "SeriesNumber=series_number SeriesDescription=series_description"
        " PerformedProcedureStepStartTime=performed_procedure_step_start_time"
        " NumberOfSeriesRelatedInstances=number_of_instances",
    ),
    **_indexed(Level.INSTANCE, "SOPInstanceUID", "sop_instance_uid", Index("instance_uid", 0)),
    **_columns(
        Level.INSTANCE,
        "SOPClassUID=sop_class_uid AvailableTransferSyntaxUID=transfer_syntax_uid"
        " InstanceNumber=instance_number Rows=rows Columns=columns BitsAllocated=bits_allocated"
        " SamplesPerPixel=samples_per_pixel NumberOfFrames=number_of_frames",
    ),
}
"""Attributes with a column of their own."""

_TEXTS: Final = {
    Level.PATIENT: "'{' || study.attributes || '}'",
    Level.STUDY: "'{' || study.attributes || '}'",
    Level.SERIES: "'{' || series.attributes || '}'",
    Level.INSTANCE: "'{' || instance_attributes(instance.id) || '}'",
}
"""SQL of the DICOM JSON object with the attributes of a level that have no column."""

_REGIONS: Final = TAGS["AnatomicRegionsInStudyCodeSequence"]
_DERIVED: Final = {  # the different items of all series of the study
    _REGIONS: f"""(SELECT '{{"{_REGIONS:08X}":' ||
 json_object('vr', 'SQ', 'Value', json_group_array(json(region.value))) || '}}'
 FROM (SELECT DISTINCT item.value FROM series AS part,
 json_each('{{' || part.attributes || '}}', '$."{TAGS["AnatomicRegionSequence"]:08X}".Value') AS item
 WHERE part.study = study.id AND part.number_of_instances > 0) AS region)"""
}
"""SQL of the DICOM JSON object of an attribute that no data set has."""

LEVELS: Final[dict[int, Level]] = {
    **dict.fromkeys(_DERIVED, Level.STUDY),
    **{TAGS[keyword]: Level.INSTANCE for keyword in (*INSTANCE, *IMAGE)},
    **{TAGS[keyword]: Level.SERIES for keyword in SERIES},
    **{TAGS[keyword]: Level.STUDY for keyword in STUDY},
    **{TAGS[keyword]: Level.PATIENT for keyword in PATIENT},
    **{tag: column.level for tag, column in COLUMNS.items()},
}
"""Level of each attribute that can be matched and returned."""


def level_of(path: Path) -> Level | None:
    """Level of an attribute that can be matched and returned; None when the archive does not index it."""
    return LEVELS.get(path[0])


def text_of(tag: int) -> str:
    """SQL of the DICOM JSON object that has an attribute without a column."""
    return _DERIVED.get(tag) or _TEXTS[LEVELS[tag]]


def named(path: Path) -> str:
    """The path of an attribute as people write it."""
    return ".".join(keyword_of(tag) or tag_text(tag) for tag in path)
