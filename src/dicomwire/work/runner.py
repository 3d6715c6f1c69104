"""Runs durable jobs: claims what is due, tries it, writes down how it went.

Each destination has its slots. One that cannot be reached rests for as long as a first failure waits, then
longer, whatever waits for it. When the process dies, the jobs it was running are tried again.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import structlog

from dicomwire.errors import WorkError
from dicomwire.work import jobs
from dicomwire.work.jobs import Failed, Job, Kind, Result, Retry, Slots, State
from dicomwire.work.store import DatabaseError, Store, Transaction

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class RunnerOptions:
    """How jobs are run.

    Attributes:
        retry: when failed ones are tried again.
        concurrency: batches of one destination at once.
        total: batches at once in all.
        lease: seconds that a running job is ours without a heartbeat.
        look: seconds between looks at the table without a reason; another process may have changed it.
        keep: seconds that jobs which are done or cancelled can still be looked at.
    """

    retry: Retry = field(default_factory=Retry)
    concurrency: int = 2
    total: int = 16
    lease: float = 60.0
    look: float = 5.0
    keep: float = 7 * 86_400.0


@dataclass(slots=True)
class Rest:
    """A destination that could not be reached: until when nothing is tried, and how often in a row."""

    until: float
    failures: int


@dataclass(slots=True)
class _Running:
    """Batches under way."""

    tasks: dict[asyncio.Task[None], list[Job]] = field(default_factory=dict)

    def destinations(self) -> Counter[str]:
        return Counter(batch[0].destination for batch in self.tasks.values())

    def ids(self) -> list[int]:
        return [job.id for batch in self.tasks.values() for job in batch]


class Runner:
    """Runs the jobs of one store.

    Attributes:
        kinds: handlers by kind; jobs of other kinds are left alone.
    """

    def __init__(
        self,
        store: Store,
        kinds: Mapping[str, Kind],
        options: RunnerOptions | None = None,
        *,
        clock: Callable[[], float] = time.time,
        chance: Callable[[], float] = random.random,
        tidy: Callable[[Transaction, float], object] = lambda change, now: None,
    ) -> None:
        """Run jobs of these kinds; `tidy` is called with the time now and then, to forget what is over."""
        self.kinds = dict(kinds)
        self._store = store
        self._options = options or RunnerOptions()
        self._clock = clock
        self._chance = chance
        self._forget = tidy
        self._running = _Running()
        self._resting: dict[str, Rest] = {}
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._stopping = False
        self._beat_due = 0.0
        self._prune_due = 0.0
        store.listen(jobs.TOPIC, self._wake.set)

    async def start(self) -> None:
        """Take up what the process before left, then run jobs until `stop`."""
        now = self._clock()
        left = await self._store.change(lambda change: jobs.recover(change, now=now, every=True))
        if left:
            log.info("jobs taken up again", jobs=left)
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self, grace: float) -> None:
        """Begin nothing new; let what runs finish for `grace` seconds; the rest waits for the next start."""
        self._stopping = True
        self._wake.set()
        if self._task is not None:
            await self._task
        tasks = list(self._running.tasks)
        if tasks:
            await asyncio.wait(tasks, timeout=grace)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        now = self._clock()
        with suppress(WorkError):
            await self._store.change(lambda change: jobs.recover(change, now=now, every=True))

    async def _run(self) -> None:
        while not self._stopping:
            self._wake.clear()
            try:
                pause = await self._step()
            except (WorkError, DatabaseError) as error:
                log.error("jobs cannot be run", reason=str(error))
                pause = self._options.look
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._wake.wait()

    async def _step(self) -> float:
        """Claim and begin what is due; seconds until there may be more."""
        now, options = self._clock(), self._options
        slots = self._slots(now)

        def step(change: Transaction) -> tuple[list[list[Job]], float | None]:
            self._tidy(change, now)
            batches = jobs.claim(change, slots, now=now, lease=now + options.lease) if slots.total else []
            return batches, None if batches else jobs.next_due(change, slots)

        batches, due = await self._store.change(step)
        for batch in batches:
            task = asyncio.get_running_loop().create_task(self._try(batch))
            self._running.tasks[task] = batch
            task.add_done_callback(self._ended)
        if batches:
            return 0.0
        waits = [options.look, *(rest.until - now for rest in self._resting.values())]
        if due is not None and slots.total:
            waits.append(due - now)
        return max(0.0, min(waits))

    def _slots(self, now: float) -> Slots:
        resting = frozenset(name for name, rest in self._resting.items() if rest.until > now)
        running = self._running.destinations()
        total = max(0, self._options.total - len(self._running.tasks))
        most = {name: kind.most for name, kind in self.kinds.items()}
        return Slots(self._options.concurrency, running, resting, most, total)

    def _tidy(self, change: Transaction, now: float) -> None:
        """The heartbeat of what runs, lost leases, and what need not be kept any longer."""
        options = self._options
        if now >= self._beat_due:
            self._beat_due = now + options.lease / 3
            jobs.extend(change, self._running.ids(), now + options.lease)
            jobs.recover(change, now=now)
        if now >= self._prune_due:
            self._prune_due = now + 3600
            jobs.prune(change, now - options.keep)
            self._forget(change, now)

    def _ended(self, task: asyncio.Task[None]) -> None:
        del self._running.tasks[task]
        self._wake.set()

    async def _try(self, batch: Sequence[Job]) -> None:
        """Run one batch and write down its results."""
        first = batch[0]
        try:
            results = dict(await self.kinds[first.kind].run(batch))
        except Exception as error:  # the boundary of a task: the job is tried again
            log.exception("job failed", kind=first.kind, destination=first.destination)
            results = {job.id: Failed(f"{type(error).__name__}: {error}") for job in batch}
        now = self._clock()
        try:
            states = await self._store.change(lambda change: self._conclude(change, batch, results, now))
        except (WorkError, DatabaseError) as error:  # the jobs are tried again once their lease is over
            log.error("results of jobs cannot be kept", jobs=len(batch), reason=str(error))
            return
        for job, state in zip(batch, states, strict=True):
            self._tell(job, state, results.get(job.id))
        self._rest(first.destination, results, now)

    def _conclude(
        self, change: Transaction, batch: Sequence[Job], results: Mapping[int, Result], now: float
    ) -> list[State]:
        missing = Failed("it was not tried")
        return [
            jobs.conclude(
                change,
                job,
                results.get(job.id, missing),
                self._options.retry,
                now=now,
                chance=self._chance(),
            )
            for job in batch
        ]

    def _rest(self, destination: str, results: Mapping[int, Result], now: float) -> None:
        """Let a destination rest that cannot be reached."""
        if not any(isinstance(result, Failed) and result.unreachable for result in results.values()):
            self._resting.pop(destination, None)
            return
        before = self._resting.get(destination)
        failures = before.failures + 1 if before is not None else 1
        wait = self._options.retry.delay(failures, self._chance())
        self._resting[destination] = Rest(now + wait, failures)

    def _tell(self, job: Job, state: State, result: Result | None) -> None:
        facts = {"job": job.id, "kind": job.kind, "destination": job.destination, "attempt": job.attempts}
        if state is State.FAILED:
            log.error("job given up", **facts, reason=getattr(result, "reason", ""))
        elif isinstance(result, Failed):
            log.warning("job will be tried again", **facts, reason=result.reason)
        else:
            log.debug("job done", **facts)
