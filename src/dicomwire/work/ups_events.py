"""Events of Unified Procedure Steps: what they say, to whom, and how they wait (PS3.4 CC.2.4).

An event is written in the transaction that caused it: as a job for who is told over DIMSE, as a row for who
has an event channel.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import Final

from dicomwire.dicom.data_set import DataSet, tag_of, to_json
from dicomwire.work import jobs
from dicomwire.work.store import Reader, Transaction
from dicomwire.work.ups_rules import State
from dicomwire.work.workitem import FILTERED, GLOBAL, Workitem

TOPIC: Final = "workitem events"
"""Notified when an event channel has something to tell."""

REPORT: Final = "ups-event"
"""Kind of the jobs that tell an event over DIMSE."""

EVENT_CLASS: Final = "1.2.840.10008.5.1.4.34.6.4"
_MESSAGE_IDS: Final = 0xFFFF


class Event(Enum):
    """Event Type IDs (PS3.4 Table CC.2.4-1)."""

    STATE = 1
    CANCEL_REQUESTED = 2
    PROGRESS = 3
    SCP_STATUS = 4
    ASSIGNED = 5


class SCPStatus(StrEnum):
    """Values of SCP Status (0074,1242)."""

    GOING_DOWN = "GOING DOWN"
    RESTARTED = "RESTARTED"


@dataclass(frozen=True, slots=True)
class Receiver:
    """Who is to hear of events.

    Attributes:
        door: "dimse" for N-EVENT-REPORT, "web" for an event channel.
        locked: with a Deletion Lock.
    """

    ae_title: str
    door: str
    locked: bool = False


# What events say (PS3.4 Table CC.2.4-1)

_PROGRESS: Final = "ProcedureStepProgressInformationSequence"
_REASONS: Final = ("ReasonForCancellation", "ProcedureStepDiscontinuationReasonCodeSequence")
_WORK: Final = (
    "ProcedureStepProgress",
    "ProcedureStepProgressDescription",
    "ProcedureStepProgressParametersSequence",
    "ProcedureStepCommunicationsURISequence",
)
_STATION: Final = "ScheduledStationNameCodeSequence"


def state_of(workitem: Workitem) -> DataSet:
    """What a UPS State Report says."""
    told = DataSet()
    for name in ("InputReadinessState", "ProcedureStepState"):
        told.put(name, *workitem.attributes.values_of(name))
    if workitem.state is State.CANCELED:
        told.update(_filled(_item(workitem.attributes, _PROGRESS), *_REASONS))
    return told


def progress_of(attributes: DataSet) -> DataSet:
    """What a UPS Progress Report says; empty where there is no progress to tell of."""
    told = _filled(_item(attributes, _PROGRESS), *_WORK)
    return DataSet().put(_PROGRESS, told) if told else told


def assigned(attributes: DataSet) -> list[DataSet]:
    """What UPS Assigned reports say, one for each human performer, else one for the station."""
    station = _filled(attributes, _STATION)
    people = [
        _filled(person, "HumanPerformerCodeSequence", "HumanPerformerOrganization")
        for person in attributes.sequence("ScheduledHumanPerformersSequence")
    ]
    told = [DataSet({**station, **person}) for person in people or [DataSet()]]
    return [each for each in told if each]


def scp_status(status: SCPStatus) -> DataSet:
    """What an SCP Status Change says: both lists survive a restart."""
    told = DataSet().put("SCPStatus", status.value)
    if status is SCPStatus.RESTARTED:
        told.put("SubscriptionListStatus", "WARM START")
        told.put("UnifiedProcedureStepListStatus", "WARM START")
    return told


def _item(attributes: DataSet, name: str) -> DataSet:
    return next(iter(attributes.sequence(name)), DataSet())


def _filled(attributes: DataSet, *names: str) -> DataSet:
    """Those of the attributes that have a value."""
    return DataSet({tag_of(name): attributes[tag_of(name)] for name in names if attributes.has_value(name)})


# Who is told, and how


def report(
    transaction: Transaction, workitem: Workitem, event: Event, information: DataSet, *, now: float
) -> None:
    """Tell an event to all who have subscribed."""
    sql = "SELECT ae_title, door FROM workitem_subscriber WHERE workitem = ?"
    for ae_title, door in transaction.rows(sql, (workitem.id,)):
        receiver = Receiver(str(ae_title), str(door))
        tell(transaction, receiver, workitem.sop_instance_uid, event, information, now=now)


def subscribers(reader: Reader) -> dict[Receiver, str]:
    """Everybody who has subscribed to anything, and the well-known instance that stands for it."""
    everything = reader.rows(
        "SELECT ae_title, door, filter <> '' FROM worklist_subscriber"
        " UNION ALL SELECT DISTINCT ae_title, door, 0 FROM workitem_subscriber WHERE NOT EXISTS"
        " (SELECT 1 FROM worklist_subscriber AS of WHERE of.ae_title = workitem_subscriber.ae_title)"
    )
    return {
        Receiver(str(ae_title), str(door)): FILTERED if filtered else GLOBAL
        for ae_title, door, filtered in everything
    }


def restarted(transaction: Transaction, *, now: float) -> None:
    """Tell all who have subscribed that this SCP is there again."""
    told = scp_status(SCPStatus.RESTARTED)
    for receiver, uid in subscribers(transaction).items():
        name = f"{REPORT} restarted {receiver.ae_title}"  # one is enough, however often it restarts
        tell(transaction, receiver, uid, Event.SCP_STATUS, told, now=now, name=name)


def tell(
    transaction: Transaction,
    receiver: Receiver,
    uid: str,
    event: Event,
    information: DataSet,
    *,
    now: float,
    name: str | None = None,
) -> None:
    """Tell one receiver an event of an instance; name: of a job that is not repeated while it waits."""
    if receiver.door == "dimse":
        payload = json.dumps({"uid": uid, "event": event.value, "attributes": to_json(information)})
        jobs.add(transaction, REPORT, receiver.ae_title, payload, now=now, lane=uid, name=name)
        return
    told = DataSet(information)  # as PS3.18 11.13 has it
    told.put("AffectedSOPClassUID", EVENT_CLASS, vr="UI")
    told.put("AffectedSOPInstanceUID", uid, vr="UI")
    told.put("EventTypeID", event.value, vr="US")
    transaction.rows(
        "INSERT INTO workitem_event (ae_title, content, created) VALUES (?, ?, ?)",
        (receiver.ae_title, to_json(told), now),
    )
    transaction.notify(TOPIC)


# Event channels


def waiting(reader: Reader, ae_title: str, after: int, limit: int = 100) -> list[tuple[int, str]]:
    """Events for an AE's event channel with their numbers, the oldest first."""
    sql = "SELECT id, content FROM workitem_event WHERE ae_title = ? AND id > ? ORDER BY id LIMIT ?"
    rows = reader.rows(sql, (ae_title, after, limit))
    return [(int(str(number)), _numbered(str(content), int(str(number)))) for number, content in rows]


def _numbered(content: str, number: int) -> str:
    """An event with its Message ID."""
    told = json.loads(content)
    told["00000110"] = {"vr": "US", "Value": [(number - 1) % _MESSAGE_IDS + 1]}
    return json.dumps(dict(sorted(told.items())), ensure_ascii=False, separators=(",", ":"))


def delivered(transaction: Transaction, ae_title: str, last: int) -> None:
    """Forget the events of an AE up to one that its channel has taken."""
    transaction.rows("DELETE FROM workitem_event WHERE ae_title = ? AND id <= ?", (ae_title, last))


def prune(transaction: Transaction, before: float) -> int:
    """Forget events that no channel has asked for since; how many."""
    return transaction.count("DELETE FROM workitem_event WHERE created < ?", (before,))
