"""Storage commitments, asked of us and asked for by us: transactions and their results (PS3.4 J, PS3.3 C.14).

A transaction asked of us is kept with the job that reports it, until it is reported. What is committed is
decided when the report is made, by who knows the archive. One asked for by us is over when all its instances
are in reports.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, NamedTuple

from dicomwire.archive.archive import Archive
from dicomwire.dicom.data_set import DataSet, tag_of
from dicomwire.errors import ArchiveError
from dicomwire.uids import SOP_CLASSES, is_valid_uid
from dicomwire.work import jobs, routes
from dicomwire.work.attributes import Rule, checked
from dicomwire.work.refusal import Reason, Refused
from dicomwire.work.store import Transaction

TOPIC: Final = "commitment"
"""Notified when a transaction has changed."""

ASK: Final = "commitment-request"
"""Kind of the jobs that ask a peer to commit itself to what it was sent."""

CHECK: Final = "commitment-check"
"""Kind of the jobs that look whether a report on a request of ours has come."""

REPORT: Final = "commitment-report"
"""Kind of the jobs that report the result of a transaction."""

PATIENCE: Final = 3600.0  # seconds that a peer has for its report, since it was asked last
AGAIN: Final = 60.0  # seconds until what a peer is not committed to is sent again

TRANSACTION_UID: Final = tag_of("TransactionUID")
_REFERENCE: Final = (Rule("ReferencedSOPClassUID", "1"), Rule("ReferencedSOPInstanceUID", "1"))
REQUEST: Final = (Rule("TransactionUID", "1"), Rule("ReferencedSOPSequence", "1", _REFERENCE))
RESULT: Final = (
    Rule("TransactionUID", "1"),
    Rule("ReferencedSOPSequence", "3", _REFERENCE),
    Rule("FailedSOPSequence", "3", (*_REFERENCE, Rule("FailureReason", "1"))),
)


class FailureReason(IntEnum):
    """Values of Failure Reason (0008,1197) (PS3.3 C.14.1.1)."""

    PROCESSING_FAILURE = 0x0110
    NO_SUCH_OBJECT_INSTANCE = 0x0112
    CLASS_INSTANCE_CONFLICT = 0x0119
    REFERENCED_SOP_CLASS_NOT_SUPPORTED = 0x0122
    DUPLICATE_TRANSACTION_UID = 0x0131
    RESOURCE_LIMITATION = 0x0213


FAILURE_WORDS: Final = {
    FailureReason.PROCESSING_FAILURE: "processing failure",
    FailureReason.NO_SUCH_OBJECT_INSTANCE: "no such object instance",
    FailureReason.CLASS_INSTANCE_CONFLICT: "class/instance conflict",
    FailureReason.REFERENCED_SOP_CLASS_NOT_SUPPORTED: "referenced SOP class not supported",
    FailureReason.DUPLICATE_TRANSACTION_UID: "duplicate transaction UID",
    FailureReason.RESOURCE_LIMITATION: "resource limitation",
}


class Reference(NamedTuple):
    """One instance of a transaction."""

    sop_class_uid: str
    sop_instance_uid: str


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a transaction's instances."""

    transaction_uid: str
    committed: tuple[Reference, ...]
    failed: tuple[tuple[Reference, int], ...]

    @property
    def complete(self) -> bool:
        """Every instance is committed."""
        return not self.failed


@dataclass(frozen=True, slots=True)
class Asked:
    """A transaction that a peer asked of us.

    Attributes:
        ae_title: of the peer, where the report goes.
        called_ae_title: ours, under which it asked.
    """

    transaction_uid: str
    ae_title: str
    called_ae_title: str
    references: tuple[Reference, ...]


def asked(attributes: DataSet) -> tuple[str, tuple[Reference, ...]]:
    """Transaction UID and instances of an N-ACTION's data set.

    Raises: Refused: MISSING_ATTRIBUTE, MISSING_VALUE, or INVALID_VALUE for UIDs that are none.
    """
    complete = checked(attributes, REQUEST)
    uid = complete.text(TRANSACTION_UID)
    if not is_valid_uid(uid):
        raise Refused(Reason.INVALID_VALUE, "Transaction UID is no UID", (TRANSACTION_UID,))
    return uid, _references(complete, "ReferencedSOPSequence")


