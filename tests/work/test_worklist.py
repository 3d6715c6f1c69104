"""The worklist: items that come in, and which keys find them (PS3.4 K.6)."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import pytest

from dicomwire.archive.query import Match
from dicomwire.dicom.data_set import DataSet, tag_of
from dicomwire.dicom.dictionary import TAGS, tag_text
from dicomwire.errors import QueryError
from dicomwire.work import procedure_steps, worklist
from dicomwire.work.matching import path_of, query_of, search
from dicomwire.work.procedure_steps import Followers
from dicomwire.work.refusal import Reason, Refused
from dicomwire.work.store import Store, Transaction, open_store
from dicomwire.work.worklist_keys import KEYS, STEP, paths
from tests.work.items import item, step
from tests.work.steps import beginning, end, without


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = open_store(tmp_path)
    yield store
    store.close()


def add(store: Store, *items: DataSet, ae_title: str = "") -> None:
    for each in items:
        store.apply(
            lambda change, each=each: worklist.add(change, each, source="web", ae_title=ae_title, now=1.0)
        )


def found(store: Store, *, called: str = "", hidden: tuple[str, ...] = (), **keys: str) -> list[str]:
    """Accession numbers of what keys find; `STEP_` before a keyword looks in the step's sequence."""
    matches = []
    for name, value in keys.items():
        path = path_of(STEP, name[5:]) if name.startswith("STEP_") else path_of(name)
        matches.append(Match(path, value))
    query = query_of(matches, empty_values=True)
    ids = search(store, worklist.selection(query, called_ae_title=called, hidden=hidden), query)
    return [worklist.find(store, number).attributes.text("AccessionNumber") for number in ids]


RULES: dict[str, tuple[dict[str, str], list[str]]] = {
    "no key": ({}, ["A1", "A2", "A3"]),
    "universal": ({"PatientName": "*", "PatientID": ""}, ["A1", "A2", "A3"]),
    "date": ({"STEP_ScheduledProcedureStepStartDate": "20260102"}, ["A2"]),
    "dates": ({"STEP_ScheduledProcedureStepStartDate": "20260102-"}, ["A2", "A3"]),
    "time": ({"STEP_ScheduledProcedureStepStartTime": "1000-1059"}, ["A1", "A3"]),
    "date and time are one range": (
        {
            "STEP_ScheduledProcedureStepStartDate": "20260101-20260102",
            "STEP_ScheduledProcedureStepStartTime": "1100-1130",
        },
        ["A2"],
    ),
    "modality": ({"STEP_Modality": "MR"}, ["A2"]),
    "station": ({"STEP_ScheduledStationAETitle": "CT1"}, ["A1", "A3"]),
    "second value of station": ({"STEP_ScheduledStationAETitle": "CT2"}, ["A3"]),
    "station by wild card": ({"STEP_ScheduledStationAETitle": "CT?"}, ["A1", "A3"]),
    "physician": ({"STEP_ScheduledPerformingPhysicianName": "HOUSE*"}, ["A1", "A2", "A3"]),
    "description": ({"STEP_ScheduledProcedureStepDescription": "Kn*"}, ["A2"]),
    "name without case or accents": ({"PatientName": "muller^*"}, ["A2"]),
    "name of ideographs": ({"PatientName": "山田*"}, ["A3"]),
    "patient": ({"PatientID": "P3"}, ["A3"]),
    "patients": ({"PatientID": "P1\\P3"}, ["A1", "A3"]),
    "accession": ({"AccessionNumber": "A2"}, ["A2"]),
    "requested procedure": ({"RequestedProcedureID": "R1"}, ["A1"]),
    "study": ({"StudyInstanceUID": "1.2.3.1\\1.2.3.2"}, ["A1", "A2"]),
    "step": ({"STEP_ScheduledProcedureStepID": "S3"}, ["A3"]),
    "an attribute without a column": ({"PatientSex": "F"}, ["A3"]),
    "empty": ({"PatientSex": '""'}, ["A1", "A2"]),
    "several": (
        {"STEP_Modality": "CT", "PatientName": "DOE*", "STEP_ScheduledStationAETitle": "CT1"},
        ["A1"],
    ),
    "nothing": ({"STEP_Modality": "US"}, []),
}


