"""Attributes of Unified Procedure Steps, in the order of PS3.4 Table CC.2.5-3 and its macros.

The types were held against two other implementations of the table, not against the standard's text.

N-GET has no column: it gives every attribute but the Transaction UID. Conditions (1C, 2C, RC) depend on what
only the SCU knows, so what is conditional may be left out here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from dicomwire.work.attributes import Rule

Row: TypeAlias = tuple[str, str, str, str, str]
"""Attribute, its depth in ">"; N-CREATE SCU/SCP; N-SET SCU/SCP; final state; return key type of C-FIND.

Types are of PS3.4 5.4.2.1, "-" is not allowed. Final state: R has a value in COMPLETED and CANCELED, P in
COMPLETED, X in CANCELED, RC where its condition holds, O is optional.
"""

CODE: Final[tuple[Row, ...]] = (  # Table CC.2.5-2a
    ("CodeValue", "1C/1C", "1C/1C", "", ""),
    ("CodingSchemeDesignator", "1C/1C", "1C/1C", "", ""),
    ("CodingSchemeVersion", "1C/1C", "1C/1C", "", ""),
    ("CodeMeaning", "1/1", "1/1", "", ""),
    ("LongCodeValue", "1C/1C", "1C/1C", "", ""),
    ("URNCodeValue", "1C/1C", "1C/1C", "", ""),
    ("MappingResource", "3/3", "3/3", "", ""),
    ("MappingResourceUID", "3/3", "3/3", "", ""),
    ("ContextGroupVersion", "3/3", "3/3", "", ""),
    ("ContextGroupExtensionFlag", "3/3", "3/3", "", ""),
    ("ContextGroupLocalVersion", "3/3", "3/3", "", ""),
    ("ContextGroupExtensionCreatorUID", "3/3", "3/3", "", ""),
)
CONTENT_ITEM: Final[tuple[Row, ...]] = (  # Table CC.2.5-2b
    ("ValueType", "1/1", "1/1", "", ""),
    ("ConceptNameCodeSequence", "1/1", "1/1", "", ""),
    (">include", "CODE", "", "", ""),
    ("DateTime", "1C/1C", "1C/1C", "", ""),
    ("Date", "1C/1C", "1C/1C", "", ""),
    ("Time", "1C/1C", "1C/1C", "", ""),
    ("PersonName", "1C/1C", "1C/1C", "", ""),
    ("UID", "1C/1C", "1C/1C", "", ""),
    ("TextValue", "1C/1C", "1C/1C", "", ""),
    ("ConceptCodeSequence", "1C/1C", "1C/1C", "", ""),
    (">include", "CODE", "", "", ""),
    ("NumericValue", "1C/1C", "1C/1C", "", ""),
    ("MeasurementUnitsCodeSequence", "1C/1C", "1C/1C", "", ""),
    (">include", "CODE", "", "", ""),
)
INSTANCES: Final[tuple[Row, ...]] = (  # Table CC.2.5-2c: Referenced Instances and Access
    ("TypeOfInstances", "1/1", "1/1", "", ""),
    ("StudyInstanceUID", "1C/1", "1C/1", "", ""),
    ("SeriesInstanceUID", "1C/1", "1C/1", "", ""),
    ("ReferencedSOPSequence", "1/1", "1/1", "", ""),
    (">ReferencedSOPClassUID", "1/1", "1/1", "", ""),
    (">ReferencedSOPInstanceUID", "1/1", "1/1", "", ""),
    (">HL7InstanceIdentifier", "1C/1", "1C/1", "", ""),
    (">ReferencedFrameNumber", "1C/1", "1C/1", "", ""),
    (">ReferencedSegmentNumber", "1C/1", "1C/1", "", ""),
    ("DICOMRetrievalSequence", "1C/1", "1C/1", "", ""),
    (">RetrieveAETitle", "1/1", "1/1", "", ""),
    ("DICOMMediaRetrievalSequence", "1C/1", "1C/1", "", ""),
    (">StorageMediaFileSetID", "2/2", "2/2", "", ""),
    (">StorageMediaFileSetUID", "1/1", "1/1", "", ""),
    ("WADORetrievalSequence", "1C/1", "1C/1", "", ""),
    (">RetrieveURI", "1/1", "1/1", "", ""),
    ("XDSRetrievalSequence", "1C/1", "1C/1", "", ""),
    (">RepositoryUniqueID", "1/1", "1/1", "", ""),
    (">HomeCommunityID", "3/2", "3/2", "", ""),
    ("WADORSRetrievalSequence", "1C/1", "1C/1", "", ""),
    (">RetrieveURL", "1/1", "1/1", "", ""),
)
DESIGNATOR: Final[tuple[Row, ...]] = (  # Table CC.2.5-2d: HL7v2 Hierarchic Designator
    ("LocalNamespaceEntityID", "1C/1C", "1C/1C", "", ""),
    ("UniversalEntityID", "1C/1C", "1C/1C", "", ""),
    ("UniversalEntityIDType", "1C/1C", "1C/1C", "", ""),
)
ISSUER: Final[tuple[Row, ...]] = (  # Table CC.2.5-2e: Issuer of Patient ID
    ("IssuerOfPatientID", "2/2", "-", "O", "2"),
    ("IssuerOfPatientIDQualifiersSequence", "2/2", "-", "O", "2"),
    (">UniversalEntityID", "2/2", "-", "", ""),
    (">UniversalEntityIDType", "1C/1", "-", "", ""),
    (">IdentifierTypeCode", "2/2", "-", "", ""),
    (">AssigningFacilitySequence", "2/2", "-", "", ""),
    (">>include", "DESIGNATOR", "", "", ""),
    (">AssigningJurisdictionCodeSequence", "2/2", "-", "", ""),
    (">>include", "CODE", "", "", ""),
    (">AssigningAgencyOrDepartmentCodeSequence", "2/2", "-", "", ""),
    (">>include", "CODE", "", "", ""),
)
TABLE: Final[tuple[Row, ...]] = (
    ("TransactionUID", "2/2", "1C/-", "O", "-"),
    # SOP Common Module; its UIDs are the command's
    ("SpecificCharacterSet", "1C/1C", "1C/1C", "RC", "1C"),
    ("SOPClassUID", "-", "-", "R", "1"),
    ("SOPInstanceUID", "-", "-", "R", "1"),
    # Unified Procedure Step Scheduled Procedure Information Module
    ("ScheduledProcedureStepPriority", "1/1", "3/1", "R", "1"),
    ("ScheduledProcedureStepModificationDateTime", "-/1", "-/1", "R", "3"),
    ("ProcedureStepLabel", "1/1", "3/1", "O", "1"),
    ("WorklistLabel", "2/1", "3/1", "O", "1"),
    ("ScheduledProcessingParametersSequence", "2/2", "3/2", "O", "2"),
    (">include", "CONTENT_ITEM", "", "", ""),
    ("ScheduledStationNameCodeSequence", "2/2", "3/2", "O", "2"),
    (">include", "CODE", "", "", ""),
    ("ScheduledStationClassCodeSequence", "2/2", "3/2", "O", "2"),
    (">include", "CODE", "", "", ""),
    ("ScheduledStationGeographicLocationCodeSequence", "2/2", "3/2", "O", "2"),
    (">include", "CODE", "", "", ""),
    ("ScheduledHumanPerformersSequence", "2C/2C", "3/2", "O", "2"),
    (">HumanPerformerCodeSequence", "1/1", "1/1", "", ""),
    (">>include", "CODE", "", "", ""),
    (">HumanPerformerName", "1/1", "1/1", "", ""),
    (">HumanPerformerOrganization", "1/1", "1/1", "", ""),
    ("ScheduledProcedureStepStartDateTime", "1/1", "3/1", "R", "1"),
    ("ExpectedCompletionDateTime", "3/1", "3/1", "O", "3"),
    ("ScheduledProcedureStepExpirationDateTime", "3/3", "3/3", "O", "3"),
    ("ScheduledWorkitemCodeSequence", "2/2", "3/1", "O", "2"),
    (">include", "CODE", "", "", ""),
    ("CommentsOnTheScheduledProcedureStep", "2/2", "3/1", "O", "3"),
    ("InputReadinessState", "1/1", "3/1", "R", "1"),
    ("InputInformationSequence", "2/2", "3/2", "O", "2"),
    (">include", "INSTANCES", "", "", ""),
    ("StudyInstanceUID", "1C/2", "3/2", "O", "2"),
    ("OutputDestinationSequence", "3/3", "3/3", "O", "3"),
    (">ReferencedSOPClassUID", "1C/1", "1C/1", "", ""),
    (">DICOMStorageSequence", "1C/1", "1C/1", "", ""),
    (">>DestinationAE", "1/1", "1/1", "", ""),
    (">STOWRSStorageSequence", "1C/1", "1C/1", "", ""),
    (">>StorageURL", "1/1", "1/1", "", ""),
    (">XDSStorageSequence", "1C/1", "1C/1", "", ""),
    (">>RepositoryUniqueID", "1/1", "1/1", "", ""),
    (">>HomeCommunityID", "3/2", "3/2", "", ""),
    # Unified Procedure Step Relationship Module
    ("PatientName", "2/2", "-", "O", "2"),
    ("PatientID", "1C/2", "-", "O", "2"),
    ("include", "ISSUER", "", "", ""),
    ("OtherPatientIDsSequence", "2/2", "3/3", "O", "2"),
    (">PatientID", "1/1", "1/1", "", ""),
    (">IssuerOfPatientID", "2/2", "2/2", "", ""),
    (">IssuerOfPatientIDQualifiersSequence", "2/2", "2/2", "", ""),
    (">TypeOfPatientID", "3/3", "3/3", "", ""),
    ("PatientBirthDate", "2/2", "-", "O", "2"),
    ("PatientSex", "2/2", "-", "O", "2"),
    ("ReferencedPatientPhotoSequence", "3/3", "3/3", "O", "3"),
    (">include", "INSTANCES", "", "", ""),
    ("AdmissionID", "2/2", "-", "O", "2"),
    ("IssuerOfAdmissionIDSequence", "2/2", "-", "O", "2"),
    (">include", "DESIGNATOR", "", "", ""),
    ("AdmittingDiagnosesDescription", "2/2", "-", "O", "2"),
    ("AdmittingDiagnosesCodeSequence", "2/2", "-", "O", "2"),
    (">include", "CODE", "", "", ""),
    ("ReferencedRequestSequence", "2/2", "-", "O", "2"),
    (">StudyInstanceUID", "1/1", "-", "", ""),
    (">AccessionNumber", "2/2", "-", "", ""),
    (">IssuerOfAccessionNumberSequence", "2/2", "-", "", ""),
    (">>include", "DESIGNATOR", "", "", ""),
    (">PlacerOrderNumberImagingServiceRequest", "3/1", "-", "", ""),
    (">OrderPlacerIdentifierSequence", "2/2", "-", "", ""),
    (">>include", "DESIGNATOR", "", "", ""),
    (">FillerOrderNumberImagingServiceRequest", "3/1", "-", "", ""),
    (">OrderFillerIdentifierSequence", "2/2", "-", "", ""),
    (">>include", "DESIGNATOR", "", "", ""),
    (">RequestedProcedureID", "2/2", "-", "", ""),
    (">RequestedProcedureDescription", "2/2", "-", "", ""),
    (">RequestedProcedureCodeSequence", "2/2", "-", "", ""),
    (">>include", "CODE", "", "", ""),
    (">ReasonForTheRequestedProcedure", "3/3", "-", "", ""),
    (">ReasonForRequestedProcedureCodeSequence", "3/3", "-", "", ""),
    (">>include", "CODE", "", "", ""),
    (">RequestedProcedureComments", "3/3", "-", "", ""),
    (">ConfidentialityCode", "3/3", "-", "", ""),
    (">NamesOfIntendedRecipientsOfResults", "3/3", "-", "", ""),
    (">ImagingServiceRequestComments", "3/3", "-", "", ""),
    (">RequestingPhysician", "3/3", "-", "", ""),
    (">RequestingService", "3/1", "-", "", ""),
    (">RequestingServiceCodeSequence", "3/3", "-", "", ""),
    (">>include", "CODE", "", "", ""),
    (">IssueDateOfImagingServiceRequest", "3/3", "-", "", ""),
    (">IssueTimeOfImagingServiceRequest", "3/3", "-", "", ""),
    (">ReferringPhysicianName", "3/3", "-", "", ""),
    ("ReplacedProcedureStepSequence", "1C/1C", "-", "O", "3"),
    (">ReferencedSOPClassUID", "1/1", "-", "", ""),
    (">ReferencedSOPInstanceUID", "1/1", "-", "", ""),
    # Patient Medical Module
    ("MedicalAlerts", "3/2", "3/2", "O", "2"),
    ("PregnancyStatus", "3/2", "3/2", "O", "2"),
    ("SpecialNeeds", "3/2", "3/2", "O", "2"),
    # Unified Procedure Step Progress Information Module
    ("ProcedureStepState", "1/1", "-", "R", "1"),
    ("ProcedureStepProgressInformationSequence", "2/2", "3/2", "X", "2"),
    (">ProcedureStepProgress", "-", "3/1", "O", ""),
    (">ProcedureStepProgressDescription", "-", "3/1", "O", ""),
    (">ProcedureStepProgressParametersSequence", "-", "3/3", "O", ""),
    (">>include", "CONTENT_ITEM", "", "", ""),
    (">>ContentItemModifierSequence", "-", "3/3", "", ""),
    (">>>include", "CONTENT_ITEM", "", "", ""),
    (">ProcedureStepCommunicationsURISequence", "-", "3/1", "O", ""),
    (">>ContactURI", "-", "1/1", "", ""),
    (">>ContactDisplayName", "-", "3/1", "", ""),
    (">ProcedureStepCancellationDateTime", "-", "3/1", "X", ""),
    (">ReasonForCancellation", "-", "3/1", "O", ""),
    (">ProcedureStepDiscontinuationReasonCodeSequence", "-", "3/1", "X", ""),
    (">>include", "CODE", "", "", ""),
    # Unified Procedure Step Performed Procedure Information Module
    ("UnifiedProcedureStepPerformedProcedureSequence", "2/2", "3/2", "P", "3"),
    (">ActualHumanPerformersSequence", "-", "3/1", "RC", ""),
    (">>HumanPerformerCodeSequence", "-", "3/1", "RC", ""),
    (">>>include", "CODE", "", "", ""),
    (">>HumanPerformerName", "-", "3/1", "RC", ""),
    (">>HumanPerformerOrganization", "-", "3/1", "O", ""),
    (">PerformedStationNameCodeSequence", "-", "3/2", "P", ""),
    (">>include", "CODE", "", "", ""),
    (">PerformedStationClassCodeSequence", "-", "3/2", "O", ""),
    (">>include", "CODE", "", "", ""),
    (">PerformedStationGeographicLocationCodeSequence", "-", "3/2", "O", ""),
    (">>include", "CODE", "", "", ""),
    (">PerformedProcedureStepStartDateTime", "-", "3/1", "P", ""),
    (">PerformedProcedureStepDescription", "-", "3/1", "O", ""),
    (">CommentsOnThePerformedProcedureStep", "-", "3/1", "O", ""),
    (">PerformedWorkitemCodeSequence", "-", "3/1", "P", ""),
    (">>include", "CODE", "", "", ""),
    (">PerformedProcessingParametersSequence", "-", "3/1", "O", ""),
    (">>include", "CONTENT_ITEM", "", "", ""),
    (">PerformedProcedureStepEndDateTime", "-", "3/1", "P", ""),
    (">OutputInformationSequence", "-", "2/2", "P", ""),
    (">>include", "INSTANCES", "", "", ""),
)

_MACROS: Final = {
    "CODE": CODE,
    "CONTENT_ITEM": CONTENT_ITEM,
    "INSTANCES": INSTANCES,
    "DESIGNATOR": DESIGNATOR,
    "ISSUER": ISSUER,
}

ENUMERATED: Final = {
    "ScheduledProcedureStepPriority": ("HIGH", "MEDIUM", "LOW"),
    "InputReadinessState": ("INCOMPLETE", "UNAVAILABLE", "READY"),
}
"""Enumerated Values (PS3.3 C.30.2); Procedure Step State has a status of its own."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table, with its macros in place; fields as in `Row`, SCU types alone."""

    keyword: str
    create: str
    change: str
    final: str
    returned: str
    items: tuple[Line, ...]


