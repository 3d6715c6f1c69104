"""Instance Availability Notifications: what they say, and those that came in (PS3.4 R.3, PS3.3 C.4.23)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from dicomwire.dicom.data_set import DataSet, from_json, to_json
from dicomwire.work.attributes import Rule, checked
from dicomwire.work.procedure_steps import Step
from dicomwire.work.refusal import Reason, Refused
from dicomwire.work.store import Reader, Transaction

TOPIC: Final = "availability"
"""Notified when a notification has come."""

AVAILABILITIES: Final = ("ONLINE", "NEARLINE", "OFFLINE", "UNAVAILABLE")
_REFERENCE: Final = (Rule("ReferencedSOPClassUID", "1"), Rule("ReferencedSOPInstanceUID", "1"))

# PS3.4 Table R.3.2-1
RULES: Final = (
    Rule(
        "ReferencedPerformedProcedureStepSequence",
        "2",
        (*_REFERENCE, Rule("PerformedWorkitemCodeSequence", "2")),
    ),
    Rule("StudyInstanceUID", "1"),
    Rule(
        "ReferencedSeriesSequence",
        "1",
        (
            Rule("SeriesInstanceUID", "1"),
            Rule(
                "ReferencedSOPSequence",
                "1",
                (*_REFERENCE, Rule("InstanceAvailability", "1"), Rule("RetrieveAETitle", "1")),
            ),
        ),
    ),
)


@dataclass(frozen=True, slots=True)
class Notification:
    """A notification that came in; ae_title: from whom."""

    sop_instance_uid: str
    ae_title: str
    attributes: DataSet = field(repr=False)
    created: float


def take(
    transaction: Transaction, sop_instance_uid: str, ae_title: str, attributes: DataSet, *, now: float
) -> None:
    """Keep a notification (N-CREATE).

    Raises: Refused: DUPLICATE_INSTANCE, MISSING_ATTRIBUTE, MISSING_VALUE, INVALID_VALUE.
    """
    if transaction.row("SELECT 1 FROM availability WHERE sop_instance_uid = ?", (sop_instance_uid,)):
        raise Refused(Reason.DUPLICATE_INSTANCE, "This notification has come before")
    complete = checked(attributes, RULES)
    for series in complete.sequence("ReferencedSeriesSequence"):
        for item in series.sequence("ReferencedSOPSequence"):
            if item.text("InstanceAvailability") not in AVAILABILITIES:
                tag = Rule("InstanceAvailability", "1").tag
                raise Refused(Reason.INVALID_VALUE, "No Instance Availability that is defined", (tag,))
    transaction.rows(
        "INSERT INTO availability VALUES (?, ?, ?, ?, ?)",
        (sop_instance_uid, complete.text("StudyInstanceUID"), ae_title, to_json(complete), now),
    )
    transaction.notify(TOPIC)


def listed(reader: Reader, study_instance_uid: str | None, limit: int) -> list[Notification]:
    """Notifications that came in, of a study or of all, the last one first."""
    where = "" if study_instance_uid is None else "WHERE study_instance_uid = ?"
    named = () if study_instance_uid is None else (study_instance_uid,)
    sql = f"SELECT sop_instance_uid, ae_title, attributes, created FROM availability {where}"
    rows = reader.rows(f"{sql} ORDER BY created DESC LIMIT ?", (*named, limit))
    return [
        Notification(str(uid), str(ae_title), from_json(str(attributes)), float(str(created)))
        for uid, ae_title, attributes, created in rows
    ]


def prune(transaction: Transaction, before: float) -> int:
    """Forget notifications that came before a time; how many."""
    return transaction.count("DELETE FROM availability WHERE created < ?", (before,))


def notification(
    study_instance_uid: str,
    instances: Iterable[tuple[str, str, str]],
    steps: Iterable[Step],
    retrieve_ae_title: str,
) -> DataSet:
    """A notification that instances are online.

    instances: series instance UID, SOP class UID and SOP instance UID of each.
    steps: procedure steps that they come from.
    """
    series: dict[str, list[DataSet]] = {}
    for series_uid, sop_class_uid, sop_instance_uid in instances:
        item = DataSet().put("ReferencedSOPClassUID", sop_class_uid)
        item.put("ReferencedSOPInstanceUID", sop_instance_uid).put("InstanceAvailability", "ONLINE")
        series.setdefault(series_uid, []).append(item.put("RetrieveAETitle", retrieve_ae_title))
    referenced = (
        DataSet().put("SeriesInstanceUID", uid).put("ReferencedSOPSequence", *items)
        for uid, items in series.items()
    )
    performed = (
        DataSet()
        .put("ReferencedSOPClassUID", "1.2.840.10008.3.1.2.3.3")
        .put("ReferencedSOPInstanceUID", step.sop_instance_uid)
        .put("PerformedWorkitemCodeSequence")
        for step in steps
    )
    return (
        DataSet()
        .put("ReferencedPerformedProcedureStepSequence", *performed)
        .put("StudyInstanceUID", study_instance_uid)
        .put("ReferencedSeriesSequence", *referenced)
    )
