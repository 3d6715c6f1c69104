"""What `find`, `move` and `get` share: keys, level and model on the command line, errors in words."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

import typer

from dicomwire.cli.connection import Peer
from dicomwire.cli.output import Stop
from dicomwire.cli.retrieval import Ending
from dicomwire.errors import Aborted, ConnectionLost, NoAcceptedContext, OperationFailed, QueryError

if TYPE_CHECKING:
    from dicomwire.association.association import Association
    from dicomwire.association.performer import Services
    from dicomwire.dicom.identifier import Key
    from dicomwire.services.models import Level, Root
    from dicomwire.services.proposals import Proposal, QueryOptions, Use
    from dicomwire.services.retrieving import Progress

Keys = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="KEY=VALUE",
        help="What to match: a keyword, a tag (0010,0010), or Sequence.Keyword; without = what to show.",
    ),
]
LevelName = Annotated[
    str | None,
    typer.Option("--level", "-l", metavar="L", help="patient, study, series or image; else the keys tell."),
]
RootName = Annotated[
    str | None,
    typer.Option(
        "--root", metavar="R", help="Information model: study, patient, patient-study-only or worklist."
    ),
]
CharacterSet = Annotated[
    str | None,
    typer.Option(metavar="CS", help="Specific Character Set of the keys; else ASCII, or ISO_IR 192."),
]
Relational = Annotated[
    bool, typer.Option("--relational", help="Negotiate queries without the unique keys of the levels above.")
]


@dataclass(frozen=True, slots=True)
class Question:
    """What a command asks.

    Attributes:
        level: None to infer it.
    """

    keys: tuple[Key, ...]
    root: Root
    level: Level | None


@dataclass(frozen=True, slots=True)
class Scope:
    """Options that say where in which information model keys stand."""

    level: LevelName = None
    root: RootName = None
    relational: Relational = False


def question(keys: Sequence[str] | None, scope: Scope, *, retrieve: bool) -> Question:
    """Read keys, level and information model.

    Args:
        retrieve: the command retrieves what matches.

    Raises: Stop, when one of them is none.
    """
    from dicomwire.dicom.identifier import parse
    from dicomwire.services import models

    level, root = scope.level, scope.root
    try:
        given = tuple(parse(key) for key in keys or ())
        named = models.level_named(level) if level is not None else None
        model = models.root_named(root) if root is not None else None
        return Question(given, model or models.root_for(given, named, retrieve=retrieve), named)
    except QueryError as error:
        raise Stop(str(error), 2) from error


def check_retrieval(asked: Question) -> None:
    """Refuse what cannot be retrieved, before a peer is asked.

    Raises: Stop.
    """
    from dicomwire.services import models

    try:
        if not asked.keys:
            raise QueryError("nothing is named to retrieve: give StudyInstanceUID=..., for example")
        if not asked.root.value.levels:
            raise QueryError(f"{asked.root.value.name} retrieves nothing")
        if models.names_all(asked.keys, asked.root):
            models.retrieval(asked.keys, asked.root, asked.level)
        else:
            models.query(asked.keys, asked.root, asked.level)
    except QueryError as error:
        raise Stop(str(error), 2) from error


def uses_of(asked: Question, retrieve: Use) -> list[Use]:
    """What the association of a retrieval is for: the query before it, too, where there is one."""
    from dicomwire.services import models
    from dicomwire.services.proposals import Use

    return [retrieve] if models.names_all(asked.keys, asked.root) else [Use.FIND, retrieve]


async def follow(steps: AsyncGenerator[Progress, None], shown: Callable[[Progress], None]) -> Ending:
    """Take the answers of one retrieval to its end, which may be a failure: others may follow."""
    ending = Ending()
    try:
        async with aclosing(steps):
            async for step in steps:
                shown(step)
                if step.final:
                    ending = Ending.of(step)
    except OperationFailed as error:
        return replace(ending, words=str(error))
    return ending


@asynccontextmanager
async def associated(
    peer: Peer, proposal: Proposal, options: QueryOptions, services: Services | None = None
) -> AsyncIterator[Association]:
    """An association for a command; what it ends with is told with what an engineer may look at."""

    opened = replace(
        peer.options,
        roles=(*peer.options.roles, *proposal.roles),
        extended=(*peer.options.extended, *options.items(proposal.uses, proposal.roots)),
    )
    asked = replace(peer, options=opened)
    try:
        async with asked.connect(proposal.contexts, services=services) as association:
            yield association
    except (Aborted, ConnectionLost) as error:
        hint = f"archives end associations like this when they do not know {peer.calling_ae_title} as a peer"
        raise Stop(f"{peer.address}: {error} ({hint})", 1) from error
    except NoAcceptedContext as error:
        raise Stop(f"{peer.address}: {error}", 1) from error
