"""Where a page is read: in this thread while that is quick, beside it when not, and for how long at most."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from dicomwire.archive import search
from dicomwire.archive.catalogue import Interrupted, Read
from dicomwire.archive.catalogue_writer import CatalogueWriter
from dicomwire.archive.query import Level, Match, Query
from dicomwire.archive.search import Found, Pages, Searches
from dicomwire.archive.statement import Plan, plan
from dicomwire.dicom.dictionary import TAGS
from dicomwire.errors import SearchError
from tests.archive.test_query import add, instance

UID = TAGS["StudyInstanceUID"]
STUDIES = plan(Query(Level.STUDY, fields=(UID,)))


@pytest.fixture
def catalogue(tmp_path: Path) -> Iterator[CatalogueWriter]:
    opened = CatalogueWriter(tmp_path / "catalogue.sqlite")
    for number in range(1, 5):
        add(opened, instance(number), number)
    yield opened
    opened.close()


@pytest.fixture
def searches(catalogue: CatalogueWriter) -> Iterator[Searches]:
    opened = Searches(catalogue)
    yield opened
    opened.close()


async def whole(pages: Pages) -> list[Found]:
    found = []
    while not pages.finished:
        found += await pages.next()
    return found


async def test_a_page_that_takes_long_is_read_beside_the_loop(
    searches: Searches, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = await whole(searches.pages(STUDIES))
    monkeypatch.setattr(search, "_QUICK", -1.0)
    assert searches.quick_total(STUDIES, 10) is None
    assert await whole(searches.pages(STUDIES, first=1)) == expected
    assert await searches.total(STUDIES, 10) == 4
    assert len(expected) == 4


async def test_what_takes_too_long_at_all_is_given_up(
    searches: Searches, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "_QUICK", -1.0)
    monkeypatch.setattr(search, "_LONG", -1.0)
    with pytest.raises(SearchError, match="more or other keys"):
        await searches.pages(STUDIES).next()


async def test_a_cancelled_page_is_empty(searches: Searches, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "_QUICK", -1.0)
    assert await searches.pages(STUDIES, lambda: True).next() == []


async def test_a_search_ends_when_the_archive_closes(
    searches: Searches, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "_QUICK", -1.0)
    endless = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"
    begun = threading.Event()

    def work(read: Read) -> object:
        begun.set()
        return read(endless, ())

    reading = asyncio.create_task(searches.beside(work))
    await asyncio.get_running_loop().run_in_executor(None, begun.wait, 10)
    await asyncio.get_running_loop().run_in_executor(None, searches.close)
    with pytest.raises(SearchError, match="closed"):
        await reading


def test_a_long_statement_is_interrupted_in_its_middle(catalogue: CatalogueWriter) -> None:
    endless = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"
    with pytest.raises(Interrupted), catalogue.reading(0.01) as read:
        read(endless, ())
    with catalogue.reading(1.0) as read:
        assert read("SELECT 1", ()) == [(1,)]


def test_stored_data_sets_are_never_read_in_the_loop() -> None:
    of_data_set = Match((TAGS["ImageType"],), "AXIAL")
    assert plan(Query(Level.INSTANCE, (of_data_set,))).slow
    assert plan(Query(Level.INSTANCE, fields=(TAGS["ImageType"],))).slow
    assert not plan(Query(Level.INSTANCE, fields=(TAGS["Rows"],))).slow


def planned(level: Level, limit: int | None = None, offset: int = 0) -> Plan:
    return plan(Query(level, fields=(UID,), limit=limit, offset=offset))


async def test_what_was_removed_between_two_pages_is_left_out(
    searches: Searches, catalogue: CatalogueWriter
) -> None:
    pages = searches.pages(planned(Level.INSTANCE), first=1)
    first = await pages.next()
    with catalogue.transaction():
        catalogue.remove(2)
    rest = await whole(pages)
    assert [each.study[0] for each in (*first, *rest)] == ["1.1", "1.3", "1.4"]


async def test_limits_and_offsets_count_over_all_pages(searches: Searches) -> None:
    for limit in (0, 1, 3, 9):
        for offset in (0, 1, 4, 1 << 70):
            found = await whole(searches.pages(planned(Level.STUDY, limit, offset), first=1))
            assert [each.study[0] for each in found] == ["1.4", "1.3", "1.2", "1.1"][offset:][:limit]
    await asyncio.sleep(0)
