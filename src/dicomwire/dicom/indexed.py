"""The attributes that an index of instances needs (PS3.4 C.6, PS3.18 10.6, PS3.3 C.7.6.3).

Each level lists the required, unique and optional keys of the query models and of the DICOMweb search, then
what people look for in addition. The scanner collects these elements, of the data set itself and not of its
items.
"""

from __future__ import annotations

from typing import Final

from dicomwire.dicom.dictionary import SEQUENCES, TAGS

SPECIFIC_CHARACTER_SET: Final = 0x00080005

EVERY_LEVEL: Final = ("SpecificCharacterSet", "TimezoneOffsetFromUTC")

PATIENT: Final = (
    *(
        "PatientName",
        "PatientID",
        "IssuerOfPatientID",
        "TypeOfPatientID",
        "IssuerOfPatientIDQualifiersSequence",
    ),
    *("PatientBirthDate", "PatientBirthTime", "PatientSex", "OtherPatientIDs", "OtherPatientIDsSequence"),
    *("OtherPatientNames", "EthnicGroup", "PatientComments", "ReferencedPatientSequence"),
    *("PatientBirthName", "PatientMotherBirthName", "PatientSpeciesDescription", "PatientBreedDescription"),
    *("ResponsiblePerson", "ResponsibleOrganization", "PatientIdentityRemoved", "QualityControlSubject"),
)

STUDY: Final = (
    *("StudyDate", "StudyTime", "AccessionNumber", "IssuerOfAccessionNumberSequence", "StudyID"),
    *("StudyInstanceUID", "ReferringPhysicianName", "ConsultingPhysicianName", "StudyDescription"),
    *("ProcedureCodeSequence", "NameOfPhysiciansReadingStudy", "PhysiciansOfRecord", "RequestingService"),
    *(
        "AdmittingDiagnosesDescription",
        "ReferencedStudySequence",
        "PatientAge",
        "PatientSize",
        "PatientWeight",
    ),
    *(
        "Occupation",
        "AdditionalPatientHistory",
        "OtherStudyNumbers",
        "AdmissionID",
        "IssuerOfAdmissionIDSequence",
    ),
    *("ReasonForStudy", "StudyStatusID", "StudyPriorityID", "RequestingPhysician"),
)

SERIES: Final = (
    *("Modality", "SeriesNumber", "SeriesInstanceUID", "SeriesDate", "SeriesTime", "SeriesDescription"),
    *("SeriesDescriptionCodeSequence", "BodyPartExamined", "AnatomicRegionSequence", "Laterality"),
    *("ProtocolName", "PatientPosition", "FrameOfReferenceUID", "PerformingPhysicianName", "OperatorsName"),
    *("Manufacturer", "ManufacturerModelName", "DeviceSerialNumber", "SoftwareVersions", "StationName"),
    *("InstitutionName", "InstitutionalDepartmentName", "PerformedProcedureStepStartDate"),
    *("PerformedProcedureStepStartTime", "PerformedProcedureStepEndDate", "PerformedProcedureStepEndTime"),
    *("PerformedProcedureStepID", "PerformedProcedureStepDescription", "RequestAttributesSequence"),
)

INSTANCE: Final = (
    *("SOPClassUID", "SOPInstanceUID", "RelatedGeneralSOPClassUID", "InstanceNumber", "ImageType"),
    *(
        "InstanceCreationDate",
        "InstanceCreationTime",
        "AcquisitionNumber",
        "AcquisitionDate",
        "AcquisitionTime",
    ),
    *("AcquisitionDateTime", "ContentDate", "ContentTime", "ImageComments", "LossyImageCompression"),
    *("AlternateRepresentationSequence", "ConceptNameCodeSequence", "ContentTemplateSequence"),
    *("CompletionFlag", "VerificationFlag", "ContentLabel", "ContentDescription", "PresentationCreationDate"),
    *(
        "PresentationCreationTime",
        "ObservationDateTime",
        "ContainerIdentifier",
        "SpecimenDescriptionSequence",
    ),
    *("DocumentTitle", "MIMETypeOfEncapsulatedDocument", "SOPInstanceStatus"),
)

IMAGE: Final = (
    *(
        "SamplesPerPixel",
        "PhotometricInterpretation",
        "PlanarConfiguration",
        "NumberOfFrames",
        "Rows",
        "Columns",
    ),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
)

INDEXED: Final = frozenset(
    TAGS[keyword] for keyword in (*EVERY_LEVEL, *PATIENT, *STUDY, *SERIES, *INSTANCE, *IMAGE)
)
"""Tags of the elements that the scanner collects."""

INDEXED_BY_GROUP: Final[dict[int, dict[int, int]]] = {}
"""Tag of each indexed element by group and element number: the scanner's own view of INDEXED."""

SEQUENCES_BY_GROUP: Final[dict[int, frozenset[int]]] = {
    group: frozenset(tag & 0xFFFF for tag in SEQUENCES if tag >> 16 == group)
    for group in {t >> 16 for t in SEQUENCES}
}
"""Element numbers of the sequences of each group, which implicit VR does not tell."""

for _tag in sorted(INDEXED):
    INDEXED_BY_GROUP.setdefault(_tag >> 16, {})[_tag & 0xFFFF] = _tag
