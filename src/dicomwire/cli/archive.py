"""`dicomwire archive`: what a data folder holds, whether it is whole, and files into it and out of it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated
from uuid import uuid4

import typer

from dicomwire.cli.data_folder import Where
from dicomwire.cli.groups import accepted
from dicomwire.cli.output import Json, Stop, Verbose, escaped, log_to_stderr, say, show_json

if TYPE_CHECKING:
    from dicomwire.archive.archive import Archive
    from dicomwire.archive.values import Stored
    from dicomwire.node.settings import Settings

app = typer.Typer(
    help="Look at a data folder, check and mend it, take files in and out.", no_args_is_help=True
)

Study = Annotated[
    str | None, typer.Option("--study", metavar="UID", help="Only the study with this Study Instance UID.")
]
Destination = Annotated[Path, typer.Argument(metavar="DEST", help="Folder to write to; made when missing.")]
Paths = Annotated[
    list[Path],
    typer.Argument(metavar="PATH...", help="Files, DICOMDIRs, and folders with all that is in them."),
]


@app.command()
@accepted(where=Where)
def stats(*, where: Where, as_json: Json = False) -> None:
    """Count what a data folder holds. No node may run on it."""
    with _opened(_existing(where)) as archive:
        held = archive.stats()
    if as_json:
        show_json(asdict(held))
        return
    from dicomwire.cli.output import size

    print(f"{held.studies} studies, {held.series} series, {held.instances} instances")
    print(f"{held.conflicts} conflict versions: other content under a SOP Instance UID that is taken")
    print(f"{held.segments} segments of {size(held.bytes_stored)}, {size(held.bytes_live)} of it in use")


@app.command()
@accepted(where=Where)
def verify(*, where: Where, as_json: Json = False) -> None:
    """Read every stored instance and compare its checksum, also while a node runs.

    Exit status 1: something is damaged.
    """
    from dicomwire.archive import maintenance

    folder = _existing(where).node.data
    found = []
    for damage in maintenance.verify(folder):
        found.append(damage)
        if not as_json:
            instance = f", instance {damage.sop_instance_uid}" if damage.sop_instance_uid else ""
            say(escaped(f"{damage.segment} at byte {damage.offset}{instance}: {damage.reason}"))
    if as_json:
        show_json({"ok": not found, "damage": [asdict(damage) for damage in found]})
    else:
        print(f"{folder}: {f'{len(found)} records are damaged' if found else 'no damage'}")
    if found:
        raise typer.Exit(1)


@app.command()
@accepted(where=Where)
def rebuild(*, where: Where, as_json: Json = False) -> None:
    """Make the catalogue again from the segments. No node may run on the data folder."""
    from dicomwire.archive import maintenance
    from dicomwire.node.store import options_of

    settings = _existing(where)
    folder = settings.node.data
    began = perf_counter()
    count, damage = maintenance.rebuild(folder, options_of(settings))
    if as_json:
        show_json({"instances": count, "damage": [asdict(found) for found in damage]})
    else:
        print(f"{folder}: catalogue made again in {perf_counter() - began:.2f} s, {count} instances")
    for found in damage:
        typer.echo(f"damage: {found.segment} byte {found.offset}: {found.reason}", err=True)
    if damage:
        raise typer.Exit(1)


@app.command()
@accepted(where=Where)
def compact(*, where: Where, as_json: Json = False) -> None:
    """Give back the space of what was replaced or removed. No node may run on the data folder."""
    from dicomwire.archive import maintenance
    from dicomwire.cli.output import size

    settings = _existing(where)
    with _opened(settings) as archive:
        freed = maintenance.compact(archive)
    if as_json:
        show_json({"bytes_freed": freed})
    else:
        print(f"{settings.node.data}: {size(freed)} freed")


@app.command()
@accepted(where=Where)
def backup(
    destination: Annotated[
        Path, typer.Argument(metavar="DEST", help="Folder of the backup; made when missing.")
    ],
    *,
    where: Where,
    as_json: Json = False,
) -> None:
    """Copy the data folder, also while a node runs; again into the same DEST, only what has come since.

    DEST is a data folder itself: to restore, serve a copy of it.
    """
    from dicomwire.archive.backup import backup as back_up
    from dicomwire.cli.output import size

    folder = _existing(where).node.data
    if destination.exists() and not destination.is_dir():
        raise Stop(f"{destination}: not a folder", 2)
    try:
        made = back_up(folder, destination)
    except OSError as error:
        raise Stop(f"{error.filename or destination}: {error.strerror or error}", 1) from None
    if as_json:
        show_json(asdict(made))
    else:
        held = f"{made.instances} instances in {made.segments} segments of {size(made.bytes_held)}"
        print(f"{destination}: {held}; {size(made.bytes_copied)} copied")


@app.command()
@accepted(where=Where)
def migrate(*, where: Where, as_json: Json = False) -> None:
    """Bring the catalogue to this version's schema. No node may run; a node does so when it starts."""
    from dicomwire.archive import maintenance

    folder = _existing(where).node.data
    before, after = maintenance.migrate(folder)
    if as_json:
        show_json({"before": before, "after": after})
    elif before == after:
        print(f"{folder}: schema {after}, nothing to do")
    else:
        print(f"{folder}: schema {before or 'none'} brought to {after}")