def _lines(rows: Sequence[Row], depth: int = 0) -> Iterator[Line]:
    """The lines at one depth, each with those below it."""
    position = 0
    while position < len(rows):
        name, create, change, final, returned = rows[position]
        position += 1
        first = position
        while position < len(rows) and rows[position][0].startswith(">" * (depth + 1)):
            position += 1
        if name[depth:] == "include":
            yield from _lines(_MACROS[create])
            continue
        items = tuple(_lines(rows[first:position], depth + 1))
        yield Line(name[depth:], _scu(create), _scu(change), final, returned, items)


def _scu(usage: str) -> str:
    return usage.partition("/")[0]


def _create(lines: Sequence[Line]) -> tuple[Rule, ...]:
    return tuple(Rule(line.keyword, line.create, _create(line.items)) for line in lines)


def _change(lines: Sequence[Line]) -> tuple[Rule, ...]:
    return tuple(Rule(line.keyword, line.change, _change(line.items)) for line in lines)


def _final(lines: Sequence[Line], codes: str) -> tuple[Rule, ...]:
    """What must be there in a final state; what may be set without a value, an output, may be so there."""
    return tuple(
        Rule(line.keyword, "2" if line.change == "2" else "1", _final(line.items, codes))
        for line in lines
        if line.final and line.final in codes
    )


LINES: Final = tuple(_lines(TABLE))
CREATE: Final = _create(LINES)
SET: Final = _change(LINES)
COMPLETED: Final = _final(LINES, "RP")
CANCELED: Final = _final(LINES, "RX")
RETURNED: Final = tuple(line.keyword for line in LINES if line.returned in ("1", "1C", "2"))
"""What an answer of a search has whether asked for or not (PS3.18 11.9.2)."""
