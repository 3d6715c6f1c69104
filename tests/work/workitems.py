"""Attribute lists of Unified Procedure Steps: the least that each request must have."""

from __future__ import annotations

from dicomwire.dicom.data_set import DataSet

TRANSACTION = "1.2.3.99"


def code(value: str = "T1") -> DataSet:
    """An item of a code sequence."""
    return DataSet().put("CodeValue", value).put("CodingSchemeDesignator", "99X").put("CodeMeaning", value)


def workitem(**values: str) -> DataSet:
    """A workitem that is complete."""
    own = (
        DataSet()
        .put("ScheduledProcedureStepPriority", "MEDIUM")
        .put("ProcedureStepLabel", "Contour")
        .put("WorklistLabel", "THORAX")
        .put("ScheduledProcedureStepStartDateTime", "20260101100000")
        .put("InputReadinessState", "READY")
        .put("ProcedureStepState", "SCHEDULED")
        .put("PatientName", "Doe^Jane")
        .put("PatientID", "P1")
        .put("ScheduledWorkitemCodeSequence", code())
    )
    for keyword, value in values.items():
        own.put(keyword, value)
    return own


def state(wanted: str, transaction_uid: str = TRANSACTION) -> DataSet:
    """What changes the state."""
    return DataSet().put("ProcedureStepState", wanted).put("TransactionUID", transaction_uid)


def performed() -> DataSet:
    """What has to be set before a workitem is completed."""
    item = (
        DataSet()
        .put("PerformedStationNameCodeSequence", code("ST1"))
        .put("PerformedProcedureStepStartDateTime", "20260101100000")
        .put("PerformedWorkitemCodeSequence", code())
        .put("PerformedProcedureStepEndDateTime", "20260101103000")
        .put("OutputInformationSequence")
    )
    return DataSet().put("UnifiedProcedureStepPerformedProcedureSequence", item)
