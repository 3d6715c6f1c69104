"""`dicomwire jobs`: what a node has to send, report and forward, and how far it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from dicomwire.cli.data_folder import Where
from dicomwire.cli.groups import accepted
from dicomwire.cli.output import Json, Stop, escaped, show_json, show_table

if TYPE_CHECKING:
    from dicomwire.work.jobs import Command, Job, Selection
    from dicomwire.work.store import Store

app = typer.Typer(help="Look at durable jobs; retry, cancel, pause and resume them.")

Ids = Annotated[list[int], typer.Argument(metavar="ID...", help="Numbers of jobs, as `list` shows them.")]

Chosen = Annotated[
    list[int] | None,
    typer.Argument(metavar="[ID...]", help="Numbers of jobs, as `list` shows them.", show_default=False),
]
MOST = 1_000_000  # jobs of one command
SHOWN = 100  # jobs of a list that names no limit


class StateName(StrEnum):
    """States, as the flag takes them."""

    WAITING = "waiting"
    RUNNING = "running"
    PAUSED = "paused"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


States = Annotated[
    list[StateName] | None,
    typer.Option("--state", help="Only jobs in this state; may be repeated.", show_default=False),
]
KindOf = Annotated[str | None, typer.Option("--kind", metavar="K", help="Only jobs of this kind.")]
Destination = Annotated[
    str | None, typer.Option("--destination", metavar="AE", help="Only jobs for this AE title.")
]
Limit = Annotated[int, typer.Option(min=1, max=100_000, help="Most jobs to show.")]


@app.callback(invoke_without_command=True)
@accepted(where=Where)
def jobs_alone(context: typer.Context, *, where: Where, as_json: Json = False) -> None:
    """Look at durable jobs; retry, cancel, pause and resume them. Alone it lists them."""
    if context.invoked_subcommand is None:
        _list(None, SHOWN, where, as_json=as_json)
    elif where != Where() or as_json:
        raise Stop(f"write flags behind {context.invoked_subcommand}", 2)


@app.command("list")
@accepted(where=Where)
def list_jobs(
    *,
    state: States = None,
    kind: KindOf = None,
    destination: Destination = None,
    limit: Limit = SHOWN,
    where: Where,
    as_json: Json = False,
) -> None:
    """List jobs, the one that changed last first; a node may run meanwhile."""
    from dicomwire.work import jobs

    states = tuple(jobs.State(each.value) for each in state or ())
    _list(jobs.Selection(states, kind, destination), limit, where, as_json=as_json)


def _list(selection: Selection | None, limit: int, where: Where, *, as_json: bool) -> None:
    from dicomwire.work import jobs

    with _opened(where) as store:
        found = store.apply(lambda change: jobs.listed(change, selection or jobs.Selection(), limit))
        counts = store.apply(jobs.counts)
    if as_json:
        totals = {each.value: count for each, count in counts.items()}
        show_json({"counts": totals, "jobs": [_facts(job) for job in found]})
        return
    rows = [
        (
            str(job.id),
            job.state.value,
            job.kind,
            job.destination,
            str(job.attempts),
            _time(job.changed),
            escaped(job.reason),
        )
        for job in found
    ]
    show_table(("job", "state", "kind", "destination", "attempts", "changed", "reason"), rows)


@app.command()
@accepted(where=Where)
def show(ids: Ids, *, where: Where, as_json: Json = False) -> None:
    """Show all that is known of jobs, payloads included: they may name patients."""
    from dicomwire.work import jobs

    with _opened(where) as store:
        found = store.apply(lambda change: [jobs.find(change, number) for number in ids])
    if as_json:
        show_json([{**_facts(job), "payload": job.payload} for job in found])
        return
    for job in found:
        for name, value in {**_facts(job), "payload": job.payload}.items():
            print(f"{name:12} {escaped(str(value))}")


WORDS = {
    "retry": "Try jobs again now, those that were given up too.",
    "cancel": "Give jobs up for good.",
    "pause": "Hold jobs back, and what comes after them in the same order.",
    "resume": "Let paused jobs go on.",
}
"""Commands on jobs, each with what it does."""


def _command(name: str) -> Callable[..., None]:
    """The command of a name, which takes jobs by their numbers or by what they are."""

    @accepted(where=Where)
    def command(
        ids: Chosen = None,
        *,
        kind: KindOf = None,
        destination: Destination = None,
        where: Where,
        as_json: Json = False,
    ) -> None:
        _order(name, ids or [], (kind, destination), where, as_json=as_json)

    command.__doc__ = WORDS[name]
    return command


for _name in WORDS:
    app.command(_name)(_command(_name))


def _order(
    name: str,
    ids: list[int],
    selected: tuple[str | None, str | None],
    where: Where,
    *,
    as_json: bool,
) -> None:
    """Carry out a command on jobs, on all of them or on none."""
    from time import time

    from dicomwire.work import jobs
    from dicomwire.work.store import Transaction

    command: Command = jobs.Command(name)
    kind, destination = selected
    if bool(ids) == (selected != (None, None)):
        raise Stop("name jobs by their numbers, or by --kind and --destination", 2)

    def run(change: Transaction) -> list[Job]:
        chosen = ids
        if not ids:
            selection = jobs.Selection(jobs.states_for(command), kind, destination)
            chosen = [job.id for job in jobs.listed(change, selection, MOST)]
        return [jobs.order(change, command, number, now=time()) for number in chosen]

    with _opened(where) as store:
        found = store.apply(run)
    if as_json:
        show_json([_facts(job) for job in found])
        return
    for job in found:
        print(f"job {job.id} is {job.state.value}")
    if not found:
        raise Stop("there are no such jobs", 1)


@contextmanager
def _opened(where: Where) -> Iterator[Store]:
    from dicomwire.work.store import FILE, open_store

    folder = where.settings().node.data
    if not (folder / FILE).exists():
        raise Stop(f"{folder}: no node has worked there", 2)
    store = open_store(folder)
    try:
        yield store
    finally:
        store.close()


def _facts(job: Job) -> dict[str, object]:
    return {
        "id": job.id,
        "state": job.state.value,
        "kind": job.kind,
        "destination": job.destination,
        "attempts": job.attempts,
        "due": _time(job.planned),
        "created": _time(job.created),
        "changed": _time(job.changed),
        "order": job.lane,
        "name": job.name,
        "reason": job.reason,
    }


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
