"""A cache that fills itself from a source: once for all who ask, wholly or not at all, within its size."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from dicomwire.archive.archive import Archive, Origin, Outcome, Stored
from dicomwire.gateway.cache import Cache, CacheOptions, Scope
from dicomwire.gateway.failures import RemoteFailed
from tests.web.conftest import CT, Instance, make

STUDY, SERIES = "1.2.3", "1.2.3.4"
EXPLICIT_LE = "1.2.840.10008.1.2.1"


class Remote:
    """A source that gives what a test says, when it says so."""

    def __init__(self, archive: Archive, *instances: Instance, count: int | None = None) -> None:
        self.archive = archive
        self.instances = list(instances)
        self.announced = len(instances) if count is None else count
        self.fetched: list[Scope] = []
        self.unsent: int | None = None
        self.goes_on = asyncio.Event()
        self.goes_on.set()
        self.failure: RemoteFailed | None = None

    async def count(self, scope: Scope) -> int | None:
        return None if self.announced < 0 else self.announced

    async def fetch(self, scope: Scope) -> int | None:
        self.fetched.append(scope)
        for each in self.instances:
            await stored(self.archive, each)
            await self.goes_on.wait()
        if self.failure is not None:
            raise self.failure
        return self.unsent


async def stored(archive: Archive, instance: Instance) -> None:
    done: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
    reception = archive.receive(
        sop_class_uid=CT,
        sop_instance_uid=instance.sop_instance_uid,
        transfer_syntax_uid=EXPLICIT_LE,
        origin=Origin("dimse", "peer"),
    )
    reception.write(instance.data_set)
    reception.finish(done.set_result)
    await done


Made = Callable[[Archive], Remote]


@asynccontextmanager
async def cache_of(folder: Path, made: Made, **options: float) -> AsyncIterator[tuple[Cache, Remote]]:
    archive = Archive.open(folder)
    remote = made(archive)
    cache = Cache(archive, remote, CacheOptions(**options))  # type: ignore[arg-type]
    cache.start()
    try:
        yield cache, remote
    finally:
        await cache.stop()


def three(archive: Archive) -> Remote:
    return Remote(archive, *(make(number) for number in (1, 2, 3)))


async def held(cache: Cache, *scope: str) -> int:
    async with cache.holding(Scope(*scope)):
        return len(cache.archive.plan(study=scope[0]))


async def test_a_study_is_brought_once_for_all_who_ask(tmp_path: Path) -> None:
    async with cache_of(tmp_path, three) as (cache, remote):
        assert await asyncio.gather(*(held(cache, STUDY) for _ in range(5))) == [3] * 5
        assert await held(cache, STUDY) == await held(cache, STUDY, SERIES) == 3
        assert remote.fetched == [Scope(STUDY)]


async def test_an_instance_is_there_before_the_rest_of_its_series(tmp_path: Path) -> None:
    async with cache_of(tmp_path, three) as (cache, remote):
        remote.goes_on.clear()
        async with asyncio.timeout(5), cache.holding(Scope(STUDY, SERIES, f"{SERIES}.1")):
            assert remote.fetched == [Scope(STUDY, SERIES)]
        remote.goes_on.set()
        assert await held(cache, STUDY, SERIES) == 3
        assert await held(cache, STUDY, SERIES, f"{SERIES}.3") == 3
        assert len(remote.fetched) == 1


async def test_an_instance_that_is_not_there_is_no_failure(tmp_path: Path) -> None:
    async with cache_of(tmp_path, three) as (cache, remote):
        assert await held(cache, STUDY, SERIES, "1.2.999") == 3
        remote.announced, remote.instances = 0, []
        assert await held(cache, "1.2.999") == 0


async def test_what_comes_in_part_is_a_failure_and_is_tried_again(tmp_path: Path) -> None:
    async with cache_of(tmp_path, lambda archive: Remote(archive, make(1), count=2)) as (cache, remote):
        with pytest.raises(RemoteFailed, match=r"only 1 of 2 instances of study 1\.2\.3 came"):
            await held(cache, STUDY)
        remote.instances.append(make(2))
        assert await held(cache, STUDY) == 2


async def test_a_source_that_says_it_was_all_is_believed(tmp_path: Path) -> None:
    async with cache_of(tmp_path, lambda archive: Remote(archive, make(1), count=2)) as (cache, remote):
        remote.unsent = 0
        assert await held(cache, STUDY) == 1


@pytest.mark.parametrize("count", [2, -1])
async def test_a_source_that_sent_it_elsewhere_is_not_believed(count: int, tmp_path: Path) -> None:
    """As an archive does whose entry for our AE title has another device's address."""
    async with cache_of(tmp_path, lambda archive: Remote(archive, count=count)) as (cache, remote):
        remote.unsent = 0
        with pytest.raises(RemoteFailed, match=r"nothing of study 1\.2\.3 came"):
            await held(cache, STUDY)


