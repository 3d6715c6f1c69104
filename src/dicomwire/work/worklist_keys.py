"""Keys of the Modality Worklist information model (PS3.4 Table K.6-1).

PS3.4 2020c, in its order: depth, keyword, type as matching key and as return key; "-" is none. Macros are
included as far as the table spells them out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from dicomwire.archive.attributes import Path
from dicomwire.dicom.dictionary import TAGS

STEP: Final = "ScheduledProcedureStepSequence"

IN_STEP: Final = frozenset(
    (
        "Modality",
        "ScheduledStationAETitle",
        "ScheduledStationName",
        "ScheduledPerformingPhysicianName",
        "ScheduledProcedureStepStartDate",
        "ScheduledProcedureStepStartTime",
        "ScheduledProcedureStepEndDate",
        "ScheduledProcedureStepEndTime",
        "ScheduledProcedureStepStartDateTime",
        "ScheduledProcedureStepDescription",
        "ScheduledProcedureStepID",
        "ScheduledProcedureStepLocation",
        "ScheduledProcedureStepStatus",
    )
)
"""What means the scheduled step where it is asked for without its sequence, by people and over the web."""

_REFERENCE: Final = (("ReferencedSOPClassUID", "O", "1"), ("ReferencedSOPInstanceUID", "O", "1"))

KEYS: Final[tuple[tuple[int, str, str, str], ...]] = (
    (0, STEP, "R", "1"),
    (1, "ScheduledStationAETitle", "R", "1"),
    (1, "ScheduledProcedureStepStartDate", "R", "1"),
    (1, "ScheduledProcedureStepStartTime", "R", "1"),
    (1, "Modality", "R", "1"),
    (1, "ScheduledPerformingPhysicianName", "R", "2"),
    (1, "ScheduledProcedureStepDescription", "O", "1C"),
    (1, "ScheduledStationName", "O", "2"),
    (1, "ScheduledProcedureStepLocation", "O", "2"),
    (1, "ReferencedDefinedProtocolSequence", "O", "3"),
    *((2, *key) for key in _REFERENCE),
    (1, "ReferencedPerformedProtocolSequence", "O", "3"),
    *((2, *key) for key in _REFERENCE),
    (1, "ScheduledProtocolCodeSequence", "O", "1C"),
    (2, "ProtocolContextSequence", "-", "3"),
    (3, "ValueType", "-", "1"),
    (3, "ConceptNameCodeSequence", "-", "1"),
    (3, "DateTime", "-", "1C"),
    (3, "PersonName", "-", "1C"),
    (3, "TextValue", "-", "1C"),
    (3, "ConceptCodeSequence", "-", "1C"),
    (3, "NumericValue", "-", "1C"),
    (3, "MeasurementUnitsCodeSequence", "-", "1C"),
    (1, "PreMedication", "O", "2C"),
    (1, "ScheduledProcedureStepID", "O", "1"),
    (1, "RequestedContrastAgent", "O", "2C"),
    (1, "ScheduledProcedureStepStatus", "O", "3"),
    (0, "ScheduledSpecimenSequence", "O", "3"),
    (1, "ContainerIdentifier", "O", "1"),
    (1, "ContainerTypeCodeSequence", "-", "2"),
    (1, "SpecimenDescriptionSequence", "O", "1"),
    (2, "SpecimenIdentifier", "O", "1"),
    (2, "SpecimenUID", "O", "1"),
    (0, "BarcodeValue", "O", "3"),
    (0, "RequestedProcedureID", "O", "1"),
    (0, "RequestedProcedureDescription", "O", "1C"),
    (0, "RequestedProcedureCodeSequence", "O", "1C"),
    (0, "StudyInstanceUID", "O", "1"),
    (0, "StudyDate", "O", "3"),
    (0, "StudyTime", "O", "3"),
    (0, "ReferencedStudySequence", "O", "2"),
    *((1, *key) for key in _REFERENCE),
    (0, "RequestedProcedurePriority", "O", "2"),
    (0, "PatientTransportArrangements", "O", "2"),
    (0, "AccessionNumber", "O", "2"),
    (0, "IssuerOfAccessionNumberSequence", "O", "3"),
    (0, "RequestingPhysician", "O", "2"),
    (0, "ReferringPhysicianName", "O", "2"),
    (0, "AdmissionID", "O", "2"),
    (0, "IssuerOfAdmissionIDSequence", "O", "3"),
    (0, "CurrentPatientLocation", "O", "2"),
    (0, "ReferencedPatientSequence", "O", "2"),
    *((1, *key) for key in _REFERENCE),
    (0, "PatientName", "R", "1"),
    (0, "PatientID", "R", "1"),
    (0, "IssuerOfPatientID", "O", "3"),
    (0, "IssuerOfPatientIDQualifiersSequence", "O", "3"),
    (0, "OtherPatientIDsSequence", "O", "3"),
    (0, "PatientBirthDate", "O", "2"),
    (0, "PatientSex", "O", "2"),
    (0, "PatientPrimaryLanguageCodeSequence", "O", "3"),
    (1, "PatientPrimaryLanguageModifierCodeSequence", "O", "3"),
    (0, "PatientWeight", "O", "2"),
    (0, "PatientSize", "O", "3"),
    (0, "ConfidentialityConstraintOnPatientDataDescription", "O", "2"),
    (0, "PatientState", "O", "2"),
    (0, "PregnancyStatus", "O", "2"),
    (0, "MedicalAlerts", "O", "2"),
    (0, "Allergies", "O", "2"),
    (0, "SpecialNeeds", "O", "2"),
    (0, "PertinentDocumentsSequence", "O", "3"),
    (1, "ReferencedSOPClassUID", "-", "1"),
    (1, "ReferencedSOPInstanceUID", "-", "1"),
    (1, "PurposeOfReferenceCodeSequence", "-", "2"),
    (1, "DocumentTitle", "-", "2"),
)


def paths() -> Iterator[tuple[Path, str, str]]:
    """Each key's path with its types as matching and as return key."""
    above: list[int] = []
    for depth, keyword, matching, returned in KEYS:
        above[depth:] = [TAGS[keyword]]
        yield tuple(above), matching, returned
