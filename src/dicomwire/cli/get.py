"""`dicomwire get`: instances of a peer into a folder, over one association (PS3.4 C.4.3)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dicomwire.cli import query
from dicomwire.cli.connection import Asked, Flags, Peer
from dicomwire.cli.groups import accepted
from dicomwire.cli.output import Json, Stop, Verbose, log_to_stderr
from dicomwire.cli.query import Keys, Question, Scope
from dicomwire.cli.retrieval import Ending, Retrieved, progress_bar
from dicomwire.errors import OperationFailed, QueryError

if TYPE_CHECKING:
    from dicomwire.association.association import Association
    from dicomwire.dicom.identifier import Key
    from dicomwire.services.folder import Folder
    from dicomwire.services.proposals import QueryOptions, Use
    from dicomwire.services.retrieving import Progress

Output = Annotated[
    Path, typer.Option("--output", "-o", metavar="DIR", help="Folder for study/series/instance.dcm.")
]
SOPClasses = Annotated[
    list[str] | None,
    typer.Option(
        "--sop-class",
        metavar="UID|KEYWORD",
        help="What to take; may be given several times. The fewer, the more compressed syntaxes fit.",
    ),
]


@accepted(scope=Scope, flags=Flags)
def get(
    peer: Asked,
    keys: Keys = None,
    *,
    output: Output,
    scope: Scope,
    sop_class: SOPClasses = None,
    flags: Flags,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Retrieve by C-GET into a folder. Exit status 0: all has come, if only nothing; 1: it has not.

    UIDs and PatientID name what is retrieved; with any other key the peer is queried first, and what matches
    is retrieved. Each file is on disk, whole, before its instance is answered.
    """
    log_to_stderr(verbose=verbose)
    asked = query.question(keys, scope, retrieve=True)
    query.check_retrieval(asked)
    classes = _sop_classes(sop_class)
    target = flags.peer(peer)
    try:
        result = Retrieved(str(target.address), output)
        with progress_bar(quiet=as_json) as shown:
            asyncio.run(_get(target, asked, scope.relational, classes, result, shown))
    except OSError as error:
        raise Stop(f"{output}: {error.strerror or error}", 1) from error
    result.conclude(as_json=as_json, verbose=verbose)


async def _get(
    peer: Peer,
    asked: Question,
    relational: bool,
    classes: list[str],
    result: Retrieved,
    shown: Callable[[Progress], None],
) -> None:
    from dicomwire.services import proposals, querying
    from dicomwire.services.folder import Folder
    from dicomwire.services.proposals import COMMON_STORAGE, QueryOptions, Use

    assert result.folder is not None
    folder = Folder(result.folder, result.written.append)
    getting = Getting(peer, asked, QueryOptions(relational=relational), folder, shown)
    uses = query.uses_of(asked, Use.GET)
    groups = [classes] if classes else [COMMON_STORAGE, *proposals.other_storage()]
    try:
        async with getting.associated(uses, groups[0]) as association:
            names = await querying.named(association, asked.keys, asked.root, asked.level)
            endings = [await getting.get(association, each) for each in names]
        for group in groups[1:]:
            if not any(ending.failed for ending in endings):
                break
            async with getting.associated([Use.GET], group) as association:
                for index, ending in enumerate(endings):
                    if ending.failed:
                        endings[index] = ending.then(await getting.get(association, names[index]))
    except (OperationFailed, QueryError) as error:
        raise Stop(f"{peer.address}: {error}", 1) from error
    finally:
        folder.close()
    result.asked = len(names)
    for ending in endings:
        result.take(ending)


@dataclass(frozen=True, slots=True)
class Getting:
    """What all tries have in common: an association has no room for every SOP class at once."""

    peer: Peer
    asked: Question
    options: QueryOptions
    folder: Folder
    shown: Callable[[Progress], None]

    def associated(
        self, uses: Sequence[Use], storage: Sequence[str]
    ) -> AbstractAsyncContextManager[Association]:
        """An association for some storage SOP classes."""
        from dicomwire.services import proposals, receiving

        proposal = proposals.propose(uses, roots=[self.asked.root], storage=storage)
        services = receiving.services(lambda: self.folder)
        return query.associated(self.peer, proposal, self.options, services)

    async def get(self, association: Association, names: Sequence[Key]) -> Ending:
        """Retrieve what is named, as far as the association goes."""
        from dicomwire.services import retrieving

        steps = retrieving.get(association, self.asked.root.value.get, names)
        return await query.follow(steps, self.shown)


def _sop_classes(names: list[str] | None) -> list[str]:
    """UIDs of SOP classes that are named by UID or keyword.

    Raises: Stop, for one that is neither.
    """
    from dicomwire.uids import SOP_CLASSES, is_valid_uid

    by_keyword = {row.keyword.lower(): uid for uid, row in SOP_CLASSES.items()}
    uids = [by_keyword.get(name.lower(), name) for name in names or ()]
    for uid in uids:
        if not is_valid_uid(uid):
            raise Stop(f"--sop-class {uid}: neither UID nor keyword of one; dicomwire uids lists them", 2)
    return uids
