"""`dicomwire find`: what does a peer have? (PS3.4 C.4.1, K.4.1)"""

from __future__ import annotations

import asyncio
import csv
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, aclosing, contextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Annotated

import typer

from dicomwire.cli import query
from dicomwire.cli.connection import Asked, Flags, Peer
from dicomwire.cli.groups import accepted
from dicomwire.cli.output import Json, Stop, Verbose, escaped, log_to_stderr, say, show_table
from dicomwire.cli.query import CharacterSet, Keys, Question, Scope
from dicomwire.errors import DataSetError, OperationFailed, QueryError

if TYPE_CHECKING:
    from dicomwire.dicom.identifier import Key, Path
    from dicomwire.services.proposals import QueryOptions
    from dicomwire.services.querying import Match

Limit = Annotated[
    int | None, typer.Option("--limit", "-n", metavar="N", min=1, help="Most matches; then C-CANCEL.")
]
Fuzzy = Annotated[bool, typer.Option("--fuzzy", help="Negotiate fuzzy matching of person names.")]
DateTime = Annotated[
    bool, typer.Option("--date-time", help="Negotiate that ranges of date and time are one range.")
]
Timezone = Annotated[
    bool, typer.Option("--timezone", help="Negotiate times in the query's TimezoneOffsetFromUTC.")
]
Csv = Annotated[bool, typer.Option("--csv", help="Print comma-separated values.")]


@dataclass(frozen=True, slots=True)
class Listing:
    """Options of what is asked and listed, whatever it is."""

    limit: Limit = None
    fuzzy: Fuzzy = False
    character_set: CharacterSet = None
    as_csv: Csv = False
    as_json: Json = False

    def check(self) -> None:
        """Refuse options that contradict each other."""
        if self.as_csv and self.as_json:
            raise Stop("--csv and --json are two forms of output: give one", 2)


NOT_SHOWN = (0x00080005, 0x00080052)  # character set and level say nothing of a match


@accepted(scope=Scope, listing=Listing, flags=Flags)
def find(
    peer: Asked,
    keys: Keys = None,
    *,
    scope: Scope,
    listing: Listing,
    date_time: DateTime = False,
    timezone: Timezone = False,
    flags: Flags,
    verbose: Verbose = False,
) -> None:
    """Query a peer: C-FIND. Exit status 0: it answered, if only that nothing matches; 1: it did not.

    Keys are `PatientName=DOE*`, `StudyDate=20200101-`, `(0008,0061)=CT`,
    `RequestAttributesSequence.RequestedProcedureID=7`; `StudyDescription` alone asks for that attribute.
    """
    from dicomwire.services.proposals import QueryOptions

    log_to_stderr(verbose=verbose)
    listing.check()
    asked = query.question(keys, scope, retrieve=False)
    options = QueryOptions(scope.relational, date_time, listing.fuzzy, timezone)
    tell(flags.peer(peer), asked, options, listing)


def tell(peer: Peer, asked: Question, options: QueryOptions, listing: Listing) -> None:
    """Ask a peer and print what matches. Raises: Stop."""
    limit, character_set = listing.limit, listing.character_set
    identifier = _identifier(asked, character_set)
    show = _json_array if listing.as_json else _comma_separated if listing.as_csv else _table
    began = perf_counter()
    with show(_columns(identifier)) as told:
        work = _find(peer, asked, identifier, options, limit, character_set, told)
        count = asyncio.run(work)
    if sys.stderr.isatty() or not count:
        more = f", and perhaps more (--limit {limit})" if count == limit else ""
        say(f"{count or 'no'} match{'es' if count != 1 else ''} in {perf_counter() - began:.2f} s{more}")


def _identifier(asked: Question, character_set: str | None) -> tuple[Key, ...]:
    """All keys of the query, tried out.

    Raises: Stop, when they cannot be.
    """
    from dicomwire.dicom.identifier import encode
    from dicomwire.services import models

    try:
        keys = models.query(asked.keys, asked.root, asked.level)
        encode(keys, character_set_name=character_set)
    except QueryError as error:
        raise Stop(str(error), 2) from error
    return keys


