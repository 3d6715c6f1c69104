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
from dicomwire.dicom.data_set import UTF_8, DataSet, Tag, tag_of, texts_of, to_json
from dicomwire.dicom.indexed import SPECIFIC_CHARACTER_SET
from dicomwire.uids import is_valid_uid
from dicomwire.work import ups_events, ups_subscriptions
from dicomwire.work.attributes import checked, not_allowed
from dicomwire.work.refusal import Reason, Refused
from dicomwire.work.store import Transaction
from dicomwire.work.ups_attributes import CREATE, SET
from dicomwire.work.ups_events import Event
from dicomwire.work.ups_rules import FINAL, OUTCOMES, WORDS, Asked, Done, OnCancel, State, Warned
from dicomwire.work.ups_values import coerced
from dicomwire.work.workitem import FILTERED, GLOBAL, Workitem, find

SOP_CLASS: Final = "1.2.840.10008.5.1.4.34.6.1"
"""UPS Push, the SOP class of every workitem, whatever is done with it (PS3.4 CC.3.1)."""

STATE: Final = tag_of("ProcedureStepState")
TRANSACTION_UID: Final = tag_of("TransactionUID")
_PROGRESS: Final = "ProcedureStepProgressInformationSequence"
_REASONS: Final = ("ReasonForCancellation", "ProcedureStepDiscontinuationReasonCodeSequence")
_CONTACT: Final = ("ContactURI", "ContactDisplayName")
_OWN: Final = frozenset(
    tag_of(name) for name in ("SOPClassUID", "SOPInstanceUID", "ScheduledProcedureStepModificationDateTime")
)
"""What the SCP sets, whatever an SCU says."""
_FULL: Final = frozenset(rule.tag for rule in CREATE if rule.kind == "1") | {tag_of("WorklistLabel")}
"""What always has a value."""
_MOMENT: Final = "%Y%m%d%H%M%S"


@dataclass(frozen=True, slots=True)
class Changed:
    """What a request came to.

    Attributes:
        warned: a remark, None where it was done as asked.
        coerced: attributes that have another value than was sent.
    """

    workitem: Workitem = field(repr=False)
    warned: Warned | None = None
    coerced: DataSet = field(default_factory=DataSet, repr=False)


def create(transaction: Transaction, sop_instance_uid: str, attributes: DataSet, *, now: float) -> Changed:
    """Create a workitem (PS3.4 CC.2.5).

    Raises: Refused: INVALID_INSTANCE, DUPLICATE_INSTANCE, UPS_NOT_SCHEDULED, INVALID_VALUE for a Transaction
        UID and for values that are none, NO_SUCH_ATTRIBUTE for what a performer reports, MISSING_ATTRIBUTE,
        MISSING_VALUE.
    """
    if not is_valid_uid(sop_instance_uid):
        raise Refused(Reason.INVALID_INSTANCE, "SOP Instance UID is no UID")
    known = transaction.row("SELECT 1 FROM workitem WHERE sop_instance_uid = ?", (sop_instance_uid,))
    if known or sop_instance_uid in (GLOBAL, FILTERED):
        raise Refused(Reason.DUPLICATE_INSTANCE, "This UPS exists")
    complete, changed = _complete(attributes)
    complete.put("SOPClassUID", SOP_CLASS).put("SOPInstanceUID", sop_instance_uid)
    complete.put("ScheduledProcedureStepModificationDateTime", _moment(now))
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
    transaction.rows("DELETE FROM workitem_gone WHERE sop_instance_uid = ?", (sop_instance_uid,))
    workitem = Workitem(int(str(row[0])), sop_instance_uid, State.SCHEDULED, "", complete, now, now)
    ups_subscriptions.created(transaction, workitem, now=now)
    for told in ups_events.assigned(complete):
        _report(transaction, workitem, Event.ASSIGNED, told, now)
    return _changed(workitem, Warned.MODIFIED, changed)


def _complete(attributes: DataSet) -> tuple[DataSet, tuple[int, ...]]:
    """The attributes of a new workitem with what the SCP adds, and the tags of what it coerced."""
    if attributes.has_value(TRANSACTION_UID):
        words = "The Transaction UID is empty until the UPS is taken"
        raise Refused(Reason.INVALID_VALUE, words, (TRANSACTION_UID,))
    if attributes.has_value(STATE) and attributes.text(STATE) != State.SCHEDULED.value:
        raise _refused(Reason.UPS_NOT_SCHEDULED, STATE)
    refused = [tag for tag in not_allowed(attributes, CREATE) if tag not in _OWN]
    if refused:
        raise Refused(Reason.NO_SUCH_ATTRIBUTE, "Attributes of what is not performed yet", tuple(refused))
    complete, changed = coerced(checked(attributes, CREATE))
    complete.pop(TRANSACTION_UID, None)
    if not complete.has_value("WorklistLabel"):
        complete.put("WorklistLabel", "DEFAULT")
    return complete, changed


