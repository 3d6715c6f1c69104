"""The store of work: grouped commits, changes that fail alone, versions, several processes."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from dicomwire.errors import WorkError
from dicomwire.work import store as stores
from dicomwire.work.schema import VERSIONS
from dicomwire.work.store import DatabaseError, Store, Transaction, open_store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = open_store(tmp_path)
    yield store
    store.close()


def advance(name: str, position: int = 1) -> object:
    def run(transaction: Transaction) -> int:
        return transaction.count("INSERT INTO progress VALUES (?, ?)", (name, position))

    return run


def names(store: Store) -> list[object]:
    return [name for (name,) in store.rows("SELECT name FROM progress ORDER BY name")]


async def test_a_change_is_there_for_readers_when_it_is_answered(store: Store) -> None:
    assert await store.change(advance("routes")) == 1
    assert names(store) == ["routes"]
    assert await store.read("SELECT position FROM progress") == [(1,)]


async def test_changes_that_wait_together_share_a_commit(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches: list[int] = []
    commit = Store._commit

    def counted(self: Store, batch: list[object]) -> None:
        batches.append(len(batch))
        commit(self, batch)

    monkeypatch.setattr(Store, "_commit", counted)
    await asyncio.gather(*(store.change(advance(f"{number:04}")) for number in range(500)))
    assert len(names(store)) == 500
    assert sum(batches) == 500
    assert len(batches) < 100


async def test_a_change_that_raises_leaves_nothing_and_its_neighbours_stand(store: Store) -> None:
    def fails(transaction: Transaction) -> None:
        transaction.rows("INSERT INTO progress VALUES ('half', 1)")
        transaction.notify("topic")
        raise LookupError("no such workitem")

    heard: list[str] = []
    store.listen("topic", lambda: heard.append("topic"))
    first, failed, last = await asyncio.gather(
        store.change(advance("a")), store.change(fails), store.change(advance("b")), return_exceptions=True
    )
    assert (first, last) == (1, 1)
    assert isinstance(failed, LookupError)
    assert names(store) == ["a", "b"]
    assert heard == []


async def test_a_violated_constraint_is_the_caller_s_to_handle(store: Store) -> None:
    await store.change(advance("a"))
    with pytest.raises(DatabaseError, match="UNIQUE"):
        await store.change(advance("a"))


async def test_listeners_are_called_once_a_commit_after_it_is_durable(store: Store) -> None:
    seen: list[list[object]] = []
    store.listen("jobs", lambda: seen.append(names(store)))

    def noisy(transaction: Transaction) -> None:
        transaction.rows("INSERT INTO progress VALUES ('a', 1)")
        transaction.notify("jobs")
        transaction.notify("jobs")

    await store.change(noisy)
    assert seen == [["a"]]


async def test_a_full_disk_fails_the_batch_and_the_store_lives_on(store: Store) -> None:
    def limit(pages: int) -> object:
        return lambda transaction: transaction.rows(f"PRAGMA max_page_count = {pages}")

    await store.change(advance("a"))
    ((pages,),) = store.rows("PRAGMA page_count")
    await store.change(limit(int(str(pages))))
    with pytest.raises(WorkError, match="full"):
        await store.change(advance("b" * 100_000))
    await store.change(limit(1 << 30))
    await store.change(advance("c"))
    assert names(store) == ["a", "c"]


async def test_changes_that_come_while_it_closes_are_made_or_refused_and_none_hangs(tmp_path: Path) -> None:
    store = open_store(tmp_path)

    async def change(number: int) -> bool:
        try:
            return await store.change(advance(str(number))) == 1
        except WorkError:
            return False

    changes = [asyncio.create_task(change(number)) for number in range(200)]
    await asyncio.sleep(0)
    await store.stop()
    async with asyncio.timeout(5):
        made = await asyncio.gather(*changes, *(change(number) for number in range(200, 210)))
    again = open_store(tmp_path)
    assert len(names(again)) == sum(made)
    assert not any(made[200:])
    again.close()


def test_without_a_loop_a_change_is_applied_and_its_exception_raised(store: Store) -> None:
    assert store.apply(advance("a")) == 1
    with pytest.raises(DatabaseError):
        store.apply(advance("a"))


def test_what_was_committed_is_there_after_reopening(tmp_path: Path) -> None:
    first = open_store(tmp_path)
    first.apply(advance("a"))
    first.close()
    second = open_store(tmp_path)
    assert names(second) == ["a"]
    second.close()
    with pytest.raises(WorkError, match="closed"):
        second.apply(advance("b"))


def test_two_stores_on_one_folder_see_each_other_s_changes(store: Store, tmp_path: Path) -> None:
    other = open_store(tmp_path)
    other.apply(advance("a"))
    store.apply(advance("b"))
    assert names(store) == names(other) == ["a", "b"]
    other.close()


def test_a_database_of_a_newer_program_is_refused(tmp_path: Path) -> None:
    open_store(tmp_path).close()
    connection = sqlite3.connect(tmp_path / stores.FILE)
    connection.execute(f"PRAGMA user_version = {len(VERSIONS) + 1}")
    connection.close()
    with pytest.raises(WorkError, match="update the program"):
        open_store(tmp_path)


def test_a_version_that_fails_leaves_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_store(tmp_path).close()
    broken = (*VERSIONS, ("CREATE TABLE later (id INTEGER)", "CREATE NONSENSE"))
    monkeypatch.setattr(stores, "VERSIONS", broken)
    with pytest.raises(WorkError, match="syntax error"):
        open_store(tmp_path)
    monkeypatch.setattr(stores, "VERSIONS", (*VERSIONS, ("CREATE TABLE later (id INTEGER)",)))
    store = open_store(tmp_path)
    assert store.rows("SELECT * FROM later") == []
    store.close()


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / stores.FILE).write_bytes(b"nonsense " * 1000)
    with pytest.raises(WorkError, match=r"work\.sqlite: file is not a database"):
        open_store(tmp_path)
