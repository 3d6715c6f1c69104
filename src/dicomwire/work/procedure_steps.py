"""Modality Performed Procedure Steps: attributes, states, links (PS3.4 F.7, PS3.3 C.4.13 to C.4.16).

A step is created IN PROGRESS, updated while it is, and ends COMPLETED or DISCONTINUED for good. Changes run
in a transaction of the store and write the jobs that follow from them: messages to forward, notifications to
send.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from dicomwire.dicom.data_set import DataSet, from_json, tag_of, to_json
from dicomwire.work import jobs, worklist
from dicomwire.work.attributes import Rule, checked, not_allowed
from dicomwire.work.refusal import Reason, Refused
from dicomwire.work.store import Reader, Row, Transaction

TOPIC: Final = "procedure_step"
"""Notified when a step has changed."""

FORWARD: Final = "mpps-forward"
"""Kind of the jobs that repeat a message to another SCP."""
NOTIFY: Final = "mpps-notify"
"""Kind of the jobs that report a change to a receiver of notifications."""

MAY_NO_LONGER_BE_UPDATED: Final = 0xA710
"""Error ID of a step that has ended (PS3.4 Table F.7.2-2)."""

STATUS: Final = tag_of("PerformedProcedureStepStatus")


class Status(Enum):
    """Values of Performed Procedure Step Status (0040,0252)."""

    IN_PROGRESS = "IN PROGRESS"
    COMPLETED = "COMPLETED"
    DISCONTINUED = "DISCONTINUED"


class Event(Enum):
    """Event Type IDs of the notification class (PS3.4 F.9.2.1)."""

    IN_PROGRESS = 1
    COMPLETED = 2
    DISCONTINUED = 3
    UPDATED = 4


_REFERENCE: Final = (Rule("ReferencedSOPClassUID", "1"), Rule("ReferencedSOPInstanceUID", "1"))
_SERIES: Final = (
    Rule("PerformingPhysicianName", "2"),
    Rule("ProtocolName", "1"),
    Rule("OperatorsName", "2"),
    Rule("SeriesInstanceUID", "1"),
    Rule("SeriesDescription", "2"),
    Rule("RetrieveAETitle", "2"),
    Rule("ReferencedImageSequence", "2", _REFERENCE),
    Rule("ReferencedNonImageCompositeSOPInstanceSequence", "2", _REFERENCE),
)

# PS3.4 Table F.7.2-1, in its order: types of N-CREATE, of N-SET, and of the final states; "-" is not allowed
_TABLE: Final[tuple[tuple[str, str, str, str, tuple[Rule, ...]], ...]] = (
    ("ScheduledStepAttributesSequence", "1", "-", "3", (
        Rule("StudyInstanceUID", "1"),
        Rule("ReferencedStudySequence", "2", _REFERENCE),
        Rule("AccessionNumber", "2"),
        Rule("RequestedProcedureID", "2"),
        Rule("RequestedProcedureDescription", "2"),
        Rule("ScheduledProcedureStepID", "2"),
        Rule("ScheduledProcedureStepDescription", "2"),
        Rule("ScheduledProtocolCodeSequence", "2"),
    )),
    ("PatientName", "2", "-", "3", ()),
    ("PatientID", "2", "-", "3", ()),
    ("IssuerOfPatientID", "3", "-", "3", ()),
    ("IssuerOfPatientIDQualifiersSequence", "3", "-", "3", ()),
    ("OtherPatientIDsSequence", "3", "-", "3", ()),
    ("PatientBirthDate", "2", "-", "3", ()),
    ("PatientSex", "2", "-", "3", ()),
    ("ReferencedPatientSequence", "2", "-", "3", _REFERENCE),
    ("AdmissionID", "3", "-", "3", ()),
    ("IssuerOfAdmissionIDSequence", "3", "-", "3", ()),
    ("ServiceEpisodeID", "3", "-", "3", ()),
    ("IssuerOfServiceEpisodeIDSequence", "3", "-", "3", ()),
    ("ServiceEpisodeDescription", "3", "-", "3", ()),
    ("PerformedProcedureStepID", "1", "-", "3", ()),
    ("PerformedStationAETitle", "1", "-", "3", ()),
    ("PerformedStationName", "2", "-", "3", ()),
    ("PerformedLocation", "2", "-", "3", ()),
    ("PerformedProcedureStepStartDate", "1", "-", "3", ()),
    ("PerformedProcedureStepStartTime", "1", "-", "3", ()),
    ("PerformedProcedureStepStatus", "1", "3", "1", ()),
    ("PerformedProcedureStepDescription", "2", "3", "3", ()),
    ("PerformedProcedureTypeDescription", "2", "3", "3", ()),
    ("ProcedureCodeSequence", "2", "3", "3", ()),
    ("ReasonForPerformedProcedureCodeSequence", "3", "3", "3", ()),
    ("PerformedProcedureStepEndDate", "2", "3", "1", ()),
    ("PerformedProcedureStepEndTime", "2", "3", "1", ()),
    ("CommentsOnThePerformedProcedureStep", "3", "3", "3", ()),
    ("PerformedProcedureStepDiscontinuationReasonCodeSequence", "3", "3", "3", ()),
    ("Modality", "1", "-", "3", ()),
    ("StudyID", "2", "-", "3", ()),
    ("PerformedProtocolCodeSequence", "2", "3", "3", ()),
    ("PerformedSeriesSequence", "2", "3", "1", _SERIES),
)  # fmt: skip

CREATE: Final = tuple(Rule(name, create, items) for name, create, _, _, items in _TABLE)
SET: Final = tuple(Rule(name, change, items) for name, _, change, _, items in _TABLE)
FINAL: Final = tuple(Rule(name, final, items) for name, _, _, final, items in _TABLE)


@dataclass(frozen=True, slots=True)
class Followers:
    """Who hears of procedure steps.

    Attributes:
        forward: AE titles of SCPs that get every message again.
        notify: AE titles that get a notification of each change.
    """

    forward: tuple[str, ...] = ()
    notify: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """One procedure step as it stands.

    Attributes:
        attributes: all that is known of it.
        changed: seconds since 1970.
    """

    sop_instance_uid: str
    status: Status
    attributes: DataSet = field(repr=False)
    created: float = 0.0
    changed: float = 0.0


def create(
    transaction: Transaction, sop_instance_uid: str, attributes: DataSet, followers: Followers, *, now: float
) -> Step:
    """Create a step (N-CREATE).

    Raises: Refused: DUPLICATE_INSTANCE, MISSING_ATTRIBUTE, MISSING_VALUE, or INVALID_VALUE for a status that
        is not IN PROGRESS.
    """
    if transaction.row("SELECT 1 FROM procedure_step WHERE sop_instance_uid = ?", (sop_instance_uid,)):
        raise Refused(Reason.DUPLICATE_INSTANCE, "This procedure step exists")
    complete = checked(attributes, CREATE)
    if complete.text(STATUS) != Status.IN_PROGRESS.value:
        raise Refused(Reason.INVALID_VALUE, "A procedure step begins IN PROGRESS", (STATUS,))
    step = Step(sop_instance_uid, Status.IN_PROGRESS, complete, now, now)
    transaction.rows(
        "INSERT INTO procedure_step VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            sop_instance_uid,
            step.status.value,
            complete.text("Modality"),
            complete.text("PerformedStationAETitle"),
            complete.text("PerformedProcedureStepStartDate")
            + complete.text("PerformedProcedureStepStartTime"),
            to_json(complete),
            now,
            now,
        ),
    )
    _link(transaction, step)
    _follow(transaction, step, "create", attributes, Event.IN_PROGRESS, followers, now)
    return step


def update(
    transaction: Transaction, sop_instance_uid: str, changes: DataSet, followers: Followers, *, now: float
) -> Step:
    """Update a step, to its end where the status says so (N-SET).

    Raises: Refused: NO_SUCH_INSTANCE; FINAL_STATE, when it has ended; NO_SUCH_ATTRIBUTE for what may not be
        set and is not what it was anyway; MISSING_ATTRIBUTE, MISSING_VALUE, INVALID_VALUE.
    """
    step = find(transaction, sop_instance_uid)
    if step.status is not Status.IN_PROGRESS:
        words = "Performed Procedure Step Object may no longer be updated"
        raise Refused(Reason.FINAL_STATE, words)
    status = _status(changes, step.status)
    refused = [tag for tag in not_allowed(changes, SET) if changes[tag] != step.attributes.get(tag)]
    if refused:
        raise Refused(Reason.NO_SUCH_ATTRIBUTE, "Attributes that N-SET may not have", tuple(refused))
    merged = DataSet({**step.attributes, **checked(changes, SET)})
    if status is not Status.IN_PROGRESS:
        merged = checked(merged, FINAL)
    after = Step(sop_instance_uid, status, merged, step.created, now)
    transaction.rows(
        "UPDATE procedure_step SET status = ?, attributes = ?, changed = ? WHERE sop_instance_uid = ?",
        (status.value, to_json(merged), now, sop_instance_uid),
    )
    _link(transaction, after)
    event = Event.UPDATED if status is Status.IN_PROGRESS else Event[status.name]
    _follow(transaction, after, "set", changes, event, followers, now)
    return after


def find(reader: Reader, sop_instance_uid: str) -> Step:
    """One step. Raises: Refused, NO_SUCH_INSTANCE; CLASS_CONFLICT, where that is a workitem."""
    rows = reader.rows(f"{_SELECT} WHERE sop_instance_uid = ?", (sop_instance_uid,))
    if not rows:
        if reader.rows("SELECT 1 FROM workitem WHERE sop_instance_uid = ?", (sop_instance_uid,)):
            raise Refused(Reason.CLASS_CONFLICT, "The instance is a Unified Procedure Step")
        raise Refused(Reason.NO_SUCH_INSTANCE, "There is no such procedure step")
    return step_of(rows[0])


def linked(reader: Reader, kind: str, value: str) -> list[Step]:
    """Steps that belong to something.

    kind: "study", "series", "accession" or "step" (Scheduled Procedure Step ID).
    """
    sql = f"{_SELECT} JOIN procedure_step_link USING (sop_instance_uid) WHERE kind = ? AND value = ?"
    return [step_of(row) for row in reader.rows(f"{sql} ORDER BY created", (kind, value))]


def recent(reader: Reader, limit: int) -> list[Step]:
    """The steps that changed last."""
    return [step_of(row) for row in reader.rows(f"{_SELECT} ORDER BY changed DESC LIMIT ?", (limit,))]


_SELECT: Final = "SELECT sop_instance_uid, status, attributes, created, changed FROM procedure_step"


def step_of(row: Row) -> Step:
    """A step from its columns."""
    uid, status, attributes, created, changed = row
    return Step(
        str(uid), Status(status), from_json(str(attributes)), float(str(created)), float(str(changed))
    )


def _status(changes: DataSet, before: Status) -> Status:
    if STATUS not in changes:
        return before
    try:
        return Status(changes.text(STATUS))
    except ValueError:
        raise Refused(Reason.INVALID_VALUE, "No status of a procedure step", (STATUS,)) from None


def _link(transaction: Transaction, step: Step) -> None:
    """What the step belongs to, for whoever looks it up from there."""
    scheduled = step.attributes.sequence("ScheduledStepAttributesSequence")
    named = [(item.text("StudyInstanceUID"), item.text("ScheduledProcedureStepID")) for item in scheduled]
    worklist.performed(transaction, [pair for pair in named if all(pair)], step.status.value, step.changed)
    links = set[tuple[str, str]]()
    for item in step.attributes.sequence("ScheduledStepAttributesSequence"):
        links.add(("study", item.text("StudyInstanceUID")))
        links.add(("accession", item.text("AccessionNumber")))
        links.add(("step", item.text("ScheduledProcedureStepID")))
    for item in step.attributes.sequence("PerformedSeriesSequence"):
        links.add(("series", item.text("SeriesInstanceUID")))
    for kind, value in links:
        if value:
            transaction.rows(
                "INSERT OR IGNORE INTO procedure_step_link VALUES (?, ?, ?)",
                (kind, value, step.sop_instance_uid),
            )


def _follow(
    transaction: Transaction,
    step: Step,
    message: str,
    sent: DataSet,
    event: Event,
    followers: Followers,
    now: float,
) -> None:
    """Write the jobs that tell others, in order for each of them."""
    transaction.notify(TOPIC)
    uid = step.sop_instance_uid
    if followers.forward:
        terms = sent.texts("SpecificCharacterSet")
        content = {"message": message, "uid": uid, "character_set": terms, "attributes": to_json(sent)}
        payload = json.dumps(content)
        for destination in followers.forward:
            jobs.add(transaction, FORWARD, destination, payload, now=now, lane=uid)
    if followers.notify:
        told = to_json(_notification(step))
        payload = json.dumps({"event": event.value, "uid": uid, "attributes": told})
        for destination in followers.notify:
            jobs.add(transaction, NOTIFY, destination, payload, now=now, lane=uid)


_TOLD: Final[Sequence[str]] = (
    *("ScheduledStepAttributesSequence", "PatientName", "PatientID", "PatientBirthDate", "PatientSex"),
    *("PerformedProcedureStepID", "PerformedStationAETitle", "PerformedStationName", "PerformedLocation"),
    *("PerformedProcedureStepStartDate", "PerformedProcedureStepStartTime", "PerformedProcedureStepStatus"),
    *("PerformedProcedureStepEndDate", "PerformedProcedureStepEndTime", "Modality", "StudyID"),
    *("PerformedProcedureStepDescription", "PerformedSeriesSequence"),
)


def _notification(step: Step) -> DataSet:
    """What a notification says of the step."""
    return DataSet(
        {tag_of(name): step.attributes[tag_of(name)] for name in _TOLD if tag_of(name) in step.attributes}
    )
