"""Workitems: the state table, subscriptions, events, attributes, one row a rule (PS3.4 CC)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine, Iterator
from pathlib import Path

import pytest

from dicomwire.archive.query import Match
from dicomwire.dicom.data_set import DataSet, from_json
from dicomwire.work import ups, ups_events, ups_subscriptions
from dicomwire.work import workitem as workitems
from dicomwire.work.matching import path_of, query_of, search
from dicomwire.work.refusal import Reason, Refused
from dicomwire.work.store import Store, Transaction, open_store
from dicomwire.work.ups_events import Receiver
from dicomwire.work.ups_rules import Warned
from dicomwire.work.workitem import FILTERED, GLOBAL, find
from tests.work.steps import without
from tests.work.workitems import TRANSACTION, code, performed, state, workitem

UID = "1.2.3.4"
OTHER = "1.2.3.98"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = open_store(tmp_path)
    yield store
    store.close()


def reach(change: Transaction, wanted: str) -> None:
    """Bring a workitem into a state."""
    if wanted == "null":
        return
    ups.create(change, UID, workitem(), now=1.0)
    if wanted == "SCHEDULED":
        return
    ups.change_state(change, UID, "IN PROGRESS", TRANSACTION, now=2.0)
    if wanted == "IN PROGRESS":
        return
    ups.update(change, UID, performed(), TRANSACTION, now=3.0)
    ups.change_state(change, UID, wanted, TRANSACTION, now=4.0)


def ask(change: Transaction, request: str) -> ups.Changed:
    verb, _, rest = request.partition(" ")
    if verb == "create":
        return ups.create(change, UID, workitem(), now=9.0)
    if verb == "cancel":
        return ups.request_cancel(change, UID, DataSet(), "ASKER", now=9.0)
    if verb == "set":
        label = DataSet().put("ProcedureStepLabel", "Other")
        return ups.update(change, UID, label, {"right": TRANSACTION, "wrong": OTHER, "": ""}[rest], now=9.0)
    wanted, _, which = rest.rpartition(" ")
    if verb == "complete":
        ups.update(change, UID, performed(), TRANSACTION, now=8.0)
    return ups.change_state(change, UID, wanted, TRANSACTION if which == "right" else OTHER, now=9.0)


STATES = ("null", "SCHEDULED", "IN PROGRESS", "COMPLETED", "CANCELED")
D, R, W = Reason.DUPLICATE_INSTANCE, Reason, Warned
N = R.UPS_UNKNOWN
TABLE: dict[str, tuple[object, object, object, object, object]] = {
    "create": ("SCHEDULED", D, D, D, D),
    "to IN PROGRESS right": (N, "IN PROGRESS", R.UPS_IN_PROGRESS, R.UPS_FINAL, R.UPS_FINAL),
    "to IN PROGRESS wrong": (N, "IN PROGRESS", R.UPS_TRANSACTION, R.UPS_TRANSACTION, R.UPS_TRANSACTION),
    "to SCHEDULED right": (N, *(R.UPS_ONLY_CREATED,) * 4),
    "to COMPLETED right": (N, R.UPS_NOT_IN_PROGRESS, R.UPS_NOT_MET, W.ALREADY_COMPLETED, R.UPS_FINAL),
    "complete COMPLETED right": (N, None, "COMPLETED", None, None),
    "to COMPLETED wrong": (
        N, R.UPS_NOT_IN_PROGRESS, R.UPS_TRANSACTION, R.UPS_TRANSACTION, R.UPS_TRANSACTION,
    ),
    "cancel": (N, "CANCELED", "IN PROGRESS", R.UPS_COMPLETED, W.ALREADY_CANCELED),
    "to CANCELED right": (N, R.UPS_NOT_IN_PROGRESS, "CANCELED", R.UPS_FINAL, W.ALREADY_CANCELED),
    "to CANCELED wrong": (
        N, R.UPS_NOT_IN_PROGRESS, R.UPS_TRANSACTION, R.UPS_TRANSACTION, R.UPS_TRANSACTION,
    ),
    "set right": (N, R.UPS_NOT_IN_PROGRESS, "IN PROGRESS", R.UPS_FINAL, R.UPS_FINAL),
    "set wrong": (N, R.UPS_NOT_IN_PROGRESS, R.UPS_TRANSACTION, R.UPS_FINAL, R.UPS_FINAL),
    "set ": (N, "SCHEDULED", R.UPS_TRANSACTION, R.UPS_FINAL, R.UPS_FINAL),
}  # fmt: skip
CASES = [
    (request, before, outcome)
    for request, outcomes in TABLE.items()
    for before, outcome in zip(STATES, outcomes, strict=True)
    if outcome is not None
]


@pytest.mark.parametrize(("request_", "before", "outcome"), CASES)
def test_the_state_table(store: Store, request_: str, before: str, outcome: object) -> None:
    store.apply(lambda change: reach(change, before))
    kept = store.rows("SELECT state, transaction_uid, attributes FROM workitem")
    if isinstance(outcome, Reason):
        with pytest.raises(Refused) as refused:
            store.apply(lambda change: ask(change, request_))
        assert refused.value.reason is outcome
        assert len(refused.value.words) <= 64
        assert store.rows("SELECT state, transaction_uid, attributes FROM workitem") == kept
        return
    changed = store.apply(lambda change: ask(change, request_))
    assert changed.warned is (outcome if isinstance(outcome, Warned) else None)
    found = find(store, UID)
    assert found.state.value == (before if isinstance(outcome, Warned) else outcome)
    assert found.attributes.text("ProcedureStepState") == found.state.value
    assert not found.attributes.has_value("TransactionUID")


REFUSED: dict[str, tuple[DataSet, Reason]] = {
    "no label": (without(workitem(), "ProcedureStepLabel"), Reason.MISSING_ATTRIBUTE),
    "an empty priority": (workitem().put("ScheduledProcedureStepPriority"), Reason.MISSING_VALUE),
    "a state that is no beginning": (workitem(ProcedureStepState="COMPLETED"), Reason.UPS_NOT_SCHEDULED),
    "a Transaction UID": (workitem(TransactionUID=TRANSACTION), Reason.INVALID_VALUE),
}


@pytest.mark.parametrize("case", REFUSED)
def test_workitems_that_cannot_be_created(store: Store, case: str) -> None:
    attributes, reason = REFUSED[case]
    with pytest.raises(Refused) as refused:
        store.apply(lambda change: ups.create(change, UID, attributes, now=1.0))
    assert refused.value.reason is reason
    assert store.rows("SELECT 1 FROM workitem") == []


NOT_SET: dict[str, tuple[DataSet, Reason]] = {
    "the patient": (DataSet().put("PatientName", "Roe^R"), Reason.NO_SUCH_ATTRIBUTE),
    "the state": (DataSet().put("ProcedureStepState", "COMPLETED"), Reason.NO_SUCH_ATTRIBUTE),
    "the UID": (DataSet().put("SOPInstanceUID", "1.9"), Reason.NO_SUCH_ATTRIBUTE),
    "no value": (DataSet().put("ProcedureStepLabel"), Reason.MISSING_VALUE),
}


@pytest.mark.parametrize("case", NOT_SET)
def test_attributes_that_cannot_be_set(store: Store, case: str) -> None:
    store.apply(lambda change: reach(change, "SCHEDULED"))
    changes, reason = NOT_SET[case]
    with pytest.raises(Refused) as refused:
        store.apply(lambda change: ups.update(change, UID, changes, "", now=2.0))
    assert refused.value.reason is reason


# Subscriptions

LOCKED, FREE = Receiver("AE1", "web", locked=True), Receiver("AE1", "web")


def subscribed(store: Store) -> dict[str, bool]:
    rows = store.rows(
        "SELECT sop_instance_uid, locked FROM workitem_subscriber JOIN workitem ON id = workitem ORDER BY 1"
    )
    return {str(uid): bool(locked) for uid, locked in rows}


def events(store: Store, ae_title: str = "AE1") -> list[tuple[str, int]]:
    told = [json.loads(content) for _, content in ups_events.waiting(store, ae_title, 0)]
    return [(each["00001000"]["Value"][0], each["00001002"]["Value"][0]) for each in told]


def subscribe(store: Store, uid: str, receiver: Receiver, keys: str = "") -> None:
    asyncio.run(answered(store, ups_subscriptions.subscribe(store, uid, receiver, keys, now=5.0)))


async def answered(store: Store, change: Coroutine[None, None, Warned | None]) -> Warned | None:
    """What a change of several steps comes to, in this loop."""
    store.start(asyncio.get_running_loop())
    return await change


def create(store: Store, uid: str, **values: str) -> None:
    store.apply(lambda change: ups.create(change, uid, workitem(**values), now=1.0))


def test_a_global_subscription_is_to_what_is_there_and_what_comes(store: Store) -> None:
    create(store, "1.1")
    subscribe(store, GLOBAL, LOCKED)
    create(store, "1.2")
    assert subscribed(store) == {"1.1": True, "1.2": True}
    assert events(store) == [("1.1", 1), ("1.2", 1)]
    subscribe(store, GLOBAL, FREE)  # "No UPS state change"
    create(store, "1.3")
    assert subscribed(store) == {"1.1": True, "1.2": True, "1.3": False}
    store.apply(lambda change: ups_subscriptions.suspend(change, GLOBAL, "AE1"))
    create(store, "1.4")
    assert "1.4" not in subscribed(store)
    assert len(subscribed(store)) == 3
    assert store.apply(lambda change: ups_subscriptions.unsubscribe(change, GLOBAL, "AE1"))
    assert subscribed(store) == {}
    assert not store.apply(lambda change: ups_subscriptions.unsubscribe(change, GLOBAL, "AE1"))


def test_who_unsubscribes_meanwhile_gets_no_more(store: Store) -> None:
    create(store, "1.1")
    create(store, "1.2")
    first, second = store.apply(lambda change: ups_subscriptions.to_all(change, FREE, ""))
    store.apply(lambda change: ups_subscriptions.include(change, [first], FREE, now=2.0))
    assert subscribed(store) == {"1.1": False}
    store.apply(lambda change: ups_subscriptions.unsubscribe(change, GLOBAL, "AE1"))
    store.apply(lambda change: ups_subscriptions.include(change, [first, second], FREE, now=2.0))
    assert subscribed(store) == {}


def test_a_subscription_is_to_more_than_one_change_can_take(store: Store) -> None:
    def many(change: Transaction) -> None:
        for number in range(450):
            ups.create(change, f"1.3.{number}", workitem(), now=1.0)

    store.apply(many)
    subscribe(store, GLOBAL, LOCKED)
    subscribe(store, GLOBAL, LOCKED)
    assert len(subscribed(store)) == 450
    assert store.rows("SELECT count(*) FROM workitem_event") == [(450,)]


def test_a_filtered_subscription_is_to_what_matches(store: Store) -> None:
    create(store, "1.1")
    create(store, "1.2", WorklistLabel="HEAD")
    subscribe(store, FILTERED, FREE, '{"00741202":{"vr":"LO","Value":["HE*"]}}')
    create(store, "1.3", WorklistLabel="HEEL")
    create(store, "1.4", WorklistLabel="FOOT")
    assert list(subscribed(store)) == ["1.2", "1.3"]


def test_a_single_subscription_changes_its_lock_and_reports_again(store: Store) -> None:
    create(store, "1.1")
    for receiver in (FREE, LOCKED, FREE):
        subscribe(store, "1.1", receiver)
        assert subscribed(store) == {"1.1": receiver.locked}
    assert events(store) == [("1.1", 1)] * 3
    with pytest.raises(Refused):
        subscribe(store, "1.9", FREE)
    with pytest.raises(Refused):
        store.apply(lambda change: ups_subscriptions.suspend(change, "1.1", "AE1"))


def test_what_happens_to_a_workitem_is_reported(store: Store) -> None:
    subscribe(store, GLOBAL, FREE)
    create(store, UID)
    progress = DataSet().put("ProcedureStepProgress", "50")
    assigned = DataSet().put("ScheduledStationNameCodeSequence", code())

    def work(change: Transaction) -> None:
        ups.update(change, UID, assigned, "", now=2.0)
        ups.change_state(change, UID, "IN PROGRESS", TRANSACTION, now=2.0)
        told = DataSet().put("ProcedureStepProgressInformationSequence", progress)
        ups.update(change, UID, told, TRANSACTION, now=2.0)
        reason = DataSet().put("ReasonForCancellation", "moved")
        ups.request_cancel(change, UID, reason, "ASKER", now=2.0)
        ups.change_state(change, UID, "CANCELED", TRANSACTION, now=2.0)

    store.apply(work)
    assert [event for _, event in events(store)] == [1, 5, 1, 3, 2, 1]
    last = from_json(ups_events.waiting(store, "AE1", 0)[-1][1])
    assert last.text("ProcedureStepState") == "CANCELED"
    asked = from_json(ups_events.waiting(store, "AE1", 0)[-2][1])
    assert (asked.text("RequestingAE"), asked.text("ReasonForCancellation")) == ("ASKER", "moved")


def test_events_over_dimse_are_jobs_in_order(store: Store) -> None:
    subscribe(store, GLOBAL, Receiver("PEER", "dimse"))
    create(store, UID)
    store.apply(lambda change: ups.request_cancel(change, UID, DataSet(), "ASKER", now=2.0))
    rows = store.rows("SELECT payload, lane FROM job WHERE destination = 'PEER' ORDER BY id")
    states = [
        from_json(json.loads(str(payload))["attributes"]).text("ProcedureStepState") for payload, _ in rows
    ]
    assert states == ["SCHEDULED", "IN PROGRESS", "CANCELED"]
    assert {lane for _, lane in rows} == {UID}


def test_a_lock_keeps_what_has_ended(store: Store) -> None:
    create(store, "1.1")
    create(store, "1.2")
    subscribe(store, "1.1", LOCKED)
    subscribe(store, "1.2", FREE)
    for uid in ("1.1", "1.2"):
        store.apply(lambda change, uid=uid: ups.request_cancel(change, uid, DataSet(), "A", now=2.0))
    assert store.apply(lambda change: ups.prune(change, 3.0, 4.0)) == 1
    assert find(store, "1.1").state.value == "CANCELED"
    store.apply(lambda change: ups_subscriptions.unsubscribe(change, "1.1", "AE1"))
    assert store.apply(lambda change: ups.prune(change, 3.0, 4.0)) == 1


def test_keys_find_workitems(store: Store) -> None:
    create(store, "1.1")
    create(store, "1.2", WorklistLabel="HEAD", PatientName="Müller^A")

    def found(**keys: str) -> list[int]:
        query = query_of([Match(path_of(*name.split("__")), value) for name, value in keys.items()])
        return search(store, workitems.selection(query), query)

    assert found() == [1, 2]
    assert found(WorklistLabel="HEAD") == [2]
    assert found(PatientName="MULLER*") == [2]
    assert found(ProcedureStepState="SCHEDULED", PatientID="P1") == [1, 2]
    assert found(ScheduledProcedureStepStartDateTime="20260101-") == [1, 2]
    assert found(ScheduledWorkitemCodeSequence__CodeValue="T1") == [1, 2]
    assert found(ScheduledWorkitemCodeSequence__CodeValue="T2") == []
    assert state("IN PROGRESS").text("TransactionUID") == TRANSACTION
