"""Jobs: states, order, leases, repetition, as functions of a transaction, a time and a chance."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from dicomwire.errors import WorkError
from dicomwire.work import jobs
from dicomwire.work.jobs import Command, Done, Failed, Job, Later, Retry, Selection, Slots, State
from dicomwire.work.store import Parameter, Row, Store, Transaction, open_store

SLOTS = Slots(concurrency=1, most={"send": 1, "forward": 10})
RETRY = Retry(first=10, longest=100, give_up=1000)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = open_store(tmp_path)
    yield store
    store.close()


def add(store: Store, kind: str = "send", to: str = "PACS", **options: object) -> None:
    values = {"now": 0.0, **options}
    store.apply(lambda change: jobs.add(change, kind, to, "{}", **values))  # type: ignore[arg-type]


def claim(store: Store, slots: Slots = SLOTS, now: float = 0.0) -> list[list[Job]]:
    return store.apply(lambda change: jobs.claim(change, slots, now=now, lease=now + 60))


def conclude(store: Store, job: Job, result: jobs.Result, now: float = 0.0) -> State:
    return store.apply(lambda change: jobs.conclude(change, job, result, RETRY, now=now, chance=1.0))


def order(store: Store, command: Command, job_id: int, now: float = 0.0) -> Job:
    return store.apply(lambda change: jobs.order(change, command, job_id, now=now))


def listed(store: Store, *states: State) -> list[int]:
    found = store.apply(lambda change: jobs.listed(change, Selection(states), 100))
    return sorted(job.id for job in found)


def test_a_job_is_claimed_once_and_over_when_it_is_done(store: Store) -> None:
    add(store)
    ((job,),) = claim(store)
    assert (job.state, job.attempts, job.lease) == (State.RUNNING, 1, 60)
    assert claim(store) == []
    assert conclude(store, job, Done()) is State.DONE
    assert claim(store, now=1e9) == []


def test_a_job_and_the_change_that_is_its_reason_stand_or_fall_together(store: Store) -> None:
    def change(transaction: Transaction) -> None:
        jobs.add(transaction, "send", "PACS", "{}", now=0)
        raise LookupError

    with pytest.raises(LookupError):
        store.apply(change)
    assert listed(store) == []


def test_what_a_job_leads_to_is_written_with_its_end(store: Store) -> None:
    add(store)
    ((job,),) = claim(store)
    conclude(store, job, Done(lambda change: change.rows("INSERT INTO progress VALUES ('seen', 1)")))
    assert store.rows("SELECT name FROM progress") == [("seen",)]


def test_a_failure_is_tried_again_later_and_later_until_given_up(store: Store) -> None:
    add(store)
    now, waits = 0.0, []
    while True:
        ((job,),) = claim(store, now=now)
        if conclude(store, job, Failed("refused"), now=now) is State.FAILED:
            break
        ((due,),) = store.rows("SELECT due FROM job")
        waits.append(float(str(due)) - now)
        assert claim(store, now=now + waits[-1] - 0.01) == []
        now += waits[-1]
    assert waits[:5] == [10, 20, 40, 80, 100]
    assert set(waits[5:]) == {100}
    assert now > 900
    assert store.rows("SELECT state, reason FROM job") == [("failed", "refused")]


def test_what_is_too_early_is_no_failure(store: Store) -> None:
    add(store)
    for now in (0.0, 2000.0):  # far beyond the time after which failures are given up
        ((job,),) = claim(store, now=now)
        assert job.attempts == 1
        assert conclude(store, job, Later(now + 5), now=now) is State.WAITING
        assert claim(store, now=now + 4) == []
    ((job,),) = claim(store, now=2005.0)
    assert conclude(store, job, Done(), now=2005.0) is State.DONE


def test_the_delay_is_half_sure_and_half_by_chance() -> None:
    assert [RETRY.delay(1, chance) for chance in (0.0, 0.5, 1.0)] == [5, 7.5, 10]
    assert RETRY.delay(10**6, 1.0) == 100


def test_a_final_failure_is_a_dead_letter_at_once(store: Store) -> None:
    add(store)
    ((job,),) = claim(store)
    assert conclude(store, job, Failed("no such peer", final=True)) is State.FAILED
    assert order(store, Command.RETRY, job.id, now=5).state is State.WAITING
    assert len(claim(store, now=5)) == 1


def test_a_destination_has_so_many_slots_and_others_have_their_own(store: Store) -> None:
    for to in ("PACS", "PACS", "PACS", "WORKSTATION"):
        add(store, to=to)
    batches = claim(store, Slots(2, {"PACS": 1}, most={"send": 1}))
    assert sorted(batch[0].destination for batch in batches) == ["PACS", "WORKSTATION"]
    assert claim(store, Slots(2, {"PACS": 2}, most={"send": 1})) == []
    assert claim(store, Slots(2, resting=frozenset({"PACS"}), most={"send": 1})) == []
    assert len(claim(store, Slots(2, most={"send": 1}))) == 2


def test_jobs_of_a_kind_that_may_go_together_do(store: Store) -> None:
    for _ in range(12):
        add(store, "forward")
    add(store, "forward", to="OTHER")
    assert sorted(len(batch) for batch in claim(store, Slots(1, most={"forward": 10}))) == [1, 10]


def test_kinds_that_nobody_runs_are_left_alone(store: Store) -> None:
    add(store, "later")
    assert claim(store) == []
    assert store.apply(lambda change: jobs.next_due(change, SLOTS)) is None


@pytest.mark.parametrize(
    ("result", "followed"), [(Done(), True), (Failed("x"), False), (Failed("x", final=True), True)]
)
def test_a_lane_runs_in_order_and_waits_for_what_is_tried_again(
    store: Store, result: jobs.Result, followed: bool
) -> None:
    slots = Slots(5, most={"send": 1})
    for lane in ("step 1", "step 1", "step 2"):
        add(store, lane=lane)
    first = sorted((batch[0] for batch in claim(store, slots)), key=lambda job: job.id)
    assert [job.lane for job in first] == ["step 1", "step 2"]
    conclude(store, first[0], result)
    assert [batch[0].lane for batch in claim(store, slots)] == (["step 1"] if followed else [])


def test_a_claim_looks_at_each_job_once_however_many_wait(store: Store) -> None:
    asked: list[str] = []

    class Watched(Transaction):
        def rows(self, sql: str, parameters: Sequence[Parameter] = ()) -> list[Row]:
            asked.extend(str(row[-1]) for row in super().rows(f"EXPLAIN QUERY PLAN {sql}", parameters))
            return super().rows(sql, parameters)

    add(store, lane="1.2")
    with closing(sqlite3.connect(store.path)) as connection:
        jobs.claim(Watched(connection), SLOTS, now=0.0, lease=60)
    assert [step for step in asked if "SCAN" in step or "TEMP B-TREE" in step] == []
    assert any("INDEX job_lane (destination=? AND lane=? AND id<?)" in step for step in asked)


def test_pausing_a_job_holds_its_lane_and_resuming_lets_it_go(store: Store) -> None:
    add(store, lane="a")
    add(store, lane="a")
    order(store, Command.PAUSE, 1)
    assert claim(store) == []
    order(store, Command.RESUME, 1)
    assert [batch[0].id for batch in claim(store)] == [1]


def test_a_named_job_is_put_off_while_it_waits_and_runs_again_when_added_while_running(store: Store) -> None:
    add(store, name="study", due=10)
    add(store, name="study", due=20)
    assert claim(store, now=15) == []
    ((job,),) = claim(store, now=20)
    add(store, name="study", due=40)
    assert listed(store) == [1]
    assert conclude(store, job, Done(), now=21) is State.WAITING
    assert claim(store, now=39) == []
    ((job,),) = claim(store, now=40)
    assert conclude(store, job, Done(), now=41) is State.DONE
    add(store, name="study", due=60)
    assert len(listed(store, State.WAITING)) == 1


def test_a_job_whose_lease_is_over_is_taken_up_again_and_a_heartbeat_keeps_it(store: Store) -> None:
    add(store)
    ((job,),) = claim(store)
    store.apply(lambda change: jobs.extend(change, [job.id], 100))
    assert store.apply(lambda change: jobs.recover(change, now=90)) == 0
    assert store.apply(lambda change: jobs.recover(change, now=101)) == 1
    ((again,),) = claim(store, now=101)
    assert again.attempts == 2


def test_what_a_process_left_running_is_taken_up_when_the_next_starts(store: Store) -> None:
    add(store)
    claim(store)
    assert store.apply(lambda change: jobs.recover(change, now=1, every=True)) == 1


ALLOWED = {
    (Command.RETRY, State.WAITING): State.WAITING,
    (Command.RETRY, State.FAILED): State.WAITING,
    (Command.RETRY, State.CANCELLED): State.WAITING,
    (Command.RETRY, State.DONE): State.WAITING,
    (Command.CANCEL, State.WAITING): State.CANCELLED,
    (Command.CANCEL, State.RUNNING): State.CANCELLED,
    (Command.CANCEL, State.PAUSED): State.CANCELLED,
    (Command.CANCEL, State.FAILED): State.CANCELLED,
    (Command.PAUSE, State.WAITING): State.PAUSED,
    (Command.RESUME, State.PAUSED): State.WAITING,
}


@pytest.mark.parametrize("command", Command)
@pytest.mark.parametrize("state", State)
def test_every_command_in_every_state(store: Store, command: Command, state: State) -> None:
    add(store)
    store.apply(lambda change: change.count("UPDATE job SET state = ?", (state.value,)))
    after = ALLOWED.get((command, state))
    if after is not None:
        assert order(store, command, 1).state is after
        return
    with pytest.raises(WorkError, match=f"job 1 is {state.value}"):
        order(store, command, 1)
    assert listed(store, state) == [1]


def test_a_job_that_is_cancelled_while_it_runs_stays_cancelled(store: Store) -> None:
    add(store)
    ((job,),) = claim(store)
    order(store, Command.CANCEL, job.id)
    assert conclude(store, job, Failed("late")) is State.CANCELLED
    assert claim(store, now=1e9) == []


def test_a_command_for_no_job_is_refused(store: Store) -> None:
    with pytest.raises(WorkError, match="there is no job 7"):
        order(store, Command.RETRY, 7)


def test_jobs_that_are_over_are_forgotten_but_dead_letters_stay(store: Store) -> None:
    for _ in range(3):
        add(store)
    for result in (Done(), Failed("x", final=True)):
        ((job,),) = claim(store)
        conclude(store, job, result)
    assert store.apply(lambda change: jobs.prune(change, 1)) == 1
    assert listed(store, State.FAILED, State.WAITING) == listed(store) == [2, 3]
    assert store.apply(jobs.counts) == dict.fromkeys(State, 0) | {State.FAILED: 1, State.WAITING: 1}


def test_jobs_can_be_selected(store: Store) -> None:
    add(store, "send", "A")
    add(store, "forward", "A")
    add(store, "forward", "B")

    def found(selection: Selection) -> list[int]:
        return [job.id for job in store.apply(lambda change: jobs.listed(change, selection, 2))]

    assert found(Selection()) == [3, 2]
    assert found(Selection(kind="send")) == [1]
    assert found(Selection(destination="A", kind="forward")) == [2]


def test_the_next_look_is_when_the_first_job_is_due_that_could_run(store: Store) -> None:
    def look(slots: Slots) -> float | None:
        return store.apply(lambda change: jobs.next_due(change, slots))

    add(store, due=50)
    add(store, due=30, to="OTHER")
    assert look(SLOTS) == 30
    assert look(Slots(1, {"OTHER": 1}, most={"send": 1})) == 50
