"""Jobs under any order of events, crashes among them: none is lost, lanes keep their order, slots hold."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from dicomwire.errors import WorkError
from dicomwire.work import jobs
from dicomwire.work.jobs import Command, Done, Failed, Job, Retry, Selection, Slots, State
from dicomwire.work.store import Store, open_store

RETRY = Retry(first=4, longest=16, give_up=200)
LANES = ("", "step 1", "step 2")
DESTINATIONS = ("PACS", "RIS")
CONCURRENCY = 2


class Jobs(RuleBasedStateMachine):
    """One process with a store, which may die; the model knows what was added and what is over."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.store = open_store(Path(self.folder.name))
        self.now = 1000.0
        self.added: set[int] = set()
        self.running: dict[int, Job] = {}
        self.ended: dict[tuple[str, str], list[int]] = {}

    def teardown(self) -> None:
        self.store.close()
        self.folder.cleanup()

    def all(self) -> list[Job]:
        return self.store.apply(lambda change: jobs.listed(change, Selection(), 1000))

    @rule(destination=st.sampled_from(DESTINATIONS), lane=st.sampled_from(LANES), count=st.integers(1, 3))
    def add(self, destination: str, lane: str, count: int) -> None:
        before = {job.id for job in self.all()}
        for _ in range(count):
            self.store.apply(
                lambda change: jobs.add(change, "send", destination, "{}", now=self.now, lane=lane)
            )
        self.added |= {job.id for job in self.all()} - before

    @rule(seconds=st.floats(0, 40))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def claim(self) -> None:
        busy = Counter(job.destination for job in self.running.values())
        slots = Slots(CONCURRENCY, busy, most={"send": 1})
        batches = self.store.apply(
            lambda change: jobs.claim(change, slots, now=self.now, lease=self.now + 60)
        )
        for (job,) in batches:
            assert job.id not in self.running
            assert job.due <= self.now
            self.running[job.id] = job

    @precondition(lambda self: self.running)
    @rule(data=st.data(), result=st.sampled_from([Done(), Failed("busy"), Failed("never", final=True)]))
    def conclude(self, data: st.DataObject, result: jobs.Result) -> None:
        job = self.running.pop(data.draw(st.sampled_from(sorted(self.running))))
        state = self.store.apply(
            lambda change: jobs.conclude(change, job, result, RETRY, now=self.now, chance=0.5)
        )
        if state in (State.DONE, State.FAILED):
            self.ended.setdefault((job.destination, job.lane), []).append(job.id)

    @precondition(lambda self: self.added)
    @rule(data=st.data(), command=st.sampled_from([Command.PAUSE, Command.RESUME, Command.CANCEL]))
    def order(self, data: st.DataObject, command: Command) -> None:
        job_id = data.draw(st.sampled_from(sorted(self.added)))
        try:
            self.store.apply(lambda change: jobs.order(change, command, job_id, now=self.now))
        except WorkError:
            return

    @rule()
    def die(self) -> None:
        """The process ends with jobs running; the next one takes them up."""
        self.store.close()
        self.running.clear()
        self.store = Store(self.store.path)
        self.store.apply(lambda change: jobs.recover(change, now=self.now, every=True))

    @invariant()
    def none_is_lost(self) -> None:
        assert {job.id for job in self.all()} == self.added

    @invariant()
    def what_is_running_is_known_and_within_the_slots(self) -> None:
        running = [job for job in self.all() if job.state is State.RUNNING]
        assert {job.id for job in running} <= set(self.running)
        assert all(count <= CONCURRENCY for count in Counter(job.destination for job in running).values())

    @invariant()
    def a_lane_runs_one_at_a_time_and_in_order(self) -> None:
        lanes = Counter(
            (job.destination, job.lane) for job in self.all() if job.state is State.RUNNING and job.lane
        )
        assert all(count == 1 for count in lanes.values())
        for (_, lane), ended in self.ended.items():
            assert not lane or ended == sorted(ended)


TestJobs = Jobs.TestCase
TestJobs.settings = settings(max_examples=15, stateful_step_count=30, deadline=None)
