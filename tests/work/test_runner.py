"""The runner: what is due is tried, what fails is tried again, what a dead process left is taken up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from dicomwire.errors import WorkError
from dicomwire.work import jobs
from dicomwire.work.jobs import Done, Failed, Job, Kind, Result, Retry, State
from dicomwire.work.runner import Runner, RunnerOptions
from dicomwire.work.store import Store, open_store

AT_ONCE = RunnerOptions(Retry(first=0, longest=0))
SOON = 5.0  # seconds that no step of a test may take


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = open_store(tmp_path)
    store.start(asyncio.get_running_loop())
    yield store
    await store.stop()


@asynccontextmanager
async def running(
    store: Store,
    run: Callable[[Sequence[Job]], object],
    options: RunnerOptions = AT_ONCE,
    most: int = 1,
) -> AsyncIterator[Runner]:
    kinds = {"send": Kind(run, most)}  # type: ignore[arg-type]
    runner = Runner(store, kinds, options, clock=lambda: 1000.0, chance=lambda: 1.0)
    await runner.start()
    try:
        yield runner
    finally:
        await runner.stop(0.1)


async def add(store: Store, count: int = 1, to: str = "PACS", **options: str | float) -> None:
    def change(transaction: object) -> None:
        for _ in range(count):
            jobs.add(transaction, "send", to, "{}", now=1000.0, **options)  # type: ignore[arg-type]

    await store.change(change)


async def reached(store: Store, state: State, count: int) -> None:
    """Wait until so many jobs are in a state."""
    changed = asyncio.Event()
    store.listen(jobs.TOPIC, changed.set)
    async with asyncio.timeout(SOON):
        while True:
            changed.clear()
            if (await store.change(jobs.counts))[state] >= count:
                return
            await changed.wait()


async def test_jobs_run_as_they_are_added(store: Store) -> None:
    ran: list[int] = []

    async def run(batch: Sequence[Job]) -> Mapping[int, Result]:
        ran.extend(job.id for job in batch)
        return {job.id: Done() for job in batch}

    async with running(store, run):
        await add(store, 20)
        await reached(store, State.DONE, 20)
    assert sorted(ran) == list(range(1, 21))


async def test_a_failure_and_an_exception_are_tried_again(store: Store) -> None:
    tried: list[int] = []

    async def run(batch: Sequence[Job]) -> Mapping[int, Result]:
        tried.append(batch[0].attempts)
        if batch[0].attempts == 1:
            raise LookupError("no such study")
        return {batch[0].id: Failed("busy") if batch[0].attempts == 2 else Done()}

    async with running(store, run):
        await add(store)
        await reached(store, State.DONE, 1)
    assert tried == [1, 2, 3]


async def test_one_destination_never_has_more_than_its_slots(store: Store) -> None:
    now, most = 0, 0
    go, both = asyncio.Event(), asyncio.Event()

    async def run(batch: Sequence[Job]) -> Mapping[int, Result]:
        nonlocal now, most
        now += 1
        most = max(most, now)
        if now == 2:
            both.set()
        await go.wait()
        now -= 1
        return {batch[0].id: Done()}

    async with running(store, run):
        await add(store, 10)
        await asyncio.wait_for(both.wait(), 10)
        await reached(store, State.RUNNING, 2)
        go.set()
        await reached(store, State.DONE, 10)
    assert most == 2


async def test_a_destination_that_cannot_be_reached_rests_and_others_do_not_wait_for_it(store: Store) -> None:
    tried: list[str] = []

    async def run(batch: Sequence[Job]) -> Mapping[int, Result]:
        destination = batch[0].destination
        tried.append(destination)
        return {batch[0].id: Failed("refused", unreachable=True) if destination == "DOWN" else Done()}

    options = RunnerOptions(Retry(first=3600), concurrency=1)
    async with running(store, run, options):
        await add(store, 50, "DOWN")
        await add(store, 5, "UP")
        await reached(store, State.DONE, 5)
        await add(store, 5, "UP")
        await reached(store, State.DONE, 10)
    assert tried.count("DOWN") == 1


async def test_what_is_retried_does_not_wait_for_its_destination_to_have_rested(store: Store) -> None:
    there = False
    ran: list[int] = []

    async def run(batch: Sequence[Job]) -> Mapping[int, Result]:
        ran.extend(job.id for job in batch)
        failed = Failed("refused", unreachable=True)
        return {job.id: Done() if there else failed for job in batch}

    rests = RunnerOptions(Retry(first=600, longest=600), concurrency=1)
    async with running(store, run, rests):
        await add(store, 1)
        await waits_again(store, 1)
        await add(store, 2)
        there = True
        await store.change(lambda change: jobs.order(change, jobs.Command.RETRY, 2, now=1000.0))
        await reached(store, State.DONE, 2)
    assert ran == [1, 2, 3]  # the first one waits for its time, the third one has only waited for the peer


async def waits_again(store: Store, job_id: int) -> None:
    """Wait until a job has failed once."""
    changed = asyncio.Event()
    store.listen(jobs.TOPIC, changed.set)
    async with asyncio.timeout(SOON):
        while True:
            changed.clear()
            if (await store.change(lambda change: jobs.find(change, job_id))).reason:
                return
            await changed.wait()


async def test_what_was_not_finished_when_the_node_stops_waits_for_the_next_start(store: Store) -> None:
    never = asyncio.Event()

    async def hangs(batch: Sequence[Job]) -> Mapping[int, Result]:
        await never.wait()
        return {}

    async def works(batch: Sequence[Job]) -> Mapping[int, Result]:
        return {batch[0].id: Done()}

    async with running(store, hangs):
        await add(store)
        await reached(store, State.RUNNING, 1)
    assert (await store.change(jobs.counts))[State.WAITING] == 1
    async with running(store, works):
        await reached(store, State.DONE, 1)


async def test_a_handler_that_forgets_a_job_does_not_lose_it(store: Store) -> None:
    async def run(batch: Sequence[Job]) -> Mapping[int, Result]:
        return {job.id: Done() for job in batch if job.attempts > 1}

    async with running(store, run, most=5):
        await add(store, 5)
        await reached(store, State.DONE, 5)


async def test_a_lane_is_run_in_order(store: Store) -> None:
    ran: list[int] = []

    async def run(batch: Sequence[Job]) -> Mapping[int, Result]:
        ran.append(batch[0].id)
        await asyncio.sleep(0)
        return {batch[0].id: Done()}

    async with running(store, run, RunnerOptions(concurrency=8)):
        await add(store, 10, lane="1.2.3")
        await reached(store, State.DONE, 10)
    assert ran == list(range(1, 11))


async def test_a_long_job_keeps_its_lease_by_heartbeats(store: Store) -> None:
    """Without them it would be taken up a second time while it runs."""
    now = [1000.0]
    began: list[int] = []
    go = asyncio.Event()

    async def run(batch: Sequence[Job]) -> Mapping[int, Result]:
        began.append(batch[0].id)
        await go.wait()
        return {batch[0].id: Done()}

    options = RunnerOptions(Retry(first=0, longest=0), lease=60)
    runner = Runner(store, {"send": Kind(run)}, options, clock=lambda: now[0], chance=lambda: 1.0)
    await runner.start()
    await add(store)
    await reached(store, State.RUNNING, 1)
    for _ in range(10):
        now[0] += 25
        await add(store, due=1e9)  # wakes the runner
        async with asyncio.timeout(SOON):
            while store.rows("SELECT lease FROM job WHERE id = 1") != [(now[0] + 60,)]:
                await store.change(lambda change: None)
    assert began == [1]
    go.set()
    await reached(store, State.DONE, 1)
    await runner.stop(0.1)


async def test_jobs_that_another_process_adds_or_retries_are_seen(store: Store, tmp_path: Path) -> None:
    async def run(batch: Sequence[Job]) -> Mapping[int, Result]:
        return {batch[0].id: Done()}

    other = open_store(tmp_path)
    async with running(store, run, RunnerOptions(look=0.02)):
        other.apply(lambda change: jobs.add(change, "send", "PACS", "{}", now=1000.0))
        await reached(store, State.DONE, 1)
    other.close()


async def test_a_store_that_fails_for_a_while_stops_nothing_for_good(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the claim nor the result can be written at first: both are tried again."""
    ran: list[int] = []

    async def run(batch: Sequence[Job]) -> Mapping[int, Result]:
        ran.append(batch[0].id)
        return {batch[0].id: Done()}

    change = Store.change
    refusals = iter([True, True, False, True])  # two claims and, behind the third, the result

    async def failing(self: Store, made: Callable[[object], object]) -> object:
        if ("step" in made.__qualname__ or "_try" in made.__qualname__) and next(refusals, False):
            raise WorkError("the disk is full")
        return await change(self, made)  # type: ignore[arg-type]

    await add(store)
    monkeypatch.setattr(Store, "change", failing)
    now = [1000.0]
    options = RunnerOptions(Retry(first=0, longest=0), look=0.01, lease=30)
    runner = Runner(store, {"send": Kind(run)}, options, clock=lambda: now[0], chance=lambda: 1.0)
    await runner.start()
    async with asyncio.timeout(SOON):
        while not ran:
            await store.change(lambda change: None)
        now[0] += 100  # its lease is over
        await reached(store, State.DONE, 1)
    await runner.stop(0.1)
    assert ran == [1, 1]
