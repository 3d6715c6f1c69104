"""Who hears of Unified Procedure Steps, and what: subscriptions and events (PS3.4 CC.2.3, CC.2.4).

An event is written in the transaction that caused it: as a job for who is told over DIMSE, as a row for who
has an event channel. A Deletion Lock keeps a workitem that has ended until it is given back.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from dicomwire.archive.matching import Condition
from dicomwire.archive.query import Match, Query
from dicomwire.dicom.data_set import DataSet, from_json, tag_of, to_json
from dicomwire.errors import QueryError
from dicomwire.work import jobs
from dicomwire.work.matching import Selection, Table, column, name_column, path_of, query_of, search, select
from dicomwire.work.refusal import Reason, Refused
from dicomwire.work.store import Reader, Row, Transaction
from dicomwire.work.ups_rules import WORDS, State

TOPIC: Final = "workitem events"
"""Notified when an event channel has something to tell."""

REPORT: Final = "ups-event"
"""Kind of the jobs that tell an event over DIMSE."""

GLOBAL: Final = "1.2.840.10008.5.1.4.34.5"
FILTERED: Final = "1.2.840.10008.5.1.4.34.5.1"
"""Well-known instances that stand for all workitems, and for all that match."""

SELECT: Final = (
    "SELECT id, sop_instance_uid, state, transaction_uid, attributes, created, changed FROM workitem"
)

TABLE: Final = Table(
    "workitem",
    {
        path_of("SOPInstanceUID"): column("workitem", "sop_instance_uid"),
        path_of("ProcedureStepState"): column("workitem", "state", "workitem_state"),
        path_of("ScheduledProcedureStepPriority"): column("workitem", "priority"),
        path_of("ProcedureStepLabel"): column("workitem", "label"),
        path_of("WorklistLabel"): column("workitem", "worklist_label", "workitem_worklist_label"),
        path_of("ScheduledProcedureStepStartDateTime"): column("workitem", "start"),
        path_of("PatientID"): column("workitem", "patient_id", "workitem_patient_id"),
        path_of("PatientName"): name_column("workitem", "patient_name", "workitem_name"),
    },
    {},
    "workitem.start, workitem.id",
)


class Event(Enum):
    """Event Type IDs (PS3.4 Table CC.2.4-1)."""

    STATE = 1
    CANCEL_REQUESTED = 2
    PROGRESS = 3
    SCP_STATUS = 4
    ASSIGNED = 5


@dataclass(frozen=True, slots=True)
class Workitem:
    """A Unified Procedure Step as it stands.

    Attributes:
        transaction_uid: the performer's, "" before it has one; never disclosed.
        changed: seconds since 1970.
    """

    id: int
    sop_instance_uid: str
    state: State
    transaction_uid: str = field(repr=False)
    attributes: DataSet = field(repr=False)
    created: float
    changed: float


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


def workitem_of(row: Row) -> Workitem:
    """A workitem from its columns."""
    number, uid, state, transaction_uid, attributes, created, changed = row
    return Workitem(
        int(str(number)),
        str(uid),
        State(state),
        str(transaction_uid),
        from_json(str(attributes)),
        float(str(created)),
        float(str(changed)),
    )


def selection(query: Query, also: Condition | None = None) -> Selection:
    """How to search the workitems. Raises: QueryError."""
    return select(TABLE, query, also)


# Subscriptions


def subscribe(
    transaction: Transaction, sop_instance_uid: str, receiver: Receiver, keys: str, *, now: float
) -> None:
    """Subscribe an AE to a workitem, or by the well-known instances to all or to those that match.

    keys: DICOM JSON object of a filter, for the filtered subscription alone.
    Raises: Refused: UPS_UNKNOWN, UPS_NOT_APPROPRIATE for a filter that is no query.
    """
    if sop_instance_uid not in (GLOBAL, FILTERED):
        number = _number(transaction, sop_instance_uid)
        _subscribe(transaction, number, receiver)
        (row,) = transaction.rows(f"{SELECT} WHERE id = ?", (number,))
        workitem = workitem_of(row)
        _tell(transaction, receiver, workitem, Event.STATE, state_of(workitem), now)
        return
    filtered = keys if sop_instance_uid == FILTERED else ""
    matching = _matching(transaction, filtered, None)
    known = transaction.row("SELECT 1 FROM worklist_subscriber WHERE ae_title = ?", (receiver.ae_title,))
    if known:
        transaction.rows("DELETE FROM worklist_subscriber WHERE ae_title = ?", (receiver.ae_title,))
    transaction.rows(
        "INSERT INTO worklist_subscriber VALUES (?, ?, ?, ?)",
        (receiver.ae_title, receiver.door, int(receiver.locked), filtered),
    )
    for number in matching:
        sql = "SELECT 1 FROM workitem_subscriber WHERE workitem = ? AND ae_title = ?"
        if transaction.row(sql, (number, receiver.ae_title)):
            continue  # "No UPS state change" (Table CC.2.3-2)
        _subscribe(transaction, number, receiver)
        (row,) = transaction.rows(f"{SELECT} WHERE id = ?", (number,))
        workitem = workitem_of(row)
        _tell(transaction, receiver, workitem, Event.STATE, state_of(workitem), now)


def unsubscribe(transaction: Transaction, sop_instance_uid: str, ae_title: str) -> bool:
    """End a subscription, and its Deletion Lock; whether there was one. Raises: Refused, UPS_UNKNOWN."""
    if sop_instance_uid in (GLOBAL, FILTERED):
        gone = transaction.count("DELETE FROM worklist_subscriber WHERE ae_title = ?", (ae_title,))
        gone += transaction.count("DELETE FROM workitem_subscriber WHERE ae_title = ?", (ae_title,))
        return gone > 0
    number = _number(transaction, sop_instance_uid)
    sql = "DELETE FROM workitem_subscriber WHERE workitem = ? AND ae_title = ?"
    return transaction.count(sql, (number, ae_title)) > 0


def suspend(transaction: Transaction, sop_instance_uid: str, ae_title: str) -> bool:
    """Subscribe an AE to no more workitems that come; those it has stay. Whether it was subscribed.

    Raises: Refused, UPS_NOT_APPROPRIATE, for an instance that is no subscription to all.
    """
    if sop_instance_uid not in (GLOBAL, FILTERED):
        raise Refused(Reason.UPS_NOT_APPROPRIATE, WORDS[Reason.UPS_NOT_APPROPRIATE])
    return transaction.count("DELETE FROM worklist_subscriber WHERE ae_title = ?", (ae_title,)) > 0


# Events


def state_of(workitem: Workitem) -> DataSet:
    """What a UPS State Report says."""
    told = DataSet()
    for name in ("InputReadinessState", "ProcedureStepState"):
        told.put(name, *workitem.attributes.values_of(name))
    progress = next(iter(workitem.attributes.sequence("ProcedureStepProgressInformationSequence")), DataSet())
    for name in ("ReasonForCancellation", "ProcedureStepDiscontinuationReasonCodeSequence"):
        if workitem.state is State.CANCELED and progress.has_value(name):
            told[tag_of(name)] = progress[tag_of(name)]
    return told


def created(transaction: Transaction, workitem: Workitem, *, now: float) -> None:
    """Subscribe to a new workitem all who want to hear of such, and tell them."""
    for ae_title, door, locked, keys in transaction.rows("SELECT * FROM worklist_subscriber"):
        if keys and not _matching(transaction, str(keys), workitem.id):
            continue
        receiver = Receiver(str(ae_title), str(door), bool(locked))
        _subscribe(transaction, workitem.id, receiver)
    report(transaction, workitem, Event.STATE, state_of(workitem), now=now)


def report(
    transaction: Transaction, workitem: Workitem, event: Event, information: DataSet, *, now: float
) -> None:
    """Tell an event to all who have subscribed."""
    sql = "SELECT ae_title, door, locked FROM workitem_subscriber WHERE workitem = ?"
    for ae_title, door, locked in transaction.rows(sql, (workitem.id,)):
        receiver = Receiver(str(ae_title), str(door), bool(locked))
        _tell(transaction, receiver, workitem, event, information, now)


def waiting(reader: Reader, ae_title: str, after: int, limit: int = 100) -> list[tuple[int, str]]:
    """Events for an AE's event channel with their numbers, the oldest first."""
    sql = "SELECT id, content FROM workitem_event WHERE ae_title = ? AND id > ? ORDER BY id LIMIT ?"
    return [
        (int(str(number)), str(content)) for number, content in reader.rows(sql, (ae_title, after, limit))
    ]


