"""Worklist items that have what they must have."""

from __future__ import annotations

from dicomwire.dicom.data_set import DataSet
from dicomwire.work.worklist_keys import STEP


def step(number: int = 1, **values: str) -> DataSet:
    """A scheduled procedure step."""
    own = (
        DataSet()
        .put("ScheduledStationAETitle", "CT1")
        .put("ScheduledProcedureStepStartDate", "20260101")
        .put("ScheduledProcedureStepStartTime", "1000")
        .put("Modality", "CT")
        .put("ScheduledPerformingPhysicianName", "House^Gregory")
        .put("ScheduledProcedureStepDescription", "Head")
        .put("ScheduledProcedureStepID", f"S{number}")
    )
    for keyword, value in values.items():
        own.put(keyword, *value.split("\\"))
    return own


def item(number: int = 1, *, steps: tuple[DataSet, ...] = (), **values: str) -> DataSet:
    """An item; values: of its own attributes, or of those of its step."""
    of_step = {name: values.pop(name) for name in [*values] if name == "Modality" or "Scheduled" in name}
    own = (
        DataSet()
        .put(STEP, *(steps or (step(number, **of_step),)))
        .put("RequestedProcedureID", f"R{number}")
        .put("RequestedProcedureDescription", "CT of the head")
        .put("StudyInstanceUID", f"1.2.3.{number}")
        .put("AccessionNumber", f"A{number}")
        .put("PatientName", "Doe^Jane")
        .put("PatientID", f"P{number}")
    )
    for keyword, value in values.items():
        own.put(keyword, *value.split("\\"))
    return own