async def test_what_was_promised_and_did_not_come_is_a_failure_without_a_count_too(tmp_path: Path) -> None:
    async with cache_of(tmp_path, lambda archive: Remote(archive, make(1), count=-1)) as (cache, remote):
        remote.unsent = 4
        with pytest.raises(RemoteFailed, match=r"4 instances of study 1\.2\.3 were promised"):
            await held(cache, STUDY)


async def test_a_failure_reaches_everybody_and_is_not_remembered(tmp_path: Path) -> None:
    async with cache_of(tmp_path, three) as (cache, remote):
        remote.failure = RemoteFailed("PACS, C-GET: gone")
        failed = await asyncio.gather(*(held(cache, STUDY) for _ in range(3)), return_exceptions=True)
        assert [str(error) for error in failed] == ["PACS, C-GET: gone"] * 3
        remote.failure = None
        assert await held(cache, STUDY) == 3


async def test_what_takes_too_long_is_late(tmp_path: Path) -> None:
    async with cache_of(tmp_path, three, timeout=0.05) as (cache, remote):
        remote.goes_on.clear()
        with pytest.raises(RemoteFailed, match=r"was not brought within 0\.05 s") as failed:
            await held(cache, STUDY)
        assert failed.value.late


async def test_what_the_source_has_no_longer_goes(tmp_path: Path) -> None:
    async with cache_of(tmp_path, three, fresh=0.0) as (cache, remote):
        assert await held(cache, STUDY) == 3
        remote.announced, remote.instances = 1, [make(2)]
        assert await held(cache, STUDY) == 1
        remote.announced, remote.instances = 0, []
        assert await held(cache, STUDY) == 0


async def test_without_a_count_everything_is_brought_again_when_it_is_no_longer_fresh(tmp_path: Path) -> None:
    async with cache_of(tmp_path, three, fresh=0.0) as (cache, remote):
        remote.announced = -1
        assert [await held(cache, STUDY), await held(cache, STUDY)] == [3, 3]
        assert len(remote.fetched) == 2


async def test_studies_in_use_stay_though_there_is_too_much(tmp_path: Path) -> None:
    async with cache_of(tmp_path, three, size=1) as (cache, remote):
        async with cache.holding(Scope(STUDY)):
            remote.instances = [make(1, study="1.2.5", series="1.2.5.1")]
            remote.announced = 1
            assert await held(cache, "1.2.5") == 1
            assert len(cache.archive.plan(study=STUDY)) == 3
        await cache.shrink()
        assert list(cache.archive.plan_all()) == []


async def test_who_asks_for_a_study_that_is_being_removed_has_it_brought_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with cache_of(tmp_path, three, size=1) as (cache, remote):
        assert await held(cache, STUDY) == 3
        loop, begun, removed = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()
        goes_on = threading.Event()
        remove = cache.archive.remove

        def slowly(stored: list[Stored]) -> None:
            loop.call_soon_threadsafe(begun.set)
            goes_on.wait(5)
            remove(stored)

        async def read() -> int:
            async with cache.holding(Scope(STUDY)):
                await removed.wait()
                return len(cache.archive.plan(study=STUDY))

        monkeypatch.setattr(cache.archive, "remove", slowly)
        shrinking = asyncio.create_task(cache.shrink())
        await begun.wait()
        reading = asyncio.create_task(read())
        await asyncio.sleep(0)  # it has asked
        goes_on.set()
        await shrinking
        removed.set()
        assert await reading == 3
        assert len(remote.fetched) == 2


async def test_two_who_make_room_do_it_one_after_the_other(tmp_path: Path) -> None:
    async with cache_of(tmp_path, three, size=1) as (cache, _):
        assert await held(cache, STUDY) == 3
        with capture_logs() as logs:
            await asyncio.gather(cache.shrink(), cache.shrink())
        assert [each["event"] for each in logs if each["event"].startswith("gateway")] == [
            "gateway.cache_shrunk"
        ]
        assert list(cache.archive.plan_all()) == []
