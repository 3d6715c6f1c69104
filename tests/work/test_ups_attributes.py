"""The table of a workitem's attributes, and what each of its types comes to (PS3.4 Table CC.2.5-3)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dicomwire.dicom.data_set import Attribute, DataSet, Value, tag_of
from dicomwire.dicom.dictionary import TAGS
from dicomwire.work import ups
from dicomwire.work.refusal import Reason, Refused
from dicomwire.work.store import Store, Transaction, open_store
from dicomwire.work.ups_attributes import ENUMERATED, LINES, Line
from dicomwire.work.ups_rules import Warned
from dicomwire.work.workitem import find
from tests.work.steps import without
from tests.work.workitems import TRANSACTION, code, performed, workitem

UID = "1.2.3.4"
PROGRESS = "ProcedureStepProgressInformationSequence"
PERFORMED = "UnifiedProcedureStepPerformedProcedureSequence"
OWN = ("SOPClassUID", "SOPInstanceUID", "ScheduledProcedureStepModificationDateTime")  # of the SCP


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = open_store(tmp_path)
    yield store
    store.close()


def everything(lines: tuple[Line, ...]) -> Iterator[Line]:
    for line in lines:
        yield line
        yield from everything(line.items)


def some(keyword: str) -> Attribute:
    """A value for an attribute, whatever it is."""
    vr = DataSet().put(keyword)[TAGS[keyword]].vr
    values: dict[str, Value] = {"SQ": code("other"), "DA": "20200101", "DT": "2020", "DS": "1", "UI": "1.2.9"}
    return Attribute(vr, (values.get(vr, "X"),))


def create(store: Store, attributes: DataSet) -> ups.Changed:
    return store.apply(lambda change: ups.create(change, UID, attributes, now=1.0))


def update(store: Store, changes: DataSet, transaction_uid: str = "") -> ups.Changed:
    return store.apply(lambda change: ups.update(change, UID, changes, transaction_uid, now=2.0))


def refusal(act: object, *arguments: object) -> Refused:
    with pytest.raises(Refused) as refused:
        act(*arguments)  # type: ignore[operator]
    assert len(refused.value.words) <= 64
    return refused.value


def test_every_line_names_an_attribute_and_known_types() -> None:
    for line in everything(LINES):
        assert line.keyword in TAGS
        assert {line.create, line.change} <= {"1", "1C", "2", "2C", "3", "-"}
        assert line.final in ("", "R", "RC", "P", "X", "O")


@pytest.mark.parametrize("keyword", [line.keyword for line in LINES if line.create == "1"])
@pytest.mark.parametrize(("left", "reason"), [("out", Reason.MISSING_ATTRIBUTE), ("", Reason.MISSING_VALUE)])
def test_a_workitem_is_not_created_without_attributes_of_type_1(
    store: Store, keyword: str, left: str, reason: Reason
) -> None:
    attributes = without(workitem(), keyword) if left == "out" else workitem().put(keyword)
    refused = refusal(create, store, attributes)
    assert (refused.reason, refused.attributes) == (reason, (tag_of(keyword),))
    assert store.rows("SELECT 1 FROM workitem") == []


@pytest.mark.parametrize("keyword", [line.keyword for line in LINES if line.create == "2"])
def test_attributes_of_type_2_are_there_when_nobody_sent_them(store: Store, keyword: str) -> None:
    create(store, without(workitem(), keyword))
    found = find(store, UID).attributes
    assert (keyword == "TransactionUID") != (tag_of(keyword) in found)
    assert found.text("WorklistLabel")


@pytest.mark.parametrize("above", [PROGRESS, PERFORMED])
def test_what_a_performer_reports_is_refused_at_creation(store: Store, above: str) -> None:
    (line,) = [line for line in LINES if line.keyword == above]
    assert {inner.create for inner in line.items} == {"-"}
    for inner in line.items:
        item = DataSet({tag_of(inner.keyword): some(inner.keyword)})
        refused = refusal(create, store, workitem().put(above, item))
        assert (refused.reason, refused.attributes) == (Reason.NO_SUCH_ATTRIBUTE, (tag_of(inner.keyword),))


@pytest.mark.parametrize("keyword", [line.keyword for line in LINES if line.change == "-"])
def test_what_may_not_be_set_is_refused(store: Store, keyword: str) -> None:
    create(store, workitem())
    before = find(store, UID).attributes
    changes = DataSet({tag_of(keyword): some(keyword)}).put("CommentsOnTheScheduledProcedureStep", "changed")
    if keyword == "ScheduledProcedureStepModificationDateTime":
        changes = without(changes, keyword)
    same = DataSet({tag: before[tag] for tag in changes if tag in before and tag == tag_of(keyword)})
    if keyword not in OWN[2:]:
        assert refusal(update, store, changes).reason is Reason.NO_SUCH_ATTRIBUTE
    assert find(store, UID).attributes == before
    update(store, same)


FULL = [line.keyword for line in LINES if (line.create, line.change) == ("1", "3")]


@pytest.mark.parametrize("keyword", ["WorklistLabel", *FULL])
def test_what_always_has_a_value_cannot_be_emptied(store: Store, keyword: str) -> None:
    create(store, workitem())
    refused = refusal(update, store, DataSet().put(keyword))
    assert (refused.reason, refused.attributes) == (Reason.MISSING_VALUE, (tag_of(keyword),))


ITEMS: dict[str, tuple[str, DataSet, str]] = {
    "a code without a meaning": (
        "ScheduledStationNameCodeSequence", without(code(), "CodeMeaning"), "CodeMeaning",
    ),
    "a performer without a name": (
        "ScheduledHumanPerformersSequence",
        DataSet().put("HumanPerformerCodeSequence", code()).put("HumanPerformerOrganization", "O"),
        "HumanPerformerName",
    ),
    "input without instances": (
        "InputInformationSequence", DataSet().put("TypeOfInstances", "DICOM"), "ReferencedSOPSequence",
    ),
    "a request without a study": (
        "ReferencedRequestSequence", DataSet().put("AccessionNumber", "A1"), "StudyInstanceUID",
    ),
    "a parameter without a name": (
        "ScheduledProcessingParametersSequence",
        DataSet().put("ValueType", "TEXT"),
        "ConceptNameCodeSequence",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", ITEMS)
def test_items_have_their_attributes_of_type_1(store: Store, case: str) -> None:
    above, item, missing = ITEMS[case]
    refused = refusal(create, store, workitem().put(above, item))
    assert (refused.reason, refused.attributes) == (Reason.MISSING_ATTRIBUTE, (tag_of(missing),))


# Final states


def taken(store: Store) -> None:
    def run(change: Transaction) -> None:
        ups.create(change, UID, workitem(), now=1.0)
        ups.change_state(change, UID, "IN PROGRESS", TRANSACTION, now=1.0)

    store.apply(run)


def change_state(store: Store, state: str) -> ups.Changed:
    return store.apply(lambda change: ups.change_state(change, UID, state, TRANSACTION, now=3.0))


(PERFORMED_LINE,) = [line for line in LINES if line.keyword == PERFORMED]
NEEDED = [line.keyword for line in PERFORMED_LINE.items if line.final == "P"]


@pytest.mark.parametrize("keyword", [name for name in NEEDED if name != "OutputInformationSequence"])
def test_a_workitem_is_not_completed_without_what_was_performed(store: Store, keyword: str) -> None:
    taken(store)
    (item,) = performed().sequence(PERFORMED)
    update(store, DataSet().put(PERFORMED, without(item, keyword)), TRANSACTION)
    refused = refusal(change_state, store, "COMPLETED")
    assert (refused.reason, refused.attributes) == (Reason.UPS_NOT_MET, (tag_of(keyword),))
    assert find(store, UID).state.value == "IN PROGRESS"
    update(store, performed(), TRANSACTION)
    change_state(store, "COMPLETED")


def test_a_cancelled_workitem_says_when_and_why(store: Store) -> None:
    taken(store)
    change_state(store, "CANCELED")
    (progress,) = find(store, UID).attributes.sequence(PROGRESS)
    for keyword in ("ProcedureStepCancellationDateTime", "ProcedureStepDiscontinuationReasonCodeSequence"):
        assert progress.has_value(keyword)


# Values

VALUES: dict[str, tuple[str, str, str | None]] = {
    "lower case": ("ScheduledProcedureStepPriority", "high", "HIGH"),
    "spaces": ("InputReadinessState", " READY ", "READY"),
    "no priority": ("ScheduledProcedureStepPriority", "URGENT", None),
    "no readiness": ("InputReadinessState", "MAYBE", None),
    "ISO 8601": ("ScheduledProcedureStepStartDateTime", "2026-01-02T03:04:05", "20260102030405"),
    "with a zone": ("ScheduledProcedureStepStartDateTime", "20260102030405.5+0100", "20260102030405.5+0100"),
    "no moment": ("ScheduledProcedureStepStartDateTime", "tomorrow", None),
    "too long": ("WorklistLabel", "x" * 65, "x" * 64),
}


@pytest.mark.parametrize("case", VALUES)
def test_values_are_coerced_where_it_is_plain_what_is_meant(store: Store, case: str) -> None:
    keyword, sent, kept = VALUES[case]
    if kept is None:
        refused = refusal(create, store, workitem(**{keyword: sent}))
        assert (refused.reason, refused.attributes) == (Reason.INVALID_VALUE, (tag_of(keyword),))
        create(store, workitem())
        assert refusal(update, store, DataSet().put(keyword, sent)).reason is Reason.INVALID_VALUE
        return
    changed = create(store, workitem(**{keyword: sent}))
    assert changed.warned is (None if sent == kept else Warned.MODIFIED)
    assert find(store, UID).attributes.text(keyword) == kept
    again = update(store, DataSet().put(keyword, sent))
    assert again.warned is (None if sent == kept else Warned.COERCED)
    assert again.coerced.text(keyword) == ("" if sent == kept else kept)


@pytest.mark.parametrize(("sent", "kept"), [("150", "100"), ("-1", "0"), ("50", "50"), ("half", None)])
def test_progress_is_a_percentage(store: Store, sent: str, kept: str | None) -> None:
    taken(store)
    changes = DataSet().put(PROGRESS, DataSet().put("ProcedureStepProgress", sent))
    if kept is None:
        assert refusal(update, store, changes, TRANSACTION).reason is Reason.INVALID_VALUE
        return
    changed = update(store, changes, TRANSACTION)
    assert changed.warned is (None if sent == kept else Warned.COERCED)
    (progress,) = find(store, UID).attributes.sequence(PROGRESS)
    assert progress.text("ProcedureStepProgress") == kept


def test_enumerated_values_are_of_attributes_in_the_table() -> None:
    assert set(ENUMERATED) <= {line.keyword for line in LINES}
