"""Unified Procedure Steps: one store of workitems behind both doors (PS3.4 CC.2).

Who takes a workitem names it with a Transaction UID that only the performer knows; it is never disclosed.
Each change is judged by the state table and reported to those who have subscribed, in the same transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from dicomwire.archive.names import groups, vocabulary
from dicomwire.dicom.data_set import UTF_8, DataSet, tag_of, texts_of, to_json
from dicomwire.dicom.indexed import SPECIFIC_CHARACTER_SET
from dicomwire.uids import is_valid_uid
from dicomwire.work import ups_events
from dicomwire.work.attributes import checked, not_allowed
from dicomwire.work.refusal import Reason, Refused
from dicomwire.work.store import Reader, Transaction
from dicomwire.work.ups_events import SELECT, Event, Workitem, workitem_of
from dicomwire.work.ups_rules import CREATE, FINAL, OUTCOMES, SET, WORDS, Asked, Done, State, Warned

SOP_CLASS: Final = "1.2.840.10008.5.1.4.34.6.1"
"""UPS Push, the SOP class of every workitem, whatever is done with it (PS3.4 CC.3.1)."""

STATE: Final = tag_of("ProcedureStepState")
TRANSACTION_UID: Final = tag_of("TransactionUID")
_PROGRESS: Final = "ProcedureStepProgressInformationSequence"
_REASONS: Final = ("ReasonForCancellation", "ProcedureStepDiscontinuationReasonCodeSequence")
_IDENTITY: Final = frozenset(tag_of(name) for name in ("SOPClassUID", "SOPInstanceUID"))
_ASSIGNED: Final = ("ScheduledStationNameCodeSequence", "ScheduledHumanPerformersSequence")
_MOMENT: Final = "%Y%m%d%H%M%S"


@dataclass(frozen=True, slots=True)
class Changed:
    """What a request came to.

    Attributes:
        warned: a remark, None where it was done as asked.
    """

    workitem: Workitem = field(repr=False)
    warned: Warned | None = None


def create(transaction: Transaction, sop_instance_uid: str, attributes: DataSet, *, now: float) -> Changed:
    """Create a workitem (PS3.4 CC.2.5).

    Raises: Refused: INVALID_INSTANCE, DUPLICATE_INSTANCE, UPS_NOT_SCHEDULED, INVALID_VALUE for a Transaction
        UID, MISSING_ATTRIBUTE, MISSING_VALUE.
    """
    if not is_valid_uid(sop_instance_uid):
        raise Refused(Reason.INVALID_INSTANCE, "SOP Instance UID is no UID")
    if transaction.row("SELECT 1 FROM workitem WHERE sop_instance_uid = ?", (sop_instance_uid,)):
        raise Refused(Reason.DUPLICATE_INSTANCE, "This UPS exists")
    if attributes.has_value(TRANSACTION_UID):
        words = "The Transaction UID is empty until the UPS is taken"
        raise Refused(Reason.INVALID_VALUE, words, (TRANSACTION_UID,))
    if attributes.has_value(STATE) and attributes.text(STATE) != State.SCHEDULED.value:
        raise _refused(Reason.UPS_NOT_SCHEDULED, STATE)
    complete = DataSet(checked(attributes, CREATE))
    complete.pop(TRANSACTION_UID, None)
    complete.put("SOPClassUID", SOP_CLASS).put("SOPInstanceUID", sop_instance_uid)
    complete.put("ScheduledProcedureStepModificationDateTime", _moment(now))
    if not complete.has_value("WorklistLabel"):
        complete.put("WorklistLabel", "DEFAULT")
    columns = _columns(complete) | {
        "sop_instance_uid": sop_instance_uid,
        "state": State.SCHEDULED.value,
        "transaction_uid": "",
        "created": now,
        "changed": now,
    }
    marks = ", ".join("?" * len(columns))
    row = transaction.row(
        f"INSERT INTO workitem ({', '.join(columns)}) VALUES ({marks}) RETURNING id", tuple(columns.values())
    )
    assert row is not None
    workitem = Workitem(int(str(row[0])), sop_instance_uid, State.SCHEDULED, "", complete, now, now)
    ups_events.created(transaction, workitem, now=now)
    if any(complete.has_value(name) for name in _ASSIGNED):
        _report(transaction, workitem, Event.ASSIGNED, _picked(complete, _ASSIGNED), now)
    return Changed(workitem)


def update(
    transaction: Transaction, sop_instance_uid: str, changes: DataSet, transaction_uid: str, *, now: float
) -> Changed:
    """Set attributes of a workitem (PS3.4 CC.2.6).

    transaction_uid: the performer's; "" before somebody has taken it.
    Raises: Refused: UPS_UNKNOWN, UPS_FINAL, UPS_TRANSACTION, UPS_NOT_IN_PROGRESS, UPS_ONLY_CREATED,
        NO_SUCH_ATTRIBUTE for what may not be set and is not what it was anyway, MISSING_VALUE.
    """
    workitem = find(transaction, sop_instance_uid)
    outcome = OUTCOMES[Asked.SET, workitem.state]
    if isinstance(outcome, Reason):
        raise _refused(outcome)
    if workitem.state is State.SCHEDULED and transaction_uid:
        raise _refused(Reason.UPS_NOT_IN_PROGRESS, TRANSACTION_UID)
    if transaction_uid != workitem.transaction_uid:
        raise _refused(Reason.UPS_TRANSACTION, TRANSACTION_UID)
    before = workitem.attributes
    if changes.text(STATE) not in ("", workitem.state.value):
        scheduled = changes.text(STATE) == State.SCHEDULED.value
        raise _refused(Reason.UPS_ONLY_CREATED if scheduled else Reason.NO_SUCH_ATTRIBUTE, STATE)
    refused = [tag for tag in not_allowed(changes, SET) if changes[tag] != before.get(tag)]
    refused += [tag for tag in _IDENTITY if tag in changes and changes[tag] != before.get(tag)]
    if refused:
        raise Refused(Reason.NO_SUCH_ATTRIBUTE, "Attributes that may not be set", tuple(refused))
    kept = {tag: changes[tag] for tag in changes if tag not in (TRANSACTION_UID, SPECIFIC_CHARACTER_SET)}
    merged = DataSet({**before, **kept})
    missing = tuple(rule.tag for rule in CREATE if rule.kind == "1" and not merged.has_value(rule.tag))
    if missing:
        raise Refused(Reason.MISSING_VALUE, "Attributes that must have a value", missing)
    merged.put("ScheduledProcedureStepModificationDateTime", _moment(now))
    after = _written(transaction, workitem, merged, workitem.state, workitem.transaction_uid, now)
    _report_changes(transaction, before, after, now)
    return Changed(after)


def change_state(
    transaction: Transaction, sop_instance_uid: str, wanted: str, transaction_uid: str, *, now: float
) -> Changed:
    """Take, complete or cancel a workitem, as its performer (PS3.4 CC.2.1).

    Raises: Refused: UPS_UNKNOWN, INVALID_VALUE, and those of the state table.
    """
    workitem = find(transaction, sop_instance_uid)
    try:
        asked = Asked[State(wanted).name]
    except ValueError:
        raise Refused(Reason.INVALID_VALUE, "No state of a UPS", (STATE,)) from None
    if asked is not Asked.SCHEDULED:
        known = workitem.transaction_uid
        if not is_valid_uid(transaction_uid) or (known and transaction_uid != known):
            raise _refused(Reason.UPS_TRANSACTION, TRANSACTION_UID)
    outcome = OUTCOMES[asked, workitem.state]
    if isinstance(outcome, Reason):
        raise _refused(outcome, STATE)
    if isinstance(outcome, Warned):
        return Changed(workitem, outcome)
    state = State(wanted)
    attributes = workitem.attributes
    if state is State.CANCELED:
        attributes = _with_cancellation(attributes, DataSet(), now)
    if state in FINAL:
        try:
            checked(attributes, FINAL[state])
        except Refused as refused:
            raise Refused(Reason.UPS_NOT_MET, WORDS[Reason.UPS_NOT_MET], refused.attributes) from None
    return Changed(_moved(transaction, workitem, attributes, state, transaction_uid, now))


def request_cancel(
    transaction: Transaction, sop_instance_uid: str, information: DataSet, ae_title: str, *, now: float
) -> Changed:
    """Ask for a workitem to be cancelled: done at once where nobody has taken it (PS3.4 CC.2.2).

    ae_title: of who asks. Raises: Refused: UPS_UNKNOWN, UPS_COMPLETED.
    """
    workitem = find(transaction, sop_instance_uid)
    outcome = OUTCOMES[Asked.CANCEL, workitem.state]
    if isinstance(outcome, Reason):
        raise _refused(outcome)
    if isinstance(outcome, Warned):
        return Changed(workitem, outcome)
    if outcome is Done.REPORTED:
        named = (*_REASONS, "ContactURI", "ContactDisplayName")
        told = _picked(information, named).put("RequestingAE", ae_title[:16])
        _report(transaction, workitem, Event.CANCEL_REQUESTED, told, now)
        return Changed(workitem)
    taken = _moved(transaction, workitem, workitem.attributes, State.IN_PROGRESS, "", now)
    attributes = _with_cancellation(taken.attributes, information, now)
    return Changed(_moved(transaction, taken, attributes, State.CANCELED, "", now))


def find(reader: Reader, sop_instance_uid: str) -> Workitem:
    """One workitem. Raises: Refused, UPS_UNKNOWN."""
    rows = reader.rows(f"{SELECT} WHERE sop_instance_uid = ?", (sop_instance_uid,))
    if not rows:
        raise _refused(Reason.UPS_UNKNOWN)
    return workitem_of(rows[0])


def prune(transaction: Transaction, before: float) -> int:
    """Remove workitems that have ended since, unless somebody locks them; how many (PS3.4 CC.2.1.3)."""
    return transaction.count(
        "DELETE FROM workitem WHERE state IN ('COMPLETED', 'CANCELED') AND changed < ?"
        " AND NOT EXISTS (SELECT 1 FROM workitem_subscriber AS of"
        " WHERE of.workitem = workitem.id AND of.locked)",
        (before,),
    )


def _refused(reason: Reason, *tags: int) -> Refused:
    return Refused(reason, WORDS.get(reason, "Attributes that may not be set"), tags)


def _moved(
    transaction: Transaction,
    workitem: Workitem,
    attributes: DataSet,
    state: State,
    transaction_uid: str,
    now: float,
) -> Workitem:
    """A workitem in its next state, reported."""
    after = _written(
        transaction, workitem, DataSet(attributes).put(STATE, state.value), state, transaction_uid, now
    )
    _report(transaction, after, Event.STATE, ups_events.state_of(after), now)
    return after


def _written(
    transaction: Transaction,
    workitem: Workitem,
    attributes: DataSet,
    state: State,
    transaction_uid: str,
    now: float,
) -> Workitem:
    """A workitem with other attributes, in its row."""
    columns = _columns(attributes) | {
        "state": state.value,
        "transaction_uid": transaction_uid,
        "changed": now,
    }
    names = ", ".join(f"{name} = ?" for name in columns)
    transaction.rows(f"UPDATE workitem SET {names} WHERE id = ?", (*columns.values(), workitem.id))
    return Workitem(
        workitem.id, workitem.sop_instance_uid, state, transaction_uid, attributes, workitem.created, now
    )


def _report(
    transaction: Transaction, workitem: Workitem, event: Event, information: DataSet, now: float
) -> None:
    ups_events.report(transaction, workitem, event, information, now=now)


def _report_changes(transaction: Transaction, before: DataSet, after: Workitem, now: float) -> None:
    """The events of an N-SET (PS3.4 CC.2.4.3)."""

    def differ(*names: str) -> bool:
        return any(before.get(tag_of(name)) != after.attributes.get(tag_of(name)) for name in names)

    if differ("InputReadinessState"):
        _report(transaction, after, Event.STATE, ups_events.state_of(after), now)
    if differ(_PROGRESS):
        told = _picked(after.attributes, (_PROGRESS,))
        _report(transaction, after, Event.PROGRESS, told, now)
    if differ(*_ASSIGNED):
        _report(transaction, after, Event.ASSIGNED, _picked(after.attributes, _ASSIGNED), now)


def _with_cancellation(attributes: DataSet, information: DataSet, now: float) -> DataSet:
    """The attributes with what a cancelled workitem must have; the SCP supplies what is missing."""
    progress = DataSet(next(iter(attributes.sequence(_PROGRESS)), DataSet()))
    progress.update(_picked(information, _REASONS))
    if not progress.has_value("ProcedureStepCancellationDateTime"):
        progress.put("ProcedureStepCancellationDateTime", _moment(now))
    if not progress.has_value(_REASONS[1]):
        code = DataSet().put("CodeValue", "110513").put("CodingSchemeDesignator", "DCM")
        progress.put(_REASONS[1], code.put("CodeMeaning", "Discontinued for unspecified reason"))
    return DataSet(attributes).put(_PROGRESS, progress)


def _picked(attributes: DataSet, names: Sequence[str]) -> DataSet:
    tags = [tag_of(name) for name in names]
    return DataSet({tag: attributes[tag] for tag in tags if tag in attributes})


def _moment(now: float) -> str:
    return datetime.fromtimestamp(now, UTC).strftime(_MOMENT)


def _columns(attributes: DataSet) -> dict[str, str | float]:
    name = attributes.text("PatientName")
    alphabetic, ideographic, phonetic = groups(name)
    return {
        "priority": attributes.text("ScheduledProcedureStepPriority"),
        "label": attributes.text("ProcedureStepLabel"),
        "worklist_label": attributes.text("WorklistLabel"),
        "start": attributes.text("ScheduledProcedureStepStartDateTime"),
        "patient_id": attributes.text("PatientID"),
        "patient_name": name,
        "patient_name_key": alphabetic,
        "patient_name_ideographic": ideographic,
        "patient_name_phonetic": phonetic,
        "patient_name_words": vocabulary(name),
        "character_set": _character_set(attributes),
        "attributes": to_json(attributes),
    }


def _character_set(attributes: DataSet) -> str:
    """The workitem's own character set where it says one; else UTF-8 where its text needs one."""
    named = "\\".join(attributes.texts(SPECIFIC_CHARACTER_SET))
    return named or ("" if all(text.isascii() for text in texts_of(attributes)) else UTF_8)