def accept(transaction: Transaction, request: Asked, *, now: float) -> None:
    """Keep a transaction and write the job that reports it.

    The same request again, from the same peer, is reported again.
    Raises: Refused, DUPLICATE_TRANSACTION, when its UID is in use for something else.
    """
    uid, content = request.transaction_uid, json.dumps(request.references)
    row = transaction.row(
        "SELECT ae_title, content FROM commitment WHERE role = 'scp' AND transaction_uid = ?", (uid,)
    )
    if row is None:
        transaction.rows(
            "INSERT INTO commitment VALUES ('scp', ?, ?, ?, 'asked', '', ?, ?)",
            (uid, request.ae_title, content, now, now),
        )
    elif row != (request.ae_title, content):
        raise Refused(Reason.DUPLICATE_TRANSACTION, "Transaction UID is in use for other instances")
    payload = json.dumps({"transaction": uid, "called": request.called_ae_title})
    jobs.add(transaction, REPORT, request.ae_title, payload, now=now, name=f"{REPORT} {uid}")
    transaction.notify(TOPIC)


def find(transaction: Transaction, uid: str, called_ae_title: str = "") -> Asked | None:
    """A transaction that was asked of us."""
    row = transaction.row(
        "SELECT ae_title, content FROM commitment WHERE role = 'scp' AND transaction_uid = ?", (uid,)
    )
    if row is None:
        return None
    references = tuple(Reference(*pair) for pair in json.loads(str(row[1])))
    return Asked(uid, str(row[0]), called_ae_title, references)


def reported(transaction: Transaction, result: Result, *, now: float) -> None:
    """The peer has taken the report."""
    state = "committed" if result.complete else "failed"
    transaction.count(
        "UPDATE commitment SET state = ?, result = ?, changed = ? WHERE role = 'scp' AND transaction_uid = ?",
        (state, json.dumps(result.failed), now, result.transaction_uid),
    )
    transaction.notify(TOPIC)


def report(result: Result, retrieve_ae_title: str = "") -> DataSet:
    """The data set of an N-EVENT-REPORT (PS3.4 Table J.3-2)."""
    data_set = DataSet().put(TRANSACTION_UID, result.transaction_uid)
    if retrieve_ae_title and result.committed:
        data_set.put("RetrieveAETitle", retrieve_ae_title)
    if result.committed:
        data_set.put("ReferencedSOPSequence", *(_item(reference) for reference in result.committed))
    if result.failed:
        items = (_item(reference).put("FailureReason", reason) for reference, reason in result.failed)
        data_set.put("FailedSOPSequence", *items)
    return data_set


def request(transaction_uid: str, references: Iterable[Reference]) -> DataSet:
    """The data set of an N-ACTION (PS3.4 Table J.3-1)."""
    items = (_item(reference) for reference in references)
    return DataSet().put(TRANSACTION_UID, transaction_uid).put("ReferencedSOPSequence", *items)


def read_report(attributes: DataSet) -> Result:
    """What a report says.

    Raises: Refused: MISSING_ATTRIBUTE, MISSING_VALUE.
    """
    complete = checked(attributes, RESULT)
    failed = []
    for item in complete.sequence("FailedSOPSequence"):
        reference = Reference(item.text("ReferencedSOPClassUID"), item.text("ReferencedSOPInstanceUID"))
        reason = item.values_of("FailureReason")[0]
        if not isinstance(reason, int):
            raise Refused(Reason.INVALID_VALUE, "Failure Reason is no number", (tag_of("FailureReason"),))
        failed.append((reference, reason))
    committed = _references(complete, "ReferencedSOPSequence")
    return Result(complete.text(TRANSACTION_UID), committed, tuple(failed))


# Asked of us over the web: judged at once, and kept to be asked for again


def keep(
    transaction: Transaction, uid: str, client: str, content: str, *, complete: bool, now: float
) -> None:
    """Keep what a transaction was answered.

    Raises: Refused, DUPLICATE_TRANSACTION, when its UID has been used before.
    """
    if answered(transaction, uid) is not None:
        raise Refused(Reason.DUPLICATE_TRANSACTION, "Transaction UID is in use")
    state = "committed" if complete else "failed"
    transaction.rows(
        "INSERT INTO commitment VALUES ('web', ?, ?, '', ?, ?, ?, ?)", (uid, client, state, content, now, now)
    )
    transaction.notify(TOPIC)


def answered(transaction: Transaction, uid: str) -> str | None:
    """What `keep` was given for a transaction; None for one that is not known."""
    row = transaction.row("SELECT result FROM commitment WHERE role = 'web' AND transaction_uid = ?", (uid,))
    return None if row is None else str(row[0])


def judge(archive: Archive, transaction_uid: str, references: Iterable[Reference]) -> Result:
    """Which instances an archive holds for good, and why not the others; blocking."""
    committed, failed = list[Reference](), list[tuple[Reference, int]]()
    for reference in references:
        reason = _failure(archive, reference)
        if reason is None:
            committed.append(reference)
        else:
            failed.append((reference, reason))
    return Result(transaction_uid, tuple(committed), tuple(failed))