def update(
    transaction: Transaction, sop_instance_uid: str, changes: DataSet, transaction_uid: str, *, now: float
) -> Changed:
    """Set attributes of a workitem (PS3.4 CC.2.6).

    transaction_uid: the performer's; "" before somebody has taken it.
    Raises: Refused: UPS_UNKNOWN, UPS_FINAL, UPS_TRANSACTION, UPS_NOT_IN_PROGRESS, UPS_ONLY_CREATED,
        NO_SUCH_ATTRIBUTE for what may not be set and is not what it was anyway, INVALID_VALUE,
        MISSING_ATTRIBUTE of items, MISSING_VALUE.
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
    refused = [tag for tag in not_allowed(changes, SET) if changes.get(tag) != before.get(tag)]
    if refused:
        raise Refused(Reason.NO_SUCH_ATTRIBUTE, "Attributes that may not be set", tuple(refused))
    wanted, changed = coerced(checked(changes, SET))
    kept = {tag: wanted[tag] for tag in wanted if tag not in (TRANSACTION_UID, SPECIFIC_CHARACTER_SET)}
    merged = DataSet({**before, **kept})
    missing = tuple(tag for tag in sorted(_FULL) if not merged.has_value(tag))
    if missing:
        raise Refused(Reason.MISSING_VALUE, "Attributes that must have a value", missing)
    merged.put("ScheduledProcedureStepModificationDateTime", _moment(now))
    after = _written(transaction, workitem, merged, workitem.state, workitem.transaction_uid, now)
    _report_changes(transaction, before, after, now)
    return _changed(after, Warned.COERCED, changed)


def change_state(
    transaction: Transaction, sop_instance_uid: str, wanted: str, transaction_uid: str, *, now: float
) -> Changed:
    """Take, complete or cancel a workitem, as its performer (PS3.4 CC.2.1).

    Raises: Refused: UPS_UNKNOWN, INVALID_ARGUMENT, and those of the state table.
    """
    workitem = find(transaction, sop_instance_uid)
    try:
        asked = Asked[State(wanted).name]
    except ValueError:
        raise Refused(Reason.INVALID_ARGUMENT, "No state of a UPS", (STATE,)) from None
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
    transaction: Transaction,
    sop_instance_uid: str,
    information: DataSet,
    ae_title: str,
    *,
    now: float,
    on_cancel: OnCancel = OnCancel.REPORT,
) -> Changed:
    """Ask for a workitem to be cancelled: done at once where nobody has taken it (PS3.4 CC.2.2).

    ae_title: of who asks.
    on_cancel: what becomes of it where somebody has.
    Raises: Refused: UPS_UNKNOWN, UPS_COMPLETED, UPS_NO_CONTACT, UPS_NOT_CANCELED.
    """
    workitem = find(transaction, sop_instance_uid)
    outcome = OUTCOMES[Asked.CANCEL, workitem.state]
    if isinstance(outcome, Reason):
        raise _refused(outcome)
    if isinstance(outcome, Warned):
        return Changed(workitem, outcome)
    if outcome is Done.REPORTED:
        if on_cancel is OnCancel.REFUSE:
            raise _refused(Reason.UPS_NOT_CANCELED)
        if on_cancel is OnCancel.CONTACT and not ups_subscriptions.has_subscriber(transaction, workitem):
            raise _refused(Reason.UPS_NO_CONTACT)
        told = _picked(information, (*_REASONS, *_CONTACT)).put("RequestingAE", ae_title[:16])
        _report(transaction, workitem, Event.CANCEL_REQUESTED, told, now)
        return Changed(workitem)
    taken = _moved(transaction, workitem, workitem.attributes, State.IN_PROGRESS, "", now)
    attributes = _with_cancellation(taken.attributes, information, now)
    return Changed(_moved(transaction, taken, attributes, State.CANCELED, "", now))


def prune(transaction: Transaction, before: float, now: float) -> int:
    """Remove workitems that have ended before, unless somebody locks them; how many (PS3.4 CC.2.1.3)."""
    over = (
        "FROM workitem WHERE state IN ('COMPLETED', 'CANCELED') AND changed < ?"
        " AND NOT EXISTS (SELECT 1 FROM workitem_subscriber AS of"
        " WHERE of.workitem = workitem.id AND of.locked)"
    )
    transaction.rows(f"INSERT OR REPLACE INTO workitem_gone SELECT sop_instance_uid, ? {over}", (now, before))
    return transaction.count(f"DELETE {over}", (before,))


def forget(transaction: Transaction, before: float) -> None:
    """Forget that there were workitems which have been removed before."""
    transaction.rows("DELETE FROM workitem_gone WHERE removed < ?", (before,))


def _refused(reason: Reason, *tags: int) -> Refused:
    return Refused(reason, WORDS.get(reason, "Attributes that may not be set"), tags)


def _changed(workitem: Workitem, warned: Warned, tags: Sequence[int]) -> Changed:
    """What a change came to; tags: of what was coerced, in items of the progress information too."""
    if not tags:
        return Changed(workitem)
    names = [tag for tag in tags if tag in workitem.attributes]
    return Changed(workitem, warned, _picked(workitem.attributes, names if names else (_PROGRESS,)))


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
    progress = ups_events.progress_of(after.attributes)
    if progress and progress != ups_events.progress_of(before):
        _report(transaction, after, Event.PROGRESS, progress, now)
    if differ("ScheduledStationNameCodeSequence", "ScheduledHumanPerformersSequence"):
        for told in ups_events.assigned(after.attributes):
            _report(transaction, after, Event.ASSIGNED, told, now)


def _with_cancellation(attributes: DataSet, information: DataSet, now: float) -> DataSet:
    """The attributes with what a cancelled workitem must have; the SCP supplies what is missing."""
    progress = DataSet(next(iter(attributes.sequence(_PROGRESS)), DataSet()))
    progress.update(_picked(information, _REASONS))
    contact = _picked(information, _CONTACT)
    if contact:
        progress.put("ProcedureStepCommunicationsURISequence", contact)
    if not progress.has_value("ProcedureStepCancellationDateTime"):
        progress.put("ProcedureStepCancellationDateTime", _moment(now))
    if not progress.has_value(_REASONS[1]):
        code = DataSet().put("CodeValue", "110513").put("CodingSchemeDesignator", "DCM")
        progress.put(_REASONS[1], code.put("CodeMeaning", "Discontinued for unspecified reason"))
    return DataSet(attributes).put(_PROGRESS, progress)


def _picked(attributes: DataSet, names: Sequence[Tag]) -> DataSet:
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
