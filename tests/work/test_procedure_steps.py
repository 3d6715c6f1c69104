"""Procedure steps: every attribute, state and consequence of PS3.4 F.7."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dicomwire.dicom.data_set import DataSet, from_json, tag_of
from dicomwire.work import jobs, procedure_steps
from dicomwire.work.jobs import Selection
from dicomwire.work.procedure_steps import CREATE, FINAL, SET, Followers, Status, Step
from dicomwire.work.refusal import Reason, Refused
from dicomwire.work.store import Store, open_store
from tests.work.steps import SERIES, STUDY, beginning, end, series, without

UID = "1.2.3"
NOBODY = Followers()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = open_store(tmp_path)
    yield store
    store.close()


def create(store: Store, attributes: DataSet, uid: str = UID, followers: Followers = NOBODY) -> Step:
    return store.apply(lambda change: procedure_steps.create(change, uid, attributes, followers, now=1.0))


def update(store: Store, changes: DataSet, uid: str = UID, followers: Followers = NOBODY) -> Step:
    return store.apply(lambda change: procedure_steps.update(change, uid, changes, followers, now=2.0))


def find(store: Store, uid: str = UID) -> Step:
    return store.apply(lambda change: procedure_steps.find(change, uid))


def refused(call: Callable[[], object]) -> Refused:
    with pytest.raises(Refused) as info:
        call()
    assert len(info.value.words) <= 64
    return info.value


def status(name: str) -> DataSet:
    return DataSet().put("PerformedProcedureStepStatus", name)


# PS3.4 F.7: what a request leads to in each state; None for no step. A reason is a refusal.
OUTCOMES = {
    ("create", None): Status.IN_PROGRESS,
    ("create", "IN PROGRESS"): Reason.DUPLICATE_INSTANCE,
    ("create", "COMPLETED"): Reason.DUPLICATE_INSTANCE,
    ("create", "DISCONTINUED"): Reason.DUPLICATE_INSTANCE,
    ("update", None): Reason.NO_SUCH_INSTANCE,
    ("update", "IN PROGRESS"): Status.IN_PROGRESS,
    ("update", "COMPLETED"): Reason.FINAL_STATE,
    ("update", "DISCONTINUED"): Reason.FINAL_STATE,
    ("IN PROGRESS", None): Reason.NO_SUCH_INSTANCE,
    ("IN PROGRESS", "IN PROGRESS"): Status.IN_PROGRESS,
    ("IN PROGRESS", "COMPLETED"): Reason.FINAL_STATE,
    ("IN PROGRESS", "DISCONTINUED"): Reason.FINAL_STATE,
    ("COMPLETED", None): Reason.NO_SUCH_INSTANCE,
    ("COMPLETED", "IN PROGRESS"): Status.COMPLETED,
    ("COMPLETED", "COMPLETED"): Reason.FINAL_STATE,
    ("COMPLETED", "DISCONTINUED"): Reason.FINAL_STATE,
    ("DISCONTINUED", None): Reason.NO_SUCH_INSTANCE,
    ("DISCONTINUED", "IN PROGRESS"): Status.DISCONTINUED,
    ("DISCONTINUED", "COMPLETED"): Reason.FINAL_STATE,
    ("DISCONTINUED", "DISCONTINUED"): Reason.FINAL_STATE,
    ("nonsense", None): Reason.NO_SUCH_INSTANCE,
    ("nonsense", "IN PROGRESS"): Reason.INVALID_VALUE,
    ("nonsense", "COMPLETED"): Reason.FINAL_STATE,
    ("nonsense", "DISCONTINUED"): Reason.FINAL_STATE,
}
REQUESTS: dict[str, DataSet] = {
    "update": DataSet().put("CommentsOnThePerformedProcedureStep", "x"),
    "IN PROGRESS": status("IN PROGRESS"),
    "COMPLETED": end("COMPLETED"),
    "DISCONTINUED": end("DISCONTINUED"),
    "nonsense": status("DONE"),
}


@pytest.mark.parametrize(("request_name", "state"), OUTCOMES)
def test_every_request_in_every_state(store: Store, request_name: str, state: str | None) -> None:
    if state is not None:
        create(store, beginning())
    if state in ("COMPLETED", "DISCONTINUED"):
        update(store, end(state))
    before = store.rows("SELECT * FROM procedure_step")

    def call() -> Step:
        if request_name == "create":
            return create(store, beginning())
        return update(store, REQUESTS[request_name])

    outcome = OUTCOMES[request_name, state]
    if isinstance(outcome, Reason):
        assert refused(call).reason is outcome
        assert store.rows("SELECT * FROM procedure_step") == before
    else:
        assert call().status is find(store).status is outcome


@pytest.mark.parametrize("rule", [rule for rule in CREATE if rule.kind == "1"], ids=lambda rule: rule.keyword)
def test_a_step_needs_every_attribute_of_type_1(store: Store, rule: procedure_steps.Rule) -> None:
    missing = refused(lambda: create(store, without(beginning(), rule.keyword)))
    assert (missing.reason, missing.attributes) == (Reason.MISSING_ATTRIBUTE, (rule.tag,))
    empty = refused(lambda: create(store, beginning().put(rule.keyword)))
    assert (empty.reason, empty.attributes) == (Reason.MISSING_VALUE, (rule.tag,))
    assert store.rows("SELECT * FROM procedure_step") == []


def test_all_that_is_missing_is_named_at_once(store: Store) -> None:
    failure = refused(lambda: create(store, DataSet()))
    assert set(failure.attributes) == {rule.tag for rule in CREATE if rule.kind == "1"}
    assert "ScheduledStepAttributesSequence" in failure.words


def test_items_are_looked_into(store: Store) -> None:
    attributes = beginning().put("ScheduledStepAttributesSequence", DataSet().put("AccessionNumber", "A1"))
    failure = refused(lambda: create(store, attributes))
    assert failure.attributes == (tag_of("StudyInstanceUID"),)


def test_attributes_of_type_2_that_are_missing_are_there_without_a_value(store: Store) -> None:
    create(store, beginning())
    found = find(store).attributes
    assert all(rule.tag in found for rule in CREATE if rule.kind in ("1", "2"))
    assert found.text("PatientBirthDate") == ""


@pytest.mark.parametrize("state", ["COMPLETED", "DISCONTINUED", "DONE", ""])
def test_a_step_begins_in_progress(store: Store, state: str) -> None:
    failure = refused(lambda: create(store, beginning().put("PerformedProcedureStepStatus", state)))
    assert failure.reason in (Reason.INVALID_VALUE, Reason.MISSING_VALUE)
    assert failure.attributes == (tag_of("PerformedProcedureStepStatus"),)


@pytest.mark.parametrize("state", ["COMPLETED", "DISCONTINUED"])
@pytest.mark.parametrize(
    "keyword",
    ["PerformedProcedureStepEndDate", "PerformedProcedureStepEndTime", "PerformedSeriesSequence"],
)
def test_a_step_ends_only_with_all_that_its_final_state_needs(store: Store, keyword: str, state: str) -> None:
    create(store, beginning())
    failure = refused(lambda: update(store, without(end(state), keyword)))
    assert failure.attributes == (tag_of(keyword),)
    assert find(store).status is Status.IN_PROGRESS
    update(store, DataSet({tag_of(keyword): end()[tag_of(keyword)]}))
    assert update(store, without(end(state), keyword)).status is Status(state)


@pytest.mark.parametrize("keyword", ["ProtocolName", "SeriesInstanceUID"])
def test_a_series_needs_its_attributes_of_type_1(store: Store, keyword: str) -> None:
    create(store, beginning())
    changes = end().put("PerformedSeriesSequence", without(series(), keyword))
    assert refused(lambda: update(store, changes)).attributes == (tag_of(keyword),)


@pytest.mark.parametrize("rule", [rule for rule in SET if rule.kind == "-"], ids=lambda rule: rule.keyword)
def test_what_may_not_be_set_is_refused_unless_it_is_what_it_was(
    store: Store, rule: procedure_steps.Rule
) -> None:
    create(store, beginning())
    before = find(store).attributes
    other = DataSet().put(rule.keyword)
    if rule.keyword not in ("ScheduledStepAttributesSequence",):
        other = DataSet().put(rule.keyword, DataSet() if rule.keyword.endswith("Sequence") else "7")
    failure = refused(lambda: update(store, other))
    assert (failure.reason, failure.attributes) == (Reason.NO_SUCH_ATTRIBUTE, (rule.tag,))
    if rule.tag in before:
        update(store, DataSet({rule.tag: before[rule.tag]}))
    assert find(store).attributes == before


def test_an_update_replaces_what_it_names_and_keeps_the_rest(store: Store) -> None:
    create(store, beginning().put("PerformedProcedureStepDescription", "CT head"))
    step = update(store, DataSet().put("CommentsOnThePerformedProcedureStep", "moved"))
    assert step.attributes.text("PerformedProcedureStepDescription") == "CT head"
    assert find(store).attributes.text("CommentsOnThePerformedProcedureStep") == "moved"
    assert find(store).attributes.text("PatientName") == "Doe^Jane"
    assert (find(store).created, find(store).changed) == (1.0, 2.0)


def test_a_step_is_found_from_what_it_belongs_to(store: Store) -> None:
    create(store, beginning())
    update(store, end())

    def linked(kind: str, value: str) -> list[str]:
        return [
            step.sop_instance_uid
            for step in store.apply(lambda change: procedure_steps.linked(change, kind, value))
        ]

    found = {"study": STUDY, "accession": "A1", "step": "S1", "series": SERIES}
    assert {kind: linked(kind, value) for kind, value in found.items()} == {kind: [UID] for kind in found}
    assert linked("study", "1.9") == []


def test_messages_are_repeated_to_the_followers_in_order_and_only_when_taken(store: Store) -> None:
    followers = Followers(forward=("RIS", "OTHER"), notify=("WORKSTATION",))
    create(store, beginning(), followers=followers)
    refused(lambda: create(store, beginning(), followers=followers))
    update(store, end(), followers=followers)
    refused(lambda: update(store, end(), followers=followers))
    written = store.apply(lambda change: jobs.listed(change, Selection(), 100))
    written.sort(key=lambda job: job.id)
    assert {job.lane for job in written} == {UID}
    told = [(job.kind, job.destination, json.loads(job.payload)) for job in written]
    forwarded = [(to, content["message"]) for kind, to, content in told if kind == procedure_steps.FORWARD]
    assert forwarded == [("RIS", "create"), ("OTHER", "create"), ("RIS", "set"), ("OTHER", "set")]
    assert from_json(told[0][2]["attributes"]) == beginning()
    events = [
        content["event"]
        for kind, to, content in told
        if (kind, to) == (procedure_steps.NOTIFY, "WORKSTATION")
    ]
    assert events == [1, 2]


def test_the_table_is_the_standard_s() -> None:
    extract = Path(__file__).with_name("mpps_attributes.csv")
    for row in csv.DictReader(extract.read_text("utf-8").splitlines()):
        name = row["attribute"]
        if name.startswith(">") or name == "Specific Character Set":
            continue
        group, element = re.findall(r"[0-9A-F]{4}", row["tag"])
        tag = int(group + element, 16)
        rule = next(rule for rule in CREATE if rule.tag == tag)
        assert rule.kind == row["n_create_scu_scp"][0], name
        change = next(rule for rule in SET if rule.tag == tag)
        assert (change.kind == "-") == (row["n_set_scu_scp"].lower() == "not allowed"), name
        final = next(rule for rule in FINAL if rule.tag == tag)
        assert (final.kind == "1") == row["final_state"].startswith("1") or tag == procedure_steps.STATUS, (
            name
        )