def delivered(transaction: Transaction, ae_title: str, last: int) -> None:
    """Forget the events of an AE up to one that its channel has taken."""
    transaction.rows("DELETE FROM workitem_event WHERE ae_title = ? AND id <= ?", (ae_title, last))


def prune(transaction: Transaction, before: float) -> int:
    """Forget events that no channel has asked for since; how many."""
    return transaction.count("DELETE FROM workitem_event WHERE created < ?", (before,))


def _number(transaction: Transaction, sop_instance_uid: str) -> int:
    row = transaction.row("SELECT id FROM workitem WHERE sop_instance_uid = ?", (sop_instance_uid,))
    if row is None:
        raise Refused(Reason.UPS_UNKNOWN, WORDS[Reason.UPS_UNKNOWN])
    return int(str(row[0]))


def _subscribe(transaction: Transaction, number: int, receiver: Receiver) -> None:
    transaction.rows(
        "INSERT OR REPLACE INTO workitem_subscriber VALUES (?, ?, ?, ?)",
        (receiver.ae_title, number, receiver.door, int(receiver.locked)),
    )


def _matching(transaction: Transaction, keys: str, number: int | None) -> list[int]:
    """Ids of the workitems that a filter finds; number: among this one alone."""
    matches = filter_of(from_json(keys)) if keys else []
    also = None if number is None else Condition("workitem.id = ?", (number,))
    query = query_of(matches)
    try:
        return search(transaction, selection(query, also), query)
    except QueryError as error:
        raise Refused(Reason.INVALID_VALUE, str(error)[:64]) from None


