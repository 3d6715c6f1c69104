"""Keys of the Query/Retrieve information models, as the standard lists them (PS3.4 C.6.1.1, C.6.2.1).

PS3.4 2024e, Tables C.6-1 to C.6-5: unique, required and optional keys per level. Attributes within a sequence
are keys of the sequence's type. Any other attribute that the archive indexes may be a key too; it counts as
an optional one.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Final

from dicomwire.archive.attributes import LEVELS
from dicomwire.archive.query import Level
from dicomwire.dicom.dictionary import TAGS
from dicomwire.services.models import Root


class KeyType(Enum):
    """Types of key (PS3.4 C.2.2.1)."""

    UNIQUE = "U"
    REQUIRED = "R"
    OPTIONAL = "O"


def _keys(unique: str, required: str, optional: str) -> Mapping[int, KeyType]:
    return {
        TAGS[keyword]: kind
        for kind, keywords in (
            (KeyType.UNIQUE, unique),
            (KeyType.REQUIRED, required),
            (KeyType.OPTIONAL, optional),
        )
        for keyword in keywords.split()
    }


_OF_PATIENT: Final = """
    IssuerOfPatientID ReferencedPatientSequence PatientBirthDate PatientBirthTime PatientSex
    OtherPatientIDsSequence OtherPatientNames EthnicGroup PatientComments
"""
_OF_STUDY: Final = """
    ModalitiesInStudy SOPClassesInStudy AnatomicRegionsInStudyCodeSequence ReferringPhysicianName
    StudyDescription ProcedureCodeSequence NameOfPhysiciansReadingStudy AdmittingDiagnosesDescription
    ReferencedStudySequence PatientAge PatientSize PatientWeight Occupation AdditionalPatientHistory
    OtherStudyNumbers NumberOfStudyRelatedSeries NumberOfStudyRelatedInstances
"""
_STUDY: Final = "StudyDate StudyTime AccessionNumber StudyID"

PATIENT_KEYS: Final = _keys(
    "PatientID",
    "PatientName",
    _OF_PATIENT
    + "NumberOfPatientRelatedStudies NumberOfPatientRelatedSeries NumberOfPatientRelatedInstances",
)
STUDY_KEYS: Final = _keys("StudyInstanceUID", _STUDY, _OF_STUDY)
STUDY_ROOT_KEYS: Final = _keys("StudyInstanceUID", f"{_STUDY} PatientName PatientID", _OF_STUDY + _OF_PATIENT)
SERIES_KEYS: Final = _keys("SeriesInstanceUID", "Modality SeriesNumber", "NumberOfSeriesRelatedInstances")
IMAGE_KEYS: Final = _keys(
    "SOPInstanceUID",
    "InstanceNumber",
    "SOPClassUID AvailableTransferSyntaxUID AlternateRepresentationSequence RelatedGeneralSOPClassUID"
    " ConceptNameCodeSequence ContentTemplateSequence ContainerIdentifier SpecimenDescriptionSequence",
)

KEYS: Final[Mapping[Root, Mapping[Level, Mapping[int, KeyType]]]] = {
    Root.PATIENT: {
        Level.PATIENT: PATIENT_KEYS,
        Level.STUDY: STUDY_KEYS,
        Level.SERIES: SERIES_KEYS,
        Level.INSTANCE: IMAGE_KEYS,
    },
    Root.STUDY: {
        Level.STUDY: STUDY_ROOT_KEYS,
        Level.SERIES: SERIES_KEYS,
        Level.INSTANCE: IMAGE_KEYS,
    },
    Root.PATIENT_STUDY_ONLY: {Level.PATIENT: PATIENT_KEYS, Level.STUDY: STUDY_KEYS},
}
"""Keys by information model and level."""

UNIQUE: Final = {
    Level.PATIENT: TAGS["PatientID"],
    Level.STUDY: TAGS["StudyInstanceUID"],
    Level.SERIES: TAGS["SeriesInstanceUID"],
    Level.INSTANCE: TAGS["SOPInstanceUID"],
}
"""The unique key of each level."""


def level_in(root: Root, tag: int) -> Level | None:
    """The level that an attribute is a key of; None for one that the archive does not index."""
    level = next((level for level, keys in KEYS[root].items() if tag in keys), None) or LEVELS.get(tag)
    if level is Level.PATIENT and Level.PATIENT not in KEYS[root]:
        return Level.STUDY
    return level if tag in LEVELS else None
