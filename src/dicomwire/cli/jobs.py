"""`dicomwire jobs`: what a node has to send, report and forward, and how far it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dicomwire.cli.output import Json, Stop, escaped, show_json, show_table

if TYPE_CHECKING:
    from dicomwire.work.jobs import Command, Job
    from dicomwire.work.store import Store

app = typer.Typer(help="Look at durable jobs; retry, cancel, pause and resume them.")

Config = Annotated[
    Path | None,
    typer.Option("--config", metavar="F", help="TOML file; dicomwire.toml in this folder without it."),
]
Data = Annotated[
    Path | None, typer.Option("--data", metavar="DIR", help="Data folder; without it node.data.")
]
Ids = Annotated[list[int], typer.Argument(metavar="ID...", help="Numbers of jobs, as `list` shows them.")]

Chosen = Annotated[
    list[int] | None,
    typer.Argument(metavar="[ID...]", help="Numbers of jobs, as `list` shows them.", show_default=False),
]
MOST = 1_000_000  # jobs of one command


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
def jobs_alone(
    context: typer.Context, *, data: Data = None, config: Config = None, as_json: Json = False
) -> None:
    """Look at durable jobs; retry, cancel, pause and resume them. Alone it lists them."""
    if context.invoked_subcommand is None:
        list_jobs(data=data, config=config, as_json=as_json)
    elif data is not None or config is not None or as_json:
        raise Stop(f"write flags behind {context.invoked_subcommand}", 2)


@app.command("list")
def list_jobs(
    *,
    state: States = None,
    kind: KindOf = None,
    destination: Destination = None,
    limit: Limit = 100,
    data: Data = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """List jobs, the one that changed last first; a node may run meanwhile."""
    from dicomwire.work import jobs

    selection = jobs.Selection(tuple(jobs.State(each.value) for each in state or ()), kind, destination)
    with _opened(data, config) as store:
        found = store.apply(lambda change: jobs.listed(change, selection, limit))
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
def show(ids: Ids, *, data: Data = None, config: Config = None, as_json: Json = False) -> None:
    """Show all that is known of jobs, payloads included: they may name patients."""
    from dicomwire.work import jobs

    with _opened(data, config) as store:
        found = store.apply(lambda change: [jobs.find(change, number) for number in ids])
    if as_json:
        show_json([{**_facts(job), "payload": job.payload} for job in found])
        return
    for job in found:
        for name, value in {**_facts(job), "payload": job.payload}.items():
            print(f"{name:12} {escaped(str(value))}")


@app.command()
def retry(
    ids: Chosen = None,
    *,
    kind: KindOf = None,
    destination: Destination = None,
    data: Data = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Try jobs again now, those that were given up too."""
    _order("retry", ids or [], (kind, destination), data, config, as_json=as_json)


@app.command()
def cancel(
    ids: Chosen = None,
    *,
    kind: KindOf = None,
    destination: Destination = None,
    data: Data = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Give jobs up for good."""
    _order("cancel", ids or [], (kind, destination), data, config, as_json=as_json)


@app.command()
def pause(
    ids: Chosen = None,
    *,
    kind: KindOf = None,
    destination: Destination = None,
    data: Data = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Hold jobs back, and what comes after them in the same order."""
    _order("pause", ids or [], (kind, destination), data, config, as_json=as_json)


@app.command()
def resume(
    ids: Chosen = None,
    *,
    kind: KindOf = None,
    destination: Destination = None,
    data: Data = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Let paused jobs go on."""
    _order("resume", ids or [], (kind, destination), data, config, as_json=as_json)


def _order(
    name: str,
    ids: list[int],
    selected: tuple[str | None, str | None],
    data: Path | None,
    config: Path | None,
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

    with _opened(data, config) as store:
        found = store.apply(run)
    if as_json:
        show_json([_facts(job) for job in found])
        return
    for job in found:
        print(f"job {job.id} is {job.state.value}")
    if not found:
        raise Stop("there are no such jobs", 1)


@contextmanager
def _opened(data: Path | None, config: Path | None) -> Iterator[Store]:
    from dicomwire.node import configuration
    from dicomwire.work.store import FILE, open_store

    folder = configuration.load(file=config, flags={"node.data": data}).settings.node.data
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
        "due": _time(job.due),
        "created": _time(job.created),
        "changed": _time(job.changed),
        "order": job.lane,
        "name": job.name,
        "reason": job.reason,
    }


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
