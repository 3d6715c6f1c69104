"""An amount that is shared, and the large jobs that share the workers' memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from dicomwire.archive.jobs import FrameJob, Source
from dicomwire.archive.room import Room
from dicomwire.archive.workers import WorkerOptions, WorkerPool
from dicomwire.errors import WorkersBusy

JOB = FrameJob(Source("", 0, 0, "1.2.840.10008.1.2.1", 1), 1, "1.2.840.10008.1.2.1")
MEBIBYTE = 1 << 20


async def settled() -> None:
    """Until nothing is left to do but to wait."""
    for _ in range(20):
        await asyncio.sleep(0)


class Holder:
    """A task that takes an amount and holds it until it is told to let go."""

    def __init__(self, room: Room, amount: int) -> None:
        self.holds = False
        self._go = asyncio.Event()
        self.task = asyncio.create_task(self._hold(room, amount))

    async def _hold(self, room: Room, amount: int) -> None:
        async with room.taken(amount):
            self.holds = True
            await self._go.wait()
        self.holds = False

    async def let_go(self) -> None:
        self._go.set()
        await self.task
        await settled()


async def holding(*holders: Holder) -> list[bool]:
    await settled()
    return [holder.holds for holder in holders]


async def test_what_fits_is_held_at_once_and_the_rest_in_its_order() -> None:
    room = Room(100)
    first, second, third, small = (Holder(room, amount) for amount in (60, 60, 70, 10))
    assert await holding(first, second, third, small) == [True, False, False, False]
    await first.let_go()
    assert await holding(second, third, small) == [True, False, False]
    await second.let_go()
    assert await holding(third, small) == [True, True]
    await third.let_go()
    await small.let_go()


async def test_more_than_there_is_waits_for_all_of_it() -> None:
    room = Room(100)
    small, large = Holder(room, 1), Holder(room, 10_000)
    assert await holding(small, large) == [True, False]
    await small.let_go()
    assert large.holds
    await large.let_go()


async def test_who_no_longer_waits_stands_in_nobody_s_way() -> None:
    room = Room(100)
    first, second, third = (Holder(room, amount) for amount in (60, 60, 40))
    await settled()
    second.task.cancel()
    assert await holding(first, third) == [True, True]
    await first.let_go()
    await third.let_go()
    everything = Holder(room, 100)
    assert await holding(everything) == [True]
    await everything.let_go()


class Pool(WorkerPool):
    """Jobs that are done when the test says so; no process is started."""

    def __init__(self, options: WorkerOptions) -> None:
        super().__init__(options)
        self.under_way = 0
        self.go = asyncio.Semaphore(0)

    async def _run_in_worker(self, job: object, descriptors: list[int]) -> bytearray:
        self.under_way += 1
        await self.go.acquire()
        self.under_way -= 1
        return bytearray()


@pytest.fixture
async def pool() -> AsyncIterator[Pool]:
    pool = Pool(WorkerOptions(processes=2, together=100 * MEBIBYTE, waiting=3))
    yield pool
    await pool.close()


async def test_large_jobs_wait_for_each_other_and_small_ones_for_a_worker_alone(pool: Pool) -> None:
    jobs = [asyncio.create_task(pool.run(JOB, footprint=80 * MEBIBYTE)) for _ in range(2)]
    await settled()
    assert pool.under_way == 1
    jobs.append(asyncio.create_task(pool.run(JOB, footprint=MEBIBYTE)))
    await settled()
    assert pool.under_way == 2
    for _ in jobs:
        pool.go.release()
    await asyncio.gather(*jobs)


async def test_what_waits_for_memory_counts_as_waiting(pool: Pool) -> None:
    jobs = [asyncio.create_task(pool.run(JOB, footprint=80 * MEBIBYTE)) for _ in range(4)]
    await settled()
    with pytest.raises(WorkersBusy, match="3 images wait"):
        await pool.run(JOB, footprint=80 * MEBIBYTE)
    for _ in jobs:
        pool.go.release()
    await asyncio.gather(*jobs)