@pytest.mark.parametrize("rule", RULES)
def test_keys_find_items(store: Store, rule: str) -> None:
    add(
        store,
        item(1),
        item(
            2,
            PatientName="Müller^Anna",
            Modality="MR",
            ScheduledStationAETitle="MR1",
            ScheduledProcedureStepStartDate="20260102",
            ScheduledProcedureStepStartTime="111500",
            ScheduledProcedureStepDescription="Knee",
        ),
        item(
            3,
            PatientName="Yamada^Tarou=山田^太郎",
            ScheduledStationAETitle="CT1\\CT2",
            ScheduledProcedureStepStartDate="20260103",
            PatientSex="F",
        ),
    )
    keys, wanted = RULES[rule]
    assert found(store, **keys) == wanted


def test_every_required_matching_key_of_the_standard_is_in_the_table() -> None:
    rows = list(csv.DictReader(Path(__file__).with_name("mwl_keys.csv").read_text().splitlines()))
    ours = [
        (depth, tag_text(TAGS[keyword]), matching, returned) for depth, keyword, matching, returned in KEYS
    ]
    assert [(tag, matching, returned) for _, tag, matching, returned in ours] == [
        (row["tag"], row["matching_key_type"], row["return_key_type"]) for row in rows
    ]
    assert len(list(paths())) == len(KEYS)


def test_a_step_is_an_item(store: Store) -> None:
    add(store, item(1, steps=(step(1), step(2, Modality="MR"))))
    assert found(store, STEP_Modality="MR") == ["A1"]
    assert found(store) == ["A1", "A1"]


