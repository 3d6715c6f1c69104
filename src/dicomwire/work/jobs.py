"""Durable jobs: what is to be sent, reported or forwarded, until it is done or given up.

A job is written in the transaction of the change that is its reason, so neither can be without the other. It
is claimed under a lease, tried, and tried again later; what cannot succeed, or has not for too long, stays as
a dead letter until somebody retries or cancels it. Functions work within a change of the store; time and
chance are arguments. `runner` runs them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence, Sized
from dataclasses import dataclass, field, fields, replace
from enum import Enum
from typing import Final, TypeAlias

from dicomwire.errors import WorkError
from dicomwire.work.store import Parameter, Reader, Row, Transaction

TOPIC: Final = "jobs"
"""Notified when a job may have become due."""

AT_ONCE: Final = -1.0
"""When a job is due that somebody retries: it does not wait for its destination to have rested."""

_CANDIDATES: Final = 256  # jobs looked at in one claim


class State(Enum):
    """Where a job stands."""

    WAITING = "waiting"  # for its time
    RUNNING = "running"
    PAUSED = "paused"  # by somebody, until resumed
    DONE = "done"
    FAILED = "failed"  # a dead letter
    CANCELLED = "cancelled"


LIVE: Final = (State.WAITING, State.RUNNING, State.PAUSED)


@dataclass(frozen=True, slots=True)
class Job:
    """One job.

    Attributes:
        kind: which handler runs it.
        destination: AE title of the peer it is for, "" for none; jobs of one destination share its slots.
        lane: jobs of a destination with the same lane run one after the other, oldest first; "" for no order.
        name: unique among jobs; None for none.
        payload: JSON text, the kind's own.
        attempts: begun so far.
        due, lease, created, changed: seconds since 1970; lease is when a running job counts as lost.
        reason: words about the last failure.
    """

    id: int
    kind: str
    destination: str
    lane: str
    name: str | None
    payload: str
    state: State
    attempts: int
    due: float
    lease: float
    created: float
    changed: float
    reason: str

    @property
    def planned(self) -> float:
        """When it is due, for people: what is due at once is so since it was retried."""
        return max(self.due, self.created)


@dataclass(frozen=True, slots=True)
class Done:
    """A job has succeeded; change is made in the transaction that says so."""

    change: Callable[[Transaction], object] = lambda transaction: None


@dataclass(frozen=True, slots=True)
class Later:
    """It is too early for a job; it is due then, in seconds since 1970."""

    due: float


@dataclass(frozen=True, slots=True)
class Failed:
    """An attempt has failed.

    Attributes:
        final: no further attempt makes sense.
        unreachable: nothing else gets to the destination for a while either.
    """

    reason: str
    final: bool = False
    unreachable: bool = False


Result: TypeAlias = Done | Failed | Later


@dataclass(frozen=True, slots=True)
class Kind:
    """How jobs of one kind are run.

    Attributes:
        run: tries jobs of one destination; gives the result of each by its id.
        most: jobs of one call.
    """

    run: Callable[[Sequence[Job]], Awaitable[Mapping[int, Result]]]
    most: int = 1


@dataclass(frozen=True, slots=True)
class Retry:
    """When to try again.

    Attributes:
        first: seconds behind the first failure; each further one doubles them.
        longest: most seconds between two attempts.
        give_up: seconds behind a job's creation after which a failure is final; 0 for never.
    """

    first: float = 5.0
    longest: float = 900.0
    give_up: float = 7 * 86_400.0

    def delay(self, attempts: int, chance: float) -> float:
        """Seconds until the next attempt: half of them sure, half by chance (0 to 1), so that jobs spread."""
        whole = min(self.longest, self.first * 2.0 ** min(attempts - 1, 30))
        return whole * (0.5 + 0.5 * chance)


@dataclass(frozen=True, slots=True)
class Slots:
    """What a claim may take.

    Attributes:
        concurrency: batches of one destination at once.
        running: batches under way by destination.
        resting: destinations that get nothing now, but what somebody retries.
        most: jobs of a batch by kind; kinds without are left alone.
        total: batches to take at most.
    """

    concurrency: int
    running: Mapping[str, int] = field(default_factory=dict)
    resting: frozenset[str] = frozenset()
    most: Mapping[str, int] = field(default_factory=dict)
    total: int = 16


_COLUMNS: Final = ", ".join(each.name for each in fields(Job))
_COUNTS: Final = "SELECT state, count(*) FROM job GROUP BY state"
_LIVE: Final = ", ".join(f"'{state.value}'" for state in LIVE)
_ORDERED: Final = (
    "(lane = '' OR NOT EXISTS (SELECT 1 FROM job AS before INDEXED BY job_lane"
    " WHERE before.destination = job.destination AND before.lane = job.lane AND before.lane <> ''"
    f" AND before.id < job.id AND before.state IN ({_LIVE})))"
)


def add(
    transaction: Transaction,
    kind: str,
    destination: str,
    payload: str,
    *,
    now: float,
    due: float | None = None,
    lane: str = "",
    name: str | None = None,
) -> None:
    """Write a job.

    due: not tried before; at once without.
    name: a live job of this name is put off to `due` instead, or runs once more where it is running.
    """
    due = now if due is None else due
    transaction.notify(TOPIC)
    if name is not None:
        sql = f"UPDATE job SET due = ?, changed = ? WHERE name = ? AND state IN ({_LIVE})"
        if transaction.count(sql, (due, now, name)):
            return
        transaction.count("DELETE FROM job WHERE name = ?", (name,))
    transaction.count(
        "INSERT INTO job (kind, destination, lane, name, payload, state, attempts, due, lease, created,"
        " changed, reason) VALUES (?, ?, ?, ?, ?, 'waiting', 0, ?, 0, ?, ?, '')",
        (kind, destination, lane, name, payload, due, now, now),
    )


def claim(transaction: Transaction, slots: Slots, *, now: float, lease: float) -> list[list[Job]]:
    """Take jobs that are due, in batches of one kind and destination each, as they are then.

    lease: until when they are ours.
    """
    open_to, parameters = _open_to(slots)
    rows = transaction.rows(
        f"SELECT {_COLUMNS} FROM job WHERE state = 'waiting' AND due <= ? AND {open_to}"
        f" ORDER BY due, id LIMIT {_CANDIDATES}",
        (now, *parameters),
    )
    free = {name: slots.concurrency - count for name, count in slots.running.items()}
    batches: list[list[Job]] = []
    open_batches: dict[tuple[str, str], list[Job]] = {}
    for job in map(_job, rows):
        batch = open_batches.get((job.kind, job.destination))
        if batch is None or len(batch) == slots.most[job.kind]:
            left = free.setdefault(job.destination, slots.concurrency)
            if not left or len(batches) == slots.total:
                continue
            free[job.destination] = left - 1
            batch = open_batches[job.kind, job.destination] = []
            batches.append(batch)
        batch.append(replace(job, state=State.RUNNING, attempts=job.attempts + 1, lease=lease, changed=now))
    for batch in batches:
        for job in batch:
            transaction.count(
                "UPDATE job SET state = 'running', attempts = ?, lease = ?, changed = ? WHERE id = ?",
                (job.attempts, lease, now, job.id),
            )
    return batches


def next_due(transaction: Transaction, slots: Slots) -> float | None:
    """When the next job that a claim could take is due; None where none waits."""
    open_to, parameters = _open_to(slots)
    row = transaction.row(f"SELECT min(due) FROM job WHERE state = 'waiting' AND {open_to}", parameters)
    return float(str(row[0])) if row is not None and row[0] is not None else None


def _open_to(slots: Slots) -> tuple[str, tuple[str, ...]]:
    """The condition of what a claim could take, whenever it is due, in SQL, and its parameters."""
    full = [name for name, count in slots.running.items() if count >= slots.concurrency]
    sql = (
        f"destination NOT IN ({_marks(full)})"
        f" AND (due = {AT_ONCE} OR destination NOT IN ({_marks(slots.resting)}))"
        f" AND kind IN ({_marks(slots.most)}) AND {_ORDERED}"
    )
    return sql, (*full, *slots.resting, *slots.most)


def conclude(
    transaction: Transaction, job: Job, result: Result, retry: Retry, *, now: float, chance: float
) -> State:
    """Write how an attempt ended; where it stands now.

    What was cancelled meanwhile stays so. A job that was added again while it ran waits once more.
    """
    row = transaction.row("SELECT state, due FROM job WHERE id = ?", (job.id,))
    if row is None or row[0] != State.RUNNING.value:
        if isinstance(result, Done):
            result.change(transaction)
        return State(row[0]) if row is not None else State.CANCELLED
    transaction.notify(TOPIC)
    due, reason = float(str(row[1])), ""
    if isinstance(result, Done):
        result.change(transaction)
        state = State.WAITING if due != job.due else State.DONE
    elif isinstance(result, Later):
        state, due = State.WAITING, max(due, result.due)
        transaction.count("UPDATE job SET attempts = attempts - 1 WHERE id = ?", (job.id,))
    else:
        reason = result.reason
        next_time = now + retry.delay(job.attempts, chance)
        late = retry.give_up and next_time > job.created + retry.give_up
        state = State.FAILED if result.final or late else State.WAITING
        due = max(due, next_time) if state is State.WAITING else due
    transaction.count(
        "UPDATE job SET state = ?, due = ?, lease = 0, changed = ?, reason = ? WHERE id = ?",
        (state.value, due, now, reason, job.id),
    )
    return state


def extend(transaction: Transaction, ids: Sequence[int], lease: float) -> None:
    """The heartbeat: running jobs are ours for longer."""
    transaction.count(
        f"UPDATE job SET lease = ? WHERE state = 'running' AND id IN ({_marks(ids)})", (lease, *ids)
    )


def recover(transaction: Transaction, *, now: float, every: bool = False) -> int:
    """Let running jobs wait again whose lease is over; how many.

    every: whatever their lease, because nobody else can be running them.
    """
    return transaction.count(
        "UPDATE job SET state = 'waiting', lease = 0, changed = ?"
        " WHERE state = 'running' AND (? OR lease < ?)",
        (now, every, now),
    )


def prune(transaction: Transaction, before: float) -> int:
    """Forget jobs that were done or cancelled before a time; how many."""
    return transaction.count(
        "DELETE FROM job WHERE state IN ('done', 'cancelled') AND changed < ?", (before,)
    )


class Command(Enum):
    """What somebody may do to a job."""

    RETRY = "retry"
    CANCEL = "cancel"
    PAUSE = "pause"
    RESUME = "resume"


_COMMANDS: Final[Mapping[Command, tuple[tuple[State, ...], State]]] = {
    Command.RETRY: ((State.WAITING, State.FAILED, State.CANCELLED, State.DONE), State.WAITING),
    Command.CANCEL: ((State.WAITING, State.RUNNING, State.PAUSED, State.FAILED), State.CANCELLED),
    Command.PAUSE: ((State.WAITING,), State.PAUSED),
    Command.RESUME: ((State.PAUSED,), State.WAITING),
}
"""From which states each command leads where."""


def states_for(command: Command) -> tuple[State, ...]:
    """States of the jobs that somebody means who names none; done and cancelled ones are not retried."""
    if command is Command.RETRY:
        return (State.FAILED, State.WAITING)
    return _COMMANDS[command][0]


def order(transaction: Transaction, command: Command, job_id: int, *, now: float) -> Job:
    """Carry out a command on a job; the job as it is then.

    Raises: WorkError, when there is no such job, or its state does not allow it.
    """
    job = find(transaction, job_id)
    states, after = _COMMANDS[command]
    if job.state not in states:
        allowed = ", ".join(state.value for state in states)
        raise WorkError(f"job {job_id} is {job.state.value}; {command.value} is for jobs that are {allowed}")
    afresh = command is Command.RETRY
    transaction.notify(TOPIC)
    due, created, attempts = (AT_ONCE, now, 0) if afresh else (job.due, job.created, job.attempts)
    transaction.count(
        "UPDATE job SET state = ?, changed = ?, due = ?, created = ?, attempts = ? WHERE id = ?",
        (after.value, now, due, created, attempts, job_id),
    )
    return find(transaction, job_id)


def find(transaction: Transaction, job_id: int) -> Job:
    """One job. Raises: WorkError, when there is none."""
    row = transaction.row(f"SELECT {_COLUMNS} FROM job WHERE id = ?", (job_id,))
    if row is None:
        raise WorkError(f"there is no job {job_id}")
    return _job(row)


@dataclass(frozen=True, slots=True)
class Selection:
    """Which jobs: those in one of the states, of the kind, for the destination; None and () for any."""

    states: tuple[State, ...] = ()
    kind: str | None = None
    destination: str | None = None

    def where(self) -> tuple[str, list[Parameter]]:
        """The condition in SQL, and its parameters."""
        conditions, parameters = ["1"], list[Parameter]()
        if self.states:
            conditions.append(f"state IN ({_marks(self.states)})")
            parameters += [state.value for state in self.states]
        for column, value in (("kind", self.kind), ("destination", self.destination)):
            if value is not None:
                conditions.append(f"{column} = ?")
                parameters.append(value)
        return " AND ".join(conditions), parameters


def listed(reader: Reader, selection: Selection, limit: int) -> list[Job]:
    """Jobs, the one that changed last first."""
    where, parameters = selection.where()
    sql = f"SELECT {_COLUMNS} FROM job WHERE {where} ORDER BY changed DESC, id DESC LIMIT ?"
    return [_job(row) for row in reader.rows(sql, (*parameters, limit))]


def counts(reader: Reader) -> dict[State, int]:
    """How many jobs there are of each state."""
    found = {str(state): int(str(count)) for state, count in reader.rows(_COUNTS)}
    return {state: found.get(state.value, 0) for state in State}


def _job(row: Row) -> Job:
    values = dict(zip((each.name for each in fields(Job)), row, strict=True))
    values["state"] = State(values["state"])
    make: Callable[..., Job] = Job
    return make(**values)


def _marks(values: Sized) -> str:
    return ", ".join("?" * len(values))