def filter_of(keys: DataSet, above: tuple[int, ...] = ()) -> list[Match]:
    """The keys of a filter."""
    matches = []
    for tag, attribute in keys.items():
        if attribute.vr == "SQ":
            for item in keys.sequence(tag):
                matches += filter_of(item, (*above, tag))
        elif keys.has_value(tag):
            matches.append(Match((*above, tag), "\\".join(keys.texts(tag))))
    return matches


def _tell(
    transaction: Transaction,
    receiver: Receiver,
    workitem: Workitem,
    event: Event,
    information: DataSet,
    now: float,
) -> None:
    if receiver.door == "dimse":
        payload = json.dumps(
            {"uid": workitem.sop_instance_uid, "event": event.value, "attributes": to_json(information)}
        )
        lane = workitem.sop_instance_uid
        jobs.add(transaction, REPORT, receiver.ae_title, payload, now=now, lane=lane)
        return
    transaction.rows(
        "INSERT INTO workitem_event (ae_title, content, created) VALUES (?, ?, ?)",
        (receiver.ae_title, to_json(_channelled(workitem, event, information)), now),
    )
    transaction.notify(TOPIC)


def _channelled(workitem: Workitem, event: Event, information: DataSet) -> DataSet:
    """An event as its channel carries it (PS3.18 11.12)."""
    told = DataSet(information)
    told.put("AffectedSOPClassUID", "1.2.840.10008.5.1.4.34.6.4", vr="UI")
    told.put("AffectedSOPInstanceUID", workitem.sop_instance_uid, vr="UI")
    told.put("EventTypeID", event.value, vr="US")
    return told