REFUSED: dict[str, tuple[DataSet, Reason, tuple[str, ...]]] = {
    "no step": (without(item(), STEP), Reason.MISSING_ATTRIBUTE, (STEP,)),
    "no name": (without(item(), "PatientName"), Reason.MISSING_ATTRIBUTE, ("PatientName",)),
    "empty id": (item().put("PatientID"), Reason.MISSING_VALUE, ("PatientID",)),
    "no station": (
        item(steps=(without(step(), "ScheduledStationAETitle"),)),
        Reason.MISSING_ATTRIBUTE,
        ("ScheduledStationAETitle",),
    ),
    "a study that is no UID": (item(StudyInstanceUID="x"), Reason.INVALID_VALUE, ("StudyInstanceUID",)),
    "a date that is none": (
        item(ScheduledProcedureStepStartDate="20261301"),
        Reason.INVALID_VALUE,
        ("ScheduledProcedureStepStartDate", "ScheduledProcedureStepStartTime"),
    ),
    "an item that is there": (item(7), Reason.DUPLICATE_INSTANCE, ("ScheduledProcedureStepID",)),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_changes_nothing(store: Store, case: str) -> None:
    add(store, item(7))
    wrong, reason, tags = REFUSED[case]
    with pytest.raises(Refused) as refused:
        add(store, wrong)
    assert refused.value.reason is reason
    assert refused.value.attributes == tuple(tag_of(tag) for tag in tags)
    assert found(store) == ["A7"]


def test_a_procedure_step_takes_its_item_off_the_worklist(store: Store) -> None:
    add(store, item(1, StudyInstanceUID="1.2.3.1"), item(2))
    hidden = ("IN PROGRESS", "COMPLETED")
    store.apply(lambda change: procedure_steps.create(change, "1.9", beginning(), Followers(), now=2.0))
    assert found(store, hidden=hidden) == ["A2"]
    assert found(store, STEP_ScheduledProcedureStepStatus="STARTED") == ["A1"]
    assert found(store, hidden=("COMPLETED",)) == ["A1", "A2"]
    store.apply(lambda change: procedure_steps.update(change, "1.9", end(), Followers(), now=3.0))
    assert found(store, hidden=("COMPLETED",)) == ["A2"]


def test_items_of_an_ae_title_are_for_its_callers(store: Store) -> None:
    add(store, item(1), ae_title="ONE")
    add(store, item(2), ae_title="TWO")
    add(store, item(3))
    assert found(store, called="ONE") == ["A1", "A3"]
    assert found(store, called="TWO") == ["A2", "A3"]
    assert found(store, called="OTHER") == ["A1", "A2", "A3"]


def test_a_date_that_is_none_is_an_error(store: Store) -> None:
    with pytest.raises(QueryError, match="ScheduledProcedureStepStartDate"):
        found(store, STEP_ScheduledProcedureStepStartDate="tomorrow")


def test_items_are_replaced_and_removed(store: Store) -> None:
    add(store, item(1), item(2))
    store.apply(lambda change: worklist.replace(change, 1, item(1, PatientName="Roe^Richard"), now=2.0))
    assert found(store, PatientName="ROE*") == ["A1"]
    with pytest.raises(Refused, match="study and step"):
        store.apply(lambda change: worklist.replace(change, 1, item(2), now=2.0))
    store.apply(lambda change: worklist.remove(change, 1))
    assert found(store) == ["A2"]
    with pytest.raises(Refused, match="no such"):
        store.apply(lambda change: worklist.remove(change, 1))


# Very many matches

MANY: dict[str, dict[str, str]] = {
    "nothing": {},
    "a modality": {"STEP_Modality": "CT"},
    "two modalities": {"STEP_Modality": "CT\\MR"},
    "a modality and a day": {"STEP_Modality": "CT", "STEP_ScheduledProcedureStepStartDate": "20260102"},
    "days": {"STEP_ScheduledProcedureStepStartDate": "20260102-20260103"},
    "a modality and a name": {"STEP_Modality": "MR", "PatientName": "doe1*"},
    "a station": {"STEP_ScheduledStationAETitle": "CT1", "STEP_Modality": "CT"},
}


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A store with some hundreds of items, in no order."""
    store = open_store(tmp_path_factory.mktemp("full"))

    def write(change: Transaction) -> None:
        for number in range(300):
            day, hour = f"2026010{1 + number * 7 % 4}", f"{number * 5 % 24:02}00"
            attributes = item(
                number,
                Modality=("CT", "MR", "US")[number % 3],
                ScheduledProcedureStepStartDate=day,
                ScheduledProcedureStepStartTime=hour,
                PatientName=f"Doe{number}",
            )
            worklist.add(change, attributes, source="web", now=1.0)

    store.apply(write)
    yield store
    store.close()


@pytest.mark.parametrize("case", MANY)
def test_the_first_matches_are_those_that_all_begin_with(full: Store, case: str) -> None:
    keys = [
        Match(path_of(STEP, name[5:]) if name.startswith("STEP_") else path_of(name), value)
        for name, value in MANY[case].items()
    ]
    for hidden in ((), ("COMPLETED",)):
        everything = query_of(keys)
        selection = worklist.selection(everything, called_ae_title="RIS", hidden=hidden)
        ids = search(full, selection, everything)
        assert ids
        for limit, offset in ((1, 0), (10, 0), (10, 5), (1000, 0)):
            some = query_of(keys, limit=limit, offset=offset)
            assert search(full, selection, some) == ids[offset : offset + limit]


@pytest.mark.parametrize("index", ["worklist_modality", "worklist_start"])
def test_the_first_matches_come_in_order_without_the_others(full: Store, index: str) -> None:
    value = {"worklist_modality": "WHERE modality = 'CT' AND", "worklist_start": "WHERE"}[index]
    plan = full.rows(
        f"EXPLAIN QUERY PLAN SELECT id FROM worklist INDEXED BY {index} {value} performed <> 'COMPLETED'"
        " ORDER BY start_date, start_time, id LIMIT 10"
    )
    steps = [str(row[-1]) for row in plan]
    assert "COVERING INDEX" in steps[0]
    assert "USE TEMP B-TREE FOR ORDER BY" not in steps  # but for items that begin at the same time
