"""Attribute lists of procedure steps: the least that N-CREATE and a final N-SET must have."""

from __future__ import annotations

from dicomwire.dicom.data_set import DataSet, tag_of

STUDY = "1.2.3.1"
SERIES = "1.2.3.2"


def beginning() -> DataSet:
    """An N-CREATE that is complete."""
    scheduled = DataSet().put("StudyInstanceUID", STUDY).put("AccessionNumber", "A1")
    scheduled.put("ScheduledProcedureStepID", "S1").put("RequestedProcedureID", "R1")
    return (
        DataSet()
        .put("ScheduledStepAttributesSequence", scheduled)
        .put("PatientName", "Doe^Jane")
        .put("PatientID", "P1")
        .put("PerformedProcedureStepID", "PPS1")
        .put("PerformedStationAETitle", "CT1")
        .put("PerformedProcedureStepStartDate", "20260101")
        .put("PerformedProcedureStepStartTime", "120000")
        .put("PerformedProcedureStepStatus", "IN PROGRESS")
        .put("Modality", "CT")
    )


def series() -> DataSet:
    """An item of Performed Series Sequence."""
    image = DataSet().put("ReferencedSOPClassUID", "1.2.840.10008.5.1.4.1.1.2")
    image.put("ReferencedSOPInstanceUID", "1.2.3.3")
    return (
        DataSet()
        .put("ProtocolName", "Head")
        .put("SeriesInstanceUID", SERIES)
        .put("ReferencedImageSequence", image)
    )


def end(status: str = "COMPLETED") -> DataSet:
    """An N-SET that ends a step."""
    return (
        DataSet()
        .put("PerformedProcedureStepStatus", status)
        .put("PerformedProcedureStepEndDate", "20260101")
        .put("PerformedProcedureStepEndTime", "121500")
        .put("PerformedSeriesSequence", series())
    )


def without(data_set: DataSet, *keywords: str) -> DataSet:
    """The same without some attributes."""
    gone = {tag_of(keyword) for keyword in keywords}
    return DataSet({tag: attribute for tag, attribute in data_set.items() if tag not in gone})