async def _find(
    peer: Peer,
    asked: Question,
    keys: Sequence[Key],
    options: QueryOptions,
    limit: int | None,
    character_set: str | None,
    told: Callable[[Match], None],
) -> int:
    from dicomwire.services import proposals, querying
    from dicomwire.services.proposals import Use

    uid = asked.root.value.find
    count = unreadable = 0
    proposal = proposals.propose([Use.FIND], roots=[asked.root])
    async with query.associated(peer, proposal, options) as association:
        _warn(options, association.agreement.extended_negotiation.get(uid, b""), peer)
        matches = querying.find(association, uid, keys, limit=limit, character_set=character_set)
        try:
            async with aclosing(matches):
                async for match in matches:
                    count += 1
                    try:
                        told(match)
                    except DataSetError as error:
                        say(f"dicomwire: match {count} cannot be read: {error}")
                        unreadable += 1
        except OperationFailed as error:
            raise Stop(f"{peer.address}: {error}{_hint(asked, keys, options)}", 1) from error
    if unreadable:
        raise Stop(f"{peer.address}: {unreadable} of {count} matches cannot be read", 1)
    return count


def _hint(asked: Question, keys: Sequence[Key], options: QueryOptions) -> str:
    """What a peer may not have liked: unique keys that a hierarchical query wants."""
    from dicomwire.services import models

    if not asked.root.value.levels or options.relational:
        return ""
    level = asked.level if asked.level is not None else models.level_of(asked.keys, asked.root)
    missing = models.missing_parents(keys, asked.root, level)
    return (
        f"; a query at level {level.name} needs one value of {', '.join(missing)}, or --relational"
        if missing
        else ""
    )


def _warn(options: QueryOptions, agreed: bytes, peer: Peer) -> None:
    """Say which of what was asked for the peer does not do (PS3.4 C.5.1.1)."""
    wanted = (
        (options.relational, "relational queries"),
        (options.combined_date_time, "combined matching of date and time"),
        (options.fuzzy, "fuzzy matching of person names"),
        (options.timezone, "timezone adjustment"),
    )
    missing = [words for index, (asked, words) in enumerate(wanted) if asked and not any(agreed[index:][:1])]
    if missing:
        say(f"dicomwire: {peer.address} does not offer {', '.join(missing)}; it is asked without")


def _columns(keys: Sequence[Key]) -> list[Path]:
    """What is shown of each match, in the order in which it was asked for."""
    from dicomwire.dicom.dictionary import vr_of

    return [
        path
        for path in dict.fromkeys(key.path for key in keys)
        if path[-1] not in NOT_SHOWN and vr_of(path[-1]) != "SQ"
    ]


def _texts(columns: Sequence[Path], values: Mapping[Path, tuple[str, ...]]) -> list[str]:
    return ["\\".join(values.get(path, ())) for path in columns]


def _head(columns: Sequence[Path]) -> list[str]:
    from dicomwire.dicom.identifier import path_text

    return [path_text(path) for path in columns]


Shown = AbstractContextManager[Callable[["Match"], None]]


@contextmanager
def _table(columns: Sequence[Path]) -> Iterator[Callable[[Match], None]]:
    """A table for a terminal, lines as they come for what reads them."""
    rows: list[list[str]] = []
    terminal = sys.stdout.isatty()

    def tell(match: Match) -> None:
        row = [escaped(text) for text in _texts(columns, match.values())]
        if terminal:
            rows.append(row)
        else:
            print("\t".join(row), flush=True)

    yield tell
    if rows:
        show_table([path.rpartition(".")[2] for path in _head(columns)], rows)


@contextmanager
def _comma_separated(columns: Sequence[Path]) -> Iterator[Callable[[Match], None]]:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(_head(columns))

    def tell(match: Match) -> None:
        writer.writerow(_texts(columns, match.values()))
        sys.stdout.flush()

    yield tell


@contextmanager
def _json_array(columns: Sequence[Path]) -> Iterator[Callable[[Match], None]]:
    """An array of objects of the DICOM JSON Model, which ends as one even where the query fails."""
    count = 0

    def tell(match: Match) -> None:
        nonlocal count
        text = json.dumps(json.loads(match.json()), indent=2, ensure_ascii=False).replace("\n", "\n  ")
        print(f"{',' if count else '['}\n  {text}", end="", flush=True)
        count += 1

    try:
        yield tell
    finally:
        print("\n]" if count else "[]")