@app.command("export")
@accepted(where=Where)
def export_files(
    destination: Destination,
    *,
    study: Study = None,
    dicomdir: Annotated[
        bool, typer.Option("--dicomdir", help="Write a file-set: names for media, and a DICOMDIR.")
    ] = False,
    where: Where,
    as_json: Json = False,
) -> None:
    """Write instances to DEST/STUDY/SERIES/INSTANCE.dcm, byte for byte as they are stored.

    With --dicomdir to DEST/DICOM/ST000001/SE000001/IM000001, into an empty folder.

    Files that are there stay as they are. Exit status 1: an instance was not exported, or there are none.
    """
    from dicomwire.archive import exchange
    from dicomwire.cli.output import size
    from dicomwire.uids import is_valid_uid

    if study is not None and not is_valid_uid(study):
        raise Stop(f"--study {study}: not a UID", 2)
    if destination.exists() and not destination.is_dir():
        raise Stop(f"{destination}: not a folder", 2)
    if dicomdir and destination.exists() and any(destination.iterdir()):
        raise Stop(f"{destination}: not empty, as a file-set needs it", 2)
    counts: Counter[str] = Counter()
    failed: list[dict[str, object]] = []
    length = 0
    with _opened(_existing(where)) as archive:
        chosen: Iterable[Stored] = exchange.current(archive) if study is None else archive.plan(study=study)
        if dicomdir:
            results = exchange.export_file_set(archive, destination, chosen, f"2.25.{uuid4().int}")
        else:
            results = exchange.export(archive, destination, chosen)
        try:
            for each in results:
                counts[each.fate.value] += 1
                if each.fate is exchange.Fate.EXPORTED:
                    length += each.length
                elif each.fate is exchange.Fate.FAILED:
                    failed.append({"file": str(each.path), "reason": each.reason})
                    if not as_json:
                        say(f"{each.path}: {escaped(each.reason)}")
        except OSError as error:
            raise Stop(f"{error.filename or destination}: {error.strerror or error}", 1) from None
    if as_json:
        show_json({"complete": not failed, "outcomes": dict(counts), "bytes": length, "failed": failed})
    else:
        fates = ", ".join(f"{count} {words}" for words, count in counts.items())
        nothing = f"no study {study}" if study else "no instances"
        print(f"{destination}: {fates or nothing}; {size(length)} written")
    if failed or not counts:
        raise typer.Exit(1)


@app.command("import")
@accepted(where=Where)
def import_files(
    paths: Paths,
    *,
    where: Where,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Store files, as a node would. No node may run on the data folder; `dicomwire send` gives it files.

    Exit status 0: all are stored; 1: some are not. What is no DICOM file is passed over in folders.
    """
    if missing := [path for path in paths if not path.exists()]:
        raise Stop("\n".join(f"{path}: no such file or folder" for path in missing), 2)
    settings = _settings(where)
    log_to_stderr(verbose=verbose)
    from dicomwire.cli.intake import Intake

    folder = settings.node.data
    if folder.exists() and not folder.is_dir():
        raise Stop(f"{folder}: a file, not a folder", 2)
    intake = Intake(paths, quiet=as_json)
    began = perf_counter()
    with _opened(settings, hint="; a node takes files by `dicomwire send`") as archive:
        asyncio.run(intake.run(archive))
    intake.show(perf_counter() - began, as_json=as_json)
    if not intake.complete:
        raise typer.Exit(1)


def _settings(where: Where) -> Settings:
    from dicomwire.errors import ConfigurationError
    from dicomwire.node import exposure

    settings = where.settings()
    if faults := exposure.unavailable(settings):
        raise ConfigurationError("\n".join(faults))
    return settings


def _existing(where: Where) -> Settings:
    """Settings whose data folder is there: only serving and importing make one. Damage is told on stderr."""
    from dicomwire.node import log

    settings = _settings(where)
    if not settings.node.data.is_dir():
        raise Stop(f"{settings.node.data}: no such folder", 2)
    log.configure("error", "human")
    return settings


@contextmanager
def _opened(settings: Settings, hint: str = "") -> Iterator[Archive]:
    from dicomwire.errors import ConfigurationError
    from dicomwire.node import store

    try:
        archive = store.open_archive(settings)
    except ConfigurationError as error:
        raise Stop(f"{error}{hint}", 1) from None
    try:
        yield archive
    finally:
        archive.close()