def _failure(archive: Archive, reference: Reference) -> FailureReason | None:
    """Why an instance is not committed: what the catalogue has is durable, if its bytes are there."""
    versions = archive.plan(instance=reference.sop_instance_uid)
    if not versions:
        known = SOP_CLASSES.get(reference.sop_class_uid)
        if known is not None and not known.storage:
            return FailureReason.REFERENCED_SOP_CLASS_NOT_SUPPORTED
        return FailureReason.NO_SUCH_OBJECT_INSTANCE
    held = [stored for stored in versions if stored.sop_class_uid == reference.sop_class_uid]
    if not held:
        return FailureReason.CLASS_INSTANCE_CONFLICT
    try:
        with archive.open_stored(held[0]):
            return None
    except (ArchiveError, OSError, ValueError):
        return FailureReason.PROCESSING_FAILURE


# Asked for by us


class Sent(NamedTuple):
    """An instance that a peer has taken, and is to commit itself to.

    Attributes:
        record_id: in the archive.
        rounds: how often it may still be asked for.
    """

    sop_class_uid: str
    sop_instance_uid: str
    record_id: int
    rounds: int


def expect(transaction: Transaction, uid: str, ae_title: str, sent: Sequence[Sent], *, now: float) -> None:
    """Keep a transaction that we are about to ask a peer for; once more is the same."""
    transaction.rows(
        "INSERT OR IGNORE INTO commitment VALUES ('scu', ?, ?, ?, 'asked', '', ?, ?)",
        (uid, ae_title, json.dumps(sent), now, now),
    )
    payload = json.dumps({"transaction": uid})
    jobs.add(transaction, CHECK, "", payload, now=now, due=now + PATIENCE, name=f"{CHECK} {uid}")


def check(transaction: Transaction, uid: str, *, now: float) -> bool:
    """Take a transaction of ours for failed if no report on it has come yet; whether it had come."""
    row = transaction.row("SELECT state FROM commitment WHERE role = 'scu' AND transaction_uid = ?", (uid,))
    if row is None or row[0] != "asked":
        return True
    settle(transaction, Result(uid, (), ()), now=now)
    return False


def settle(transaction: Transaction, result: Result, *, now: float) -> None:
    """Take a report on a transaction of ours; once more is the same. What is not committed is sent again.

    Raises: Refused, INVALID_ARGUMENT, for a transaction that we know nothing of.
    """
    uid = result.transaction_uid
    row = transaction.row(
        "SELECT ae_title, content, state FROM commitment WHERE role = 'scu' AND transaction_uid = ?", (uid,)
    )
    if row is None:
        raise Refused(Reason.INVALID_ARGUMENT, "Unknown Transaction UID", (TRANSACTION_UID,))
    if row[2] != "asked":
        return
    sent = [Sent(*item) for item in json.loads(str(row[1]))]
    committed = {reference.sop_instance_uid for reference in result.committed}
    reasons = {reference.sop_instance_uid: reason for reference, reason in result.failed}
    failed = [each for each in sent if each.sop_instance_uid not in committed]
    told = [
        (each.sop_instance_uid, reasons.get(each.sop_instance_uid, FailureReason.PROCESSING_FAILURE))
        for each in failed
    ]
    transaction.count(
        "UPDATE commitment SET state = ?, result = ?, changed = ? WHERE role = 'scu' AND transaction_uid = ?",
        ("failed" if failed else "committed", json.dumps(told), now, uid),
    )
    for each in failed:
        if each.rounds > 1:
            destination, rounds = str(row[0]), each.rounds - 1
            routes.send(transaction, each.record_id, destination, now=now, due=now + AGAIN, rounds=rounds)
    transaction.notify(TOPIC)


def prune(transaction: Transaction, before: float) -> int:
    """Forget transactions that were over before a time; how many."""
    return transaction.count("DELETE FROM commitment WHERE state <> 'asked' AND changed < ?", (before,))


def _references(data_set: DataSet, keyword: str) -> tuple[Reference, ...]:
    return tuple(
        Reference(item.text("ReferencedSOPClassUID"), item.text("ReferencedSOPInstanceUID"))
        for item in data_set.sequence(keyword)
    )


def _item(reference: Reference) -> DataSet:
    item = DataSet().put("ReferencedSOPClassUID", reference.sop_class_uid)
    return item.put("ReferencedSOPInstanceUID", reference.sop_instance_uid)
