"""Routes: conditions, and jobs that are written with the progress."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from dicomwire.work import jobs, routes
from dicomwire.work.jobs import Selection
from dicomwire.work.routes import Notices, Route, Stored
from dicomwire.work.store import Store, open_store

CT, MR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4"
VALUES = {"Modality": ["CT"], "StationName": ["CT-1"], "ImageType": ["ORIGINAL", "PRIMARY"]}


def stored(record_id: int = 1, calling: str = "CT1", called: str = "DICOMWIRE", study: str = "1.2") -> Stored:
    return Stored(record_id, CT, study, calling, called, lambda keyword: VALUES.get(keyword, ()))


@pytest.mark.parametrize(
    ("route", "taken"),
    [
        (Route("PACS"), True),
        (Route("PACS", calling=("CT1", "CT2")), True),
        (Route("PACS", calling=("CT2",)), False),
        (Route("PACS", called=("DICOMWIRE",)), True),
        (Route("PACS", called=("OTHER",)), False),
        (Route("PACS", sop_classes=(CT, MR)), True),
        (Route("PACS", sop_classes=(MR,)), False),
        (Route("PACS", when={"Modality": "CT"}), True),
        (Route("PACS", when={"Modality": "ct"}), False),
        (Route("PACS", when={"StationName": "CT-*", "Modality": "?T"}), True),
        (Route("PACS", when={"StationName": "CT-*", "Modality": "MR"}), False),
        (Route("PACS", when={"ImageType": "PRIMARY"}), True),
        (Route("PACS", when={"BodyPartExamined": "*"}), True),
        (Route("PACS", when={"BodyPartExamined": "?*"}), False),
        (Route("CT1"), False),  # not back to where it came from
    ],
)
def test_every_condition(route: Route, taken: bool) -> None:
    assert routes.applies(route, stored()) is taken


def test_a_destination_gets_an_instance_once_however_many_routes_lead_there() -> None:
    rules = [Route("PACS"), Route("PACS", calling=("CT1",)), Route("AI")]
    assert routes.destinations_of(rules, stored()) == {"PACS": False, "AI": False}
    assert routes.destinations_of([*rules, Route("PACS", commit=True)], stored())["PACS"] is True


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = open_store(tmp_path)
    yield store
    store.close()


def test_jobs_and_progress_are_written_together(store: Store) -> None:
    decided = [(stored(7), {"PACS": True, "AI": False}), (stored(8, study="1.3"), {})]
    notices = Notices(("RIS",), quiet=60)
    store.apply(lambda change: routes.advance(change, 8, decided, notices, now=100.0))
    assert store.apply(routes.position) == 8
    found = store.apply(lambda change: jobs.listed(change, Selection(), 10))
    told = sorted((job.kind, job.destination, job.due, json.dumps(json.loads(job.payload))) for job in found)
    assert told == [
        ("availability", "RIS", 160.0, '{"study": "1.2"}'),
        ("availability", "RIS", 160.0, '{"study": "1.3"}'),
        ("forward", "AI", 100.0, '{"record": 7, "rounds": 0}'),
        ("forward", "PACS", 100.0, '{"record": 7, "rounds": 3}'),
    ]


def test_a_study_that_goes_on_growing_is_told_of_later(store: Store) -> None:
    for now in (100.0, 130.0):
        store.apply(
            lambda change, now=now: routes.advance(  # type: ignore[misc]
                change, 8, [(stored(), {})], Notices(("RIS",), quiet=60), now=now
            )
        )
    assert store.rows("SELECT due FROM job") == [(190.0,)]


def test_without_rules_the_progress_is_forgotten(store: Store) -> None:
    store.apply(lambda change: routes.advance(change, 8, [], Notices(), now=0.0))
    store.apply(routes.forget)
    assert store.apply(routes.position) is None
