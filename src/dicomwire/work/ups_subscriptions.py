"""Subscriptions to Unified Procedure Steps: to one, to all, to those that match (PS3.4 CC.2.3).

A Deletion Lock keeps a workitem that has ended until it is given back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from dicomwire.archive.matching import Condition
from dicomwire.archive.query import Match
from dicomwire.dicom.data_set import DataSet, from_json
from dicomwire.errors import QueryError
from dicomwire.work import ups_events
from dicomwire.work.matching import query_of, search
from dicomwire.work.refusal import Reason, Refused
from dicomwire.work.store import Store, Transaction
from dicomwire.work.ups_events import Event, Receiver
from dicomwire.work.ups_rules import WORDS, Policy, Warned
from dicomwire.work.workitem import FILTERED, GLOBAL, SELECT, Workitem, find, selection, workitem_of

_AT_ONCE: Final = 200  # workitems of one change, about 25 ms


def possible(policy: Policy) -> None:
    """Refuse what has to do with subscriptions where a site has no events. Raises: Refused, UPS_NO_EVENTS."""
    if not policy.events:
        raise Refused(Reason.UPS_NO_EVENTS, WORDS[Reason.UPS_NO_EVENTS])


async def subscribe(
    store: Store,
    sop_instance_uid: str,
    receiver: Receiver,
    keys: str,
    *,
    now: float,
    deletion_locks: bool = True,
) -> Warned | None:
    """Subscribe an AE to a workitem, or by the well-known instances to all or to those that match.

    Those that are there already are subscribed to some at a time, so that nobody waits for all of them. Who
    is not answered, for there was a crash, asks again and gets the rest.

    keys: DICOM JSON object of a filter, for the filtered subscription alone.
    deletion_locks: grant them.
    Returns: a remark, where no Deletion Lock is granted.
    Raises: Refused: UPS_UNKNOWN, INVALID_ARGUMENT for a filter that is no query.
    """
    warned = None
    if receiver.locked and not deletion_locks:
        receiver, warned = replace(receiver, locked=False), Warned.LOCK_NOT_GRANTED
    if sop_instance_uid not in (GLOBAL, FILTERED):
        await store.change(lambda change: to_one(change, sop_instance_uid, receiver, now=now))
        return warned
    filtered = keys if sop_instance_uid == FILTERED else ""
    there = await store.change(lambda change: to_all(change, receiver, filtered))
    for at in range(0, len(there), _AT_ONCE):
        some = there[at : at + _AT_ONCE]
        await store.change(lambda change, some=some: include(change, some, receiver, now=now))  # type: ignore[misc]
    return warned


def to_one(transaction: Transaction, sop_instance_uid: str, receiver: Receiver, *, now: float) -> None:
    """Subscribe an AE to a workitem. Raises: Refused, UPS_UNKNOWN."""
    _subscribe(transaction, find(transaction, sop_instance_uid), receiver, now)


def to_all(transaction: Transaction, receiver: Receiver, keys: str) -> list[int]:
    """Subscribe an AE to what comes; ids of what is there already and matches, for `include`.

    Raises: Refused, INVALID_ARGUMENT, for a filter that is no query.
    """
    matching = _matching(transaction, keys, None)
    transaction.rows("DELETE FROM worklist_subscriber WHERE ae_title = ?", (receiver.ae_title,))
    transaction.rows(
        "INSERT INTO worklist_subscriber VALUES (?, ?, ?, ?)",
        (receiver.ae_title, receiver.door, int(receiver.locked), keys),
    )
    return matching


def include(transaction: Transaction, ids: Sequence[int], receiver: Receiver, *, now: float) -> None:
    """Subscribe an AE to workitems that it is not subscribed to, unless it has unsubscribed meanwhile."""
    if not transaction.row("SELECT 1 FROM worklist_subscriber WHERE ae_title = ?", (receiver.ae_title,)):
        return
    for number in ids:
        rows = transaction.rows(
            f"{SELECT} WHERE id = ? AND NOT EXISTS"
            " (SELECT 1 FROM workitem_subscriber AS of WHERE of.workitem = id AND of.ae_title = ?)",
            (number, receiver.ae_title),
        )
        for row in rows:  # else "No UPS state change" (Table CC.2.3-2)
            _subscribe(transaction, workitem_of(row), receiver, now)


def unsubscribe(transaction: Transaction, sop_instance_uid: str, ae_title: str) -> bool:
    """End a subscription, and its Deletion Lock; whether there was one. Raises: Refused, UPS_UNKNOWN."""
    if sop_instance_uid in (GLOBAL, FILTERED):
        gone = transaction.count("DELETE FROM worklist_subscriber WHERE ae_title = ?", (ae_title,))
        gone += transaction.count("DELETE FROM workitem_subscriber WHERE ae_title = ?", (ae_title,))
        return gone > 0
    number = find(transaction, sop_instance_uid).id
    sql = "DELETE FROM workitem_subscriber WHERE workitem = ? AND ae_title = ?"
    return transaction.count(sql, (number, ae_title)) > 0


def suspend(transaction: Transaction, sop_instance_uid: str, ae_title: str) -> bool:
    """Subscribe an AE to no more workitems that come; those it has stay. Whether it was subscribed.

    Raises: Refused, UPS_NOT_APPROPRIATE, for an instance that is no subscription to all.
    """
    if sop_instance_uid not in (GLOBAL, FILTERED):
        raise Refused(Reason.UPS_NOT_APPROPRIATE, WORDS[Reason.UPS_NOT_APPROPRIATE])
    return transaction.count("DELETE FROM worklist_subscriber WHERE ae_title = ?", (ae_title,)) > 0


def has_subscriber(transaction: Transaction, workitem: Workitem) -> bool:
    """Whether somebody hears of a workitem."""
    return transaction.row("SELECT 1 FROM workitem_subscriber WHERE workitem = ?", (workitem.id,)) is not None


def created(transaction: Transaction, workitem: Workitem, *, now: float) -> None:
    """Subscribe to a new workitem all who want to hear of such, and tell them."""
    for ae_title, door, locked, keys in transaction.rows("SELECT * FROM worklist_subscriber"):
        if not keys or _matching(transaction, str(keys), workitem.id):
            receiver = Receiver(str(ae_title), str(door), bool(locked))
            _subscribe(transaction, workitem, receiver, now)


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


def _subscribe(transaction: Transaction, workitem: Workitem, receiver: Receiver, now: float) -> None:
    """Subscribe an AE to one workitem, and send it the initial event."""
    transaction.rows(
        "INSERT OR REPLACE INTO workitem_subscriber VALUES (?, ?, ?, ?)",
        (receiver.ae_title, workitem.id, receiver.door, int(receiver.locked)),
    )
    state = ups_events.state_of(workitem)
    ups_events.tell(transaction, receiver, workitem.sop_instance_uid, Event.STATE, state, now=now)


def _matching(transaction: Transaction, keys: str, number: int | None) -> list[int]:
    """Ids of the workitems that a filter finds; number: among this one alone."""
    matches = filter_of(from_json(keys)) if keys else []
    also = None if number is None else Condition("workitem.id = ?", (number,))
    query = query_of(matches)
    try:
        return search(transaction, selection(query, also), query)
    except QueryError as error:
        raise Refused(Reason.INVALID_ARGUMENT, str(error)[:64]) from None
